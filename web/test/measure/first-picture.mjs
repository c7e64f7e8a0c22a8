/**
 * The time from the click on "Join the call" to the first picture of somebody else, in Chromium, for a newcomer whose TCP
 * and UDP take a round trip of 100 and 200 ms. The others are near the server.
 *
 *   TERTULIA_BIN=... TERTULIA_LOADTEST_BIN=... node test/measure/first-picture.mjs [TIMES] [--before BIN]
 *
 * A page is new for each time: nothing is cached but its files. Prints each time, and the medians in round trips.
 * `--before` measures the server of an earlier build first, with the page that is in it.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";

import { autojoin, launch, openPage, SLOW_CAMERA } from "../browser/chromium.mjs";
import { Impairment } from "../browser/impairment.mjs";
import { Server } from "../browser/server.mjs";
import { SlowTcp } from "../browser/slow-tcp.mjs";

const NEWCOMER = "Newcomer";
const ROUND_TRIPS_MS = [100, 200];
const PICTURE_PATIENCE_MS = 20_000;
/** The join page's own requests are over, and a connection that it opens ahead of the click stands. */
const READING_TIME_MS = 3_000;

const { values, positionals } = parseArgs({ options: { before: { type: "string" } }, allowPositionals: true });
const times = Number(positionals[0] ?? 10);
const builds = [...(values.before ? [{ name: "before", binary: values.before }] : []), { name: "now", binary: undefined }];

/** Medians in milliseconds, by build and round trip. @type {Map<string, number[]>} */
const medians = new Map();
for (const { name, binary } of builds) medians.set(name, await measure(name, binary));

const columns = [...medians].map(([name]) => ` ${name} | round trips |`);
console.log(`\nClick to first picture, medians of ${times}:\n\n| round trip |${columns.join("")}\n|---|${"---|---|".repeat(medians.size)}`);
for (const [index, roundTrip] of ROUND_TRIPS_MS.entries()) {
  const cells = [...medians.values()].map((each) => ` ${each[index].toFixed(0)} ms | ${(each[index] / roundTrip).toFixed(1)} |`);
  console.log(`| ${roundTrip} ms |${cells.join("")}`);
}

/**
 * @param {string} name
 * @param {string} [binary] `TERTULIA_BIN` with the page of this checkout, if left out
 * @returns {Promise<number[]>} the median for each round trip
 */
async function measure(name, binary) {
  /** @type {Impairment} */
  let impairment;
  const server = await Server.start({
    binary,
    arrange: async (mediaPort) => {
      impairment = await Impairment.start(mediaPort);
      return ["--announce-for", `${NEWCOMER}=${impairment.address}`];
    },
  });
  const browser = await launch(SLOW_CAMERA);
  try {
    const other = await openPage(browser, autojoin(server.url, "Ada", { video: "720p" }));
    await other.waitForSelector(".tile.own.moving");
    console.log(`${name}: ${cpus().length} x ${cpus()[0].model}, Chromium ${browser.version()}, ${times} times each`);
    const middles = [];
    for (const roundTrip of ROUND_TRIPS_MS) {
      const taken = [];
      for (let time = 0; time < times; time += 1) taken.push(await joinOnce({ browser, server, impairment }, roundTrip));
      console.log(`${roundTrip} ms: ${taken.map((ms) => ms.toFixed(0)).join(" ")}`);
      middles.push(median(taken));
    }
    return middles;
  } finally {
    await browser.close();
    await server.stop();
    await impairment.stop();
  }
}

/**
 * @param {{ browser: import("playwright-core").Browser, server: Server, impairment: Impairment }} where
 * @param {number} roundTrip in milliseconds
 * @returns {Promise<number>} milliseconds
 */
async function joinOnce({ browser, server, impairment }, roundTrip) {
  impairment.say(`both delay=${roundTrip / 2}ms`);
  const slow = await SlowTcp.start(Number(new URL(server.url).port), roundTrip / 2);
  const address = new URL(server.url);
  address.port = String(slow.port);
  for (const [key, value] of Object.entries({ room: "test", name: NEWCOMER })) address.searchParams.set(key, value);
  const page = await openPage(browser, address.href);
  try {
    await page.waitForTimeout(READING_TIME_MS);
    return await page.evaluate(clickAndWatch, PICTURE_PATIENCE_MS);
  } finally {
    await page.context().close();
    await slow.stop();
  }
}

/** Runs in the page. @param {number} patience */
function clickAndWatch(patience) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no picture came")), patience);
    let began = 0;
    const watched = new Set();
    const look = () => {
      for (const video of document.querySelectorAll(".tile:not(.own) video")) {
        if (watched.has(video)) continue;
        watched.add(video);
        // The time at which the frame was ready for the screen.
        video.requestVideoFrameCallback((now) => resolve(now - began));
      }
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    began = performance.now();
    document.querySelector("button.primary").click();
    look();
  });
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
