import { h } from "./dom.js";
import { arrangeFeatured } from "./layout.js";
import { promote } from "./order.js";

/** @import { Tile } from "./tile.js" */

const GAP = 10;
const NARROW_GAP = 6;
const NARROW = 640;
/**
 * Number of places, in reading order, where speakers should be found, however many people there
 * are.
 */
const IN_FRONT = 6;

/** The tiles of a call, placed again whenever their number or the space changes. */
export class Grid {
  element = h("ul", { class: "grid", role: "list", "aria-label": "People in this call" });
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {string | null} the tile a person asked to see large */
  #enlarged = null;
  /** Called whenever tiles were placed anew. */
  onPlaced = () => {};
  /** Called when a tile goes that had the focus. */
  onFocusLost = () => {};
  #resized = new ResizeObserver(() => this.#place());

  constructor() {
    this.#resized.observe(this.element);
  }

  /** @returns {IterableIterator<Tile>} */
  get tiles() {
    return this.#tiles.values();
  }

  /** @param {string} id */
  get(id) {
    return this.#tiles.get(id);
  }

  /** @param {Tile} tile */
  add(tile) {
    this.#tiles.set(tile.id, tile);
    // Placed before it is in the page: it should appear where it belongs, not fly in from a corner.
    this.#place();
    this.element.append(tile.element);
  }

  /** @param {string} id */
  remove(id) {
    const tile = this.#tiles.get(id);
    const hadFocus = tile?.element.contains(document.activeElement) ?? false;
    tile?.remove();
    this.#tiles.delete(id);
    if (this.#enlarged === id) this.#enlarged = null;
    this.#place();
    if (hadFocus) this.onFocusLost();
  }

  /** @param {string} id */
  toggleEnlarged(id) {
    this.#enlarged = this.#enlarged === id ? null : id;
    this.#place();
  }

  /**
   * Keeps recent speakers in front.
   *
   * @param {readonly string[]} recent ids of tiles, the latest first
   */
  bringForward(recent) {
    const before = [...this.#tiles.keys()];
    const order = promote(before, recent, IN_FRONT, (id) => this.#tiles.get(id)?.own === true);
    if (order.every((id, index) => id === before[index])) return;
    const tiles = new Map(this.#tiles);
    this.#tiles.clear();
    for (const id of order) this.#tiles.set(id, /** @type {Tile} */ (tiles.get(id)));
    this.#place();
  }

  close() {
    this.#resized.disconnect();
    for (const tile of this.#tiles.values()) tile.remove();
    this.#tiles.clear();
  }

  #place() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const featured = this.#featured();
    const others = [...this.#tiles.values()].filter((tile) => !featured.includes(tile));
    const gap = width < NARROW ? NARROW_GAP : GAP;
    const rects = arrangeFeatured({ featured: featured.length, others: others.length }, { width, height }, gap);
    featured.forEach((tile, index) => rects.featured[index] && tile.place(rects.featured[index]));
    others.forEach((tile, index) => rects.others[index] && tile.place(rects.others[index]));
    for (const tile of this.#tiles.values()) {
      tile.setEnlarged(tile.id === this.#enlarged);
      tile.element.classList.toggle("featured", featured.includes(tile));
    }
    this.onPlaced();
  }

  /**
   * The tile that a person enlarged, else every screen that somebody else shares, else our own
   * screen.
   */
  #featured() {
    const tiles = [...this.#tiles.values()];
    const enlarged = this.#enlarged === null ? undefined : this.#tiles.get(this.#enlarged);
    if (enlarged) return [enlarged];
    const screens = tiles.filter(({ kind }) => kind === "screen");
    const theirs = screens.filter(({ own }) => !own);
    return theirs.length > 0 ? theirs : screens;
  }
}
