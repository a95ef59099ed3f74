// Keeps the messages of both directions within bounds, and knows which of them the filter shows.
//
// In: messages as they are sent and received, and a filter. Out: `visible`, an array in order of
// arrival. A filter is worked off in slices of time (`advance`), so that no keystroke waits for
// 200,000 rows. Nothing here touches the document.

/** rows.length <= ROWS_MAX; the oldest go first, many at once because moving the rest costs. */
export const ROWS_MAX = 200_000;
const ROWS_DROPPED_AT_ONCE = 10_000;

/** The payloads kept add up to at most this; older rows stay and say that theirs is gone. */
export const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

export class Messages {
  #rows = [];
  #nextId = 1;
  #payloadBytes = 0;
  /** Rows with a smaller id have no payload any more. */
  #oldestPayloadId = 1;
  #matches = null;
  #matching = [];
  /** Rows with a smaller id have been looked at by the filter. */
  #unfilteredId = 1;

  /** Visible rows dropped from the front since the beginning: the table moves up by as many. */
  droppedCount = 0;
  traffic = noTraffic();

  /** Adds `{ direction, kind, payload, size, time }` and returns it with its id. */
  add(message) {
    const row = { id: this.#nextId, roundTrip: null, echoId: null, ...message };
    this.#nextId += 1;
    this.#rows.push(row);
    this.#payloadBytes += row.size;
    this.traffic[row.direction].messages += 1;
    this.traffic[row.direction].bytes += row.size;
    if (this.#rows.length > ROWS_MAX) this.#dropRows(ROWS_DROPPED_AT_ONCE);
    this.#dropPayloads();
    return row;
  }

  /** Shows what fits `{ direction, kind, text }`; an empty string fits all. */
  filter({ direction, kind, text }) {
    this.#matching = [];
    this.#unfilteredId = this.#rows[0]?.id ?? this.#nextId;
    if (!direction && !kind && !text) {
      this.#matches = null;
      return;
    }
    const contains = text ? containing(text) : () => true;
    this.#matches = (row) =>
      (!direction || row.direction === direction) &&
      (!kind || row.kind === kind) &&
      contains(row.payload);
  }

  /** Filters for at most about `milliseconds`; says whether all rows have been looked at. */
  advance(milliseconds) {
    if (this.#matches === null) return true;
    const deadline = performance.now() + milliseconds;
    const from = indexOfId(this.#rows, this.#unfilteredId);
    for (let index = from; index < this.#rows.length; index += 1) {
      const row = this.#rows[index];
      if (this.#matches(row)) this.#matching.push(row);
      this.#unfilteredId = row.id + 1;
      if (performance.now() >= deadline) break;
    }
    return this.#unfilteredId === this.#nextId;
  }

  clear() {
    this.#rows = [];
    this.#matching = [];
    this.#payloadBytes = 0;
    this.#oldestPayloadId = this.#nextId;
    this.#unfilteredId = this.#nextId;
    this.traffic = noTraffic();
  }

  get visible() {
    return this.#matches === null ? this.#rows : this.#matching;
  }

  get isFiltered() {
    return this.#matches !== null;
  }

  get count() {
    return this.#rows.length;
  }

  #dropRows(count) {
    const visibleBefore = this.visible.length;
    const dropped = this.#rows.splice(0, count);
    for (const row of dropped) this.#dropPayload(row);
    const firstId = this.#rows[0].id;
    this.#matching.splice(0, indexOfId(this.#matching, firstId));
    this.#oldestPayloadId = Math.max(this.#oldestPayloadId, firstId);
    this.#unfilteredId = Math.max(this.#unfilteredId, firstId);
    this.droppedCount += visibleBefore - this.visible.length;
  }

  #dropPayloads() {
    while (this.#payloadBytes > PAYLOAD_BYTES_MAX) {
      this.#dropPayload(this.#rows[indexOfId(this.#rows, this.#oldestPayloadId)]);
      this.#oldestPayloadId += 1;
    }
  }

  #dropPayload(row) {
    if (row.payload === null) return;
    row.payload = null;
    this.#payloadBytes -= row.size;
  }
}

/** The index of the first row whose id is not smaller than `id`, in rows of rising ids. */
export function indexOfId(rows, id) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

function noTraffic() {
  return { sent: { messages: 0, bytes: 0 }, received: { messages: 0, bytes: 0 } };
}

/**
 * A test for payloads that contain `text`; in binary ones its UTF-8, or the bytes it spells in
 * hex.
 */
function containing(text) {
  const pattern = new RegExp(text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'i');
  const needles = [new TextEncoder().encode(text)];
  const digits = text.replace(/\s/g, '');
  if (/^([0-9a-f]{2})+$/i.test(digits)) {
    needles.push(Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16)));
  }
  return (payload) => {
    if (payload === null) return false;
    if (typeof payload === 'string') return pattern.test(payload);
    return needles.some((needle) => includesBytes(payload, needle));
  };
}

function includesBytes(bytes, needle) {
  let at = bytes.indexOf(needle[0]);
  while (at !== -1 && at + needle.length <= bytes.length) {
    if (needle.every((byte, index) => bytes[at + index] === byte)) return true;
    at = bytes.indexOf(needle[0], at + 1);
  }
  return false;
}
