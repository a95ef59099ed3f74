// The closing handshake on the page: which codes and reasons may be sent, what they mean, and the
// close that was asked for beside the one received (RFC 6455, section 7; the codes as registered
// with IANA).

/** RFC 6455, section 5.5: a control frame carries at most 125 bytes, of which the code takes 2. */
const REASON_BYTES_MAX = 123;

const MEANINGS = new Map([
  [1000, 'normal closure'],
  [1001, 'going away: the server stops, or the page was left'],
  [1002, 'protocol error'],
  [1003, 'unsupported data: this kind of message is not accepted'],
  [1004, 'reserved'],
  [1005, 'no status received: the close frame had no code'],
  [1006, 'abnormal closure: the connection ended without a close frame'],
  [1007, 'invalid payload data: such as text that is not UTF-8'],
  [1008, 'policy violation'],
  [1009, 'message too big'],
  [1010, 'mandatory extension: the server did not agree to one'],
  [1011, 'internal error in the server'],
  [1012, 'service restart: connect again'],
  [1013, 'try again later: the server is overloaded'],
  [1014, 'bad gateway'],
  [1015, 'TLS handshake failed'],
  [3000, 'unauthorized (registered with IANA)'],
  [3003, 'forbidden (registered with IANA)'],
  [3008, 'timeout (registered with IANA)'],
]);

export function meaningOf(code) {
  if (MEANINGS.has(code)) return MEANINGS.get(code);
  if (code >= 3000 && code <= 3999) return 'for libraries, registered with IANA';
  if (code >= 4000 && code <= 4999) return 'private use: the application defines it';
  return 'not defined';
}

export function reasonBytesLeft(reason) {
  return REASON_BYTES_MAX - new TextEncoder().encode(reason).length;
}

/** `{ code, reason }` as `WebSocket.close` takes them, or `{ error, field }` in words. */
export function readClose(codeText, reason) {
  const trimmed = codeText.trim();
  if (trimmed === '' && reason !== '') return { field: 'code', error: 'A reason needs a code.' };
  if (trimmed === '') return { code: undefined, reason: undefined };
  const code = /^\d{1,5}$/.test(trimmed) ? Number(trimmed) : NaN;
  if (code !== 1000 && !(code >= 3000 && code <= 4999))
    return { field: 'code', error: codeError(trimmed, code) };
  const left = reasonBytesLeft(reason);
  if (left < 0) {
    const length = REASON_BYTES_MAX - left;
    const error = `The reason is ${length} bytes long; there is room for ${REASON_BYTES_MAX}.`;
    return { field: 'reason', error };
  }
  return { code, reason };
}

function codeError(text, code) {
  if (Number.isNaN(code)) return `“${text}” is not a number. A browser sends 1000 or 3000–4999.`;
  const meaning = MEANINGS.has(code) ? ` (${meaningOf(code)})` : '';
  return `A browser does not let a page send ${code}${meaning}: 1000 or 3000–4999.`;
}

/** The table of both sides. Cells are found by id: `asked-code`, `received-reason`, … */
export class CloseSides {
  #cell;

  constructor(table) {
    this.#cell = (id) => table.querySelector(`#${id}`);
  }

  reset() {
    this.#fill('asked', '–', '–', '–');
    this.#fill('received', '–', '–', '–');
    this.#cell('received-clean').textContent = '–';
  }

  showAsked({ code, reason }) {
    if (code === undefined) this.#fill('asked', 'none', 'a close frame without a code', '–');
    else this.#fill('asked', String(code), meaningOf(code), reason);
  }

  showReceived({ code, reason, wasClean }) {
    this.#fill('received', String(code), meaningOf(code), reason);
    this.#cell('received-clean').textContent = wasClean
      ? 'yes: both sent a close frame'
      : 'no: the closing handshake was not completed';
    if (this.#cell('asked-code').textContent === '–') {
      this.#fill('asked', '–', 'this page did not ask', '–');
    }
  }

  #fill(side, code, meaning, reason) {
    this.#cell(`${side}-code`).textContent = code;
    this.#cell(`${side}-meaning`).textContent = meaning;
    this.#cell(`${side}-reason`).textContent = reason === '' ? 'empty' : reason;
  }
}
