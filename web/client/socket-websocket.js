import { Socket } from "./socket.js";

/** `readyState` of a WebSocket that takes messages; one that is closing drops them without a word. */
const OPEN = 1;

/** The usual way: one WebSocket. */
export class WebSocketChannel extends Socket {
  #socket;

  /**
   * @param {string} url
   * @param {string} hello a message that the server answers at once: some proxies open WebSockets and carry nothing
   * @param {typeof globalThis.WebSocket} [Native] for tests
   */
  constructor(url, hello, Native = globalThis.WebSocket) {
    super("websocket");
    this.#socket = new Native(url);
    this.#socket.addEventListener("open", () => this.send(hello));
    this.#socket.addEventListener("message", ({ data }) => typeof data === "string" && this.arrived(data));
    this.#socket.addEventListener("close", ({ code, wasClean }) => {
      // The server answers our close frame, which comes behind all messages (RFC 6455 section 7.1.4).
      this.confirmed(wasClean);
      this.ended(code);
    });
  }

  /** @param {string} frame @override */
  send(frame) {
    if (!this.isClosed && this.#socket.readyState === OPEN) this.#socket.send(frame);
  }

  /** The browser's own close handshake would wait for a dead peer: this does not. @override */
  close() {
    super.close();
    this.#socket.close();
  }
}
