/** The page itself, against a server without media: what people see when things go well and when not. */
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

async function open(url, options) {
  page = await openPage(browser, url, options);
  return page;
}

async function inCall(name = "Zoe", more = {}) {
  await open(autojoin(server.url, name, more));
  await page.waitForSelector(".call .tile.own", PATIENCE);
  return [...server.participants.values()].find((participant) => participant.name === name);
}

test("the join page shows us and takes us into the room of the address", async () => {
  await open(`${server.url}#team-standup`);
  await page.waitForSelector(".preview video:not([hidden])", PATIENCE);
  assert.equal(await page.inputValue('input[name="room"]'), "team-standup");
  await page.fill('input[name="name"]', "Zoe");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".call", PATIENCE);
  assert.match(page.url(), /\?room=team-standup/);
  assert.equal([...server.participants.values()][0].name, "Zoe");
  // The name is remembered.
  await page.click(".leave");
  await page.locator("h1", { hasText: "You left the call" }).waitFor(PATIENCE);
  await page.locator("button", { hasText: "Another room" }).click();
  assert.equal(await page.inputValue('input[name="name"]'), "Zoe");
  assert.equal(page.url(), server.url, "the address does not lead to the room before any more");
  assert.deepEqual(page.complaints, []);
});

test("everything can be reached by keyboard, in order", async () => {
  await inCall();
  const reached = [];
  for (let turn = 0; turn < 12; turn += 1) {
    await page.keyboard.press("Tab");
    const label = () => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent;
    reached.push(await page.evaluate(label));
  }
  const wanted = ["Copy link", "Enlarge", "Turn microphone off", "Turn camera off", "Share", "Chat", "Settings", "Leave"];
  const order = wanted.map((words) => reached.findIndex((label) => label?.startsWith(words)));
  assert.ok(order.every((place) => place >= 0), reached.join(" | "));
  assert.deepEqual(order, [...order].sort((a, b) => a - b));
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(ring, "none");
});

for (const [label, viewport] of [
  ["a desktop", { width: 1280, height: 720 }],
  ["a phone", { width: 390, height: 780 }],
  ["a phone held sideways", { width: 780, height: 360 }],
]) {
  test(`1 to 25 people fit on ${label} without covering each other or the controls`, async () => {
    await open(autojoin(server.url, "Zoe"), { viewport });
    await page.waitForSelector(".call .tile.own", PATIENCE);
    for (let people = 1; people <= 25; people += 1) {
      if (people > 1) server.addGuest(`Guest ${people}`, { camera: "off" });
      const there = (wanted) => document.querySelectorAll(".tile").length === wanted && !document.getAnimations().length;
      await page.waitForFunction(there, people, PATIENCE);
      const faults = await page.evaluate(overlaps);
      assert.deepEqual(faults, [], `${people} people`);
    }
  });
}

/** Runs in the page: pairs of boxes that cover each other. */
function overlaps() {
  const selector = ".tile, .controls button, .top button";
  const boxes = [...document.querySelectorAll(selector)].map((element) => [element, element.getBoundingClientRect()]);
  const faults = [];
  for (const [index, [element, a]] of boxes.entries()) {
    const name = element.getAttribute("aria-label");
    if (a.left < -1 || a.top < -1 || a.right > innerWidth + 1 || a.bottom > innerHeight + 1) faults.push(`${name} is outside`);
    for (const [other, b] of boxes.slice(index + 1)) {
      const apart = a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
      if (!apart) faults.push(`${name} covers ${other.getAttribute("aria-label")}`);
    }
  }
  return faults;
}

test("who comes, goes, mutes and shares is shown and announced", async () => {
  const me = await inCall();
  await page.locator(".alone", { hasText: "Nobody else is here" }).waitFor(PATIENCE);
  const ben = server.addGuest("Ben");
  await page.locator('.toasts[aria-live="polite"] .toast', { hasText: "Ben joined" }).waitFor(PATIENCE);
  assert.equal(await page.locator(".alone").isVisible(), false);
  assert.equal(await page.locator(".count").textContent(), "2");
  server.setMuted(ben, "microphone", true);
  await page.locator('.tile[aria-label^="Ben, microphone off"]').waitFor(PATIENCE);
  const screen = { id: "tr_screen", kind: "video", source: "screen", muted: false, simulcast: false, codec: "VP8" };
  server.broadcast({ type: "track_published", participant: ben.id, track: screen });
  await page.locator('.tile.screen.featured[aria-label="Ben’s screen"]').waitFor(PATIENCE);
  server.remove(ben);
  await page.locator(".toast", { hasText: "Ben left" }).waitFor(PATIENCE);
  await page.waitForFunction(() => document.querySelectorAll(".tile").length === 1, null, PATIENCE);
  await page.click('[data-control="microphone"]');
  await page.locator('.tile.own[aria-label="Zoe (you), microphone off"]').waitFor(PATIENCE);
  assert.equal(me.tracks.find(({ source }) => source === "microphone").muted, true);
});

