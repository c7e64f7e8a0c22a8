import assert from "node:assert/strict";
import { test } from "node:test";

import { CallError } from "../../client/errors.js";
import { Publication } from "../../client/publication.js";
import { Transport } from "../../client/transport.js";
import { answerTo, FakePeerConnection, fakeTrack, settle } from "./fakes.mjs";

const NOTHING = { audio: 0, video: 0 };

/** A transport whose offers wait until the test answers them. */
function build({ receiving = NOTHING, sendMute, data = undefined } = {}) {
  const waiting = [];
  const mutes = [];
  let pc;
  const transport = new Transport({
    iceServers: [],
    receiving,
    data,
    sendOffer: (sdp, tracks) => new Promise((resolve, reject) => waiting.push({ sdp, tracks, resolve, reject })),
    sendMute: sendMute ?? (async (track, muted) => void mutes.push([track, muted])),
    connect: (config) => (pc = new FakePeerConnection(config)),
  });
  const answer = async (options) => {
    const { sdp, tracks, resolve } = waiting.shift();
    resolve(answerTo(sdp, { tracks, ...options }));
    await settle();
  };
  return { transport, pc, waiting, mutes, answer };
}

test("a message tells its sender where the server names senders", () => {
  const bytes = (text) => new TextEncoder().encode(text).buffer;
  const text = (payload) => (typeof payload === "string" ? payload : new TextDecoder().decode(payload));
  for (const [dataProtocol, data, from, payload] of [
    ["", "pa_1\nhi", null, "pa_1\nhi"],
    ["tertulia.sender", "pa_1\nhi\nthere", "pa_1", "hi\nthere"],
    ["tertulia.sender", "pa_1\n", "pa_1", ""],
    ["tertulia.sender", bytes("pa_1\nhi\nthere"), "pa_1", "hi\nthere"],
    ["tertulia.sender", "no name", null, "no name"],
  ]) {
    const { transport, pc } = build({ data: dataProtocol ? { protocol: dataProtocol, messageBytes: 5, messagesPerSecond: 9 } : undefined });
    const heard = [];
    transport.on("data", (message) => heard.push(message));
    for (const channel of pc.channels) {
      assert.equal(channel.init.protocol, dataProtocol);
      channel.dispatchEvent(Object.assign(new Event("message"), { data }));
    }
    assert.deepEqual(heard.map((message) => [message.from, text(message.payload), message.reliable]), [
      [from, payload, true],
      [from, payload, false],
    ]);
    assert.equal(typeof heard[0].payload, typeof data);
    transport.sendData("12345");
    const longer = ["123456", "ééé", bytes("123456"), new Uint8Array(6)];
    for (const payload of longer) {
      if (dataProtocol) assert.throws(() => transport.sendData(payload), { code: "data_too_large" });
      else transport.sendData(payload);
    }
    assert.equal(pc.channels[0].sent.length, dataProtocol ? 1 : 5);
  }
});

test("the first offer carries everything that was added before it, and both data channels", async () => {
  const { transport, pc, waiting, answer } = build({ receiving: { audio: 1, video: 2 } });
  const camera = new Publication({ source: "camera", media: fakeTrack("video") });
  const microphone = new Publication({ source: "microphone", media: fakeTrack("audio"), muted: true });
  const done = Promise.all([transport.add(microphone), transport.add(camera)]);
  await settle();
  assert.equal(pc.config.bundlePolicy, "max-bundle");
  assert.deepEqual(
    pc.channels.map(({ label, init }) => [label, init]),
    [
      ["reliable", { ordered: true, protocol: "" }],
      ["unreliable", { ordered: false, maxRetransmits: 0, protocol: "" }],
    ],
  );
  assert.deepEqual(
    pc.offers[0].lines.map(({ kind, direction, rids }) => [kind, direction, rids.join("")]),
    [
      ["audio", "sendonly", ""],
      ["video", "sendonly", "qhf"],
      ["audio", "recvonly", ""],
      ["video", "recvonly", ""],
      ["video", "recvonly", ""],
    ],
  );
  assert.deepEqual(waiting[0].tracks, [
    { mid: "0", source: "microphone", muted: true },
    { mid: "1", source: "camera", muted: false },
  ]);
  await answer();
  await done;
  assert.equal(camera.trackId, "own-camera");
  assert.equal(pc.offers.length, 1);
});

