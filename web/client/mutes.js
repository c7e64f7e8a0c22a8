import { isLost, isTimeout } from "./errors.js";
import { isPassing } from "./reconnect.js";

/**
 * @import { CarriedTrack } from "./protocol.js"
 * @import { Publication } from "./publication.js"
 */

/** Pause after a refusal: we have sent too many requests, or the server is busy. */
const RETRY_MS = 1_000;

/**
 * Keeps the server informed of mutes. Each publication has one request at a time, the last wish at the end, and another
 * request if one may not have arrived, or if the server had no time for it. The device has followed the wish long before.
 */
export class Mutes {
  /** @type {Map<Publication, boolean | null>} as the server knows them; null when that is uncertain */
  #known = new Map();
  /** @type {Map<Publication, Promise<void>>} being told */
  #telling = new Map();
  /** @type {Map<Publication, () => void>} end the pause before another request, by the publication it is for */
  #pauses = new Map();
  #send;
  #onError;
  #closed = false;

  /**
   * @param {(trackId: string, muted: boolean) => Promise<unknown>} send
   * @param {(error: unknown) => void} onError of what nobody waits for
   */
  constructor(send, onError) {
    this.#send = send;
    this.#onError = onError;
  }

  /**
   * Records that an answered offer has told the server. The person may have pressed mute while it was on its way.
   *
   * @param {CarriedTrack[]} carried
   * @param {Map<string, Publication>} publications by mid
   */
  offered(carried, publications) {
    for (const { mid, muted } of carried) {
      const publication = publications.get(mid);
      if (!publication?.trackId) continue;
      // A request of later than the offer knows better.
      if (!this.#telling.has(publication)) this.#known.set(publication, muted);
      this.tell(publication).catch((error) => this.#onError(error));
    }
  }

  /**
   * @param {Publication} publication
   * @returns {Promise<void>} once the server knows the last wish; rejected when it refused, or did not answer in time: then
   *   it is told again later. One that was never named by the server is told with its offer
   */
  tell(publication) {
    const telling = this.#telling.get(publication) ?? this.#tell(publication);
    this.#telling.set(publication, telling);
    return telling;
  }

  /** @param {Publication} publication that ended */
  forget(publication) {
    this.#known.delete(publication);
    this.#pauses.get(publication)?.();
  }

  close() {
    this.#closed = true;
    for (const end of this.#pauses.values()) end();
  }

  /** @param {Publication} publication */
  async #tell(publication) {
    try {
      // Waits one turn: a second press in it has nothing new to say.
      await null;
      while (!this.#closed && publication.trackId !== null && this.#known.get(publication) !== publication.muted) {
        const { trackId, muted } = publication;
        this.#known.set(publication, null);
        if (await this.#isTaken(trackId, muted)) this.#known.set(publication, muted);
        else await this.#pause(publication);
      }
    } catch (error) {
      if (isTimeout(error)) void this.#later(publication);
      throw error;
    } finally {
      this.#telling.delete(publication);
    }
  }

  /**
   * @param {string} trackId
   * @param {boolean} muted
   * @returns {Promise<boolean>} false if the server had no time for it
   */
  async #isTaken(trackId, muted) {
    try {
      await this.#send(trackId, muted);
      return true;
    } catch (error) {
      if (!isPassing(error) || isTimeout(error) || isLost(error)) throw error;
      return false;
    }
  }

  /** @param {Publication} publication */
  async #later(publication) {
    await this.#pause(publication);
    this.tell(publication).catch((error) => !isPassing(error) && this.#onError(error));
  }

  /**
   * @param {Publication} publication
   * @returns {Promise<void>}
   */
  async #pause(publication) {
    if (this.#closed) return;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, RETRY_MS);
      this.#pauses.set(publication, () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
    this.#pauses.delete(publication);
  }
}
