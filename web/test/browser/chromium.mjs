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

/** Milliseconds for Chromium to close what it is asked to. */
const CLOSE_MS = 20_000;

/**
 * Closes the contexts of pages, for pages that end while requests of theirs are on the way. Chromium has been seen not to
 * answer `Target.disposeBrowserContext` in half an hour then. In its place another one is started.
 *
 * @param {import("playwright-core").Browser} browser theirs
 * @param {import("playwright-core").Page[]} pages
 * @param {Parameters<typeof launch>[0]} changes of the flags of the other browser
 * @returns {Promise<import("playwright-core").Browser>} the browser for the next pages
 */
export async function closePages(browser, pages, changes) {
  const closed = Promise.all(pages.map((page) => page.context().close())).then(() => true);
  if (await within(closed, CLOSE_MS)) return browser;
  closed.catch(() => {});
  // A second call ends the process.
  const ended = browser.close().then(() => true);
  if (!(await within(ended, CLOSE_MS))) await browser.close();
  return launch(changes);
}

/** @param {Promise<boolean>} promise @param {number} ms @returns {Promise<boolean>} false if it takes longer */
async function within(promise, ms) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ms, false)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The address that joins at once. */
export function autojoin(base, name, { room = "test", ...more } = {}) {
  const url = new URL(base);
  for (const [key, value] of Object.entries({ room, name, autojoin: "1", debug: "1", video: "180p", ...more })) {
    url.searchParams.set(key, String(value));
  }
  return url.href;
}
