// The echo page: connects to a WebSocket endpoint of its own origin, sends, closes, and shows what
// happens.
//
// Here are the connection, the forms and what is said to screen readers. The rest is next door:
// `messages.js` keeps, `table.js` draws, `payload.js` shows one message, `round-trips.js` measures,
// `closing.js` knows the closing handshake.
//
// State, code and reason are named as in RFC 6455. What a peer sends goes on screen as text, never
// as HTML.

import { CloseSides, meaningOf, readClose, reasonBytesLeft } from './closing.js';
import { Messages, ROWS_MAX } from './messages.js';
import { Detail, formatBytes, formatNumber } from './payload.js';
import { RoundTrips, drawPlot } from './round-trips.js';
import { MessageTable } from './table.js';

const STATES = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'];
const TIMES_MAX = 100_000;
/** A run of messages waits while the browser holds more than this unsent. */
const BUFFERED_BYTES_MAX = 1024 * 1024;
/** How long a run sends, and the filter looks, before the page may do something else. */
const TURN_MILLISECONDS = 6;
/** Received messages are announced together: so long after the first, and once in an interval. */
const ANNOUNCE_AFTER_MILLISECONDS = 1000;
const ANNOUNCE_INTERVAL_MILLISECONDS = 10_000;

const UTF8 = new TextEncoder();

const element = (id) => document.getElementById(id);

const messages = new Messages();
const roundTrips = new RoundTrips();
const closeSides = new CloseSides(element('close-sides'));
const detail = new Detail(element('detail'), closeDetail);
const table = new MessageTable({
  grid: element('messages'),
  body: element('messages-body'),
  messages,
  needFrame,
  onOpen: openDetail,
  onFollow: (following) => element('follow').setAttribute('aria-pressed', following),
});

let socket = null;
/** What was given to the constructor, and whether the connection was OPEN, and closed by us. */
let attempt = { url: '', offered: [], wasOpen: false, closeAsked: false };
let run = null;
let frameAsked = false;
let unannouncedCount = 0;
let announceAgainAt = 0;
let matchesUnannounced = false;

start();

function start() {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  element('url').value = `${scheme}://${location.host}/echo`;
  listenToForms();
  showKind();
  showSubprotocolField();
  showTerminalCommand();
  showReasonLeft();
  showState();
  needFrame();
}

function listenToForms() {
  onSubmit('connect-form', connect);
  onSubmit('send-form', send);
  onSubmit('close-form', close);
  onSubmit('filter-form', () => {});
  element('url').addEventListener('input', showTerminalCommand);
  element('subprotocol').addEventListener('change', showSubprotocolField);
  element('copy-command').addEventListener('click', copyCommand);
  element('send-form').addEventListener('keydown', sendByKey);
  for (const radio of kindRadios()) radio.addEventListener('change', showKind);
  element('payload').addEventListener('input', recheckPayload);
  element('stop').addEventListener('click', () => endRun('stopped'));
  element('close-reason').addEventListener('input', showReasonLeft);
  element('filter-form').addEventListener('input', filterMessages);
  element('follow').addEventListener('click', () => {
    table.follow(element('follow').getAttribute('aria-pressed') !== 'true');
  });
  element('clear').addEventListener('click', clearMessages);
}

function onSubmit(id, handle) {
  element(id).addEventListener('submit', (event) => {
    event.preventDefault();
    handle();
  });
}

// ---- Connecting ----

function connect() {
  clearError('connect-error', 'url', 'subprotocol-custom');
  element('failure').replaceChildren();
  if (state() !== 'CLOSED')
    return showError('connect-error', null, `The state is ${state()}: close first.`);
  const { url, error } = readUrl();
  if (error) return showError('connect-error', 'url', error);
  open(url, offeredSubprotocols());
}

function open(url, offered) {
  try {
    socket = new WebSocket(url, offered);
  } catch (error) {
    // A subprotocol that is not a token, or is there twice.
    return showError('connect-error', 'subprotocol-custom', error.message);
  }
  attempt = { url, offered, wasOpen: false, closeAsked: false };
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('open', handleOpen);
  socket.addEventListener('message', handleMessage);
  socket.addEventListener('close', handleClose);
  roundTrips.forgetWaiting();
  closeSides.reset();
  showAgreed('–', '–');
  showState();
}

function handleOpen() {
  attempt.wasOpen = true;
  showAgreed(socket.protocol || 'none', socket.extensions || 'none');
  showState();
}

