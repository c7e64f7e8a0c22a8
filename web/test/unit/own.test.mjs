/** Our own devices, with devices and a room that answer when the test lets them. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { CallError } from "../../client/errors.js";
import { ALL_PERMISSIONS } from "../../client/permissions.js";
import { OwnMedia } from "../../ui/own.js";
import { settle } from "./fakes.mjs";

class FakeTrack extends EventTarget {
  enabled = true;
  readyState = "live";

  constructor(kind, deviceId, label) {
    super();
    Object.assign(this, { kind, deviceId, label });
  }

  getSettings() {
    return { deviceId: this.deviceId };
  }

  stop() {
    this.readyState = "ended";
  }

  unplug() {
    this.readyState = "ended";
    this.dispatchEvent(new Event("ended"));
  }
}

/** The browser's devices: `plugged` by kind, in order of preference; `answer` lets the next request through. */
function browser({ plugged = { audio: ["built-in", "usb"], video: ["front", "hdmi"] }, slow = false } = {}) {
  const devices = Object.assign(new EventTarget(), { plugged, slow, waiting: [], opened: [] });
  const track = (kind, wish) => {
    const id = wish.deviceId?.exact ?? devices.plugged[kind][0];
    if (!devices.plugged[kind].includes(id)) throw Object.assign(new Error(), { name: wish.deviceId ? "OverconstrainedError" : "NotFoundError" });
    const opened = new FakeTrack(kind, id, `The ${id} one`);
    devices.opened.push(opened);
    return opened;
  };
  devices.getUserMedia = async ({ audio, video }) => {
    if (devices.slow) await new Promise((resolve) => devices.waiting.push(resolve));
    const tracks = { audio: audio ? [track("audio", audio)] : [], video: video ? [track("video", video)] : [] };
    return { getAudioTracks: () => tracks.audio, getVideoTracks: () => tracks.video };
  };
  devices.getDisplayMedia = async () => {
    if (devices.slow) await new Promise((resolve) => devices.waiting.push(resolve));
    const screen = new FakeTrack("video", "screen", "screen");
    const sound = new FakeTrack("audio", "screen", "screen");
    devices.opened.push(screen, sound);
    return { getAudioTracks: () => [sound], getVideoTracks: () => [screen] };
  };
  const kinds = { audioinput: "audio", videoinput: "video" };
  devices.enumerateDevices = async () =>
    Object.entries(kinds).flatMap(([kind, of]) => devices.plugged[of].map((deviceId) => ({ kind, deviceId, label: deviceId })));
  devices.answer = async () => {
    devices.waiting.shift()();
    await settle();
  };
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { mediaDevices: devices } });
  return devices;
}

/** A room whose server never answers, unless `failing` says how it refuses. */
function deadRoom(failing) {
  const room = { state: "connected", published: [], ended: [] };
  const never = new Promise(() => {});
  const answer = () => (failing ? Promise.reject(failing) : never);
  room.publish = (publication) => {
    room.published.push(publication);
    return answer();
  };
  room.setMuted = (publication, muted) => {
    publication.muted = muted;
    return answer();
  };
  room.replaceMedia = (publication, media) => {
    publication.media = media;
    return answer();
  };
  room.unpublish = (publication) => {
    room.ended.push(publication.source);
    return answer();
  };
  /** @type {(refused: { publication: any }) => void} */
  room.refuse = () => {};
  room.on = (name, listener) => {
    assert.equal(name, "publicationRefused");
    room.refuse = listener;
    return () => (room.refuse = () => {});
  };
  return room;
}

function people(options = {}) {
  const own = new OwnMedia({ chosen: { microphone: "", camera: "" }, height: 720, ...options });
  const problems = [];
  own.on("problem", (error) => problems.push(error.message));
  return { own, problems };
}

/** The devices whose media others could get now: every track that is live and enabled. */
const live = ({ opened }) => opened.filter(({ readyState, enabled }) => readyState === "live" && enabled).map(({ deviceId }) => deviceId);

