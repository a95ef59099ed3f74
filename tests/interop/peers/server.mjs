// A WebSocket server on the package `ws`; the path says what it does.
//
// /echo       sends every message back
// /fragments  sends every message back in fragments with pings between, then "answered"
// /ping       sends pings, waits for the pong of each, says "answered", and echoes
// /close      closes as the first message says: "CODE REASON", or nothing for an empty close frame
// /refuse     answers the handshake with 403
// /unoffered  chooses a subprotocol that was not offered
//
// Printed: a line with the versions and the port, then `closed CODE REASON`, as received, at the
// end of each connection.

import { Connection, PINGS, VERSIONS, WebSocketServer } from './connection.mjs';

const SUBPROTOCOLS = ['chat', 'superchat'];
const EXCHANGES = { '/fragments': echoInFragments, '/ping': ping, '/close': close };

async function echo(connection) {
  let message;
  while ((message = await connection.receive()) !== null) connection.send(message);
}

async function echoInFragments(connection) {
  let message;
  while ((message = await connection.receive()) !== null) {
    await connection.sendInFragments(message);
    connection.send('answered');
  }
}

async function ping(connection) {
  for (const payload of PINGS) await connection.ping(payload);
  connection.send('answered');
  await echo(connection);
}

async function close(connection) {
  const [code, ...reason] = (await connection.receive()).split(' ');
  await connection.close(code ? Number(code) : undefined, reason.join(' '));
}

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  perMessageDeflate: true,
  verifyClient: ({ req }, answer) => answer(req.url !== '/refuse', 403, 'not you\n'),
  handleProtocols: (offered, request) =>
    request.url === '/unoffered'
      ? 'unoffered'
      : (SUBPROTOCOLS.find((name) => offered.has(name)) ?? false),
});
server.on('listening', () => {
  console.log(`${VERSIONS} listens on port ${server.address().port}`);
});
server.on('connection', async (socket, request) => {
  const connection = new Connection(socket);
  await (EXCHANGES[request.url] ?? echo)(connection);
  const [code, reason] = await connection.closed;
  console.log(`closed ${code} ${reason}`);
});
