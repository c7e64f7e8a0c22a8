import { Chooser } from "./chooser.js";
import { CallError } from "./errors.js";
import { Events } from "./events.js";
import { Liveness, onWake } from "./liveness.js";
import { unreachable, whyRefused } from "./probe.js";
import { parseServerMessage, say } from "./protocol.js";
import { Backoff, isPassing } from "./reconnect.js";
import { Session } from "./session.js";
import { EventsChannel } from "./socket-events.js";
import { post } from "./socket-fetch.js";
import { PollingChannel } from "./socket-polling.js";
import { WebSocketChannel } from "./socket-websocket.js";

/**
 * @import { ClientMessage, ServerMessage, SessionInfo } from "./protocol.js"
 * @import { Socket, SocketKind } from "./socket.js"
 */

/** Silence after which a connection is dead. With a session another one costs nothing. */
const SILENT_MS = 5_000;
/** Without a session the call depends on it. */
const SILENT_ALONE_MS = 10_000;
/** Time for the server to answer `resume`. Nothing may be said meanwhile: it would spend the token. */
const RESUME_MS = 5_000;
/** How often a better way is tried while there is only a worse one. */
const RAISE_EVERY_MS = 30_000;
/** The server may notice this much later than we that a connection is dead; its time for us begins then. */
const NOTICED_LATER_MS = 15_000;

/**
 * @typedef {object} LineOptions
 * @property {typeof globalThis.WebSocket} [WebSocket] for tests; then there are no other ways
 * @property {typeof globalThis.fetch} [fetch] for tests, of the other ways
 * @property {(url: string) => Promise<CallError>} [whyRefused] for tests
 */

/**
 * @typedef {object} LineEvents
 * @property {ServerMessage} message each once, whatever became of the connections that carried it
 * @property {CallError} error a fault in the protocol, which is otherwise ignored
 * @property {void} down there is no connection; what is said is kept for the next one
 * @property {SocketKind} up there is one again, or another one, and nothing was lost
 * @property {string} token the session has another token
 * @property {{ code: string, isEarly: boolean }} refused the server does not know the session any more; `isEarly`: though
 *   it should, so that it must have been started again. There may be a connection, on which one can join
 * @property {CallError} over comes once, last
 */

/**
 * A line of messages to the server that outlives its connections, from the `welcome` on that brings a session. Before
 * that, and with a server that has no sessions, it ends with its first connection.
 *
 * @extends {Events<LineEvents>}
 */
export class Line extends Events {
  #chooser;
  #liveness = new Liveness({ ping: () => this.#ping(), doubt: () => void this.#compete(), dead: () => this.#drop() });
  #backoff = new Backoff();
  /** @type {Session | null} */
  #session = null;
  /** @type {Socket | null} */
  #socket = null;
  /** @type {Socket | null} the worse one that is being left for another */
  #former = null;
  /** @type {Promise<void> | null} */
  #opening = null;
  #lastId = 0;
  /** @type {number | null} of the `resume` that is not answered yet */
  #resumeId = null;
  /** @type {{ id: number, sent: number } | null} the latest ping, and our messages before it */
  #pinged = null;
  /** @type {number | null} */
  #downSince = null;
  #isOver = false;
  /** @type {() => void} */
  #wake = () => {};
  #stopWaking;
  /** @type {() => void} */
  #stopHiding;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #resumeTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #raiser;

