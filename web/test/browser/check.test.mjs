/** The page on which people check their connection: each way on its own, in an open network and where no UDP gets through. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";

import { launch, openPage } from "./chromium.mjs";
import { startWithKeys } from "./keyed-server.mjs";
import { address, runInside } from "./network.mjs";
import { Server } from "./server.mjs";

const PATIENCE = { timeout: 60_000 };

if (address === null) {
  await runInside(import.meta.url, { asRoot: true });
} else {
  let server;
  let browser;
  let mediaPort;

  /** @param {string[]} rules of the firewall of this namespace, in place of all before */
  function firewall(rules) {
    const chain = ["add table inet test", "flush table inet test", "add chain inet test input { type filter hook input priority 0; }"];
    const script = [...chain, ...rules.map((rule) => `add rule inet test input ${rule}`)].join("\n");
    const { status, stderr } = spawnSync("nft", ["-f", "-"], { input: script });
    assert.equal(status, 0, String(stderr));
  }

  before(async () => {
    server = await Server.start({
      host: address,
      arrange: async (port) => {
        mediaPort = port;
        return ["--media-ip", address, "--open", "--ice-tcp", "--turn"];
      },
    });
    // What is said of origins without TLS is no complaint about the page.
    browser = await launch({ also: [`--unsafely-treat-insecure-origin-as-secure=${new URL(server.url).origin}`] });
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** Opens the page, waits for its end, and reads it. */
  async function check(options) {
    const page = await openPage(browser, new URL("check", server.url).href, options);
    await page.getByRole("button", { name: "Check again" }).waitFor(PATIENCE);
    const read = await page.evaluate(() => {
      const { dataset, textContent } = document.querySelector(".check-summary");
      const rows = [...document.querySelectorAll("tbody tr")].map((row) => [row.dataset.way, row.dataset.state]);
      const times = [...document.querySelectorAll("tr[data-state=reached] td:nth-last-child(-n + 2)")].map((cell) => cell.textContent);
      const isWide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
      return { tone: dataset.tone, summary: textContent, rows: Object.fromEntries(rows), times, isWide };
    });
    return { page, ...read };
  }

  test("in an open network every way works, and says how long it takes", async () => {
    firewall([]);
    const { page, tone, summary, rows, times } = await check();
    assert.deepEqual(rows, { udp: "reached", tcp: "reached", turn: "reached" });
    assert.equal(tone, "good");
    assert.match(summary, /Calls work from here.*The server answers at once/);
    assert.equal(times.length, 6);
    for (const time of times) assert.match(time, /^[\d.]+ ms$/);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  test("where no UDP gets through, its row says so and the others work", async () => {
    firewall([`udp dport ${mediaPort} drop`]);
    // As on a phone.
    const { page, tone, summary, rows, isWide } = await check({ viewport: { width: 360, height: 640 } });
    assert.deepEqual(rows, { udp: "blocked", tcp: "reached", turn: "reached" });
    assert.equal(tone, "fair");
    assert.match(summary, /lets no UDP through: the call works over TCP, with more delay/);
    assert.match(await page.locator("tr[data-way=udp]").innerText(), /Does not work[^]*no UDP through/);
    assert.equal(isWide, false, "it fits a phone");
    await page.context().close();
  });

  test("where nothing for media gets through, the page says that calls do not work", async () => {
    firewall([]);
    // One port carries messages, TCP and TURN, so that a firewall cannot tell them apart: nobody answers checks that are
    // not signed as they ought to be.
    const page = await openPage(browser, "about:blank");
    await page.addInitScript(() => {
      const { RTCPeerConnection } = window;
      window.RTCPeerConnection = class extends RTCPeerConnection {
        setRemoteDescription({ type, sdp }) {
          return super.setRemoteDescription({ type, sdp: sdp.replace(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${"x".repeat(24)}`) });
        }
      };
    });
    await page.goto(new URL("check", server.url).href);
    await page.getByRole("heading", { name: "Calls do not work from here" }).waitFor(PATIENCE);
    assert.equal(await page.locator("tr[data-state=blocked]").count(), 3);
    await page.context().close();
  });

  test("where joins need a token, an invitation link lets the check in, and its token is not shown", async () => {
    firewall([]);
    const keyed = await startWithKeys({ host: address, flags: ["--media-ip", address, "--ice-tcp=false", "--turn=false"] });
    try {
      const token = keyed.token("--room", "hall");
      const page = await openPage(browser, new URL("check", keyed.server.url).href);
      await page.getByRole("heading", { name: "An invitation is needed" }).waitFor(PATIENCE);
      await page.getByLabel("Invitation link").fill(`${keyed.server.url}?room=hall#token=${token}`);
      await page.getByRole("button", { name: "Check with this link" }).click();
      await page.getByRole("heading", { name: "Calls work from here" }).waitFor(PATIENCE);
      assert.deepEqual(await page.locator("tbody tr").evaluateAll((rows) => rows.map(({ dataset }) => dataset.state)), ["reached", "not_offered"]);

      const other = await openPage(browser, new URL(`check#token=${token}`, keyed.server.url).href);
      await other.getByRole("heading", { name: "Calls work from here" }).waitFor(PATIENCE);
      for (const { url, html } of [page, other].map((it) => ({ url: it.url(), html: it.content() }))) {
        assert.ok(!url.includes("token") && !(await html).includes(token));
      }
      assert.ok(!keyed.server.log.includes(token));
      for (const it of [page, other]) await it.context().close();
    } finally {
      await keyed.stop();
    }
  });

  test("the page of the call leads to the check", async () => {
    const page = await openPage(browser, server.url);
    const [opened] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("link", { name: "Check my connection" }).click()]);
    await opened.getByRole("heading", { name: "Check my connection" }).waitFor(PATIENCE);
    await page.context().close();
  });
}
