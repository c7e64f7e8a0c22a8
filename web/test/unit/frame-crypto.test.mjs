/** Encrypted frames of every codec: what stays readable, what comes back, what is dropped, and what is said of it. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { before, test } from "node:test";

import { KeyRing, Reception, Sealer } from "../../client/frame-crypto.js";
import { obus } from "../../client/frame-av1.js";
import { blocks } from "../../client/frame-red.js";
import { escaped, nalUnits, readableBytes, unescaped } from "../../client/frame-h264.js";
import { readHeader } from "../../client/sframe.js";

const hkdf = () => crypto.subtle.importKey("raw", randomBytes(16), "HKDF", false, ["deriveBits"]);
const random = (length) => new Uint8Array(randomBytes(length));
const bytes = (...parts) => new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part))));
const hex = (data) => data && Buffer.from(data).toString("hex");

let baseKey;
let sealer;
let rings;
before(async () => {
  baseKey = await hkdf();
  sealer = new Sealer(baseKey);
  rings = [new KeyRing(baseKey)];
});

function reception() {
  const outcomes = [];
  const made = new Reception((outcome) => outcomes.push(outcome));
  return { outcomes, open: (mimeType, frame, with_ = rings) => made.open(with_, mimeType, frame), restart: () => made.restart() };
}

/** Sizes as the encoders of Chromium make them, and contents that look like start codes. */
const START = [0, 0, 0, 1];
const zeros = new Uint8Array(64);
const SPS = [0x67, 0x42, 0xc0, 0x15, 0x8c, 0x8d, 0x40];
const PPS = [0x68, 0xce, 0x3c, 0x80];
const FRAMES = {
  "a VP8 keyframe": () => ["video/VP8", bytes([0x90, 0x36, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00], random(500))],
  "a VP8 delta frame": () => ["video/VP8", bytes([0xd1, 0x0f, 0x00], random(90))],
  "a VP9 frame": () => ["video/VP9", random(333)],
  "an Opus frame": () => ["audio/opus", random(60)],
  "an Opus frame of silence": () => ["audio/opus", bytes([0xf8])],
  "redundant audio": () => ["audio/red", bytes([0xef, 0x0f, 0x00, 40, 0x6f], random(40), random(52))],
  "redundant audio without a copy": () => ["audio/red", bytes([0x6f], random(40))],
  "an H264 keyframe": () => ["video/H264", bytes(START, SPS, START, PPS, START, [0x65, 0xb8, 0x00, 0x04], random(700), [9])],
  "an H264 delta frame": () => ["video/H264", bytes(START, [0x61, 0xe0, 0x00, 0x40], zeros.fill(3, 40), [9])],
  "H264 slices": () => ["video/H264", bytes(START, [0x41, 0x9a], random(40), [9], START, [0x41, 0x00, 0x0b, 0x40], random(40), [9])],
  "an AV1 keyframe": () => ["video/AV1", bytes([0x12, 0x00], [0x0a, 3, 1, 2, 3], [0x32, 0xc8, 0x01], random(200))],
  "an AV1 frame of a layer": () => ["video/AV1", bytes([0x12, 0x00], [0x36, 0x28, 50], random(50))],
  "an AV1 frame without its size": () => ["video/AV1", bytes([0x30], random(50))],
};
/** Without what a packetizer leaves out or writes anew: sizes and start codes. */
const meaning = {
  "video/AV1": (frame) => obus(frame).filter(({ header }) => header[0] >> 3 !== 2).map(({ header, payload }) => [header[0] & ~2, header[1], hex(payload)]),
  "video/H264": (frame) => nalUnits(frame).map(hex),
};
/** The parts that decoders make sound and pictures of. */
const pictures = (mimeType, frame) => {
  if (mimeType === "video/AV1") return obus(frame).filter(({ header }) => [3, 4, 6].includes(header[0] >> 3)).map(({ payload }) => hex(payload));
  if (mimeType === "video/H264") return nalUnits(frame).filter(([header]) => [1, 5].includes(header & 31)).map(hex);
  return mimeType === "audio/red" ? blocks(frame).map((block) => hex(block.frame)) : [hex(frame)];
};
const means = (mimeType, frame) => (meaning[mimeType] ?? hex)(frame);

