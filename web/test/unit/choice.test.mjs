/** The views of our screen that are told, and the handling of the relay's wishes. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Encodings } from "../../client/encodings.js";
import { Publication } from "../../client/publication.js";
import { Views } from "../../client/views.js";
import { fakeTrack, settle } from "./fakes.mjs";

test.afterEach(() => mock.timers.reset());

/** Views whose server is the test: `said` is what it was told, message by message. */
function watch() {
  mock.timers.enable({ apis: ["setTimeout"] });
  const said = [];
  const views = new Views();
  const send = async (tracks) => void said.push(tracks);
  return { views, said, send };
}

async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

const view = (track, visible = true, height = 0, pinned = false) => ({ track, visible, height, pinned });

test("what changes within a moment is told at once, and only what changed", async () => {
  const { views, said, send } = watch();
  views.begin(send);
  for (let height = 100; height <= 400; height += 50) views.set("ana", { height: height + 0.4 });
  views.set("ben", { visible: false });
  await pass(99);
  assert.equal(said.length, 0);
  await pass(1);
  assert.deepEqual(said, [[view("ana", true, 400), view("ben", false)]]);
  views.set("ana", { height: 400 });
  views.set("ben", { visible: true, pinned: true, height: 1e9 });
  await pass(500);
  assert.deepEqual(said.slice(1), [[view("ben", true, 65_535, true)]]);
});

test("views wait for a server, and a new one is told everything that still is", async () => {
  const { views, said, send } = watch();
  views.set("ana", { height: 180 });
  views.set("ben", { height: 90 });
  await pass(1000);
  assert.equal(said.length, 0);
  views.begin(send);
  await pass(100);
  assert.equal(said[0].length, 2);
  views.end();
  views.forget("ben");
  views.set("cleo", { visible: false });
  await pass(1000);
  assert.equal(said.length, 1);
  views.begin(send);
  await pass(100);
  assert.deepEqual(said[1].sort((a, b) => a.track.localeCompare(b.track)), [view("ana", true, 180), view("cleo", false)]);
});

test("many views take several messages, and a refused one is said again as things are then", async () => {
  const { views, said, send } = watch();
  let refuse = true;
  views.begin(async (tracks) => {
    if (refuse) throw new Error("rate_limited");
    await send(tracks);
  });
  for (let number = 0; number < 300; number += 1) views.set(`t${number}`, { height: number });
  await pass(100);
  refuse = false;
  views.set("t0", { visible: false });
  await pass(1000);
  await pass(100);
  assert.deepEqual(said.map((tracks) => tracks.length), [256, 44]);
  const last = new Map(said.flat().map((each) => [each.track, each]));
  assert.equal(last.size, 300);
  assert.equal(last.get("t0").visible, false);
});

/** A sender that keeps the rules: parameters are valid until the next change of them. */
function fakeSender(rids = ["q", "h", "f"]) {
  let encodings = rids.map((rid) => ({ ...(rid && { rid }), active: true, maxBitrate: 5, scaleResolutionDownBy: 2 }));
  const sender = {
    calls: 0,
    refuse: 0,
    waiting: [],
    hold: false,
    getParameters: () => ({ transactionId: String(sender.calls), encodings: structuredClone(encodings), codecs: [] }),
    setParameters: async (parameters) => {
      if (sender.hold) await new Promise((resolve) => sender.waiting.push(resolve));
      sender.calls += 1;
      if (sender.refuse > 0) {
        sender.refuse -= 1;
        throw new Error("stale");
      }
      encodings = parameters.encodings;
    },
    get active() {
      return encodings.map(({ active }) => active);
    },
    get encodings() {
      return encodings;
    },
  };
  return sender;
}

const layers = (...active) => active.map((each, index) => ({ rid: ["q", "h", "f"][index], active: each }));

test("encodings nobody is sent go off and on, the rest of the parameters stays", async () => {
  const errors = [];
  const sender = fakeSender();
  const encodings = new Encodings((error) => errors.push(error));
  await encodings.want(sender, layers(true, false, false));
  assert.deepEqual(sender.active, [true, false, false]);
  assert.deepEqual(sender.encodings[1], { rid: "h", active: false, maxBitrate: 5, scaleResolutionDownBy: 2 });
  await encodings.want(sender, layers(true, false, false));
  assert.equal(sender.calls, 1, "nothing to change");
  await encodings.want(sender, null);
  assert.deepEqual(sender.active, [true, true, true]);
  assert.deepEqual(errors, []);
});

test("a wish during a change is followed after it", async () => {
  const sender = fakeSender();
  const encodings = new Encodings(() => assert.fail());
  sender.hold = true;
  const first = encodings.want(sender, layers(true, false, false));
  void encodings.want(sender, layers(true, true, false));
  void encodings.want(sender, layers(false, true, true));
  await settle();
  sender.hold = false;
  sender.waiting.shift()();
  await first;
  assert.deepEqual(sender.active, [false, true, true]);
  assert.equal(sender.calls, 2);
});

test("stale parameters are read again; a sender that refuses is told of, and tried after a negotiation", async () => {
  const errors = [];
  const sender = fakeSender();
  const encodings = new Encodings((error) => errors.push(error.code));
  sender.refuse = 1;
  await encodings.want(sender, layers(true, true, false));
  assert.deepEqual(sender.active, [true, true, false]);
  sender.refuse = 3;
  await encodings.want(sender, layers(true, false, false));
  assert.deepEqual(errors, ["layers_failed"]);
  await encodings.again();
  assert.deepEqual(sender.active, [true, false, false]);
});

test("one stream has one wish, and what the relay does not speak of is sent", async () => {
  const single = fakeSender([null]);
  const encodings = new Encodings(() => assert.fail());
  await encodings.want(single, [{ rid: null, active: false }]);
  assert.deepEqual(single.active, [false]);
  const three = fakeSender();
  await encodings.want(three, layers(false, false));
  assert.deepEqual(three.active, [false, false, true]);
});

test("a codec with layers of its own is sent once, another as simulcast", () => {
  const encodings = (options) => {
    const publication = new Publication({ source: "camera", media: fakeTrack("video", { height: 720 }), ...options });
    return publication.transceiverInit().sendEncodings.map(({ rid, scalabilityMode }) => [rid, scalabilityMode].join(":"));
  };
  assert.deepEqual(encodings({}), ["q:", "h:", "f:"]);
  assert.deepEqual(encodings({ codec: "H264" }), ["q:", "h:", "f:"]);
  assert.deepEqual(encodings({ codec: "VP8", scalabilityMode: "L1T3" }), ["q:L1T3", "h:L1T3", "f:L1T3"]);
  for (const codec of ["VP9", "AV1", "video/VP9"]) {
    assert.deepEqual(encodings({ codec, scalabilityMode: "L3T3_KEY" }), [":L3T3_KEY"]);
    assert.deepEqual(encodings({ codec }), ["q:L1T1", "h:L1T1", "f:L1T1"]);
  }
  assert.equal(new Publication({ source: "camera", media: fakeTrack("video"), codec: "AV1" }).codec, "video/AV1");
});
