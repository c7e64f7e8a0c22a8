/**
 * Serialises offers: at most one is in flight, and every request made meanwhile shares the next one.
 * As the client always offers and the server never does, two offers cannot cross.
 */
export class Negotiation {
  #exchange;
  /** @type {Promise<void>} */
  #running = Promise.resolve();
  /** @type {Promise<void> | null} an exchange that has not begun, which later requests may share */
  #next = null;

  /** @param {() => Promise<void>} exchange one offer and its answer */
  constructor(exchange) {
    this.#exchange = exchange;
  }

  /**
   * @returns {Promise<void>} settles with an exchange that began after this call, hence one that
   *   carries everything the caller changed before it, or right after it in the same turn
   */
  request() {
    this.#next ??= this.#running.then(() => this.#begin());
    return this.#next;
  }

  #begin() {
    this.#next = null;
    const run = this.#exchange();
    // The caller hears of the failure; the next exchange is not delayed by it.
    this.#running = run.catch(() => {});
    return run;
  }
}
