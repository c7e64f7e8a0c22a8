/** Moderation from the page: what a moderator does is seen by everybody whom it concerns. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { startWithKeys } from "./keyed-server.mjs";

const PATIENCE = { timeout: 30_000 };

let keyed;
let server;
let browser;
let rooms = 0;

before(async () => {
  browser = await launch();
  keyed = await startWithKeys();
  server = keyed.server;
});
after(async () => {
  await browser?.close();
  await keyed?.stop();
});

/** Opens the page of somebody with a token of their own. */
async function open(room, name, { moderate = false, mic = 0 } = {}) {
  const token = keyed.token("--room", room, "--name", name, "--identity", name, ...(moderate ? ["--moderate"] : []));
  // The server knows people by the names of their tokens.
  return openPage(browser, `${autojoin(server.url, "Somebody", { room, mic, camera: 0 })}#token=${token}`);
}

async function enter(room, name, options) {
  const page = await open(room, name, options);
  await page.waitForSelector(".call .tile.own", PATIENCE);
  return page;
}

/** A room of its own, with a moderator whose panel is open. */
async function hall() {
  const room = `hall-${(rooms += 1)}`;
  const boss = await enter(room, "Boss", { moderate: true });
  await boss.click(".people-button");
  await boss.waitForSelector(".people-panel .people-rules [data-act=lock]", PATIENCE);
  return { room, boss };
}

const row = (page, name) => page.locator(".people-panel li", { has: page.locator("bdi", { hasText: new RegExp(`^${name}$`) }) });
const act = (page, name, what) => row(page, name).locator(`[data-act=${what}]`).click(PATIENCE);
async function certainly(button) {
  await button.click(PATIENCE);
  await button.click(PATIENCE);
}
const close = (...pages) => Promise.all(pages.map((page) => page.context().close()));

test("a microphone that a moderator mutes goes off for everybody, and comes back by its owner's press", async () => {
  const { room, boss } = await hall();
  const ada = await enter(room, "Ada", { mic: 1 });
  const bob = await enter(room, "Bob");
  const microphone = ada.locator('[data-control="microphone"]');
  const isMuted = (page, muted) =>
    page.waitForFunction(
      (expected) => [...window.tertulia.participants.values()].flatMap(({ tracks }) => [...tracks.values()]).some((track) => track.muted === expected),
      muted,
      PATIENCE,
    );
  await isMuted(bob, false);
  await act(boss, "Ada", "mute");
  await ada.waitForSelector('[data-control="microphone"][aria-pressed="false"]', PATIENCE);
  assert.equal(await ada.evaluate(() => [...window.tertulia.publications][0].media.enabled), false, "the device is silent");
  await isMuted(bob, true);
  assert.match(await ada.locator(".toasts.problems").textContent(), /Boss turned your microphone off/);
  // Asked to, its owner turns it on; nobody else can.
  await act(boss, "Ada", "ask_unmute");
  await ada.locator(".banner.ask button", { hasText: "Turn it on" }).click(PATIENCE);
  await ada.waitForSelector('[data-control="microphone"][aria-pressed="true"]', PATIENCE);
  await isMuted(bob, false);
  assert.ok(await ada.locator(".banner.ask").isHidden(), "it is answered");
  await microphone.click();
  await isMuted(bob, true);
  // Or its owner does not, and the question goes.
  await act(boss, "Ada", "ask_unmute");
  await ada.locator(".banner.ask button", { hasText: "Not now" }).focus(PATIENCE);
  await ada.keyboard.press("Enter");
  assert.ok(await ada.locator(".banner.ask").isHidden());
  assert.equal(await microphone.getAttribute("aria-pressed"), "false");
  assert.equal(await ada.evaluate(() => document.activeElement?.tagName), "H1", "the focus is not lost");
  assert.deepEqual(boss.complaints, []);
  await close(boss, ada, bob);
});

