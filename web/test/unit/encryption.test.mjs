/** Encrypted rooms: their keys, what the others are told of them, and what is said of others. */
import assert from "node:assert/strict";
import { after, afterEach, before, mock, test } from "node:test";

import { callKey, createKey, isKey } from "../../client/encryption-key.js";
import { Encryption } from "../../client/encryption.js";
import { FramePipes } from "../../client/frame-pipes.js";
import { Sealer } from "../../client/frame-crypto.js";
import { explainEnding } from "../../ui/words.js";
import { serve, until } from "./fake-room.mjs";
import { fakeTrack } from "./fakes.mjs";

const KEY = createKey();
const camera = { id: "t1", kind: "video", source: "camera", muted: false, simulcast: true, codec: "VP8" };
const frame = () => crypto.getRandomValues(new Uint8Array(40));

/** The transforms that were made, each with the frames that it lets through. */
const transforms = [];
class ScriptTransform {
  constructor(worker, options) {
    const { readable, writable: entrance } = new TransformStream();
    const passed = [];
    const writable = new WritableStream({ write: (each) => void passed.push(new Uint8Array(each.data)) });
    const writer = entrance.getWriter();
    const send = (data, format = "audio/opus") =>
      writer.write({ data: data.slice().buffer, getMetadata: () => (typeof format === "number" ? { payloadType: format } : { mimeType: format }) });
    transforms.push({ options, passed, send, end: () => writer.close() });
    worker.ended.push(worker.pipes.connect({ readable, writable, options }));
  }
}

/** The worker of the page, in the test's own thread. */
class FakeWorker extends EventTarget {
  pipes = new FramePipes((data) => {
    this.said.push(data.outcome ?? data.type);
    this.dispatchEvent(new MessageEvent("message", { data }));
  });
  said = [];
  ended = [];
  terminated = false;

  postMessage(message) {
    this.pipes.hear(message);
  }

  terminate() {
    this.terminated = true;
  }
}

before(() => (globalThis.RTCRtpScriptTransform = ScriptTransform));
after(() => delete globalThis.RTCRtpScriptTransform);
afterEach(() => {
  transforms.length = 0;
  mock.timers.reset();
});

function encrypted(script = {}) {
  const workers = [];
  const startWorker = () => workers[workers.push(new FakeWorker()) - 1];
  const server = serve({ encryption: { key: KEY }, startWorker, ...script });
  const told = [];
  server.room.on("encryptionChanged", ({ participant, encryption }) => told.push([participant.name, encryption]));
  return { ...server, workers, told };
}

const person = (id, name, metadata, tracks = []) => ({ id, name, metadata, tracks });
const checkOf = async (key) => (await callKey({ key }, "standup")).check;
/** Waits for WebCrypto, which no mocked clock moves. */
const untilTold = async (is) => {
  while (!is()) await new Promise((resolve) => setImmediate(resolve));
};

test("keys of 128 bits and more are keys, and nothing else is", async () => {
  assert.match(createKey(), /^[\w-]{22}$/);
  assert.notEqual(createKey(), createKey());
  for (const key of [createKey(), "A".repeat(43), "-_".repeat(16)]) assert.ok(isKey(key), key);
  for (const key of ["", "short", "A".repeat(21), "A".repeat(100), `${createKey()}!`, `${createKey()}==`]) {
    assert.ok(!isKey(key), key);
    await assert.rejects(callKey({ key }, "standup"), { code: "bad_key" });
  }
  await assert.rejects(callKey({ passphrase: "" }, "standup"), { code: "bad_key" });
  assert.notEqual(await checkOf(createKey()), await checkOf(createKey()));
});

test("a passphrase makes one key in one room, however it is typed", async () => {
  const check = async (passphrase, room) => (await callKey({ passphrase }, room)).check;
  const first = await check("caf\u00e9 at noon", "standup");
  assert.equal(await check("cafe\u0301 at noon", "standup"), first);
  assert.notEqual(await check("caf\u00e9 at noon", "other"), first);
  assert.notEqual(await check("caf\u00e9 at nine", "standup"), first);
});

test("a browser without encoded transforms does not join an encrypted room, and is told why", async () => {
  delete globalThis.RTCRtpScriptTransform;
  const { room, events, sockets } = encrypted();
  await assert.rejects(room.join(), { code: "encryption_unsupported" });
  globalThis.RTCRtpScriptTransform = ScriptTransform;
  assert.deepEqual(events.at(-1), ["state", "closed", "encryption_unsupported"]);
  assert.equal(sockets.length, 0);
  assert.match(explainEnding("encryption_unsupported", "").title, /cannot decrypt/);
});

