/**
 * @typedef {"websocket" | "sse" | "polling"} SocketKind ways to the server, the best one first: a WebSocket; a response
 *   that does not end (server-sent events) and requests beside it; requests that the server answers when there is
 *   something to say
 *
 * @typedef {object} SocketListener
 * @property {(frame: string) => void} frame
 * @property {() => void} [sign] something came that is no message: the other side is alive
 * @property {(code: number) => void} close called once, last, unless we close it ourselves
 */

/** Close code of a connection that ended without a goodbye (RFC 6455 section 7.1.5). */
export const ENDED = 1006;

/**
 * A channel of text messages to the server, in order and in both directions, that may end at any time. The three
 * classes that extend it differ in what they ask of the network.
 */
export class Socket {
  /** @type {SocketListener | null} */
  #listener = null;
  /** @type {string[]} frames that came before anybody listened */
  #early = [];
  /** @type {number | null} */
  #closed = null;
  /** @type {() => void} */
  #prove = () => {};
  /** @type {(reason: unknown) => void} */
  #fail = () => {};
  /** @type {(isHeard: boolean) => void} */
  #confirm = () => {};

  /** Settles once something has come from the server; rejected if it ends before. @type {Promise<void>} @readonly */
  proven;
  /** Settles after `close`, sooner or later: whether all that was said has reached the server. @type {Promise<boolean>} @readonly */
  heard;

  /** @param {SocketKind} kind */
  constructor(kind) {
    /** @readonly */
    this.kind = kind;
    this.proven = new Promise((resolve, reject) => {
      this.#prove = resolve;
      this.#fail = reject;
    });
    this.heard = new Promise((resolve) => (this.#confirm = resolve));
    // Whoever waits is told; nobody has to wait.
    this.proven.catch(() => {});
  }

  get isClosed() {
    return this.#closed !== null;
  }

  /** @param {SocketListener} listener hears what has come already, too */
  listen(listener) {
    this.#listener = listener;
    for (const frame of this.#early.splice(0)) listener.frame(frame);
    if (this.#closed !== null) listener.close(this.#closed);
  }

  /** @param {string} _frame dropped by one that is closed */
  send(_frame) {}

  /** Ends it; nothing more is heard of it. */
  close() {
    if (this.#closed !== null) return;
    this.#listener = null;
    this.ended(ENDED);
  }

  /** @protected */
  answered() {
    this.#prove();
    this.#listener?.sign?.();
  }

  /** @param {boolean} isHeard @protected */
  confirmed(isHeard) {
    this.#confirm(isHeard);
  }

  /** @param {string} frame @protected */
  arrived(frame) {
    if (this.#closed !== null) return;
    this.#prove();
    if (this.#listener) this.#listener.frame(frame);
    else this.#early.push(frame);
  }

  /** @param {number} code @protected */
  ended(code) {
    if (this.#closed !== null) return;
    this.#closed = code;
    this.#fail(new Error("The connection ended."));
    this.#listener?.close(code);
  }
}
