/** Unsent messages after which a connection is given up: a session alone sends fewer. */
const MOST_WAITING = 1024;
/** Time for one request to be answered. Others wait for it, and the server has nothing to do but to take it. */
const PATIENCE_MS = 10_000;
/** Most messages of one request. A resumption sends as many at once. */
const MOST_TOGETHER = 128;

/**
 * Our messages to a server by requests, in order: one request at a time, and the next one carries all that has come
 * together meanwhile.
 */
export class Posts {
  /** @type {string[]} */
  #waiting = [];
  #isSending = false;
  #isOver = false;
  #post;
  #failed;

  /**
   * @param {(messages: unknown[], patience: AbortSignal) => Promise<unknown>} post rejected if it did not get through
   * @param {() => void} failed called once, when messages may have been lost
   */
  constructor(post, failed) {
    this.#post = post;
    this.#failed = failed;
  }

  /** @param {string} frame */
  add(frame) {
    if (this.#isOver) return;
    if (this.#waiting.length >= MOST_WAITING) return this.#fail();
    this.#waiting.push(frame);
    void this.#run();
  }

  /** @returns {unknown[]} messages that were not sent */
  end() {
    this.#isOver = true;
    return this.#take();
  }

  async #run() {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      // What is said in the same turn goes together.
      await null;
      while (this.#waiting.length > 0) await this.#post(this.#take(), AbortSignal.timeout(PATIENCE_MS));
    } catch {
      this.#fail();
    }
    this.#isSending = false;
  }

  #take() {
    return this.#waiting.splice(0, MOST_TOGETHER).map((frame) => JSON.parse(frame));
  }

  #fail() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#failed();
  }
}