test("who is removed hears by whom, and who is banned stays out", async () => {
  const { room, boss } = await hall();
  for (const what of ["remove", "ban"]) {
    const ada = await enter(room, "Ada");
    await row(boss, "Ada").waitFor(PATIENCE);
    await certainly(row(boss, "Ada").locator(`[data-act=${what}]`));
    await ada.waitForSelector(".ended h1", PATIENCE);
    assert.equal(await ada.locator(".ended h1").textContent(), "You were removed from the call");
    assert.match(await ada.locator(".ended p").textContent(), /^Boss removed you/);
    if (what === "remove") {
      await ada.click(".ended .primary");
      await ada.waitForSelector(".call .tile.own", PATIENCE);
    } else {
      assert.equal(await ada.locator(".ended button", { hasText: "Join again" }).count(), 0, "it would not help");
      const again = await open(room, "Ada");
      await again.waitForSelector(".ended h1", PATIENCE);
      await close(again);
    }
    await close(ada);
    await row(boss, "Ada").waitFor({ state: "detached", ...PATIENCE });
  }
  await close(boss);
});

test("a locked room and a chat that is off are seen by everybody, and hold", async () => {
  const { room, boss } = await hall();
  const ada = await enter(room, "Ada");
  await ada.keyboard.press("c");
  await boss.click(".people-rules [data-act=lock]");
  await boss.click(".people-rules [data-act=chat]");
  for (const page of [boss, ada]) {
    await page.waitForFunction(() => document.querySelector(".rule-notes").textContent === "LockedChat off", null, PATIENCE);
  }
  assert.equal(await boss.getAttribute(".people-rules [data-act=lock]", "aria-checked"), "true");
  assert.ok(await ada.locator(".chat-input").isDisabled());
  assert.equal(await ada.getAttribute(".chat-input", "placeholder"), "Only moderators may write now.");
  const eve = await open(room, "Eve");
  await eve.waitForSelector(".ended h1", PATIENCE);
  assert.equal(await eve.locator(".ended h1").textContent(), "The room is locked");
  await boss.click(".people-rules [data-act=lock]");
  await boss.click(".people-rules [data-act=chat]");
  await ada.waitForFunction(() => document.querySelector(".rule-notes").textContent === "", null, PATIENCE);
  assert.ok(await ada.locator(".chat-input").isEnabled());
  await eve.click(".ended .primary");
  await eve.waitForSelector(".call .tile.own", PATIENCE);
  await close(boss, ada, eve);
});

test("a raised hand is on the tile and first in the panel, and a moderator lowers it", async () => {
  const { room, boss } = await hall();
  const ada = await enter(room, "Ada");
  const bob = await enter(room, "Bob");
  await row(boss, "Bob").waitFor(PATIENCE);
  await bob.keyboard.press("h");
  await boss.waitForSelector(".tile.hand", PATIENCE);
  await ada.click('[data-control="hand"]');
  await boss.waitForFunction(() => document.querySelectorAll(".tile.hand").length === 2, null, PATIENCE);
  const order = () => boss.locator(".people-panel li:has(.people-hand:not([hidden])) bdi").allTextContents();
  await boss.waitForFunction(() => document.querySelectorAll(".people-hand:not([hidden])").length === 2, null, PATIENCE);
  assert.deepEqual(await order(), ["Bob", "Ada"]);
  await act(boss, "Bob", "lower_hand");
  await bob.waitForSelector('[data-control="hand"][aria-pressed="false"]', PATIENCE);
  await boss.waitForFunction(() => document.querySelectorAll(".people-hand:not([hidden])").length === 1, null, PATIENCE);
  assert.deepEqual(await order(), ["Ada"]);
  // Who may not moderate sees the people, and no buttons.
  await ada.click(".people-button");
  await row(ada, "Boss").waitFor(PATIENCE);
  assert.ok(await ada.locator(".people-rules").isHidden());
  assert.equal(await row(ada, "Boss").locator("button:visible").count(), 0);
  await close(boss, ada, bob);
});

