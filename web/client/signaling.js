import { CallError } from "./errors.js";
import { Events } from "./events.js";
import { unreachable, whyRefused } from "./probe.js";
import { parseServerMessage, replyTypes, say } from "./protocol.js";

/** @import { ClientMessage, Replies, RequestType, ServerMessage } from "./protocol.js" */

/** An offer waits for the relay to build a transport; a server slower than this is as good as gone. */
const REPLY_TIMEOUT_MS = 15_000;
/** Browsers try for minutes to reach a server that does not answer at all. */
const OPEN_TIMEOUT_MS = 10_000;
/** Half-open TCP connections are silent for minutes. A ping finds out within two of these. */
const PING_INTERVAL_MS = 5_000;

/** `readyState` of a WebSocket that takes messages; one that is closing drops them without a word. */
const OPEN = 1;

/**
 * @typedef {object} Pending
 * @property {string} expects
 * @property {(reply: any) => void} resolve
 * @property {(error: CallError) => void} reject
 * @property {ReturnType<typeof setTimeout>} timer
 */

/**
 * One WebSocket to the server: requests with their replies, and everything else as events.
 *
 * `message` carries messages that are no replies; `error` carries faults in the protocol, which are otherwise ignored;
 * `close` comes once, last.
 *
 * @extends {Events<{ message: ServerMessage, error: CallError, close: { code: number } }>}
 */
export class Signaling extends Events {
  /** @type {WebSocket} */
  #socket;
  /** @type {() => Promise<CallError>} */
  #whyRefused;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  #lastId = 0;
  #heard = true;
  #closed = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pinger;

  /**
   * @param {string} url
   * @param {{ WebSocket?: typeof WebSocket, pingInterval?: number, whyRefused?: (url: string) => Promise<CallError> }} [options]
   */
  constructor(url, { WebSocket: Socket = WebSocket, pingInterval = PING_INTERVAL_MS, whyRefused: ask } = {}) {
    super();
    // A fake socket has no server behind it to ask.
    this.#whyRefused = async () => (ask ?? (Socket === globalThis.WebSocket ? whyRefused : unreachable))(url);
    this.#socket = new Socket(url);
    this.#socket.addEventListener("message", (event) => this.#receive(event.data));
    this.#socket.addEventListener("close", (event) => this.#end(event.code));
    this.#pinger = setInterval(() => this.#ping(), pingInterval);
  }

  /** @returns {Promise<void>} once messages can be sent */
  opened() {
    if (this.#socket.readyState === OPEN) return Promise.resolve();
    return new Promise((resolve, reject) => {
      let isOpen = false;
      const refused = () => void (isOpen || this.#whyRefused().then(reject, reject));
      if (this.#closed) return refused();
      const timer = setTimeout(() => this.#abandon(), OPEN_TIMEOUT_MS);
      const open = () => {
        clearTimeout(timer);
        isOpen = true;
        resolve();
      };
      this.#socket.addEventListener("open", open, { once: true });
      this.on("close", () => {
        clearTimeout(timer);
        refused();
      });
    });
  }

  /**
   * Sends a request and waits for its reply.
   *
   * @template {RequestType} Type
   * @param {ClientMessage & { type: Type }} message
   * @returns {Promise<Replies[Type]>} rejected with a `CallError` when the server refuses or is gone
   */
  request(message) {
    if (this.#closed || this.#socket.readyState !== OPEN) return Promise.reject(lost());
    const id = (this.#lastId = (this.#lastId + 1) % 2 ** 32);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new CallError("timeout", "The server did not answer in time."));
      }, REPLY_TIMEOUT_MS);
      this.#pending.set(id, { expects: replyTypes[message.type], resolve, reject, timer });
      this.#socket.send(JSON.stringify({ ...message, id }));
    });
  }

  /** @param {ClientMessage} message */
  send(message) {
    if (!this.#closed && this.#socket.readyState === OPEN) this.#socket.send(JSON.stringify(message));
  }

  close() {
    this.#socket.close(1000);
    this.#end(1000);
  }

  /** @param {unknown} frame */
  #receive(frame) {
    this.#heard = true;
    if (this.#closed || typeof frame !== "string") return;
    const message = this.#parse(frame);
    if (!message) return;
    if (message.type === "wait") this.#hold();
    if ("id" in message && message.id !== undefined && this.#settle(message.id, message)) return;
    this.emit("message", message);
  }

  /** @param {string} frame */
  #parse(frame) {
    try {
      return parseServerMessage(frame);
    } catch (cause) {
      this.emit("error", new CallError("bad_message", "The server said something incomprehensible.", { cause }));
      return null;
    }
  }

  /**
   * @param {number} id
   * @param {ServerMessage} message
   */
  #settle(id, message) {
    const pending = this.#pending.get(id);
    if (!pending) return false;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if (message.type === "error") {
      pending.reject(new CallError(message.code, message.message, { fatal: message.fatal }));
    } else if (message.type === pending.expects) {
      pending.resolve(message);
    } else {
      pending.reject(new CallError("bad_reply", `The server answered with ${message.type}.`));
    }
    return true;
  }

  /** A join that waits for a moderator takes as long as that takes. Pings tell whether the server is still there. */
  #hold() {
    for (const { expects, timer } of this.#pending.values()) if (expects === replyTypes.join) clearTimeout(timer);
  }

  #ping() {
    if (this.#socket.readyState !== OPEN) return;
    if (!this.#heard) return this.#abandon();
    this.#heard = false;
    this.request(say.ping()).catch(() => {});
  }

  /** The browser's own close handshake would wait for the dead peer: do not. */
  #abandon() {
    this.#socket.close();
    this.#end(1006);
  }

  /** @param {number} code */
  #end(code) {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pinger);
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(lost());
    }
    this.#pending.clear();
    this.emit("close", { code });
  }
}

function lost() {
  return new CallError("connection_lost", "The connection to the server was lost.");
}