test("off is off before the press returns, whatever the server does", async () => {
  const devices = browser();
  const { own } = people();
  const room = deadRoom();
  await own.open({ microphone: true, camera: true });
  own.enter(room);
  assert.deepEqual(live(devices), ["built-in", "front"]);
  for (const failing of [undefined, new CallError("connection_lost", ""), new CallError("timeout", "")]) {
    Object.assign(room, { ...deadRoom(failing), published: room.published });
    void own.toggleMicrophone();
    void own.toggleCamera();
    assert.deepEqual(live(devices), []);
    assert.deepEqual([own.microphoneOn, own.cameraOn, own.camera], [false, false, null]);
    assert.deepEqual(room.published.map(({ muted }) => muted), [true, true]);
    void own.toggleMicrophone();
    assert.equal(own.microphoneOn, true, "it was open, and is heard at once");
    await own.setCamera(true);
    assert.deepEqual(live(devices), ["built-in", "front"]);
    assert.deepEqual(room.published.map(({ muted }) => muted), [false, false]);
    assert.equal(room.published[1].media, own.camera);
  }
  assert.equal(room.published.length, 2, "published once, though nothing was ever answered");
});

test("however many presses, the last one wins", async () => {
  for (const presses of [1, 2, 3, 4, 5]) {
    const devices = browser({ slow: true });
    const { own } = people();
    const room = deadRoom();
    own.enter(room);
    for (let press = 0; press < presses; press += 1) {
      void own.toggleMicrophone();
      void own.toggleCamera();
      void own.toggleScreen();
      assert.deepEqual([own.microphoneOn, own.cameraOn], [false, false], "not before the browser has opened it");
      assert.equal(own.isBusy("microphone"), true);
    }
    while (devices.waiting.length > 0) await devices.answer();
    const on = presses % 2 === 1;
    assert.deepEqual([own.microphoneOn, own.cameraOn, own.screen !== null], [on, on, on], `${presses} presses`);
    assert.deepEqual(live(devices), on ? ["built-in", "front", "screen", "screen"] : []);
    assert.deepEqual(["microphone", "camera", "screen"].map((what) => own.isBusy(what)), [false, false, false]);
    assert.equal(devices.opened.filter(({ readyState }) => readyState === "live").length, on ? 4 : 1, "off, only the microphone stays open");
  }
});

test("pressed while the browser still asks for permission, it counts when the devices come", async () => {
  const devices = browser({ slow: true });
  const { own } = people();
  const opened = own.open({ microphone: true, camera: true });
  void own.toggleMicrophone();
  void own.toggleCamera();
  await devices.answer();
  assert.deepEqual(await opened, []);
  assert.deepEqual(live(devices), []);
  assert.deepEqual([own.microphoneOn, own.cameraOn], [false, false]);
});

test("another device while off stays off, and while on takes over", async () => {
  const devices = browser();
  const { own } = people();
  const room = deadRoom();
  await own.open({ microphone: true, camera: true });
  own.enter(room);
  void own.toggleMicrophone();
  await own.choose("microphone", "usb");
  assert.deepEqual(live(devices), ["front"]);
  assert.equal(room.published[0].media.deviceId, "usb");
  void own.toggleMicrophone();
  assert.deepEqual(live(devices), ["front", "usb"]);
  await own.choose("camera", "hdmi");
  assert.deepEqual(live(devices), ["usb", "hdmi"]);
  // Off while the other one is being opened.
  devices.slow = true;
  void own.choose("microphone", "built-in");
  void own.choose("camera", "front");
  void own.toggleMicrophone();
  void own.toggleCamera();
  assert.deepEqual(live(devices), []);
  while (devices.waiting.length > 0) await devices.answer();
  assert.deepEqual(live(devices), []);
  // The last of several choices counts, in whatever order they come.
  void own.toggleMicrophone();
  void own.choose("microphone", "usb");
  void own.choose("microphone", "built-in");
  devices.waiting.reverse();
  while (devices.waiting.length > 0) await devices.answer();
  assert.deepEqual(live(devices), ["built-in"]);
});

