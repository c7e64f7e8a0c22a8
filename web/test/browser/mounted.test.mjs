/** The page where others put it: under a path, behind proxies. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { autojoin, launch, leave, openPage } from "./chromium.mjs";
import { Server } from "./server.mjs";

const PATIENCE = { timeout: 20_000 };

let server;
let browser;

before(async () => {
  browser = await launch();
  server = await Server.start();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/**
 * A proxy to the server that takes `/call` off every path.
 *
 * @param {import("node:test").TestContext} t
 * @param {(headers: Record<string, string>) => void} change to the headers of each request
 * @param {{ upgrades?: boolean }} [options] whether WebSockets get through
 */
async function proxy(t, change, { upgrades = true } = {}) {
  const target = new URL(server.url);
  const forward = (incoming) => {
    const headers = { ...incoming.headers };
    change(headers);
    const path = incoming.url.replace(/^\/call/, "") || "/";
    return { host: target.hostname, port: target.port, method: incoming.method, headers, path: path.startsWith("?") ? `/${path}` : path };
  };
  const http = createServer((incoming, reply) => {
    if (!incoming.url.startsWith("/call")) return reply.writeHead(404).end();
    const outgoing = request(forward(incoming), (answer) => {
      reply.writeHead(answer.statusCode, answer.headers);
      answer.pipe(reply);
    });
    incoming.pipe(outgoing);
  });
  http.on("upgrade", (incoming, socket) => {
    if (!upgrades) return socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    const { path, headers } = forward(incoming);
    const to = connect(target.port, target.hostname, () => {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      to.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
      to.pipe(socket).pipe(to);
    });
    for (const end of [to, socket]) end.on("error", () => socket.destroy(to.destroy()));
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close(http.closeAllConnections()));
  return { url: `http://127.0.0.1:${http.address().port}/call` };
}

/**
 * A server that reads a path as nginx does for `location /call/ { proxy_pass .../; }`: slashes and `..` are folded first.
 *
 * @param {import("node:test").TestContext} t
 */
async function folding(t) {
  const page = await (await fetch(server.url)).text();
  const http = createServer((_, reply) => reply.writeHead(200, { "Content-Type": "text/html" }).end(page));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close(http.closeAllConnections()));
  return `http://127.0.0.1:${http.address().port}`;
}

test("a path that begins with two slashes leads to no other host", async (t) => {
  const origin = await folding(t);
  const page = await browser.newPage();
  const asked = [];
  page.on("request", (request) => request.isNavigationRequest() && asked.push(request.url()));
  await page.goto(`${origin}//127.0.0.9:1/..%2fcall%2f?room=secret`, { waitUntil: "commit" });
  await page.waitForURL(/%2f\/\?room=secret$/, PATIENCE);
  assert.deepEqual([...new Set(asked.map((url) => new URL(url).origin))], [origin]);
  await page.close();
});

/** Joins twice, by the page's own link the second time. */
async function callsUnder(url) {
  const ana = await openPage(browser, autojoin(url, "Ana"));
  await ana.waitForSelector(".call .tile.own", PATIENCE);
  const link = new URL(ana.url());
  const bo = await openPage(browser, `${link.origin}${link.pathname}?room=${link.searchParams.get("room")}`);
  await bo.fill('input[name="name"]', "Bo");
  await bo.keyboard.press("Enter");
  await bo.locator(".plate-name", { hasText: "Ana" }).waitFor(PATIENCE);
  await bo.waitForFunction(() => document.querySelector(".tile:not(.own) video").videoWidth > 0, null, PATIENCE);
  assert.deepEqual(bo.complaints, []);
  for (const page of [ana, bo]) await leave(page);
  return link.pathname;
}

/** Starts an example of the server's crate, and returns where it is. */
async function example(t, name) {
  const binary = fileURLToPath(new URL(`examples/${name}`, pathToFileURL(process.env.TERTULIA_BIN)));
  const child = spawn(binary, { stdio: ["ignore", "pipe", "ignore"] });
  t.after(() => child.kill());
  const [line] = await once(child.stdout.setEncoding("utf8"), "data");
  // What it prints later must not fill the pipe.
  child.stdout.resume();
  return new URL(/http:\S+/.exec(line)[0]).origin;
}

