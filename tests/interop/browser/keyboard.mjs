// Tests: the whole page without a pointer.

import { focusedRow, reaches, tabTo, text } from './action.mjs';
import { becomes, equal, ok } from './check.mjs';

/** No pointer from here to the end of the function. */
export async function checkKeyboard(page, { baseUrl }) {
  await page.goto(baseUrl);
  await page.keyboard.press('Tab');
  equal(
    'the first stop is the skip link',
    await page.evaluate(() => document.activeElement.className),
    'skip',
  );
  await tabTo(page, 'subprotocol');
  await page.keyboard.type('sup');
  await tabTo(page, 'connect');
  await page.keyboard.press('Enter');
  await becomes(page, 'state', 'OPEN', 'Enter connects');
  equal('with the subprotocol typed', await text(page, 'agreed-subprotocol'), 'superchat');
  await tabTo(page, 'payload');
  for (let count = 1; count <= 30; count += 1) {
    await page.keyboard.press('Control+Enter');
    await reaches(page, 'received-messages', count);
  }
  equal('Ctrl+Enter sends', await text(page, 'received-messages'), '30');
  await page.waitForFunction(() =>
    /^\d+ messages? received$/.test(document.getElementById('announcer').textContent),
  );
  ok('received messages are announced as a count');
  await checkKeyboardInTable(page);
  await tabTo(page, 'close', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await becomes(page, 'state', 'CLOSED', 'Enter closes');
  equal(
    'the close button keeps the focus',
    await page.evaluate(() => document.activeElement.id),
    'close',
  );
}

async function checkKeyboardInTable(page) {
  await tabTo(page, 'clear');
  await page.keyboard.press('Tab');
  equal(
    'one tab stop in the table',
    await page.locator('#messages-body [tabindex="0"]').count(),
    1,
  );
  for (const [key, id] of [
    ['Home', 1],
    ['ArrowDown', 2],
    ['ArrowDown', 3],
    ['ArrowUp', 2],
    ['End', 60],
    ['Home', 1],
  ]) {
    await page.keyboard.press(key);
    equal(`${key} moves to row ${id}`, await focusedRow(page), String(id));
  }
  await page.keyboard.press('PageDown');
  const paged = Number(await focusedRow(page));
  equal('Page Down moves by a screen', paged > 5 && paged < 60, true);
  await page.keyboard.press('PageUp');
  equal('Page Up moves back', await focusedRow(page), '1');
  await page.keyboard.press('Enter');
  equal('Enter shows the message', await text(page, 'detail-title'), 'Message 1');
  equal('and goes to it', await page.evaluate(() => document.activeElement.id), 'detail-title');
  await page.keyboard.press('Escape');
  equal('Escape closes it', await page.isVisible('#detail'), false);
  equal('and goes back to the row', await focusedRow(page), '1');
}
