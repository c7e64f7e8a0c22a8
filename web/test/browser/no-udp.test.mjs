/**
 * People whose network lets no UDP through any more. Their media goes over TCP, to the address of the page. Those who come to
 * such a network are in `networks.test.mjs`.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage, SLOW_CAMERA } from "./chromium.mjs";
import { address, runInside } from "./network.mjs";
import { Server } from "./server.mjs";
import { keepConnections } from "./watching.mjs";

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const PATIENCE_MS = 40_000;

/** Waits until something is so. */
async function until(isSo, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, what);
    await wait(100);
  }
}

if (address === null) {
  await runInside(import.meta.url, { asRoot: true });
} else {
  const ROOM = `no-udp-${process.pid}`;
  let server;
  let browser;
  let mediaPort;
  const pages = {};

  /** @param {string[]} rules of the firewall of this namespace, in place of all before */
  function firewall(rules) {
    const chain = ["add table inet test", "flush table inet test", "add chain inet test input { type filter hook input priority 0; }"];
    const script = [...chain, ...rules.map((rule) => `add rule inet test input ${rule}`)].join("\n");
    const { status, stderr } = spawnSync("nft", ["-f", "-"], { input: script });
    assert.equal(status, 0, String(stderr));
  }

  const participant = (page) => page.evaluate(() => window.tertulia.participantId);

  /** How a page is reached, as the server tells it. */
  const path = (page) => page.evaluate(async () => (await window.tertulia.serverStats().catch(() => null))?.path);

  const decoded = (page) =>
    page.evaluate(async () => {
      const report = await window.tertulia.getStats();
      const video = [...(report?.values() ?? [])].filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
      return Math.max(0, ...video.map(({ framesDecoded }) => framesDecoded ?? 0));
    });

  /** Everybody is reached in this way, and sees the other's pictures move. */
  async function seeEachOther(expected) {
    for (const [name, page] of Object.entries(pages)) {
      await until(async () => (await path(page)) === expected, `${name} is reached by ${expected}`);
      const before = await decoded(page);
      await until(async () => (await decoded(page)) > before + 10, `${name} sees pictures`);
    }
  }

  before(async () => {
    server = await Server.start({
      host: address,
      arrange: async (port) => {
        mediaPort = port;
        return ["--media-ip", address, "--open", "--ice-tcp"];
      },
    });
    // Cameras are for secure origins.
    const origin = new URL(server.url).origin;
    browser = await launch({ ...SLOW_CAMERA, also: [...SLOW_CAMERA.also, `--unsafely-treat-insecure-origin-as-secure=${origin}`] });
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("a call goes on over TCP when UDP is closed in the middle of it, with the same people and transports", async () => {
    for (const name of ["Ana", "Ben"]) {
      const page = await openPage(browser, "about:blank");
      await page.addInitScript(keepConnections);
      await page.goto(autojoin(server.url, name, { room: ROOM }));
      pages[name] = page;
    }
    await seeEachOther("udp");
    const ids = await Promise.all(Object.values(pages).map(participant));
    firewall([`udp dport ${mediaPort} drop`, `udp sport ${mediaPort} drop`]);
    await seeEachOther("tcp");
    assert.deepEqual(await Promise.all(Object.values(pages).map(participant)), ids);
    for (const page of Object.values(pages)) assert.equal(await page.evaluate(() => window.connections.length), 1);
  });
}