function handleMessage({ data }) {
  const now = performance.now();
  const isText = typeof data === 'string';
  const payload = isText ? data : new Uint8Array(data);
  const row = messages.add({
    direction: 'received',
    kind: isText ? 'text' : 'binary',
    payload,
    size: isText ? utf8Length(data) : payload.length,
    time: performance.timeOrigin + now,
  });
  roundTrips.handleReceived(row, now);
  announceReceived();
  needFrame();
}

function handleClose({ code, reason, wasClean }) {
  closeSides.showReceived({ code, reason, wasClean });
  if (run !== null) endRun('ended by the close');
  showState();
  if (!attempt.wasOpen) showConnectionFailure();
  else if (!wasClean) showUncleanEnd(code);
  else if (!attempt.closeAsked)
    announce(`The server closed with ${code}, ${meaningOf(code)}. ${reason}`);
}

/** The URL of the field if the page may connect to it, else the error in words. */
function readUrl() {
  const text = element('url').value.trim();
  let url;
  try {
    url = new URL(text);
  } catch {
    return { error: 'This is not a URL. It looks like ws://host:port/path.' };
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    return {
      error: `The scheme of a WebSocket URL is ws or wss, not ${url.protocol.slice(0, -1)}.`,
    };
  }
  if (url.hash !== '' || text.endsWith('#'))
    return { error: 'A WebSocket URL has no fragment (#…).' };
  if (url.host !== location.host) {
    const advice = `For other servers: ${terminalCommand(url.href)}`;
    return { error: `This page may only connect to ${location.host}. ${advice}` };
  }
  return { url: url.href };
}

function offeredSubprotocols() {
  const chosen = element('subprotocol').value;
  const list = chosen === 'other' ? element('subprotocol-custom').value : chosen;
  return list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

function showConnectionFailure() {
  if (attempt.closeAsked) return showFailure('Given up before the connection was OPEN.', []);
  const causes = [
    'The server is not running, or cannot be reached.',
    'Nothing on this path speaks WebSocket: the server answered with an HTTP error.',
    'The server refused the handshake, such as for its Origin, or being full.',
  ];
  if (attempt.offered.length > 0) {
    causes.unshift(
      `The server agreed to none of the subprotocols offered: ${attempt.offered.join(', ')}. ` +
        'A browser then fails the connection.',
    );
  }
  if (attempt.url.startsWith('wss:'))
    causes.push('The certificate is not trusted, or the server speaks no TLS.');
  showFailure(
    `The connection to ${attempt.url} failed before it was OPEN. ` +
      'Browsers do not tell a page why. It can be:',
    causes,
  );
}

function showUncleanEnd(code) {
  const causes = [
    'The server stopped or crashed.',
    'The network between was cut.',
    'A rule of the protocol was broken.',
  ];
  showFailure(`The connection ended with ${code}, without a closing handshake. It can be:`, causes);
}

function showFailure(sentence, causes) {
  const paragraph = newElement('p', sentence);
  const items = causes.map((cause) => newElement('li', cause));
  const list = newElement('ul');
  list.append(...items);
  const advice = newElement('p', 'This tells which: ');
  advice.append(newElement('code', terminalCommand(attempt.url)));
  element('failure').replaceChildren(paragraph, ...(causes.length > 0 ? [list, advice] : []));
}

// ---- Sending ----

async function send() {
  clearError('send-error', 'payload', 'file', 'times');
  if (run !== null) return showError('send-error', null, 'A run is under way: stop it first.');
  const times = Number(element('times').value);
  if (!Number.isInteger(times) || times < 1 || times > TIMES_MAX) {
    return showError(
      'send-error',
      'times',
      `A message is sent 1 to ${formatNumber(TIMES_MAX)} times.`,
    );
  }
  const { message, field, error } = await readMessage();
  if (error) return showError('send-error', field, error);
  await painted();
  // Asked last, as reading a file takes its time.
  if (state() !== 'OPEN')
    return showError('send-error', null, `Not sent: the state is ${state()}. Connect first.`);
  if (times === 1) sendOnce(message);
  else startRun(message, times);
  needFrame();
}

function sendByKey(event) {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  send();
}

/** The message of the form: `{ message: { kind, payload, size } }`, or `{ field, error }`. */
async function readMessage() {
  if (chosenKind() === 'file') return readFile();
  // Half a surrogate pair cannot be sent; the browser would put U+FFFD in its place on the way.
  const text = element('payload').value.toWellFormed?.() ?? element('payload').value;
  const error = chosenKind() === 'json' ? jsonError(text) : null;
  if (error) return { field: 'payload', error };
  return { message: { kind: 'text', payload: text, size: utf8Length(text) } };
}

async function readFile() {
  const [file] = element('file').files;
  if (file === undefined) return { field: 'file', error: 'Choose a file first.' };
  try {
    const payload = new Uint8Array(await file.arrayBuffer());
    return { message: { kind: 'binary', payload, size: payload.length } };
  } catch (error) {
    return { field: 'file', error: `The file cannot be read: ${error.message}` };
  }
}

function jsonError(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return `Not sent, because it is not JSON: ${error.message}`;
  }
}

