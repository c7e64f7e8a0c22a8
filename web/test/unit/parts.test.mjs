import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { AudioLevels } from "../../client/levels.js";
import { explainCapture } from "../../client/media.js";
import { orderCodecs, Publication } from "../../client/publication.js";
import { Backoff, isPassing } from "../../client/reconnect.js";
import { summarize } from "../../client/stats.js";
import { readRoom } from "../../client/names.js";
import { inventRoom, readAddress, roomLink } from "../../ui/address.js";
import { hueOf, initials, isolated } from "../../ui/words.js";
import { fakeTrack } from "./fakes.mjs";

test("the client half touches nothing of a page", () => {
  const folder = new URL("../../client/", import.meta.url);
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".js"))) {
    const source = readFileSync(new URL(name, folder), "utf8");
    assert.doesNotMatch(source, /\b(document|window|localStorage|location|HTMLElement)\b\s*[.?;)]/, name);
    assert.doesNotMatch(source, /from "\.\.\/ui/, name);
    assert.doesNotMatch(source, /^(let|var) /m, `${name} keeps no state of its own`);
  }
});

test("the page and the example use the client by its index alone", () => {
  for (const folder of ["ui", "example"]) {
    const place = new URL(`../../${folder}/`, import.meta.url);
    const sources = readdirSync(place).filter((name) => name.endsWith(".js"));
    const imported = sources.flatMap((name) => readFileSync(new URL(name, place), "utf8").match(/"[^"]*\/client\/[^"]*"/g) ?? []);
    assert.deepEqual([...new Set(imported)], ['"../client/index.js"'], folder);
  }
});

test("waiting grows, by half at random, up to a bound", () => {
  const shortest = new Backoff(() => 0);
  const longest = new Backoff(() => 0.999);
  const waits = Array.from({ length: 8 }, () => [shortest.next(), longest.next()]);
  for (const [low, high] of waits) assert.ok(low < high && high <= low * 2);
  assert.equal(waits[0][0], 200);
  assert.equal(waits.at(-1)[0], 4000);
  shortest.reset();
  assert.equal(shortest.next(), 200);
});

test("only what may pass is tried again", () => {
  assert.ok(isPassing({ code: "room_full" }));
  assert.ok(isPassing({ code: "worker_failed" }));
  assert.ok(!isPassing({ code: "bad_field" }));
  assert.ok(!isPassing(new TypeError("a fault of ours")));
});

test("a camera is sent in as many sizes as browsers make of it, lowest first; a screen in one", () => {
  const sizes = (source, height) =>
    new Publication({ source, media: fakeTrack("video", { height }) })
      .transceiverInit()
      .sendEncodings.map(({ rid, scaleResolutionDownBy }) => [rid, scaleResolutionDownBy].join(""));
  assert.deepEqual(sizes("camera", 720), ["q4", "h2", "f1"]);
  assert.deepEqual(sizes("camera", undefined), ["q4", "h2", "f1"]);
  assert.deepEqual(sizes("camera", 540), ["q4", "h2", "f1"]);
  assert.deepEqual(sizes("camera", 480), ["h2", "f1"]);
  assert.deepEqual(sizes("camera", 360), ["h2", "f1"]);
  assert.deepEqual(sizes("camera", 180), [""]);
  assert.deepEqual(sizes("screen", 1080), [""]);
  assert.deepEqual(new Publication({ source: "microphone", media: fakeTrack("audio") }).transceiverInit(), {
    direction: "sendonly",
  });
});

test("the preferred codec comes first and redundancy coding goes", () => {
  const names = ["video/H264", "video/rtx", "video/red", "video/VP8", "video/ulpfec", "video/VP9"];
  const ordered = orderCodecs(names.map((mimeType) => ({ mimeType })), "video/vp8");
  assert.deepEqual(
    ordered.map(({ mimeType }) => mimeType),
    ["video/VP8", "video/H264", "video/rtx", "video/VP9"],
  );
});

test("somebody who pauses between words is still speaking", () => {
  let audioLevel = 0.3;
  const receiver = { getSynchronizationSources: () => [{ audioLevel }] };
  const levels = new AudioLevels();
  assert.deepEqual([...levels.poll([["ana", receiver]], 0)], ["ana"]);
  audioLevel = 0.001;
  assert.deepEqual([...levels.poll([["ana", receiver]], 400)], ["ana"]);
  assert.deepEqual([...levels.poll([["ana", receiver]], 900)], []);
  assert.deepEqual([...levels.poll([["silent", { getSynchronizationSources: () => [] }]], 900)], []);
});