test("an offer that the server asks for shares the next one, and it cannot make us spin", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const pass = async (ms) => {
    now += ms;
    t.mock.timers.tick(ms);
    await settle();
  };
  const { transport, pc, waiting, answer } = build();
  transport.renegotiate();
  transport.renegotiate();
  await pass(0);
  assert.equal(pc.offers.length, 1, "at once");
  await answer();
  // Asked with every answer, we offer once in two seconds.
  for (let round = 1; round <= 5; round += 1) {
    for (let asked = 0; asked < 10; asked += 1) transport.renegotiate();
    await pass(1_999);
    assert.equal(pc.offers.length, round);
    await pass(1);
    assert.equal(pc.offers.length, round + 1);
    await answer();
  }
  // While an offer is in flight there is one more, after it.
  await pass(10_000);
  const own = transport.negotiate();
  await settle();
  transport.renegotiate();
  await pass(0);
  assert.equal(waiting.length, 1);
  await answer();
  await own;
  assert.equal(waiting.length, 1);
  await answer();
  transport.renegotiate();
  transport.close();
  await pass(10_000);
  assert.equal(waiting.length, 0);
});

test("needs while an offer is in flight lead to one more offer, after the answer", async () => {
  const { transport, pc, waiting, answer } = build();
  const first = transport.negotiate();
  await settle();
  transport.need({ audio: 0, video: 2 });
  transport.need({ audio: 1, video: 3 });
  await settle();
  assert.equal(waiting.length, 1, "one offer in flight");
  await answer();
  await first;
  assert.equal(waiting.length, 1);
  assert.equal(pc.offers[1].lines.length, 4, "needs add to what the server had answered, not to each other");
  await answer();
  assert.equal(pc.offers.length, 2);
  assert.equal(waiting.length, 0);
});

test("an answer that still needs m-lines leads to another offer", async () => {
  const { transport, pc, answer } = build({ receiving: { audio: 1, video: 1 } });
  const first = transport.negotiate();
  await settle();
  await answer({ needs: { audio: 0, video: 2 } });
  await first;
  assert.equal(pc.offers[1].lines.filter(({ kind }) => kind === "video").length, 3);
});

test("however many ask at once, two offers never cross", async () => {
  const { transport, pc, waiting, answer } = build();
  const asked = [];
  for (let turn = 0; turn < 6; turn += 1) {
    asked.push(transport.negotiate());
    transport.need({ audio: turn, video: 0 });
    if (turn % 2 === 1) {
      await settle();
      assert.equal(waiting.length, 1);
      await answer();
    }
  }
  while (waiting.length > 0) await answer();
  await Promise.all(asked);
  // The fake throws when an offer is made in any state but stable.
  assert.equal(pc.signalingState, "stable");
});

test("slots point receivers, and a slot pointed elsewhere leaves its old track first", async () => {
  const { transport, pc, answer } = build({ receiving: { audio: 0, video: 2 } });
  const moves = [];
  transport.on("slots", (moved) => moves.push(...moved));
  const first = transport.negotiate();
  await settle();
  await answer({ point: { 0: "ana", 1: "ben" } });
  await first;
  assert.equal(transport.receiverOf("ana"), pc.transceivers[0].receiver);
  moves.length = 0;
  transport.applySlots([{ mid: "0", kind: "video", track: "cleo" }]);
  assert.deepEqual(moves, [
    { track: "ana", mid: null },
    { track: "cleo", mid: "0" },
  ]);
  assert.equal(transport.receiverOf("ana"), null);
  assert.equal(transport.receiverOf("cleo"), pc.transceivers[0].receiver);
  assert.equal(transport.receiverOf("ben"), pc.transceivers[1].receiver);
});

test("two tracks may change places in one message", async () => {
  const { transport, pc, answer } = build({ receiving: { audio: 0, video: 2 } });
  const first = transport.negotiate();
  await settle();
  await answer({ point: { 0: "ana", 1: "ben" } });
  await first;
  transport.applySlots([
    { mid: "0", kind: "video", track: "ben" },
    { mid: "1", kind: "video", track: "ana" },
  ]);
  assert.equal(transport.receiverOf("ben"), pc.transceivers[0].receiver);
  assert.equal(transport.receiverOf("ana"), pc.transceivers[1].receiver);
});

