/** A connection that may be dead, and another one beside it. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Line } from "../../client/line.js";
import { FakeWebSocket, settle } from "./fakes.mjs";

test.afterEach(() => mock.timers.reset());

const welcome = (id) => ({
  type: "welcome", id, version: 1, room: "r", participant: "pa_1", participants: [], chat: [], ice_servers: [],
  limits: { message_bytes: 1, chat_chars: 1 }, server: { name: "t", version: "0" }, session: { token: "S.1", grace_ms: 30_000 },
});

/** A line that has joined by its first socket, which says nothing any more unless it is made to. */
async function joined() {
  mock.timers.enable({ apis: ["setInterval", "setTimeout", "Date"] });
  const sockets = [];
  class Socket extends FakeWebSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
      this.pings = [];
      this.onsaid = (message) => message.type === "ping" && this.pings.push(message.id);
    }
    pong() {
      this.receive({ type: "pong", id: this.pings.at(-1) });
    }
  }
  const line = new Line("ws://server.invalid/v1/ws", { WebSocket: Socket });
  const told = [];
  for (const name of ["down", "up", "refused", "over"]) line.on(name, (payload) => told.push([name, payload]));
  const opened = line.open();
  sockets[0].open();
  sockets[0].pong();
  await opened;
  line.send({ type: "join", id: line.nextId(), version: 1, room: "r", name: "n", auto_subscribe: true, resumable: true });
  sockets[0].receive(welcome(1));
  const tick = async (ms) => {
    mock.timers.tick(ms);
    await settle();
  };
  return { line, sockets, told, tick };
}

test("the one that answers first carries on, and nobody is told of a cut", async () => {
  const { line, sockets, told, tick } = await joined();
  line.check();
  assert.ok(line.isUp && !line.isProven);
  await tick(499);
  assert.equal(sockets.length, 1);
  await tick(1);
  assert.equal(sockets.length, 2);
  sockets[1].open();
  sockets[1].pong();
  await settle();
  const [resume] = sockets[1].said;
  assert.deepEqual([resume.type, resume.session, resume.received], ["resume", "S.1", 1]);
  sockets[1].receive({ type: "resumed", id: resume.id, session: "S.2", received: 0 });
  assert.deepEqual(told, [["up", "websocket"]]);
  assert.ok(line.isProven);
  assert.equal(sockets[0].readyState, 3, "the former one is closed");
  line.close();
});

test("one that answers in time has no other beside it, and one that answers late keeps its place", async () => {
  const { line, sockets, told, tick } = await joined();
  line.check();
  await tick(400);
  sockets[0].pong();
  await tick(2_000);
  assert.equal(sockets.length, 1);
  line.check();
  await tick(500);
  sockets[0].pong();
  sockets[1].open();
  sockets[1].pong();
  await settle();
  assert.deepEqual(sockets[1].said, [], "nothing is resumed");
  assert.equal(sockets[1].readyState, 3);
  assert.deepEqual(told, []);
  line.close();
});

test("where no other answers either, it is dead after a second and a half", async () => {
  const { line, sockets, told, tick } = await joined();
  line.check();
  for (let step = 0; step < 3; step += 1) await tick(500);
  assert.deepEqual(told.map(([name]) => name), ["down"]);
  await tick(0);
  assert.equal(sockets.length, 3, "another attempt is made at once");
  // The second one comes too late.
  sockets[1].open();
  sockets[1].pong();
  await settle();
  assert.equal(sockets[1].readyState, 3);
  line.close();
});
