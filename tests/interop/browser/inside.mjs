// What the tests run inside the page. Each function stands alone: it is sent there as text.

export function plainEcho({ size, kind }) {
  const bytes = Uint8Array.from({ length: size }, (_, index) => (index * 31) & 255);
  const mixed = 'é世👋a'.repeat(size / 10);
  const textOfSize = mixed + 'x'.repeat(size - new TextEncoder().encode(mixed).length);
  const sent = kind === 'text' ? textOfSize : bytes;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/echo`);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => socket.send(sent);
    socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
    socket.onmessage = ({ data }) => {
      const isText = typeof data === 'string';
      const got = isText ? new TextEncoder().encode(data) : new Uint8Array(data);
      const isEqual = isText ? data === sent : got.every((byte, index) => byte === sent[index]);
      socket.onclose = () =>
        resolve({ kind: isText ? 'text' : 'binary', size: got.length, isEqual });
      socket.close();
    };
  });
}

export function plainClose(codeAndReason) {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/echo`);
    socket.onopen = () => socket.close(...codeAndReason);
    socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
  });
}

export function plainBurst(count) {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/echo`);
    const got = [];
    socket.onopen = () => {
      for (let index = 0; index < count; index += 1) socket.send(String(index));
    };
    socket.onmessage = ({ data }) => {
      got.push(data);
      if (got.length === count) socket.close();
    };
    socket.onclose = () => {
      resolve({ count: got.length, isOrdered: got.every((data, index) => data === String(index)) });
    };
  });
}

export function recordStates() {
  const state = document.getElementById('state');
  window.recordedStates = [];
  window.stateObserver?.disconnect();
  window.stateObserver = new MutationObserver((records) => {
    for (const { addedNodes } of records) {
      for (const { data } of addedNodes) window.recordedStates.push(data);
    }
  });
  window.stateObserver.observe(state, { childList: true });
}

export function recordLongestFrame() {
  window.longestFrame = 0;
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    window.longestFrame = Math.max(window.longestFrame, now - last);
    last = now;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

export function scrollToMiddle() {
  const grid = document.getElementById('messages');
  const startedAt = performance.now();
  grid.scrollTop = grid.scrollHeight / 2;
  return new Promise((resolve) => {
    const look = () => {
      const { top, bottom } = grid.getBoundingClientRect();
      const inSight = [...grid.querySelectorAll('[data-id]')].find((row) => {
        const box = row.getBoundingClientRect();
        return box.top > (top + bottom) / 2 - 30 && box.bottom < (top + bottom) / 2 + 60;
      });
      if (inSight === undefined) requestAnimationFrame(look);
      else resolve({ milliseconds: performance.now() - startedAt, id: Number(inSight.dataset.id) });
    };
    look();
  });
}

export function unlabelled() {
  return [...document.querySelectorAll('input, select, textarea, button')]
    .filter(
      (control) =>
        !control.labels?.[0]?.textContent.trim() &&
        !control.getAttribute('aria-label') &&
        !(control.tagName === 'BUTTON' && control.textContent.trim()),
    )
    .map((control) => control.id);
}

export function widerThanScreen() {
  return (
    [...document.querySelectorAll('body *')]
      .filter((element) => element.checkVisibility())
      // Clipped to nothing, or scrolling by itself.
      .filter(
        (element) => element.closest('.visually-hidden, .grid-head, #detail-payload') === null,
      )
      .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
      .map((element) => element.id || element.className || element.tagName)
  );
}
