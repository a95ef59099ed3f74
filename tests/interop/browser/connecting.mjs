// Tests: the files of the page, the browser's own WebSocket, subprotocols, connections that fail.

import { closeWith, connect, failToConnect, filled, text } from './action.mjs';
import { equal, match } from './check.mjs';
import { plainBurst, plainClose, plainEcho, recordStates, unlabelled } from './inside.mjs';

const ECHO_SIZES = [0, 1, 125, 126, 65535, 65536, 1024 * 1024];
const ASSETS = {
  '/': 'text/html',
  '/page.css': 'text/css',
  '/icon.svg': 'image/svg+xml',
  '/page.js': 'text/javascript',
  '/closing.js': 'text/javascript',
  '/messages.js': 'text/javascript',
  '/payload.js': 'text/javascript',
  '/round-trips.js': 'text/javascript',
  '/table.js': 'text/javascript',
};

export async function checkFiles(page, { baseUrl }) {
  const response = await page.goto(baseUrl);
  const policy = response.headers()['content-security-policy'] ?? '';
  match('the page has a policy that loads nothing by default', policy, /^default-src 'none';/);
  equal('the policy allows nothing inline', /unsafe|data:|\*/.test(policy), false);
  for (const [path, type] of Object.entries(ASSETS)) {
    const { headers, status } = await page.request
      .get(new URL(path, baseUrl).href)
      .then((answer) => ({ headers: answer.headers(), status: answer.status() }));
    equal(`GET ${path}`, [status, headers['content-type']?.split(';')[0]], [200, type]);
  }
  equal('the state before the first connection', await text(page, 'state'), 'CLOSED');
  const ownEcho = `${baseUrl.replace(/^http/, 'ws').replace(/\/$/, '')}/echo`;
  equal('the URL is the echo of this server', await page.inputValue('#url'), ownEcho);
  equal(
    'what to try in a terminal',
    await text(page, 'terminal-command'),
    `chappe connect ${ownEcho}`,
  );
  equal('one h1', await page.locator('h1').count(), 1);
  equal('the language of the page', await page.getAttribute('html', 'lang'), 'en');
  equal('controls without a label', await page.evaluate(unlabelled), []);
}

export async function checkPlainWebSocket(page, { baseUrl }) {
  await page.goto(baseUrl);
  for (const size of ECHO_SIZES) {
    for (const kind of ['text', 'binary']) {
      const got = await page.evaluate(plainEcho, { size, kind });
      equal(`plain echo of ${size} bytes, ${kind}`, got, { kind, size, isEqual: true });
    }
  }
  equal('plain close without a code', await page.evaluate(plainClose, []), {
    code: 1005,
    reason: '',
    wasClean: true,
  });
  for (const code of [1000, 3001, 4999]) {
    const { code: received, wasClean } = await page.evaluate(plainClose, [code, 'the fog']);
    equal(`plain close with ${code}`, { received, wasClean }, { received: code, wasClean: true });
  }
  const order = await page.evaluate(plainBurst, 1000);
  equal('1,000 messages at once come back in order', order, { count: 1000, isOrdered: true });
}

export async function checkSubprotocols(page, { baseUrl }) {
  await page.goto(baseUrl);
  for (const [offered, agreed] of [
    ['', 'none'],
    ['chat', 'chat'],
    ['superchat', 'superchat'],
  ]) {
    await page.evaluate(recordStates);
    await connect(page, offered);
    equal(
      `subprotocol offered: ${offered || 'none'}`,
      await text(page, 'agreed-subprotocol'),
      agreed,
    );
    await closeWith(page, '1000', '');
    const states = await page.evaluate(() => window.recordedStates);
    equal('states gone through', states, ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED']);
  }
  await connect(page, 'chat, superchat');
  match(
    'two subprotocols offered, one agreed',
    await text(page, 'agreed-subprotocol'),
    /^(chat|superchat)$/,
  );
  await closeWith(page, '1000', '');
  await page.selectOption('#subprotocol', 'other');
  await page.fill('#subprotocol-custom', 'not a token');
  await page.click('#connect');
  match(
    'a subprotocol that is no token is explained',
    await text(page, 'connect-error'),
    /not a token/,
  );
}

export async function checkFailures(page, { baseUrl }) {
  await page.goto(baseUrl);
  await page.selectOption('#subprotocol', 'other');
  await page.fill('#subprotocol-custom', 'smoke-signals');
  await failToConnect(page);
  match('an unknown subprotocol is told in words', await text(page, 'failure'), /smoke-signals/);
  equal('the state after it', await text(page, 'state'), 'CLOSED');
  await page.selectOption('#subprotocol', '');
  const missing = `${baseUrl.replace(/^http/, 'ws').replace(/\/$/, '')}/no-such-path`;
  await page.fill('#url', missing);
  await failToConnect(page);
  match('a refused handshake is told in words', await text(page, 'failure'), /HTTP error/);
  match(
    'and what tells more',
    await text(page, 'failure'),
    new RegExp(`chappe connect ${missing}`),
  );
  equal('the close received', await text(page, 'received-code'), '1006');
  for (const [url, expected] of [
    ['ws://example.invalid/echo', /may only connect to/],
    ['http://127.0.0.1/', /scheme/],
    ['echo', /not a URL/],
    [`${missing}#a`, /fragment/],
  ]) {
    await page.fill('#url', url);
    await page.click('#connect');
    match(`URL ${url} is refused in words`, await text(page, 'connect-error'), expected);
  }
  await page.focus('#payload');
  await page.keyboard.press('Control+Enter');
  await filled(page, 'send-error');
  match(
    'sending while CLOSED is refused in words',
    await text(page, 'send-error'),
    /state is CLOSED/,
  );
}
