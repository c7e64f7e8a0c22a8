import { FetchChannel, oneByOne } from "./socket-fetch.js";

/** Time for which the server holds a request that it has nothing to say to. Proxies cut off at 30 or 60 s. */
const WAIT_MS = 25_000;
/** Time beyond that for the answer to come. */
const PATIENCE_MS = 5_000;

/** Where responses only come whole: requests that the server answers as soon as it has something to say. */
export class PollingChannel extends FetchChannel {
  /** Messages that have come. */
  #had = 0;

  /**
   * @param {string} url the WebSocket's
   * @param {typeof globalThis.fetch} [fetch] for tests
   */
  constructor(url, fetch = globalThis.fetch.bind(globalThis)) {
    super("polling", url, fetch);
    void this.#poll();
  }

  async #poll() {
    try {
      while (!this.stop.signal.aborted) {
        const { connection, messages, after = this.#had, closed = false } = await this.#ask();
        if (!Array.isArray(messages)) throw new Error("The answer is not our server's.");
        if (after !== this.#had) throw new Error("An answer before this one was lost.");
        this.opened(connection);
        this.#had += messages.length;
        await oneByOne(messages, (message) => this.arrived(JSON.stringify(message)));
        if (closed) break;
      }
    } catch {
      // It has ended, whatever the reason.
    }
    this.fail();
  }

  async #ask() {
    const { connection } = this;
    // The first one is answered at once, which tells that this way is open.
    const [wait, body] = connection === null ? [0, { messages: [] }] : [WAIT_MS, { connection }];
    const request = new AbortController();
    const stop = () => request.abort();
    const timer = setTimeout(stop, wait + PATIENCE_MS);
    this.stop.signal.addEventListener("abort", stop);
    try {
      const response = await this.post("poll", { ...body, wait_ms: wait }, request.signal);
      return await response.json();
    } finally {
      clearTimeout(timer);
      this.stop.signal.removeEventListener("abort", stop);
    }
  }
}
