/** A browser and headless bots in one room: two stacks that know nothing of each other, one relay. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { Server } from "./server.mjs";

const BOTS = process.env.TERTULIA_LOADTEST_BIN;
const PATIENCE = { timeout: 30_000 };
const ROOM = `bots-${process.pid}`;
const videos = ".tile.person:not(.own).has-picture.moving";

let server;
let browser;

before(async () => {
  if (!BOTS) throw new Error("Set TERTULIA_LOADTEST_BIN to the bots' binary.");
  server = await Server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test("a page sees and hears two bots, and the bots receive the page", async () => {
  const page = await openPage(browser, autojoin(server.url, "Ana", { room: ROOM }));
  await page.waitForFunction(() => window.tertulia?.mediaState === "connected", null, PATIENCE);
  const bots = spawnBots(["--publishers", "2", "--subscribers", "0", "--video", "180p", "--audio", "--duration", "12s"]);
  await page.waitForFunction((selector) => document.querySelectorAll(selector).length === 2, videos, PATIENCE);
  await page.waitForFunction(
    async () => {
      const inbound = [];
      (await window.tertulia.getStats()).forEach((entry) => entry.type === "inbound-rtp" && inbound.push(entry));
      const seen = inbound.filter(({ kind, framesDecoded }) => kind === "video" && framesDecoded > 30);
      const heard = inbound.filter(({ kind, totalAudioEnergy }) => kind === "audio" && totalAudioEnergy > 0);
      return seen.length >= 2 && heard.length >= 2;
    },
    null,
    { ...PATIENCE, polling: 250 },
  );
  const { code, report, text } = await bots;
  assert.equal(code, 0, text);
  assert.equal(report.joined, 2);
  assert.equal(report.oracle_violations, 0);
  assert.equal(report.tracks_receiving, report.tracks_expected);
  assert.equal(report.foreign_tracks_receiving, 4, "camera and microphone of the page, at both bots");
  await page.waitForFunction(() => document.querySelectorAll(".tile").length === 1, null, PATIENCE);
  assert.deepEqual(page.complaints, []);
});

async function spawnBots(options) {
  const room = ["run", "--url", server.url.replace(/\/$/, ""), "--room", ROOM, "--json", "-", "--quiet"];
  const child = spawn(BOTS, [...room, ...options], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  let complaints = "";
  child.stdout.on("data", (piece) => (text += piece));
  child.stderr.on("data", (piece) => (complaints += piece));
  const [code] = await once(child, "close");
  return { code, report: JSON.parse(text || "{}"), text: text + complaints };
}
