/** No browser throws at an ICE server that the server accepts. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { launch, openPage } from "./chromium.mjs";

const cases = JSON.parse(readFileSync(new URL("../../../signaling/golden/ice_servers.json", import.meta.url), "utf8"));

test("a browser takes what the server takes, and throws at what it refuses", async () => {
  const browser = await launch();
  try {
    const page = await openPage(browser, "about:blank");
    const thrown = await page.evaluate(
      (servers) =>
        servers.map((server) => {
          try {
            new RTCPeerConnection({ iceServers: [server] }).close();
            return "";
          } catch (error) {
            return error.message;
          }
        }),
      cases.map(({ server }) => server),
    );
    for (const [at, { server, refused, browsers_take_it: lenient = false }] of cases.entries()) {
      const throws = thrown[at] !== "";
      assert.equal(throws, Boolean(refused) && !lenient, `${JSON.stringify(server)}: ${thrown[at]}`);
    }
  } finally {
    await browser.close();
  }
});
