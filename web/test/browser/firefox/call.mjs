/** A call of two by the page: one in Firefox, one in Chromium. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { figuresOf, tileOf, until } from "../watching.mjs";
import { LARGE, PATIENCE, join, leaveAll, newRoom, startServer } from "./browsers.mjs";

/** The people in the call, each with their partner. */
const PEOPLE = [["Fia", "Cem"], ["Cem", "Fia"]];

/** Waits until a page has, or has no more, what a selector finds. */
function has(page, selector, wanted = true) {
  const look = () => page.evaluate((each) => document.querySelector(each) !== null, selector);
  return until(`${selector} is ${wanted ? "there" : "gone"}`, look, (found) => found === wanted, PATIENCE);
}

/** @returns what has come of the other so far */
function received(page) {
  return page.evaluate(async () => {
    const found = { frames: 0, energy: 0, samples: 0 };
    for (const entry of (await window.tertulia.getStats()).values()) {
      if (entry.type !== "inbound-rtp") continue;
      found.frames += entry.framesDecoded ?? 0;
      found.energy += entry.totalAudioEnergy ?? 0;
      found.samples += entry.totalSamplesReceived ?? 0;
    }
    return found;
  });
}

async function grows(page, what, by) {
  const began = (await received(page))[what];
  await until(`${what} of ${began} grow`, () => received(page), (now) => now[what] > began + by, PATIENCE);
}

/** Runs in the page. Firefox captures no screen where there is none, nor without a person who chooses one. */
function fakeScreen() {
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
    const context = canvas.getContext("2d");
    let turn = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(turn += 11) % 360} 80% 50%)`;
      context.fillRect(0, 0, 1280, 720);
    }, 100);
    return canvas.captureStream(10);
  };
}

describe("Firefox and Chromium in one call", () => {
  let server;
  /** @type {Record<string, any>} */
  const pages = {};

  before(async () => {
    server = await startServer();
    const room = newRoom();
    pages.Fia = await join("Firefox", server, "Fia", { room, video: "360p" }, LARGE);
    pages.Cem = await join("Chromium", server, "Cem", { room, video: "360p" }, LARGE);
  });
  after(() => server.stop());

  test("they see each other", async () => {
    for (const [name, other] of PEOPLE) {
      await has(pages[name], `${tileOf(other)}.has-picture.moving`);
      await grows(pages[name], "frames", 20);
    }
  });

  test("they hear each other", async () => {
    for (const [name, other] of PEOPLE) {
      await grows(pages[name], "energy", 0);
      await has(pages[name], `${tileOf(other)}.speaking`);
    }
  });

  test("what one writes reaches the other", async () => {
    for (const [name, other] of PEOPLE) {
      const text = `Hello from ${name}`;
      await pages[name].keyboard.press("c");
      await has(pages[name], ".chat:not([hidden]) .chat-input");
      await pages[name].type(".chat-input", text);
      await pages[name].keyboard.press("Enter");
      await pages[name].keyboard.press("Escape");
      const written = () => pages[other].evaluate(() => [...document.querySelectorAll(".chat-text")].map((each) => each.textContent));
      await until(`${other} reads ${name}`, written, (texts) => texts.includes(text), PATIENCE);
    }
  });

  test("a microphone that is off shows there and is silent, until it is on", async () => {
    for (const [name, other] of PEOPLE) {
      await pages[name].keyboard.press("m");
      await has(pages[other], `.tile[aria-label="${name}, microphone off"]`);
      await has(pages[other], `${tileOf(name)}.speaking`, false);
      await pages[name].keyboard.press("m");
      await has(pages[other], `.tile[aria-label="${name}"]`);
      await grows(pages[other], "energy", 0);
      await has(pages[other], `${tileOf(name)}.speaking`);
    }
  });

  test("a camera that is off shows there, and comes back", async () => {
    for (const [name, other] of PEOPLE) {
      await pages[name].keyboard.press("v");
      await has(pages[other], `.tile[aria-label="${name}, camera off"]`);
      await pages[name].keyboard.press("v");
      await has(pages[other], `.tile[aria-label="${name}"].has-picture.moving`);
      await grows(pages[other], "frames", 10);
    }
  });

  test("a shared screen is shown there, and goes when it ends", async () => {
    await pages.Fia.evaluate(fakeScreen);
    for (const [name, other] of PEOPLE) {
      // Again on the same m-line.
      for (let time = 0; time < 2; time += 1) {
        await pages[name].click('[data-control="screen"]');
        await has(pages[other], ".tile.screen.featured.moving");
        await grows(pages[other], "frames", 10);
        await pages[name].click('[data-control="screen"]');
        await has(pages[other], ".tile.screen", false);
      }
    }
  });

  test("the figures over a tile tell what arrives", async () => {
    for (const [name, other] of PEOPLE) {
      await pages[name].keyboard.press("s");
      const right = /\d+×\d+ · \d+ fps · [1-9]\d* kbit\/s[^\n]*VP8\nlayer \d [^\n]*\(\w+\)\nestimate [^\n]*\nloss [^\n]*keyframes \d+/;
      await until(`${name}'s figures`, () => figuresOf(pages[name], other), (text) => right.test(text), PATIENCE);
      await pages[name].keyboard.press("s");
    }
  });

  test("messages over both data channels reach the other", async () => {
    for (const [name, other] of PEOPLE) {
      await pages[other].evaluate(() => {
        window.heard = [];
        window.tertulia.on("dataReceived", ({ payload, reliable }) => window.heard.push(`${payload} ${reliable}`));
      });
      for (const reliable of [true, false]) {
        await pages[name].evaluate((wish) => window.tertulia.sendData("hi", { reliable: wish }), reliable);
      }
      const heard = () => pages[other].evaluate(() => [...window.heard].sort());
      await until("both messages", heard, (all) => all.join() === "hi false,hi true", PATIENCE);
    }
  });

  test("who leaves is gone, and who comes back is seen again", async () => {
    await pages.Fia.click(".leave");
    await has(pages.Cem, tileOf("Fia"), false);
    await pages.Fia.reload();
    for (const [name, other] of PEOPLE) await has(pages[name], `${tileOf(other)}.has-picture.moving`);
    await pages.Cem.click(".leave");
    await has(pages.Fia, tileOf("Cem"), false);
  });

  test("no page had anything to complain about", () => leaveAll(...Object.values(pages)));
});
