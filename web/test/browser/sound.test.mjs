/**
 * Sound over a link that loses packets, as real Chromium hears it: it is sent again to who is near and twice to who
 * is far away, and to nobody else.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { IN_FULL } from "./extent.mjs";
import { until } from "./watching.mjs";
import { startWithWeakLink } from "./weak-link.mjs";

const ROOM = `sound-${process.pid}`;
const WEAK = "Cleo";
const STRONG = "Ben";
const LOST = 0.05;
/**
 * Largest concealed share of the audio. A packet and its repair are both lost once in 400 times; the rest is this
 * machine's.
 */
const CONCEALED = 0.025;

let server;
let browser;
/** @type {Record<string, import("playwright-core").Page>} */
const pages = {};

before(async () => {
  server = await startWithWeakLink(WEAK);
  browser = await launch();
  pages.Ana = await openPage(browser, autojoin(server.url, "Ana", { room: ROOM, camera: "0" }));
  for (const name of [WEAK, STRONG]) pages[name] = await openPage(browser, autojoin(server.url, name, { room: ROOM, camera: "0", mic: "0" }));
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The audio received of Ana, and the server's view of it. */
const heard = (name) => () =>
  pages[name].evaluate(async () => {
    const report = await window.tertulia.getStats();
    const entries = [...(report?.values() ?? [])].filter(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
    const { concealedSamples: concealed = 0, totalSamplesReceived: samples = 0, codecId, nackCount: nacks = 0 } = entries[0] ?? {};
    const server = await window.tertulia.serverStats().catch(() => null);
    const { redundant = 0, retransmitted = 0 } = server?.subscriptions[0] ?? {};
    const codec = report?.get(codecId)?.mimeType;
    return { concealed, samples, codec, nacks, redundancy: server?.bandwidth.redundancy, redundant, retransmitted };
  });

test("who loses nothing is sent sound once", { timeout: 60_000 }, async (t) => {
  for (const name of [WEAK, STRONG]) {
    const { found } = await until(`sound at ${name}`, heard(name), ({ samples }) => samples > 48_000, { timeout: 30_000 });
    t.diagnostic(`${name}: ${JSON.stringify(found)}`);
    assert.equal(found.redundant, 0);
  }
});

/** Listens for a while to what comes over the weak link: what has come until then, and what since. */
async function listen(t, began) {
  // It conceals what it has not yet learned to wait for.
  await pages[WEAK].waitForTimeout(3_000);
  const before = await heard(WEAK)();
  await pages[WEAK].waitForTimeout(15_000);
  const now = await heard(WEAK)();
  const concealed = (now.concealed - before.concealed) / (now.samples - before.samples);
  t.diagnostic(`after ${Math.round(began.ms)} ms ${(concealed * 100).toFixed(2)} % concealed: ${JSON.stringify(now)}`);
  assert.ok(concealed < CONCEALED, `${(concealed * 100).toFixed(2)} % of the sound is missing`);
  return { before, now };
}

test("who loses one packet in twenty and is near is sent it again", { timeout: 90_000 }, async (t) => {
  server.say(`down loss=${LOST * 100}% delay=20ms`);
  const began = await until("repairs", heard(WEAK), ({ redundancy }) => redundancy === "retransmission", { timeout: 40_000 });
  const { before, now } = await listen(t, began);
  assert.ok(now.retransmitted > before.retransmitted, "nothing was sent again");
  assert.equal(now.redundant, 0);
});

test("who loses as much and is far away is sent it twice", { timeout: 120_000, ...IN_FULL }, async (t) => {
  server.say(`down loss=${LOST * 100}% delay=200ms`);
  const began = await until("copies", heard(WEAK), ({ redundancy, redundant }) => redundancy === "sent" && redundant > 50, { timeout: 80_000 });
  const { before, now } = await listen(t, began);
  assert.ok(now.redundant > before.redundant, "no copies");
});

test("the other is sent it once all the while", async () => {
  assert.equal((await heard(STRONG)()).redundant, 0);
  for (const page of Object.values(pages)) assert.deepEqual(page.complaints, []);
});
