/** A room that is left while no message reaches the server, and one that was not told that it is in. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Room } from "../../client/room.js";
import { until } from "./fake-room.mjs";
import { FakePeerConnection, settle } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";
import { joined } from "./session-room.mjs";

test.afterEach(() => mock.timers.reset());

let rooms = 0;

/** In a room that no other test has: what is kept of a stay is this process's. */
async function inRoom(server = new SessionServer(), options = {}) {
  return joined({ room: `left-${(rooms += 1)}`, fetch: server.fetch, ...options }, server);
}

const cut = (server) => {
  server.isReachable = false;
  server.socket.cut();
};

test("who leaves over a line that works says so there, and nowhere else", async () => {
  const { server, room } = await inRoom();
  room.leave();
  await settle();
  assert.equal(server.sessions.size, 0);
  await until(() => Date.now() > 40_000, 1_000);
  assert.deepEqual(server.requests, []);
});

test("who leaves while the line is cut is gone with one request, which outlives the page", async () => {
  const { server, room, session } = await inRoom();
  const { token } = session;
  server.socket.cut();
  room.leave();
  assert.equal(room.state, "closed");
  assert.equal(server.requests.length, 1, "before this turn ends: the page may be closing");
  await settle();
  assert.equal(server.sessions.size, 0, "nobody is left there");
  const [{ messages, keepalive }] = server.requests;
  assert.equal(keepalive, true);
  assert.deepEqual(messages, [{ type: "resume", session: token, fresh: true, id: 1 }, { type: "leave", id: 2 }]);
  await until(() => Date.now() > 40_000, 1_000);
  assert.equal(server.requests.length, 1);
});

test("who leaves over a line that is dead, and nobody has noticed, is gone two seconds later", async () => {
  const { server, room, session } = await inRoom();
  server.socket.isDead = { up: true, down: true };
  room.leave();
  await settle();
  assert.deepEqual(server.requests, []);
  await until(() => server.requests.length > 0, 100, 25);
  await settle();
  const [{ messages }] = server.requests;
  assert.deepEqual(messages, [{ type: "resume", session: session.token, fresh: true, id: 1 }, { type: "leave", id: 2 }]);
  assert.equal(server.sessions.size, 0);
  await until(() => Date.now() > 40_000, 1_000);
  assert.equal(server.requests.length, 1);
});

test("who comes back before it is known that the goodbye was heard takes the place of before", async () => {
  const server = new SessionServer();
  const first = await inRoom(server);
  server.socket.isDead = { up: true, down: true };
  first.room.leave();
  const second = await joined({ room: `left-${rooms}`, fetch: server.fetch }, server);
  assert.equal(second.room.participantId, first.room.participantId);
  await until(() => Date.now() > 40_000, 1_000);
  assert.deepEqual([server.sessions.size, server.requests.length], [1, 0]);
  second.room.leave();
});

test("a goodbye that does not get through is said again, for half a minute", async () => {
  const first = await inRoom();
  cut(first.server);
  first.room.leave();
  await until(() => Date.now() > 9_000, 500);
  assert.ok(first.server.requests.length > 2);
  first.server.isReachable = true;
  await until(() => first.server.sessions.size === 0, 500, 20);
  mock.timers.reset();
  const second = await inRoom();
  cut(second.server);
  second.room.leave();
  await until(() => Date.now() > 60_000, 500);
  const count = second.server.requests.length;
  assert.ok(count < 20, `${count} requests`);
  await until(() => Date.now() > 120_000, 500);
  assert.equal(second.server.requests.length, count);
});

for (const [code, isAgain] of [["session_used", false], ["no_such_session", false], ["overloaded", true]]) {
  test(`a goodbye that is refused with ${code} is ${isAgain ? "" : "not "}said again`, async () => {
    const { server, room } = await inRoom();
    const { hear } = server;
    server.hear = (peer, message) => peer.socket.tell({ type: "error", id: message.id, code: message.type === "resume" ? code : "not_joined", message: "", fatal: false });
    server.socket.cut();
    room.leave();
    await settle();
    server.hear = hear;
    await until(() => Date.now() > 20_000, 500);
    assert.equal(server.requests.length, isAgain ? 2 : 1);
    assert.equal(server.sessions.size, isAgain ? 0 : 1);
  });
}

