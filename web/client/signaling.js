import { CallError } from "./errors.js";
import { Events } from "./events.js";
import { Line } from "./line.js";
import { replyTypes } from "./protocol.js";

/**
 * @import { LineOptions } from "./line.js"
 * @import { ClientMessage, Replies, RequestType, ServerMessage, ServerMessages } from "./protocol.js"
 * @import { SocketKind } from "./socket.js"
 */

/** An offer waits for the relay to build a transport; a server slower than this is as good as gone. */
export const REPLY_TIMEOUT_MS = 15_000;

/**
 * @typedef {object} Pending
 * @property {ClientMessage} message
 * @property {string} expects
 * @property {(reply: any) => void} resolve
 * @property {(error: CallError) => void} reject
 * @property {Pending} [next] what the next reply with the same id is for
 * @property {ReturnType<typeof setTimeout> | undefined} timer none while the server cannot answer
 */

/**
 * Requests to the server with their replies, and everything else as events.
 *
 * `message` carries messages that are no replies; `error` carries faults in the protocol, which are otherwise ignored;
 * `down` and `up` tell that there is no connection, and that there is one again and nothing was lost; `token` carries
 * what the session can be taken up with; `refused` and `close` come once, last: the server does not know the session any
 * more, or there is no connection and will be none.
 *
 * @extends {Events<{ message: ServerMessage, error: CallError, down: void, up: SocketKind, token: string,
 *   refused: { code: string, isEarly: boolean }, close: CallError }>}
 */
export class Signaling extends Events {
  #line;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  #isOver = false;
  /** @type {(() => void)[]} */
  #stops;

  /**
   * @param {string | Line} line the server's address, or a line that nobody else uses
   * @param {LineOptions} [options] of a line to be made
   */
  constructor(line, options = {}) {
    super();
    this.#line = typeof line === "string" ? new Line(line, options) : line;
    this.#stops = [
      this.#line.on("message", (message) => this.#receive(message)),
      this.#line.on("error", (error) => this.emit("error", error)),
      this.#line.on("token", (token) => this.emit("token", token)),
      this.#line.on("down", () => {
        for (const pending of this.#pending.values()) clearTimeout(pending.timer);
        this.emit("down", undefined);
      }),
      this.#line.on("up", (kind) => {
        for (const [id, pending] of this.#pending) this.#await(id, pending);
        this.emit("up", kind);
      }),
      this.#line.on("refused", (refusal) => this.#end(() => this.emit("refused", refusal))),
      this.#line.on("over", (error) => this.#end(() => this.emit("close", error))),
    ];
  }

  /** Whether a message reaches the server at once. */
  get isUp() {
    return !this.#isOver && this.#line.isUp;
  }

  /** Whether there is no reason to believe that it does not. */
  get isProven() {
    return !this.#isOver && this.#line.isProven;
  }

  /** @returns {Promise<boolean>} whether all that is said until `close` reaches the server */
  get heard() {
    return this.#line.heard;
  }

  /** @returns {SocketKind | null} the present way to the server */
  get kind() {
    return this.#line.kind;
  }

  /** Milliseconds for which the server keeps us without a connection; 0 if it does not. */
  get graceMs() {
    return this.#line.graceMs;
  }

  /** @returns {Promise<void>} once messages can be sent */
  opened() {
    return this.#line.open();
  }

  /**
   * Sends a request and waits for its reply, if need be over another connection than that by which it was sent.
   *
   * @template {RequestType} Type
   * @param {ClientMessage & { type: Type }} message
   * @returns {Promise<Replies[Type]>} rejected with a `CallError` when the server refuses or is gone
   */
  request(message) {
    return new Promise((resolve, reject) => {
      this.#request(message, { message, expects: replyTypes[message.type], resolve, reject, timer: undefined });
    });
  }

  /**
   * Joins by a message that offers a transport as well.
   *
   * @param {ClientMessage & { type: "join" }} message
   * @returns {{ welcome: Promise<ServerMessages["welcome"]>, answer: Promise<ServerMessages["answer"]> }} `answer`: from a
   *   server without sessions it does not come
   */
  join(message) {
    /** @type {Pick<Pending, "resolve" | "reject">} */
    let later = { resolve: () => {}, reject: () => {} };
    /** @type {Promise<ServerMessages["answer"]>} */
    const answer = new Promise((resolve, reject) => (later = { resolve, reject }));
    // Somebody who was not let in waits for none.
    answer.catch(() => {});
    /** @type {Promise<ServerMessages["welcome"]>} */
    const welcome = new Promise((resolve, reject) => {
      const next = { message, expects: replyTypes.offer, ...later, timer: undefined };
      this.#request(message, { message, expects: replyTypes.join, resolve, reject, next, timer: undefined });
    });
    return { welcome, answer };
  }

  /** @param {ClientMessage} message */
  send(message) {
    if (!this.#isOver) this.#line.send(message);
  }

  /** Does not wait for the next attempt to find a connection. */
  retryNow() {
    this.#line.retryNow();
  }

  /** Asks whether messages reach the server: there is a reason to believe that they do not. */
  check() {
    this.#line.check();
  }

  close() {
    this.#line.close();
  }

  /**
   * Ends this, and gives its line to another.
   *
   * @returns {Line | null} null if it has no connection any more
   */
  release() {
    this.#end(() => {});
    return this.#line.isUp ? this.#line : null;
  }

  /**
   * @param {ClientMessage} message
   * @param {Pending} pending
   */
  #request(message, pending) {
    if (this.#isOver) return pending.reject(lost());
    if (!this.#line.canTake(message.type)) return pending.reject(this.#line.graceMs > 0 ? tooMuch() : lost());
    const id = this.#line.nextId();
    this.#pending.set(id, pending);
    if (this.#line.isUp) this.#await(id, pending);
    this.#line.send({ ...message, id });
  }

  /**
   * @param {number} id
   * @param {Pending} pending
   */
  #await(id, pending) {
    // A line that moves to a better way is up again without having been down.
    clearTimeout(pending.timer);
    pending.timer = setTimeout(() => {
      this.#pending.delete(id);
      pending.reject(new CallError("timeout", "The server did not answer in time."));
    }, REPLY_TIMEOUT_MS);
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    if (message.type === "wait") this.#hold();
    if ("id" in message && message.id !== undefined && this.#settle(message.id, message)) return;
    this.emit("message", message);
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
      if (pending.next && message.type === "welcome" && message.session) {
        this.#pending.set(id, pending.next);
        this.#await(id, pending.next);
      }
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

  /** @param {() => void} tell */
  #end(tell) {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const stop of this.#stops) stop();
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(lost());
    }
    this.#pending.clear();
    tell();
  }
}

function lost() {
  return new CallError("connection_lost", "The connection to the server was lost.");
}

function tooMuch() {
  return new CallError("too_much_waiting", "Too much waits for the connection to the server already.");
}
