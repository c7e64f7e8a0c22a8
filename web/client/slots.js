/** @import { Slot } from "./protocol.js" */

/**
 * @typedef {{ track: string, mid: string | null }} Pointing a track and the m-line that now carries it
 */

/** The published track that each receiving m-line carries. The server decides. */
export class SlotTable {
  /** @type {Map<string, string>} */
  #trackByMid = new Map();
  /** @type {Map<string, string>} */
  #midByTrack = new Map();

  /**
   * @param {string} track
   * @returns {string | undefined} the m-line that carries it
   */
  midOf(track) {
    return this.#midByTrack.get(track);
  }

  /**
   * @param {Slot[]} slots the m-lines that changed, or all of them
   * @returns {Pointing[]} what moved: first every track that lost its m-line, then every track that
   *   has a new one, so that one m-line never shows in two places
   */
  apply(slots) {
    const before = new Map(this.#midByTrack);
    for (const { mid } of slots) {
      const track = this.#trackByMid.get(mid);
      if (track !== undefined) {
        this.#trackByMid.delete(mid);
        if (this.#midByTrack.get(track) === mid) this.#midByTrack.delete(track);
      }
    }
    for (const { mid, track } of slots) {
      if (track === null) continue;
      this.#trackByMid.set(mid, track);
      this.#midByTrack.set(track, mid);
    }
    return this.#movedSince(before);
  }

  /** @param {Map<string, string>} before */
  #movedSince(before) {
    /** @type {Pointing[]} */
    const lost = [];
    /** @type {Pointing[]} */
    const found = [];
    for (const track of before.keys()) {
      if (!this.#midByTrack.has(track)) lost.push({ track, mid: null });
    }
    for (const [track, mid] of this.#midByTrack) {
      if (before.get(track) !== mid) found.push({ track, mid });
    }
    return [...lost, ...found];
  }
}