test("newcomers wait until they are let in or sent away", async () => {
  const { room, boss } = await hall();
  await boss.click(".people-rules [data-act=waiting_room]");
  await boss.waitForSelector('[data-act=waiting_room][aria-checked="true"]', PATIENCE);
  const ada = await open(room, "Ada");
  await ada.waitForSelector(".waiting-page h1", PATIENCE);
  assert.equal(await ada.locator(".tile").count(), 0, "nobody is seen");
  assert.equal(await ada.locator(".waiting-page p").first().textContent(), `You asked to join ${room} as Ada.`);
  await boss.locator(".toast", { hasText: "Ada waits to be let in" }).waitFor(PATIENCE);
  await boss.waitForFunction(() => document.querySelector(".people-badge").textContent === "1", null, PATIENCE);
  await act(boss, "Ada", "admit");
  await ada.waitForSelector(".call .tile.own", PATIENCE);
  assert.equal(await ada.locator(".rule-notes").textContent(), "Waiting room");
  const eve = await open(room, "Eve");
  await eve.waitForSelector(".waiting-page h1", PATIENCE);
  await eve.locator("button", { hasText: "Do not wait" }).click();
  await eve.waitForSelector(".ended:not(.waiting-page) h1", PATIENCE);
  assert.deepEqual(
    [await eve.locator(".ended h1").textContent(), await eve.locator(".ended p").textContent()],
    ["You stopped waiting", "You were not let in. Join again to wait again."],
  );
  await row(boss, "Eve").waitFor({ state: "detached", ...PATIENCE });
  await eve.click(".ended .primary");
  await eve.waitForSelector(".waiting-page h1", PATIENCE);
  await act(boss, "Eve", "deny");
  await eve.waitForSelector(".ended:not(.waiting-page) h1", PATIENCE);
  assert.equal(await eve.locator(".ended h1").textContent(), "You were not let in");
  // Who was in comes back at once.
  await ada.reload();
  await ada.waitForSelector(".call .tile.own", PATIENCE);
  await certainly(boss.locator(".people-rules [data-act=end]"));
  for (const page of [boss, ada]) {
    await page.waitForSelector(".ended h1", PATIENCE);
    assert.equal(await page.locator(".ended h1").textContent(), "The room was closed");
    assert.equal(await page.locator(".ended p").textContent(), "Boss ended the call for everybody.");
  }
  await close(boss, ada, eve);
});

test("a moderator copies an invitation, which passes the waiting room until it is revoked", async () => {
  const { room, boss } = await hall();
  await boss.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await boss.click(".people-rules [data-act=waiting_room]");
  await boss.waitForSelector('[data-act=waiting_room][aria-checked="true"]', PATIENCE);
  // By the keyboard alone, but for the choice in the list of times.
  await boss.focus(".invitations summary");
  await boss.keyboard.press("Enter");
  await boss.selectOption(".invitation-time", { label: "1 day" });
  await boss.focus(".invitation-time");
  await boss.keyboard.press("Tab");
  await boss.keyboard.press("Enter");
  await boss.locator(".invitations li").waitFor(PATIENCE);
  const link = new URL(await boss.evaluate(() => navigator.clipboard.readText()));
  assert.deepEqual([link.origin, link.searchParams.get("room")], [new URL(server.url).origin, room]);
  assert.match(link.hash, /^#token=[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.match(await boss.locator(".toasts.notices").textContent(), /The invitation is copied/);
  assert.match(await boss.locator(".invitations li span").textContent(), /^Until .*, by Boss$/);

  const guest = async (name) => {
    const url = new URL(autojoin(link.href, name, { room, mic: 0, camera: 0 }));
    return openPage(browser, url.href);
  };
  const ada = await guest("Ada");
  await ada.waitForSelector(".call .tile.own", PATIENCE);
  assert.ok(!ada.url().includes("token"), ada.url());
  assert.ok(await ada.locator(".invitations").isHidden(), "who may not moderate does not invite");
  const bob = await open(room, "Bob");
  await bob.waitForSelector(".waiting-page h1", PATIENCE);

  await certainly(boss.locator(".invitations [data-act=revoke]"));
  await boss.locator(".invitations li").waitFor({ state: "detached", ...PATIENCE });
  assert.equal(await boss.evaluate(() => document.activeElement?.dataset.act), "invite", "the focus is not lost");
  const eve = await guest("Eve");
  await eve.waitForSelector(".ended h1", PATIENCE);
  assert.equal(await eve.locator(".ended h1").textContent(), "Your link was revoked");
  assert.ok(await ada.locator(".call .tile.own").isVisible(), "who is in stays");

  // Where the browser does not let the page copy, the link is there to be copied by hand.
  await boss.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed"));
  });
  await boss.click(".invitations [data-act=invite]");
  await boss.locator(".invitation-link").waitFor(PATIENCE);
  const selected = await boss.evaluate(() => document.getSelection()?.toString() || document.activeElement?.value);
  assert.match(selected, /#token=/);
  assert.match(await boss.locator(".toasts.notices").textContent(), /Copy the link of the invitation yourself/);
  assert.ok(!server.log.includes(link.hash.split(".")[2]), "no log has it");
  assert.deepEqual(boss.complaints, []);
  await close(boss, ada, bob, eve);
});

