/** Somebody who waits for a moderator, and whose connection breaks. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Room } from "../../client/room.js";
import { until } from "./fake-room.mjs";
import { FakePeerConnection, settle } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";
import { joined } from "./session-room.mjs";

test.afterEach(() => mock.timers.reset());

/** Every newcomer waits. `server.admit` lets the latest in, `server.refuse` sends them away. */
function gated(server = new SessionServer()) {
  const { hear } = server;
  let last = () => {};
  server.hear = (peer, message) => {
    if (message.type !== "join") return hear.call(server, peer, message);
    last = (code) => (code ? peer.socket.tell({ type: "error", id: message.id, code, message: "", fatal: false }) : hear.call(server, peer, message));
    return peer.socket.tell({ type: "wait" });
  };
  server.admit = () => last();
  server.refuse = (code) => last(code);
  return server;
}

/** A room whose person waits. */
async function waiting(server = gated()) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const room = new Room({ url: "ws://server.invalid/v1/ws", room: "standup", name: "Ana", WebSocket: server.WebSocket, connect: (config) => new FakePeerConnection(config) });
  const told = [];
  room.on("admissionAwaited", () => told.push("awaited"));
  room.on("signalingChanged", ({ isConnected }) => told.push(isConnected));
  room.on("stateChanged", ({ state, reason }) => told.push(state + reason));
  const outcome = { code: null };
  room.join().then(() => (outcome.code = "in"), ({ code }) => (outcome.code = code));
  await until(() => room.isAwaitingAdmission, 100);
  assert.deepEqual(told.splice(0), ["joining", "awaited", true]);
  return { server, room, told, outcome };
}

const joins = (server) => server.sockets.flatMap(({ said }) => said.filter(({ type }) => type === "join"));
const waitsAgain = ({ told }) => until(() => told.includes("awaited"), 500, 400);

for (const [what, end] of [
  ["connection breaks", (server) => server.socket.cut()],
  ["server says goodbye", (server) => server.socket.tell({ type: "bye", reason: "server_shutdown", message: "" })],
]) {
  test(`somebody whose ${what} while they wait goes on to wait, and is let in`, async () => {
    const call = await waiting();
    const { server, room, told, outcome } = call;
    end(server);
    await settle();
    assert.deepEqual(told, [false]);
    assert.deepEqual([room.isAwaitingAdmission, room.signaling.isConnected, room.state], [true, false, "joining"]);
    await waitsAgain(call);
    assert.deepEqual(told, [false, "awaited", true]);
    assert.equal(new Set(joins(server).map(({ session }) => session)).size, 1, "as the same person");
    server.admit();
    await until(() => room.state === "connected", 100);
    await settle();
    assert.deepEqual([outcome.code, room.isAwaitingAdmission], ["in", false]);
    room.leave();
  });
}

test("a server that is away for two minutes is waited for, and again later", async () => {
  const call = await waiting();
  const { server, room, told, outcome } = call;
  for (const round of [1, 2]) {
    server.isReachable = false;
    server.socket.cut();
    const cut = Date.now();
    await until(() => Date.now() - cut > 120_000, 1_000);
    assert.deepEqual([outcome.code, room.isAwaitingAdmission], [null, true], `round ${round}`);
    server.isReachable = true;
    told.length = 0;
    await waitsAgain(call);
  }
  server.admit();
  await until(() => outcome.code === "in", 100);
  room.leave();
});

test("the people of the room come back first: whoever waited follows ten seconds later", async () => {
  const call = await waiting();
  const { server } = call;
  server.isReachable = false;
  server.socket.cut();
  const cut = Date.now();
  await until(() => Date.now() - cut > 60_000, 500);
  server.isReachable = true;
  const count = server.sockets.length;
  await until(() => server.sockets.length > count, 100);
  const found = Date.now();
  const { length } = joins(server);
  await until(() => joins(server).length > length, 100, 200);
  assert.ok(Date.now() - found >= 10_000, `${Date.now() - found} ms`);
  call.room.leave();
});

test("a server that does not come back is given up after three minutes", async () => {
  const { server, room, outcome } = await waiting();
  server.isReachable = false;
  server.socket.cut();
  const cut = Date.now();
  await until(() => outcome.code !== null, 1_000, 300);
  assert.ok(Date.now() - cut >= 170_000, `${Date.now() - cut} ms`);
  assert.deepEqual([outcome.code, room.state, room.isAwaitingAdmission], ["unreachable", "closed", false]);
});

for (const code of ["waiting_room_full", "room_full", "shutting_down"]) {
  test(`whoever is refused with ${code} after a cut comes again`, async () => {
    const call = await waiting();
    const { server, room, told, outcome } = call;
    server.socket.cut();
    await waitsAgain(call);
    server.socket.cut();
    // The door is shut as they come.
    const { hear } = server;
    let refusals = 2;
    server.hear = (peer, message) => {
      hear(peer, message);
      if (message.type === "join" && refusals > 0) server.refuse(code);
      if (message.type === "join") refusals -= 1;
    };
    told.length = 0;
    await until(() => refusals < 0, 500, 400);
    await settle();
    assert.deepEqual([outcome.code, room.isAwaitingAdmission], [null, true]);
    server.admit();
    await until(() => outcome.code === "in", 100);
    room.leave();
  });
}

for (const code of ["denied", "room_locked", "waiting_timeout"]) {
  test(`whoever is refused with ${code} after a cut does not come again`, async () => {
    const call = await waiting();
    const { server, outcome } = call;
    server.socket.cut();
    await waitsAgain(call);
    server.refuse(code);
    await until(() => outcome.code !== null, 100);
    assert.equal(outcome.code, code);
    const { length } = server.sockets;
    await until(() => Date.now() > 400_000, 1_000);
    assert.equal(server.sockets.length, length);
  });
}

for (const isBack of [false, true]) {
  test(`whoever does not wait any more while ${isBack ? "the others come back" : "the server is away"} is not heard of again`, async () => {
    const { server, room, outcome } = await waiting();
    server.isReachable = isBack;
    server.socket.cut();
    await until(() => server.sockets.length > (isBack ? 1 : 2), 500);
    room.leave();
    await settle();
    assert.deepEqual([room.state, outcome.code, room.isAwaitingAdmission], ["closed", "left", false]);
    server.isReachable = true;
    const { length } = joins(server);
    await until(() => Date.now() > 400_000, 1_000);
    assert.equal(joins(server).length, length);
  });
}

test("somebody who waits to be let in again after a restart has three minutes after each cut", async () => {
  const server = new SessionServer();
  const { room } = await joined({}, server);
  const states = [];
  room.on("stateChanged", ({ state, reason }) => states.push(state + reason));
  gated(server);
  server.restart();
  await until(() => room.isAwaitingAdmission, 100);
  for (const round of [1, 2]) {
    const since = Date.now();
    await until(() => Date.now() - since > 170_000, 1_000);
    server.socket.cut();
    await until(() => !room.isAwaitingAdmission, 100);
    await until(() => room.isAwaitingAdmission, 500, 100);
    assert.equal(room.state, "reconnecting", `round ${round}`);
  }
  server.admit();
  await until(() => room.state === "connected", 100);
  assert.deepEqual(states, ["reconnectingconnection_lost", "connected"]);
  room.leave();
});