test("chat counts what is unread and shows it as it was written", async () => {
  await inCall();
  const ben = server.addGuest("Ben");
  server.write(ben, "one <b>bold</b>");
  server.write(ben, "two");
  await page.locator(".badge", { hasText: "2" }).waitFor(PATIENCE);
  await page.keyboard.press("c");
  assert.equal(await page.locator(".badge").isVisible(), false);
  assert.equal(await page.locator(".chat-text").first().textContent(), "one <b>bold</b>");
  assert.equal(await page.locator(".chat-input").evaluate((input) => input === document.activeElement), true);
  assert.equal(await page.inputValue(".chat-input"), "", "the shortcut's letter is not written");
  await page.keyboard.type("my answer");
  await page.keyboard.press("Enter");
  await page.locator(".chat-entry.own", { hasText: "my answer" }).waitFor(PATIENCE);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".chat").isVisible(), false);
});

test("the page reconnects by itself and keeps what was on it", async () => {
  const me = await inCall();
  const ben = server.addGuest("Ben");
  server.write(ben, "before");
  await page.locator(".badge", { hasText: "1" }).waitFor(PATIENCE);
  me.socket.terminate();
  await page.locator(".banner.trouble", { hasText: "Reconnecting" }).waitFor(PATIENCE);
  assert.equal(await page.locator(".tile").count(), 2, "the tiles stay");
  await page.locator(".banner.trouble").waitFor({ state: "hidden", ...PATIENCE });
  assert.equal(await page.locator(".tile").count(), 2);
  assert.equal(await page.locator(".chat-text", { hasText: "before" }).count(), 1);
});

test("a server that restarts is waited for, and said so", async () => {
  await inCall();
  const { port } = server;
  await server.stop("server_shutdown");
  await page.locator(".banner.trouble", { hasText: "shutting down" }).waitFor(PATIENCE);
  server = await FakeServer.start(port);
  await page.locator(".banner.trouble").waitFor({ state: "hidden", ...PATIENCE });
  assert.equal([...server.participants.values()][0].name, "Zoe");
});

for (const [reason, words] of [
  ["kicked", "You were removed from the call"],
  ["replaced", "You joined from somewhere else"],
  ["room_closed", "The room was closed"],
]) {
  test(`a goodbye because of ${reason} is put into words and gives the camera back`, async () => {
    const me = await inCall();
    const camera = await page.evaluateHandle(() => document.querySelector(".tile.own video").srcObject.getVideoTracks()[0]);
    server.bye(me, reason);
    await page.locator("h1", { hasText: words }).waitFor(PATIENCE);
    assert.equal(await camera.evaluate((track) => track.readyState), "ended");
    await page.locator("button", { hasText: "Join again" }).click();
    await page.waitForSelector(".call .tile.own", PATIENCE);
  });
}

test("a room that refuses us leaves us on the join page with the reason", async () => {
  server.refuse = "room_full";
  await open(`${server.url}?room=test&video=180p&name=Zoe`);
  await page.waitForSelector(".preview video:not([hidden])", PATIENCE);
  await page.click("button.primary");
  const problem = page.locator('.problem[role="alert"]', { hasText: "The room is full" });
  await problem.waitFor(PATIENCE);
  await page.fill('input[name="room"]', "test-2");
  assert.equal(await problem.isVisible(), false, "it was about another room");
  server.refuse = null;
  await page.click("button.primary");
  await page.waitForSelector(".call .tile.own", PATIENCE);
  assert.equal([...server.participants.values()][0].tracks.length, 2);
});

/** A browser with its own devices and permissions. */
async function withBrowser(options, body) {
  const special = await launch(options);
  try {
    await body(await openPage(special, options.url ?? `${server.url}?room=test&name=Zoe`));
  } finally {
    await special.close();
  }
}

