// A WebSocket client on the package `ws`, which runs a table of exchanges with a server.
//
// client.mjs URL       prints the versions, then `ok …` or `not ok …` per check, then how many
//                      there were: `1..N`. Fails if one of them did.
// client.mjs URL wait  connects to /echo, exchanges a message, prints `waiting` and waits for ever.
//
// What the server does at each path is said in tests/it/server.rs.

import { isDeepStrictEqual } from 'node:util';

import { Connection, PINGS, VERSIONS } from './connection.mjs';

const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1024 * 1024];
const CLOSES = [
  [1000, ''],
  [1000, 'bye'],
  [1001, ''],
  [1011, 'no 👋'],
  [3000, 'first'],
  [4999, 'last'],
  [4000, 'r'.repeat(123)],
  [undefined, ''],
];
const SUBPROTOCOLS = [
  [[], '', 'none'],
  [['superchat'], 'superchat', 'superchat'],
  [['superchat', 'chat'], 'chat', 'chat'],
  [['smoke-signals', 'superchat'], 'superchat', 'superchat'],
];

const [url, mode] = process.argv.slice(2);
const counts = { all: 0, failed: 0 };

console.log(VERSIONS);
if (mode === 'wait') await wait();
await checkMessages();
await checkFragments();
await checkPings();
await checkSubprotocols();
await checkCloses();
await checkRefusal();
console.log(`1..${counts.all}`);
process.exitCode = counts.failed === 0 ? 0 : 1;

function check(name, got, expected) {
  const isOk = isDeepStrictEqual(got, expected);
  counts.all += 1;
  if (!isOk) counts.failed += 1;
  const shown = (value) => JSON.stringify(value)?.slice(0, 200);
  const difference = isOk ? '' : `: expected ${shown(expected)}, got ${shown(got)}`;
  console.log(`${isOk ? 'ok' : 'not ok'} ${name}${difference}`);
}

/** Text of that many bytes, with characters of one to four bytes. */
function text(size) {
  return 'aé€👋'.repeat(Math.floor(size / 10)) + 'x'.repeat(size % 10);
}

function binary(size) {
  return Buffer.from({ length: size }, (_, i) => (i * 7) % 256);
}

function payloads() {
  return SIZES.flatMap((size) => [text(size), binary(size)]);
}

function title(message) {
  const kind = typeof message === 'string' ? 'text' : 'binary';
  return `${kind} of ${Buffer.byteLength(message)} bytes`;
}

function open(path, ...rest) {
  return Connection.open(url + path, ...rest);
}

async function checkMessages() {
  const connection = await open('/echo');
  check('permessage-deflate, which is offered, is declined', connection.socket.extensions, '');
  for (const message of payloads()) {
    connection.send(message);
    check(`echo of ${title(message)}`, await connection.receive(), message);
  }
  await connection.close(1000);
  const plain = await open('/echo', [], { perMessageDeflate: false });
  plain.send('plain');
  check('nothing is offered', await plain.receive(), 'plain');
  await plain.close(1000);
}

async function checkFragments() {
  const connection = await open('/echo');
  for (const message of payloads()) {
    await connection.sendInFragments(message);
    check(`echo of fragments: ${title(message)}`, await connection.receive(), message);
  }
  await connection.close(1000);
}

async function checkPings() {
  const echo = await open('/echo');
  for (const payload of PINGS) {
    await echo.ping(payload);
    check(`pong for a ping of ${payload.length} bytes`, true, true);
  }
  await echo.close(1000);
  const pinged = await open('/ping');
  check("the server's ping is answered", await pinged.receive(), 'answered');
  check('and was received', pinged.pings > 0, true);
  await pinged.close(1000);
  const kept = await open('/keepalive');
  let message;
  while ((message = await kept.receive()) !== 'answered' && message !== null) kept.send(message);
  check("the server's keepalive is answered", message, 'answered');
  check('and was received', kept.pings > 0, true);
  await kept.close(1000);
}

async function checkSubprotocols() {
  for (const [offered, chosen, told] of SUBPROTOCOLS) {
    const connection = await open('/subprotocol', offered);
    const got = [connection.socket.protocol, await connection.receive()];
    check(`subprotocol of [${offered}]`, got, [chosen, told]);
    await connection.close(1000);
  }
  // As browsers do, it fails the connection when none of those that it offered was chosen.
  const words = await open('/abandoned', ['smoke-signals']).catch((error) => error.message);
  check('subprotocol that is unknown', words, 'Server sent no subprotocol');
}

async function checkCloses() {
  for (const [code, reason] of CLOSES) {
    const words = code === undefined ? '' : `${code} ${reason}`;
    const received = code ?? 1005;
    const ours = await open('/closing');
    ours.send(words);
    const [answer] = await ours.close(code, reason);
    check(`our close "${words}" is answered`, answer, received);
    const theirs = await open('/close');
    theirs.send(words);
    check(`the server's close "${words}" is received`, await theirs.closed, [received, reason]);
  }
  for (const [path, code] of [
    ['/leave', 1000],
    ['/fail', 1011],
  ]) {
    const connection = await open(path);
    const [received] = await connection.closed;
    check(`the close of ${path}`, received, code);
  }
}

async function checkRefusal() {
  const words = await open('/nowhere').catch((error) => error.message);
  check('/nowhere is refused', words, 'Unexpected server response: 404');
}

async function wait() {
  const connection = await open('/echo');
  connection.send('hello');
  await connection.receive();
  console.log('waiting');
  await connection.closed;
}
