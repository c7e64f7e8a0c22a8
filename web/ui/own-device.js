import { CallError } from "../client/index.js";

/** @typedef {"microphone" | "camera"} OwnDevice */

/**
 * @typedef {object} DeviceOptions
 * @property {OwnDevice} kind
 * @property {() => Promise<{ track: MediaStreamTrack | null, error: CallError | null }>} capture opens the chosen
 *   device, or another where that one is gone
 * @property {() => void} onChanged
 * @property {(error: CallError) => void} onProblem
 */

/** Times that a device that ends is opened again by itself; a press starts the count anew. */
const REPLACEMENTS = 2;

/**
 * A microphone or a camera: its wanted state, and its real one. Off is done before the press returns. On takes as long
 * as the browser takes to open the device, and a press meanwhile counts. A microphone that is off stays open, silenced,
 * so that it is back at once; a camera that is off is closed, so that its light goes out.
 */
export class Device {
  #kind;
  #capture;
  #onChanged;
  #onProblem;
  /** The latest attempt to open it; an earlier one that comes in late is given back. */
  #attempt = 0;
  #opening = false;
  #replacements = 0;
  #released = false;

  /** @type {MediaStreamTrack | null} */
  track = null;
  /** The state wanted by the last press. */
  wanted = false;

  /** @param {DeviceOptions} options */
  constructor({ kind, capture, onChanged, onProblem }) {
    this.#kind = kind;
    this.#capture = capture;
    this.#onChanged = onChanged;
    this.#onProblem = onProblem;
  }

  /** Whether it is heard or seen. */
  get isOn() {
    return this.track !== null && this.track.enabled;
  }

  get isOpening() {
    return this.#opening;
  }

  /**
   * @param {boolean} on
   * @returns {Promise<void>} once the device does so, or cannot
   */
  async set(on) {
    if (this.#released) return;
    this.wanted = on;
    this.#replacements = 0;
    this.#follow();
    if (on && !this.track && !this.#opening) await this.#open();
  }

  /** Opens the chosen device in place of the one in use; a device that is off stays off. */
  async reopen() {
    const isUsed = this.#kind === "camera" ? this.wanted : this.track !== null || this.#opening;
    if (isUsed && !this.#released) await this.#open();
  }

  /**
   * Begins to open the device; the caller gives the result to `finish`.
   *
   * @returns {number} the attempt
   */
  begin() {
    this.#opening = true;
    this.#attempt += 1;
    this.#onChanged();
    return this.#attempt;
  }

  /**
   * @param {number} attempt
   * @param {MediaStreamTrack | null} track
   * @returns {boolean} whether it was still waited for
   */
  finish(attempt, track) {
    if (attempt !== this.#attempt || this.#released) {
      track?.stop();
      return false;
    }
    this.#opening = false;
    if (track) this.#hold(track);
    else if (!this.track) this.wanted = false;
    this.#follow();
    return true;
  }

  /**
   * Checks the device after something was plugged in or out.
   *
   * @param {readonly MediaDeviceInfo[]} present of this kind
   */
  devicesChanged(present) {
    const { track } = this;
    const id = track?.getSettings().deviceId;
    // Some browsers do not end the track of an unplugged device. Lists without ids tell nothing.
    if (track && id && present.some(({ deviceId }) => deviceId) && present.every(({ deviceId }) => deviceId !== id)) {
      track.stop();
      void this.#lost(track);
    }
  }

  release() {
    this.#released = true;
    this.#giveBack();
  }

  /** Brings the device into the wanted state. */
  #follow() {
    if (!this.wanted && this.#kind === "camera") this.#giveBack();
    if (this.track) this.track.enabled = this.wanted;
    this.#onChanged();
  }

  async #open() {
    const attempt = this.begin();
    const { track, error } = await this.#capture();
    if (this.finish(attempt, track) && error) this.#onProblem(error);
  }

  /** @param {MediaStreamTrack} track */
  #hold(track) {
    this.#giveBack();
    this.track = track;
    if (this.#kind === "camera") track.contentHint = "motion";
    // Unplugged, or taken away by the system.
    track.addEventListener("ended", () => void this.#lost(track));
  }

  /** @param {MediaStreamTrack} track */
  async #lost(track) {
    if (this.track !== track) return;
    this.track = null;
    this.#onChanged();
    const gone = `The ${this.#kind}${name(track)} is gone.`;
    if (!this.wanted) return this.#onProblem(new CallError("device_lost", gone));
    if (this.#replacements >= REPLACEMENTS) {
      this.wanted = false;
      return this.#onProblem(new CallError("device_lost", `${gone} It is off now.`));
    }
    this.#replacements += 1;
    const attempt = this.begin();
    const { track: other, error } = await this.#capture();
    // Pressed meanwhile: the person has seen to it.
    if (!this.finish(attempt, other)) return;
    const now = other ? `Now in use: ${other.label || `another ${this.#kind}`}.` : `It is off now. ${error?.message ?? ""}`;
    this.#onProblem(new CallError("device_lost", `${gone} ${now}`.trim()));
  }

  #giveBack() {
    const { track } = this;
    this.track = null;
    track?.stop();
  }
}

/** @param {MediaStreamTrack} track */
function name({ label }) {
  return label ? ` “${label}”` : "";
}