test("what the server takes no more as we come back is shown as off, and sent again by the next press", async () => {
  const devices = browser();
  const { own, problems } = people();
  const room = deadRoom();
  await own.open({ microphone: true, camera: true });
  own.enter(room);
  room.refuse({ publication: room.published[0] });
  await settle();
  assert.deepEqual([own.microphoneOn, own.cameraOn], [false, true]);
  assert.deepEqual(live(devices), ["front"]);
  assert.deepEqual(problems, [], "the room has told it");
  await own.toggleMicrophone();
  assert.deepEqual(room.published.map(({ source }) => source), ["microphone", "camera", "microphone"]);
  // An earlier publication of the source says nothing of the present one.
  room.refuse({ publication: room.published[0] });
  await settle();
  assert.equal(own.microphoneOn, true);
});

test("what is unplugged while on is told and replaced; while off it is only told", async () => {
  const devices = browser();
  const { own, problems } = people({ chosen: { microphone: "usb", camera: "hdmi" } });
  const room = deadRoom();
  await own.open({ microphone: true, camera: true });
  own.enter(room);
  devices.plugged = { audio: ["built-in"], video: ["front"] };
  own.microphone.unplug();
  assert.equal(own.microphoneOn, false, "shown as it is until another is open");
  own.camera.unplug();
  await settle();
  assert.deepEqual(live(devices), ["built-in", "front"]);
  assert.deepEqual(problems, [
    "The microphone “The usb one” is gone. Now in use: The built-in one.",
    "The camera “The hdmi one” is gone. Now in use: The front one.",
  ]);
  assert.deepEqual(room.published.map(({ media, muted }) => [media.deviceId, muted]), [["built-in", false], ["front", false]]);
  void own.toggleMicrophone();
  devices.plugged = { audio: [], video: [] };
  own.microphone.unplug();
  own.camera.unplug();
  await settle();
  assert.deepEqual(problems.slice(2), [
    "The microphone “The built-in one” is gone.",
    "The camera “The front one” is gone. It is off now. No camera was found.",
  ]);
  assert.deepEqual([own.microphoneOn, own.cameraOn], [false, false]);
  assert.deepEqual(room.published.map(({ media, muted }) => [media, muted]), [[null, true], [null, true]]);
  // Plugged in again it comes with a press.
  devices.plugged = { audio: ["usb"], video: ["front"] };
  await Promise.all([own.toggleMicrophone(), own.toggleCamera()]);
  assert.deepEqual(live(devices), ["usb", "front"]);
});

test("an unplugged device whose track does not end is noticed as well", async () => {
  const devices = browser();
  const { own, problems } = people({ chosen: { microphone: "usb", camera: "" } });
  await own.open({ microphone: true, camera: true });
  devices.dispatchEvent(new Event("devicechange"));
  await settle();
  assert.deepEqual(problems, [], "nothing of ours has gone");
  devices.plugged = { audio: ["built-in"], video: ["front"] };
  devices.dispatchEvent(new Event("devicechange"));
  await settle();
  assert.deepEqual(live(devices), ["front", "built-in"]);
  assert.equal(problems.length, 1);
  own.release();
  devices.dispatchEvent(new Event("devicechange"));
  await settle();
  assert.deepEqual(live(devices), []);
});

test("devices that go away at once are not opened for ever", async () => {
  const devices = browser();
  const { own, problems } = people();
  await own.open({ microphone: true, camera: false });
  for (let turn = 0; turn < 5 && own.microphone; turn += 1) {
    own.microphone.unplug();
    await settle();
  }
  assert.equal(devices.opened.length, 3);
  assert.match(problems.at(-1), /It is off now/);
  await own.toggleMicrophone();
  assert.deepEqual(live(devices), ["built-in"]);
});

test("who is not published is not shown as heard or seen", async () => {
  const devices = browser();
  const { own, problems } = people();
  own.enter(deadRoom(new CallError("too_many_tracks", "A participant may publish 8 tracks.")));
  await own.open({ microphone: true, camera: true });
  await own.shareScreen();
  await settle();
  assert.deepEqual([own.microphoneOn, own.cameraOn, own.screen], [false, false, null]);
  assert.deepEqual(live(devices), []);
  assert.deepEqual([...new Set(problems)], ["A participant may publish 8 tracks."]);
});

