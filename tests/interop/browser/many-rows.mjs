// Tests: the table stays quick with 200,000 rows, and the memory for payloads has a bound.

import { connect, reaches, text } from './action.mjs';
import { becomes, equal, match, ok } from './check.mjs';
import { recordLongestFrame, scrollToMiddle } from './inside.mjs';

const MANY = 100_000;
const MANY_TIMEOUT_MILLISECONDS = 300_000;
const ROWS_IN_DOCUMENT_MAX = 100;
const SCROLL_MILLISECONDS_MAX = 500;

export async function checkManyRows(page, { baseUrl }) {
  await page.goto(baseUrl);
  await connect(page, '');
  await page.evaluate(recordLongestFrame);
  await page.fill('#times', String(MANY));
  const startedAt = performance.now();
  await page.click('#send');
  await reaches(page, 'received-messages', MANY, MANY_TIMEOUT_MILLISECONDS);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const frame = await page.evaluate(() => Math.round(window.longestFrame));
  console.log(`# ${MANY} messages sent and received in ${seconds} s, longest frame ${frame} ms`);
  equal(
    'every message came back',
    await text(page, 'sent-messages'),
    await text(page, 'received-messages'),
  );
  await becomes(page, 'shown-count', '200,000 messages', 'all rows are kept');
  equal(
    'the table says how many rows',
    await page.getAttribute('#messages', 'aria-rowcount'),
    '200001',
  );
  await checkRowsInDocument(page, 'at the end');
  const { milliseconds, id } = await page.evaluate(scrollToMiddle);
  console.log(`# the middle shown after ${milliseconds.toFixed(1)} ms`);
  equal('the middle is there at once', milliseconds < SCROLL_MILLISECONDS_MAX, true);
  equal('it is the middle', Math.abs(id - MANY) < 100, true);
  await checkRowsInDocument(page, 'in the middle');
  equal(
    'scrolling up stops following',
    await page.getAttribute('#follow', 'aria-pressed'),
    'false',
  );
  await page.selectOption('#filter-direction', 'sent');
  await becomes(page, 'shown-count', '100,000 of 200,000 messages', 'a filter over all rows');
  await page.click('#follow');
  await page.locator('#messages-body > [role=row][aria-rowindex="100001"]').waitFor();
  ok('following goes to the last row');
  await checkPayloadBound(page);
}

/** 80 MiB each way are more than the page keeps: the rows stay, the oldest payloads go. */
async function checkPayloadBound(page) {
  await page.click('#clear');
  await page.selectOption('#filter-direction', '');
  await page.check('#kind-file');
  const buffer = Buffer.alloc(1024 * 1024, 7);
  await page.setInputFiles('#file', {
    name: 'large.bin',
    mimeType: 'application/octet-stream',
    buffer,
  });
  await page.fill('#times', '80');
  await page.click('#send');
  await reaches(page, 'received-messages', 80);
  equal(
    'all of 160 MiB are counted',
    await text(page, 'received-bytes'),
    `${(80 * 1024 * 1024).toLocaleString('en')} B`,
  );
  await becomes(page, 'shown-count', '160 messages', 'all rows stay');
  const newest = await page.locator('#messages-body > [role=row]').last().textContent();
  match('the newest payload is kept', newest, /07 07 07/);
  await page.locator('#messages').evaluate((grid) => {
    grid.scrollTop = 0;
  });
  const oldest = page.locator('#messages-body > [aria-rowindex="2"]');
  match(
    'the oldest says that its payload is gone',
    await oldest.textContent(),
    /payload dropped: the newest 64 MiB/,
  );
}

async function checkRowsInDocument(page, where) {
  const count = await page.locator('#messages-body > *').count();
  equal(`few rows in the document ${where}`, count > 10 && count <= ROWS_IN_DOCUMENT_MAX, true);
}