  /**
   * @param {string} url the WebSocket's
   * @param {LineOptions} [options]
   */
  constructor(url, { WebSocket: Native = globalThis.WebSocket, fetch, whyRefused: ask } = {}) {
    super();
    const isReal = Native === globalThis.WebSocket;
    const hello = JSON.stringify(say.ping());
    /** @type {(() => Socket)[]} */
    const ways = [() => new WebSocketChannel(url, hello, Native)];
    if (isReal || fetch) ways.push(() => new EventsChannel(url, fetch), () => new PollingChannel(url, fetch));
    // A fake socket has no server behind it to ask.
    this.#chooser = new Chooser(ways, async () => (ask ?? (isReal ? whyRefused : unreachable))(url));
    this.#stopWaking = onWake(() => this.check());
    this.#stopHiding = onPageClosed(() => {
      const ask = fetch ?? (isReal ? globalThis.fetch?.bind(globalThis) : undefined);
      if (ask) this.#sayClosing(url, ask);
    });
  }

  /** Whether what is said goes out at once. */
  get isUp() {
    return this.#socket !== null && this.#resumeId === null;
  }

  /** Whether there is no reason to believe that it does not. */
  get isProven() {
    return this.isUp && !this.#liveness.isChecking;
  }

  /** @returns {Promise<boolean>} whether all that is said until `close` reaches the server; false also if that is doubtful by now */
  get heard() {
    return this.isProven && this.#socket ? this.#socket.heard : Promise.resolve(false);
  }

  get isOver() {
    return this.#isOver;
  }

  /** @returns {SocketKind | null} the present way */
  get kind() {
    return this.#socket?.kind ?? null;
  }

  /** Milliseconds for which the server keeps us without a connection; 0 if it does not. */
  get graceMs() {
    return this.#session?.graceMs ?? 0;
  }

  /**
   * @param {ClientMessage["type"]} type
   * @returns {boolean} whether a message of it can be said
   */
  canTake(type) {
    return this.#session ? this.#session.hasPlaceFor(type) : this.#socket !== null;
  }

  /** @returns {Promise<void>} once there is a first connection; rejected with why there is none */
  open() {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  nextId() {
    this.#lastId = (this.#lastId + 1) % 2 ** 32;
    return this.#lastId;
  }

  /** @param {ClientMessage & { id?: number }} message dropped if there is neither a connection nor a session */
  send(message) {
    const frame = JSON.stringify(message);
    this.#session?.say(message, frame);
    if (this.isUp) this.#socket?.send(frame);
  }

  /** Does not wait for the next attempt to find a connection. */
  retryNow() {
    this.#wake();
  }

  /** Something has happened after which connections are often dead, or possible again. */
  check() {
    if (this.#socket) this.#liveness.check();
    else this.#wake();
  }

  close() {
    this.#end(lost());
  }

  /**
   * Tells the server that the page is closed, so that others do not see us for the whole grace. A WebSocket says it itself, by
   * its close code. A page that is loading again comes back with the token all the same.
   *
   * @param {string} url the WebSocket's
   * @param {typeof globalThis.fetch} fetch
   */
  #sayClosing(url, fetch) {
    const session = this.#session;
    if (!session || (this.kind === "websocket" && this.isProven)) return;
    const body = { session: session.token, closing: true };
    // Nobody is there to hear an answer.
    post(fetch, url, "send", body, { keepalive: true }).catch(() => {});
  }

  async #open() {
    try {
      const socket = await this.#chooser.open();
      if (this.#isOver) return socket.close();
      this.#take(socket);
      this.#liveness.start(SILENT_ALONE_MS);
    } catch (error) {
      this.#end(/** @type {CallError} */ (error));
      throw error;
    }
  }

  /** @param {Socket} socket */
  #take(socket) {
    this.#socket = socket;
    this.#pinged = null;
    socket.listen({
      frame: (frame) => this.#receive(socket, frame),
      sign: () => socket === this.#socket && this.#liveness.heard(),
      close: () => this.#lose(socket),
    });
  }

  /**
   * @param {Socket} socket
   * @param {string} frame
   */
  #receive(socket, frame) {
    // Whatever an earlier connection still brings comes again on this one.
    if (socket !== this.#socket) return;
    this.#liveness.heard();
    const message = this.#parse(frame);
    if (message?.type === "welcome") return this.#welcomed(message);
    if (message?.type === "pong") return this.#ponged(message.id);
    if (message?.type === "resumed") return this.#resumed(message);
    if (message?.type === "error" && this.#resumeId !== null && message.id === this.#resumeId) return this.#refused(message.code);
    const session = this.#session;
    session?.hear(message);
    if (session?.owesAck) this.#ack(session);
    if (message) this.emit("message", message);
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

  /** @param {ServerMessage & { type: "welcome" }} welcome */
  #welcomed(welcome) {
    if (welcome.session) this.#begin(welcome.session);
    this.emit("message", welcome);
  }

  /** @param {SessionInfo} info */
  #begin(info) {
    this.#session = new Session(info);
    this.#liveness.start(SILENT_MS);
    clearInterval(this.#raiser);
    this.#raiser = setInterval(() => void this.#raise(), RAISE_EVERY_MS);
    this.emit("token", info.token);
  }

  /** @param {number | undefined} id */
  #ponged(id) {
    if (this.#pinged && id === this.#pinged.id) this.#session?.forget(this.#pinged.sent);
  }

  #ping() {
    const socket = this.#socket;
    if (!socket || !this.isUp) return;
    const id = this.nextId();
    this.#pinged = { id, sent: this.#session?.sent ?? 0 };
    this.#session?.told();
    socket.send(JSON.stringify({ ...say.ping(this.#session?.received), id }));
  }

  /** @param {Session} session */
  #ack(session) {
    session.told();
    this.#socket?.send(JSON.stringify(say.ack(session.received)));
  }

  /** The connection is dead, though nobody has said so: there is no reason to wait. */
  #drop() {
    const socket = this.#socket;
    socket?.close();
    if (socket) this.#lose(socket, 0);
  }

  /**
   * @param {Socket} socket
   * @param {number} [pause] milliseconds before the next attempt
   */
  #lose(socket, pause) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#resumeId = null;
    clearTimeout(this.#resumeTimer);
    this.#leaveFormer();
    this.#liveness.stop();
    if (this.#isOver) return;
    if (!this.#session) return this.#end(lost());
    if (this.#downSince === null) {
      this.#downSince = Date.now();
      this.emit("down", undefined);
    }
    void this.#reopen(pause ?? this.#backoff.next());
  }

  /** @param {number} pause */
  async #reopen(pause) {
    for (let error = lost(); ; pause = this.#backoff.next()) {
      await this.#pause(pause);
      if (this.#isOver) return;
      if (this.#downFor() > this.graceMs + NOTICED_LATER_MS) return this.#end(error);
      try {
        const socket = await this.#chooser.open();
        if (this.#isOver) return socket.close();
        return this.#resume(socket);
      } catch (refused) {
        error = /** @type {CallError} */ (refused);
        if (this.#isOver) return;
        if (!isPassing(error)) return this.#end(error);
      }
    }
  }

  #downFor() {
    return this.#downSince === null ? 0 : Date.now() - this.#downSince;
  }

  /** @param {Socket} socket that works, and does not know us yet */
  #resume(socket) {
    const session = this.#session;
    if (!session) return;
    const id = (this.#resumeId = this.nextId());
    this.#resumeTimer = setTimeout(() => this.#drop(), RESUME_MS);
    this.#liveness.start(SILENT_MS);
    // From now on nothing is heard of an earlier connection: the count of what we have must not change any more.
    this.#take(socket);
    socket.send(JSON.stringify({ ...say.resume(session.token, { received: session.received }), id }));
  }

  /** @param {ServerMessage & { type: "resumed" }} message */
  #resumed(message) {
    const { id, session: token } = message;
    const socket = this.#socket;
    if (this.#resumeId === null || id !== this.#resumeId) {
      // A session that another page had: the `welcome` that follows begins it here.
      socket?.send(JSON.stringify(say.ack(0)));
      return this.emit("message", message);
    }
    const session = this.#session;
    this.#resumeId = null;
    clearTimeout(this.#resumeTimer);
    this.#leaveFormer();
    const again = session?.resume(message) ?? null;
    if (!session || !again) {
      socket?.close();
      this.#socket = null;
      return this.#forgo("session_gap");
    }
    this.#downSince = null;
    this.#backoff.reset();
    this.emit("token", token);
    this.#ack(session);
    for (const frame of again) socket?.send(frame);
    if (socket) this.emit("up", socket.kind);
  }

  /** @param {string} code */
  #refused(code) {
    const socket = this.#socket;
    if (socket && isPassing({ code })) {
      socket.close();
      return this.#lose(socket);
    }
    this.#resumeId = null;
    clearTimeout(this.#resumeTimer);
    this.#leaveFormer();
    this.#forgo(code);
  }

  /** @param {string} code */
  #forgo(code) {
    const isEarly = code === "no_such_session" && this.#downFor() < this.graceMs;
    this.#session = null;
    this.#downSince = null;
    clearInterval(this.#raiser);
    this.emit("refused", { code, isEarly });
  }

  /** Moves from a worse way to the best one, if that works by now. */
  async #raise() {
    if (this.isUp && this.kind !== "websocket") await this.#move(() => true);
  }

  /** Moves to another connection if that answers before this one, which may be dead. */
  async #compete() {
    const socket = this.#socket;
    if (this.isUp && this.#session) await this.#move(() => socket === this.#socket && this.#liveness.isChecking);
  }

  /** @param {() => boolean} isWanted whether another connection that works is still of use */
  async #move(isWanted) {
    const other = await this.#chooser.probe().catch(() => null);
    if (!other) return;
    if (this.#isOver || !this.#session || !this.isUp || !isWanted()) return other.close();
    this.#former = this.#socket;
    this.#resume(other);
  }

  #leaveFormer() {
    this.#former?.close();
    this.#former = null;
  }

  /**
   * @param {number} delay
   * @returns {Promise<void>}
   */
  #pause(delay) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** @param {CallError} why */
  #end(why) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopWaking();
    this.#stopHiding();
    this.#liveness.stop();
    clearTimeout(this.#resumeTimer);
    clearInterval(this.#raiser);
    this.#leaveFormer();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#chooser.stop();
    this.#wake();
    this.emit("over", why);
  }
}

function lost() {
  return new CallError("connection_lost", "The connection to the server was lost.");
}

/**
 * @param {() => void} act
 * @returns {() => void} stops it
 */
function onPageClosed(act) {
  // One that is kept may be shown again (back-forward cache).
  const hidden = (/** @type {Event} */ event) => !(/** @type {PageTransitionEvent} */ (event).persisted) && act();
  globalThis.addEventListener?.("pagehide", hidden);
  return () => globalThis.removeEventListener?.("pagehide", hidden);
}
