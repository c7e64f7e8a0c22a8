/** Changes of a network in the middle of a call, each with what must be true during it. */
import assert from "node:assert/strict";

import { isLong } from "../extent.mjs";
import { until } from "../watching.mjs";
import { wayOf } from "./couple.mjs";

/**
 * A call through the network of a row, in which both see each other.
 *
 * @typedef {object} Context
 * @property {import("./lab.mjs").Lab} lab
 * @property {import("./couple.mjs").Couple} couple
 * @property {import("./rows.mjs").Row} row
 * @property {(words: string) => void} tell puts something into the report
 */

/** Seconds for which UDP works before it dies. */
const ALIVE = isLong ? 30 : 5;
/** Seconds for which a way that leads nowhere is tried beside the one in use: Firefox has been seen to for 6.5 s. */
const TRIED = 8;
/** Seconds in which whatever comes of a network's return has come. */
const SETTLED = 10;

/** Repairs after which it is clear whether they help. */
const REPAIRS = 5;
/** Requests for each repair at most. A browser asks anew each 20 ms or so, and 100 times for what never comes. */
const ASKED = 5;

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

/** The server stays on the way that works, while a browser nominates one that does not. @param {Context} context */
export async function stays({ couple, row, tell }) {
  const began = Date.now();
  while (Date.now() - began < TRIED * 1_000) {
    for (const [kind, { path }] of Object.entries(await couple.each((page) => page.evaluate(wayOf)))) assert.equal(path, row.path, kind);
    await wait(0.1);
  }
  await couple.each((page, kind) => couple.seesPictures(page, kind));
  tell(await pauses(couple, began));
}

/**
 * Pictures whose packets are lost are whole by repairs. One that no repair mends is asked for again until a keyframe comes,
 * for which Firefox waits three seconds.
 *
 * @param {Context} context
 */
export async function isRepaired({ couple, tell }) {
  const began = Date.now();
  await couple.each(async (page, kind) => {
    const look = () => page.evaluate(repairsOf);
    const { found } = await until(`${kind} is sent packets again`, look, ({ sent }) => sent >= REPAIRS, { timeout: 60_000 });
    assert.ok(found.asked < found.sent * ASKED, `${kind} asks ${found.asked} times for what is sent ${found.sent} times`);
    await couple.seesPictures(page, kind);
  });
  tell(await pauses(couple, began));
}

/**
 * The router forgets its mappings of UDP, and makes others with other ports; and again.
 *
 * @param {import("./rows.mjs").Rules[]} rules of each time
 */
export function rebinds(rules) {
  /** @param {Context} context */
  return async (context) => {
    const { couple } = context;
    const before = await couple.each((page) => page.evaluate(wayOf));
    for (const each of rules) await rebind(context, each);
    await checkSame(couple, before);
  };
}

/** @param {Context} context @param {import("./rows.mjs").Rules} rules */
async function rebind({ lab, couple, row, tell }, rules) {
  const before = await couple.each((page) => page.evaluate(wayOf));
  const since = Date.now();
  lab.firewall(rules);
  await couple.each(async (page, kind) => {
    const look = () => page.evaluate(wayOf);
    const isMoved = ({ path, seenAt }) => path === row.path && seenAt !== before[kind].seenAt;
    await until(`${kind} is seen at another port than ${before[kind].seenAt}`, look, isMoved, { timeout: 60_000, every: 50 });
    await couple.seesPictures(page, kind);
  });
  tell(await pauses(couple, since));
}

/** UDP dies, and comes back. @param {Context} context */
export async function diesAndReturns({ lab, couple, row, tell }) {
  const before = await couple.each((page) => page.evaluate(wayOf));
  await wait(ALIVE);
  let since = Date.now();
  lab.firewall({ forward: ["meta l4proto udp drop"] });
  await couple.seeEachOther({ path: "tcp", pair: / tcp -> / });
  tell(`UDP dead: ${await pauses(couple, since)}`);
  await checkSame(couple, before);
  since = Date.now();
  lab.firewall(row.rules);
  await wait(SETTLED);
  await couple.each((page, kind) => couple.seesPictures(page, kind));
  const ways = await couple.each((page) => page.evaluate(wayOf));
  const paths = Object.entries(ways).map(([kind, { path }]) => `${kind} by ${path}`);
  tell(`UDP back: ${await pauses(couple, since)}; ${paths.join(", ")}`);
  await checkSame(couple, before);
}

/** Checks that the call has the same participants and transports as before. */
async function checkSame(couple, before) {
  const now = await couple.each((page) => page.evaluate(wayOf));
  for (const [kind, { id }] of Object.entries(before)) {
    assert.equal(now[kind].id, id, `${kind} is who it was`);
    assert.equal(now[kind].transports, 1, `transports of ${kind}`);
  }
}

/** In words, how long pictures of each were away since a time, and how often another way was looked for. */
async function pauses(couple, since) {
  const each = await couple.each((page) => page.evaluate(longestPause, since));
  return Object.entries(each).map(([kind, { pause, restarts }]) => `${kind} saw nothing for ${pause} ms at most, ${restarts} ICE restarts`).join("; ");
}

/** Runs in the page: how often packets of the other's pictures were asked for again, and sent again. */
async function repairsOf() {
  const { subscriptions } = await window.tertulia.serverStats();
  const { nacksReceived: asked, retransmitted: sent } = subscriptions.find(({ kind }) => kind === "video");
  return { asked, sent };
}

/** Runs in the page. @param {number} since */
function longestPause(since) {
  const times = [since, ...window.came.video.filter((at) => at >= since)];
  const pause = Math.max(...times.slice(1).map((at, index) => at - times[index]));
  return { pause, restarts: window.repairs.restarts };
}
