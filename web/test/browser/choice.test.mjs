/** Views that a page reports, and its display of the server's decisions, against a server without media. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { FakeServer } from "./fake-server.mjs";

const PATIENCE = { timeout: 20_000 };

let server;
let browser;
let page;

before(async () => void (browser = await launch()));
after(() => browser?.close());
beforeEach(async () => void (server = await FakeServer.start()));
afterEach(async () => {
  await page?.context().close();
  await server.stop();
});

/** Keeps every peer connection, so that a test can look into its senders. */
function keepConnections() {
  const { RTCPeerConnection } = window;
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(config) {
      super(config);
      window.connections.push(this);
    }
  };
}

async function inCall(more = {}, options = {}) {
  page = await openPage(browser, "about:blank", options);
  await page.addInitScript(keepConnections);
  await page.goto(autojoin(server.url, "Zoe", more));
  await page.waitForSelector(".call .tile.own", PATIENCE);
  return [...server.participants.values()].find(({ name }) => name === "Zoe");
}

async function until(what, condition) {
  const deadline = Date.now() + PATIENCE.timeout;
  while (!condition()) {
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const cameraOf = (guest) => guest.tracks.find(({ source }) => source === "camera").id;
const tileOf = (guest) => page.locator(`[data-tile="${guest.id}"]`);

test("tiles are told with their size in the screen's own pixels, and anew when it changes", async () => {
  const ben = server.addGuest("Ben");
  const zoe = await inCall({}, { viewport: { width: 1000, height: 640 }, deviceScaleFactor: 2 });
  const lines = () => zoe.views.get(cameraOf(ben))?.height ?? 0;
  await until("the first view", () => lines() > 0);
  assert.equal(zoe.views.size, 1, "nothing of our own, nothing of sound");
  /** The picture fills the tile: as many lines as make it wide enough. */
  const needed = async () => {
    const { width, height } = await tileOf(ben).boundingBox();
    return 2 * Math.max(height, (width * 9) / 16);
  };
  const isRight = async () => Math.abs(lines() - (await needed())) <= 4;
  while (!(await isRight())) await page.waitForTimeout(50);
  const before = lines();
  for (let number = 0; number < 8; number += 1) server.addGuest(`Guest ${number}`);
  await until("smaller tiles", () => lines() < before * 0.7);
  await page.setViewportSize({ width: 500, height: 400 });
  await until("a smaller window", () => lines() < before * 0.4);
  assert.ok([...zoe.views.values()].every(({ visible, pinned }) => visible && !pinned));
  await tileOf(ben).hover();
  await tileOf(ben).locator(".enlarge").click();
  await until("a pinned tile", () => zoe.views.get(cameraOf(ben)).pinned);
  assert.deepEqual(page.complaints, []);
});

test("what nobody sees is told: a hidden page, a panel over the tiles, a window without room", async () => {
  const ben = server.addGuest("Ben");
  const zoe = await inCall({}, { viewport: { width: 420, height: 700 } });
  const visible = () => zoe.views.get(cameraOf(ben))?.visible;
  await until("visible at first", () => visible() === true);
  const hide = (hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  await page.evaluate(hide, true);
  await until("hidden with the page", () => visible() === false);
  await page.evaluate(hide, false);
  await until("visible with the page", () => visible() === true);
  // On a narrow window the chat lies over everything.
  await page.click('[data-control="chat"]');
  await until("hidden under the chat", () => visible() === false);
  await page.keyboard.press("Escape");
  await until("visible without the chat", () => visible() === true);
});

test("a new server is told again, and a shared screen as well", async () => {
  await inCall();
  await server.stop();
  server = await FakeServer.start(server.port);
  const ben = server.addGuest("Ben", { screen: true });
  await until("back", () => server.participants.size === 2);
  const zoe = [...server.participants.values()].find(({ name }) => name === "Zoe");
  const screen = ben.tracks.find(({ source }) => source === "screen").id;
  await until("both pictures", () => zoe.views.size === 2);
  await until("the screen is large", () => zoe.views.get(screen).height > 1.2 * zoe.views.get(cameraOf(ben)).height);
});

test("encodings nobody wants go off at the sender, and on again", async () => {
  const zoe = await inCall({ video: "720p" });
  await until("a camera", () => zoe.tracks.some(({ source }) => source === "camera"));
  const track = zoe.tracks.find(({ source }) => source === "camera").id;
  const encodings = () =>
    page.evaluate(() => {
      const [sender] = window.connections.at(-1).getSenders().filter((each) => each.track?.kind === "video");
      return sender.getParameters().encodings.map(({ rid, active, maxBitrate }) => [rid, active, maxBitrate]);
    });
  const before = await encodings();
  assert.deepEqual(before.map(([rid, active]) => [rid, active]), [["q", true], ["h", true], ["f", true]]);
  for (const wanted of [[true, false, false], [false, false, false], [true, true, false], [true, true, true]]) {
    const layers = ["q", "h", "f"].map((rid, index) => ({ rid, active: wanted[index] }));
    // The last word counts, however fast it comes.
    server.tell(zoe, { type: "layers", track, layers: layers.map((layer) => ({ ...layer, active: !layer.active })) });
    server.tell(zoe, { type: "layers", track, layers });
    const expected = before.map(([rid, , maxBitrate], index) => [rid, wanted[index], maxBitrate]);
    await assert.doesNotReject(async () => {
      const deadline = Date.now() + 10_000;
      while (JSON.stringify(await encodings()) !== JSON.stringify(expected)) {
        if (Date.now() > deadline) throw new Error(JSON.stringify(await encodings()));
        await page.waitForTimeout(20);
      }
    });
  }
  assert.deepEqual(page.complaints, []);
});

test("a camera is sent in the codec and the layers of the address", async () => {
  for (const [codec, svc, encodings] of [["VP9", "L3T3_KEY", 1], ["AV1", "L1T3", 1], ["H264", "", 3]]) {
    const zoe = await inCall({ video: "720p", codec, ...(svc && { svc }) });
    await until("a camera", () => zoe.tracks.some(({ source }) => source === "camera"));
    const sent = await page.evaluate(() => {
      const [transceiver] = window.connections.at(-1).getTransceivers().filter(({ sender }) => sender.track?.kind === "video");
      const section = window.connections.at(-1).localDescription.sdp.split(/(?=^m=)/m).find((each) => /^m=video/.test(each) && /a=sendonly/.test(each));
      const first = /^m=video \d+ \S+ (\d+)/.exec(section)[1];
      const name = new RegExp(`^a=rtpmap:${first} (\\w+)/`, "m").exec(section)[1];
      const { encodings: all } = transceiver.sender.getParameters();
      return { name, encodings: all.length, mode: all[0].scalabilityMode };
    });
    assert.deepEqual(sent, { name: codec, encodings, mode: svc || undefined });
    await page.context().close();
  }
});

test("a paused tile says why, in words", async () => {
  const ben = server.addGuest("Ben", { screen: true });
  const zoe = await inCall();
  await tileOf(ben).waitFor(PATIENCE);
  const say = (track, reason, paused = true) => {
    const layer = paused ? null : 0;
    server.tell(zoe, { type: "subscriptions", subscriptions: [{ track, layer, temporal: layer, paused, reason }] });
  };
  const note = (text) => tileOf(ben).locator(".note", { hasText: text }).waitFor(PATIENCE);
  say(cameraOf(ben), "bandwidth");
  await note("paused: your connection is too slow");
  assert.match(await tileOf(ben).getAttribute("aria-label"), /your connection is too slow/);
  say(cameraOf(ben), "last_n");
  await note("others spoke more recently");
  say(cameraOf(ben), "bandwidth", false);
  await note("connecting…");
  say(cameraOf(ben), "cap");
  await note("paused: the server’s limit is reached");
  // The face of a camera that is off says enough.
  server.setMuted(ben, "camera", true);
  await page.locator('.tile[aria-label="Ben, camera off"]').waitFor(PATIENCE);
  say(cameraOf(ben), "muted");
  await page.waitForTimeout(200);
  assert.equal(await tileOf(ben).locator(".note").isVisible(), false);
  const screen = ben.tracks.find(({ source }) => source === "screen").id;
  say(screen, "bandwidth");
  await page.locator(`[data-tile="${screen}"] .note`, { hasText: "too slow" }).waitFor(PATIENCE);
});

test("who speaks is marked and comes to the front", async () => {
  const guests = Array.from({ length: 9 }, (_, number) => server.addGuest(`Guest ${number}`));
  const zoe = await inCall();
  await tileOf(guests[8]).waitFor(PATIENCE);
  const place = async (guest) => (await tileOf(guest).boundingBox()).y;
  for (const guest of guests) await tileOf(guest).waitFor(PATIENCE);
  // Where it stays once all tiles have found their places.
  const settled = async (last) => {
    await page.waitForTimeout(300);
    const now = await place(guests[8]);
    return now === last ? now : settled(now);
  };
  const before = await settled(await place(guests[8]));
  server.tell(zoe, { type: "speakers", recent: [guests[8].id, guests[0].id], speaking: 1 });
  await page.waitForSelector(`[data-tile="${guests[8].id}"].active.speaking`, PATIENCE);
  const until = Date.now() + PATIENCE.timeout;
  while ((await place(guests[8])) >= before) {
    assert.ok(Date.now() < until, "it does not come further up");
    await page.waitForTimeout(50);
  }
  server.tell(zoe, { type: "speakers", recent: [zoe.id, guests[8].id], speaking: 0 });
  await page.waitForSelector(`[data-tile="${guests[8].id}"]:not(.active)`, PATIENCE);
  server.tell(zoe, { type: "speakers", recent: [zoe.id], speaking: 1 });
  await page.waitForSelector(".tile.own.active", PATIENCE);
});

test("the figures tell what was decided, why, and what becomes of it", async () => {
  const ben = server.addGuest("Ben");
  const track = cameraOf(ben);
  server.stats = {
    connected: true,
    remote_addr: null,
    path: null,
    srtp_profile: null,
    rtt_ms: 61.2,
    bandwidth: {
      estimate: 480_000, limited_by: "delay", desired: 2_000_000, allocated: 420_000, sent: 430_000, acknowledged: 425_000,
      loss: 0.01, queued_bytes: 0, queued_ms: 0, probes: 3,
    },
    published: [],
    subscriptions: [
      {
        track, mid: null, layer: 1, temporal: 2, target: 1, reason: "bandwidth", allocated: 400_000, bitrate: 390_000,
        keyframe_requests: 4, packets: 100, bytes: 1000, nacks_received: 12, retransmitted: 11, fraction_lost: 0.05,
      },
    ],
  };
  const at = (at_ms, layer, reason) => ({ at_ms, track, layer, temporal: null, reason, estimate: 480_000 });
  server.decisions = [at(10_000, 2, "best"), at(40_000, null, "bandwidth"), at(55_000, 1, "bandwidth")];
  await inCall();
  await tileOf(ben).waitFor(PATIENCE);
  await page.keyboard.press("s");
  const figures = tileOf(ben).locator(".figures");
  await figures.locator(".strip i").first().waitFor(PATIENCE);
  const text = await figures.innerText();
  for (const part of [
    "layer 1 T2 · target 1", "your connection is too slow (bandwidth)", "estimate 480 kbit/s (delay)",
    "allocated 400 kbit/s of 420 kbit/s", "loss 5.0 %", "RTT 61 ms", "NACK 12", "RTX 11", "keyframes 4",
    "−5 s layer 1: your connection is too slow; the link could carry 480 kbit/s", "−20 s paused",
  ]) {
    assert.ok(text.includes(part), `${part} in ${text}`);
  }
  assert.equal(await figures.locator(".strip i").count(), 3);
  assert.deepEqual(page.complaints, []);
});
