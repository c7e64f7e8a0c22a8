import { onWake } from "./liveness.js";
import { say } from "./protocol.js";
import { Backoff, isPassing } from "./reconnect.js";
import { post } from "./socket-fetch.js";

/**
 * Longest time for which a goodbye is tried and its token kept. The server waits as long for a session without a
 * connection (`reconnect_grace_ms`, by default); then it has let go of us by itself.
 */
const TRY_MS = 30_000;
/** Time for one request. */
const REQUEST_MS = 5_000;
/** Time for which the server may wait to have something to say. */
const ANSWER_MS = 3_000;
/** Time for a goodbye by a connection that looks alive to be confirmed: longer than most round trips. */
const HEARD_MS = 2_000;
/** Goodbyes under way in one page. A page leaves one call, or a few; beyond this the oldest is given up. */
const MOST = 16;

/**
 * @import { ConnectionOptions } from "./connection.js"
 * @import { Identity } from "./identity.js"
 */

/**
 * @typedef {object} Stay a stay in a room
 * @property {string} url the WebSocket's
 * @property {string} room
 * @property {string} name
 *
 * @typedef {object} Unsaid a stay that ended without a word to the server
 * @property {string} session a token by which it can be ended
 * @property {boolean} isResumable the server may have that session. Else the token is only kept for the next stay
 * @property {typeof globalThis.fetch} [fetch] if left out, nothing can be said either
 */

/** @type {Map<string, Farewell>} by their stay */
const underWay = new Map();

/**
 * Says goodbye for a stay that ended while no message reached the server, so that nobody sees us there for the whole
 * grace. One request resumes the session and leaves, and it goes on when the page is closed. It is tried again for half a
 * minute. The token is in the memory of this page alone.
 *
 * @param {ConnectionOptions} options
 * @param {Identity} identity
 * @param {Promise<boolean>} [heard] whether the server has heard a goodbye by its connection
 */
export function sayFarewell(options, { unsaid: session, isResumable }, heard) {
  if (session === null) return;
  const { url, room, name, WebSocket: substitute, fetch = substitute ? undefined : globalThis.fetch?.bind(globalThis) } = options;
  const unsaid = { url, room, name, session, isResumable, ...(fetch && { fetch }) };
  const key = keyOf(unsaid);
  underWay.get(key)?.stop();
  const [oldest] = underWay.values();
  if (underWay.size >= MOST) oldest.stop();
  underWay.set(key, new Farewell(unsaid, () => underWay.delete(key)));
  void underWay.get(key)?.begin(heard);
}

/**
 * Ends a goodbye, for we come back.
 *
 * @param {Stay} stay
 * @returns {string | null} the token by which a `join` takes the place that the server may have for us still
 */
export function takeUnsaid(stay) {
  const farewell = underWay.get(keyOf(stay));
  farewell?.stop();
  return farewell?.isDue ? farewell.session : null;
}

/** @param {Stay} stay */
function keyOf({ url, room, name }) {
  return JSON.stringify([url, room, name]);
}

class Farewell {
  #unsaid;
  #ended;
  #deadline = Date.now() + TRY_MS;
  #backoff = new Backoff();
  #isOver = false;
  #request = new AbortController();
  /** @type {() => void} */
  #wake = () => {};
  #stopWaking;

  /**
   * @param {Stay & Unsaid} unsaid
   * @param {() => void} ended
   */
  constructor(unsaid, ended) {
    this.#unsaid = unsaid;
    this.#ended = ended;
    this.#stopWaking = onWake(() => this.#wake());
  }

  /** @param {Promise<boolean>} [heard] */
  async begin(heard) {
    if (heard && (await Promise.race([heard, unheard()]))) return this.stop();
    const { isResumable, fetch } = this.#unsaid;
    if (isResumable && fetch) await this.#run(fetch);
  }

  get session() {
    return this.#unsaid.session;
  }

  /** Whether the server may know us still. */
  get isDue() {
    return Date.now() < this.#deadline;
  }

  stop() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopWaking();
    this.#request.abort();
    this.#wake();
    this.#ended();
  }

  /** @param {typeof globalThis.fetch} fetch */
  async #run(fetch) {
    while (!this.#isOver && this.isDue) {
      if (await this.#say(fetch)) break;
      await this.#pause(this.#backoff.next());
    }
    this.stop();
  }

  /**
   * @param {typeof globalThis.fetch} fetch
   * @returns {Promise<boolean>} whether there is nothing more to say
   */
  async #say(fetch) {
    const { url, session } = this.#unsaid;
    const messages = [{ ...say.resume(session, {}), id: 1 }, { ...say.leave(), id: 2 }];
    this.#request = new AbortController();
    const timer = setTimeout(() => this.#request.abort(), REQUEST_MS);
    try {
      const response = await post(fetch, url, "poll", { messages, wait_ms: ANSWER_MS }, { signal: this.#request.signal, keepalive: true });
      const { messages: replies } = await response.json();
      // What it says of another kind comes after the one or the other.
      return replies.some((/** @type {any} */ { type, id, code }) => type === "resumed" || (type === "error" && id === 1 && !isPassing({ code })));
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * @param {number} delay
   * @returns {Promise<void>}
   */
  #pause(delay) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** @returns {Promise<false>} */
function unheard() {
  return new Promise((resolve) => setTimeout(() => resolve(false), HEARD_MS));
}