test("calls nested in another axum router work", { skip: !process.env.TERTULIA_BIN }, async (t) => {
  const origin = await example(t, "nested");
  for (const place of ["/call", "/talk", "/talk/"]) assert.equal(await callsUnder(`${origin}${place}`), place);
});

test("an embedder's users join as who they are, with what they may do", { skip: !process.env.TERTULIA_BIN }, async (t) => {
  const origin = await example(t, "embedded");
  const link = autojoin(`${origin}/call/`, "Somebody", { room: "lobby" });
  const stranger = await openPage(browser, link);
  const ended = stranger.locator(".ended");
  await ended.waitFor(PATIENCE);
  assert.equal(await ended.locator("h1").textContent(), "You may not join this call");
  assert.equal(await ended.locator("p").textContent(), "Log in first.");

  const users = [];
  for (const user of ["Ada", "Bo"]) {
    const page = await openPage(browser, `${origin}/login/${user}`);
    assert.equal(page.url(), `${origin}/call/?room=lobby`);
    await page.goto(link);
    await page.locator(".tile.own .plate-name", { hasText: user }).waitFor(PATIENCE);
    users.push(page);
  }
  const [ada, bo] = users;
  await bo.locator(".tile:not(.own) .plate-name", { hasText: "Ada" }).waitFor(PATIENCE);
  await bo.waitForFunction(() => document.querySelector(".tile:not(.own) video")?.videoWidth > 0, null, PATIENCE);
  // Only Ada may share a screen, and nobody may take another name.
  const screen = (page) => page.locator('[data-control="screen"]');
  assert.equal(await screen(ada).getAttribute("aria-disabled"), "false");
  assert.equal(await screen(bo).getAttribute("aria-disabled"), "true");
  assert.equal(await screen(bo).getAttribute("aria-label"), "You may not share a screen in this room.");
  // By the keyboard: a button with `aria-disabled` can be found and pressed, and says why nothing happens.
  await screen(bo).focus();
  await bo.keyboard.press("Enter");
  await bo.locator(".toast", { hasText: "You may not share a screen" }).waitFor(PATIENCE);
  assert.equal(await bo.evaluate(() => window.tertulia.name), "Bo");
  await bo.locator('[data-control="settings"]').click();
  assert.equal(await bo.locator(".settings input[type=text]").isDisabled(), true);

  const id = await bo.evaluate(() => window.tertulia.participantId);
  assert.equal((await fetch(`${origin}/kick/lobby/${id}`)).status, 200);
  await bo.locator(".ended", { hasText: "You were removed from the call" }).waitFor(PATIENCE);
  assert.equal(await bo.locator(".ended p").textContent(), "Please be kind.");
  await ada.locator(".toasts, .top", { hasText: "Bo was removed from the call" }).first().waitFor(PATIENCE);
  assert.deepEqual([ada.complaints, bo.complaints], [[], []]);
  for (const page of [stranger, ...users]) await page.context().close();
});

test("calls behind a proxy that takes a path away work with and without the slash", async (t) => {
  const front = await proxy(t, () => {});
  assert.equal(await callsUnder(`${front.url}/`), "/call/");
  assert.equal(await callsUnder(front.url), "/call/");
});

test("a proxy that asks under another host is told of in the page and in the log", async (t) => {
  const front = await proxy(t, (headers) => (headers.host = "upstream.internal"));
  const page = await openPage(browser, autojoin(`${front.url}/`, "Ana"));
  const { origin } = new URL(front.url);
  const text = page.locator(".ended", { hasText: "takes no calls from this page" });
  await text.waitFor(PATIENCE);
  const said = await text.textContent();
  for (const word of [origin, "upstream.internal", "allowed_origins", "Host"]) assert.ok(said.includes(word), said);
  await page.context().close();
  if (!server.isOurs) return;
  const line = server.log.split("\n").find((each) => each.includes("refused by its origin"));
  for (const word of [origin, "upstream.internal", "allowed_origins"]) assert.ok(line.includes(word), line);
});

test("a proxy that lets no WebSockets through carries calls all the same", async (t) => {
  const front = await proxy(t, () => {}, { upgrades: false });
  const page = await openPage(browser, autojoin(`${front.url}/`, "Ana"));
  await page.waitForSelector(".call .tile.own", PATIENCE);
  assert.equal(await page.evaluate(() => window.tertulia.signaling.transport), "sse");
  await page.context().close();
});
