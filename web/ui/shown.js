/**
 * @import { Room } from "../client/index.js"
 * @import { Grid } from "./grid.js"
 * @import { Tile } from "./tile.js"
 */

/** Time for tiles to glide to their places; only the final places count. */
const SETTLE_MS = 120;
/** A glide that never ends must not keep us from looking. */
const SETTLE_AT_MOST_MS = 600;
/** Interval of checks for changes that no observer reports: a panel over the tiles, a window on another screen. */
const LOOK_AGAIN_MS = 1_000;

/**
 * Watches which tiles are on the screen and how large, and tells the room, so that the server sends nothing that is not
 * visible. Our own tiles are not reported.
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
    // The server assumes the largest size for a new tile, so that it is told at once.
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
      // Before the page shows the call no tile is placed.
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

/** Points of a tile where something might lie over it, in shares of its width and height. */
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
 * The number of picture lines that a place shows, in the screen's own pixels. A picture that fills its place is cut off
 * at the sides, or needs more lines than the place has.
 *
 * @param {{ width: number, height: number, aspect: number, whole: boolean }} box in CSS pixels; `aspect` of
 *   the picture, `whole` when it is shown uncut
 * @param {number} ratio device pixels for each CSS pixel
 */
export function neededHeight({ width, height, aspect, whole }, ratio) {
  const across = width / aspect;
  return Math.ceil((whole ? Math.min(height, across) : Math.max(height, across)) * ratio);
}
