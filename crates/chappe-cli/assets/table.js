// Draws the table of messages: only the rows in sight are in the document, however many there are.
//
// Rows have one height, read from the style sheet; a row stands at index times height. Elements are
// kept per message while it is in sight and then reused. The active row keeps its element wherever
// it is, so that the keyboard's focus is never lost by scrolling. What peers sent is set as
// textContent only.

import { indexOfId } from './messages.js';
import { formatBytes, formatMilliseconds, formatTime, preview } from './payload.js';

/** Rows drawn above and below those in sight. */
const OVERSCAN_ROWS = 10;
const COLUMNS = ['id', 'time', 'direction', 'kind', 'size', 'trip', 'payload'];

export class MessageTable {
  #grid;
  #body;
  #messages;
  #needFrame;
  #onOpen;
  #onFollow;
  #elements = new Map();
  #spare = [];
  #active = null;
  #selected = null;
  #following = true;
  #rowHeight = 28;
  #scrollTopSet = 0;
  #droppedSeen = 0;

  /**
   * `needFrame` asks for a call of `draw`; `onOpen(row, byKeyboard)` shows a row;
   * `onFollow(following)` tells.
   */
  constructor({ grid, body, messages, needFrame, onOpen, onFollow }) {
    this.#grid = grid;
    this.#body = body;
    this.#messages = messages;
    this.#needFrame = needFrame;
    this.#onOpen = onOpen;
    this.#onFollow = onFollow;
    grid.addEventListener('scroll', () => this.#handleScroll());
    grid.addEventListener('keydown', (event) => this.#handleKey(event));
    body.addEventListener('focusin', (event) => this.#handleFocus(event.target.message));
    body.addEventListener('click', (event) => this.#handleClick(event));
    new ResizeObserver(() => this.#measure()).observe(grid);
  }

  /** Draws the rows in sight. Called once a frame when something changed. */
  draw() {
    const rows = this.#messages.visible;
    this.#body.style.height = `${rows.length * this.#rowHeight}px`;
    this.#grid.setAttribute('aria-rowcount', rows.length + 1);
    this.#keepPlace();
    if (this.#following) this.#scrollTo(this.#grid.scrollHeight);
    this.#placeRows(rows, this.#indexesToDraw(rows));
  }

  follow(following) {
    if (following === this.#following) return;
    this.#following = following;
    this.#onFollow(following);
    this.#needFrame();
  }

  /** Marks the row that the detail shows; `null` for none. */
  select(row) {
    this.#selected = row;
    // The panel takes room from the table: the row it shows stays in sight.
    const index = this.#indexOf(row);
    if (index !== -1) this.#bringIntoSight(index);
    this.#needFrame();
  }

  focusRow(row) {
    const index = this.#indexOf(row);
    if (index === -1) this.#grid.focus();
    else this.#moveTo(index);
  }

  /** When old rows go, what is in sight stays in sight. */
  #keepPlace() {
    const dropped = this.#messages.droppedCount - this.#droppedSeen;
    this.#droppedSeen = this.#messages.droppedCount;
    if (dropped > 0) this.#scrollTo(Math.max(0, this.#grid.scrollTop - dropped * this.#rowHeight));
  }

  #indexesToDraw(rows) {
    const top = this.#grid.scrollTop / this.#rowHeight;
    const rowsInSight = this.#grid.clientHeight / this.#rowHeight;
    const first = Math.max(0, Math.min(Math.floor(top), rows.length - 1) - OVERSCAN_ROWS);
    const end = Math.min(rows.length, Math.ceil(top + rowsInSight) + OVERSCAN_ROWS);
    const indexes = [];
    for (let index = first; index < end; index += 1) indexes.push(index);
    const active = this.#indexOf(this.#active);
    if (active === -1) this.#active = null;
    else if (active < first) indexes.unshift(active);
    else if (active >= end) indexes.push(active);
    return indexes;
  }

  #placeRows(rows, indexes) {
    const drawn = new Set(indexes.map((index) => rows[index]));
    for (const [row, element] of this.#elements) if (!drawn.has(row)) this.#release(row, element);
    const tabStop = this.#active ?? rows[this.#lastIndexInSight(rows)];
    const elements = indexes.map((index) => {
      const element = this.#elementFor(rows[index]);
      this.#setRow(element, rows[index], index, rows[index] === tabStop);
      return element;
    });
    for (const element of this.#spare) element.remove();
    this.#putInOrder(elements);
  }

  #lastIndexInSight(rows) {
    const bottom = this.#grid.scrollTop + this.#grid.clientHeight - this.#body.offsetTop;
    return Math.max(0, Math.min(rows.length, Math.floor(bottom / this.#rowHeight)) - 1);
  }

  #release(row, element) {
    // The focused row was filtered out or dropped: the table keeps the focus in its stead.
    if (element === document.activeElement) this.#grid.focus({ preventScroll: true });
    this.#elements.delete(row);
    this.#spare.push(element);
  }

  #elementFor(row) {
    let element = this.#elements.get(row);
    if (element === undefined) {
      element = this.#spare.pop() ?? newRowElement();
      this.#elements.set(row, element);
    }
    return element;
  }

  #setRow(element, row, index, isTabStop) {
    if (element.message !== row || element.shownPayload !== row.payload) fillRow(element, row);
    element.style.top = `${index * this.#rowHeight}px`;
    element.setAttribute('aria-rowindex', index + 2);
    element.setAttribute('aria-selected', row === this.#selected);
    element.tabIndex = isTabStop ? 0 : -1;
  }

  /**
   * Screen readers go by the document's order. The focused element must not move: it would lose
   * the focus.
   */
  #putInOrder(elements) {
    let next = this.#body.firstElementChild;
    for (const element of elements) {
      while (element === document.activeElement && next !== element) {
        const after = next.nextElementSibling;
        this.#body.append(next);
        next = after;
      }
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
  }

  #handleScroll() {
    if (this.#grid.scrollTop !== this.#scrollTopSet) {
      this.#scrollTopSet = this.#grid.scrollTop;
      const below = this.#grid.scrollHeight - this.#grid.clientHeight - this.#grid.scrollTop;
      this.follow(below < this.#rowHeight / 2);
    }
    this.#needFrame();
  }

  #scrollTo(top) {
    this.#grid.scrollTop = top;
    this.#scrollTopSet = this.#grid.scrollTop;
  }

  #handleFocus(row) {
    // A row that is read must not run away.
    this.follow(false);
    this.#active = row;
    this.#needFrame();
  }

  #handleClick(event) {
    const element = event.target.closest('[role=row]');
    if (element !== null) this.#onOpen(element.message, false);
  }

  #handleKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.#messages.visible.length - 1;
    if (last < 0) return;
    const index = this.#indexOf(this.#active);
    const page = Math.max(1, Math.floor(this.#heightInSight() / this.#rowHeight) - 1);
    const targets = {
      ArrowUp: index - 1,
      ArrowDown: index + 1,
      PageUp: index - page,
      PageDown: index + page,
      Home: 0,
      End: last,
    };
    if (event.key in targets) {
      event.preventDefault();
      this.#moveTo(Math.max(0, Math.min(last, targets[event.key])));
    } else if (event.key === 'Enter' && index !== -1) {
      event.preventDefault();
      this.#onOpen(this.#active, true);
    }
  }

  #moveTo(index) {
    this.follow(false);
    this.#active = this.#messages.visible[index];
    this.#bringIntoSight(index);
    this.draw();
    this.#elements.get(this.#active).focus({ preventScroll: true });
    if (this.#selected !== null) this.#onOpen(this.#active, false);
  }

  #bringIntoSight(index) {
    const top = index * this.#rowHeight;
    const highest = top + this.#rowHeight - this.#heightInSight();
    if (this.#grid.scrollTop > top) this.#scrollTo(top);
    else if (this.#grid.scrollTop < highest) this.#scrollTo(highest);
  }

  /** The sticky head covers the top of the grid. */
  #heightInSight() {
    return this.#grid.clientHeight - this.#body.offsetTop;
  }

  #indexOf(row) {
    if (row === null) return -1;
    const rows = this.#messages.visible;
    const index = indexOfId(rows, row.id);
    return rows[index] === row ? index : -1;
  }

  #measure() {
    const [element] = this.#elements.values();
    const probe = element ?? newRowElement();
    if (element === undefined) this.#body.append(probe);
    const height = probe.getBoundingClientRect().height;
    if (element === undefined) probe.remove();
    if (height > 0 && height !== this.#rowHeight) {
      const index = this.#grid.scrollTop / this.#rowHeight;
      this.#rowHeight = height;
      this.#body.style.height = `${this.#messages.visible.length * height}px`;
      this.#scrollTo(index * height);
    }
    this.#needFrame();
  }
}

function newRowElement() {
  const element = document.createElement('div');
  element.className = 'grid-row';
  element.setAttribute('role', 'row');
  for (const column of COLUMNS) {
    const cell = document.createElement('span');
    cell.className = `cell-${column}`;
    cell.setAttribute('role', 'gridcell');
    element.append(cell);
  }
  return element;
}

function fillRow(element, row) {
  element.message = row;
  element.shownPayload = row.payload;
  element.dataset.id = row.id;
  element.dataset.direction = row.direction;
  element.classList.toggle('without-payload', row.payload === null);
  const texts = [
    String(row.id),
    formatTime(row.time),
    row.direction,
    row.kind,
    formatBytes(row.size),
    row.roundTrip === null ? '' : formatMilliseconds(row.roundTrip),
    preview(row),
  ];
  for (const [index, text] of texts.entries()) element.children[index].textContent = text;
}
