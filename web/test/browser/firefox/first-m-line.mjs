/** Firefox stops the m-line that names the BUNDLE group, and watches Chromium do it. */
import { describe, test } from "node:test";

import { IN_FULL } from "../extent.mjs";
import { stopTheFirstMLine } from "../first-m-line.mjs";
import { newRoom, openBare, startServer } from "./browsers.mjs";

describe("the first m-line is stopped", () => {
  for (const [one, other] of [["Firefox", "Chromium"], ["Chromium", "Firefox"]]) {
    test(`by ${one}, in a call with ${other}`, { timeout: 120_000, ...(one === "Firefox" && IN_FULL) }, async (t) => {
      const server = await startServer();
      t.after(() => server.stop());
      const [stops, watches] = await Promise.all([one, other].map((kind) => openBare(kind, server)));
      await stopTheFirstMLine(t, { stops, watches }, { url: server.url, room: newRoom() });
      for (const page of [stops, watches]) await page.leave();
    });
  }
});