test("a mute pressed while the offer is under way is told once the track has a name", async () => {
  const { transport, mutes, answer } = build();
  const microphone = new Publication({ source: "microphone", media: fakeTrack("audio") });
  const added = transport.add(microphone);
  await settle();
  microphone.muted = true;
  await answer();
  await added;
  assert.deepEqual(mutes, [["own-microphone", true]]);
});

test("a refused publication is withdrawn and the next offer goes through without it", async () => {
  const { transport, pc, waiting, answer } = build();
  const first = transport.negotiate();
  await settle();
  await answer();
  await first;
  const camera = new Publication({ source: "camera", media: fakeTrack("video") });
  const refused = assert.rejects(transport.add(camera), { message: "too many tracks" });
  await settle();
  waiting.shift().reject(new Error("too many tracks"));
  await refused;
  assert.equal(pc.signalingState, "stable");
  const next = transport.negotiate();
  await settle();
  assert.deepEqual(waiting[0].tracks, []);
  await answer();
  await next;
});

test("after a refusal of many, the next publication gets a line and a name", async () => {
  const { transport, pc, waiting, answer } = build();
  const first = transport.negotiate();
  await settle();
  await answer();
  await first;
  const many = Array.from({ length: 9 }, () => new Publication({ source: "other", media: fakeTrack("video") }));
  const refused = many.map((publication) => assert.rejects(transport.add(publication), { code: "too_many_tracks" }));
  await settle();
  // Added while the others are under way: it is no part of what is refused.
  const microphone = new Publication({ source: "microphone", media: fakeTrack("audio") });
  const added = transport.add(microphone);
  waiting.shift().reject(new CallError("too_many_tracks", "refused"));
  await Promise.all(refused);
  await settle();
  assert.deepEqual(waiting[0].tracks.map(({ source }) => source), ["microphone"]);
  await answer();
  await added;
  const screen = new Publication({ source: "screen", media: fakeTrack("video") });
  const shared = transport.add(screen);
  await settle();
  await answer();
  await shared;
  assert.deepEqual([screen.trackId, microphone.trackId], ["own-screen", "own-microphone"]);
  assert.equal(typeof transport.publishedMid(screen), "string");
  // Chromium gives the line of a transceiver that was stopped before its answer to the wrong one.
  assert.ok(pc.transceivers.every(({ stopped }) => !stopped));
  assert.equal(pc.transceivers.filter(({ direction }) => direction === "sendonly").length, 2);
  const lines = pc.transceivers.length;
  for (const publication of many.slice(1, 4)) {
    const again = transport.add(publication);
    await settle();
    await answer();
    await again;
  }
  assert.equal(pc.transceivers.length, lines, "the lines of the refused are taken again");
});

test("a publication that is refused on a line used before leaves nothing behind", async () => {
  const { transport, waiting, answer, pc } = build();
  const share = () => new Publication({ source: "screen", media: fakeTrack("video") });
  const one = share();
  const added = transport.add(one);
  await settle();
  await answer();
  await added;
  const removed = transport.remove(one);
  await settle();
  await answer();
  await removed;
  const refused = assert.rejects(transport.add(share()), { code: "overloaded" });
  await settle();
  waiting.shift().reject(new CallError("overloaded", "refused"));
  await refused;
  const next = transport.negotiate();
  await settle();
  assert.deepEqual(waiting[0].tracks, []);
  assert.equal(pc.offers.at(-1).lines[0].direction, "inactive");
  assert.equal(pc.transceivers[0].sender.track, null);
  await answer();
  await next;
});

test("what cannot be published does not go out unnamed with the next offer", async () => {
  const { transport, pc, waiting, answer } = build();
  globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };
  const { addTransceiver } = pc;
  pc.addTransceiver = (...options) =>
    Object.assign(addTransceiver.apply(pc, options), {
      setCodecPreferences() {
        throw new Error("no such codec");
      },
    });
  await assert.rejects(transport.add(new Publication({ source: "camera", media: fakeTrack("video") })), { message: "no such codec" });
  delete globalThis.RTCRtpSender;
  const next = transport.negotiate();
  await settle();
  assert.deepEqual(waiting[0].tracks, []);
  assert.deepEqual(pc.offers[0].lines.map(({ direction }) => direction), ["inactive"]);
  assert.equal(pc.transceivers[0].sender.track, null);
  await answer();
  await next;
});

