/** How often the clock is looked at: a fraction of the shortest time below. */
const TICK_MS = 500;
/** Signs of life are asked for this often: twice within the time after which there should have been one. */
const PING_EVERY_MS = 2_500;
/** A connection that may be dead is given this time to prove the contrary. */
const CHECK_MS = 1_500;
/** After this time, longer than most round trips, it is worth to look for another one beside it. */
const DOUBT_MS = 500;
/** A timer that comes later than this was held back: the machine slept, or the page. */
const LATE_MS = 2_000;

/**
 * Notices that a connection is dead. Half-open TCP connections are silent for minutes, and a browser tells nothing of
 * them.
 */
export class Liveness {
  #silentMs;
  #ping;
  #doubt;
  #dead;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #doubting;
  #ticked = 0;
  #pinged = 0;
  #deadline = 0;
  #isChecking = false;

  /**
   * @param {object} options
   * @param {() => void} options.ping asks for a sign of life
   * @param {() => void} [options.doubt] a check is not answered as soon as most are
   * @param {() => void} options.dead called once
   */
  constructor({ ping, doubt = () => {}, dead }) {
    this.#ping = ping;
    this.#doubt = doubt;
    this.#dead = dead;
    this.#silentMs = 0;
  }

  /** @param {number} silentMs milliseconds without a sign after which the connection is dead */
  start(silentMs) {
    this.stop();
    this.#silentMs = silentMs;
    this.#ticked = this.#pinged = Date.now();
    this.heard();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    clearTimeout(this.#doubting);
    this.#timer = undefined;
  }

  /** Whether it is being checked, and has said nothing yet. */
  get isChecking() {
    return this.#isChecking;
  }

  heard() {
    this.#isChecking = false;
    clearTimeout(this.#doubting);
    this.#deadline = Date.now() + this.#silentMs;
  }

  /** There is a reason to believe that the connection may be dead. */
  check() {
    if (this.#timer === undefined || this.#isChecking) return;
    this.#isChecking = true;
    this.#deadline = Date.now() + CHECK_MS;
    this.#doubting = setTimeout(() => this.#doubt(), DOUBT_MS);
    this.#askNow();
  }

  #tick() {
    if (this.#timer === undefined) return undefined;
    const now = Date.now();
    const lateMs = now - this.#ticked - TICK_MS;
    this.#ticked = now;
    // What came meanwhile may not have been handed to us yet.
    if (lateMs > LATE_MS && !this.#isChecking) return this.check();
    if (now >= this.#deadline) {
      this.stop();
      return this.#dead();
    }
    return now - this.#pinged >= PING_EVERY_MS ? this.#askNow() : undefined;
  }

  #askNow() {
    this.#pinged = Date.now();
    this.#ping();
  }
}

/** Events of the window after which connections are often dead, or possible again. The second one bubbles up to it. */
const WAKING = ["online", "visibilitychange"];

/**
 * Calls `act` when the network may have changed under us, or the page may have been asleep.
 *
 * @param {() => void} act
 * @returns {() => void} stops it
 */
export function onWake(act) {
  const { connection } = /** @type {{ connection?: EventTarget }} */ (globalThis.navigator ?? {});
  for (const name of WAKING) globalThis.addEventListener?.(name, act);
  connection?.addEventListener?.("change", act);
  return () => {
    for (const name of WAKING) globalThis.removeEventListener?.(name, act);
    connection?.removeEventListener?.("change", act);
  };
}