for (const [name, make] of Object.entries(FRAMES)) {
  const [mimeType, frame] = make();
  test(`${name} comes back, and is not in what is sent`, async () => {
    const { open, outcomes } = reception();
    const sealed = await sealer.seal(mimeType, frame);
    assert.ok(sealed.length > frame.length + 20);
    const secret = hex(frame.subarray(-12));
    if (frame.length > 12) assert.ok(!hex(sealed).includes(secret), "the plaintext is in the ciphertext");
    assert.deepEqual(means(mimeType, await open(mimeType, sealed)), means(mimeType, frame));
    assert.deepEqual(outcomes, ["decrypted"]);
    // The tag of each frame is its own, also where the same is sent again.
    assert.notEqual(hex(sealed), hex(await sealer.seal(mimeType, frame)));
  });

  test(`${name} is dropped after any change`, async () => {
    const sealed = await sealer.seal(mimeType, frame);
    const authentic = pictures(mimeType, frame);
    for (let at = 0; at < sealed.length; at += sealed.length > 200 ? 7 : 1) {
      const changed = sealed.slice();
      changed[at] ^= 0x10;
      const opened = await reception().open(mimeType, changed);
      // A part may be taken away, and what is no part of a picture is not authenticated: see the documentation.
      if (opened) for (const part of pictures(mimeType, opened)) assert.ok(authentic.includes(part), `byte ${at}`);
      if (opened) assert.ok(mimeType in meaning || mimeType === "audio/red", `byte ${at}`);
    }
    for (const length of [0, 1, 2, sealed.length - 1]) {
      assert.equal(await reception().open(mimeType, sealed.slice(0, length)), null, `cut to ${length}`);
    }
  });
}

test("packetizers and the relay still read what they need", async () => {
  const fixed = Object.fromEntries(Object.entries(FRAMES).map(([name, make]) => [name, make()]));
  const sealed = async (name) => sealer.seal(...fixed[name]);
  const starts = async (name, count) => assert.equal(hex((await sealed(name)).subarray(0, count)), hex(fixed[name][1].subarray(0, count)));
  await starts("a VP8 keyframe", 10);
  await starts("a VP8 delta frame", 3);
  const units = nalUnits(await sealed("an H264 keyframe"));
  assert.deepEqual(units.map((unit) => unit[0] & 0x1f), [7, 8, 5]);
  assert.deepEqual([hex(units[0]), hex(units[1])], [hex(SPS), hex(PPS)]);
  const parts = obus(await sealed("an AV1 keyframe"));
  assert.deepEqual(parts.map(({ header }) => header[0]), [0x12, 0x0a, 0x32]);
  assert.equal(hex(parts[1].payload), "010203");
  assert.equal((await sealed("redundant audio"))[0], 0xef);
});

test("a slice stays readable up to its parameter set and no further", () => {
  for (const [slice, readable] of [
    // First macroblock 0 (1 bit), type 7 (7 bits), set 0 (1 bit); then type 5 (5 bits); then macroblock 40.
    [[0x65, 0x88, 0x80, 0x10], 3],
    [[0x61, 0x9a, 0x00, 0x40], 2],
    [[0x41, 0x05, 0x26, 0x80, 0x10], 4],
    // Macroblock 65534 has 31 bits, and an escape between them.
    [[0x41, 0x00, 0x01, 0xff, 0xfe, 0x98, 0x10], 6],
    [[0x65, 0x88], null],
    [[0x65], null],
    [[0x65, 0, 0, 3, 0, 0, 3, 0, 0, 3, 0], null],
  ]) {
    assert.equal(readableBytes(new Uint8Array(slice)), readable, slice.join());
  }
});

test("no start code appears in an encrypted slice, whatever the cipher makes", () => {
  for (const before of [[0x65, 0x88], [0x65, 0], [0x65, 0, 0]]) {
    for (let round = 0; round < 2_000; round += 1) {
      const secret = random(40).map((byte) => byte % 5);
      const written = escaped(new Uint8Array(before), secret);
      const whole = bytes(before, written);
      for (let at = 2; at < whole.length; at += 1) {
        assert.ok(whole[at - 2] !== 0 || whole[at - 1] !== 0 || whole[at] > 2 || at < before.length, hex(whole));
      }
      assert.equal(hex(unescaped(new Uint8Array(before), written)), hex(secret));
    }
  }
});

test("no two units have the same KID and counter", async () => {
  const pairs = new Set();
  let units = 0;
  const note = (unit) => {
    const { kid, ctr } = readHeader(unit);
    pairs.add(`${kid} ${ctr}`);
    units += 1;
  };
  // Twenty page loads, each with tracks that encrypt at the same time, and with keys that are used up.
  for (let load = 0; load < 20; load += 1) {
    const each = new Sealer(baseKey, 7);
    for (const unit of await Promise.all(Array.from({ length: 50 }, () => each.seal("audio/opus", random(20))))) note(unit);
  }
  assert.equal(units, 1_000);
  assert.equal(pairs.size, units);
  assert.equal(new Set([...pairs].map((pair) => pair.split(" ")[0])).size, 20 * Math.ceil(50 / 7));
});

