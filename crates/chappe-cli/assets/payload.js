// Shows payloads: one line of them in the table, all of them in the detail panel, as text, JSON or
// hex.
//
// What a peer sent goes into the document by textContent only, a part at a time when it is long.

import { PAYLOAD_BYTES_MAX } from './messages.js';

const PREVIEW_CHARS = 300;
const PREVIEW_BYTES = 48;
/** What the detail shows at first, and adds with each "Show more". */
const VIEW_CHARS_STEP = 100_000;
const VIEW_BYTES_STEP = 16 * 1024;
/** Longer text is shown as JSON only when asked. */
const AUTO_JSON_CHARS_MAX = 1024 * 1024;
/**
 * Deeper levels are not indented further: with depth times depth spaces a short message could fill
 * the memory.
 */
const INDENT_LEVELS_MAX = 40;

const NUMBER = new Intl.NumberFormat('en');
const MEBIBYTES_MAX = PAYLOAD_BYTES_MAX / 1024 / 1024;
const PAYLOAD_DROPPED = `payload dropped: the newest ${MEBIBYTES_MAX} MiB are kept`;

export function formatNumber(number) {
  return NUMBER.format(number);
}

export function formatBytes(bytes) {
  return `${NUMBER.format(bytes)} B`;
}

export function formatMilliseconds(milliseconds) {
  if (milliseconds >= 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const decimals = milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0;
  return `${milliseconds.toFixed(decimals)} ms`;
}

/** The local time of day, `14:02:31.123`. */
export function formatTime(time) {
  const date = new Date(time);
  const two = (number) => String(number).padStart(2, '0');
  const milliseconds = String(date.getMilliseconds()).padStart(3, '0');
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()];
  return `${parts.map(two).join(':')}.${milliseconds}`;
}

/** The beginning of a payload on one line, with nothing invisible in it. */
export function preview({ payload }) {
  if (payload === null) return PAYLOAD_DROPPED;
  if (typeof payload === 'string') {
    return (
      visibleText(payload.slice(0, PREVIEW_CHARS)) + (payload.length > PREVIEW_CHARS ? '…' : '')
    );
  }
  const pairs = Array.from(payload.subarray(0, PREVIEW_BYTES), hexPair).join(' ');
  return pairs + (payload.length > PREVIEW_BYTES ? ' …' : '');
}

export class Detail {
  #section;
  #title;
  #facts;
  #note;
  #payload;
  #more;
  #row = null;
  #steps = 1;

  /**
   * `section` holds the elements of the panel; `onClose` is called when its button or Escape
   * closes it.
   */
  constructor(section, onClose) {
    this.#section = section;
    this.#title = section.querySelector('#detail-title');
    this.#facts = section.querySelector('#detail-facts');
    this.#note = section.querySelector('#detail-note');
    this.#payload = section.querySelector('#detail-payload');
    this.#more = section.querySelector('#detail-more');
    section.addEventListener('change', () => this.#restart());
    section.querySelector('#detail-close').addEventListener('click', onClose);
    section.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') onClose();
    });
    this.#more.addEventListener('click', () => {
      this.#steps += 1;
      this.#draw();
    });
  }

  show(row) {
    if (row === this.#row) return;
    this.#row = row;
    this.#title.textContent = `Message ${row.id}`;
    this.refreshFacts();
    this.#section.hidden = false;
    this.#restart();
  }

  /** The echo may arrive while its message is looked at. */
  refreshFacts() {
    if (this.#row !== null) this.#facts.textContent = factsOf(this.#row);
  }

  hide() {
    this.#row = null;
    this.#section.hidden = true;
  }

  focus() {
    this.#title.focus();
  }

  get row() {
    return this.#row;
  }

  #restart() {
    this.#steps = 1;
    this.#payload.scrollTop = 0;
    this.#draw();
  }

  #draw() {
    const wanted = this.#section.querySelector('input[name=view]:checked').value;
    const bytesPerLine = this.#payload.clientWidth < 600 ? 8 : 16;
    const {
      text,
      note,
      isWhole,
      isHex = false,
    } = view(this.#row.payload, wanted, this.#steps, bytesPerLine);
    this.#payload.textContent = text;
    this.#payload.classList.toggle('hex', isHex);
    this.#note.textContent = note;
    this.#more.hidden = isWhole;
  }
}

function factsOf(row) {
  const facts = [row.direction, row.kind, formatBytes(row.size), formatTime(row.time)];
  if (row.echoId !== null) {
    const relation = row.direction === 'sent' ? 'echoed by' : 'echo of';
    facts.push(`${relation} message ${row.echoId} after ${formatMilliseconds(row.echoAfter)}`);
  }
  return facts.join(' · ');
}

