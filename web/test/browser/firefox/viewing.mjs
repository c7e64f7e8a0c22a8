/** Firefox watches a camera of Chromium's, which comes in layers. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { IN_FULL } from "../extent.mjs";
import { arriving, decodes, enlarge, isAt, tileOf, until } from "../watching.mjs";
import { LARGE, MEDIUM, PATIENCE, SMALL, join, leaveAll, newRoom, startServer } from "./browsers.mjs";

const NONE = { camera: "0", mic: "0" };
/** Longer than the page waits before it explains a picture that stands still, by two of its looks. */
const UNEXPLAINED_MS = 6_000;

/** Runs in the page: notes how long a picture stood still at most while nothing was said about it. */
function watchExplanations(tile) {
  const video = document.querySelector(`${tile} video`);
  const note = document.querySelector(`${tile} .note`);
  let since = performance.now();
  window.unexplained = 0;
  const presented = () => {
    since = performance.now();
    video.requestVideoFrameCallback(presented);
  };
  video.requestVideoFrameCallback(presented);
  setInterval(() => {
    if (!note.hidden) since = performance.now();
    window.unexplained = Math.max(window.unexplained, performance.now() - since);
  }, 50);
}

describe("Firefox watches", () => {
  for (const [codec, svc] of [["VP8"], ["VP9"], ["VP9", "L3T3_KEY"], ["AV1", "L3T3_KEY"], ["H264"]]) {
    test(`${codec} ${svc ?? "simulcast"}: the layer that fits, and no freeze unexplained`, { timeout: 120_000, ...(codec !== "VP8" && codec !== "H264" && IN_FULL) }, async (t) => {
      const server = await startServer();
      t.after(() => server.stop());
      const room = newRoom();
      const fia = await join("Firefox", server, "Fia", { room, ...NONE }, LARGE);
      const plays = await fia.evaluate((name) => RTCRtpReceiver.getCapabilities("video").codecs.some(({ mimeType }) => mimeType === `video/${name}`), codec);
      const cem = await join("Chromium", server, "Cem", { room, video: "720p", mic: "0", codec, ...(svc && { svc }) });
      await enlarge(fia, "Cem");
      if (!plays) return t.diagnostic(`this Firefox plays no ${codec}`);
      const sees = async (lines) => {
        const { found, ms } = await until(`${codec}: ${lines} lines`, decodes(fia, lines), isAt, PATIENCE);
        t.diagnostic(`${lines} lines after ${Math.round(ms)} ms, ${found.codec}`);
        assert.match(found.codec, new RegExp(codec, "i"));
        const goes = (now) => isAt(now) && now.decoded > found.decoded + 10;
        await until(`${codec}: ${lines} lines go on`, decodes(fia, lines), goes, PATIENCE);
      };
      await sees(720);
      await fia.evaluate(watchExplanations, tileOf("Cem"));
      await fia.setViewportSize(SMALL);
      await sees(180);
      await fia.setViewportSize(MEDIUM);
      await sees(360);
      await fia.setViewportSize(LARGE);
      await sees(720);
      const unexplained = await fia.evaluate(() => window.unexplained);
      t.diagnostic(`stood still for ${Math.round(unexplained)} ms at most`);
      assert.ok(unexplained < UNEXPLAINED_MS, `${Math.round(unexplained)} ms`);
      await leaveAll(fia, cem);
    });
  }
});
