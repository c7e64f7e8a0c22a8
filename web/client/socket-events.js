import { FetchChannel, oneByOne } from "./socket-fetch.js";

/** Longest line in UTF-16 units. A message of the server's has 1 MiB at most by default; operators may set more. */
const LONGEST = 16 * 1024 * 1024;

/** Where no WebSocket gets through: a response that does not end brings the server's messages (server-sent events). */
export class EventsChannel extends FetchChannel {
  /**
   * @param {string} url the WebSocket's
   * @param {typeof globalThis.fetch} [fetch] for tests
   */
  constructor(url, fetch = globalThis.fetch.bind(globalThis)) {
    super("sse", url, fetch);
    void this.#read();
  }

  async #read() {
    try {
      const response = await this.post("events", { messages: [] }, this.stop.signal);
      if (!response.body) throw new Error("The answer is empty.");
      const reader = response.body.getReader();
      const lines = new EventLines();
      const decoder = new TextDecoder();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const events = lines.add(decoder.decode(value, { stream: true }));
        // A comment is a sign of life.
        if (events.length === 0 && this.connection !== null) this.answered();
        await oneByOne(events, (data) => (this.connection === null ? this.#open(data) : this.arrived(data)));
      }
    } catch {
      // It has ended, whatever the reason.
    }
    this.fail();
  }

  /** @param {string} data of the first event */
  #open(data) {
    const { type, connection } = JSON.parse(data);
    this.opened(type === "open" ? connection : null);
  }
}

/** Cuts a stream of server-sent events (WHATWG HTML section 9.2.6) into the data of each. */
export class EventLines {
  #rest = "";
  /** @type {string[]} */
  #data = [];

  /**
   * @param {string} text
   * @returns {string[]} data of the events that are complete now
   */
  add(text) {
    // A CR at the end may be half of a line end.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > LONGEST) throw new Error("A line of the server is too long.");
    const complete = [];
    for (const line of lines) {
      if (line.startsWith("data:")) this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      if (line !== "" || this.#data.length === 0) continue;
      complete.push(this.#data.join("\n"));
      this.#data = [];
    }
    return complete;
  }
}