/**
 * Resolves after the next paint. From a click or a key until then a browser holds back other work,
 * the arrival of messages included: Chromium made 13 ms of a round trip of 0.6 ms.
 */
function painted() {
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve, 0));
  });
}

function sendOnce(message) {
  const now = performance.now();
  socket.send(message.payload);
  const row = messages.add({ direction: 'sent', ...message, time: performance.timeOrigin + now });
  roundTrips.handleSent(row, now);
}

function startRun(message, times) {
  run = { message, times, sent: 0 };
  element('stop').hidden = false;
  continueRun();
}

/**
 * Sends a little, then lets the page live: `bufferedAmount` says when the network cannot keep up.
 */
function continueRun() {
  if (run === null) return;
  const deadline = performance.now() + TURN_MILLISECONDS;
  while (
    run.sent < run.times &&
    socket.bufferedAmount < BUFFERED_BYTES_MAX &&
    performance.now() < deadline
  ) {
    sendOnce(run.message);
    run.sent += 1;
  }
  needFrame();
  element('run-progress').textContent =
    `Sent ${formatNumber(run.sent)} of ${formatNumber(run.times)}.`;
  if (run.sent === run.times) endRun('done');
  else setTimeout(continueRun, 0);
}

function endRun(how) {
  if (run === null) return;
  const text = `Sent ${formatNumber(run.sent)} of ${formatNumber(run.times)}: ${how}.`;
  run = null;
  if (document.activeElement === element('stop')) element('send').focus();
  element('stop').hidden = true;
  element('run-progress').textContent = text;
  announce(text);
}

function recheckPayload() {
  if (element('payload').getAttribute('aria-invalid') !== 'true') return;
  const error = chosenKind() === 'json' ? jsonError(element('payload').value) : null;
  if (error === null) clearError('send-error', 'payload');
}

function showKind() {
  const kind = chosenKind();
  element('file-field').hidden = kind !== 'file';
  element('payload-field').hidden = kind === 'file';
  element('payload-label').textContent =
    kind === 'json' ? 'JSON, checked before it is sent' : 'Text';
  clearError('send-error', 'payload', 'file', 'times');
}

function kindRadios() {
  return element('send-form').querySelectorAll('input[name=kind]');
}

function chosenKind() {
  return element('send-form').querySelector('input[name=kind]:checked').value;
}

// ---- Closing ----

function close() {
  clearError('close-error', 'close-code', 'close-reason');
  if (state() === 'CLOSED' || state() === 'CLOSING') {
    return showError('close-error', null, `Nothing to close: the state is ${state()}.`);
  }
  const { code, reason, field, error } = readClose(
    element('close-code').value,
    element('close-reason').value,
  );
  if (error) return showError('close-error', `close-${field}`, error);
  if (code === undefined) socket.close();
  else socket.close(code, reason);
  attempt.closeAsked = true;
  closeSides.showAsked({ code, reason });
  showState();
}

function showReasonLeft() {
  const left = reasonBytesLeft(element('close-reason').value);
  const unit = Math.abs(left) === 1 ? 'byte' : 'bytes';
  element('close-reason-left').textContent =
    left >= 0 ? `${left} ${unit} left for the reason` : `${-left} ${unit} too many for the reason`;
  element('close-reason-left').classList.toggle('over', left < 0);
}

// ---- Showing ----

function state() {
  return socket === null ? 'CLOSED' : STATES[socket.readyState];
}

function showState() {
  const now = state();
  element('state').textContent = now;
  element('state').dataset.state = now;
  element('semaphore').dataset.state = now;
  // Not `disabled`: a button that cannot do its work just now keeps the focus and says why.
  element('connect').setAttribute('aria-disabled', now !== 'CLOSED');
  element('send').setAttribute('aria-disabled', now !== 'OPEN');
  element('close').setAttribute('aria-disabled', now === 'CLOSED' || now === 'CLOSING');
}

function showAgreed(subprotocol, extensions) {
  element('agreed-subprotocol').textContent = subprotocol;
  element('agreed-extensions').textContent = extensions;
}

function needFrame() {
  if (frameAsked) return;
  frameAsked = true;
  requestAnimationFrame(drawFrame);
}

