import { say } from "./protocol.js";

/**
 * @import { ParticipantInfo } from "./protocol.js"
 * @import { Signaling } from "./signaling.js"
 */

/**
 * The tracks of others that we chose to receive or not to receive, against the default. A choice holds for as long as
 * its track is there, even if our connection is lost meanwhile.
 */
export class Choices {
  /** @type {Map<string, boolean>} by track id */
  #wanted = new Map();
  #byDefault;
  #isThere;

  /**
   * @param {boolean} byDefault whether a track without a choice is received
   * @param {(trackId: string) => boolean} isThere whether a track is known to be in the room
   */
  constructor(byDefault, isThere) {
    this.#byDefault = byDefault;
    this.#isThere = isThere;
  }

  /**
   * @param {ParticipantInfo[]} participants
   * @returns the number of m-lines needed to receive their wanted tracks
   */
  count(participants) {
    const needs = { audio: 0, video: 0 };
    for (const { id, kind } of participants.flatMap(({ tracks }) => tracks)) if (this.isWanted(id)) needs[kind] += 1;
    return needs;
  }

  /** @param {string} trackId */
  isWanted(trackId) {
    return this.#wanted.get(trackId) ?? this.#byDefault;
  }

  /** @param {string} trackId @returns {boolean | undefined} undefined if it was not chosen */
  of(trackId) {
    return this.#wanted.get(trackId);
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
   * Tells our choices to a server that does not know them yet.
   *
   * @param {Signaling} signaling
   */
  async begin(signaling) {
    const against = [...this.#wanted].filter(([id, wanted]) => wanted !== this.#byDefault && this.#isThere(id));
    // Tracks that are gone leave no choice.
    for (const id of this.#wanted.keys()) if (!this.#isThere(id)) this.#wanted.delete(id);
    if (against.length > 0) await this.tell(signaling, against.map(([id]) => id), !this.#byDefault);
  }

  /**
   * Tells the server of a choice. The server takes all or nothing: tracks that have ended meanwhile must not block the
   * others.
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
