import { isLost } from "./errors.js";

/** @import { ChatMessage } from "./protocol.js" */

/**
 * @typedef {object} Unanswered
 * @property {string} words
 * @property {boolean} isSeen it has come back to us, as to everybody
 * @property {() => void} arrived
 * @property {(error: unknown) => void} failed
 */

/**
 * Chat messages of ours that the server has not answered. They outlive a session: when we have joined again as the same
 * participant, those that the room does not have are said again.
 */
export class OutgoingChat {
  /** @type {Set<Unanswered>} in their order; a session takes only so many */
  #unanswered = new Set();
  #say;

  /** @param {(words: string) => Promise<unknown>} say rejected with `connection_lost` when nobody knows whether it arrived */
  constructor(say) {
    this.#say = say;
  }

  /**
   * @param {string} words
   * @returns {Promise<void>} once the server has them; rejected when it refuses, or when the room is closed
   */
  send(words) {
    return new Promise((resolve, reject) => {
      /** @type {Unanswered} */
      const message = { words, isSeen: false, arrived: resolve, failed: reject };
      this.#unanswered.add(message);
      this.#try(message);
    });
  }

  /** @param {ChatMessage} message of ours that came back */
  seen({ text }) {
    const message = [...this.#unanswered].find(({ words, isSeen }) => !isSeen && isSame(words, text));
    if (message) message.isSeen = true;
  }

  /** Says again what did not arrive. All that the room has of us has been seen before. */
  sendAgain() {
    for (const message of this.#unanswered) {
      if (message.isSeen) this.#settle(message);
      else this.#try(message);
    }
  }

  /** @param {unknown} error for all that wait: there is no other connection */
  end(error) {
    for (const message of this.#unanswered) {
      if (message.isSeen) message.arrived();
      else message.failed(error);
    }
    this.#unanswered.clear();
  }

  /** @param {Unanswered} message */
  #try(message) {
    this.#say(message.words).then(
      () => this.#settle(message),
      (error) => {
        if (isLost(error) || !this.#unanswered.delete(message)) return;
        message.failed(error);
      },
    );
  }

  /** @param {Unanswered} message */
  #settle(message) {
    this.#unanswered.delete(message);
    message.arrived();
  }
}

/**
 * @param {string} words as they were said
 * @param {string} text as the server composes it
 */
function isSame(words, text) {
  return words.normalize("NFC") === text;
}
