/** A picture that stands still is explained in both browsers, and so long only. */
import { after, before, describe, test } from "node:test";

import { address } from "../network.mjs";
import { UdpCut } from "../udp-cut.mjs";
import { arriving, tileOf, until } from "../watching.mjs";
import { PATIENCE, join, leaveAll, newRoom, startServer } from "./browsers.mjs";

const VIEWERS = { Fia: "Firefox", Cem: "Chromium" };

describe("a picture that stands still", () => {
  let server;
  /** The ways of who sends, and of who watch. */
  const cuts = {};
  let ana;
  const viewers = {};

  before(async () => {
    server = await startServer(async (mediaPort) => {
      const told = [];
      for (const [way, names] of [["sender", ["Ana"]], ["viewers", Object.keys(VIEWERS)]]) {
        cuts[way] = await UdpCut.start(mediaPort, address);
        told.push(...names.flatMap((name) => ["--announce-for", `${name}=${cuts[way].address}`]));
      }
      return told;
    });
    const room = newRoom();
    ana = await join("Chromium", server, "Ana", { room, mic: "0" });
    for (const [name, kind] of Object.entries(VIEWERS)) {
      viewers[name] = await join(kind, server, name, { room, camera: "0", mic: "0" });
    }
    await allGoOn();
  });
  after(async () => {
    await server?.stop();
    for (const cut of Object.values(cuts)) cut.stop();
  });

  const noteOf = (page) => page.evaluate((tile) => document.querySelector(`${tile} .note`)?.textContent ?? null, tileOf("Ana"));

  /** Everybody sees a picture that moves, and nothing is explained. */
  async function allGoOn() {
    for (const [name, page] of Object.entries(viewers)) {
      await until(`no word to ${name}`, () => noteOf(page), (note) => note === "", PATIENCE);
      const began = (await arriving(page))?.decoded ?? 0;
      await until(`a picture moves at ${name}`, () => arriving(page), (now) => now?.decoded > began + 10, PATIENCE);
    }
  }

  async function allRead(t, words) {
    const began = performance.now();
    const all = Object.entries(viewers).map(async ([name, page]) => {
      const { found } = await until(`${name} reads ${words}`, () => noteOf(page), (note) => words.test(note), PATIENCE);
      t.diagnostic(`${name} reads "${found}" after ${Math.round(performance.now() - began)} ms`);
    });
    await Promise.all(all);
  }

  test("that its sender's network is cut is said", { timeout: 120_000 }, async (t) => {
    cuts.sender.isCut = true;
    await allRead(t, /^paused: nothing comes from its sender at the moment$|^no picture arrives/);
    cuts.sender.isCut = false;
    await allGoOn();
  });

  test("that one's own network is cut is said, and it comes back", { timeout: 120_000 }, async (t) => {
    cuts.viewers.isCut = true;
    await allRead(t, /^the connection to the server is interrupted$/);
    cuts.viewers.isCut = false;
    await allGoOn();
  });

  test("what arrives and is not shown is noticed, however the browser counts pictures", { timeout: 120_000 }, async (t) => {
    const each = (page, play) =>
      page.evaluate(([tile, wish]) => void document.querySelector(`${tile} video`)[wish ? "play" : "pause"](), [tileOf("Ana"), play]);
    for (const page of Object.values(viewers)) await each(page, false);
    await allRead(t, /^no picture arrives at the moment$/);
    for (const page of Object.values(viewers)) await each(page, true);
    await allGoOn();
  });

  test("no page had anything to complain about", () => leaveAll(ana, ...Object.values(viewers)));
});
