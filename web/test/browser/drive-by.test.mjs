/** A link of another site that joins at once: it may bring somebody into a call, and opens no camera there. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { Server } from "./server.mjs";

const PATIENCE = { timeout: 20_000 };

let server;
let browser;
let foreign;

before(async () => {
  server = await Server.start();
  // A browser of a person: no program says that it drives it.
  browser = await launch({ also: ["--disable-blink-features=AutomationControlled"] });
  const target = JSON.stringify(autojoin(server.url, "Victim", { room: "evil" }));
  foreign = createServer((_, response) => response.setHeader("content-type", "text/html").end(`<script>location.href = ${target}</script>`));
  await once(foreign.listen(0, "localhost"), "listening");
});

after(async () => {
  await browser?.close();
  foreign?.close();
  await server?.stop();
});

test("another site leads into a call with devices off, and a press turns them on", { timeout: 60_000 }, async () => {
  const page = await openPage(browser, "about:blank");
  await page.addInitScript(() => {
    window.captures = 0;
    window.isDriven = navigator.webdriver;
    const devices = navigator.mediaDevices;
    const capture = devices?.getUserMedia.bind(devices);
    if (capture) devices.getUserMedia = (wish) => ((window.captures += 1), capture(wish));
  });
  // Nothing is evaluated in the page before it has begun: that counts as a press.
  await Promise.all([page.waitForURL(/autojoin=1/, PATIENCE), page.goto(`http://localhost:${foreign.address().port}/`).catch(() => {})]);
  await page.waitForSelector(".call .tile.own", PATIENCE);
  await page.waitForFunction(() => window.tertulia.state === "connected", null, PATIENCE);
  const banner = page.locator(".hints .banner:not([hidden])");
  await banner.waitFor(PATIENCE);
  assert.match(await banner.textContent(), /your microphone and camera are off/);
  const { captures, isDriven, published } = await page.evaluate(() => ({ captures: window.captures, isDriven: window.isDriven, published: window.tertulia.publications.size }));
  assert.deepEqual({ captures, isDriven, published }, { captures: 0, isDriven: false, published: 0 });
  await banner.getByRole("button", { name: "Turn on" }).click();
  await page.waitForFunction(() => [...window.tertulia.publications].filter(({ trackId, muted }) => trackId && !muted).length === 2, null, PATIENCE);
  assert.equal(await banner.count(), 0);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});
