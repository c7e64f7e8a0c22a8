/** @import { TrackView } from "./protocol.js" */

/** While a window is being resized its tiles change with every frame; the server needs the outcome. */
const BATCH_MS = 100;
/** After a refusal, which is for saying too much. */
const RETRY_MS = 1_000;
/** Views that one message may hold. */
const MOST = 256;
/** Largest height on the wire: it has 16 bits. */
const HIGHEST = 65_535;

/**
 * @typedef {object} Shown how a track is shown
 * @property {boolean} [visible] it is on the screen; true if left out. A hidden track is not sent
 * @property {number} [height] height of its place on the screen in device pixels; 0, or left out, if unknown
 * @property {boolean} [pinned] it matters more than others
 */

/** Keeps the server informed of how tracks are shown: changes only, some at a time, and all again to a new one. */
export class Views {
  /** @type {Map<string, TrackView>} */
  #views = new Map();
  /** @type {Set<string>} tracks that are of no use to us, however they are shown */
  #useless = new Set();
  /** @type {Set<string>} of what the server does not know yet */
  #changed = new Set();
  /** @type {((tracks: TrackView[]) => Promise<unknown>) | null} null while there is no server */
  #send = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} trackId
   * @param {Shown} shown
   */
  set(trackId, { visible = true, height = 0, pinned = false }) {
    const view = { track: trackId, visible, height: Math.min(HIGHEST, Math.max(0, Math.round(height))), pinned };
    const known = this.#views.get(trackId);
    if (known && known.visible === visible && known.height === view.height && known.pinned === pinned) return;
    this.#views.set(trackId, view);
    this.#changed.add(trackId);
    this.#schedule(BATCH_MS);
  }

  /**
   * Has a track not sent, whatever its view, or sent again.
   *
   * @param {string} trackId
   * @param {boolean} isUseless
   */
  setUseless(trackId, isUseless) {
    if (this.#useless.has(trackId) === isUseless) return;
    if (isUseless) this.#useless.add(trackId);
    else this.#useless.delete(trackId);
    if (!this.#views.has(trackId)) this.#views.set(trackId, { track: trackId, visible: true, height: 0, pinned: false });
    this.#changed.add(trackId);
    this.#schedule(BATCH_MS);
  }

  /** @param {string} trackId @returns {Shown | undefined} undefined if nothing was said */
  of(trackId) {
    return this.#views.get(trackId);
  }

  /** @param {string} trackId of a track that ended */
  forget(trackId) {
    this.#useless.delete(trackId);
    this.#views.delete(trackId);
    this.#changed.delete(trackId);
  }

  /**
   * Starts telling a server, which knows no view yet.
   *
   * @param {(tracks: TrackView[]) => Promise<unknown>} send
   */
  begin(send) {
    this.#send = send;
    for (const trackId of this.#views.keys()) this.#changed.add(trackId);
    this.#schedule(BATCH_MS);
  }

  /** Stops telling until the next `begin`. */
  end() {
    this.#send = null;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @param {number} delay */
  #schedule(delay) {
    if (!this.#send || this.#timer !== undefined || this.#changed.size === 0) return;
    this.#timer = setTimeout(() => void this.#flush(), delay);
  }

  async #flush() {
    this.#timer = undefined;
    const send = this.#send;
    const batch = [...this.#changed].slice(0, MOST);
    const views = batch.flatMap((trackId) => {
      const view = this.#views.get(trackId);
      return view ? { ...view, visible: view.visible && !this.#useless.has(trackId) } : [];
    });
    for (const trackId of batch) this.#changed.delete(trackId);
    let delay = BATCH_MS;
    try {
      await send?.(views);
    } catch {
      for (const { track } of views) if (this.#views.has(track)) this.#changed.add(track);
      delay = RETRY_MS;
    }
    // Another server meanwhile is told everything by its own `begin`.
    if (send === this.#send) this.#schedule(delay);
  }
}
