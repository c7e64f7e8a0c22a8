import { say } from "./protocol.js";

/**
 * @import { ParticipantInfo } from "./protocol.js"
 * @import { Signaling } from "./signaling.js"
 */

/**
 * Which tracks of others we chose to receive or not to receive, against what happens by itself. A choice holds
 * for as long as its track is there, whatever becomes of our connection meanwhile.
 */
export class Choices {
  /** @type {Map<string, boolean>} by track id */
  #wanted = new Map();
  #byDefault;
  #isThere;

  /**
   * @param {boolean} byDefault what happens to a track about which nothing was said
   * @param {(trackId: string) => boolean} isThere whether a track is known to be in the room
   */
  constructor(byDefault, isThere) {
    this.#byDefault = byDefault;
    this.#isThere = isThere;
  }

  /**
   * @param {ParticipantInfo[]} participants
   * @returns how many m-lines it takes to receive what is wanted of theirs
   */
  count(participants) {
    const needs = { audio: 0, video: 0 };
    for (const { id, kind } of participants.flatMap(({ tracks }) => tracks)) {
      if (this.#wanted.get(id) ?? this.#byDefault) needs[kind] += 1;
    }
    return needs;
  }

  /**
   * @param {readonly string[]} trackIds
   * @param {boolean} wanted
   * @returns {() => void} takes it back, unless another choice was made since
   */
  set(trackIds, wanted) {
    const before = trackIds.map((id) => /** @type {const} */ ([id, this.#wanted.get(id)]));
    for (const id of trackIds) this.#wanted.set(id, wanted);
    return () => {
      for (const [id, previous] of before) {
        if (this.#wanted.get(id) !== wanted) continue;
        if (previous === undefined) this.#wanted.delete(id);
        else this.#wanted.set(id, previous);
      }
    };
  }

  /** @param {string} trackId of a track that ended */
  forget(trackId) {
    this.#wanted.delete(trackId);
  }

  /**
   * Tells a server that knows nothing of our choices yet.
   *
   * @param {Signaling} signaling
   */
  async begin(signaling) {
    const against = [...this.#wanted].filter(([id, wanted]) => wanted !== this.#byDefault && this.#isThere(id));
    // Of what is not there (any more) there is nothing left to choose.
    for (const id of this.#wanted.keys()) if (!this.#isThere(id)) this.#wanted.delete(id);
    if (against.length > 0) await this.tell(signaling, against.map(([id]) => id), !this.#byDefault);
  }

  /**
   * The server takes all or nothing: what has ended meanwhile must not stand in the way of the others.
   *
   * @param {Signaling} signaling
   * @param {readonly string[]} trackIds
   * @param {boolean} wanted
   */
  async tell(signaling, trackIds, wanted) {
    const message = wanted ? say.subscribe : say.unsubscribe;
    for (let left = [...trackIds]; ; ) {
      try {
        await signaling.request(message(left));
        return;
      } catch (error) {
        const there = left.filter((id) => this.#isThere(id));
        const { code } = /** @type {{ code?: string }} */ (error);
        if (code !== "no_such_track" || there.length === 0 || there.length === left.length) throw error;
        left = there;
      }
    }
  }
}