test("a server that is started again gets its rules back, and whoever waits goes on to wait", { timeout: 240_000 }, async () => {
  const { room, boss } = await hall();
  const ada = await enter(room, "Ada");
  await row(boss, "Ada").waitFor(PATIENCE);
  const ids = () => Promise.all([boss, ada].map((page) => page.evaluate(() => window.tertulia.participantId)));
  const before = await ids();
  const ruled = async (words) => {
    for (const page of [boss, ada]) await page.waitForFunction((text) => document.querySelector(".rule-notes").textContent === text, words, PATIENCE);
  };
  const set = async (rule, words) => {
    await boss.click(`.people-rules [data-act=${rule}]`);
    await ruled(words);
  };
  /** Runs the server again, and waits until both have noticed and are back. */
  const restart = async (end) => {
    const away = Promise.all([boss, ada].map((page) => page.waitForFunction(() => !window.tertulia.signaling.isConnected, null, PATIENCE)));
    await end();
    await away;
    await server.run();
    for (const page of [boss, ada]) await page.waitForFunction(() => window.tertulia.state === "connected" && window.tertulia.signaling.isConnected, null, PATIENCE);
  };
  await set("waiting_room", "Waiting room");
  await set("chat", "Waiting roomChat off");
  const eve = await open(room, "Eve");
  await eve.waitForSelector(".waiting-page h1", PATIENCE);
  await row(boss, "Eve").waitFor(PATIENCE);
  const lost = eve.locator(".waiting-state", { hasText: "The connection was lost" }).waitFor(PATIENCE);
  await restart(() => server.terminate());
  await lost;
  await eve.locator(".waiting-state", { hasText: "A moderator has been told" }).waitFor(PATIENCE);
  await ruled("Waiting roomChat off");
  assert.deepEqual(await ids(), before);
  assert.ok(await eve.locator(".waiting-page").isVisible());
  await boss.waitForFunction(() => window.tertulia.moderation.waiting.size === 1, null, PATIENCE);
  await act(boss, "Eve", "admit");
  await eve.waitForSelector(".call .tile.own", PATIENCE);

  await set("lock", "LockedWaiting roomChat off");
  await restart(() => server.kill());
  await ruled("LockedWaiting roomChat off");
  await eve.waitForFunction(() => window.tertulia.state === "connected", null, PATIENCE);
  assert.deepEqual(await ids(), before);
  const mallory = await open(room, "Mallory");
  await mallory.waitForSelector(".ended h1", PATIENCE);
  assert.equal(await mallory.locator(".ended h1").textContent(), "The room is locked");
  await close(boss, ada, eve, mallory);
});
