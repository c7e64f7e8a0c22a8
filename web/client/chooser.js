import { CallError } from "./errors.js";

/** @import { Socket } from "./socket.js" */

/** Time after which the next way is tried beside one that has brought nothing yet. */
const NEXT_AFTER_MS = 3_000;
/** Time after which the last way is given up. Browsers try for minutes to reach a server that does not answer at all. */
const GIVE_UP_AFTER_MS = 10_000;

/** Answers that say nothing about the other ways: the server itself has refused nothing. */
const NOT_THE_SERVER = ["unreachable", "websocket_blocked"];

/** Finds a way to the server: the best one that carries something. */
export class Chooser {
  #ways;
  #whyRefused;
  /** @type {Set<() => void>} stop what is under way */
  #stops = new Set();

  /**
   * @param {(() => Socket)[]} ways open a socket, the best way first
   * @param {() => Promise<CallError>} whyRefused asks the server why it did not let the first way in
   */
  constructor(ways, whyRefused) {
    this.#ways = ways;
    this.#whyRefused = whyRefused;
  }

  /** @returns {Promise<Socket>} one that works; rejected with a `CallError` */
  async open() {
    const search = new Search(this.#ways, this.#whyRefused);
    const stop = () => search.stop();
    this.#stops.add(stop);
    try {
      return await search.found;
    } finally {
      this.#stops.delete(stop);
    }
  }

  /** @returns {Promise<Socket>} by the best way, and soon; rejected if that is not possible */
  async probe() {
    const socket = this.#ways[0]();
    const stop = () => socket.close();
    const timer = setTimeout(stop, NEXT_AFTER_MS);
    this.#stops.add(stop);
    try {
      await socket.proven;
      return socket;
    } finally {
      clearTimeout(timer);
      this.#stops.delete(stop);
    }
  }

  /** Ends the attempts that are under way. */
  stop() {
    for (const stop of [...this.#stops]) stop();
  }
}

/**
 * One search. A way is tried when the one before it has failed or takes long; then both are tried, and the first one that
 * brings something is taken.
 */
class Search {
  #ways;
  #whyRefused;
  /** @type {Set<Socket>} */
  #trying = new Set();
  #next = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Promise<CallError> | null} the server's answer, which is asked for once */
  #asked = null;
  #isAsking = false;
  #isOver = false;
  /** @type {(socket: Socket) => void} */
  #resolve = () => {};
  /** @type {(error: CallError) => void} */
  #reject = () => {};

  /** @type {Promise<Socket>} @readonly */
  found;

  /**
   * @param {(() => Socket)[]} ways
   * @param {() => Promise<CallError>} whyRefused
   */
  constructor(ways, whyRefused) {
    this.#ways = ways;
    this.#whyRefused = whyRefused;
    this.found = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#tryNext();
  }

  stop() {
    this.#fail(new CallError("connection_lost", "The connection was closed."));
  }

  #tryNext() {
    clearTimeout(this.#timer);
    if (this.#isOver || this.#isAsking) return;
    const open = this.#ways[this.#next];
    if (!open) {
      if (this.#trying.size === 0) void this.#giveUp();
      else this.#giveUpLater();
      return;
    }
    this.#next += 1;
    if (this.#next < this.#ways.length) this.#timer = setTimeout(() => this.#tryNext(), NEXT_AFTER_MS);
    else this.#giveUpLater();
    const socket = open();
    this.#trying.add(socket);
    socket.proven.then(() => this.#take(socket), () => void this.#lose(socket));
  }

  /** @param {Socket} socket that has brought nothing */
  async #lose(socket) {
    this.#trying.delete(socket);
    if (this.#isOver) return;
    if (this.#asked === null) {
      this.#isAsking = true;
      const error = await this.#ask();
      this.#isAsking = false;
      if (!NOT_THE_SERVER.includes(error.code)) return this.#fail(error);
    }
    this.#tryNext();
  }

  /** @returns {Promise<CallError>} why the server lets nobody in, if it is the server */
  #ask() {
    this.#asked ??= this.#whyRefused().catch((/** @type {CallError} */ error) => error);
    return this.#asked;
  }

  #giveUpLater() {
    this.#timer = setTimeout(() => void this.#giveUp(), GIVE_UP_AFTER_MS);
  }

  async #giveUp() {
    if (!this.#isOver) this.#fail(await this.#ask());
  }

  /** @param {Socket} socket */
  #take(socket) {
    if (this.#isOver) return;
    this.#end(socket);
    this.#resolve(socket);
  }

  /** @param {CallError} error */
  #fail(error) {
    if (this.#isOver) return;
    this.#end(null);
    this.#reject(error);
  }

  /** @param {Socket | null} taken */
  #end(taken) {
    this.#isOver = true;
    clearTimeout(this.#timer);
    for (const socket of this.#trying) if (socket !== taken) socket.close();
  }
}
