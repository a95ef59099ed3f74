// A connection of the package `ws`, with promises in place of events.
//
// The environment's CHAPPE_NODE_MODULES names the folder that the package is in.

import { on, once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.CHAPPE_NODE_MODULES, 'none.js'));
export const { WebSocket, WebSocketServer } = require('ws');
const { version } = require('ws/package.json');
export const VERSIONS = `ws ${version} (Node ${process.versions.node})`;

/** Bytes of pings that are sent. */
export const PINGS = ['', 'hi', 'p'.repeat(125)];

export class Connection {
  pings = 0;
  #messages;
  #pongs;

  constructor(socket) {
    this.socket = socket;
    this.#messages = on(socket, 'message');
    this.#pongs = on(socket, 'pong');
    // They hand out what came before the end. (Node 18 has no option of `on` for it.)
    socket.on('close', () => {
      this.#messages.return();
      this.#pongs.return();
    });
    this.closed = once(socket, 'close').then(([code, reason]) => [code, reason.toString()]);
    // Whoever awaits it sees the error; whoever does not, sees it in `open`.
    this.closed.catch(() => {});
    socket.on('ping', () => {
      this.pings += 1;
    });
  }

  static async open(url, subprotocols = [], options = {}) {
    const connection = new Connection(new WebSocket(url, subprotocols, options));
    await once(connection.socket, 'open');
    return connection;
  }

  /** A message: a string if it is text, otherwise a Buffer; `null` at the end. */
  async receive() {
    const { value, done } = await this.#messages.next();
    if (done) return null;
    const [data, isBinary] = value;
    return isBinary ? data : data.toString();
  }

  send(message) {
    this.socket.send(message);
  }

  /** Sends a ping and waits for a pong of the same payload; others are passed over. */
  async ping(payload) {
    this.socket.ping(payload);
    await this.#pong(payload);
  }

  /**
   * Sends a message in fragments, cut amid characters, with a ping behind each but the last; waits
   * until the last ping was answered.
   */
  async sendInFragments(message) {
    const binary = typeof message !== 'string';
    const data = Buffer.from(message);
    const size = data.length < 1000 ? 1 : 1021;
    let ping = null;
    for (let start = 0; start === 0 || start < data.length; start += size) {
      this.socket.send(data.subarray(start, start + size), { binary, fin: false });
      ping = `after ${start}`;
      this.socket.ping(ping);
    }
    this.socket.send(Buffer.alloc(0), { binary, fin: true });
    await this.#pong(ping);
  }

  /** Closes, with an empty frame if there is no code, and waits for the end. */
  close(code, reason) {
    this.socket.close(code, reason);
    return this.closed;
  }

  async #pong(payload) {
    let answer;
    do {
      const { value, done } = await this.#pongs.next();
      if (done) throw new Error(`closed before a ping was answered`);
      answer = value[0].toString();
    } while (answer !== payload);
  }
}
