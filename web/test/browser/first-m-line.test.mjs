/** Chromium stops the m-line that names the BUNDLE group. */
import { after, before, test } from "node:test";

import { launch, openPage } from "./chromium.mjs";
import { stopTheFirstMLine } from "./first-m-line.mjs";
import { Server } from "./server.mjs";

let server;
let browser;

before(async () => {
  server = await Server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test("a call goes on when its first m-line is stopped", { timeout: 120_000 }, async (t) => {
  const [stops, watches] = await Promise.all([0, 1].map(() => openPage(browser, new URL("healthz", server.url).href)));
  await stopTheFirstMLine(t, { stops, watches }, { url: server.url, room: `first-${process.pid}` });
  for (const page of [stops, watches]) await page.context().close();
});
