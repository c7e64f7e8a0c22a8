/** The packed client in a page of another origin, as an application with a server of its own has it; and the example. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { join, normalize } from "node:path";
import { after, before, test } from "node:test";

import { installPacked } from "../package/installed.mjs";
import { launch, openPage } from "./chromium.mjs";
import { Server } from "./server.mjs";

const PATIENCE = { timeout: 20_000 };

/** The page: it finds the package by an import map, made of what the package's `exports` say. */
const page = (entrance) => `<!doctype html>
<meta charset="utf-8" />
<link rel="icon" href="data:," />
<title>Another application</title>
<script type="importmap">{ "imports": { "tertulia-client": "./node_modules/tertulia-client/${entrance}" } }</script>
<script type="module">
  import { captureDevices, Room } from "tertulia-client";

  const query = new URLSearchParams(location.search);
  const room = new Room({ url: query.get("url"), room: "package", name: query.get("name") });
  window.room = room;
  room.on("trackPublished", ({ participant, track }) => {
    const player = document.createElement(track.kind);
    player.title = participant.name;
    document.body.append(track.attach(player));
  });
  room.on("trackUnpublished", ({ track }) => track.detach().forEach((player) => player.remove()));
  const { audio, video } = await captureDevices({ audio: true, video: true, height: 180 });
  await room.publish({ source: "microphone", media: audio });
  await room.publish({ source: "camera", media: video });
  window.joined = room.join().then(() => "in", (error) => error.code);
</script>
`;

let folder;
let browser;
let server;
const origins = [];

before(async (t) => {
  ({ folder } = await installPacked(t));
  browser = await launch();
  // Two applications; the server knows of the first.
  origins.push(await serve(t), await serve(t));
  server = await Server.start({ arrange: async () => ["--allowed-origin", origins[0]] });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function serve(t) {
  const { exports } = JSON.parse(await readFile(join(folder, "node_modules/tertulia-client/package.json"), "utf8"));
  const html = page(exports["."].default);
  const http = createServer(async (request, reply) => {
    const { pathname } = new URL(request.url, "http://here");
    if (pathname === "/") return reply.writeHead(200, { "Content-Type": "text/html" }).end(html);
    const file = join(folder, normalize(pathname));
    const content = pathname.endsWith(".js") ? await readFile(file).catch(() => null) : null;
    if (!content) return reply.writeHead(404).end();
    return reply.writeHead(200, { "Content-Type": "text/javascript" }).end(content);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close(http.closeAllConnections()));
  return `http://127.0.0.1:${http.address().port}`;
}

async function open(origin, name) {
  const url = new URL(origin);
  url.searchParams.set("url", new URL("v1/ws", server.url.replace("http", "ws")).href);
  url.searchParams.set("name", name);
  const opened = await openPage(browser, url.href);
  await opened.waitForFunction(() => window.joined, null, PATIENCE);
  return opened;
}

test("two people see and hear each other by the package alone", async () => {
  const ana = await open(origins[0], "Ana");
  const bo = await open(origins[0], "Bo");
  for (const [seen, name] of [[ana, "Bo"], [bo, "Ana"]]) {
    assert.equal(await seen.evaluate(() => window.joined), "in");
    await seen.waitForFunction((title) => document.querySelector(`video[title="${title}"]`)?.videoWidth > 0, name, PATIENCE);
    await seen.waitForFunction((title) => document.querySelector(`audio[title="${title}"]`)?.currentTime > 0, name, PATIENCE);
    const tracks = await seen.evaluate(() => [...window.room.participants.values()].flatMap(({ tracks: all }) => [...all.values()].map(({ source }) => source)));
    assert.deepEqual(tracks.sort(), ["camera", "microphone"]);
  }
  await bo.evaluate(() => window.room.leave());
  await ana.waitForFunction(() => document.querySelectorAll("video, audio").length === 0, null, PATIENCE);
  assert.deepEqual([...ana.complaints, ...bo.complaints], []);
  for (const opened of [ana, bo]) await opened.context().close();
});

test("a page of an origin that the server does not know is told so", async () => {
  const cleo = await open(origins[1], "Cleo");
  assert.equal(await cleo.evaluate(() => window.joined), "origin_refused");
  await cleo.context().close();
});

test("the example is a call", async () => {
  const pages = [];
  for (const name of ["Ana", "Bo"]) {
    const opened = await openPage(browser, new URL("example/index.html", server.url).href);
    await opened.fill("#name", name);
    await opened.click("button");
    pages.push(opened);
  }
  for (const opened of pages) {
    await opened.waitForFunction(() => document.querySelector("#call video")?.videoWidth > 0, null, PATIENCE);
    await opened.waitForFunction(() => document.querySelector("#call audio")?.currentTime > 0, null, PATIENCE);
  }
  const [ana, bo] = pages;
  await bo.context().close();
  await ana.waitForFunction(() => document.querySelectorAll("#call > *").length === 0, null, PATIENCE);
  assert.deepEqual(ana.complaints, []);
  await ana.context().close();
});
