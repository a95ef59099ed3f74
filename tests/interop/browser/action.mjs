// What a person does on the echo page, and what they read there. Nothing sleeps: all is waited for.

export async function connect(page, subprotocol) {
  await page.selectOption('#subprotocol', subprotocol);
  await page.click('#connect');
  await page.locator('#state[data-state=OPEN]').waitFor();
}

export async function failToConnect(page) {
  await page.click('#connect');
  await filled(page, 'failure');
}

export async function closeWith(page, code, reason) {
  await page.fill('#close-code', code);
  await page.fill('#close-reason', reason);
  await page.click('#close');
  await page.locator('#state[data-state=CLOSED]').waitFor();
}

export async function sendText(page, payload) {
  await page.check('#kind-text');
  await page.fill('#payload', payload);
  await sendAndWait(page);
}

export async function sendAndWait(page) {
  const before = Number(await text(page, 'received-messages'));
  await page.click('#send');
  await reaches(page, 'received-messages', before + 1);
}

export async function detailOf(page, id, view) {
  await page.click(`[data-id="${id}"]`);
  await page.check(`#view-${view}`);
  return text(page, 'detail-payload');
}

export async function tabTo(page, id, key = 'Tab') {
  for (let presses = 0; presses < 60; presses += 1) {
    if ((await page.evaluate(() => document.activeElement.id)) === id) return;
    await page.keyboard.press(key);
  }
  throw new Error(`${key} never came to #${id}`);
}

export function focusedRow(page) {
  return page.evaluate(() => document.activeElement.dataset.id);
}

export function text(page, id) {
  return page.locator(`#${id}`).evaluate((element) => element.textContent);
}

export function background(page) {
  return page.evaluate(() => getComputedStyle(document.body).backgroundColor);
}

/** Waits until the number shown by `id` is `count`. */
export function reaches(page, id, count, timeout = 30_000) {
  const isReached = ([where, number]) =>
    Number(document.getElementById(where).textContent.replaceAll(',', '')) === number;
  return page.waitForFunction(isReached, [id, count], { timeout });
}

export function filled(page, id) {
  return page.waitForFunction((where) => document.getElementById(where).textContent !== '', id);
}
