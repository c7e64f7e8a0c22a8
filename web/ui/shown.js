/**
 * @import { Room } from "../client/room.js"
 * @import { Grid } from "./grid.js"
 * @import { Tile } from "./tile.js"
 */

/** Tiles glide to their places; what counts is where they end up. */
const SETTLE_MS = 120;
/** A glide that never ends must not keep us from looking. */
const SETTLE_AT_MOST_MS = 600;
/** What no observer tells of: a panel over the tiles, a window on another screen. */
const LOOK_AGAIN_MS = 1_000;

/**
 * Watches what of the tiles is on the screen and how large, and tells the room, so that nothing is sent
 * that nobody can see. Our own tiles are none of the server's business.
 */
export class Shown {
  #room;
  #grid;
  /** @type {WeakSet<Tile>} whose size and place are observed */
  #observed = new WeakSet();
  /** @type {WeakMap<Tile, string>} the track about which something was said */
  #told = new WeakMap();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Since when tiles have been moving. */
  #since = 0;
  #resized = new ResizeObserver(() => this.#soon());
  #moved = new IntersectionObserver(() => this.#soon(), { threshold: [0, 0.1] });
  #look = () => this.#tell(false);
  #interval = setInterval(() => this.#tell(true), LOOK_AGAIN_MS);

  /** @param {{ room: Room, grid: Grid }} parts */
  constructor({ room, grid }) {
    this.#room = room;
    this.#grid = grid;
    grid.onPlaced = () => this.#soon();
    document.addEventListener("visibilitychange", this.#look);
  }

  close() {
    clearTimeout(this.#timer);
    clearInterval(this.#interval);
    this.#resized.disconnect();
    this.#moved.disconnect();
    this.#grid.onPlaced = () => {};
    document.removeEventListener("visibilitychange", this.#look);
  }

  #soon() {
    const now = performance.now();
    if (this.#timer === undefined) this.#since = now;
    else if (now - this.#since > SETTLE_AT_MOST_MS) return;
    clearTimeout(this.#timer);
    // Of a new tile the server believes that it is as large as can be: it is told at once.
    const isNew = [...this.#grid.tiles].some((tile) => !tile.own && tile.trackId !== null && this.#told.get(tile) !== tile.trackId);
    this.#timer = setTimeout(this.#look, isNew ? 0 : SETTLE_MS);
  }

  /** @param {boolean} isLate tiles have had the time to find their places */
  #tell(isLate) {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const tile of this.#grid.tiles) {
      if (tile.own) continue;
      this.#observe(tile);
      // Before the page shows the call there is nothing to look at.
      if (tile.trackId === null || !tile.element.isConnected) continue;
      const hasRoom = tile.element.offsetWidth > 0 && tile.element.offsetHeight > 0;
      if (!hasRoom && !isLate && !this.#told.has(tile)) continue;
      const visible = hasRoom && !document.hidden && isOnScreen(tile.element);
      const height = visible ? neededHeight(tile.pictureBox, devicePixelRatio) : 0;
      this.#room.setView(tile.trackId, { visible, height, pinned: tile.enlarged });
      this.#told.set(tile, tile.trackId);
    }
  }

  /** @param {Tile} tile */
  #observe(tile) {
    if (this.#observed.has(tile)) return;
    this.#observed.add(tile);
    this.#resized.observe(tile.element);
    this.#moved.observe(tile.element);
  }
}

/** Where something might lie over a tile, in shares of its width and height. */
const PROBES = [[0.5, 0.5], [0.15, 0.15], [0.85, 0.15], [0.15, 0.85], [0.85, 0.85]];

/**
 * @param {HTMLElement} element
 * @returns {boolean} whether any of the places we look at is inside the window and not under something else
 */
function isOnScreen(element) {
  const { left, top, width, height } = element.getBoundingClientRect();
  return PROBES.some(([x, y]) => {
    const hit = document.elementFromPoint(left + x * width, top + y * height);
    // Tiles slide over one another on their way; a dialog's backdrop lets them shine through.
    return hit !== null && (hit.closest(".tile, dialog") !== null || hit.contains(element));
  });
}

/**
 * How many lines of a picture its place shows, in the screen's own pixels. A picture that fills its place
 * is cut off at the sides or needs more lines than the place has.
 *
 * @param {{ width: number, height: number, aspect: number, whole: boolean }} box in CSS pixels; `aspect` of
 *   the picture, `whole` when it is shown uncut
 * @param {number} ratio device pixels for each CSS pixel
 */
export function neededHeight({ width, height, aspect, whole }, ratio) {
  const across = width / aspect;
  return Math.ceil((whole ? Math.min(height, across) : Math.max(height, across)) * ratio);
}
