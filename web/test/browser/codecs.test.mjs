/** Viewers that cannot decode what a camera is sent in, as real Chromium and its page see it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { autojoin, launch, leave, openPage, SLOW_CAMERA } from "./chromium.mjs";
import { IN_FULL } from "./extent.mjs";
import { Server } from "./server.mjs";
import { arriving, keepConnections, sending, until } from "./watching.mjs";

let server;
let browser;

before(async () => {
  server = await Server.start();
  browser = await launch(SLOW_CAMERA);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A browser that decodes one video codec alone. For `addInitScript`. */
function decodeOnly(mimeType) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
    const transceiver = addTransceiver.call(this, kind, init);
    if (kind === "video" && init?.direction === "recvonly") {
      const { codecs } = RTCRtpReceiver.getCapabilities("video");
      const kept = [mimeType, "video/rtx"];
      transceiver.setCodecPreferences(codecs.filter((codec) => kept.includes(codec.mimeType.toLowerCase())));
    }
    return transceiver;
  };
}

/** A browser that encodes one video codec alone. For `addInitScript`. */
function encodeOnly(mimeType) {
  const { getCapabilities } = RTCRtpSender;
  RTCRtpSender.getCapabilities = (kind) => {
    const capabilities = getCapabilities.call(RTCRtpSender, kind);
    const kept = [mimeType, "video/rtx", "audio/opus"];
    return { ...capabilities, codecs: capabilities.codecs.filter((codec) => kept.includes(codec.mimeType.toLowerCase())) };
  };
}

let rooms = 0;
function newRoom() {
  const room = `codecs-${process.pid}-${(rooms += 1)}`;
  return async (name, { script = null, mimeType = "", ...more } = {}) => {
    const page = await openPage(browser, "about:blank");
    await page.addInitScript(keepConnections);
    if (script) await page.addInitScript(script, mimeType);
    await page.goto(autojoin(server.url, name, { room, mic: "0", ...more }));
    await page.waitForSelector(".call .tile.own", { timeout: 20_000 });
    return page;
  };
}

const watching = { camera: "0" };
const onlyVp8 = { ...watching, script: decodeOnly, mimeType: "video/vp8" };
const noteOf = (page, label) => page.locator(`.tile.person[aria-label^="${label}"] .note`);
const encodes = (page) => async () =>
  page.evaluate(async () => {
    const pc = window.connections.at(-1);
    const sender = pc.getSenders().find(({ track }) => track?.kind === "video");
    const report = await sender.getStats();
    const streams = [...report.values()].filter(({ type }) => type === "outbound-rtp");
    return streams.map(({ codecId }) => report.get(codecId)?.mimeType ?? "");
  });
const offers = (page) => page.evaluate(() => window.connections.at(-1).localDescription.sdp.match(/^o=- \d+ (\d+)/m)[1]);
const isSeen = (mimeType) => (video) => video?.codec === mimeType && video.decoded > 10;

for (const coding of [{ codec: "VP9" }, { codec: "VP9", svc: "L3T3_KEY" }, { codec: "H264" }]) {
  const was = `video/${coding.codec}`;
  test(`a camera in ${coding.codec} ${coding.svc ?? "simulcast"} goes over to VP8 for who has nothing else`, { timeout: 120_000, ...(was === "video/VP9" && !coding.svc && IN_FULL) }, async (t) => {
    const enter = newRoom();
    const ana = await enter("Ana", { video: "360p", ...coding });
    const ben = await enter("Ben", watching);
    await until(`Ben sees ${was}`, () => arriving(ben), isSeen(was), { timeout: 30_000 });
    const cleo = await enter("Cleo", onlyVp8);
    const seen = await until("Cleo sees VP8", () => arriving(cleo), isSeen("video/VP8"), { timeout: 30_000 });
    t.diagnostic(`the first VP8 pictures ${Math.round(seen.ms)} ms after Cleo came`);
    const codecs = await encodes(ana)();
    assert.ok(codecs.length > 0 && codecs.every((codec) => codec === "video/VP8"), codecs.join());
    const before = await arriving(ben);
    await until("Ben goes on in VP8", () => arriving(ben), (video) => video.codec === "video/VP8" && video.decoded > before.decoded + 10);
    assert.equal(await noteOf(cleo, "Ana").isVisible(), false);
    assert.equal(await noteOf(ana, "Ana").isVisible(), false);
    t.diagnostic(`encodings ${JSON.stringify(await sending(ana))}`);

    // When Cleo goes, nothing changes back, and nobody offers on and on.
    await leave(cleo);
    const last = await offers(ana);
    await ana.waitForTimeout(3_000);
    assert.equal(await offers(ana), last);
    assert.ok((await encodes(ana)()).every((codec) => codec === "video/VP8"));
    // A newcomer with a camera is answered with VP8 at once.
    const dan = await enter("Dan", { ...onlyVp8, camera: undefined, codec: "VP9", video: "180p" });
    await until("Ben sees Dan", () => arriving(ben), isSeen("video/VP8"));
    for (const page of [ana, ben, dan]) {
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    }
  });
}

test("where nothing helps, both sides say so in words", { timeout: 120_000 }, async () => {
  const enter = newRoom();
  const ana = await enter("Ana", { video: "180p", codec: "VP9", script: encodeOnly, mimeType: "video/vp9" });
  await ana.waitForSelector(".tile.own.moving", { timeout: 20_000 });
  const ben = await enter("Ben", onlyVp8);
  await noteOf(ben, "Ana").waitFor({ timeout: 10_000 });
  assert.equal(await noteOf(ben, "Ana").textContent(), "This browser cannot play this video: its format is VP9");
  await noteOf(ana, "Ana (you)").waitFor({ timeout: 10_000 });
  assert.equal(
    await noteOf(ana, "Ana (you)").textContent(),
    "Ben cannot see your video: their browser does not play its format",
  );
  // Her own picture is not dimmed, and nothing is sent for nobody.
  assert.equal(await ana.locator(".tile.own.paused").count(), 0);
  await until("no encoding", () => sending(ana), (encodings) => encodings.every(({ active }) => !active), { timeout: 10_000 });
  const stats = await ana.evaluate(() => window.tertulia.serverStats());
  assert.deepEqual(stats.published.flatMap(({ unwatchable }) => unwatchable.map(({ reason }) => reason)), ["codec_not_negotiated"]);
  const { bandwidth, subscriptions } = await ben.evaluate(() => window.tertulia.serverStats());
  assert.deepEqual([bandwidth.desired, bandwidth.allocated], [0, 0]);
  assert.deepEqual(subscriptions.map(({ layer, reason }) => [layer, reason]), [[null, "codec_not_negotiated"]]);

  // One who can is sent it.
  const cleo = await enter("Cleo", watching);
  await until("Cleo sees VP9", () => arriving(cleo), isSeen("video/VP9"), { timeout: 30_000 });
  await leave(ben);
  await noteOf(ana, "Ana (you)").waitFor({ state: "hidden", timeout: 10_000 });
  for (const page of [ana, cleo]) {
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }
});
