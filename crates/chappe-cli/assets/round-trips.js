// Finds the echo of each message sent, and plots how long the last round trips took.
//
// An echo server answers in order: what arrives is an echo when it equals the oldest message not
// yet echoed. Anything else is left alone, so a message that the server sent by itself does not
// disturb the count.

import { formatMilliseconds, formatNumber } from './payload.js';

const SAMPLES_MAX = 200;
/**
 * Messages waiting for their echo; older ones are given up, as a server that does not echo leaves
 * all of them.
 */
const WAITING_MAX = 200_000;

export class RoundTrips {
  #waiting = [];
  /** #waiting[..#first] have been echoed already: cheaper than moving the rest for each echo. */
  #first = 0;
  #samples = [];

  handleSent(row, now) {
    this.#waiting.push({ row, sentAt: now });
    if (this.#waiting.length - this.#first > WAITING_MAX) this.#first += 1;
    this.#compact();
  }

  /** Links an echo to what it echoes, in both rows. */
  handleReceived(row, now) {
    const oldest = this.#waiting[this.#first];
    if (oldest === undefined || !isEcho(row, oldest.row)) return;
    this.#first += 1;
    this.#compact();
    const roundTrip = now - oldest.sentAt;
    Object.assign(row, { roundTrip, echoAfter: roundTrip, echoId: oldest.row.id });
    Object.assign(oldest.row, { echoAfter: roundTrip, echoId: row.id });
    this.#samples.push(roundTrip);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /** What the last connection still owed will not come on the next one. */
  forgetWaiting() {
    this.#waiting = [];
    this.#first = 0;
  }

  clear() {
    this.#samples = [];
  }

  get samples() {
    return this.#samples;
  }

  #compact() {
    if (this.#first < 1024 || this.#first * 2 < this.#waiting.length) return;
    this.#waiting.splice(0, this.#first);
    this.#first = 0;
  }
}

/** Draws `samples` as upright strokes, the newest on the right, and says them in words. */
export function drawPlot({ plot, strokes, median, top, text }, samples) {
  const words = summary(samples);
  text.textContent = words;
  plot.setAttribute('aria-label', `Plot of the last round trips: ${words}`);
  const { width, height } = plot.viewBox.baseVal;
  const ceiling = niceCeiling(Math.max(...samples, 0));
  const y = (value) => (height - 1 - (value / ceiling) * (height - 4)).toFixed(1);
  const step = width / SAMPLES_MAX;
  const left = width - samples.length * step + step / 2;
  const stroke = (value, index) => `M${(left + index * step).toFixed(1)} ${height - 1}V${y(value)}`;
  strokes.setAttribute('d', samples.map(stroke).join(''));
  median.setAttribute('d', samples.length > 1 ? `M0 ${y(medianOf(samples))}H${width}` : '');
  top.textContent = samples.length > 0 ? formatMilliseconds(ceiling) : '';
}

function summary(samples) {
  if (samples.length === 0) return 'none yet';
  const [min, max] = [Math.min(...samples), Math.max(...samples)].map(formatMilliseconds);
  const count = samples.length === 1 ? 'last one' : `last ${formatNumber(samples.length)}`;
  return `${count}: min ${min}, median ${formatMilliseconds(medianOf(samples))}, max ${max}`;
}

function medianOf(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The smallest of 1, 2, 5, 10, 20, … tenths of a millisecond that is not below `value`. */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 0.1)));
  return (
    [1, 2, 5, 10].map((factor) => factor * power).find((ceiling) => ceiling >= value) ?? 10 * power
  );
}

function isEcho(received, sent) {
  if (received.kind !== sent.kind || received.size !== sent.size) return false;
  // A payload that is not kept any more can only be judged by its kind and size.
  if (received.payload === null || sent.payload === null) return true;
  if (typeof received.payload === 'string') return received.payload === sent.payload;
  return received.payload.every((byte, index) => byte === sent.payload[index]);
}