test("a damaged key, and a worker that cannot be loaded, are refused before anything is sent", async () => {
  const damaged = encrypted({ encryption: { key: "short" } });
  await assert.rejects(damaged.room.join(), { code: "bad_key" });
  assert.equal(damaged.sockets.length, 0);
  mock.timers.reset();
  class Missing extends FakeWorker {
    postMessage() {
      queueMicrotask(() => this.dispatchEvent(new Event("error")));
    }
  }
  const missing = encrypted({ startWorker: () => new Missing() });
  await assert.rejects(missing.room.join(), { code: "encryption_failed" });
  assert.equal(missing.sockets.length, 0);
});

test("everything sent and received goes through the worker before the first offer, and nothing of the key to the server", async () => {
  const { room, sockets, connections, workers } = encrypted({ others: [person("p1", "Ben", {}, [camera])], point: { 1: "t1" } });
  await room.publish({ source: "microphone", media: fakeTrack("audio") });
  await room.join();
  const sealed = connections[0].transceivers.map(({ sender, receiver }) => [Boolean(sender.transform), Boolean(receiver.transform)]);
  assert.deepEqual(sealed, [[true, false], [false, true]]);
  assert.deepEqual(transforms.map(({ options }) => options.receiver), [null, 1]);
  const { metadata } = sockets[0].said.find(({ type }) => type === "join");
  assert.deepEqual(metadata, { sframe: await checkOf(KEY) });
  assert.ok(!JSON.stringify(sockets[0].said).includes(KEY));
  assert.ok(room.isEncrypted);

  const plain = frame();
  await transforms[0].send(plain);
  await untilTold(() => transforms[0].passed.length > 0);
  assert.equal(transforms[0].passed[0].length, 40 + 9 + 16);
  await transforms[0].send(plain, "video/H265");
  await transforms[0].send(plain);
  await untilTold(() => transforms[0].passed.length > 1);
  assert.equal(transforms[0].passed.length, 2, "what cannot be encrypted is not sent");
  room.leave();
  assert.ok(workers[0].terminated);
});

test("a format without a rule is told once", async () => {
  const { room } = encrypted();
  const errors = [];
  room.on("errorOccurred", ({ code, message }) => errors.push([code, /video\/H265/.test(message)]));
  await room.publish({ source: "camera", media: fakeTrack("video") });
  await room.join();
  for (let count = 0; count < 3; count += 1) await transforms[0].send(frame(), "video/H265");
  await untilTold(() => errors.length > 0);
  assert.deepEqual(errors, [["format_not_encryptable", true]]);
});

test("where a browser tells only payload types, the session tells their formats", async () => {
  const said = [];
  const encryption = new Encryption({ onOutcome: () => {}, onError: ({ code }) => said.push(code), startWorker: () => new FakeWorker() });
  await encryption.start({ key: KEY }, "standup");
  const sender = {};
  encryption.encrypt(sender);
  encryption.learnFormats("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 109\r\na=rtpmap:109 opus/48000/2\r\nm=video 9 UDP/TLS/RTP/SAVPF 120 97\r\na=rtpmap:120 VP8/90000\r\na=rtpmap:97 H265/90000\r\n");
  const [{ send, passed }] = transforms;
  await send(frame(), 97);
  assert.deepEqual(said, ["format_not_encryptable"]);
  const keyframe = frame();
  keyframe[0] &= 0xfe;
  for (const [data, format] of [[frame(), 109], [keyframe, 120]]) await send(data, format);
  await untilTold(() => passed.length === 2);
  assert.deepEqual(passed[1].slice(0, 10), keyframe.slice(0, 10));
});

test("what others announce is told at once, and what their frames show counts more", async () => {
  const others = [
    person("p1", "Ben", { sframe: await checkOf(KEY) }, [camera]),
    person("p2", "Cleo", { sframe: await checkOf(createKey()) }),
    person("p3", "Dan", {}),
  ];
  const { room, told } = encrypted({ others, point: { 0: "t1" } });
  await room.join();
  assert.deepEqual(told, [["Ben", "waiting"], ["Cleo", "otherKey"], ["Dan", "noKey"]]);
  const { track } = { track: room.participants.get("p1").tracks.get("t1") };
  assert.ok(room.receiverOf("t1"));
  told.length = 0;

  const [receiving] = transforms;
  const [ours, theirs] = await Promise.all([KEY, createKey()].map(async (key) => new Sealer((await callKey({ key }, "standup")).baseKey)));
  for (const [sealer, state] of [[ours, "decrypted"], [theirs, "otherKey"], [null, "noKey"], [ours, "decrypted"]]) {
    for (let count = 0; count < 5; count += 1) await receiving.send(sealer ? await sealer.seal("audio/opus", frame()) : frame());
    await untilTold(() => told.length > 0);
    assert.deepEqual(told.splice(0), [["Ben", state]]);
    assert.equal(room.encryptionOf("p1"), state);
    assert.equal(track.media === null, state !== "decrypted", "nothing is played that cannot be decrypted");
  }
  await untilTold(() => receiving.passed.length === 10);
});