test("who leaves while the room reconnects is gone as well", async () => {
  const { server, room, connections } = await inRoom();
  connections[0].become("failed");
  await until(() => room.state === "reconnecting", 100);
  room.leave();
  await settle();
  assert.equal(server.sessions.size, 0);
});

test("who was put out, or whose place another took, says no goodbye", async () => {
  for (const reason of ["kicked", "replaced"]) {
    const { server, room } = await inRoom();
    server.socket.tell({ type: "bye", reason, message: "" });
    await settle();
    assert.equal(room.state, "closed");
    await until(() => Date.now() > 40_000, 1_000);
    assert.deepEqual(server.requests, []);
    mock.timers.reset();
  }
});

test("who comes back before the goodbye was heard takes the place of before", async () => {
  const server = new SessionServer();
  const first = await inRoom(server);
  cut(server);
  first.room.leave();
  await until(() => Date.now() > 3_000, 500);
  server.isReachable = true;
  const { length } = server.requests;
  const second = await joined({ room: `left-${rooms}`, fetch: server.fetch }, server);
  assert.equal(second.room.participantId, first.room.participantId);
  assert.equal(server.sessions.size, 1);
  await until(() => Date.now() > 60_000, 500);
  assert.equal(server.requests.length, length, "the goodbye is void");
  assert.equal(server.sessions.size, 1);
  second.room.leave();
  await settle();
  // Somebody else is somebody else.
  const third = await joined({ room: `left-${rooms}`, fetch: server.fetch }, server);
  assert.notEqual(third.room.participantId, first.room.participantId);
  third.room.leave();
});

/** A room whose welcomes are lost with their connection, `times` times, though the server has let it in. */
function unwelcomed(times, options = {}, server = new SessionServer()) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const { push } = server;
  server.push = (session, message) => {
    if (message.type !== "welcome" || times === 0) return push.call(server, session, message);
    times -= 1;
    return session.socket.cut();
  };
  const make = () =>
    new Room({
      url: "ws://server.invalid/v1/ws",
      room: `left-${rooms}`,
      name: "Ana",
      WebSocket: server.WebSocket,
      connect: (config) => new FakePeerConnection(config),
      ...options,
    });
  rooms += 1;
  return { server, make, room: make() };
}

const joins = (server) => server.sockets.flatMap(({ said }) => said.filter(({ type }) => type === "join"));

test("a join whose welcome is lost is said again, and is one participant", async () => {
  const { server, room } = unwelcomed(2);
  const joining = room.join();
  await until(() => room.state === "connected", 100, 100);
  await joining;
  const tokens = joins(server).map(({ session }) => session);
  assert.equal(tokens.length, 3);
  assert.equal(new Set(tokens).size, 1);
  assert.match(tokens[0], /^[\w-]{22}\.[\w-]{22}$/);
  assert.equal(server.sessions.size, 1);
  room.leave();
});

test("a join that never hears a welcome fails in time, and the next one of this page takes its place", async () => {
  const { server, room, make } = unwelcomed(1);
  const { hear } = server;
  server.hear = (peer, message) => {
    hear.call(server, peer, message);
    if (message.type === "join") server.isReachable = false;
  };
  const failed = assert.rejects(room.join(), { code: "unreachable" });
  await until(() => room.state === "closed", 500, 100);
  await failed;
  assert.ok(Date.now() <= 12_000, `${Date.now()} ms`);
  assert.equal(server.sessions.size, 1, "a ghost");
  server.isReachable = true;
  server.hear = hear;
  const next = make();
  await next.join();
  assert.equal(server.sessions.size, 1);
  next.leave();
});

test("a join that is refused is not said again", async () => {
  const { server, room } = unwelcomed(1);
  const { hear } = server;
  server.hear = (peer, message) =>
    message.type === "join" && server.sockets.length > 1
      ? peer.socket.tell({ type: "error", id: message.id, code: "room_full", message: "", fatal: false })
      : hear.call(server, peer, message);
  await assert.rejects(room.join(), { code: "room_full" });
  assert.equal(joins(server).length, 2);
});