test("without any device one can still join and watch", () =>
  withBrowser({ without: ["--use-fake-device-for-media-stream"] }, async (special) => {
    await special.locator(".preview-note", { hasText: "No camera was found" }).waitFor(PATIENCE);
    await special.locator(".preview-note", { hasText: "You can still join" }).waitFor(PATIENCE);
    await special.click("button.primary");
    await special.waitForSelector(".call .tile.own", PATIENCE);
    assert.deepEqual([...server.participants.values()][0].tracks, []);
    await special.click('[data-control="camera"]');
    await special.locator(".toast.problem", { hasText: "No camera was found" }).waitFor(PATIENCE);
  }));

test("a refused permission is explained", () =>
  withBrowser({ without: ["--use-fake-ui-for-media-stream"], also: ["--deny-permission-prompts"] }, async (special) => {
    await special.locator(".preview-note", { hasText: "may not use the camera" }).waitFor(PATIENCE);
    await special.click("button.primary");
    await special.waitForSelector(".call .tile.own", PATIENCE);
  }));

test("a page loaded over plain http from elsewhere says why there is no camera", async () => {
  const url = `http://tertulia.test:${server.port}/?room=test&name=Zoe`;
  await withBrowser({ also: ["--host-resolver-rules=MAP tertulia.test 127.0.0.1"], url }, async (special) => {
    await special.locator(".preview-note", { hasText: "only to pages loaded over https" }).waitFor(PATIENCE);
    await special.click("button.primary");
    await special.waitForSelector(".call .tile.own", PATIENCE);
  });
});

test("the camera is given back while it is off and opened again when it is on", async () => {
  const me = await inCall();
  const camera = await page.evaluateHandle(() => document.querySelector(".tile.own video").srcObject.getVideoTracks()[0]);
  await page.click('[data-control="camera"]');
  await page.locator('.tile.own[aria-label="Zoe (you), camera off"]').waitFor(PATIENCE);
  assert.equal(await camera.evaluate((track) => track.readyState), "ended");
  await page.waitForFunction(() => document.querySelector('[data-control="camera"]').getAttribute("aria-busy") === "false");
  assert.equal(me.tracks.find(({ source }) => source === "camera").muted, true);
  await page.click('[data-control="camera"]');
  await page.locator('.tile.own[aria-label="Zoe (you)"].moving').waitFor(PATIENCE);
});

test("a press counts at once and the last one wins, though the server says nothing", async () => {
  const me = await inCall();
  const track = await page.evaluateHandle(() => window.tertulia.publications.values().next().value.media);
  assert.equal(await track.evaluate(({ kind }) => kind), "audio");
  server.deaf = true;
  const button = page.locator('[data-control="microphone"]');
  for (const on of [false, true, false]) {
    await button.click();
    assert.equal(await track.evaluate(({ enabled }) => enabled), on);
    assert.equal(await button.getAttribute("aria-pressed"), String(on));
  }
  await page.locator('.tile.own[aria-label="Zoe (you), microphone off"]').waitFor(PATIENCE);
  // The server goes, and another one comes: it hears what is shown.
  server.deaf = false;
  me.socket.terminate();
  const again = () => [...server.participants.values()].find(({ name, id }) => name === "Zoe" && id !== me.id);
  await page.waitForFunction(() => window.tertulia.state === "connected" && window.tertulia.participantId, null, PATIENCE);
  while (!again()?.tracks.length) await page.waitForTimeout(50);
  assert.equal(again().tracks.find(({ source }) => source === "microphone").muted, true);
});

/** The browser takes a device away, as when it is unplugged. */
async function unplug(kind) {
  await page.evaluate((which) => {
    const [publication] = [...window.tertulia.publications].filter(({ source }) => source === which);
    publication.media.stop();
    publication.media.dispatchEvent(new Event("ended"));
  }, kind);
}

test("an unplugged microphone is told, another one takes its place, and the others hear of neither", async () => {
  const me = await inCall();
  const trackId = () => page.evaluate(() => [...window.tertulia.publications].find(({ source }) => source === "microphone").media?.id);
  const before = await trackId();
  await unplug("microphone");
  await page.locator(".toast.problem", { hasText: /The microphone .* is gone\. Now in use: / }).waitFor(PATIENCE);
  assert.notEqual(await trackId(), before);
  assert.equal(await page.locator('[data-control="microphone"]').getAttribute("aria-pressed"), "true");
  assert.equal(me.tracks.find(({ source }) => source === "microphone").muted, false);
});