test("pictures that will never be decrypted are not asked for, until somebody has our key", async () => {
  const other = createKey();
  const others = [person("p1", "Ben", { sframe: await checkOf(other) }, [camera])];
  const { room, sockets, told, workers } = encrypted({ others, point: { 0: "t1" } });
  const views = () => sockets[0].said.filter(({ type }) => type === "view").flatMap(({ tracks }) => tracks.map(({ visible }) => visible));
  await room.join();
  room.setView("t1", { height: 180 });
  await until(() => views().length > 0);
  assert.deepEqual(views(), [true], "what is announced is only said");
  const theirs = new Sealer((await callKey({ key: other }, "standup")).baseKey);
  for (let count = 0; count < 3; count += 1) await transforms[0].send(await theirs.seal("audio/opus", frame()));
  await untilTold(() => workers[0].said.includes("otherKey"));
  await until(() => views().length > 1);
  room.setView("t1", { height: 360 });
  await until(() => views().length > 2);
  assert.deepEqual(views(), [true, false, false]);
  sockets[0].receive({ type: "participant_updated", participant: person("p1", "Ben", { sframe: await checkOf(KEY) }, [camera]) });
  await until(() => views().length > 3);
  assert.deepEqual(views(), [true, false, false, true]);
  assert.deepEqual(told, [["Ben", "otherKey"]]);
});

test("without a key nothing is received of who encrypts, now and later", async () => {
  const others = [person("p1", "Ben", { sframe: "x" }, [camera]), person("p2", "Cleo", {}, [{ ...camera, id: "t2" }])];
  const server = serve({ others });
  const told = [];
  server.room.on("encryptionChanged", ({ participant, encryption }) => told.push([participant.name, encryption]));
  await server.room.join();
  assert.deepEqual(server.sockets[0].knows.chosen, { t1: false });
  assert.equal(server.connections[0].transceivers.length, 1, "an m-line for Cleo");
  assert.deepEqual(told, [["Ben", "keyMissing"]]);
  assert.equal(server.room.encryptionOf("p2"), null);
  server.sockets[0].receive({ type: "track_published", participant: "p1", track: { ...camera, id: "t3" } });
  server.sockets[0].receive({ type: "participant_updated", participant: person("p2", "Cleo", { sframe: "x" }, [{ ...camera, id: "t2" }]) });
  await until(() => "t2" in server.sockets[0].knows.chosen);
  assert.deepEqual(server.sockets[0].knows.chosen, { t1: false, t2: false, t3: false });
  assert.deepEqual(told, [["Ben", "keyMissing"], ["Cleo", "keyMissing"]]);
  await assert.rejects(server.room.changeKey({ key: KEY }), { code: "not_encrypted" });
});

test("a changed key is announced, and that of before decrypts for ten seconds more", async () => {
  const next = createKey();
  const others = [person("p1", "Ben", { sframe: await checkOf(KEY) }, [camera])];
  const { room, sockets, told } = encrypted({ others, point: { 0: "t1" } });
  await room.join();
  await room.update({ metadata: { seat: 4 } });
  assert.deepEqual(sockets[0].knows.metadata, { seat: 4, sframe: await checkOf(KEY) });
  await room.changeKey({ key: next });
  assert.deepEqual(sockets[0].knows.metadata, { seat: 4, sframe: await checkOf(next) });
  const former = new Sealer((await callKey({ key: KEY }, "standup")).baseKey);
  const [receiving] = transforms;
  await receiving.send(await former.seal("audio/opus", frame()));
  await untilTold(() => told.at(-1)[1] === "decrypted");
  const end = Date.now() + 10_500;
  await until(() => Date.now() >= end);
  for (let count = 0; count < 3; count += 1) await receiving.send(await former.seal("audio/opus", frame()));
  await untilTold(() => told.at(-1)[1] === "otherKey");
  assert.equal(receiving.passed.length, 1);
  await assert.rejects(room.changeKey({ key: "short" }), { code: "bad_key" });
});

test("a server that chose our metadata is told of our key where it allows it", async () => {
  const permissions = { microphone: true, camera: true, screen: true, subscribe: true, chat: true, data: true, update: true };
  for (const update of [true, false]) {
    const { room, sockets } = encrypted({ welcome: { name: "Ana", metadata: { role: "host" }, permissions: { ...permissions, update } } });
    await room.join();
    const { metadata } = sockets[0].said.findLast(({ type }) => type === (update ? "update" : "join"));
    assert.deepEqual(metadata, { ...(update && { role: "host" }), sframe: await checkOf(KEY) });
    await room.changeKey({ key: createKey() });
    assert.equal(sockets[0].said.filter(({ type }) => type === "update").length, update ? 2 : 0);
    mock.timers.reset();
  }
});
