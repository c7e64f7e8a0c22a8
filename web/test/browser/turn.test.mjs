/**
 * People whose media goes by TURN, to the address of the page: without a certificate, by choice, and when UDP is closed in the
 * middle of a call. Networks that let nothing but TLS out are in `networks.test.mjs`.
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

/** Makes every connection of the page go by a relay alone. For `addInitScript`. */
function relayOnly() {
  const { RTCPeerConnection } = window;
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(config) {
      super({ ...config, iceTransportPolicy: "relay" });
    }
  };
}

if (address === null) {
  await runInside(import.meta.url, { asRoot: true });
} else {
  const ROOM = `turn-${process.pid}`;
  let server;
  let browser;
  let mediaPort;
  let pages = {};

  /** @param {string[]} rules of the firewall of this namespace, in place of all before */
  function firewall(rules) {
    const chain = ["add table inet test", "flush table inet test", "add chain inet test input { type filter hook input priority 0; }"];
    const script = [...chain, ...rules.map((rule) => `add rule inet test input ${rule}`)].join("\n");
    const { status, stderr } = spawnSync("nft", ["-f", "-"], { input: script });
    assert.equal(status, 0, String(stderr));
  }

  /** @param {string} room @param {(() => void)[]} scripts run before the page's own */
  async function meet(room, ...scripts) {
    for (const page of Object.values(pages)) await page.context().close();
    pages = {};
    for (const name of ["Ana", "Ben"]) {
      const page = await openPage(browser, "about:blank");
      for (const script of [keepConnections, ...scripts]) await page.addInitScript(script);
      await page.goto(autojoin(server.url, name, { room }));
      pages[name] = page;
    }
  }

  /** How a page is reached, as the server tells it. */
  const path = (page) => page.evaluate(async () => (await window.tertulia.serverStats().catch(() => null))?.path);

  /** The pair of candidates in use, as the browser tells it. */
  const selected = (page) =>
    page.evaluate(async () => {
      const report = await window.connections.at(-1).getStats();
      const { selectedCandidatePairId } = [...report.values()].find(({ type }) => type === "transport");
      const pair = report.get(selectedCandidatePairId);
      const { candidateType, relayProtocol } = report.get(pair.localCandidateId);
      return { candidateType, relayProtocol, remote: report.get(pair.remoteCandidateId).address };
    });

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
        return ["--media-ip", address, "--open", "--turn", "--ice-tcp=false"];
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

  test("a browser that wants relays alone publishes and views by TURN", async () => {
    await meet(`${ROOM}-1`, relayOnly);
    await seeEachOther("turn_tcp");
    for (const page of Object.values(pages)) {
      assert.deepEqual(await selected(page), { candidateType: "relay", relayProtocol: "tcp", remote: address });
    }
  });

  test("a call goes on by TURN when UDP is closed in the middle of it, with the same people and transports", async () => {
    await meet(`${ROOM}-2`);
    await seeEachOther("udp");
    const participant = (page) => page.evaluate(() => window.tertulia.participantId);
    const ids = await Promise.all(Object.values(pages).map(participant));
    firewall([`udp dport ${mediaPort} drop`, `udp sport ${mediaPort} drop`]);
    await seeEachOther("turn_tcp");
    assert.deepEqual(await Promise.all(Object.values(pages).map(participant)), ids);
    for (const page of Object.values(pages)) assert.equal(await page.evaluate(() => window.connections.length), 1);
  });
}
