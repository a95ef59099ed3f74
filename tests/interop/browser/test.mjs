// Drives the echo page and the browser's own WebSocket against a running server, in Chromium.
//
// Run: npm install && node test.mjs BASE_URL SCREENSHOT_DIR
//      BASE_URL is such as http://127.0.0.1:8000. The environment's CHROMIUM names another browser
//      than /usr/bin/chromium.
// Seen: the versions, then a line per check, "ok - …" or "not ok - …: expected …, got …".
//      The exit status says whether all checks are ok.
// Left in SCREENSHOT_DIR: light.png and dark.png (1440 px wide), narrow.png (360 px).
//
// Nothing sleeps: what takes time is waited for, and what never comes is a failed check.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

import { counts, equal, report } from './check.mjs';
import {
  checkFailures,
  checkFiles,
  checkPlainWebSocket,
  checkSubprotocols,
} from './connecting.mjs';
import { checkKeyboard } from './keyboard.mjs';
import { checkManyRows } from './many-rows.mjs';
import { checkMessages, checkNarrow } from './messages.mjs';

const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const WIDE = { width: 1440, height: 900 };

const [baseUrl, screenshotDir] = process.argv.slice(2);
if (screenshotDir === undefined) {
  console.error('usage: node test.mjs BASE_URL SCREENSHOT_DIR');
  process.exit(2);
}

/** Errors of the console and violations of the policy, on all pages. */
const complaints = [];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: CHROMIUM_ARGS,
});
console.log(`# Chromium ${browser.version()}, playwright-core ${playwrightVersion()}`);
mkdirSync(screenshotDir, { recursive: true });
try {
  await topic('files', checkFiles);
  await topic('plain WebSocket', checkPlainWebSocket);
  await topic('subprotocols', checkSubprotocols);
  await topic('failures', checkFailures);
  await topic('messages, views, filter, close', checkMessages);
  await topic('narrow screen', checkNarrow);
  await topic('keyboard', checkKeyboard);
  await topic('many rows', checkManyRows);
  equal('no console errors and no policy violations', complaints, []);
} finally {
  await browser.close();
}
console.log(`# ${counts.all} checks, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** Runs a topic on a page of its own. An exception fails it; the other topics run all the same. */
async function topic(name, check) {
  console.log(`# ${name}`);
  const page = await browser.newPage({
    viewport: WIDE,
    colorScheme: 'light',
    reducedMotion: 'reduce',
  });
  page.on('console', (message) => {
    // Failures provoked on purpose are logged by the browser; everything else is a complaint.
    const isProvoked = name === 'failures' && message.text().startsWith('WebSocket connection to');
    if (['error', 'warning'].includes(message.type()) && !isProvoked)
      complaints.push(`${name}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`${name}: ${error.message}`));
  await page.exposeFunction('reportViolation', (directive) =>
    complaints.push(`${name}: policy ${directive}`),
  );
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) =>
      window.reportViolation(event.violatedDirective),
    );
  });
  try {
    await check(page, { baseUrl, screenshotDir });
  } catch (error) {
    report(`${name} runs to its end`, false, 'no exception', error.message);
  } finally {
    await page.close();
  }
}

function playwrightVersion() {
  const path = createRequire(import.meta.url).resolve('playwright-core/package.json');
  return JSON.parse(readFileSync(path, 'utf8')).version;
}
