import { captureDevices, captureScreen } from "../client/media.js";
import { Events } from "../client/events.js";

/**
 * @import { CallError } from "../client/errors.js"
 * @import { Publication } from "../client/publication.js"
 * @import { Room } from "../client/room.js"
 * @import { Source } from "../client/protocol.js"
 */

/**
 * @typedef {"microphone" | "camera"} OwnDevice
 * @typedef {{ microphone: string, camera: string }} Chosen device ids, empty for the browser's own choice
 */

/**
 * What we show and say: microphone, camera and screen, before a call and in it. A microphone that is
 * off stays open, so that it is back at once; a camera that is off is given back, so that its light
 * goes out.
 *
 * `changed` comes after anything changed; `problem` when a device did not do what it was asked.
 *
 * @extends {Events<{ changed: void, problem: CallError }>}
 */
export class OwnMedia extends Events {
  #chosen;
  #height;
  /** How the camera is sent. */
  #coding;
  /** @type {Room | null} */
  #room = null;
  /** @type {Map<Source, Publication>} */
  #publications = new Map();
  /** @type {Set<string>} what is being switched right now */
  #busy = new Set();
  #released = false;

  /** @type {MediaStreamTrack | null} */
  microphone = null;
  /** @type {MediaStreamTrack | null} */
  camera = null;
  /** @type {MediaStreamTrack | null} */
  screen = null;
  /** @type {MediaStreamTrack | null} */
  screenAudio = null;
  /** Whether we are heard. */
  microphoneOn = false;
  /** Whether we are seen. */
  cameraOn = false;

  /**
   * @param {{ chosen: Chosen, height: number, codec?: string, scalabilityMode?: string }} options
   *   `codec` and `scalabilityMode`: of the camera; empty for what the client does by itself
   */
  constructor({ chosen, height, codec = "", scalabilityMode = "" }) {
    super();
    this.#chosen = { ...chosen };
    this.#height = height;
    this.#coding = { ...(codec && { codec }), ...(scalabilityMode && { scalabilityMode }) };
  }

  get chosen() {
    return this.#chosen;
  }

  /** @param {string} what */
  isBusy(what) {
    return this.#busy.has(what);
  }

