import { isAnnounced, isUnreadable } from "./encryption.js";

/**
 * @import { Choices } from "./choices.js"
 * @import { Encryption, EncryptionState } from "./encryption.js"
 * @import { Participant, Roster } from "./roster.js"
 * @import { Views } from "./views.js"
 */

/**
 * Whose sound and pictures can be decrypted. What cannot is not received, or not played: nothing encrypted may reach a
 * decoder.
 */
export class Readability {
  #encryption;
  #parts;
  /** @type {Map<string, EncryptionState | null>} as told last, by participant id */
  #states = new Map();

  /**
   * @param {Encryption | null} encryption null in a call that we do not encrypt
   * @param {object} parts
   * @param {Roster} parts.roster
   * @param {Views} parts.views
   * @param {Choices} parts.choices
   * @param {(trackId: string) => RTCRtpReceiver | null} parts.receiverOf
   * @param {(trackIds: string[]) => void} parts.refuse stops to receive tracks
   * @param {(participant: Participant, state: EncryptionState | null) => void} parts.changed
   */
  constructor(encryption, parts) {
    this.#encryption = encryption;
    this.#parts = parts;
  }

  /**
   * @param {string} participantId
   * @returns {EncryptionState | null} null where neither they nor we encrypt
   */
  of(participantId) {
    return this.#states.get(participantId) ?? null;
  }

  judgeAll() {
    for (const participant of this.#parts.roster.participants.values()) this.judge(participant);
  }

  /** @param {Participant} participant whose sound and pictures may have become readable, or unreadable */
  judge(participant) {
    const { id, tracks } = participant;
    const { roster, views, receiverOf, changed } = this.#parts;
    const state = this.#stateOf(participant);
    if (this.#encryption && state) {
      const isUseless = this.#encryption.isHopeless(participant, state, receiverOf);
      for (const { id: trackId, kind } of tracks.values()) if (kind === "video") views.setUseless(trackId, isUseless);
    }
    if (state === this.of(id)) return;
    this.#states.set(id, state);
    this.refuseUnreadable(participant);
    for (const trackId of tracks.keys()) roster.mediaChanged(trackId);
    changed(participant, state);
  }

  /**
   * Without a key nothing is decrypted, and nothing may reach a decoder: it is not received.
   *
   * @param {Participant} participant
   */
  refuseUnreadable(participant) {
    if (this.#stateOf(participant) !== "keyMissing") return;
    this.#parts.refuse([...participant.tracks.keys()].filter((trackId) => this.#parts.choices.isWanted(trackId)));
  }

  /**
   * @param {string} trackId
   * @returns {RTCRtpReceiver | null} null while what it carries cannot be played
   */
  playableReceiver(trackId) {
    const participant = this.#parts.roster.find(trackId)?.participant;
    return participant && isUnreadable(this.of(participant.id)) ? null : this.#parts.receiverOf(trackId);
  }

  /** @param {string} id of a participant that left */
  forget(id) {
    this.#states.delete(id);
    this.#encryption?.forget(id);
  }

  /** @param {Participant} participant @returns {EncryptionState | null} */
  #stateOf(participant) {
    if (this.#encryption) return this.#encryption.stateOf(participant, this.#parts.receiverOf);
    return isAnnounced(participant) ? "keyMissing" : null;
  }
}
