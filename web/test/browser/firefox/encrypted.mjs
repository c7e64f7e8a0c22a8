/** An encrypted call between Firefox and Chromium. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { tileOf, until } from "../watching.mjs";
import { PATIENCE, join, leaveAll, newRoom, startServer } from "./browsers.mjs";

const KEY = "AAECAwQFBgcICQoLDA0ODw";
const OTHER_KEY = "DwECAwQFBgcICQoLDA0OAA";

function received(page) {
  return page.evaluate(async () => {
    const found = { frames: 0, energy: 0 };
    for (const entry of (await window.tertulia.getStats()).values()) {
      if (entry.type !== "inbound-rtp") continue;
      found.frames += entry.framesDecoded ?? 0;
      found.energy += entry.totalAudioEnergy ?? 0;
    }
    const states = [...window.tertulia.participants.values()].map(({ id, name }) => [name, window.tertulia.encryptionOf(id)]);
    return { ...found, states: Object.fromEntries(states) };
  });
}

describe("an encrypted call between Firefox and Chromium", () => {
  for (const codec of ["VP8", "VP9", "H264"]) {
    test(`${codec}: both see and hear each other, and not who has another key`, { timeout: 180_000 }, async (t) => {
      const server = await startServer();
      t.after(() => server.stop());
      const options = { room: newRoom(), video: "180p", codec };
      const fia = await join("Firefox", server, "Fia", options, undefined, undefined, `#key=${KEY}`);
      const knows = await fia.evaluate((name) => RTCRtpSender.getCapabilities("video").codecs.some(({ mimeType }) => mimeType === `video/${name}`), codec);
      if (!knows) {
        await leaveAll(fia);
        return t.diagnostic(`this Firefox has no ${codec}`);
      }
      const cem = await join("Chromium", server, "Cem", options, undefined, undefined, `#key=${KEY}`);
      for (const [page, other] of [[fia, "Cem"], [cem, "Fia"]]) {
        const { found } = await until(`${other} is seen and heard`, () => received(page), ({ frames, energy }) => frames > 10 && energy > 0, PATIENCE);
        assert.equal(found.states[other], "decrypted");
        t.diagnostic(`${other}: ${JSON.stringify(found)}`);
      }
      const mia = await join("Firefox", server, "Mia", options, undefined, undefined, `#key=${OTHER_KEY}`);
      for (const [page, name] of [[mia, "Fia"], [mia, "Cem"], [fia, "Mia"], [cem, "Mia"]]) {
        const note = () => page.evaluate((tile) => document.querySelector(`${tile} .note`)?.textContent ?? "", tileOf(name));
        await until(`${name} has another key`, note, (words) => words === "has another key", PATIENCE);
      }
      assert.equal((await received(mia)).frames, 0);
      await leaveAll(fia, cem, mia);
    });
  }
});
