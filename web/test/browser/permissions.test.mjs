/**
 * The page joins with its microphone and camera on, by tokens that forbid some of it. The m-line that is refused is the
 * first of the offer, on which the transport of all others hangs.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { autojoin, launch, leave, openPage, SLOW_CAMERA } from "./chromium.mjs";
import { startWithKeys } from "./keyed-server.mjs";
import { keepConnections, tileOf, until } from "./watching.mjs";

const PATIENCE = { timeout: 30_000 };
const NO_SOUND = "You may not send sound in this room.";
const NO_CAMERA = "You may not send a camera in this room.";
const NO_RECEIVING = "You may not see or hear others in this room.";

let keyed;
let browser;
/** Somebody who may do everything. */
let ada;

before(async () => {
  [browser, keyed] = await Promise.all([launch(SLOW_CAMERA), startWithKeys()]);
  ada = await enter("Ada");
});
after(async () => {
  await browser?.close();
  await keyed?.stop();
});

async function enter(name, ...grants) {
  const token = keyed.token("--room", "hall", "--name", name, ...grants);
  const page = await openPage(browser, "about:blank");
  await page.addInitScript(keepConnections);
  await page.goto(`${autojoin(keyed.server.url, name, { room: "hall" })}#token=${token}`);
  await page.waitForSelector(".call .tile.own", PATIENCE);
  return page;
}

/** Waits until somebody's tile shows a picture that moves. */
const sees = (page, name) => page.waitForSelector(`${tileOf(name)}.has-picture.moving`, PATIENCE);

/** Waits until sound comes on any m-line: there is but one other who could be heard. */
async function hears(page) {
  const packets = () =>
    page.evaluate(async () => {
      const report = await window.tertulia.getStats();
      const sounds = [...report.values()].filter(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
      return sounds.reduce((sum, { packetsReceived }) => sum + packetsReceived, 0);
    });
  const before = await packets();
  await until("sound", packets, (now) => now > before, PATIENCE);
}

/** What somebody sends, as the page is told; and whether the page has media of it. */
const tracksOf = (page, name) =>
  page.evaluate((wanted) => {
    const { participants, receiverOf } = window.tertulia;
    const { tracks } = [...participants.values()].find((participant) => participant.name === wanted);
    const listed = [...tracks.values()].map(({ id, source }) => [source, receiverOf.call(window.tertulia, id) !== null]);
    return Object.fromEntries(listed);
  }, name);

/** The page says in words what it may not, and its buttons do too. */
async function isTold(page, words) {
  await page.waitForFunction(
    (wanted) => [...document.querySelectorAll(".problems .problem span")].map(({ textContent }) => textContent).sort().join("|") === wanted,
    [...words].sort().join("|"),
    PATIENCE,
  );
  for (const [control, word] of [["microphone", NO_SOUND], ["camera", NO_CAMERA]]) {
    const button = page.locator(`[data-control="${control}"]`);
    const forbidden = words.includes(word);
    assert.equal(await button.getAttribute("aria-disabled"), String(forbidden), control);
    assert.equal(await button.getAttribute("aria-pressed"), String(!forbidden), control);
    assert.equal((await button.getAttribute("aria-label")) === word, forbidden, control);
  }
}

/** It is connected by the connection that it began with. */
async function isWell(page) {
  await page.waitForFunction(() => window.connections.at(-1).connectionState === "connected", null, PATIENCE);
  assert.equal(await page.evaluate(() => window.connections.length), 1, "the connection was given up");
  assert.deepEqual(page.complaints, []);
}

for (const { may, grants, sound, picture, receives } of [
  { may: "no sound", grants: ["--publish", "camera,screen"], sound: false, picture: true, receives: true },
  { may: "no camera", grants: ["--publish", "microphone"], sound: true, picture: false, receives: true },
  { may: "nothing", grants: ["--publish", "none"], sound: false, picture: false, receives: true },
  { may: "everything, and receive nothing", grants: ["--no-subscribe"], sound: true, picture: true, receives: false },
  { may: "nothing, and receive nothing", grants: ["--publish", "none", "--no-subscribe"], sound: false, picture: false, receives: false },
]) {
  test(`somebody who may send ${may} joins with microphone and camera on`, { timeout: 60_000 }, async () => {
    const bob = await enter("Bob", ...grants);
    await isTold(bob, [...(sound ? [] : [NO_SOUND]), ...(picture ? [] : [NO_CAMERA]), ...(receives ? [] : [NO_RECEIVING])]);
    await ada.waitForSelector(tileOf("Bob"), PATIENCE);
    if (sound) await hears(ada);
    if (picture) await sees(ada, "Bob");
    if (receives) await hears(bob);
    if (receives) await sees(bob, "Ada");
    await isWell(bob);
    assert.deepEqual(await tracksOf(ada, "Bob"), { ...(sound && { microphone: true }), ...(picture && { camera: true }) });
    assert.deepEqual(await tracksOf(bob, "Ada"), { microphone: receives, camera: receives });
    await leave(bob);
    await ada.waitForSelector(tileOf("Bob"), { ...PATIENCE, state: "detached" });
  });
}

test("who may do everything notices nothing of it", async () => isWell(ada));
