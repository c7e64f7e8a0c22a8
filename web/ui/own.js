import { ALL_PERMISSIONS, CallError, captureDevices, captureScreen, Events, listDevices, mayNotPublish } from "../client/index.js";
import { Device } from "./own-device.js";
import { Sending } from "./sending.js";

/**
 * @import { Permissions, Room, Source } from "../client/index.js"
 * @import { OwnDevice } from "./own-device.js"
 */

/**
 * @typedef {{ microphone: string, camera: string }} Chosen device ids, empty for the browser's own choice
 */

/**
 * Our own media: microphone, camera and screen, before a call and in it. A press acts on the device at once, whatever
 * the server or the connection does, and the last press wins. The state shown is the device's real one.
 *
 * `changed` comes after any change; `problem` when a device did not do what it was asked.
 *
 * @extends {Events<{ changed: void, problem: CallError }>}
 */
export class OwnMedia extends Events {
  #chosen;
  #height;
  /** The camera's publishing options. */
  #coding;
  #microphone;
  #camera;
  #sending;
  /** The latest attempt to share a screen. */
  #sharing = 0;
  #isPicking = false;
  #released = false;
  /** @type {{ microphone: boolean, camera: boolean } | null} what was on before nothing might be sent; null while it may */
  #held = null;
  /** @type {Readonly<Permissions>} */
  #permissions = ALL_PERMISSIONS;
  #devicesChanged = () => void this.#checkDevices();

  /** @type {MediaStreamTrack | null} */
  screen = null;
  /** @type {MediaStreamTrack | null} */
  screenAudio = null;