  /**
   * Opens both devices before the call, asking for permission once.
   *
   * @param {{ microphone: boolean, camera: boolean }} wish
   * @returns {Promise<CallError[]>} why something is missing
   */
  async open(wish) {
    const captured = await this.#acquire(wish);
    if (this.#released) {
      captured.audio?.stop();
      captured.video?.stop();
      return [];
    }
    if (captured.audio) this.#hold("microphone", captured.audio);
    if (captured.video) this.#hold("camera", captured.video);
    this.microphoneOn = captured.audio !== null;
    this.cameraOn = captured.video !== null;
    this.emit("changed", undefined);
    // Somebody may have joined without waiting for the devices.
    if (this.#room) await this.#publishOpened();
    return captured.problems.map(({ error }) => error);
  }

  /**
   * Publishes what is on with the room's first offer, and everything later in this room.
   *
   * @param {Room} room
   */
  async enter(room) {
    this.#room = room;
    this.#publications.clear();
    await this.#publishOpened();
  }

  /** @param {boolean} on */
  setMicrophone(on) {
    return this.#switch("microphone", async () => {
      if (on && !this.microphone) await this.#capture("microphone");
      if (this.microphone) this.microphone.enabled = on;
      this.microphoneOn = on && this.microphone !== null;
      await this.#show("microphone", this.microphone, this.microphoneOn);
    });
  }

  /** @param {boolean} on */
  setCamera(on) {
    return this.#switch("camera", async () => {
      if (on) await this.#capture("camera");
      else this.#giveBack("camera");
      this.cameraOn = on && this.camera !== null;
      await this.#show("camera", this.camera, this.cameraOn);
    });
  }

  /**
   * Changes to another device; what is off stays off and the choice is kept for later.
   *
   * @param {OwnDevice} device
   * @param {string} id
   */
  choose(device, id) {
    this.#chosen[device] = id;
    return this.#switch(device, async () => {
      if (device === "camera" && !this.cameraOn) return;
      if (device === "microphone" && !this.microphone) return;
      await this.#capture(device);
      if (device === "microphone" && this.microphone) this.microphone.enabled = this.microphoneOn;
      await this.#show(device, this[device], device === "camera" ? this.cameraOn : this.microphoneOn);
    });
  }

  shareScreen() {
    return this.#switch("screen", async () => {
      if (this.screen) return;
      const { video, audio } = await captureScreen();
      if (!video) return;
      this.screen = video;
      this.screenAudio = audio;
      // The browser's own "stop sharing" ends the track without asking us.
      video.addEventListener("ended", () => void this.stopScreen());
      try {
        await this.#publish("screen", video, false);
        if (audio) await this.#publish("screen_audio", audio, false);
      } catch (error) {
        this.#endScreen();
        throw error;
      }
    });
  }

  stopScreen() {
    return this.#switch("screen", async () => {
      this.#endScreen();
      await Promise.all([this.#unpublish("screen"), this.#unpublish("screen_audio")]);
    });
  }

  /** Gives every device back; nothing can be opened afterwards. */
  release() {
    this.#released = true;
    this.#room = null;
    this.#giveBack("microphone");
    this.#giveBack("camera");
    this.#endScreen();
  }

  /**
   * One change of a device at a time; what fails is told and the rest of the call is not disturbed.
   *
   * @param {string} what
   * @param {() => Promise<void>} change
   */
  async #switch(what, change) {
    if (this.#busy.has(what) || this.#released) return;
    this.#busy.add(what);
    this.emit("changed", undefined);
    try {
      await change();
    } catch (error) {
      this.emit("problem", /** @type {CallError} */ (error));
    } finally {
      this.#busy.delete(what);
      this.emit("changed", undefined);
    }
  }

  /** @param {OwnDevice} device */
  async #capture(device) {
    const wish = { microphone: device === "microphone", camera: device === "camera" };
    const { audio, video, problems } = await this.#acquire(wish);
    const track = audio ?? video;
    if (this.#released) track?.stop();
    else if (track) this.#hold(device, track);
    else for (const { error } of problems) this.emit("problem", error);
  }

  /**
   * @param {OwnDevice} device
   * @param {MediaStreamTrack} track
   */
  #hold(device, track) {
    this[device]?.stop();
    this[device] = track;
    if (device === "camera") track.contentHint = "motion";
    // Unplugged, or taken away by the system.
    track.addEventListener("ended", () => {
      if (this[device] !== track) return;
      this.#giveBack(device);
      void (device === "microphone" ? this.setMicrophone(false) : this.setCamera(false));
    });
  }

  /** @param {OwnDevice} device */
  #giveBack(device) {
    this[device]?.stop();
    this[device] = null;
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

  /**
   * Makes the room see a device as it is now.
   *
   * @param {OwnDevice} device
   * @param {MediaStreamTrack | null} track
   * @param {boolean} on
   */
  async #show(device, track, on) {
    const room = this.#room;
    const publication = this.#publications.get(device);
    if (!room) return;
    if (!publication) {
      if (track) await this.#publish(device, track, !on);
      return;
    }
    if (publication.media !== track) await room.replaceMedia(publication, track);
    if (publication.muted === on) await room.setMuted(publication, !on);
  }

  async #publishOpened() {
    await this.#show("microphone", this.microphone, this.microphoneOn);
    await this.#show("camera", this.camera, this.cameraOn);
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} media
   * @param {boolean} muted
   */
  async #publish(source, media, muted) {
    if (!this.#room) return;
    this.#publications.set(source, await this.#room.publish({ source, media, muted, ...(source === "camera" && this.#coding) }));
  }

  /** @param {Source} source */
  async #unpublish(source) {
    const publication = this.#publications.get(source);
    this.#publications.delete(source);
    if (publication) await this.#room?.unpublish(publication);
  }

  #endScreen() {
    this.screen?.stop();
    this.screenAudio?.stop();
    this.screen = null;
    this.screenAudio = null;
  }

  /**
   * @param {Source} source
   * @returns {Publication | undefined}
   */
  publication(source) {
    return this.#publications.get(source);
  }
}
