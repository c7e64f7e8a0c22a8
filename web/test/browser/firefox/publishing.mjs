/** Firefox sends its camera in layers: each viewer gets the one that fits, and what nobody watches is not sent. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { IN_FULL } from "../extent.mjs";
import { arriving, decodes, enlarge, figuresOf, isAt, sending, until } from "../watching.mjs";
import { LARGE, MEDIUM, PATIENCE, SMALL, join, leaveAll, newRoom, startServer } from "./browsers.mjs";

const CAMERA = { video: "720p", mic: "0" };
const NONE = { camera: "0", mic: "0" };
/** For as long a bit rate is counted. */
const COUNTED_MS = 4_000;
const MAX_BITRATE = 400_000;

/** Waits until exactly these of the three encodings are sent, and the others stand still. */
async function onlySends(page, wanted) {
  const stands = async () => {
    const first = await sending(page);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const second = await sending(page);
    return second.map(({ active, frames, packets }, index) => ({
      active,
      frames: frames - first[index].frames,
      packets: packets - first[index].packets,
    }));
  };
  const are = (found) =>
    found.length === wanted.length &&
    found.every(({ active, frames, packets }, index) =>
      wanted[index] ? active && frames > 0 && packets > 0 : !active && frames === 0 && packets === 0,
    );
  return (await until(`only ${wanted} is sent`, stands, are, PATIENCE)).ms;
}

describe("Firefox publishes", () => {
  test("three encodings, of which each viewer gets the one that fits", { timeout: 180_000 }, async (t) => {
    const server = await startServer();
    t.after(() => server.stop());
    const room = newRoom();
    const fia = await join("Firefox", server, "Fia", { room, ...CAMERA });
    const cem = await join("Chromium", server, "Cem", { room, ...NONE }, LARGE);
    await enlarge(cem, "Fia");
    const answered = await fia.evaluate(() => window.connections.at(-1).remoteDescription.sdp);
    const layers = answered.split("\r\n").filter((line) => /^a=(rid|simulcast):/.test(line)).sort();
    assert.deepEqual(layers, ["a=rid:f recv", "a=rid:h recv", "a=rid:q recv", "a=simulcast:recv q;h;f"]);

    const sees = async (lines) => {
      const { ms } = await until(`${lines} lines`, decodes(cem, lines), isAt, PATIENCE);
      t.diagnostic(`${lines} lines after ${Math.round(ms)} ms`);
    };
    await sees(720);
    t.diagnostic(`the middle one is not sent after ${Math.round(await onlySends(fia, [true, false, true]))} ms`);
    await cem.setViewportSize(MEDIUM);
    await sees(360);
    await cem.setViewportSize(SMALL);
    await sees(180);
    t.diagnostic(`only the small one is sent after ${Math.round(await onlySends(fia, [true, false, false]))} ms`);
    await cem.keyboard.press("s");
    const words = await until("the figures", () => figuresOf(cem, "Fia"), (text) => /layer 0 180p/.test(text));
    assert.match(words.found, /its place on the screen needs no more \(size_hint\)/);

    // Two viewers at once, each with its own, one of them in Firefox as well.
    const max = await join("Firefox", server, "Max", { room, ...NONE }, LARGE);
    await enlarge(max, "Fia");
    await until("720 lines for one", decodes(max, 720), isAt, PATIENCE);
    const { decoded } = await arriving(cem);
    const more = (now) => isAt(now) && now.decoded > decoded + 10;
    await until("180 lines for the other, which go on", decodes(cem, 180), more, PATIENCE);
    await leaveAll(max, cem);
    t.diagnostic(`nothing is sent after ${Math.round(await onlySends(fia, [false, false, false]))} ms`);

    const late = await join("Chromium", server, "Lea", { room, ...NONE }, LARGE);
    await enlarge(late, "Fia");
    await until("720 lines for somebody who comes late", decodes(late, 720), isAt, PATIENCE);
    await leaveAll(late, fia);
  });

  test("no more than --max-viewer-height 180 allows", { timeout: 90_000 }, async (t) => {
    const { cem, close } = await capped(t, "--max-viewer-height", "180");
    await until("180 lines", decodes(cem, 180), isAt, PATIENCE);
    const { decoded } = await arriving(cem);
    const later = await until("180 lines go on", decodes(cem, 180), (now) => now.decoded > decoded + 30, PATIENCE);
    assert.equal(later.found.height, 180);
    await close();
  });

  test("a picture within --max-viewer-bitrate 400000", { timeout: 90_000, ...IN_FULL }, async (t) => {
    const { cem, close } = await capped(t, "--max-viewer-bitrate", String(MAX_BITRATE));
    const counted = async () => {
      const first = await arriving(cem);
      await new Promise((resolve) => setTimeout(resolve, COUNTED_MS));
      const second = await arriving(cem);
      if (!first) return null;
      const bitrate = Math.round(((second.bytes - first.bytes) * 8_000) / (second.at - first.at));
      return { bitrate, lines: second.height, pictures: second.decoded - first.decoded };
    };
    // A stream may be a little more than it is measured to be.
    const isWithin = (found) => found && found.pictures > 10 && found.lines < 720 && found.bitrate < MAX_BITRATE * 1.2;
    // An encoding that begins grows for seconds, and until it has come once nobody knows that it is too much: a picture
    // that was within the limit may leave it once more. Then it stays.
    let inTurn = 0;
    const steady = async () => {
      const found = await counted();
      inTurn = isWithin(found) ? inTurn + 1 : 0;
      return { ...found, inTurn };
    };
    const { found } = await until("a picture that stays within the limit", steady, (now) => now.inTurn === 3, PATIENCE);
    t.diagnostic(JSON.stringify(found));
    await close();
  });
});

/** A server with a limit, a publisher in Firefox whose picture is hard to encode, and a viewer in Chromium. */
async function capped(t, ...limit) {
  const server = await startServer(() => limit);
  t.after(() => server.stop());
  const room = newRoom();
  const fia = await join("Firefox", server, "Fia", { room, ...CAMERA }, SMALL, grainyCamera);
  const cem = await join("Chromium", server, "Cem", { room, ...NONE }, LARGE);
  await enlarge(cem, "Fia");
  return { cem, close: () => leaveAll(cem, fia) };
}

/** Runs in the page. The fake camera shows one colour, which fits into any limit in any size. */
function grainyCamera() {
  // The empty page before has no devices.
  if (!navigator.mediaDevices) return;
  navigator.mediaDevices.getUserMedia = async () => {
    const [canvas, grain] = [[1280, 720], [1344, 784]].map(([width, height]) => Object.assign(document.createElement("canvas"), { width, height }));
    const [context, dust] = [canvas, grain].map((each) => each.getContext("2d"));
    const pixels = dust.createImageData(1344, 784);
    for (let at = 0; at < pixels.data.length; at += 1) pixels.data[at] = at % 4 === 3 ? 60 : Math.random() * 256;
    dust.putImageData(pixels, 0, 0);
    setInterval(() => {
      context.fillStyle = "#57a";
      context.fillRect(0, 0, 1280, 720);
      // Grain takes many bits; in a picture a quarter as large little of it is left.
      context.drawImage(grain, -Math.random() * 64, -Math.random() * 64);
    }, 100);
    return canvas.captureStream(10);
  };
}
