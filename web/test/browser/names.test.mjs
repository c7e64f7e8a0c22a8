/** Names of people and rooms in any script, from the field to the other side and back by a link. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { Server } from "./server.mjs";

const PATIENCE = { timeout: 20_000 };
const QUIET = { mic: 0, camera: 0 };

let server;
let browser;

before(async () => {
  browser = await launch();
  server = await Server.start();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function join(name, room) {
  const page = await openPage(browser, autojoin(server.url, name, { room, ...QUIET }));
  await page.waitForSelector(".call .tile.own", PATIENCE);
  return page;
}

const plates = (page) => page.locator(".plate-name").allTextContents();

/** Typed by a person on the join page. */
async function type(field, text) {
  const page = await openPage(browser, `${server.url}?mic=0&camera=0`);
  const input = page.locator(`input[name="${field}"]`);
  await input.fill("");
  await input.pressSequentially(text);
  return { page, input };
}

test("two rooms that differ in a letter are two rooms, and their links lead back", async () => {
  const pages = [];
  for (const [name, room] of [
    ["Ana", "café"],
    ["Bo", "cafe"],
    ["Cy", "привет"],
    ["Di", "привёт"],
    ["Ed", "会議室"],
    ["Flo", "會議室"],
  ]) {
    const page = await join(name, room);
    pages.push(page);
    assert.deepEqual(await plates(page), [`${name} (you)`], room);
    assert.equal(new URL(page.url()).searchParams.get("room"), room);
    assert.ok((await page.title()).includes(room));
  }
  for (const page of pages) {
    const { origin, search } = new URL(page.url());
    const guest = await openPage(browser, `${origin}/?room=${new URLSearchParams(search).get("room")}&mic=0&camera=0`);
    await guest.fill('input[name="name"]', "Guest");
    await guest.keyboard.press("Enter");
    await page.locator(".plate-name", { hasText: "Guest" }).waitFor(PATIENCE);
    await guest.waitForFunction(() => document.querySelectorAll(".plate-name").length === 2, null, PATIENCE);
    await guest.context().close();
  }
  for (const page of pages) await page.context().close();
});

test("what is typed as a room is shown as the room that it is, or explained", async () => {
  const spaces = await type("room", "weekly sync");
  assert.equal(await spaces.input.inputValue(), "weekly-sync");
  await spaces.page.context().close();

  const { page } = await type("room", "a/b");
  await page.fill('input[name="name"]', "Ana");
  await page.keyboard.press("Enter");
  const problem = page.locator(".problem", { hasText: "“/”" });
  await problem.waitFor(PATIENCE);
  assert.equal(await page.locator(".call").count(), 0);
  await page.context().close();
});

test("a link that names no room joins none, and says so", async () => {
  const page = await openPage(browser, autojoin(server.url, "Ana", { room: "weekly sync", ...QUIET }));
  await page.locator(".problem", { hasText: "The link names no room" }).waitFor(PATIENCE);
  assert.equal(await page.inputValue('input[name="room"]'), "weekly-sync");
  assert.equal(await page.locator(".call").count(), 0);
  await page.context().close();
});

test("a long name of emoji is cut between them and the call goes on", async () => {
  const family = "👨‍👩‍👧‍👦";
  const ana = await join(`Ana ${family.repeat(12)}`, "emoji");
  const bo = await join("Bo", "emoji");
  const shown = `Ana ${family.repeat(8)}`;
  await bo.locator(".plate-name", { hasText: shown }).waitFor(PATIENCE);
  assert.deepEqual((await plates(bo)).sort(), [shown, "Bo (you)"].sort());
  await ana.reload();
  await ana.waitForSelector(".call .tile.own", PATIENCE);
  await bo.waitForFunction(() => document.querySelectorAll(".tile").length === 2, null, PATIENCE);
  for (const page of [ana, bo]) await page.context().close();
});

test("names and messages run their own way and turn nothing around them", async () => {
  const arabic = "عبد الرحمن بن محمد بن عبد العزيز آل سعود";
  const ana = await join(arabic, "directions");
  const bo = await join("Bo \u202egnp.exe\u200b", "directions");
  const plate = bo.locator(".tile:not(.own) .plate-name");
  await plate.waitFor(PATIENCE);
  assert.equal(await plate.evaluate((element) => getComputedStyle(element).direction), "rtl");
  // Its beginning is seen, at the right; what does not fit is cut at the end.
  assert.ok((await plates(bo)).includes("Bo gnp.exe (you)"));

  await ana.click('[data-control="chat"]');
  await bo.click('[data-control="chat"]');
  for (const text of ["\u202ehttps://example.org/txt.exe\u202c", "שלום", "a\u0336\u0336\u0336\u0336\u0336\u0336\u0336\u0336"]) {
    await bo.fill(".chat-input", text);
    await bo.keyboard.press("Enter");
  }
  const texts = ana.locator(".chat-text");
  await texts.nth(2).waitFor(PATIENCE);
  const styles = await texts.evaluateAll((all) => all.map((each) => [getComputedStyle(each).unicodeBidi, getComputedStyle(each).overflowY]));
  for (const style of styles) assert.deepEqual(style, ["plaintext", "clip"]);
  assert.equal(await texts.nth(1).evaluate((element) => element.dir), "auto");
  assert.deepEqual(ana.complaints, []);
  for (const page of [ana, bo]) await page.context().close();
});

test("a message of the longest kind is written and sent whole, in whatever units", async () => {
  const page = await join("Ana", "long");
  await page.click('[data-control="chat"]');
  const text = "😀".repeat(2_000);
  await page.fill(".chat-input", `${text}😀😀`);
  await page.locator(".chat-length", { hasText: "2 characters too many" }).waitFor(PATIENCE);
  await page.fill(".chat-input", text);
  await page.keyboard.press("Enter");
  const written = page.locator(".chat-text");
  await written.waitFor(PATIENCE);
  assert.equal(await written.textContent(), text);
  await page.context().close();
});
