/** Debian's Firefox, driven by WebDriver BiDi; it answers to the calls of a Chromium page that our tests use. */
import puppeteer from "puppeteer-core";

/** It takes 8 s to start on an idle machine, and several times that on a busy one. */
const START_PATIENCE_MS = 180_000;

/** Fake devices, no permission prompts. */
const PREFERENCES = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  // Names instead of addresses are resolved by multicast, for which nobody listens here.
  "media.peerconnection.ice.obfuscate_host_addresses": false,
};

export const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

/** @param {{ executablePath?: string, profile?: string }} [changes] `profile`: a folder that has it already, or will */
export function launchFirefox({ executablePath = FIREFOX, profile } = {}) {
  return puppeteer.launch({
    browser: "firefox",
    executablePath,
    userDataDir: profile,
    headless: true,
    timeout: START_PATIENCE_MS,
    protocolTimeout: START_PATIENCE_MS,
    defaultViewport: null,
    extraPrefsFirefox: PREFERENCES,
  });
}

/**
 * A page of its own person in a window of its own: a tab behind another counts as hidden. What goes wrong in it ends
 * up in `page.complaints`.
 *
 * @param {import("puppeteer-core").Browser} firefox
 * @param {string} url
 * @param {{ viewport: { width: number, height: number }, before?: (() => void)[] }} options `before` runs in the page
 *   ahead of its own scripts
 */
export async function openInFirefox(firefox, url, { viewport, before = [] }) {
  const context = await firefox.createBrowserContext();
  const page = await context.newPage({ type: "window" });
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  page.setViewportSize = (size) => page.setViewport(size);
  page.leave = () => context.close();
  await page.setViewport(viewport);
  for (const script of before) await page.evaluateOnNewDocument(script);
  await page.goto(url);
  return page;
}
