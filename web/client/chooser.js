import { CallError } from "./errors.js";

/** @import { Socket } from "./socket.js" */

/** Time after which the next way is tried beside one that has brought nothing yet. */
const NEXT_AFTER_MS = 3_000;
/** Time after which the last way is given up. Browsers try for minutes to reach a server that does not answer at all. */
const GIVE_UP_AFTER_MS = 10_000;

/** Answers that say nothing about the other ways: the server itself has refused nothing. */
const NOT_THE_SERVER = ["unreachable", "websocket_blocked"];

/**
 * Finds a way to the server: the best one that carries something. A way is tried when the one before it has failed or
 * takes long; then both are tried, and the first one that brings something is taken.
 */
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
  open() {
    /** @type {Set<Socket>} */
    const trying = new Set();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let next = 0;
    let isAsking = false;
    let isOver = false;
    /** @type {Promise<CallError> | null} */
    let asked = null;
    return new Promise((resolve, reject) => {
      /** @param {Socket | null} taken */
      const end = (taken) => {
        isOver = true;
        clearTimeout(timer);
        this.#stops.delete(stop);
        for (const socket of trying) if (socket !== taken) socket.close();
      };
      /** @param {CallError} error */
      const fail = (error) => {
        if (isOver) return;
        end(null);
        reject(error);
      };
      const stop = () => fail(new CallError("connection_lost", "The connection was closed."));
      const failAll = () => {
        isOver || (asked ??= this.#whyRefused()).then(fail, fail);
      };
      /** @param {Socket} socket */
      const take = (socket) => {
        if (isOver) return;
        end(socket);
        resolve(socket);
      };
      /** @param {Socket} socket */
      const lose = async (socket) => {
        trying.delete(socket);
        if (isOver) return;
        if (asked === null) {
          isAsking = true;
          const error = await (asked = this.#whyRefused()).catch((/** @type {CallError} */ refused) => refused);
          isAsking = false;
          if (!NOT_THE_SERVER.includes(error.code)) return fail(error);
        }
        tryNext();
      };
      const tryNext = () => {
        clearTimeout(timer);
        if (isOver || isAsking) return;
        const open = this.#ways[next];
        if (!open) return trying.size === 0 ? failAll() : undefined;
        next += 1;
        timer = next < this.#ways.length ? setTimeout(tryNext, NEXT_AFTER_MS) : setTimeout(failAll, GIVE_UP_AFTER_MS);
        const socket = open();
        trying.add(socket);
        socket.proven.then(() => take(socket), () => void lose(socket));
      };
      this.#stops.add(stop);
      tryNext();
    });
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
