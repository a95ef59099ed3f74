// Prints a line per check, and counts them.

import { text } from './action.mjs';

export const counts = { all: 0, failed: 0 };

export function ok(name) {
  report(name, true);
}

export function equal(name, got, expected) {
  report(
    name,
    JSON.stringify(got) === JSON.stringify(expected),
    JSON.stringify(expected),
    JSON.stringify(got),
  );
}

export function match(name, got, pattern) {
  report(name, pattern.test(got), String(pattern), JSON.stringify(got));
}

export function report(name, isOk, expected, got) {
  counts.all += 1;
  if (!isOk) counts.failed += 1;
  console.log(isOk ? `ok - ${name}` : `not ok - ${name}: expected ${expected}, got ${got}`);
}

/** A check that waits for its text. */
export async function becomes(page, id, expected, name) {
  const isThere = ([where, wanted]) => document.getElementById(where).textContent === wanted;
  await page.waitForFunction(isThere, [id, expected], { timeout: 30_000 }).catch(() => {});
  equal(name, await text(page, id), expected);
}
