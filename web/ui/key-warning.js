import { Banner } from "./banner.js";

/**
 * @import { EncryptionState, Room } from "../client/index.js"
 * @import { OwnMedia } from "./own.js"
 */

/**
 * Keys as the people of a call have them, against ours: `none`: nothing is wrong; `missing`: others encrypt and we do not;
 * `other`: all others who encrypt have another key than we.
 *
 * @typedef {"none" | "missing" | "other"} KeyTrouble
 *
 * @param {(EncryptionState | null)[]} states of the others
 * @returns {{ trouble: KeyTrouble, isCallEncrypted: boolean }} `isCallEncrypted`: at least half of the others encrypt
 */
export function keyTrouble(states) {
  const count = (/** @type {EncryptionState} */ state) => states.filter((each) => each === state).length;
  const missing = count("keyMissing");
  const shared = count("decrypted") + count("waiting");
  /** @type {KeyTrouble} */
  const wrong = count("otherKey") > 0 && shared === 0 ? "other" : "none";
  return { trouble: missing > 0 ? "missing" : wrong, isCallEncrypted: missing > 0 && missing * 2 >= states.length };
}

/**
 * The line above a call that says what is wrong with our key. In an encrypted call for which our link has no key, it also
 * holds back what we would send in the clear, until we say that it may go.
 *
 * One person who encrypts does not silence a call of many who do not: anybody can say that they encrypt.
 */
export class KeyWarning {
  #room;
  #own;
  #banner;
  #onRetry;
  #isHeld = false;
  #isConfirmed = false;

  /**
   * @param {object} parts
   * @param {Room} parts.room
   * @param {OwnMedia} parts.own
   * @param {() => void} parts.onFocusLost
   * @param {(() => void) | null} parts.onRetry lets the passphrase be typed again; null where none was typed
   */
  constructor({ room, own, onFocusLost, onRetry }) {
    this.#room = room;
    this.#own = own;
    this.#banner = new Banner("key", onFocusLost);
    this.#onRetry = onRetry;
  }

  get element() {
    return this.#banner.element;
  }

  /** Follows whoever has come, gone, or changed their key. */
  look() {
    const { participants } = this.#room;
    const { trouble, isCallEncrypted } = keyTrouble([...participants.keys()].map((id) => this.#room.encryptionOf(id)));
    if (isCallEncrypted && !this.#isConfirmed && !this.#isHeld) {
      this.#isHeld = true;
      this.#own.hold();
    }
    // Held until we say so: who encrypts may be away for a moment only.
    if (this.#isHeld) this.#showHeld();
    else if (trouble === "missing") this.#banner.show(`${MISSING} Ask for the whole link.`);
    else if (trouble === "other") this.#showOther();
    else this.#banner.hide();
  }

  #showHeld() {
    const onPress = () => {
      this.#isConfirmed = true;
      this.#isHeld = false;
      this.#own.letGo();
      this.look();
    };
    this.#banner.show(`${MISSING} Ask for the whole link. Your microphone and camera are off: the server could hear and see you.`, { label: "Send anyway", onPress });
  }

  #showOther() {
    const them = "The others have another key than you: you neither see nor hear each other.";
    if (this.#onRetry) this.#banner.show(`${them} Check the passphrase.`, { label: "Type it again", onPress: this.#onRetry });
    else this.#banner.show(`${them} Ask for the whole link.`);
  }
}

const MISSING = "This call is encrypted, and your link has no key. You see and hear nobody who has it, and they do not see or hear you.";