test("a line the server does not take is its publication's failure, not the others'", async () => {
  const { transport, waiting } = build();
  const camera = new Publication({ source: "camera", media: fakeTrack("video") });
  const microphone = new Publication({ source: "microphone", media: fakeTrack("audio") });
  const added = transport.add(microphone);
  const refused = assert.rejects(transport.add(camera), { code: "not_published" });
  await settle();
  const { sdp, tracks, resolve } = waiting.shift();
  resolve(answerTo(sdp, { tracks: tracks.filter(({ source }) => source !== "camera") }));
  await Promise.all([added, refused]);
  assert.equal(microphone.trackId, "own-microphone");
  assert.equal(transport.publishedMid(camera), null);
});

test("the server's reason for not taking a line is its publication's", async () => {
  const { transport, pc, waiting, answer } = build();
  const camera = new Publication({ source: "camera", media: fakeTrack("video") });
  const expected = { code: "sdp_no_common_codec", message: "M-line 1 (video, mid 0) offers only H265." };
  const refused = assert.rejects(transport.add(camera), expected);
  await settle();
  const { sdp, tracks, resolve } = waiting.shift();
  resolve({ ...answerTo(sdp, {}), refused: [{ mid: tracks[0].mid, ...expected }, { mid: "nobody's", ...expected }] });
  await refused;
  const { direction, sender } = pc.transceivers[0];
  assert.deepEqual([direction, sender.track], ["inactive", null], "nothing is sent on it");
  // One who may send later does so on the same line.
  const added = transport.add(camera);
  await settle();
  assert.deepEqual(waiting[0].tracks.map(({ mid }) => mid), [tracks[0].mid]);
  await answer();
  await added;
  assert.equal(pc.transceivers.length, 1);
});

test("what a refused offer was to tell beside publications is told later", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (const [code, delays] of [["rate_limited", [1_000, 2_000]], ["overloaded", [1_000, 2_000]]]) {
    const { transport, pc, waiting, answer } = build();
    const screen = new Publication({ source: "screen", media: fakeTrack("video") });
    const added = transport.add(screen);
    await settle();
    await answer();
    await added;
    transport.on("error", () => {});
    const removed = assert.rejects(transport.remove(screen), { code });
    transport.need({ audio: 0, video: 1 });
    for (const delay of delays) {
      await settle();
      waiting.shift().reject(new CallError(code, "refused"));
      await settle();
      t.mock.timers.tick(delay - 1);
      await settle();
      assert.equal(waiting.length, 0, "not sooner");
      t.mock.timers.tick(1);
    }
    await removed;
    await settle();
    assert.deepEqual(pc.offers.at(-1).lines.map(({ direction }) => direction), ["inactive", "recvonly"]);
    await answer();
    t.mock.timers.tick(60_000);
    await settle();
    assert.equal(waiting.length, 0, "told once it is answered");
    transport.close();
  }
});

test("needs that came with a publication that is refused for good are told without it", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { transport, pc, waiting } = build();
  const refused = assert.rejects(transport.add(new Publication({ source: "screen", media: fakeTrack("video") })), { code: "bad_sdp" });
  transport.need({ audio: 1, video: 0 });
  transport.on("error", () => {});
  await settle();
  waiting.shift().reject(new CallError("bad_sdp", "refused"));
  await refused;
  t.mock.timers.tick(0);
  await settle();
  assert.deepEqual(waiting[0].tracks, []);
  assert.deepEqual(pc.offers.at(-1).lines.map(({ direction }) => direction), ["inactive", "recvonly"]);
  // A refusal that has nothing to do with publications is not tried again and again.
  waiting.shift().reject(new CallError("bad_sdp", "refused"));
  await settle();
  t.mock.timers.tick(60_000);
  await settle();
  assert.equal(waiting.length, 0);
});

test("an answer the browser does not take breaks the transport, and the wait for it ends", async () => {
  const { transport, pc, answer } = build();
  let broken = 0;
  transport.on("broken", () => (broken += 1));
  pc.setRemoteDescription = async () => {
    throw new Error("no such codec");
  };
  const refused = assert.rejects(transport.negotiate(), { code: "bad_answer" });
  await settle();
  await answer();
  await refused;
  assert.equal(broken, 1);
});

