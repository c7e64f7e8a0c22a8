/** Firefox and Chromium in calls with each other, through the real server. One Firefox for all: it starts slowly. */
import { after, before } from "node:test";

import { startBrowsers, stopBrowsers } from "./firefox/browsers.mjs";
import { address, runInside } from "./network.mjs";

if (address === null) {
  await runInside(import.meta.url);
} else {
  before(startBrowsers);
  after(stopBrowsers);
  await import("./firefox/call.mjs");
  await import("./firefox/publishing.mjs");
  await import("./firefox/viewing.mjs");
  await import("./firefox/frozen.mjs");
  await import("./firefox/first-m-line.mjs");
  await import("./firefox/encrypted.mjs");
}