function drawFrame() {
  frameAsked = false;
  const filterDone = messages.advance(TURN_MILLISECONDS);
  table.draw();
  detail.refreshFacts();
  showTraffic();
  showCounts(filterDone);
  drawPlot(
    {
      plot: element('plot'),
      strokes: element('plot-samples'),
      median: element('plot-median'),
      top: element('plot-top'),
      text: element('round-trips-text'),
    },
    roundTrips.samples,
  );
  if (!filterDone) needFrame();
}

function showTraffic() {
  for (const [direction, { messages: count, bytes }] of Object.entries(messages.traffic)) {
    element(`${direction}-messages`).textContent = formatNumber(count);
    element(`${direction}-bytes`).textContent = formatBytes(bytes);
  }
}

function showCounts(filterDone) {
  const shown = messages.visible.length;
  const all = counted(messages.count, 'message');
  const kept = messages.droppedCount > 0 ? `, the newest of at most ${formatNumber(ROWS_MAX)}` : '';
  const text = messages.isFiltered ? `${formatNumber(shown)} of ${all}` : `${all}${kept}`;
  element('shown-count').textContent = filterDone ? text : `${text}, still looking…`;
  element('empty').hidden = shown > 0;
  element('empty').textContent = emptyText(filterDone);
  if (filterDone && matchesUnannounced) {
    matchesUnannounced = false;
    announce(messages.isFiltered ? `${text} shown` : 'All messages shown');
  }
}

function emptyText(filterDone) {
  if (!filterDone) return 'Looking…';
  return messages.count > 0
    ? 'No message passes the filter.'
    : 'No messages yet. Connect, then send one.';
}

function filterMessages() {
  messages.filter({
    direction: element('filter-direction').value,
    kind: element('filter-kind').value,
    text: element('filter-text').value,
  });
  matchesUnannounced = true;
  needFrame();
}

function clearMessages() {
  messages.clear();
  roundTrips.clear();
  closeDetail();
  announce('Messages cleared');
  needFrame();
}

function openDetail(row, byKeyboard) {
  detail.show(row);
  table.select(row);
  if (byKeyboard) detail.focus();
}

function closeDetail() {
  const { row } = detail;
  const hadFocus = element('detail').contains(document.activeElement);
  detail.hide();
  table.select(null);
  if (hadFocus && row !== null) table.focusRow(row);
}

function showSubprotocolField() {
  element('subprotocol-custom-field').hidden = element('subprotocol').value !== 'other';
}

function showTerminalCommand() {
  element('terminal-command').textContent = terminalCommand(element('url').value.trim());
}

/** A URL that a shell would take apart is quoted. */
function terminalCommand(url) {
  const isPlain = /^[\w:/.@%~+,=[\]-]+$/.test(url);
  return `chappe connect ${isPlain ? url : `'${url.replaceAll("'", `'\\''`)}'`}`;
}

async function copyCommand() {
  try {
    await navigator.clipboard.writeText(element('terminal-command').textContent);
    announce('Copied');
    element('copy-command').textContent = 'Copied';
    setTimeout(() => {
      element('copy-command').textContent = 'Copy';
    }, 2000);
  } catch {
    getSelection().selectAllChildren(element('terminal-command'));
    announce('The browser does not allow copying here; the command is selected');
  }
}

// ---- Errors and announcements ----

/** Shows `text` in the alert `id` and marks the field it is about, if it is about one. */
function showError(id, field, text) {
  element(id).textContent = text;
  if (field !== null) {
    element(field).setAttribute('aria-invalid', 'true');
    element(field).focus();
  }
}

function clearError(id, ...fields) {
  element(id).textContent = '';
  for (const field of fields) element(field).removeAttribute('aria-invalid');
}

function announce(text) {
  element('announcer').textContent = text;
}

/** Each message announced would be a flood: they are counted, and the count is told at times. */
function announceReceived() {
  unannouncedCount += 1;
  if (unannouncedCount > 1) return;
  const wait = Math.max(ANNOUNCE_AFTER_MILLISECONDS, announceAgainAt - performance.now());
  setTimeout(() => {
    announce(`${counted(unannouncedCount, 'message')} received`);
    announceAgainAt = performance.now() + ANNOUNCE_INTERVAL_MILLISECONDS;
    unannouncedCount = 0;
  }, wait);
}

function counted(count, noun) {
  return `${formatNumber(count)} ${noun}${count === 1 ? '' : 's'}`;
}

function utf8Length(text) {
  return UTF8.encode(text).length;
}

function newElement(name, text = '') {
  const created = document.createElement(name);
  created.textContent = text;
  return created;
}
