import { OutgoingChat } from "./outgoing-chat.js";

/** @import { ChatMessage } from "./protocol.js" */

/** Messages kept: as many as a page can usefully scroll through; the server keeps fewer. */
const KEPT = 500;

/** The chat of a room: what everybody has said, and what we say. */
export class Chat {
  #outgoing;
  #received;

  /** @type {ChatMessage[]} oldest first */
  messages = [];

  /**
   * @param {object} room
   * @param {(words: string) => Promise<unknown>} room.say rejected with `connection_lost` when nobody knows whether it arrived
   * @param {(message: ChatMessage) => void} room.received a message is new
   */
  constructor({ say, received }) {
    this.#outgoing = new OutgoingChat(say);
    this.#received = received;
  }

  /**
   * @param {string} words
   * @returns {Promise<void>} once the server has them; rejected when it refuses, or when the room is closed
   */
  send(words) {
    return this.#outgoing.send(words);
  }

  /**
   * @param {ChatMessage} message
   * @param {string | null} ownId
   */
  add(message, ownId) {
    // A welcome repeats what we may have; a server that restarted counts from the start again.
    if (this.messages.some(({ id, atMs }) => id === message.id && atMs === message.atMs)) return;
    this.messages = [...this.messages, message].slice(-KEPT);
    if (message.participant === ownId) this.#outgoing.seen(message);
    this.#received(message);
  }

  /** Says again what did not arrive. All that the room has of us has been added before. */
  sendAgain() {
    this.#outgoing.sendAgain();
  }

  /** @param {unknown} error for all that wait: there is no other connection */
  end(error) {
    this.#outgoing.end(error);
  }
}