test("rates are counted between two reports", () => {
  const at = (timestamp, bytesReceived, packetsReceived, packetsLost) =>
    new Map([
      ["c", { id: "c", type: "codec", mimeType: "video/VP8" }],
      [
        "i",
        {
          id: "i",
          type: "inbound-rtp",
          mid: "3",
          kind: "video",
          codecId: "c",
          timestamp,
          bytesReceived,
          packetsReceived,
          packetsLost,
          frameWidth: 640,
          frameHeight: 360,
          framesPerSecond: 30,
          framesDecoded: 12,
        },
      ],
    ]);
  const first = summarize(at(1000, 1000, 90, 0));
  const { i } = Object.fromEntries(summarize(at(3000, 26_000, 180, 10), first));
  assert.equal(i.bitsPerSecond, 100_000);
  assert.equal(i.lossShare, 0.1);
  assert.deepEqual([i.mid, i.codec, i.width, i.framesPerSecond], ["3", "VP8", 640, 30]);
});

for (const [name, code] of [
  ["NotAllowedError", "permission_denied"],
  ["NotFoundError", "no_device"],
  ["NotReadableError", "device_busy"],
  ["OverconstrainedError", "no_device"],
  ["TypeError", "capture_failed"],
]) {
  test(`${name} is ${code}, in words that name the device`, () => {
    const error = explainCapture(Object.assign(new Error(), { name }), "video");
    assert.equal(error.code, code);
    assert.match(error.message, /camera/);
  });
}

test("a room is named by the query, else by the fragment; what names none is kept to be explained", () => {
  for (const [address, room, wrongRoom] of [
    ["http://h/?room=stand-up", "stand-up", ""],
    ["http://h/?room=A.b_C-9", "A.b_C-9", ""],
    ["http://h/#caf%C3%A9", "café", ""],
    ["http://h/?room=cafe%CC%81", "café", ""],
    ["http://h/?room=%D7%90%D7%91%D7%90", "אבא", ""],
    ["http://h/?room=a%20b", "", "a b"],
    ["http://h/#%", "", "%"],
    ["http://h/", "", ""],
  ]) {
    const read = readAddress(new URL(address));
    assert.deepEqual([read.room, read.wrongRoom], [room, wrongRoom], address);
  }
  const here = new URL("http://h/call/?name=Ana&room=a#b");
  assert.equal(roomLink(here, "team-1"), "http://h/call/?room=team-1");
  for (const room of ["café", "会議室", "A.b_C-9", "می‌خواهم"]) assert.equal(readAddress(new URL(roomLink(here, room))).room, room);
  for (let turn = 0; turn < 50; turn += 1) {
    const name = inventRoom(() => turn / 50);
    assert.equal(readRoom(name).name, name);
  }
});

test("a name from right to left is kept from turning the sentence it stands in", () => {
  assert.equal(isolated("Ana"), "Ana");
  assert.equal(isolated("שרה"), "\u2068שרה\u2069");
});

test("the options of links are read and nothing else is taken for one", () => {
  const address = readAddress(new URL("http://h/?room=r&name=%20Ana%20&autojoin=1&camera=0&video=180p&debug=1&codec=vp9&svc=L3T3_KEY"));
  assert.deepEqual(address, {
    room: "r",
    wrongRoom: "",
    name: "Ana",
    token: "",
    key: null,
    asksPassphrase: false,
    autojoin: true,
    debug: true,
    microphone: true,
    camera: false,
    height: 180,
    codec: "VP9",
    scalabilityMode: "L3T3_KEY",
  });
  const other = readAddress(new URL("http://h/?codec=Theora&svc=L9T9"));
  assert.deepEqual([other.codec, other.scalabilityMode], ["", ""]);
  assert.equal(readAddress(new URL("http://h/?video=99999")).height, 720);
});

test("a face that is not shown has letters and a steady colour", () => {
  assert.equal(initials("Ana María Ruiz"), "AR");
  assert.equal(initials("ñandú"), "Ñ");
  assert.equal(initials("   "), "?");
  assert.equal(hueOf("Ana"), hueOf("Ana"));
});
