// Tests: messages of each kind, their views, the filter, the statistics, the close; a narrow
// screen.

import { join } from 'node:path';
import {
  background,
  closeWith,
  connect,
  detailOf,
  filled,
  sendAndWait,
  sendText,
  text,
} from './action.mjs';
import { becomes, equal, match } from './check.mjs';
import { widerThanScreen } from './inside.mjs';

const NARROW = { width: 360, height: 780 };

const JSON_TEXT = '{"id":12345678901234567890,"tower":{"arms":[1,2,[]],"lit":false},"empty":{}}';
const JSON_PRETTY = `{
  "id": 12345678901234567890,
  "tower": {
    "arms": [
      1,
      2,
      []
    ],
    "lit": false
  },
  "empty": {}
}`;
const HTML_TEXT = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>';
const NON_ASCII_TEXT = 'Grüße, 世界 👋';
const FILE_BYTES = Buffer.from(Array.from({ length: 300 }, (_, index) => (index * 7) & 255));

export async function checkMessages(page, { baseUrl, screenshotDir }) {
  await page.goto(baseUrl);
  await connect(page, 'chat');
  await checkEchoes(page);
  await checkViews(page);
  await checkFilter(page);
  await checkStatistics(page);
  await page.screenshot({ path: join(screenshotDir, 'light.png') });
  const light = await background(page);
  await page.emulateMedia({ colorScheme: 'dark' });
  equal('dark is another ground than light', (await background(page)) === light, false);
  await checkClose(page);
  await page.screenshot({ path: join(screenshotDir, 'dark.png') });
}

/** Sends messages 1, 3, 5, 7, 9; their echoes are 2, 4, 6, 8, 10. */
async function checkEchoes(page) {
  await sendText(page, 'Hello, tower.');
  await checkRow(page, 2, 'text', 13, 'Hello, tower.');
  await sendText(page, NON_ASCII_TEXT);
  await checkRow(page, 4, 'text', Buffer.byteLength(NON_ASCII_TEXT), NON_ASCII_TEXT);
  await sendText(page, HTML_TEXT);
  await checkRow(page, 6, 'text', Buffer.byteLength(HTML_TEXT), HTML_TEXT);
  equal('HTML creates no element', await page.locator('main img, main script').count(), 0);
  equal('HTML runs nothing', await page.evaluate(() => window.broken), undefined);
  await page.check('#kind-json');
  await page.fill('#payload', '{"open": ');
  await page.click('#send');
  await filled(page, 'send-error');
  match(
    'what is not JSON is not sent',
    await text(page, 'send-error'),
    /^Not sent, because it is not JSON/,
  );
  equal('and its field is marked', await page.getAttribute('#payload', 'aria-invalid'), 'true');
  equal('and nothing was counted', await text(page, 'sent-messages'), '3');
  await page.fill('#payload', JSON_TEXT);
  equal('the mark goes when it is JSON', await page.getAttribute('#payload', 'aria-invalid'), null);
  await sendAndWait(page);
  await checkRow(page, 8, 'text', JSON_TEXT.length, JSON_TEXT);
  await page.check('#kind-file');
  await page.setInputFiles('#file', {
    name: 'signal.bin',
    mimeType: 'application/octet-stream',
    buffer: FILE_BYTES,
  });
  await sendAndWait(page);
  const hex = FILE_BYTES.subarray(0, 48).toString('hex').match(/../g).join(' ');
  await checkRow(page, 10, 'binary', 300, `${hex} …`);
}

async function checkRow(page, id, kind, size, payload) {
  const cells = await page.locator(`[data-id="${id}"] > [role=gridcell]`).allTextContents();
  const [, time, direction, gotKind, gotSize, trip, gotPayload] = cells;
  const got = [direction, gotKind, gotSize, gotPayload];
  equal(`row ${id}`, got, ['received', kind, `${size} B`, payload]);
  match(`row ${id} has a time`, time, /^\d\d:\d\d:\d\d\.\d{3}$/);
  match(`row ${id} has a round trip`, trip, /^[\d.]+ ms$/);
}

