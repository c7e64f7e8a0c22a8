/**
 * @import { ConnectionOptions } from "./connection.js"
 * @import { ParticipantInfo, ServerMessage, ServerMessages } from "./protocol.js"
 */

/**
 * Who we are to the server, from one stay in the room to the next: our id, our name and metadata, and the token by which
 * the server knows us again.
 */
export class Identity {
  #options;
  #changed;
  /** @type {Set<string>} our ids of before; the server may take a while to see that they are gone */
  #formerIds = new Set();
  /** @type {string | null} */
  #session;
  /** The present token is that of a page before this one. */
  #isTakenOver;

  /** @type {string | null} the same one after a reconnect if the server has sessions */
  participantId = null;

  /**
   * @param {ConnectionOptions} options of the room; name and metadata are changed here
   * @param {(token: string | null) => void} changed there is another token, or none any more
   */
  constructor(options, changed) {
    this.#options = options;
    this.#changed = changed;
    this.#session = options.session ?? null;
    this.#isTakenOver = this.#session !== null;
  }

  /** @returns {string | null} the token by which the server knows us again; null if it does not */
  get session() {
    return this.#session;
  }

  /** @param {string | null} token */
  set session(token) {
    if (this.#session === token) return;
    this.#session = token;
    this.#changed(token);
  }

  get isTakenOver() {
    return this.#isTakenOver;
  }

  /** The stay in the room is over. */
  left() {
    if (this.participantId) this.#formerIds.add(this.participantId);
  }

  /**
   * Takes what the server has decided about us: it may know us by another name.
   *
   * @param {ServerMessages["welcome"]} welcome
   * @param {ConnectionOptions} joinedAs
   * @param {boolean} mayUpdate
   */
  admitted({ participant, name, metadata }, joinedAs, mayUpdate) {
    this.participantId = participant;
    const options = this.#options;
    // A change made meanwhile, or before a page took a session over, is told afterwards; where it may not be made, the
    // server's word stays.
    const isChosen = !mayUpdate;
    if (name !== undefined && (isChosen || (!this.#isTakenOver && options.name === joinedAs.name))) options.name = name;
    if (metadata !== undefined && (isChosen || options.metadata === joinedAs.metadata)) options.metadata = metadata;
    if (name !== undefined) joinedAs.name = name;
    if (metadata !== undefined) joinedAs.metadata = metadata;
    this.#isTakenOver = false;
  }

  /**
   * @param {ParticipantInfo[]} participants of a `welcome`
   * @returns {ParticipantInfo[]} those who are not us
   */
  others(participants) {
    const present = participants.filter(({ id }) => this.#formerIds.has(id));
    this.#formerIds = new Set(present.map(({ id }) => id));
    return participants.filter(({ id }) => !this.#formerIds.has(id));
  }

  /** @param {ServerMessage} message @returns {boolean} whether it tells of somebody whom we were before */
  isOfFormer(message) {
    const { participant } = /** @type {{ participant?: string | ParticipantInfo }} */ (message);
    return participant !== undefined && this.#formerIds.has(typeof participant === "string" ? participant : participant.id);
  }
}