test("what may not be sent goes off, and a press says why", async () => {
  const devices = browser();
  const { own, problems } = people();
  const room = deadRoom();
  await own.open({ microphone: true, camera: true });
  own.enter(room);
  await own.shareScreen();
  own.allow({ ...ALL_PERMISSIONS, microphone: false, camera: false, screen: false });
  assert.deepEqual([own.microphoneOn, own.cameraOn, own.screen], [false, false, null]);
  assert.deepEqual(["microphone", "camera", "screen"].map((what) => own.may(what)), [false, false, false]);
  await own.toggleMicrophone();
  await own.toggleCamera();
  await own.toggleScreen();
  assert.deepEqual(live(devices), []);
  assert.deepEqual(problems, [
    "You may not send sound in this room.",
    "You may not send a camera in this room.",
    "You may not share a screen in this room.",
  ]);
  own.allow(ALL_PERMISSIONS);
  await own.toggleMicrophone();
  assert.equal(own.microphoneOn, true);
});

test("a screen that the browser stops, or that is stopped in the middle of publishing, is ended", async () => {
  const devices = browser();
  const { own } = people();
  const room = deadRoom();
  own.enter(room);
  await own.shareScreen();
  void own.toggleScreen();
  assert.deepEqual([own.screen, room.ended], [null, ["screen", "screenAudio"]]);
  await own.shareScreen();
  own.screen.unplug();
  assert.deepEqual([own.screen, room.ended.length], [null, 4]);
  assert.deepEqual(live(devices), []);
});

test("what a moderator has muted goes off, and nothing else", async () => {
  const devices = browser();
  const { own } = people();
  const room = deadRoom();
  await own.open({ microphone: true, camera: true });
  own.enter(room);
  await own.shareScreen();
  for (const publication of room.published) publication.trackId = `of-${publication.source}`;
  assert.deepEqual(live(devices), ["built-in", "front", "screen", "screen"]);
  assert.deepEqual([own.silenced("of-another"), own.silenced(null)], [null, null]);
  assert.equal(own.silenced("of-microphone"), "microphone");
  assert.deepEqual([own.microphoneOn, live(devices)], [false, ["front", "screen", "screen"]]);
  assert.equal(own.silenced("of-screenAudio"), "screen");
  assert.deepEqual([room.ended, live(devices)], [["screen", "screenAudio"], ["front"]]);
  assert.equal(own.silenced("of-camera"), "camera");
  assert.deepEqual([own.cameraOn, live(devices)], [false, []]);
  void own.toggleMicrophone();
  assert.equal(own.microphoneOn, true, "its owner's press takes it back");
});

test("what is held back is off at once and stays off, and is on again when it is let go", async () => {
  const devices = browser();
  const { own, problems } = people();
  await own.open({ microphone: true, camera: true });
  own.enter(deadRoom());
  await own.shareScreen();
  own.hold();
  assert.deepEqual(live(devices), []);
  await own.toggleMicrophone();
  await own.setCamera(true);
  await own.shareScreen();
  assert.deepEqual([live(devices), problems.length], [[], 3]);
  own.letGo();
  await settle();
  assert.deepEqual(live(devices).sort(), ["built-in", "front"]);
  own.hold();
  own.letGo();
  await settle();
  assert.deepEqual([own.microphoneOn, own.cameraOn, own.screen], [true, true, null]);
});

test("a device that was off, or that a moderator has muted meanwhile, stays off when it is let go", async () => {
  const devices = browser();
  const { own } = people();
  const room = deadRoom();
  await own.open({ microphone: true, camera: false });
  own.enter(room);
  own.hold();
  room.published[0].trackId = "t1";
  assert.equal(own.silenced("t1"), "microphone");
  own.letGo();
  await settle();
  assert.deepEqual(live(devices), []);
});
