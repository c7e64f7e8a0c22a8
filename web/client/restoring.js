import { say } from "./protocol.js";
import { isPassing } from "./reconnect.js";
import { differing, OPEN_RULES } from "./rules.js";

/**
 * @import { Permissions } from "./permissions.js"
 * @import { Participant } from "./roster.js"
 * @import { Rules } from "./rules.js"
 * @import { Signaling } from "./signaling.js"
 */

/** Time for the others to come back to a server that keeps nobody's place: two of their longest pauses. */
const WITHOUT_SESSIONS_MS = 16_000;

/**
 * @typedef {object} Return a stay in a room that begins
 * @property {Readonly<Rules>} before the rules as we knew them
 * @property {boolean} isRestart the server was started again, as far as we can tell
 * @property {boolean} isCertain the server has said that it ends
 * @property {boolean} isResumed the server has had our session all the time
 * @property {boolean} wasAudience we saw a few of the people only
 * @property {ReadonlySet<string>} known ids of the others, as we knew them before
 * @property {number} graceMs for which the server keeps a place; 0: not at all
 *
 * @typedef {object} Restored a room as its rules need it
 * @property {Readonly<Permissions>} permissions
 * @property {ReadonlyMap<string, Participant>} participants
 */

/**
 * Sets the rules of a room again that its server has forgotten because it was started again. Every moderator's client
 * that knew them does, unless somebody has set others meanwhile.
 *
 * - Chat off and the waiting room come at once. Who was in the room before and has to wait now is let in.
 * - A lock would shut them out. It comes when all are back, or after the time for which a server keeps a place.
 * - A client that saw the room as its audience does not know who was in it. The waiting room comes as late as a lock then.
 *
 * A room that was ended while our line was cut looks like a forgotten one. So somebody of before has to be back first, if
 * anybody was there and the server did not say that it ends.
 */
export class Restoring {
  #room;
  #report;
  /** @type {Partial<Rules>} */
  #due = {};
  /**
   * Rules of before that have not come back yet, whoever sets them.
   *
   * @type {Partial<Rules>}
   */
  #former = {};
  #formerUntil = 0;
  /** @type {Signaling | null} of the present stay in the room */
  #signaling = null;
  /** @type {Set<string>} ids of those who were in the room before */
  #known = new Set();
  #isProven = false;
  #wasAudience = false;
  /** @type {ReturnType<typeof setTimeout> | null} set while others may come back */
  #patience = null;

  /**
   * @param {Restored} room
   * @param {(error: unknown) => void} report
   */
  constructor(room, report) {
    this.#room = room;
    this.#report = report;
  }

  /**
   * A stay in the room begins.
   *
   * @param {Readonly<Rules>} rules as the server has them
   * @param {Signaling} signaling
   * @param {Return} how
   */
  begin(rules, signaling, how) {
    this.#signaling = signaling;
    if (how.isRestart) this.#restarted(how);
    else if (!how.isResumed) this.end();
    if (Object.keys(differing(rules, OPEN_RULES)).length > 0) this.#due = {};
    this.look();
  }

  /** @param {Return} how */
  #restarted({ before, isCertain, wasAudience, known, graceMs }) {
    this.#due = { ...differing(before, OPEN_RULES), ...this.#due };
    this.#former = { ...this.#due };
    // Whoever sets them may have come back later than we, and then waits as long.
    this.#formerUntil = Date.now() + 2 * (graceMs || WITHOUT_SESSIONS_MS);
    this.#known = new Set(known);
    this.#isProven = isCertain || known.size === 0;
    this.#wasAudience = wasAudience;
    this.#stopWaiting();
    this.#patience = setTimeout(() => this.#late(), graceMs || WITHOUT_SESSIONS_MS);
  }

  /**
   * Somebody has set rules: these are not ours to set any more.
   *
   * @param {Readonly<Rules>} rules
   * @param {Readonly<Rules>} before
   * @returns {boolean} whether they only hold again, after the server has forgotten them
   */
  changed(rules, before) {
    const names = /** @type {(keyof Rules)[]} */ (Object.keys(differing(rules, before)));
    const isRestored = names.length > 0 && Date.now() < this.#formerUntil && names.every((name) => this.#former[name] === rules[name]);
    for (const name of names) {
      delete this.#due[name];
      delete this.#former[name];
    }
    return isRestored;
  }

  /** Sets what is due. Somebody has come or gone, or we may moderate now. */
  look() {
    const signaling = this.#signaling;
    if (!signaling || !this.#room.permissions.moderate || !this.#isForgotten()) return;
    for (const name of /** @type {(keyof Rules)[]} */ (Object.keys(this.#due))) {
      const on = this.#due[name];
      if (on === undefined || !this.#isTime(name)) continue;
      delete this.#due[name];
      signaling.request(say.moderate({ action: ACTIONS[name], on })).catch((error) => {
        // The next look does it, maybe in the next stay in the room.
        if (isPassing(error)) this.#due = { [name]: on, ...this.#due };
        else this.#report(error);
      });
    }
  }

  /**
   * Lets somebody in who has to wait and was in the room before.
   *
   * @param {string} id
   * @param {() => void} failed they still wait
   * @returns {boolean} whether it is so, and nobody else has to decide
   */
  admit(id, failed) {
    if (!this.#known.has(id) || !this.#room.permissions.moderate) return false;
    this.#signaling?.request(say.moderate({ action: "admit", participant: id })).catch((error) => {
      this.#known.delete(id);
      // Another moderator may have been faster.
      if (error.code !== "no_such_participant") failed();
    });
    return true;
  }

  /** The stay in the room is over. */
  left() {
    this.#signaling = null;
  }

  end() {
    this.#due = {};
    this.#former = {};
    this.#known.clear();
    this.#stopWaiting();
  }

  #late() {
    this.#patience = null;
    this.look();
    this.#known.clear();
    // Between two stays the next one looks.
    if (this.#signaling) this.#due = {};
  }

  #stopWaiting() {
    if (this.#patience !== null) clearTimeout(this.#patience);
    this.#patience = null;
  }

  /** Whether the room is the one of before, and not another by its name. */
  #isForgotten() {
    this.#isProven ||= [...this.#known].some((id) => this.#room.participants.get(id)?.isConnected);
    return this.#isProven;
  }

  /** @param {keyof Rules} name */
  #isTime(name) {
    if (name === "chat" || this.#patience === null) return true;
    if (this.#wasAudience) return false;
    return name === "waitingRoom" || [...this.#room.participants.values()].every(({ isConnected }) => isConnected);
  }
}

/** @type {Readonly<Record<keyof Rules, "lock" | "waiting_room" | "chat">>} */
const ACTIONS = Object.freeze({ locked: "lock", waitingRoom: "waiting_room", chat: "chat" });
