/** Calls over HTTPS with the server's own certificate, and the page where it is not on HTTPS. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:tls";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage, SLOW_CAMERA } from "./chromium.mjs";
import { Server } from "./server.mjs";

const PATIENCE = { timeout: 30_000 };
/** A name that is not localhost: browsers do not take its pages for safe by themselves. */
const HOST = "call.test";
const ROOM = `tls-${process.pid}`;
const MOVING = ".tile.person:not(.own).has-picture.moving";

let browser;

before(async () => {
  const also = [...SLOW_CAMERA.also, `--host-resolver-rules=MAP ${HOST} 127.0.0.1`, "--ignore-certificate-errors"];
  browser = await launch({ ...SLOW_CAMERA, also });
});
after(() => browser?.close());

/** The server's address by the name. */
function named(server, protocol = "https:") {
  const url = new URL(server.url);
  url.hostname = HOST;
  url.protocol = protocol;
  return url.href;
}

/** The SHA-256 digest of the certificate that the next connection gets. */
async function fingerprint(server) {
  const { port } = new URL(server.url);
  const socket = connect({ port: Number(port), host: "127.0.0.1", servername: HOST, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { fingerprint256, subjectaltname } = socket.getPeerCertificate();
  socket.destroy();
  assert.match(subjectaltname, /DNS:call\.test/);
  return fingerprint256;
}

/** Runs in the page: frames and sound received, or whether both are more than `before`. */
async function received(before) {
  let [frames, energy] = [0, 0];
  (await window.tertulia.getStats()).forEach((entry) => {
    if (entry.type !== "inbound-rtp") return;
    frames += entry.framesDecoded ?? 0;
    energy += entry.totalAudioEnergy ?? 0;
  });
  return before ? frames >= before.frames + 10 && energy > before.energy : { frames, energy };
}

/** Waits until pictures and sound of the other have come for a while from now on. */
async function growing(page) {
  const before = await page.evaluate(received, null);
  await page.waitForFunction(received, before, { ...PATIENCE, polling: 200 });
}

test("two hold a call over HTTPS with the server's own certificate, which a reload keeps", async () => {
  const server = await Server.start({ secure: true, arrange: async () => ["--tls-self-signed", "--allowed-host", HOST] });
  const pages = [];
  try {
    const certificate = await fingerprint(server);
    assert.ok(server.log.includes(certificate), server.log);
    for (const name of ["Ada", "Grace"]) pages.push(await openPage(browser, autojoin(named(server), name, { room: ROOM })));
    for (const page of pages) {
      await page.waitForSelector(MOVING, PATIENCE);
      assert.deepEqual(await page.evaluate(() => [isSecureContext, location.protocol]), [true, "https:"]);
    }
    for (const page of pages) await growing(page);
    await server.reload();
    for (const page of pages) await growing(page);
    assert.equal(await fingerprint(server), certificate, "browsers are not asked again");
    for (const page of pages) assert.deepEqual(page.complaints, []);
  } finally {
    for (const page of pages) await page.context().close();
    await server.stop();
  }
});

test("an address without https:// leads to the page over TLS", async () => {
  const server = await Server.start({ secure: true, arrange: async () => ["--tls-self-signed", "--allowed-host", HOST] });
  try {
    const page = await openPage(browser, `${named(server, "http:")}?room=hall`);
    assert.equal(page.url(), `${named(server)}?room=hall`);
    await page.waitForSelector(".preview video:not([hidden])", PATIENCE);
    await page.context().close();
  } finally {
    await server.stop();
  }
});

test("a page that is not on HTTPS says why there is no camera, and what to do", async () => {
  const server = await Server.start({ arrange: async () => ["--allowed-host", HOST] });
  try {
    const page = await openPage(browser, `${named(server, "http:")}?room=hall`);
    const note = page.locator(".preview-note", { hasText: "https://" });
    await note.waitFor(PATIENCE);
    assert.match(await note.textContent(), /Browsers give a camera and a microphone only .* --tls-self-signed .* join, to watch and listen/);
    assert.equal(await page.evaluate(() => isSecureContext), false);
    // Watching takes no camera.
    await page.fill('input[name="name"]', "Zoe");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".call .tile.own", PATIENCE);
    await page.context().close();
  } finally {
    await server.stop();
  }
});
