/** A browser and the load tester's bots, which run another WebRTC stack, in one room. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { Server } from "./server.mjs";

const ROOM = `bots-${process.pid}`;
const BOTS = { publishers: 2, subscribers: 1 };

let server;
let browser;

before(async () => {
  assert.ok(process.env.TERTULIA_LOADTEST_BIN, "Set TERTULIA_LOADTEST_BIN to the load tester's binary.");
  server = await Server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Runs bots in the room; their report when they are done. */
async function bots(duration) {
  const child = spawn(
    process.env.TERTULIA_LOADTEST_BIN,
    ["run", "--url", server.url, "--room", ROOM, "--rooms", "1", "--publishers", String(BOTS.publishers)].concat([
      "--subscribers", String(BOTS.subscribers), "--video", "180p", "--audio", "--duration", duration, "--json", "-", "--quiet",
    ]),
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let json = "";
  child.stdout.on("data", (text) => (json += text));
  const [code] = await once(child, "exit");
  return { code, report: JSON.parse(json) };
}

test("a browser and bots see and hear each other", { timeout: 120_000 }, async () => {
  const page = await openPage(browser, autojoin(server.url, "Ana", { room: ROOM }));
  const running = bots("20s");
  await page.waitForFunction(
    (count) => document.querySelectorAll(".tile.person:not(.own).has-picture.moving").length === count,
    BOTS.publishers,
    { timeout: 40_000 },
  );
  const heard = () =>
    page.evaluate(async () => {
      const entries = [...(await window.tertulia.getStats()).values()].filter((entry) => entry.type === "inbound-rtp");
      const decoded = entries.filter((entry) => entry.kind === "video").map((entry) => entry.framesDecoded ?? 0);
      const sound = entries.filter((entry) => entry.kind === "audio" && entry.totalAudioEnergy > 0).length;
      return { decoded: decoded.filter((frames) => frames > 30).length, sound };
    });
  await assert.doesNotReject(async () => {
    const deadline = Date.now() + 30_000;
    for (;;) {
      const { decoded, sound } = await heard();
      if (decoded === BOTS.publishers && sound === BOTS.publishers) return;
      if (Date.now() > deadline) throw new Error(JSON.stringify({ decoded, sound }));
      await page.waitForTimeout(250);
    }
  });
  const { code, report } = await running;
  assert.equal(report.oracle_violations, 0, JSON.stringify(report.violation_samples));
  assert.equal(report.join_failed, 0, JSON.stringify(report.failures));
  // 3: all went well, but this machine was too busy for the figures to mean anything.
  assert.ok(code === 0 || code === 3, JSON.stringify(report));
  assert.ok(report.passed, JSON.stringify(report));
  // Ana's camera and microphone, at each of the bots.
  assert.equal(report.foreign_tracks_receiving, 2 * (BOTS.publishers + BOTS.subscribers));
  assert.deepEqual(page.complaints, []);
});
