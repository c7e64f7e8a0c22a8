import { GIVE_UP_AFTER_MS } from "./reconnect.js";

/** @import { Shown } from "./views.js" */

/**
 * Tracks whose wishes are kept: as many as one message may name. Beyond this the oldest are forgotten, and their tracks
 * come as any others.
 */
const MOST = 1024;

/**
 * @typedef {object} Wishes what we wanted of a track
 * @property {boolean} [wanted] to receive it or not, if we chose
 * @property {Shown} [shown] how it was shown, if we said
 */

/**
 * What we wanted of tracks that were gone when we came back. Their publishers may have lost the server as we did; they
 * come back as the same participants, with tracks of other ids.
 */
export class Remembered {
  /** @type {Map<string, Wishes & { until: number }>} by participant and source, oldest first */
  #wishes = new Map();

  /**
   * @param {string} participantId
   * @param {string} source
   * @param {Wishes} wishes
   */
  keep(participantId, source, wishes) {
    if (wishes.wanted === undefined && wishes.shown === undefined) return;
    const key = keyOf(participantId, source);
    this.#wishes.delete(key);
    // Whoever has lost the server gives up after this time.
    this.#wishes.set(key, { ...wishes, until: Date.now() + GIVE_UP_AFTER_MS });
    const [oldest] = this.#wishes.keys();
    if (this.#wishes.size > MOST) this.#wishes.delete(oldest);
  }

  /**
   * @param {string} participantId
   * @param {string} source of a track that has come
   * @returns {Wishes} those for the one that it takes the place of, once
   */
  take(participantId, source) {
    const key = keyOf(participantId, source);
    const wishes = this.#wishes.get(key);
    this.#wishes.delete(key);
    return wishes && Date.now() < wishes.until ? wishes : {};
  }
}

/**
 * @param {string} participantId
 * @param {string} source
 */
function keyOf(participantId, source) {
  return `${participantId} ${source}`;
}
