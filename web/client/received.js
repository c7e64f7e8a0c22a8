/** @import { SubscriptionState } from "./protocol.js" */

/** The layers that we are sent of others' tracks, as far as the server has said. */
export class Received {
  /** @type {Map<string, SubscriptionState>} by track id */
  states = new Map();
  #emit;

  /** @param {(change: { trackId: string, subscription: SubscriptionState | null }) => void} emit */
  constructor(emit) {
    this.#emit = emit;
  }

  /** @param {SubscriptionState[]} changed */
  apply(changed) {
    for (const subscription of changed) {
      const { track: trackId } = subscription;
      this.states.set(trackId, subscription);
      this.#emit({ trackId, subscription });
    }
  }

  /** @param {string} trackId of a track that ended */
  forget(trackId) {
    this.states.delete(trackId);
  }

  /** Forgets the subscriptions of a transport that is gone. */
  clear() {
    const forgotten = [...this.states.keys()];
    this.states.clear();
    for (const trackId of forgotten) this.#emit({ trackId, subscription: null });
  }
}