test("the focus is where the call begins, and is never lost with what goes away", async () => {
  await open(`${server.url}?room=standup&name=Zoe`);
  await page.waitForSelector(".preview video:not([hidden])", PATIENCE);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".call .tile.own", PATIENCE);
  const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.getAttribute("aria-label"));
  assert.equal(await focused(), "standup");
  const ben = server.addGuest("Ben");
  await page.locator(`[data-tile="${ben.id}"] .enlarge`).focus();
  server.remove(ben);
  await page.locator(`[data-tile="${ben.id}"]`).waitFor({ state: "detached", ...PATIENCE });
  assert.equal(await focused(), "standup");
  await page.locator(".toast button").first().focus();
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "standup");
  await page.locator(".leave").click();
  assert.equal(await focused(), "You left the call");
});

test("a message that is too long is kept, and said to be", async () => {
  await inCall();
  await page.keyboard.press("c");
  const length = page.locator(".chat-length");
  const said = async () => ((await length.isVisible()) ? length.textContent() : null);
  const write = (text) => page.fill(".chat-input", text);
  await write("x".repeat(1899));
  assert.equal(await said(), null);
  await write(` ${"x".repeat(1900)} `);
  assert.equal(await said(), "100 characters left");
  await write("😀".repeat(1999));
  assert.equal(await said(), "1 character left");
  await write("x".repeat(2012));
  assert.equal(await said(), "12 characters too many to send");
  await page.keyboard.press("Enter");
  assert.equal((await page.inputValue(".chat-input")).length, 2012);
  assert.equal(await page.isDisabled(".send"), true);
  const right = (selector) => page.locator(selector).evaluate((element) => element.getBoundingClientRect().right);
  assert.ok((await right(".send")) < (await right(".chat")), "the panel keeps its width");
  await write("x".repeat(2000));
  assert.equal(await said(), "0 characters left");
  await page.keyboard.press("Enter");
  await page.locator(".chat-text", { hasText: "x".repeat(2000) }).waitFor(PATIENCE);
  assert.deepEqual([await page.inputValue(".chat-input"), await said()], ["", null]);
  assert.deepEqual(server.chat.map(({ text }) => text.length), [2000]);
});

test("the chat is a list within a log", async () => {
  await inCall();
  const ben = server.addGuest("Ben");
  server.write(ben, "hello");
  await page.keyboard.press("c");
  const log = page.getByRole("log", { name: "Messages" });
  const items = log.getByRole("list").getByRole("listitem").filter({ hasText: "hello" });
  await items.first().waitFor(PATIENCE);
  assert.equal(await items.count(), 1);
});

for (const viewport of [{ width: 1280, height: 720 }, { width: 390, height: 780 }]) {
  test(`what is said to people covers no face and no name on ${viewport.width} pixels`, async () => {
    await open(autojoin(server.url, "Zoe", { room: "a-room-with-a-name-that-is-as-long-as-names-may-be-and-no-longer" }), { viewport });
    await page.waitForSelector(".call .tile.own", PATIENCE);
    const covered = () =>
      page.evaluate(() => {
        const box = (element) => element.getBoundingClientRect();
        const faults = [];
        for (const said of document.querySelectorAll(".toast, .banner:not([hidden]), .alone:not([hidden])")) {
          const a = box(said);
          for (const other of document.querySelectorAll(".tile, .controls button, .top > button, .top h1, .link-state")) {
            const b = box(other);
            if (a.right > b.left && b.right > a.left && a.bottom > b.top && b.bottom > a.top) faults.push(`${said.textContent} covers ${other.getAttribute("aria-label") ?? other.textContent}`);
          }
          if (a.right > innerWidth || a.bottom > innerHeight) faults.push(`${said.textContent} is outside`);
        }
        // The mark of the link is as high as it is wide, and the name is there to be read.
        if (box(document.querySelector(".link-state")).width < 8.5) faults.push("the state of the link is squeezed");
        if (box(document.querySelector(".top h1")).width < 40) faults.push("the call's name is squeezed");
        return faults;
      });
    await page.locator(".alone", { hasText: "Nobody else" }).waitFor(PATIENCE);
    assert.deepEqual(await covered(), []);
    for (let number = 1; number <= 8; number += 1) server.addGuest(`Guest number ${number} with a rather long name`);
    server.tell([...server.participants.values()][0], { type: "error", code: "too_slow", fatal: false, message: "A sentence that takes a while to say and more than one line on a phone, as many of them do." });
    await page.locator(".toast.notice").waitFor(PATIENCE);
    await page.locator(".toast.problem").waitFor(PATIENCE);
    await page.waitForFunction(() => document.querySelectorAll(".tile").length === 9 && document.getAnimations().length === 0, null, PATIENCE);
    assert.deepEqual(await covered(), []);
  });
}