test("frames that are no frames are dropped without an error, at both ends", async () => {
  const mimeTypes = ["video/VP8", "video/VP9", "video/H264", "video/AV1", "audio/opus", "audio/red"];
  for (let round = 0; round < 3_000; round += 1) {
    const mimeType = mimeTypes[round % mimeTypes.length];
    // Few different bytes, so that start codes, sizes and headers come up often.
    const made = random(round % 60).map((byte) => (round % 4 === 0 ? byte : [0, 0, 1, 3, 0x41, 0x65, 0x32, 0x0a, 0x80, 0xff][byte % 10]));
    assert.equal(await reception().open(mimeType, made), null, hex(made));
    const sealed = await sealer.seal(mimeType, made);
    if (sealed) assert.ok(await reception().open(mimeType, sealed), `${mimeType} ${hex(made)}`);
  }
});

test("a frame that comes twice, or far too late, is dropped, and says nothing about the key", async () => {
  const { open, outcomes } = reception();
  const frames = [];
  for (let count = 0; count < 2_100; count += 1) frames.push(await sealer.seal("audio/opus", random(10)));
  assert.ok(await open("audio/opus", frames[1]));
  assert.ok(await open("audio/opus", frames[0]), "a little late");
  for (const again of [0, 1, 0, 1]) assert.equal(await open("audio/opus", frames[again]), null);
  for (const frame of frames.slice(2)) assert.ok(await open("audio/opus", frame));
  assert.equal(await open("audio/opus", frames[3]), null);
  assert.deepEqual(outcomes, ["decrypted"]);
});

test("frames of a sender are not played again after many others", async () => {
  const { open, outcomes } = reception();
  const frames = [];
  for (let count = 0; count < 3; count += 1) frames.push(await sealer.seal("audio/opus", random(10)));
  for (const frame of frames.slice(0, 2)) assert.ok(await open("audio/opus", frame));
  for (let round = 0; round < 2; round += 1) {
    for (let other = 0; other < 20; other += 1) assert.ok(await open("audio/opus", await new Sealer(baseKey).seal("audio/opus", random(10))));
    for (const frame of frames.slice(0, 2)) assert.equal(await open("audio/opus", frame), null);
  }
  assert.ok(await open("audio/opus", frames[2]), "what is new is played");
  assert.deepEqual(outcomes, ["decrypted"]);
});

test("a relay may repeat sound, and a repeated frame stands in for a lost one", async () => {
  const { open } = reception();
  const [first, second] = [random(40), random(30)];
  const [lost, next] = [await sealer.seal("audio/opus", first), await sealer.seal("audio/opus", second)];
  const header = [0xef, 0x0f, lost.length >> 8, lost.length & 0xff, 0x6f];
  const redundant = await open("audio/red", bytes(header, lost, next));
  assert.equal(hex(redundant), hex(bytes([0xef, 0x0f, 0x00, 40, 0x6f], first, second)));
  // Had it come, the copy would be left out.
  const other = reception();
  await other.open("audio/opus", lost);
  assert.equal(hex(await other.open("audio/red", bytes(header, lost, next))), hex(bytes([0x6f], second)));
});

test("another key, and none, are told apart, after a few frames and not after one", async () => {
  const other = new Sealer(await hkdf());
  for (const mimeType of ["video/VP8", "video/H264", "video/AV1", "audio/opus", "audio/red"]) {
    const make = Object.values(FRAMES).find((each) => each()[0] === mimeType);
    const { open, outcomes, restart } = reception();
    assert.ok(await open(mimeType, await sealer.seal(...make())));
    for (let count = 0; count < 5; count += 1) assert.equal(await open(mimeType, await other.seal(...make())), null);
    assert.deepEqual(outcomes, ["decrypted", "otherKey"], mimeType);
    for (let count = 0; count < 3; count += 1) assert.equal(await open(...make()), null);
    assert.deepEqual(outcomes.at(-1), "noKey", mimeType);
    restart();
    assert.ok(await open(mimeType, await sealer.seal(...make())));
    assert.deepEqual(outcomes.slice(-2), ["waiting", "decrypted"], mimeType);
    await open(...make());
    assert.deepEqual(outcomes.at(-1), "decrypted", "one frame proves nothing");
  }
});

test("the key before still decrypts, and made-up KIDs leave nothing behind", async () => {
  const next = await hkdf();
  const both = [new KeyRing(next), rings[0]];
  const { open } = reception();
  assert.ok(await open("audio/opus", await sealer.seal("audio/opus", random(9)), both));
  assert.ok(await open("audio/opus", await new Sealer(next).seal("audio/opus", random(9)), both));
  const [fresh] = both;
  const size = fresh.size;
  for (let count = 0; count < 50; count += 1) {
    const made = await sealer.seal("audio/opus", random(9));
    made.set(random(7), 2);
    assert.equal(await open("audio/opus", made, both), null);
  }
  assert.equal(fresh.size, size);
});
