/**
 * A call of three, one of whom travels. Ana's Chromium is on a laptop with links of its own. Ben, who moderates, and Cleo
 * are near the server. Ben's microphone is on; Cleo has no camera, and Ben has muted her microphone. Ana sees Ben large,
 * and does not receive Cleo.
 */
import assert from "node:assert/strict";

import { autojoin, openPage } from "./chromium.mjs";
import { callAsSeen, keepMedia, keepRepairs, keepTold } from "./network-records.mjs";
import { enlarge } from "./watching.mjs";

export const PATIENCE = { timeout: 40_000 };
/** Pictures come ten times a second, and sound more often. In a pause that is longer, something was cut. */
const PAUSE_MS = 800;
/** What flows for so long has come back. */
const STEADY_MS = 1_500;

/** Messages that say nothing of what is being tested. */
const ORDINARY = new Set(["ping", "ack", "view", "stats"]);

export class NetworkCall {
  /** Whether Ana's microphone is on: by it the others hear her. */
  #isHeard = true;
  /** Messages of Ana's page, with times. @type {{ at: number, type: string }[]} */
  #said = [];
  /** @type {Record<string, ReturnType<typeof callAsSeen>>} */
  #before = {};

  /**
   * @param {object} where
   * @param {import("playwright-core").Browser} where.far Ana's
   * @param {import("playwright-core").Browser} where.near the others'
   * @param {{ server: { url: string }, token: (...words: string[]) => string }} where.keyed
   * @param {string} where.room
   * @param {"herself" | "a moderator" | "nobody"} where.mutedBy who has muted Ana's microphone
   */
  static async start({ far, near, keyed, room, mutedBy }) {
    const call = new NetworkCall();
    const enter = async (browser, name, flags, more = {}) => {
      const page = await openPage(browser, "about:blank");
      if (name === "Ana") call.#listen(page);
      for (const script of [keepTold, keepRepairs, keepMedia]) await page.addInitScript(script);
      const token = keyed.token("--room", room, "--name", name, "--identity", name, ...flags);
      await page.goto(`${autojoin(keyed.server.url, name, { room, ...more })}#token=${token}`);
      await page.waitForSelector(".call .tile.own", PATIENCE);
      return page;
    };
    call.ben = await enter(near, "Ben", ["--moderate"]);
    call.cleo = await enter(near, "Cleo", [], { camera: 0 });
    call.ana = await enter(far, "Ana", []);
    await call.#settle(mutedBy);
    return call;
  }

  get pages() {
    return { ana: this.ana, ben: this.ben, cleo: this.cleo };
  }

  /** Everything that is told from now on counts; what is so now must be so afterwards. @returns {Promise<number>} the time */
  async begin() {
    for (const [name, page] of Object.entries(this.pages)) this.#before[name] = await page.evaluate(callAsSeen);
    return Date.now();
  }