async function checkViews(page) {
  equal('HTML in the detail is text', await detailOf(page, 6, 'auto'), HTML_TEXT);
  equal('JSON laid out, numbers as they were', await detailOf(page, 8, 'auto'), JSON_PRETTY);
  equal('JSON as text', await detailOf(page, 8, 'text'), JSON_TEXT);
  match(
    'text as hex',
    await detailOf(page, 2, 'hex'),
    /^000000 {2}48 65 6c 6c 6f .*Hello, tower\.$/,
  );
  equal('text that is not JSON', await detailOf(page, 2, 'json'), 'Hello, tower.');
  match('and its note', await text(page, 'detail-note'), /^Not JSON: /);
  match('binary as hex', await detailOf(page, 10, 'auto'), /^000000 {2}00 07 0e 15/);
  const lines = (await text(page, 'detail-payload')).split('\n').length;
  equal('all of 300 bytes, 16 a line', lines, 19);
  await detailOf(page, 10, 'text');
  match('binary that is not UTF-8 says so', await text(page, 'detail-note'), /^Not valid UTF-8/);
  match('the detail links the echo', await text(page, 'detail-facts'), /echo of message 9 after/);
  await detailOf(page, 8, 'auto');
}

async function checkFilter(page) {
  for (const [direction, kind, contains, shown] of [
    ['sent', '', '', '5 of 10 messages'],
    ['received', 'binary', '', '1 of 10 messages'],
    ['', '', 'HELLO', '2 of 10 messages'],
    ['', '', '世界', '2 of 10 messages'],
    ['', 'binary', '07 0e15', '2 of 10 messages'],
    ['sent', 'text', 'nowhere', '0 of 10 messages'],
    ['', '', '', '10 messages'],
  ]) {
    await page.selectOption('#filter-direction', direction);
    await page.selectOption('#filter-kind', kind);
    await page.fill('#filter-text', contains);
    await becomes(
      page,
      'shown-count',
      shown,
      `filter ${JSON.stringify([direction, kind, contains])}`,
    );
  }
  equal(
    'rows back after the filter',
    await page.locator('#messages-body > [role=row]').count(),
    10,
  );
}

async function checkStatistics(page) {
  const bytes = 13 + Buffer.byteLength(NON_ASCII_TEXT) + HTML_TEXT.length + JSON_TEXT.length + 300;
  for (const direction of ['sent', 'received']) {
    const got = [await text(page, `${direction}-messages`), await text(page, `${direction}-bytes`)];
    equal(`messages and bytes ${direction}`, got, ['5', `${bytes} B`]);
  }
  const words = await text(page, 'round-trips-text');
  match('round trips in words', words, /^last 5: min [\d.]+ ms, median [\d.]+ ms, max [\d.]+ ms$/);
  equal(
    'the plot says the same',
    await page.getAttribute('#plot', 'aria-label'),
    `Plot of the last round trips: ${words}`,
  );
  const strokes = await page.getAttribute('#plot-samples', 'd');
  equal('strokes in the plot', strokes.match(/M/g).length, 5);
}

async function checkClose(page) {
  for (const [code, reason, expected] of [
    ['1001', '', /does not let a page send 1001 \(going away/],
    ['5000', '', /does not let/],
    ['abc', '', /not a number/],
    ['', 'why', /needs a code/],
    ['3001', 'é'.repeat(62), /124 bytes long/],
  ]) {
    await page.fill('#close-code', code);
    await page.fill('#close-reason', reason);
    await page.click('#close');
    match(
      `close with ${JSON.stringify([code, reason])} is refused in words`,
      await text(page, 'close-error'),
      expected,
    );
  }
  equal('the connection is still', await text(page, 'state'), 'OPEN');
  await page.fill('#close-reason', 'é');
  match('bytes left, not characters', await text(page, 'close-reason-left'), /^121 bytes left/);
  await closeWith(page, '3001', 'the fog came down');
  const asked = [await text(page, 'asked-code'), await text(page, 'asked-reason')];
  equal('the close asked for', asked, ['3001', 'the fog came down']);
  equal('the code received', await text(page, 'received-code'), '3001');
  match(
    'its reason: echoed, or empty',
    await text(page, 'received-reason'),
    /^(the fog came down|empty)$/,
  );
  match('its meaning', await text(page, 'received-meaning'), /registered with IANA/);
  match('it was clean', await text(page, 'received-clean'), /^yes/);
}

export async function checkNarrow(page, { baseUrl, screenshotDir }) {
  await page.setViewportSize(NARROW);
  await page.goto(baseUrl);
  await connect(page, 'superchat');
  await sendText(page, 'Hello, tower. '.repeat(30));
  await sendText(page, JSON_TEXT);
  await detailOf(page, 4, 'hex');
  equal('nothing is wider than 360 px', await page.evaluate(widerThanScreen), []);
  equal(
    'the page does not scroll sideways',
    await page.evaluate(() => document.documentElement.scrollWidth),
    360,
  );
  await page.screenshot({ path: join(screenshotDir, 'narrow.png'), fullPage: true });
}