test("the device follows each press at once; the server is told the last, however slowly it answers", async () => {
  const told = [];
  const { transport, answer } = build({ sendMute: (_, muted) => new Promise((resolve, reject) => told.push({ muted, resolve, reject })) });
  const media = fakeTrack("audio");
  const microphone = new Publication({ source: "microphone", media });
  const added = transport.add(microphone);
  await settle();
  await answer();
  await added;
  const press = (muted) => {
    microphone.muted = muted;
    const done = transport.applyMute(microphone);
    assert.equal(media.enabled, !muted, "before anything is awaited");
    return done;
  };
  const presses = [press(true), press(false), press(true)];
  await settle();
  assert.deepEqual(told.map(({ muted }) => muted), [true], "one at a time");
  presses.push(press(false));
  await settle();
  assert.equal(told.length, 1);
  told[0].resolve();
  await settle();
  assert.deepEqual(told.map(({ muted }) => muted), [true, false]);
  told[1].resolve();
  await Promise.all(presses);
  await press(false);
  assert.equal(told.length, 2, "nothing new to tell");
});

test("a mute that the server had no time for is told again; one that it refuses is not", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const answers = ["rate_limited", "timeout", "no_such_track"];
  let told = 0;
  const { transport, answer } = build({
    sendMute: async () => {
      throw new CallError(answers[told++], "refused");
    },
  });
  const microphone = new Publication({ source: "microphone", media: fakeTrack("audio") });
  const added = transport.add(microphone);
  await settle();
  await answer();
  await added;
  const errors = [];
  transport.on("error", ({ code }) => errors.push(code));
  microphone.muted = true;
  const done = assert.rejects(transport.applyMute(microphone), { code: "timeout" });
  await settle();
  assert.equal(told, 1, "it is not told yet, and no failure either");
  for (let second = 0; second < 9; second += 1) {
    t.mock.timers.tick(1_000);
    await settle();
  }
  await done;
  assert.equal(told, 3);
  assert.deepEqual(errors, ["no_such_track"]);
  assert.equal(microphone.media.enabled, false, "whatever the server says");
});

test("an ended share goes inactive and the next one takes its m-line", async () => {
  const { transport, pc, waiting, answer } = build();
  const share = () => new Publication({ source: "screen", media: fakeTrack("video") });
  const one = share();
  const added = transport.add(one);
  await settle();
  await answer();
  await added;
  const removed = transport.remove(one);
  await settle();
  assert.equal(pc.offers[1].lines[0].direction, "inactive");
  assert.deepEqual(waiting[0].tracks, []);
  await answer();
  await removed;
  const again = transport.add(share());
  await settle();
  assert.equal(pc.offers[2].lines.length, 1);
  assert.deepEqual(waiting[0].tracks, [{ mid: "0", source: "screen", muted: false }]);
  await answer();
  await again;
});

test("an ICE restart is asked for once, again if its offer failed", async () => {
  const { transport, pc, waiting, answer } = build();
  const failing = assert.rejects(transport.restartIce());
  await settle();
  waiting.shift().reject(new Error("gone"));
  await failing;
  for (let turn = 0; turn < 2; turn += 1) {
    const done = transport.negotiate();
    await settle();
    await answer();
    await done;
  }
  assert.deepEqual(
    pc.offers.map(({ iceRestart }) => iceRestart),
    [true, true, false],
  );
});

test("nothing is offered after close", async () => {
  const { transport, pc } = build();
  transport.close();
  await assert.rejects(transport.negotiate(), { code: "connection_lost" });
  assert.equal(pc.offers.length, 0);
  assert.equal(pc.closed, true);
});

test("layers can be told apart in what we receive, and the other extensions stay", async () => {
  const { transport, pc, answer } = build({ receiving: { audio: 1, video: 1 } });
  const done = transport.negotiate();
  await settle();
  await answer();
  await done;
  const offered = pc.transceivers.map(({ extensions }) => extensions.map(({ direction }) => direction).join());
  assert.deepEqual(offered, ["sendrecv,stopped", "sendrecv,sendrecv"], "sound has no layers");
});