/** What the panel shows of a payload: `{ text, note, isWhole, isHex }`. */
function view(payload, wanted, steps, bytesPerLine) {
  if (payload === null) return { text: '', note: `${PAYLOAD_DROPPED}.`, isWhole: true };
  if (payload.length === 0) return { text: '', note: 'The payload is empty.', isWhole: true };
  if (wanted === 'hex') return hexView(payload, steps, bytesPerLine);
  if (wanted === 'json') return jsonView(payload, steps);
  if (wanted === 'text') return textView(payload, steps);
  if (typeof payload !== 'string') return hexView(payload, steps, bytesPerLine);
  return looksLikeJson(payload) ? jsonView(payload, steps) : textView(payload, steps);
}

function looksLikeJson(text) {
  if (text.length > AUTO_JSON_CHARS_MAX || !/^\s*[[{]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function textView(payload, steps) {
  const { text, isUtf8 } = decode(payload);
  const note = isUtf8 ? '' : 'Not valid UTF-8: each \ufffd stands for bytes that are none.';
  return firstChars(text, steps, note);
}

function jsonView(payload, steps) {
  const { text } = decode(payload);
  try {
    JSON.parse(text);
  } catch (error) {
    return firstChars(text, steps, `Not JSON: ${error.message}.`);
  }
  return firstChars(prettyJson(text, VIEW_CHARS_STEP * steps), steps, '');
}

function hexView(payload, steps, bytesPerLine) {
  const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload;
  const end = Math.min(bytes.length, VIEW_BYTES_STEP * steps);
  const lines = [];
  for (let at = 0; at < end; at += bytesPerLine) {
    lines.push(hexLine(bytes.subarray(at, Math.min(at + bytesPerLine, end)), at, bytesPerLine));
  }
  const isWhole = end === bytes.length;
  const note = isWhole ? '' : `The first ${formatBytes(end)} of ${formatBytes(bytes.length)}.`;
  return { text: lines.join('\n'), note, isWhole, isHex: true };
}

function hexLine(bytes, offset, bytesPerLine) {
  const pairs = Array.from(bytes, hexPair);
  const groups = [];
  for (let at = 0; at < pairs.length; at += 8) groups.push(pairs.slice(at, at + 8).join(' '));
  const width = bytesPerLine * 3 + bytesPerLine / 8 - 2;
  const characters = Array.from(bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.',
  );
  const start = offset.toString(16).padStart(6, '0');
  return `${start}  ${groups.join('  ').padEnd(width)}  ${characters.join('')}`;
}

function hexPair(byte) {
  return byte.toString(16).padStart(2, '0');
}

function firstChars(text, steps, note) {
  const end = VIEW_CHARS_STEP * steps;
  if (text.length <= end) return { text, note, isWhole: true };
  const beginning = `The first ${formatNumber(end)} characters.`;
  return { text: text.slice(0, end), note: `${note} ${beginning}`.trim(), isWhole: false };
}

function decode(payload) {
  if (typeof payload === 'string') return { text: payload, isUtf8: true };
  try {
    return {
      text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload),
      isUtf8: true,
    };
  } catch {
    return { text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(payload), isUtf8: false };
  }
}

/**
 * Lays out valid JSON, until `charsMax` are passed. Works on the text, because parsing and writing
 * it again would change long numbers and lose doubled names.
 */
function prettyJson(text, charsMax) {
  let out = '';
  let depth = 0;
  let previous = '';
  const newLine = () => `\n${'  '.repeat(Math.min(depth, INDENT_LEVELS_MAX))}`;
  for (const token of jsonTokens(text)) {
    const isClosing = token === '}' || token === ']';
    if (isClosing) depth -= 1;
    if (isClosing ? !'{['.includes(previous) : '{[,'.includes(previous) && previous !== '')
      out += newLine();
    out += token === ':' ? ': ' : token;
    if (token === '{' || token === '[') depth += 1;
    previous = token;
    if (out.length > charsMax) break;
  }
  return out;
}

function* jsonTokens(text) {
  let at = 0;
  while (at < text.length) {
    const start = at;
    at = jsonTokenEnd(text, start);
    if (text[start] > ' ') yield text.slice(start, at);
  }
}

function jsonTokenEnd(text, start) {
  if (text[start] === '"') {
    let at = start + 1;
    while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
    return at + 1;
  }
  if ('{}[]:,'.includes(text[start]) || text[start] <= ' ') return start + 1;
  let at = start + 1;
  while (at < text.length && text[at] > ' ' && !'}],'.includes(text[at])) at += 1;
  return at;
}

/**
 * Signs for ends of lines and tabs, code points for what has no width or turns the direction of
 * the text.
 */
function visibleText(text) {
  return text
    .replace(/\r?\n/g, '↵')
    .replace(/\t/g, '⇥')
    .replace(
      /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
      codePoint,
    );
}

function codePoint(character) {
  return `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`;
}
