import { isLost, isUnreachable } from "./errors.js";
import { Line } from "./line.js";
import { GIVE_UP_AFTER_MS, isPassing } from "./reconnect.js";

/**
 * @import { ConnectionOptions } from "./connection.js"
 * @import { Attempts } from "./reconnect.js"
 */

/** Time for which a first `join` whose connection broke is said again. */
const JOIN_AGAIN_MS = 10_000;
/**
 * Pause of somebody who waited, before they come to the server again. It is longer than the longest pause of those who were
 * in the room: a server that was started again has forgotten the waiting room, until a moderator is back.
 */
const AFTER_OTHERS_MS = 10_000;

/**
 * The way into a room for the first time. A connection that breaks is made again: for a few seconds, or for as long as a call
 * would be once a moderator has let us wait.
 */
export class Entering {
  #options;
  #attempts;
  /** Whether we have waited for a moderator, over any connection. */
  #hasWaited = false;
  #deadline = 0;

  /**
   * @param {ConnectionOptions} options
   * @param {Attempts} attempts
   */
  constructor(options, attempts) {
    this.#options = options;
    this.#attempts = attempts;
  }

  /** We wait for a moderator now. */
  wait() {
    this.#hasWaited = true;
    this.#deadline = 0;
  }

  /**
   * @param {object} how
   * @param {() => Promise<void>} how.attempt
   * @param {() => boolean} how.isWanted whether there may be another attempt
   * @param {() => void} how.failed called before another attempt
   * @returns {Promise<void>} rejected by the error of the last attempt
   */
  async run({ attempt, isWanted, failed }) {
    while (isWanted()) {
      try {
        if (this.#deadline > 0 && this.#hasWaited) await this.#followOthers();
        if (isWanted()) return await attempt();
      } catch (error) {
        const isAgain = this.#deadline > 0;
        if (!isAgain) this.#deadline = Date.now() + (this.#hasWaited ? GIVE_UP_AFTER_MS : JOIN_AGAIN_MS);
        if (!isWanted() || !this.#isWorthwhile(error, isAgain) || Date.now() >= this.#deadline) throw error;
        failed();
        if (isAgain || this.#hasWaited) await this.#attempts.pause(this.#deadline - Date.now());
      }
    }
  }

  /**
   * @param {unknown} error
   * @param {boolean} isAgain
   */
  #isWorthwhile(error, isAgain) {
    if (this.#hasWaited) return isPassing(error);
    // The server may have let us in, and we have not heard of it; or a connection that was made before has just ended.
    return isLost(error) || (isAgain && isUnreachable(error));
  }

  /** Finds the server, and lets those come first who were in the room. */
  async #followOthers() {
    const { url, WebSocket, fetch } = this.#options;
    const line = new Line(url, { WebSocket, fetch });
    await line.open().finally(() => line.close());
    await this.#attempts.wait(AFTER_OTHERS_MS);
  }
}