  /**
   * Waits until Ana and Ben see and hear each other again.
   *
   * @param {number} since the time at which the fault began
   * @param {number} end the time at which it ended
   * @returns {Promise<{ ms: number, each: string }>} milliseconds from the end to the last of all, and in words to each
   */
  async mediaAgain(since, end) {
    const wanted = [["ana", "video"], ["ana", "audio"], ["ben", "video"], ...(this.#isHeard ? [["ben", "audio"]] : [])];
    const times = await Promise.all(
      wanted.map(async ([name, kind]) => {
        const handle = await this.pages[name].waitForFunction(backAt, { kind, since, end, pause: PAUSE_MS, steady: STEADY_MS }, PATIENCE);
        return Math.max(0, (await handle.jsonValue()) - end);
      }),
    );
    return { ms: Math.max(...times), each: wanted.map(([name, kind], index) => `${kind} of ${name === "ana" ? "Ben" : "Ana"} ${times[index]}`).join(", ") };
  }

  /** @returns {Promise<{ at: number, name: string, detail: any }[]>} what somebody was told since a time */
  async told(name, since) {
    const told = await this.pages[name].evaluate(() => window.told);
    return told.filter(({ at }) => at >= since);
  }

  /** @param {number} since @returns {string[]} types of Ana's messages */
  said(since) {
    return this.#said.filter(({ at, type }) => at >= since && !ORDINARY.has(type)).map(({ type }) => type);
  }

  /** @returns {Promise<number>} milliseconds from a time until Ana's messages reached the server again */
  async resumedAfter(since) {
    const isBack = (begin) => window.told.find(({ at, name, detail }) => at >= begin && name === "signalingChanged" && detail)?.at;
    const handle = await this.ana.waitForFunction(isBack, since, PATIENCE);
    return (await handle.jsonValue()) - since;
  }

  /** How often Ana's transport was made, and how often it has looked for another path. */
  repairs() {
    return this.ana.evaluate(() => window.repairs);
  }

  /**
   * All is as before for everybody: ids, people, mutes, what is received, what one may do, what is large.
   *
   * @param {object} how
   * @param {number} how.since
   * @param {boolean} [how.isRejoined] Ana has published anew
   */
  async check({ since, isRejoined = false }) {
    for (const [name, page] of Object.entries(this.pages)) {
      const expected = without(this.#before[name], isRejoined);
      const deadline = Date.now() + PATIENCE.timeout;
      let seen = without(await page.evaluate(callAsSeen), isRejoined);
      while (JSON.stringify(seen) !== JSON.stringify(expected) && Date.now() < deadline) {
        await page.waitForTimeout(100);
        seen = without(await page.evaluate(callAsSeen), isRejoined);
      }
      assert.deepEqual(seen, expected, `the call as ${name} has it`);
    }
    if (!isRejoined) await this.checkNobodyMoved(since);
  }

  /** Nobody was told of anybody coming or going, and Ana's page never left the call. */
  async checkNobodyMoved(since) {
    for (const name of Object.keys(this.pages)) {
      const told = await this.told(name, since);
      assert.deepEqual(told.filter((each) => /^(participant|state)/.test(each.name)), [], `what ${name} was told`);
    }
    assert.ok(!this.said(since).includes("join"), "nothing was joined");
  }

  async close() {
    for (const page of Object.values(this.pages)) await page?.context().close();
  }

  /** @param {"herself" | "a moderator" | "nobody"} mutedBy */
  async #settle(mutedBy) {
    const isThere = () => {
      const others = [...(window.tertulia?.participants.values() ?? [])];
      return window.tertulia?.state === "connected" && others.length === 2 && others.every(({ tracks }) => tracks.size > 0);
    };
    for (const page of Object.values(this.pages)) await page.waitForFunction(isThere, null, PATIENCE);
    this.#isHeard = mutedBy === "nobody";
    if (mutedBy === "herself") await this.ana.keyboard.press("m");
    await this.ben.evaluate(
      async (names) => {
        const room = window.tertulia;
        for (const { name, tracks } of room.participants.values()) {
          const microphone = [...tracks.values()].find(({ source }) => source === "microphone");
          if (names.includes(name)) await room.moderation.mute(microphone.id);
        }
      },
      ["Cleo", ...(mutedBy === "a moderator" ? ["Ana"] : [])],
    );
    await enlarge(this.ana, "Ben");
    await this.ana.evaluate(async () => {
      const cleo = [...window.tertulia.participants.values()].find(({ name }) => name === "Cleo");
      await window.tertulia.unsubscribe([...cleo.tracks.keys()]);
    });
    const muted = ["Cleo", ...(mutedBy === "nobody" ? [] : ["Ana"])];
    for (const page of [this.ben, this.ana]) await page.waitForFunction(areMuted, muted, PATIENCE);
    const now = Date.now();
    await this.mediaAgain(now, now);
  }

  /** @param {import("playwright-core").Page} page */
  #listen(page) {
    const keep = (type) => this.#said.push({ at: Date.now(), type });
    page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => keep(JSON.parse(String(payload)).type)));
  }
}

/** Runs in the page: the time at which something is back that flows now. */
function backAt({ kind, since, end, pause, steady }) {
  const times = window.came[kind].filter((at) => at >= since - pause);
  const now = Date.now();
  if (times.length < 2 || now - times.at(-1) > pause) return false;
  let back = times[0];
  for (let index = 1; index < times.length; index += 1) if (times[index] - times[index - 1] > pause) back = times[index];
  return now - Math.max(back, end) >= steady ? back : false;
}

/** Runs in the page: whether the microphones of these, and of no others, are muted. @param {string[]} names */
function areMuted(names) {
  const own = [...window.tertulia.publications].filter(({ source }) => source === "microphone");
  const others = [...window.tertulia.participants.values()].flatMap(({ name, tracks }) =>
    [...tracks.values()].filter(({ source }) => source === "microphone").map(({ muted }) => ({ name, muted })),
  );
  const mine = own.map(({ muted }) => ({ name: window.tertulia.name, muted }));
  return [...others, ...mine].every(({ name, muted }) => muted === names.includes(name));
}

/** A call without what is another's after a publication anew. @param {ReturnType<typeof callAsSeen>} call @param {boolean} isRejoined */
function without(call, isRejoined) {
  const people = call.people.map((each) => ({
    ...each,
    tracks: each.tracks.map(({ id, ...track }) => (isRejoined ? track : { id, ...track })).sort((a, b) => a.source.localeCompare(b.source)),
  }));
  return { ...call, people };
}