  /**
   * @param {{ chosen: Chosen, height: number, codec?: string, scalabilityMode?: string }} options
   *   `codec` and `scalabilityMode`: of the camera; empty for the client's defaults
   */
  constructor({ chosen, height, codec = "", scalabilityMode = "" }) {
    super();
    this.#chosen = { ...chosen };
    this.#height = height;
    this.#coding = { ...(codec && { codec }), ...(scalabilityMode && { scalabilityMode }) };
    this.#microphone = this.#device("microphone");
    this.#camera = this.#device("camera");
    const onProblem = (/** @type {CallError} */ error) => this.emit("problem", error);
    this.#sending = new Sending({ onFailed: (source, error) => this.#failed(source, error), onProblem });
    globalThis.navigator?.mediaDevices?.addEventListener?.("devicechange", this.#devicesChanged);
  }

  get chosen() {
    return this.#chosen;
  }

  get microphone() {
    return this.#microphone.track;
  }

  get camera() {
    return this.#camera.track;
  }

  /** Whether we are heard. */
  get microphoneOn() {
    return this.#microphone.isOn;
  }

  /** Whether we are seen. */
  get cameraOn() {
    return this.#camera.isOn;
  }

  /**
   * @param {OwnDevice | "screen"} what
   * @returns {boolean} whether the browser is opening it
   */
  isBusy(what) {
    if (what === "screen") return this.#isPicking;
    return this.#of(what).isOpening;
  }

  /**
   * Opens both devices before the call, asking for permission once.
   *
   * @param {{ microphone: boolean, camera: boolean }} wish
   * @returns {Promise<CallError[]>} why something is missing
   */
  async open(wish) {
    const begun = /** @type {OwnDevice[]} */ (["microphone", "camera"]).filter((kind) => wish[kind]).map((kind) => {
      const device = this.#of(kind);
      device.wanted = true;
      return { kind, device, attempt: device.begin() };
    });
    const captured = await this.#acquire(wish);
    // A device that was opened otherwise meanwhile has told of its own problems.
    const waited = begun.filter(({ kind, device, attempt }) =>
      device.finish(attempt, kind === "microphone" ? captured.audio : captured.video),
    );
    const kinds = waited.map(({ kind }) => (kind === "microphone" ? "audio" : "video"));
    return captured.problems.filter(({ kind }) => kinds.includes(kind)).map(({ error }) => error);
  }

  /**
   * Publishes everything that is on with the room's first offer, and everything later in this room.
   *
   * @param {Room} room
   */
  enter(room) {
    this.#sending.enter(room);
    this.#show("microphone");
    this.#show("camera");
  }

  /**
   * Switches off what may not be sent in this room, and keeps it off.
   *
   * @param {Readonly<Permissions>} permissions
   */
  allow(permissions) {
    this.#permissions = permissions;
    if (!permissions.microphone) void this.#microphone.set(false);
    if (!permissions.camera) void this.#camera.set(false);
    if (!permissions.screen && (this.screen || this.#isPicking)) this.stopScreen();
    this.emit("changed", undefined);
  }

  /** Switches everything off and keeps it off, until `letGo`. */
  hold() {
    if (this.#held) return;
    this.#held = { microphone: this.#microphone.wanted, camera: this.#camera.wanted };
    void this.#microphone.set(false);
    void this.#camera.set(false);
    if (this.screen || this.#isPicking) this.stopScreen();
  }

  /** Switches on again what `hold` has switched off. */
  letGo() {
    const held = this.#held;
    this.#held = null;
    if (held?.microphone && this.may("microphone")) void this.#microphone.set(true);
    if (held?.camera && this.may("camera")) void this.#camera.set(true);
  }

  /** @param {OwnDevice | "screen"} what @returns {boolean} whether it may be sent */
  may(what) {
    return this.#permissions[what];
  }

  /** @param {boolean} on */
  async setMicrophone(on) {
    if (!on || this.#isAllowed("microphone")) await this.#microphone.set(on);
  }

  /** @param {boolean} on */
  async setCamera(on) {
    if (!on || this.#isAllowed("camera")) await this.#camera.set(on);
  }

  /** Sets the opposite of the last press. */
  toggleMicrophone() {
    return this.setMicrophone(!this.#microphone.wanted);
  }

  toggleCamera() {
    return this.setCamera(!this.#camera.wanted);
  }

  toggleScreen() {
    return this.screen || this.#isPicking ? this.stopScreen() : this.shareScreen();
  }

  /**
   * Changes to another device. A device that is off stays off, and the choice is kept for later.
   *
   * @param {OwnDevice} kind
   * @param {string} id
   */
  choose(kind, id) {
    this.#chosen[kind] = id;
    return this.#of(kind).reopen();
  }

  async shareScreen() {
    if (this.screen || this.#isPicking || this.#released || !this.#isAllowed("screen")) return;
    const attempt = (this.#sharing += 1);
    this.#picking(true);
    try {
      const { video, audio } = await captureScreen();
      if (attempt !== this.#sharing) {
        video?.stop();
        audio?.stop();
        return;
      }
      this.screen = video;
      this.screenAudio = audio;
      // The browser's own "stop sharing" ends the track without asking us.
      video?.addEventListener("ended", () => this.screen === video && this.stopScreen());
      this.#sending.show("screen", video, true);
      this.#sending.show("screenAudio", audio, true);
    } catch (error) {
      if (attempt === this.#sharing) this.emit("problem", /** @type {CallError} */ (error));
    } finally {
      if (attempt === this.#sharing) this.#picking(false);
    }
  }

  stopScreen() {
    this.#sharing += 1;
    this.#endScreen();
    this.#picking(false);
    this.#sending.end("screen");
    this.#sending.end("screenAudio");
  }

  /** Gives every device back; nothing can be opened afterwards. */
  release() {
    this.#released = true;
    this.#sharing += 1;
    this.#sending.enter(null);
    globalThis.navigator?.mediaDevices?.removeEventListener?.("devicechange", this.#devicesChanged);
    this.#microphone.release();
    this.#camera.release();
    this.#endScreen();
  }

  /**
   * Switches off what a moderator has muted.
   *
   * @param {string | null} trackId of ours, as the server names it
   * @returns {"microphone" | "camera" | "screen" | null} the one that is off now
   */
  silenced(trackId) {
    const sources = /** @type {const} */ (["microphone", "camera", "screen", "screenAudio"]);
    const muted = sources.find((source) => trackId !== null && this.publication(source)?.trackId === trackId);
    if (this.#held && (muted === "microphone" || muted === "camera")) this.#held[muted] = false;
    if (muted === "microphone") void this.#microphone.set(false);
    else if (muted === "camera") void this.#camera.set(false);
    else if (muted) this.stopScreen();
    return muted === "screenAudio" ? "screen" : (muted ?? null);
  }

  /** @param {Source} source */
  publication(source) {
    return this.#sending.publication(source);
  }

  /** @param {OwnDevice | "screen"} what @returns {boolean} if not, that is told as a problem */
  #isAllowed(what) {
    if (!this.may(what)) this.emit("problem", mayNotPublish(what));
    else if (this.#held) this.emit("problem", new CallError("held_back", "Nothing is sent without encryption before you press “Send anyway” above."));
    return this.may(what) && !this.#held;
  }

  /** @param {OwnDevice} kind */
  #of(kind) {
    return kind === "microphone" ? this.#microphone : this.#camera;
  }

  /** @param {OwnDevice} kind */
  #device(kind) {
    return new Device({
      kind,
      capture: async () => {
        const { audio, video, problems } = await this.#acquire({ microphone: kind === "microphone", camera: kind === "camera" });
        return { track: audio ?? video, error: problems[0]?.error ?? null };
      },
      onChanged: () => {
        this.#show(kind);
        this.emit("changed", undefined);
      },
      onProblem: (error) => this.emit("problem", error),
    });
  }

  /**
   * Sets the room's publication to the device's present state.
   *
   * @param {OwnDevice} kind
   */
  #show(kind) {
    const { track, isOn } = this.#of(kind);
    this.#sending.show(kind, track, isOn, kind === "camera" ? this.#coding : {});
  }

  /**
   * Switches off media that could not be sent, so that it is not shown as sent.
   *
   * @param {Source} source
   * @param {CallError} [error] left out if it is told otherwise
   */
  #failed(source, error) {
    if (source === "microphone" || source === "camera") void this.#of(source).set(false);
    else if (source === "screen") this.stopScreen();
    else this.screenAudio?.stop();
    if (error) this.emit("problem", error);
  }

  async #checkDevices() {
    const { microphones, cameras } = await listDevices().catch(() => ({ microphones: [], cameras: [] }));
    this.#microphone.devicesChanged(microphones);
    this.#camera.devicesChanged(cameras);
  }

  /**
   * A remembered device that is gone must not stand in the way of the ones that are there.
   *
   * @param {{ microphone: boolean, camera: boolean }} wish
   */
  async #acquire(wish) {
    const height = this.#height;
    const captured = await captureDevices({
      audio: wish.microphone && (this.#chosen.microphone || true),
      video: wish.camera && (this.#chosen.camera || true),
      height,
    });
    for (const problem of captured.problems) {
      const device = problem.kind === "audio" ? "microphone" : "camera";
      if (problem.error.code !== "no_device" || !this.#chosen[device]) continue;
      this.#chosen[device] = "";
      const other = await captureDevices({ [problem.kind]: true, height });
      captured[problem.kind] = other[problem.kind];
      captured.problems = captured.problems.filter((each) => each !== problem).concat(other.problems);
    }
    return captured;
  }

  /** @param {boolean} isPicking */
  #picking(isPicking) {
    this.#isPicking = isPicking;
    this.emit("changed", undefined);
  }

  #endScreen() {
    this.screen?.stop();
    this.screenAudio?.stop();
    this.screen = null;
    this.screenAudio = null;
  }
}
