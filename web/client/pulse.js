/** How often the counters are looked at. */
const LOOK_EVERY_MS = 500;
/** Browsers need some milliseconds for the counters of a large call: pauses are this many times as long. */
const PAUSE_RATIO = 20;
/** Looks in a row that find nothing until a path is dead: packets may be late by that. */
const DEAD_AFTER = 3;
/** Packets of ours in between that get an answer: sound alone has 50 a second, and the server reports on it several times. */
const SENT = 10;
/** A look that comes so much later than it was to tells nothing: the page or the machine slept. */
const LATE_MS = 1_000;
/**
 * Time for what has been done about a dead path, before it is done again; it doubles. Browsers learn of another network up
 * to 2 s late, and look for paths in those that they know of.
 */
const DEAD_AGAIN_MS = 1_500;

/**
 * Counters of a transport that only grow.
 *
 * @typedef {object} Counters
 * @property {number} arrived media and feedback, without connectivity checks: those are answered before a path is used
 * @property {number} sent packets of media
 */

/** @param {RTCStatsReport} report @returns {Counters} */
export function countersOf(report) {
  const counters = { arrived: 0, sent: 0 };
  report.forEach((entry) => {
    if (entry.type === "candidate-pair") counters.arrived += entry.bytesReceived ?? 0;
    if (entry.type === "inbound-rtp") counters.arrived += entry.packetsReceived ?? 0;
    if (entry.type === "outbound-rtp") counters.sent += entry.packetsSent ?? 0;
  });
  return counters;
}

/**
 * Notices that a path is dead within two seconds, by what comes over it. A browser notices after six, and gives nobody
 * notice of another network if it was there before the last one went.
 */
export class Pulse {
  #actions;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Counters | null} of the last look */
  #last = null;
  #due = 0;
  /** Something came until it stopped. */
  #wasFlowing = false;
  /** The next look is where a hurried one begins. */
  #isHurried = false;
  /** The next look is a hurried one. */
  #isUrgent = false;
  /** Looks in a row that found nothing, though there should have been something. */
  #missed = 0;
  /** The time at which a dead path is told again, and the wait for that. */
  #again = { at: 0, wait: DEAD_AGAIN_MS };
  #isOver = false;

  /**
   * @param {object} actions
   * @param {() => Promise<Counters | null>} actions.count null while there is nothing to watch
   * @param {() => void} actions.doubt nothing has come for half a second: the network may be another one
   * @param {() => boolean} actions.dead nothing has come since then, either; called again soon if it returns false, which
   *   says that nothing could be done about it, and else more and more rarely
   */
  constructor(actions) {
    this.#actions = actions;
    this.#next(LOOK_EVERY_MS);
  }

  /**
   * Judges by what comes from now on, for half a second: there is a reason to believe that the path is dead. Also counts
   * where we send nothing that gets an answer.
   */
  hurry() {
    if (this.#isOver) return;
    this.#again = { at: 0, wait: DEAD_AGAIN_MS };
    if (this.#isDead) return this.#act();
    this.#isHurried = true;
    this.#next(0);
  }

  stop() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** @param {number} delay */
  #next(delay) {
    clearTimeout(this.#timer);
    this.#due = Date.now() + delay;
    this.#timer = setTimeout(() => void this.#look(), delay);
  }

  async #look() {
    const began = Date.now();
    const isLate = began - this.#due > LATE_MS;
    const counters = await this.#actions.count().catch(() => null);
    if (this.#isOver) return;
    const last = this.#last;
    this.#last = counters;
    const begins = this.#isHurried;
    this.#isHurried = false;
    if (!counters || !last || isLate) this.#begin(false);
    // Paths that are given up take their counters with them.
    else if (counters.arrived !== last.arrived) this.#begin(true);
    else if (this.#isDead) this.#act();
    else if (counters.sent - last.sent >= SENT || (this.#isUrgent && this.#wasFlowing)) this.#miss();
    else if (!begins) this.#begin(false);
    this.#isUrgent = begins;
    this.#next(Math.max(LOOK_EVERY_MS, PAUSE_RATIO * (Date.now() - began)));
  }

  get #isDead() {
    return this.#missed >= DEAD_AFTER;
  }

  /** @param {boolean} isFlowing */
  #begin(isFlowing) {
    this.#missed = 0;
    this.#again = { at: 0, wait: DEAD_AGAIN_MS };
    this.#wasFlowing = isFlowing;
  }

  #miss() {
    this.#missed += this.#isUrgent ? DEAD_AFTER : 1;
    if (this.#isDead) this.#act();
    else if (this.#missed === 1) this.#actions.doubt();
  }

  #act() {
    const { at, wait } = this.#again;
    if (Date.now() < at || !this.#actions.dead()) return;
    this.#again = { at: Date.now() + wait, wait: wait * 2 };
  }
}
