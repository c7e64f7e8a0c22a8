/** @import { Loss } from "./connection.js" */

/**
 * The signs that the server was started again. Then the others come back one by one, and it has forgotten the room's rules.
 */
export class Restart {
  /** Milliseconds for which the server keeps our place without a connection. */
  #graceMs = 0;
  /** The time at which the latest connection was lost. */
  #lostAt = 0;

  isLikely = false;
  /** Whether the server has said that it ends. */
  isCertain = false;

  /**
   * Begins a stay in the room, which is over what there was before.
   *
   * @param {number} graceMs
   */
  begin(graceMs) {
    this.#graceMs = graceMs;
    this.isLikely = this.isCertain = false;
  }

  /** @param {Loss} loss */
  lost({ isRestart, reason }) {
    this.isLikely ||= isRestart;
    this.isCertain ||= reason === "server_shutdown";
  }

  /** The room is without a connection from now on. */
  cut() {
    this.#lostAt = Date.now();
  }

  /** @param {string} code by which the server has not resumed our session */
  forgotten(code) {
    // It cannot have ended by itself so soon.
    this.isLikely ||= code === "no_such_session" && Date.now() - this.#lostAt < this.#graceMs;
  }
}
