import { toBase64Url } from "./base64url.js";

/**
 * @import { ServerMessage, SessionInfo } from "./protocol.js"
 */

/**
 * Most messages of ours that may wait for the server. It takes 100 at once before it refuses them for their rate, and
 * all of them come at once after a resumption.
 */
export const MOST_KEPT = 96;
/**
 * Places of these that only mutes may take: as many as the server lets us publish tracks, by default. At most one mute of
 * each track waits, so that they need no bound of their own, and whoever presses mute is never told that there is no place.
 */
export const FOR_MUTES = 8;
/** Messages of the server after which we say that we have them: it keeps those that we have not named. */
const ACK_EVERY = 64;

/** Bytes of each half of a token: nobody guesses one. */
const TOKEN_BYTES = 16;

/** Messages of ours that are not numbered. */
const UNCOUNTED_OURS = new Set(["join", "resume", "ping", "ack"]);
/** Messages of the server that are not numbered. */
const UNCOUNTED_THEIRS = new Set(["pong", "resumed", "bye"]);

/**
 * The numbers of one stay in a room, by which both sides know after a cut which messages have arrived. Messages are
 * counted, not marked: the server's from `welcome` on, ours from the first one after `join` on. Nothing here touches a
 * socket.
 */
export class Session {
  /** @type {{ number: number, id: number | undefined, frame: string }[]} ours that may not have arrived, oldest first */
  #kept = [];
  #sent = 0;
  #received = 1;
  #told = 0;

  /** @type {string} for the next resumption */
  token;
  /** Milliseconds that the server waits for a resumption. @readonly */
  graceMs;

  /** @param {SessionInfo} info of the `welcome`, which is message number 1 */
  constructor({ token, graceMs }) {
    this.token = token;
    this.graceMs = graceMs;
  }

  /** Numbered messages of the server that we have had. */
  get received() {
    return this.#received;
  }

  /** Numbered messages of ours so far. */
  get sent() {
    return this.#sent;
  }

  /**
   * @param {string} type of another message of ours
   * @returns {boolean} whether it can wait for the server
   */
  hasPlaceFor(type) {
    return type === "mute" || this.#kept.length < MOST_KEPT - FOR_MUTES;
  }

  /** Whether the server waits to hear which messages we have. */
  get owesAck() {
    return this.#received - this.#told >= ACK_EVERY;
  }

  /**
   * Numbers a message of ours and keeps it until the server is known to have it.
   *
   * @param {{ type: string, id?: number }} message
   * @param {string} frame the message as it is sent
   */
  say({ type, id }, frame) {
    if (UNCOUNTED_OURS.has(type)) return;
    this.#sent += 1;
    this.#kept.push({ number: this.#sent, id, frame });
  }

  /**
   * Counts a message of the server.
   *
   * @param {ServerMessage | null} message null for one that we cannot read, which counts like any
   */
  hear(message) {
    if (message && (UNCOUNTED_THEIRS.has(message.type) || (message.type === "error" && message.fatal))) return;
    this.#received += 1;
    const id = message && "id" in message ? message.id : undefined;
    const answered = id === undefined ? undefined : this.#kept.find((each) => each.id === id);
    // Messages arrive in order: the server had those before the one that it answers as well.
    if (answered) this.forget(answered.number);
  }

  /** @param {number} number the server has had our messages up to this one */
  forget(number) {
    const first = this.#kept.findIndex((each) => each.number > number);
    this.#kept.splice(0, first < 0 ? this.#kept.length : first);
  }

  /** Records that the server has been told what we have received. */
  told() {
    this.#told = this.#received;
  }

  /**
   * Takes up the session on another socket.
   *
   * @param {{ session: string, received: number }} resumed
   * @returns {string[] | null} messages of ours to send again, in order; null if the server wants some that we have not
   *   kept, or has had more than there were
   */
  resume({ session, received }) {
    const oldest = this.#kept[0]?.number ?? this.#sent + 1;
    if (received > this.#sent || received < oldest - 1) return null;
    this.token = session;
    this.forget(received);
    return this.#kept.map(({ frame }) => frame);
  }
}

/**
 * Makes the token for a `join` that has no other. If its `welcome` is lost, another `join` by this token takes the place
 * that the server has for us by then.
 *
 * @returns {string}
 */
export function makeToken() {
  const half = () => toBase64Url(crypto.getRandomValues(new Uint8Array(TOKEN_BYTES)));
  return `${half()}.${half()}`;
}
