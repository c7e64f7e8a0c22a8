import { Events } from "../client/index.js";
import { Arrivals } from "./arrivals.js";

/** @import { Room, RoomState } from "../client/index.js" */

const POLL_MS = 1_000;
/** While we send, the server reports on it several times a second. */
const SILENT_MS = 3_000;
/** Otherwise connectivity checks may be all there is (a screen stands still): every 2.5 s in Chromium, up to 6 s by RFC 7675. */
const SILENT_IDLE_MS = 9_000;

/** A line of messages that is back sooner than this is not worth a word: sound and pictures have gone on. */
const CUT_MS = 1_000;

/**
 * `cut`: messages do not reach the server, and nothing is known of the call yet; `resuming`: sound and pictures go on meanwhile.
 *
 * @typedef {"connecting" | "connected" | "cut" | "resuming" | "interrupted" | "failed"} LinkState
 */

/**
 * The state of our own link to the server, for the person to read.
 *
 * @param {object} facts
 * @param {RoomState} facts.room
 * @param {RTCPeerConnectionState} facts.media
 * @param {number} facts.silentMs for how long nothing has arrived
 * @param {boolean} facts.isIdle nothing but connectivity checks may be due
 * @param {number} [facts.cutMs] for how long messages have not reached the server
 * @param {boolean} [facts.isFlowing] something has arrived meanwhile
 * @returns {LinkState}
 */
export function linkState({ room, media, silentMs, isIdle, cutMs = 0, isFlowing = false }) {
  if (room === "closed") return "failed";
  if (room === "reconnecting") return "interrupted";
  switch (media) {
    case "new":
    case "connecting":
      return "connecting";
    case "connected":
      if (silentMs >= (isIdle ? SILENT_IDLE_MS : SILENT_MS)) return "interrupted";
      if (cutMs < CUT_MS) return "connected";
      return isFlowing ? "resuming" : "cut";
    case "disconnected":
      return "interrupted";
    default:
      return "failed";
  }
}

/**
 * Watches our own link, so that a fault here is not blamed on others.
 *
 * @extends {Events<{ changed: LinkState }>}
 */
export class Link extends Events {
  #room;
  #arrivals = new Arrivals();
  #silentMs = 0;
  #polledAt = 0;
  /** Something has arrived after this moment. */
  #arrivedAfter = 0;
  /** @type {number | null} since when messages do not reach the server */
  #cutSince = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #cutTimer;
  #timer = setInterval(() => void this.#poll(), POLL_MS);
  #stops;

  /** @type {LinkState} */
  state = "connecting";

  /** @param {Room} room */
  constructor(room) {
    super();
    this.#room = room;
    this.#stops = [
      room.on("mediaStateChanged", () => this.#restart()),
      room.on("stateChanged", () => this.#update()),
      room.on("signalingChanged", ({ isConnected }) => this.#cut(!isConnected)),
    ];
  }

  close() {
    clearInterval(this.#timer);
    clearTimeout(this.#cutTimer);
    for (const stop of this.#stops) stop();
  }

  async #poll() {
    const report = await this.#room.getStats().catch(() => null);
    const now = performance.now();
    this.#silentMs = this.#arrivals.poll(report, now);
    if (report && this.#silentMs === 0) this.#arrivedAfter = this.#polledAt;
    this.#polledAt = now;
    this.#update();
  }

  /** Restarts the silence after news from the browser, which needs no second check. */
  #restart() {
    this.#silentMs = this.#arrivals.poll(null, performance.now());
    this.#update();
  }

  /** @param {boolean} isCut */
  #cut(isCut) {
    clearTimeout(this.#cutTimer);
    this.#cutSince = isCut ? (this.#cutSince ?? performance.now()) : null;
    if (isCut) this.#cutTimer = setTimeout(() => this.#update(), CUT_MS);
    this.#update();
  }

  #update() {
    const room = this.#room;
    const isIdle = [...room.publications].every(({ media }) => media === null);
    const cutMs = this.#cutSince === null ? 0 : performance.now() - this.#cutSince;
    const facts = { room: room.state, media: room.mediaState, silentMs: this.#silentMs, isIdle, cutMs, isFlowing: this.#cutSince !== null && this.#arrivedAfter >= this.#cutSince };
    const state = linkState(facts);
    if (state === this.state) return;
    this.state = state;
    this.emit("changed", state);
  }
}
