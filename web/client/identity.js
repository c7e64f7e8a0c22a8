import { makeToken } from "./session.js";

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
  /** @type {string | null} a token of our own making, which the server may have taken and we have not heard of it */
  #made = null;
  /** The server may have let us in, and we have not heard of it. */
  #isAsked = false;
  /** The server has the session still, as far as we know. */
  #isAlive;
  /** Another page has our session, and our id with it. */
  #isTaken = false;

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
    this.#isAlive = this.#session !== null;
  }

  /** @returns {string | null} the token by which the server knows us again; null if it does not */
  get session() {
    return this.#session;
  }

  /** @param {string | null} token as the server has told it; null: it knows us by none */
  set session(token) {
    this.#isAlive = token !== null;
    if (this.#session === token) return;
    this.#session = token;
    this.#changed(token);
  }

  /** @returns {string} the token to join by: whatever becomes of its `welcome`, the next `join` by it takes our place */
  get joinToken() {
    return this.#session ?? (this.#made ??= makeToken());
  }

  /** @returns {string | null} the token by which the server may know us; null if it cannot */
  get unsaid() {
    return this.#isAlive || this.#isAsked ? this.joinToken : null;
  }

  /** @param {string | null} token of a stay before this one, which the server may not know to be over */
  goOn(token) {
    if (this.#session === null) this.#made = token;
  }

  /** The server has been asked to let us in. */
  asked() {
    this.#isAsked = true;
  }

  /** Whether to resume the session. Else its token serves to join under the same id. */
  get isResumable() {
    return this.#isAlive;
  }

  /** The server has no such session any more. */
  sessionEnded() {
    this.#isAlive = false;
  }

  /** Another page goes on with the session. It is in the room by the id that was ours, and we are somebody else. */
  taken() {
    this.end();
    this.#isTaken = true;
    if (this.participantId) this.#formerIds.delete(this.participantId);
  }

  /** The server has said that it is over with us. */
  end() {
    this.session = null;
    this.#made = null;
    this.#isAsked = false;
  }

  /** The stay in the room is over. */
  left() {
    if (this.participantId && !this.#isTaken) this.#formerIds.add(this.participantId);
  }

  /**
   * Takes what the server has decided about us: it may know us by another name.
   *
   * @param {ServerMessages["welcome"]} welcome
   * @param {ConnectionOptions} joinedAs what it was told; then as it knows us
   * @param {{ mayUpdate: boolean, isResumed: boolean }} how `isResumed`: it was told nothing, for it has the session
   */
  admitted({ participant, name, metadata }, joinedAs, { mayUpdate, isResumed }) {
    const options = this.#options;
    const isOtherPages = isResumed && this.participantId === null;
    // A change made meanwhile, or before a session was resumed, is told afterwards; where it may not be made, the server's
    // word stays.
    const keepsName = mayUpdate && (isResumed || options.name !== joinedAs.name);
    const keepsMetadata = mayUpdate && ((isResumed && !isOtherPages) || options.metadata !== joinedAs.metadata);
    if (name !== undefined && !keepsName) options.name = name;
    if (metadata !== undefined && (!keepsMetadata || isSame(options.metadata, metadata))) options.metadata = metadata;
    if (name !== undefined) joinedAs.name = name;
    if (metadata !== undefined) joinedAs.metadata = metadata;
    this.participantId = participant;
    this.#made = null;
    this.#isAsked = false;
    this.#isTaken = false;
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

/**
 * @param {Record<string, unknown> | undefined} ours
 * @param {Record<string, unknown>} theirs
 */
function isSame(ours, theirs) {
  return ours === undefined || JSON.stringify(ours) === JSON.stringify(theirs);
}
