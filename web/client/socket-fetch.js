import { ENDED, Socket } from "./socket.js";
import { Posts } from "./socket-posts.js";

/** @import { SocketKind } from "./socket.js" */

/** A goodbye that takes longer is of no use: the server finds out by itself. */
const GOODBYE_MS = 1_000;

/**
 * A channel over plain requests: the server names the connection in its first answer, and our messages go up in
 * requests of their own.
 */
export class FetchChannel extends Socket {
  #url;
  #fetch;
  #posts;
  /** Number of the latest request with messages: browsers may repeat one whose connection broke. */
  #batch = 0;
  /** @type {string | null} the server's name for this connection */
  #connection = null;
  /** Aborts what brings the server's messages. @protected @readonly */
  stop = new AbortController();

  /**
   * @param {SocketKind} kind
   * @param {string} url the WebSocket's
   * @param {typeof globalThis.fetch} fetch
   */
  constructor(kind, url, fetch) {
    super(kind);
    this.#url = url;
    this.#fetch = fetch;
    this.#posts = new Posts((messages, patience) => this.#send({ messages }, patience), () => this.fail());
  }

  /** @protected */
  get connection() {
    return this.#connection;
  }

  /** @param {string} frame @override */
  send(frame) {
    if (this.#connection !== null) this.#posts.add(frame);
  }

  /** @override */
  close() {
    if (this.isClosed) return;
    super.close();
    const messages = this.#posts.end();
    if (this.#connection === null) return this.stop.abort();
    // Cut before, the server would know nothing of a connection to say goodbye to.
    const goodbye = this.#send({ messages, close: true }, AbortSignal.timeout(GOODBYE_MS), true);
    void goodbye.then(() => this.confirmed(true), () => this.confirmed(false)).finally(() => this.stop.abort());
  }

  /** @param {unknown} connection the server's name for it @protected */
  opened(connection) {
    if (typeof connection !== "string") throw new Error("The answer is not our server's.");
    this.#connection = connection;
    this.answered();
  }

  /** Ends it when it has failed. @protected */
  fail() {
    this.#posts.end();
    this.stop.abort();
    this.ended(ENDED);
  }

  /**
   * @param {"events" | "poll" | "send"} name
   * @param {object} body
   * @param {AbortSignal} signal
   * @param {boolean} [keepalive] it goes on when the page is gone
   * @returns {Promise<Response>} rejected if the server refuses
   * @protected
   */
  post(name, body, signal, keepalive = false) {
    return post(this.#fetch, this.#url, name, body, { signal, keepalive });
  }

  /**
   * @param {{ messages: unknown[], close?: boolean }} body
   * @param {AbortSignal} signal
   * @param {boolean} [keepalive]
   */
  async #send(body, signal, keepalive) {
    const batch = (this.#batch += 1);
    const response = await this.post("send", { connection: this.#connection, batch, ...body }, signal, keepalive);
    await response.text();
  }
}

/**
 * @param {typeof globalThis.fetch} fetch
 * @param {string} url the WebSocket's
 * @param {"events" | "poll" | "send"} name
 * @param {object} body
 * @param {{ signal?: AbortSignal, keepalive: boolean }} options `keepalive`: it goes on when the page is gone
 * @returns {Promise<Response>} rejected if the server refuses
 */
export async function post(fetch, url, name, body, { signal, keepalive }) {
  const response = await fetch(httpAddress(url, name), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    keepalive,
    ...(signal && { signal }),
  });
  if (!response.ok) throw new Error(`The server answered with ${response.status}.`);
  return response;
}

/**
 * The addresses of the server for clients without a WebSocket.
 *
 * @param {string} url the WebSocket's
 * @param {"events" | "poll" | "send"} name
 */
export function httpAddress(url, name) {
  const address = new URL(`http/${name}`, url);
  address.protocol = address.protocol === "wss:" ? "https:" : "http:";
  return address.href;
}

/**
 * Calls `act` for each, and lets everything run in between that one of them has made ready: what follows from a message
 * is done before the next one, as with a WebSocket. A timer would be held back in a hidden page.
 *
 * @template T
 * @param {readonly T[]} all
 * @param {(each: T) => void} act
 */
export async function oneByOne(all, act) {
  for (const [index, each] of all.entries()) {
    if (index > 0) await nextTurn();
    act(each);
  }
}

/** @returns {Promise<void>} */
function nextTurn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
