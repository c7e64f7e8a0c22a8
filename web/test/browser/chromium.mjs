import { chromium } from "playwright-core";

/** Fake devices, no permission prompts, nothing that talks to the outside. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--auto-select-desktop-capture-source=Entire screen",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** Changes to the flags for fewer pictures than a camera's 30: encoders and decoders share the cores of one machine. */
export const SLOW_CAMERA = {
  without: ["--use-fake-device-for-media-stream"],
  also: ["--use-fake-device-for-media-stream=fps=10"],
};

/** The browser of all tests. */
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** @param {{ without?: string[], also?: string[], executablePath?: string }} [changes] to the flags, and to what is started */
export function launch({ without = [], also = [], executablePath = CHROMIUM } = {}) {
  return chromium.launch({ executablePath, args: [...FLAGS.filter((flag) => !without.includes(flag)), ...also] });
}

/**
 * A page of its own person: nothing is shared with the others. What goes wrong in it ends up in
 * `page.complaints`.
 */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 640 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.complaints.push(message.text()));
  await page.goto(url);
  return page;
}

/** Leaves the call of a page and closes it: one that is only closed is waited for. */
export async function leave(page) {
  await page.click(".leave");
  await page.locator("h1", { hasText: "You left the call" }).waitFor({ timeout: 20_000 });
  await page.context().close();
}

/** The address that joins at once. */
export function autojoin(base, name, { room = "test", ...more } = {}) {
  const url = new URL(base);
  for (const [key, value] of Object.entries({ room, name, autojoin: "1", debug: "1", video: "180p", ...more })) {
    url.searchParams.set(key, String(value));
  }
  return url.href;
}
