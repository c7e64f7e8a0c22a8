import { isLost } from "./errors.js";

/** @import { CallError } from "./errors.js" */

const FIRST_DELAY_MS = 400;
/** Long enough that a restarting server with a full room is not stormed, short enough to wait for. */
const LONGEST_DELAY_MS = 8_000;

/**
 * The wait before the next attempt. It doubles, and half of it is random, so that the participants of a room that lost
 * its server do not come back all at once.
 */
export class Backoff {
  #random;
  #attempts = 0;

  /** @param {() => number} [random] from 0 up to 1 */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** @returns {number} milliseconds */
  next() {
    const ceiling = Math.min(FIRST_DELAY_MS * 2 ** this.#attempts, LONGEST_DELAY_MS);
    this.#attempts += 1;
    return ceiling / 2 + (this.#random() * ceiling) / 2;
  }

  reset() {
    this.#attempts = 0;
  }
}

/** Time without a connection after which a room gives up: people do not wait longer either. */
export const GIVE_UP_AFTER_MS = 180_000;

/** Attempts at a connection, with pauses in between, until one works or more are of no use. */
export class Attempts {
  #backoff = new Backoff();
  #deadline = 0;
  /** @type {() => void} */
  #wake = () => {};

  /** Has the whole time again: the server has answered until now. */
  renew() {
    this.#deadline = Date.now() + GIVE_UP_AFTER_MS;
  }

  /** Begins with short pauses again. */
  reset() {
    this.#backoff.reset();
  }

  /** Does not wait for the next attempt. */
  hurry() {
    this.#wake();
  }

  /**
   * @param {object} how
   * @param {() => boolean} how.isWanted whether there is to be another attempt
   * @param {() => boolean} how.isReady whether it needs no pause before it
   * @param {() => Promise<void>} how.attempt
   * @param {() => void} how.failed called after each attempt that failed
   * @returns {Promise<Partial<CallError> | null>} the error that ended them; null if one worked, or no more are wanted. A
   *   server that has refused us for long enough may end the last connection without a word: then it is the refusal
   */
  async run({ isWanted, isReady, attempt, failed }) {
    this.renew();
    /** @type {CallError | null} */
    let refusal = null;
    while (isWanted()) {
      if (!isReady()) await this.wait(this.#backoff.next());
      if (!isWanted()) break;
      try {
        await attempt();
        break;
      } catch (error) {
        failed();
        if (!isLost(error)) refusal = /** @type {CallError} */ (error);
        if (isWanted() && !(isPassing(error) && Date.now() < this.#deadline)) return refusal ?? /** @type {CallError} */ (error);
      }
    }
    return null;
  }

  /**
   * Waits as long as before the next attempt.
   *
   * @param {number} longest milliseconds
   */
  pause(longest) {
    return this.wait(Math.min(this.#backoff.next(), longest));
  }

  /**
   * Waits, unless somebody hurries.
   *
   * @param {number} delay milliseconds
   */
  wait(delay) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }
}

/** Refusals that the same request may not meet again a little later. */
const PASSING = new Set([
  "unreachable",
  "websocket_blocked",
  "connection_lost",
  "timeout",
  "join_timeout",
  "authorize_timeout",
  "rate_limited",
  "room_full",
  "waiting_room_full",
  "server_full",
  "server_memory",
  "connections_per_address",
  "joins_per_address",
  "rooms_per_address",
  "overloaded",
  "shutting_down",
  "worker_failed",
  "internal",
]);

/** @param {unknown} error whether trying again may help */
export function isPassing(error) {
  return PASSING.has(/** @type {CallError} */ (error)?.code);
}

/** A path that hiccups usually heals by itself within this. */
const DISCONNECTED_PATIENCE_MS = 3_000;
/** Longest time from an answer to connected media: ICE and DTLS, with a few lost packets. */
const CONNECT_PATIENCE_MS = 15_000;
/** Longest time from the first step to that: the browser makes an offer, and the server may take 15 s for its answer. */
export const WHOLE_PATIENCE_MS = 30_000;

/**
 * Watches one transport and decides what to do when no media gets through: first a new path by an
 * ICE restart, then a whole new connection.
 */
export class PathWatch {
  #actions;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #restarted = false;
  #isHeld = false;

  /**
   * @param {{ restartIce: () => void, giveUp: () => void }} actions
   * @param {number} [patience] milliseconds until it has to be connected
   */
  constructor(actions, patience = CONNECT_PATIENCE_MS) {
    this.#actions = actions;
    this.#in(patience, () => this.#actions.giveUp());
  }

  /** @param {RTCPeerConnectionState} state */
  update(state) {
    if (this.#isHeld) return;
    if (state === "connected") {
      this.#restarted = false;
      clearTimeout(this.#timer);
    } else if (state === "disconnected" && !this.#restarted) {
      this.#in(DISCONNECTED_PATIENCE_MS, () => this.#restart());
    } else if (state === "failed") {
      if (this.#restarted) this.#actions.giveUp();
      else this.#restart();
    }
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** Waits: without messages to the server nothing can be done about the path. */
  hold() {
    this.#isHeld = true;
    clearTimeout(this.#timer);
  }

  /**
   * Goes on. A path that is dead by now has had its time to heal.
   *
   * @param {RTCPeerConnectionState} state
   */
  release(state) {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (state === "connected") this.update(state);
    else if (state === "disconnected" || state === "failed") this.#restart();
    else this.#in(CONNECT_PATIENCE_MS, () => this.#actions.giveUp());
  }

  #restart() {
    this.#restarted = true;
    this.#in(CONNECT_PATIENCE_MS, () => this.#actions.giveUp());
    this.#actions.restartIce();
  }

  /**
   * @param {number} delay
   * @param {() => void} action
   */
  #in(delay, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, delay);
  }
}
