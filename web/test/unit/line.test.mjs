/** A line that begins by a worse way, and moves to the best one when that works. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { CallError } from "../../client/errors.js";
import { Line } from "../../client/line.js";
import { FakeWebSocket, settle } from "./fakes.mjs";
import { HttpSockets } from "./http-server.mjs";

test.afterEach(() => mock.timers.reset());

async function until(done) {
  const deadline = Date.now() + 5_000;
  while (!done()) {
    assert.ok(Date.now() < deadline, "not within the time");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const welcome = (id) => ({
  type: "welcome", id, version: 1, room: "r", participant: "pa_1", participants: [], chat: [], ice_servers: [],
  limits: { message_bytes: 1, chat_chars: 1 }, server: { name: "t", version: "0" }, session: { token: "S.1", grace_ms: 30_000 },
});
const chat = (id) => ({ type: "chat", message: { id, participant: "p", name: "n", text: "x", at_ms: 1 } });

/** A line over server-sent events, that has joined. */
async function joined(t) {
  mock.timers.enable({ apis: ["setInterval"] });
  const http = await HttpSockets.start();
  t.after(() => http.stop());
  const sockets = [];
  const script = { isBlocked: true };
  class Socket extends FakeWebSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
      this.onsaid = ({ type, id }) => {
        if (type === "ping") queueMicrotask(() => this.receive({ type: "pong", id }));
        if (type === "resume") queueMicrotask(() => script.resume(this, id));
      };
      queueMicrotask(() => (script.isBlocked ? this.close() : this.open()));
    }
  }
  http.onsaid = ({ type, id }, connection) => {
    if (type === "join") http.tell(connection, welcome(id));
  };
  const line = new Line(http.url, {
    WebSocket: Socket,
    fetch: globalThis.fetch.bind(globalThis),
    whyRefused: async () => new CallError("websocket_blocked", ""),
  });
  t.after(() => line.close());
  const told = [];
  for (const name of ["down", "up", "token", "refused", "over"]) line.on(name, (payload) => told.push([name, payload]));
  line.on("message", (message) => message.type === "chat" && told.push(["chat", message.message.id]));
  await line.open();
  assert.equal(line.kind, "sse");
  line.send({ type: "join", id: line.nextId(), version: 1, room: "r", name: "n", auto_subscribe: true, resumable: true });
  await until(() => told.length === 1);
  assert.deepEqual(told.splice(0), [["token", "S.1"]]);
  return { line, http, connection: [...http.connections.values()][0], sockets, script, told };
}

test("it moves up once a WebSocket gets through, and nothing is lost or heard twice", async (t) => {
  const { line, http, connection, sockets, script, told } = await joined(t);
  mock.timers.tick(30_000);
  await settle();
  assert.equal(line.kind, "sse", "still blocked");
  http.tell(connection, chat(1));
  await until(() => told.length === 1);
  line.send({ type: "chat", id: 70, text: "on its way" });
  script.isBlocked = false;
  let resumed = null;
  script.resume = (socket, id) => (resumed = { socket, id });
  mock.timers.tick(30_000);
  await until(() => resumed !== null);
  const resume = sockets.at(-1).said.find(({ type }) => type === "resume");
  assert.deepEqual([resume.session, resume.received], ["S.1", 2]);
  // The former connection still brings something: it comes again by the new one.
  http.tell(connection, chat(2));
  line.send({ type: "chat", id: 71, text: "meanwhile" });
  // Nothing tells that it has been read and passed over.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(told.splice(0), [["chat", 1]]);
  assert.deepEqual(sockets.at(-1).said.map(({ type }) => type), ["resume"], "nothing is said before the answer");
  resumed.socket.receive({ type: "resumed", id: resumed.id, session: "S.2", received: 0 });
  resumed.socket.receive(chat(2));
  assert.deepEqual(told.splice(0), [["token", "S.2"], ["up", "websocket"], ["chat", 2]]);
  assert.deepEqual(sockets.at(-1).said.map(({ type, id }) => [type, id]).slice(1), [["ack", undefined], ["chat", 70], ["chat", 71]]);
  await until(() => connection.isGone);
});

test("a better way that fails in the middle of moving costs nothing", async (t) => {
  const { line, http, sockets, script, told } = await joined(t);
  script.isBlocked = false;
  script.resume = (socket) => {
    script.isBlocked = true;
    socket.close();
  };
  http.onsaid = ({ type, id }, connection) => {
    if (type === "resume") http.tell(connection, { type: "resumed", id, session: "S.3", received: 0 }, chat(1));
  };
  mock.timers.tick(30_000);
  await until(() => told.some(([name]) => name === "chat"));
  assert.deepEqual(told, [["down", null], ["token", "S.3"], ["up", "sse"], ["chat", 1]]);
  assert.equal(sockets.length, 3);
  assert.equal(line.isUp, true);
});

test("a server that has had more than there was is not followed", async (t) => {
  const { line, script, told } = await joined(t);
  script.isBlocked = false;
  script.resume = (socket, id) => socket.receive({ type: "resumed", id, session: "S.2", received: 9 });
  mock.timers.tick(30_000);
  await until(() => told.length > 0);
  assert.deepEqual(told, [["refused", { code: "session_gap", isEarly: false }]]);
  assert.equal(line.isUp, false);
});

test("a connection that is being checked is not believed to carry a last word", async (t) => {
  const { line } = await joined(t);
  line.check();
  assert.equal(await Promise.race([line.heard, settle()]), false);
});

/** @param {boolean} persisted the page is kept, and may be shown again */
function hide(page, persisted) {
  page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted }));
}

/** Lets lines hear of their page, which Node has none of. */
function withPage(t) {
  const page = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener"]) {
    const before = globalThis[name];
    globalThis[name] = page[name].bind(page);
    t.after(() => (globalThis[name] = before));
  }
  return page;
}

const closings = (http) => http.requests.filter(([path, body]) => path === "/call/v1/http/send" && body.closing).map(([, body]) => body);

test("a page that is closed without a WebSocket tells the server, and one that is kept does not", async (t) => {
  const page = withPage(t);
  const { http, line, connection } = await joined(t);
  hide(page, true);
  hide(page, false);
  await until(() => closings(http).length > 0);
  assert.deepEqual(closings(http), [{ session: "S.1", closing: true }]);
  // The line is cut, and there is no other yet.
  http.refuses.set("/call/v1/http/events", 503);
  http.end(connection);
  await until(() => !line.isUp);
  hide(page, false);
  await until(() => closings(http).length === 2);
  line.close();
  hide(page, false);
  await settle();
  assert.equal(closings(http).length, 2, "who has left says nothing");
});

test("an open WebSocket tells by its close code that the page is closed", async (t) => {
  const page = withPage(t);
  const { http, line, script } = await joined(t);
  script.isBlocked = false;
  script.resume = (socket, id) => socket.receive({ type: "resumed", id, session: "S.2", received: 0 });
  mock.timers.tick(30_000);
  await until(() => line.kind === "websocket" && line.isUp);
  hide(page, false);
  // It is not proven any more: its close code may not arrive.
  line.check();
  hide(page, false);
  await until(() => closings(http).length > 0);
  assert.deepEqual(closings(http), [{ session: "S.2", closing: true }]);
});
