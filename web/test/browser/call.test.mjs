/** A whole call through the real server: five people, as issue reports would tell it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { checkTime, isLong } from "./extent.mjs";
import { Server } from "./server.mjs";

const ROOM = `call-${process.pid}`;
const NAMES = ["Ana", "Ben", "Cleo", "Dai"];
/** Software encoding of several cameras on a busy machine takes its time; nothing here is a benchmark. */
const PATIENCE = { timeout: 30_000 };
/**
 * The page's promise to people. A shared machine may be slower than any promise, so a usual run measures, prints and waits.
 */
const SOON_MS = 2_000;
const SOON = isLong ? { timeout: SOON_MS } : PATIENCE;

let server;
let browser;
/** @type {Record<string, import("playwright-core").Page>} */
const pages = {};

before(async () => {
  server = await Server.start();
  browser = await launch();
  for (const name of NAMES) pages[name] = await openPage(browser, autojoin(server.url, name, { room: ROOM }));
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The tile of another person, as anybody finds it: by what it is called. */
const tile = (page, name) => page.locator(`.tile.person[aria-label^="${name}"]`);
const others = (name) => NAMES.filter((other) => other !== name);
const videos = ".tile.person:not(.own).has-picture.moving";

/** Waits until exactly `count` others are seen moving. */
function seeing(page, count, patience = PATIENCE) {
  return counting(page, videos, count, patience);
}

/** Waits until a selector finds so many. */
function counting(page, selector, count, patience = PATIENCE) {
  const enough = ([wanted, much]) => document.querySelectorAll(wanted).length === much;
  return page.waitForFunction(enough, [selector, count], patience);
}

/** Bytes and packets received so far, by stream. */
function received(page) {
  return page.evaluate(async () => {
    const streams = {};
    (await window.tertulia.getStats()).forEach((entry) => {
      if (entry.type !== "inbound-rtp") return;
      const value = entry.kind === "video" ? entry.framesDecoded : entry.totalAudioEnergy;
      streams[entry.id] = { kind: entry.kind, value: value ?? 0 };
    });
    return streams;
  });
}

/** Waits until `count` streams of a kind have grown by `growth` since now. */
async function growing(page, kind, count, growth) {
  const first = await received(page);
  await page.waitForFunction(
    async ([began, wanted, streams, more]) => {
      let grown = 0;
      (await window.tertulia.getStats()).forEach((entry) => {
        if (entry.type !== "inbound-rtp" || entry.kind !== wanted) return;
        const value = wanted === "video" ? entry.framesDecoded : entry.totalAudioEnergy;
        if ((value ?? 0) > (began[entry.id]?.value ?? 0) + more) grown += 1;
      });
      return grown >= streams;
    },
    [first, kind, count, growth],
    { ...PATIENCE, polling: 200 },
  );
}

/** Waits until what is painted in each of the others' tiles has changed. */
function pixelsMove(page, selector) {
  return page.waitForFunction(
    (videosOf) => {
      const pictures = [...document.querySelectorAll(`${videosOf} video`)].map((video) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
        const context = canvas.getContext("2d");
        context.drawImage(video, 0, 0, 64, 36);
        return context.getImageData(0, 0, 64, 36).data.join();
      });
      const before = (window.before ??= pictures);
      return pictures.length > 0 && pictures.every((picture, index) => picture !== before[index]);
    },
    selector,
    { ...PATIENCE, polling: 150 },
  );
}

test("four people see three videos each, which keep moving", async () => {
  for (const page of Object.values(pages)) await seeing(page, 3);
  for (const [name, page] of Object.entries(pages)) {
    for (const other of others(name)) await tile(page, other).waitFor();
    await growing(page, "video", 3, 10);
    await pixelsMove(page, videos);
  }
});

test("everybody is heard by everybody", async () => {
  for (const page of Object.values(pages)) await growing(page, "audio", 3, 0);
});

test("somebody who speaks gets a ring", async () => {
  await pages.Ana.waitForSelector(".tile.person:not(.own).speaking", PATIENCE);
});

test("chat reaches everybody, counted where it was not read", async () => {
  await pages.Ana.click('[data-control="chat"]');
  await pages.Ana.fill(".chat-input", "Hello from Ana, see https://example.org/agenda.");
  await pages.Ana.keyboard.press("Enter");
  for (const name of others("Ana")) {
    const page = pages[name];
    await page.locator(".badge", { hasText: "1" }).waitFor(SOON);
    await page.click('[data-control="chat"]');
    await page.locator(".chat-text", { hasText: "Hello from Ana" }).waitFor(SOON);
    assert.equal(await page.locator(".chat-text a").getAttribute("href"), "https://example.org/agenda");
    assert.equal(await page.locator(".badge").isVisible(), false);
    await page.keyboard.press("Escape");
  }
  await pages.Ana.keyboard.press("Escape");
});

test("a microphone that is off shows everywhere and is silent", async () => {
  await pages.Ben.click('[data-control="microphone"]');
  for (const name of others("Ben")) await pages[name].locator('.tile[aria-label="Ben, microphone off"]').waitFor(PATIENCE);
  await pages.Ana.locator('.tile[aria-label^="Ben"].speaking').waitFor({ state: "detached", ...PATIENCE });
  await pages.Ben.keyboard.press("m");
  for (const name of others("Ben")) await pages[name].locator('.tile[aria-label="Ben"]').waitFor(PATIENCE);
});

test("a camera that is off is given back, and comes back without a new offer", async () => {
  await pages.Ben.click('[data-control="camera"]');
  for (const name of others("Ben")) await pages[name].locator('.tile[aria-label="Ben, camera off"]').waitFor(PATIENCE);
  const released = () => document.querySelector(".tile.own video").srcObject === null;
  assert.equal(await pages.Ben.evaluate(released), true);
  await pages.Ben.click('[data-control="camera"]');
  for (const name of others("Ben")) await seeing(pages[name], 3);
  await growing(pages.Ana, "video", 3, 5);
});

test("a shared screen is shown large to everybody, and goes when it ends", async () => {
  await pages.Cleo.click('[data-control="screen"]');
  for (const name of others("Cleo")) await pages[name].waitForSelector(".tile.screen.featured.moving", PATIENCE);
  const { width, height } = await pages.Ana.locator(".tile.screen").boundingBox();
  const small = await tile(pages.Ana, "Ben").boundingBox();
  assert.ok(width * height > 4 * small.width * small.height, "the screen is the largest");
  await growing(pages.Ana, "video", 4, 2);
  await pages.Cleo.click('[data-control="screen"]');
  for (const name of others("Cleo")) await pages[name].locator(".tile.screen").waitFor({ state: "detached", ...PATIENCE });
  // Again, on the same m-line.
  await pages.Cleo.click('[data-control="screen"]');
  for (const name of others("Cleo")) await pages[name].waitForSelector(".tile.screen.featured.moving", PATIENCE);
  await pages.Cleo.click('[data-control="screen"]');
  for (const name of others("Cleo")) await pages[name].locator(".tile.screen").waitFor({ state: "detached", ...PATIENCE });
});

test("figures tell what arrives and what the server decided", async () => {
  await pages.Ana.keyboard.press("s");
  await pages.Ana.waitForFunction(
    () => /\d+×\d+ · \d+ fps · [1-9]\d* kbit\/s[^\n]*VP8\nlayer \d [^\n]*target \d[^\n]*\(\w+\)\nestimate [^\n]* allocated [^\n]*\nloss [^\n]*NACK \d+ · RTX \d+ · keyframes \d+ · freezes \d+/.test(document.querySelector(".tile:not(.own) .figures").textContent),
    null,
    PATIENCE,
  );
  await pages.Ana.keyboard.press("s");
});

test("messages over both data channels reach the others", async () => {
  const heard = pages.Dai.evaluate(
    () => new Promise((resolve) => {
      const all = [];
      window.tertulia.on("dataReceived", (data) => all.push(data) === 2 && resolve(all));
    }),
  );
  for (const reliable of [true, false]) {
    await pages.Ana.evaluate((wish) => window.tertulia.sendData("hi", { reliable: wish }), reliable);
  }
  const all = await heard;
  assert.deepEqual(all.map(({ payload }) => payload), ["hi", "hi"]);
  assert.deepEqual(all.map(({ reliable }) => reliable).sort(), [false, true]);
  const sender = await pages.Ana.evaluate(() => window.tertulia.participantId);
  assert.deepEqual(all.map(({ from }) => from), [sender, sender]);
});

test("a flood of messages is told to whoever sends it, and one that is too long is not sent", async () => {
  const told = await pages.Ana.evaluate(
    () => new Promise((resolve) => {
      let code = "";
      try {
        window.tertulia.sendData("x".repeat(16 * 1024 + 1));
      } catch (error) {
        code = error.code;
      }
      window.tertulia.on("errorOccurred", (error) => resolve([code, error.code]));
      for (let sent = 0; sent < 150; sent += 1) window.tertulia.sendData("x".repeat(100));
    }),
  );
  assert.deepEqual(told, ["data_too_large", "data_rate_limited"]);
});

test("a late joiner sees everybody soon, and what was written", async (t) => {
  checkTime(t, "four videos after joining", await joinLate(), SOON_MS);
  await pages.Eve.click('[data-control="chat"]');
  await pages.Eve.locator(".chat-text", { hasText: "Hello from Ana" }).waitFor(SOON);
  for (const name of NAMES) await seeing(pages[name], 4);
});

/** Joins as a person does, by the join page; tells the milliseconds from there to the last first frame. */
async function joinLate() {
  const late = await openPage(browser, `${server.url}?room=${ROOM}&video=180p&debug=1`);
  pages.Eve = late;
  await late.fill('input[name="name"]', "Eve");
  await late.waitForSelector(".preview video:not([hidden])", PATIENCE);
  await late.evaluate(() => {
    document.querySelector("form").addEventListener("submit", () => (window.submitted = performance.now()), { capture: true });
  });
  await late.click("button.primary");
  await seeing(late, 4);
  return late.evaluate(() => performance.now() - window.submitted);
}

/**
 * Simulates a browser's treatment of a page that nobody has clicked in yet. Chromium's own policy cannot be relied on
 * here: every access of a test to a page counts as a gesture of its user.
 */
function holdSoundBack() {
  let clicked = false;
  addEventListener("pointerdown", () => (clicked = true), { capture: true });
  const { play } = HTMLMediaElement.prototype;
  HTMLMediaElement.prototype.play = function playIfAllowed() {
    if (this.muted || clicked) return play.call(this);
    return Promise.reject(new DOMException("Nobody has clicked yet.", "NotAllowedError"));
  };
}

test("sound that the browser holds back comes with a click", async () => {
  const page = await openPage(browser, "about:blank");
  await page.addInitScript(holdSoundBack);
  await page.goto(autojoin(server.url, "Fay", { room: ROOM, mic: "0", camera: "0" }));
  const hint = page.locator(".banner.hint", { hasText: "until you click" });
  await hint.waitFor(PATIENCE);
  const paused = (wanted) =>
    page.waitForFunction(
      ([players, held]) => {
        const all = [...document.querySelectorAll("audio")];
        return all.length === players && all.every((player) => player.paused === held);
      },
      [NAMES.length + 1, wanted],
      PATIENCE,
    );
  await paused(true);
  await hint.locator("button").click();
  await paused(false);
  assert.equal(await hint.isVisible(), false);
  await page.context().close();
});

test("somebody who leaves disappears", async () => {
  await pages.Eve.click(".leave");
  await Promise.all(NAMES.map((name) => tile(pages[name], "Eve").waitFor({ state: "detached", ...SOON })));
  await pages.Eve.locator("h1", { hasText: "You left the call" }).waitFor(SOON);
  assert.deepEqual(pages.Eve.complaints, []);
  await pages.Eve.context().close();
  delete pages.Eve;
});

test("a page that reloads comes back as it was", async () => {
  await pages.Dai.click('[data-control="microphone"]');
  await pages.Dai.reload();
  await seeing(pages.Dai, 3);
  for (const name of others("Dai")) {
    await pages[name].locator('.tile[aria-label="Dai, microphone off"]').waitFor(PATIENCE);
    await seeing(pages[name], 3);
    // One Dai: the one of before is gone.
    await counting(pages[name], ".tile.person:not(.own)", 3);
  }
});

test("a server that stops says so, and the call goes on when it is back", async (t) => {
  if (!server.isOurs) return;
  const { code, ms } = await server.terminate();
  assert.equal(code, 0);
  checkTime(t, "the server ends", ms, 5_000);
  for (const page of Object.values(pages)) {
    await page.locator(".banner.trouble", { hasText: "shutting down" }).waitFor(PATIENCE);
  }
  await server.run();
  for (const page of Object.values(pages)) {
    await seeing(page, 3);
    await page.locator(".banner.trouble").waitFor({ state: "hidden" });
    // Tiles of before may still be there, and the others come back one by one.
    await counting(page, ".tile.person", 4);
  }
});

test("no page had anything to complain about", () => {
  // A refused WebSocket while the server was away is told by the browser itself.
  const expected = /WebSocket connection to|ERR_CONNECTION_REFUSED/;
  for (const [name, page] of Object.entries(pages)) {
    assert.deepEqual(page.complaints.filter((text) => !expected.test(text)), [], name);
  }
});
