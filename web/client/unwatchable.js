/** @import { Unwatchable } from "./protocol.js" */

/** Participants that cannot watch our tracks, as far as the server has said. */
export class Unwatchables {
  /** @type {Map<string, Unwatchable>} by track id, of tracks that somebody cannot watch */
  states = new Map();
  #changed;

  /** @param {(change: { trackId: string, unwatchable: Unwatchable | null }) => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @param {{ track: string } & Unwatchable} said */
  apply({ track: trackId, count, participants }) {
    const unwatchable = count > 0 ? { count, participants } : null;
    if (unwatchable) this.states.set(trackId, unwatchable);
    else this.states.delete(trackId);
    this.#changed({ trackId, unwatchable });
  }

  /** Forgets everything: the transport is gone, and with it its tracks. */
  clear() {
    const forgotten = [...this.states.keys()];
    this.states.clear();
    for (const trackId of forgotten) this.#changed({ trackId, unwatchable: null });
  }
}
