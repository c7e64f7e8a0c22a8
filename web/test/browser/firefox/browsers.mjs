/** The two browsers of a run, people who join in either, and servers that both can reach. */
import assert from "node:assert/strict";

import { autojoin, launch, openPage } from "../chromium.mjs";
import { launchFirefox, openInFirefox } from "../firefox.mjs";
import { address } from "../network.mjs";
import { Server } from "../server.mjs";
import { keepConnections } from "../watching.mjs";

/** Small enough to need but the lowest layer, in between, and large enough for the highest. */
export const SMALL = { width: 400, height: 330 };
export const MEDIUM = { width: 640, height: 480 };
export const LARGE = { width: 1500, height: 1000 };

/** Two browsers that encode and decode in software share the cores of one machine. */
export const PATIENCE = { timeout: 40_000 };

/** @type {Record<"Firefox" | "Chromium", any>} */
const browsers = { Firefox: null, Chromium: null };

export async function startBrowsers() {
  [browsers.Firefox, browsers.Chromium] = await Promise.all([
    launchFirefox(),
    // Fewer pictures than a camera's 30: several encoders and decoders share the cores of one machine.
    launch({
      without: ["--use-fake-device-for-media-stream"],
      also: ["--use-fake-device-for-media-stream=fps=10"],
    }),
  ]);
}

export async function stopBrowsers() {
  await Promise.all(Object.values(browsers).map((browser) => browser?.close()));
}

/** @param {(mediaPort: number) => Promise<string[]> | string[]} [arrange] what else it is told */
export function startServer(arrange = () => []) {
  return Server.start({ arrange: async (mediaPort) => ["--media-ip", address, ...(await arrange(mediaPort))] });
}

let rooms = 0;
/** @returns the name of a room that nobody has been in */
export function newRoom() {
  return `firefox-${process.pid}-${(rooms += 1)}`;
}

/**
 * Somebody joins a call by the page, and is in it.
 *
 * @param {"Firefox" | "Chromium"} kind
 * @param {Server} server
 * @param {string} name
 * @param {Record<string, string> & { room: string }} options of the address
 * @param {{ width: number, height: number }} [viewport]
 * @param {() => void} [before] runs in the page ahead of its own scripts
 * @param {string} [fragment] of the address
 */
export async function join(kind, server, name, options, viewport = SMALL, before = () => {}, fragment = "") {
  const opening = kind === "Firefox" ? inFirefox : inChromium;
  const page = await opening(autojoin(server.url, name, options) + fragment, viewport, [keepConnections, before]);
  await page.waitForSelector(".call .tile.own", PATIENCE);
  return page;
}

/** A page of the server's with nothing in it. */
export function openBare(kind, server) {
  const opening = kind === "Firefox" ? inFirefox : inChromium;
  return opening(new URL("healthz", server.url).href, SMALL, []);
}

function inFirefox(url, viewport, before) {
  return openInFirefox(browsers.Firefox, url, { viewport, before });
}

async function inChromium(url, viewport, before) {
  const page = await openPage(browsers.Chromium, "about:blank", { viewport });
  page.leave = () => page.context().close();
  for (const script of before) await page.addInitScript(script);
  await page.goto(url);
  return page;
}

/** Closes pages in which nothing went wrong. */
export async function leaveAll(...pages) {
  for (const page of pages) {
    assert.deepEqual(page.complaints, []);
    await page.leave();
  }
}
