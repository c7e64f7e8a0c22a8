/**
 * Calls whose network changes: media is cut alone, the address is another one, Wi-Fi becomes mobile, the laptop sleeps.
 * Each case tells within which time messages and media are back; ids, mutes, choices, layout and permissions stay.
 *
 * The times that are promised come from these: a connection that is silent is doubted after half a second, and a path
 * after a second and a half (`pulse.js`); Chromium knows of another network up to two seconds later; a picture begins with
 * a keyframe. `TERTULIA_LONG=1` asserts these times, and adds more changes and longer faults, after which the server has
 * given up the transport or the participant.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { launch, SLOW_CAMERA } from "./chromium.mjs";
import { checkTime, IN_FULL, isLong } from "./extent.mjs";
import { startWithKeys } from "./keyed-server.mjs";
import { Laptop } from "./laptop.mjs";
import { address, runInside } from "./network.mjs";
import { NetworkCall } from "./network-call.mjs";

/** Milliseconds until messages reach the server over another network. */
const RESUMED_MS = 2_000;
/** Milliseconds until media is back after the fault. */
const MEDIA_MS = { cut: 3_000, changed: 5_000, slept: 3_000 };
/** Seconds that the second server waits for those who are away. */
const SHORT_GRACE = 2;

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

if (address === null) {
  await runInside(import.meta.url, { asRoot: true });
} else {
  /** @type {Laptop} */
  let laptop;
  const servers = {};
  const browsers = {};
  let rooms = 0;
  /** @type {NetworkCall | null} */
  let call = null;

  before(async () => {
    laptop = await Laptop.start();
    laptop.addLink("wifi", "198.51.100.1");
    laptop.addLink("mobile", "203.0.113.1");
    laptop.bringUp("wifi", "198.51.100.10");
    // What is cut here is UDP, and nothing is to take its place.
    const udpAlone = ["--media-ip", address, "--ice-tcp=false", "--turn=false"];
    servers.usual = await startWithKeys({ host: address, flags: udpAlone });
    servers.hasty = await startWithKeys({ host: address, flags: [...udpAlone, "--reconnect-grace", String(SHORT_GRACE)] });
    const origins = Object.values(servers).map(({ server }) => new URL(server.url).origin);
    // Cameras are for secure origins.
    const flags = { ...SLOW_CAMERA, also: [...SLOW_CAMERA.also, `--unsafely-treat-insecure-origin-as-secure=${origins.join(",")}`] };
    browsers.near = await launch(flags);
    browsers.far = await laptop.launch(flags);
  });

  after(async () => {
    for (const browser of Object.values(browsers)) await browser.close();
    for (const server of Object.values(servers)) await server.stop();
    await laptop?.stop();
  });

  afterEach(async () => {
    laptop.wake();
    await call?.close();
    call = null;
  });

  /** @param {"herself" | "a moderator" | "nobody"} mutedBy who has muted Ana's microphone */
  async function inCall(mutedBy, keyed = servers.usual) {
    call = await NetworkCall.start({ ...browsers, keyed, room: `network-${(rooms += 1)}`, mutedBy });
    return call;
  }

  /**
   * Times of a change of network that is over: messages are resumed, media has another path of the same transport.
   *
   * @param {import("node:test").TestContext} t
   * @param {number} since
   * @param {number} end
   */
  async function checkChanged(t, since, end) {
    const resumed = (await call.resumedAfter(since)) - (end - since);
    const media = await call.mediaAgain(since, end);
    const { transports, restarts } = await call.repairs();
    const events = (await call.told("ana", since)).map(({ name }) => name).filter((name) => /^(on|off)line$/.test(name));
    t.diagnostic(`messages after ${resumed} ms, media after ${media.ms} ms (${media.each}), ${restarts} ICE restarts, events: ${events.join(", ") || "none"}`);
    await call.check({ since });
    assert.equal(transports, 1);
    assert.ok(restarts >= 1);
    assert.ok(call.said(since).includes("resume"));
    checkTime(t, "messages are back", resumed, RESUMED_MS);
    checkTime(t, "media is back", media.ms, MEDIA_MS.changed);
  }

  /**
   * Seconds, and the most transports: while no media gets through, the page gives a transport up 23 s after the cut, and
   * each further one after 15 s.
   */
  const cuts = [[10, 1], ...(isLong ? [[40, 3]] : [])];
  for (const [seconds, most] of cuts) {
    test(`media that is cut for ${seconds} s, while messages go through, comes back by itself`, async (t) => {
      await inCall("nobody");
      const since = await call.begin();
      laptop.cut("udp");
      const end = since + seconds * 1_000;
      await call.ana.locator('.link-state[data-state="interrupted"]').waitFor();
      await call.ben.locator(".tile.person", { hasText: "Ana" }).locator(".note:not([hidden])", { hasText: "nothing comes from its sender" }).waitFor();
      await wait((end - Date.now()) / 1_000);
      assert.equal(await call.ben.evaluate(() => document.querySelectorAll(".tile.away").length), 0, "messages go through");
      laptop.mend();
      const mended = Date.now();
      const media = await call.mediaAgain(since, mended);
      const { transports, restarts } = await call.repairs();
      t.diagnostic(`media after ${media.ms} ms (${media.each}), ${restarts} ICE restarts, ${transports} transport(s)`);
      await call.check({ since, isRejoined: most > 1 });
      assert.ok(transports <= most);
      assert.ok(restarts >= 1);
      if (most === 1) assert.deepEqual([...new Set(call.said(since))], ["offer"], "nothing but ICE restarts");
      checkTime(t, "media is back", media.ms, MEDIA_MS.cut);
    });
  }

  test("an address that is replaced by another one", async (t) => {
    await inCall("herself");
    const since = await call.begin();
    laptop.renumber("wifi", "198.51.100.11");
    await checkChanged(t, since, Date.now());
  });

  test("a link that goes down and comes up with another address", IN_FULL, async (t) => {
    await inCall("a moderator");
    const since = await call.begin();
    laptop.takeDown("wifi");
    await call.ana.waitForFunction(() => !navigator.onLine);
    await wait(1);
    laptop.bringUp("wifi", "198.51.100.12");
    await checkChanged(t, since, Date.now());
  });

  test("Wi-Fi that goes when mobile is there already, and comes back", async (t) => {
    await inCall("nobody");
    laptop.bringUp("mobile", "203.0.113.10");
    // Chromium has seen it.
    await wait(3);
    let since = await call.begin();
    laptop.takeDown("wifi");
    await checkChanged(t, since, Date.now());
    laptop.bringUp("wifi", "198.51.100.10");
    await wait(3);
    since = await call.begin();
    laptop.takeDown("mobile");
    await checkChanged(t, since, Date.now());
  });

  test("Wi-Fi that goes before mobile is there", IN_FULL, async (t) => {
    await inCall("herself");
    const since = await call.begin();
    laptop.takeDown("wifi");
    await wait(0.5);
    laptop.bringUp("mobile", "203.0.113.10");
    try {
      await checkChanged(t, since, Date.now());
    } finally {
      laptop.bringUp("wifi", "198.51.100.10");
      laptop.takeDown("mobile");
    }
  });

  /** The server hears nothing for 15 s before somebody is away, and has nobody's consent after 30 s. */
  const sleeps = [["herself", 20, 1], ...(isLong ? [["a moderator", 35, 2]] : [])];
  for (const [mutedBy, seconds, transports] of sleeps) {
    test(`a laptop that sleeps for ${seconds} s goes on where it was`, async (t) => {
      await inCall(mutedBy);
      const since = await call.begin();
      laptop.sleep();
      await call.ben.waitForSelector(".tile.away .plate-away:not([hidden])", { timeout: 25_000 });
      await wait((since + seconds * 1_000 - Date.now()) / 1_000);
      laptop.wake();
      const end = Date.now();
      const resumed = await call.resumedAfter(end);
      const media = await call.mediaAgain(since, end);
      const repairs = await call.repairs();
      t.diagnostic(`messages after ${resumed} ms, media after ${media.ms} ms (${media.each}), ${repairs.transports} transport(s), ${repairs.restarts} ICE restarts`);
      await call.check({ since, isRejoined: transports > 1 });
      await call.checkNobodyMoved(since);
      const presence = (await call.told("ben", since)).filter(({ name }) => name === "presenceChanged").map(({ detail }) => detail.isConnected);
      assert.deepEqual(presence, [false, true], "the others see her away and back");
      assert.ok(repairs.transports <= transports);
      checkTime(t, "messages are back", resumed, RESUMED_MS);
      checkTime(t, "media is back", media.ms, MEDIA_MS.slept);
    });
  }

  test("a laptop that sleeps for longer than the server waits joins again as who it was", IN_FULL, async (t) => {
    await inCall("herself", servers.hasty);
    const since = await call.begin();
    laptop.sleep();
    await call.ben.waitForFunction(() => window.told.some(({ name }) => name === "participantLeft"), null, { timeout: 40_000 });
    await wait(1);
    laptop.wake();
    const end = Date.now();
    const media = await call.mediaAgain(since, end);
    t.diagnostic(`media after ${media.ms} ms (${media.each})`);
    await call.check({ since, isRejoined: true });
    const told = (await call.told("cleo", since)).filter(({ name }) => /^participant/.test(name)).map(({ name }) => name);
    assert.deepEqual(told, ["participantLeft", "participantJoined"]);
    checkTime(t, "media is back", media.ms, MEDIA_MS.slept);
  });
}
