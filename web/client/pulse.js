/** How often the counters are looked at. */
const LOOK_EVERY_MS = 500;
/** Browsers need some milliseconds for the counters of a large call: pauses are this many times as long. */
const PAUSE_RATIO = 20;
/** Looks in a row that find nothing until a path is dead: packets may be late by that. */
const DEAD_AFTER = 3;
/** Packets of ours in between that get an answer: the server reports on them several times a second. */
const SENT = 3;
/** What has come not longer ago than this was still to come when a line was lost. */
const RECENT_MS = 5_000;
/** A look that comes so much later than it was to tells nothing: the page or the machine slept. */
const LATE_MS = 1_000;
/**
 * Time for what has been done about a dead path, before it is done again; from the third time on it doubles. Browsers learn
 * of another network 2 s late and more, and look for paths in those that they know of.
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
  /** The time at which something was last seen to have come. */
  #cameAt = Number.NEGATIVE_INFINITY;
  /** The next look is where a hurried one begins. */
  #isHurried = false;
  /** The next look is a hurried one. */
  #isUrgent = false;
  /** Looks in a row that found nothing, though there should have been something. */
  #missed = 0;
  /** How often something was done about a dead path, and the time from which on it is done again. */
  #done = { times: 0, until: 0 };
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
    this.#done = { times: 0, until: 0 };
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
    // Paths that are given up take their counters with them.
    const isArriving = last !== null && counters !== null && counters.arrived !== last.arrived;
    if (isArriving) this.#cameAt = began;
    if (!counters || !last || isLate || isArriving) this.#begin();
    else if (this.#isDead) this.#act();
    else if (counters.sent - last.sent >= SENT || (this.#isUrgent && began - this.#cameAt < RECENT_MS)) this.#miss();
    else if (!begins) this.#begin();
    this.#isUrgent = begins;
    this.#next(Math.max(LOOK_EVERY_MS, PAUSE_RATIO * (Date.now() - began)));
  }

  get #isDead() {
    return this.#missed >= DEAD_AFTER;
  }

  #begin() {
    this.#missed = 0;
    this.#done = { times: 0, until: 0 };
  }

  #miss() {
    this.#missed += this.#isUrgent ? DEAD_AFTER : 1;
    if (this.#isDead) this.#act();
    else if (this.#missed === 1) this.#actions.doubt();
  }

  #act() {
    const { times, until } = this.#done;
    if (Date.now() < until || !this.#actions.dead()) return;
    this.#done = { times: times + 1, until: Date.now() + DEAD_AGAIN_MS * 2 ** Math.max(0, times - 1) };
  }
}
