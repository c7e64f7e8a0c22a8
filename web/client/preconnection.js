import { Line } from "./line.js";

/** @import { LineOptions } from "./line.js" */

/** The server ends a connection on which nobody joins (10 s). It is made anew this often before somebody does something. */
const MOST_RENEWALS = 12;
/** Pause after a connection that could not be made. */
const RETRY_MS = 10_000;

/**
 * A connection to the server that is made before it is needed, while somebody still types their name: joining then takes
 * one round trip. It costs the server nothing that lasts, and it is let go of when nobody does anything for two
 * minutes.
 */
export class Preconnection {
  #url;
  #options;
  /** @type {Line | null} */
  #line = null;
  #renewals = 0;
  #isOver = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {() => void} */
  #stop = () => {};

  /**
   * @param {string} url the server's `/v1/ws`
   * @param {LineOptions} [options] for tests
   */
  constructor(url, options = {}) {
    this.#url = url;
    this.#options = options;
    this.#connect();
  }

  /** Somebody does something: it is worth having. */
  stir() {
    this.#renewals = 0;
    if (!this.#isOver && !this.#line && this.#timer === undefined) this.#connect();
  }

  /**
   * Gives the connection away, once.
   *
   * @returns {Line | null} null if there is none at the moment
   */
  take() {
    const line = this.#line;
    this.#line = null;
    this.close();
    return line;
  }

  close() {
    this.#isOver = true;
    this.#stop();
    clearTimeout(this.#timer);
    this.#line?.close();
    this.#line = null;
  }

  #connect() {
    const line = new Line(this.#url, this.#options);
    this.#line = line;
    let isOpen = false;
    this.#stop = line.on("over", () => this.#again(isOpen));
    line.open().then(
      () => (isOpen = true),
      () => {},
    );
  }

  /** @param {boolean} wasOpen */
  #again(wasOpen) {
    this.#line = null;
    if (this.#isOver || this.#renewals >= MOST_RENEWALS) return;
    this.#renewals += 1;
    if (wasOpen) return this.#connect();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#connect();
    }, RETRY_MS);
  }
}
