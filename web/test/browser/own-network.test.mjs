/** One of two loses the network for media, and reads of their own network and not of the other's camera. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { Server } from "./server.mjs";
import { UdpCut } from "./udp-cut.mjs";

const ROOM = `own-network-${process.pid}`;
const PATIENCE = { timeout: 30_000 };

let cut;
let server;
let browser;
let ana;
let ben;

before(async () => {
  server = await Server.start({
    arrange: async (mediaPort) => {
      cut = await UdpCut.start(mediaPort);
      return ["--announce-for", `Ana=${cut.address}`];
    },
  });
  browser = await launch();
  ana = await openPage(browser, autojoin(server.url, "Ana", { room: ROOM }));
  ben = await openPage(browser, autojoin(server.url, "Ben", { room: ROOM }));
});

after(async () => {
  await browser?.close();
  await server?.stop();
  cut?.stop();
});

const link = (page, state) => page.locator(`.link-state[data-state="${state}"]`).waitFor(PATIENCE);
const note = (page) => page.locator(".tile:not(.own) .note");

test("while all is well nothing is explained, and the link is said to be connected", async () => {
  for (const page of [ana, ben]) {
    await page.waitForSelector(".tile:not(.own).has-picture.moving", PATIENCE);
    await link(page, "connected");
    await note(page).waitFor({ state: "hidden", ...PATIENCE });
  }
});

test("a cut is told as one's own on its side, and as the other's on the other", async () => {
  await ana.evaluate(() => {
    window.notes = new Set();
    const element = document.querySelector(".tile:not(.own) .note");
    new MutationObserver(() => element.hidden || window.notes.add(element.textContent)).observe(element, { childList: true, attributes: true });
  });
  cut.isCut = true;
  await link(ana, "interrupted");
  await ana.locator(".banner.trouble", { hasText: "Your connection is interrupted" }).waitFor(PATIENCE);
  await note(ana).filter({ hasText: "the connection to the server is interrupted" }).waitFor(PATIENCE);
  await note(ben).filter({ hasText: /nothing comes from its sender at the moment|no picture arrives/ }).waitFor(PATIENCE);
  assert.equal(await ben.locator(".link-state").getAttribute("data-state"), "connected");
  // The server's own words of Ben come while Ana's link is broken.
  const words = await ana.evaluate(() => [...window.notes]);
  assert.ok(!words.some((text) => /sender/.test(text)), words.join("; "));
});

test("what is back is not explained any more", async () => {
  cut.isCut = false;
  for (const page of [ana, ben]) {
    await link(page, "connected");
    await page.waitForSelector(".tile:not(.own).has-picture.moving", PATIENCE);
    await note(page).waitFor({ state: "hidden", ...PATIENCE });
    await page.locator(".banner.trouble").waitFor({ state: "hidden", ...PATIENCE });
    assert.deepEqual(page.complaints, []);
  }
});
