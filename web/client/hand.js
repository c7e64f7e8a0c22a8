import { isLost, isRefusal } from "./errors.js";
import { say } from "./protocol.js";

/** @import { Signaling } from "./signaling.js" */

/**
 * Our hand, as we want it to be. A wish that was made without a connection is told with the next one; one that the server
 * refuses is none.
 */
export class Hand {
  #isRaised = false;
  /** The server may not know it. */
  #isUntold = false;
  /** @type {Signaling | null} of the present stay in the room */
  #signaling = null;

  get isRaised() {
    return this.#isRaised;
  }

  /**
   * Tells a wish to a stay in the room that begins. A hand that the server has kept is as it says, unless we have changed
   * our mind meanwhile: a moderator may have lowered it.
   *
   * @param {Signaling} signaling
   * @param {{ isUp: boolean, isResumed: boolean }} known `isUp`: our hand is up there; `isResumed`: the server has kept it
   * @returns {Promise<void>} rejected when the server refuses
   */
  async begin(signaling, { isUp, isResumed }) {
    this.#signaling = signaling;
    if (isResumed && !this.#isUntold) this.#isRaised = isUp;
    if (this.#isRaised !== isUp) await this.#tell(this.#isRaised, isUp);
  }

  /**
   * @param {boolean} raised
   * @returns {Promise<void>} once the server knows, or rejected: `connection_lost` if the next stay is to tell it
   */
  async set(raised) {
    const before = this.#isRaised;
    this.#isRaised = raised;
    this.#isUntold = true;
    if (this.#signaling) await this.#tell(raised, before);
  }

  /** A moderator has lowered it. */
  lowered() {
    this.#isRaised = false;
    this.#isUntold = false;
  }

  /**
   * @param {boolean} raised
   * @param {boolean} before what holds if the server refuses
   */
  async #tell(raised, before) {
    try {
      await this.#signaling?.request(say.hand(raised));
      if (this.#isRaised === raised) this.#isUntold = false;
    } catch (error) {
      if (!isLost(error) && isRefusal(error) && this.#isRaised === raised) {
        this.#isRaised = before;
        this.#isUntold = false;
      }
      throw error;
    }
  }
}
