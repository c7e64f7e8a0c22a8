/** Doors that lock: the page joins by the token in its link, and says in words why another lets nobody in. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { startWithKeys, tertulia } from "./keyed-server.mjs";
import { Server } from "./server.mjs";

const PATIENCE = { timeout: 20_000 };
const QUIET = { room: "hall", mic: 0, camera: 0 };

let keyed;
let server;
let browser;

before(async () => {
  browser = await launch();
  keyed = await startWithKeys();
  server = keyed.server;
});
after(async () => {
  await browser?.close();
  await keyed?.stop();
});

const token = (...args) => keyed.token(...args);

const inCall = (page) => page.waitForSelector(".call .tile.own", PATIENCE);

test("a link with a token leads into the call, and shows the token nowhere", async () => {
  const secret = token("--room", "hall", "--name", "Ada Lovelace", "--publish", "microphone");
  const page = await openPage(browser, `${autojoin(server.url, "Somebody", QUIET)}#token=${secret}`);
  await inCall(page);
  assert.deepEqual(await page.locator(".plate-name").allTextContents(), ["Ada Lovelace (you)"]);
  assert.ok(!page.url().includes(secret) && !page.url().includes("token"), page.url());
  assert.ok(!(await page.content()).includes(secret));
  assert.ok(await page.locator(".open-note").isHidden(), "the server is not open");
  // A reload finds the token again.
  await page.reload();
  await inCall(page);
  assert.ok(!page.url().includes("token"), page.url());
  assert.deepEqual(page.complaints, []);
  assert.ok(!server.log.includes(secret));
  await page.context().close();
});

test("a link without a token, or with a wrong one, says what to do", async () => {
  const other = join(keyed.folder, "other.json");
  writeFileSync(other, tertulia("key"));
  for (const [hash, title] of [
    ["", "This call wants an access token"],
    [`#token=${token("--room", "another")}`, "Your link is for another room"],
    [`#token=${tertulia("token", "--keys", other, "--room", "hall")}`, "Your link does not let you in"],
    [`#token=${token("--room", "hall").slice(0, -3)}`, "Your link does not let you in"],
  ]) {
    const page = await openPage(browser, autojoin(server.url, "Ada", QUIET) + hash);
    await page.waitForSelector(".ended h1", PATIENCE);
    assert.equal(await page.locator(".ended h1").textContent(), title);
    assert.match(await page.locator(".ended p").textContent(), /Ask|ask/);
    await page.context().close();
  }
});

test("the join page says it beside its button, and a better link to the same page helps", async () => {
  const page = await openPage(browser, `${server.url}?room=hall&mic=0&camera=0#token=x`);
  await page.fill('input[name="name"]', "Ada");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".problem:not([hidden])", PATIENCE);
  assert.match(await page.locator(".problem").textContent(), /^Your link does not let you in\./);
  await page.goto(`${server.url}?room=hall&mic=0&camera=0#token=${token("--room", "*")}`);
  await page.waitForFunction(() => !location.hash, null, PATIENCE);
  await page.waitForSelector('input[name="name"]', PATIENCE);
  await page.fill('input[name="name"]', "Ada");
  await page.keyboard.press("Enter");
  await inCall(page);
  await page.context().close();
});

test("the name that a link gives stands in the join page, and no other can be typed", async () => {
  const page = await openPage(browser, `${server.url}?room=hall&name=Somebody&mic=0&camera=0#token=${token("--room", "hall", "--name", "Ada Lovelace")}`);
  const name = page.locator('input[name="name"]');
  await name.waitFor(PATIENCE);
  assert.deepEqual([await name.inputValue(), await name.isEditable()], ["Ada Lovelace", false]);
  await page.keyboard.press("Enter");
  await inCall(page);
  assert.deepEqual(await page.locator(".tile.own .plate-name").allTextContents(), ["Ada Lovelace (you)"]);
  await page.context().close();
});

test("a link that lets nobody in is not offered: a moderator invites, and others are told who does", async () => {
  const room = "hall-invite";
  const link = (...args) => `${autojoin(server.url, "Somebody", { ...QUIET, room })}#token=${token("--room", room, ...args)}`;
  const guest = await openPage(browser, link("--name", "Ada"));
  await inCall(guest);
  assert.equal(await guest.locator(".alone").textContent(), "Nobody else is here yet. Others need a link of their own to join. A moderator can make one, or whoever gave you yours.");
  assert.ok(await guest.locator(".copy").isHidden());
  await guest.click(".people-button");
  assert.match(await guest.locator(".people-entry").textContent(), /A moderator can make one/);
  await guest.context().close();

  const boss = await openPage(browser, link("--name", "Boss", "--moderate"));
  await inCall(boss);
  await boss.locator(".alone button", { hasText: "Invite" }).waitFor(PATIENCE);
  for (const way of [".copy", ".alone button"]) {
    await boss.click(way);
    await boss.waitForSelector(".invitations[open] [data-act=invite]", PATIENCE);
    assert.equal(await boss.evaluate(() => document.activeElement?.dataset.act), "invite", way);
    assert.ok(await boss.locator(".people-entry").isHidden());
    await boss.keyboard.press("Escape");
    await boss.waitForSelector(".people-panel[hidden]", { state: "attached", ...PATIENCE });
  }
  assert.equal(await boss.locator(".copy").textContent(), "Invite");
  await boss.context().close();
});

test("whoever may not see others reads so on their tiles", async () => {
  const room = "hall-unseen";
  const link = (name, more, ...args) => `${autojoin(server.url, name, { room, mic: 0, ...more })}#token=${token("--room", room, "--name", name, ...args)}`;
  const ada = await openPage(browser, link("Ada", {}));
  await inCall(ada);
  const bob = await openPage(browser, link("Bob", { camera: 0 }, "--no-subscribe"));
  await inCall(bob);
  const note = bob.locator(".tile:not(.own) .note");
  await note.filter({ hasText: "your link does not let you see others" }).waitFor(PATIENCE);
  // Later as well: a picture that is late has other words.
  await bob.waitForFunction((since) => performance.now() - since > 2_500, await bob.evaluate(() => performance.now()), PATIENCE);
  assert.equal(await note.textContent(), "your link does not let you see others");
  for (const page of [ada, bob]) await page.context().close();
});

test("an open server says so in the page", async (t) => {
  const open = await Server.start({ arrange: async () => [] });
  t.after(() => open.stop());
  const page = await openPage(browser, autojoin(open.url, "Ada", QUIET));
  await inCall(page);
  await page.waitForSelector(".open-note:not([hidden])", PATIENCE);
  assert.match(await page.locator(".open-note").textContent(), /anybody/);
  assert.equal(await page.locator(".copy").textContent(), "Copy link");
  // A phone has no place for it above the call.
  await page.setViewportSize({ width: 375, height: 700 });
  await page.waitForSelector(".open-note", { state: "hidden", ...PATIENCE });
  await page.click(".people-button");
  await page.locator(".people-entry", { hasText: "anybody with the link can join" }).waitFor(PATIENCE);
  assert.match(await page.locator(".invitation-hint").textContent(), /for the time that you choose and no longer than this call/);
  assert.match(open.log, /open: whoever reaches/);
  await page.context().close();
});
