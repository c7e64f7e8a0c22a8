/** Layers as real Chromium sends and decodes them, through the real server: what a screen shows is what is sent. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { SLOW_CAMERA, autojoin, launch, openPage } from "./chromium.mjs";
import { checkTime } from "./extent.mjs";
import { Server } from "./server.mjs";
import { arriving, decodes, enlarge, figuresOf, isAt, keepConnections, sending, until } from "./watching.mjs";

/** Small enough to need but the lowest layer, and large enough for the highest. */
const SMALL = { width: 400, height: 330 };
const LARGE = { width: 1500, height: 1000 };

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

let rooms = 0;
/** A room with one camera, Ana's. */
async function publishing(more = {}) {
  const room = `adaptive-${process.pid}-${(rooms += 1)}`;
  const ana = await openPage(browser, "about:blank", { viewport: SMALL });
  await ana.addInitScript(keepConnections);
  await ana.goto(autojoin(server.url, "Ana", { room, video: "720p", mic: "0", ...more }));
  await ana.waitForSelector(".call .tile.own.moving", { timeout: 20_000 });
  const watch = (name, viewport) =>
    openPage(browser, autojoin(server.url, name, { room, camera: "0", mic: "0" }), { viewport });
  return { ana, watch };
}

for (const { codec, svc } of [{ codec: "VP8" }, { codec: "H264" }, { codec: "VP9", svc: "L3T3_KEY" }, { codec: "AV1", svc: "L3T3_KEY" }]) {
  test(`${codec} ${svc ?? "simulcast"}: a small tile gets the small layer, a large one the large`, { timeout: 120_000 }, async (t) => {
    const { ana, watch } = await publishing({ codec, ...(svc && { svc }) });
    const large = await watch("Large", LARGE);
    await enlarge(large);
    const small = await watch("Small", SMALL);
    const { found, ms } = await until(`${codec}: 180 lines in a small tile`, decodes(small, 180), isAt);
    t.diagnostic(`180 lines after ${Math.round(ms)} ms, ${found.codec}`);
    assert.match(found.codec, new RegExp(codec));
    const top = await until(`${codec}: 720 lines in a large tile`, decodes(large, 720), isAt, { timeout: 40_000 });
    t.diagnostic(`720 lines after ${Math.round(top.ms)} ms`);
    // The large one takes nothing from the small one, and each goes on.
    const again = await until(`${codec}: still 180 lines`, decodes(small, 180), (now) => isAt(now) && now.decoded > found.decoded + 10);
    assert.equal(again.found.height, 180);
    await small.keyboard.press("s");
    const words = await until("the figures", () => figuresOf(small, "Ana"), (text) => /layer 0 180p/.test(text));
    assert.match(words.found, /its place on the screen needs no more \(size_hint\)/);
    // It goes up again when there is room.
    await small.setViewportSize(LARGE);
    await enlarge(small);
    const up = await until(`${codec}: 720 lines in an enlarged tile`, decodes(small, 720), isAt, { timeout: 40_000 });
    t.diagnostic(`720 lines ${Math.round(up.ms)} ms after enlarging`);
    for (const page of [ana, small, large]) {
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    }
  });
}

test("encodings nobody sees are off within two seconds, and back with a keyframe", { timeout: 120_000 }, async (t) => {
  const { ana, watch } = await publishing();
  const ben = await watch("Ben", LARGE);
  await enlarge(ben);
  await until("720 lines", decodes(ben, 720), isAt, { timeout: 40_000 });
  const active = async () => (await sending(ana)).map((encoding) => encoding.active);
  const are = (...wanted) => (found) => wanted.every((each, index) => found[index] === each);
  const off = await until("the middle one is nobody's", active, are(true, false, true), { timeout: 5_000 });
  t.diagnostic(`middle encoding off after ${Math.round(off.ms)} ms`);

  // A small window: the large ones are nobody's.
  await ben.setViewportSize(SMALL);
  const small = await until("one encoding", active, are(true, false, false), { timeout: 10_000, every: 50 });
  t.diagnostic(`large encodings off ${Math.round(small.ms)} ms after the window shrank`);
  checkTime(t, "large encodings are off", small.ms, 2_000 + 1_000);
  const before = await sending(ana);
  await ana.waitForTimeout(1_500);
  const later = await sending(ana);
  // A frame may be in the encoder as its encoding is switched off.
  assert.ok(later[2].frames - before[2].frames <= 1, `what nobody sees is encoded: ${later[2].frames - before[2].frames}`);
  assert.ok(later[0].frames > before[0].frames, "what is seen goes on");

  // A hidden page sees nothing at all.
  const hide = (hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  await ben.evaluate(hide, true);
  const none = await until("no encoding", active, are(false, false, false), { timeout: 10_000, every: 50 });
  t.diagnostic(`all encodings off ${Math.round(none.ms)} ms after the page was hidden`);
  checkTime(t, "all encodings are off", none.ms, 2_000);

  await ben.evaluate(hide, false);
  const { decoded } = await arriving(ben);
  const back = await until("the picture is back", () => arriving(ben), (now) => now.decoded > decoded, { every: 20 });
  t.diagnostic(`a picture ${Math.round(back.ms)} ms after the page was shown`);
  await ben.setViewportSize(LARGE);
  const top = await until("720 lines again", decodes(ben, 720), isAt, { timeout: 40_000, every: 20 });
  t.diagnostic(`720 lines ${Math.round(top.ms)} ms after the window grew`);
  for (const page of [ana, ben]) {
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }
});
