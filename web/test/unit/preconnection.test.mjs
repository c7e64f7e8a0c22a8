/** Joining in one round trip, by a connection that was made before. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Preconnection } from "../../client/preconnection.js";
import { Room } from "../../client/room.js";
import { until } from "./fake-room.mjs";
import { FakePeerConnection, fakeTrack, settle } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";

const URL_ = "ws://server.invalid/v1/ws";
const camera = { id: "t1", kind: "video", source: "camera", muted: false, simulcast: true, codec: "VP8" };

test.beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] }));
test.afterEach(() => mock.timers.reset());

function prepared(server = new SessionServer(), options = {}) {
  const preconnection = new Preconnection(URL_, { WebSocket: server.WebSocket });
  const connections = [];
  const room = new Room({
    url: URL_,
    room: "standup",
    name: "Ana",
    preconnection,
    WebSocket: server.WebSocket,
    connect: (config) => {
      const connection = new FakePeerConnection(config);
      connections.push(connection);
      return connection;
    },
    ...options,
  });
  return { server, preconnection, connections, room };
}

const types = ({ said }) => said.map(({ type }) => type);

test("one message joins, offers and publishes, and its answers are all that is waited for", async () => {
  const { server, connections, room } = prepared();
  server.others = [{ id: "p1", name: "Ben", tracks: [camera] }];
  const microphone = await room.publish({ source: "microphone", media: fakeTrack("audio") });
  await settle();
  assert.equal(server.sockets.length, 1, "made before");
  await room.join();
  assert.equal(server.sockets.length, 1);
  assert.deepEqual(types(server.socket), ["join"]);
  const [{ offer }] = server.socket.said;
  assert.deepEqual(offer.tracks, [{ mid: "0", source: "microphone", muted: false }]);
  const lines = connections[0].offers[0].lines.map(({ kind, direction }) => `${kind} ${direction}`);
  assert.deepEqual(lines.sort(), [...Array(3).fill("audio recvonly"), "audio sendonly", ...Array(3).fill("video recvonly")]);
  assert.equal(microphone.trackId, "own-microphone");
  assert.equal(connections.length, 1);
  assert.equal(room.state, "connected");
  assert.deepEqual([...room.participants.keys()], ["p1"]);
  room.leave();
});

test("who receives nothing by itself offers no m-lines for it", async () => {
  const { server, connections, room } = prepared(new SessionServer(), { autoSubscribe: false });
  await settle();
  await room.join();
  assert.deepEqual(connections[0].offers[0].lines, []);
  assert.deepEqual(types(server.socket), ["join"]);
  room.leave();
});

test("an older server, which knows no offer in a join, gets it afterwards", async () => {
  const { server, connections, room } = prepared(Object.assign(new SessionServer(), { isOld: true }));
  const microphone = await room.publish({ source: "microphone", media: fakeTrack("audio") });
  await settle();
  await room.join();
  assert.deepEqual(types(server.socket), ["join", "offer"]);
  assert.equal(connections.length, 2);
  assert.equal(connections[0].closed, true, "what was made for the newer rules is not used");
  assert.equal(microphone.trackId, "own-microphone");
  room.leave();
});

test("a refused offer is told, though the join stands; a refused join leaves nothing open", async () => {
  const first = prepared();
  first.server.offerRefusal = { type: "error", code: "sdp_no_ice", message: "no", fatal: false };
  await settle();
  await assert.rejects(first.room.join(), { code: "sdp_no_ice" });
  assert.equal(first.connections[0].closed, true);
  const second = prepared();
  await settle();
  const { socket } = second.server;
  second.server.hear = (peer, message) =>
    message.type === "join" && peer.socket.tell({ type: "error", id: message.id, code: "room_full", message: "full", fatal: false });
  await assert.rejects(second.room.join(), { code: "room_full" });
  assert.equal(second.connections[0].closed, true);
  assert.equal(socket.readyState, 3);
});

test("ICE servers that are told with the answer are used where there is no direct path", async () => {
  for (const isDirect of [true, false]) {
    const { server, connections, room } = prepared();
    server.iceServers = [{ urls: ["turn:turn.example.org"], username: "u", credential: "c" }];
    await settle();
    await room.join();
    assert.equal(connections[0].config.iceServers[0].username, "u");
    if (isDirect) connections[0].become("connected");
    mock.timers.tick(2_000);
    await settle();
    assert.equal(connections[0].offers.length, isDirect ? 1 : 2);
    assert.equal(connections[0].offers.at(-1).iceRestart, !isDirect);
    room.leave();
  }
});

test("ICE servers that are told later are for the next search and the next connection, and disturb nothing", async () => {
  const { server, connections, room } = prepared();
  server.iceServers = [{ urls: ["turn:turn.example.org"], username: "1:p", credential: "a" }];
  await settle();
  await room.join();
  connections[0].become("connected");
  mock.timers.tick(2_000);
  const iceServers = [{ urls: ["turn:turn.example.org"], username: "2:p", credential: "b" }];
  server.socket.tell({ type: "ice_servers", ice_servers: iceServers });
  await settle();
  assert.deepEqual(connections[0].config.iceServers, iceServers);
  assert.equal(connections[0].config.bundlePolicy, "max-bundle");
  mock.timers.tick(60_000);
  await settle();
  assert.equal(connections[0].offers.length, 1, "no offer");
  server.socket.tell({ type: "media", state: "failed", reason: "never_connected" });
  await settle();
  assert.deepEqual(connections[1].config.iceServers, iceServers);
  room.leave();
});

test("a connection that ends just then is made again", async () => {
  const { server, room } = prepared();
  await settle();
  const joining = room.join();
  server.socket.cut();
  await joining;
  assert.equal(room.state, "connected");
  assert.equal(server.sockets.length, 2);
  room.leave();
});

test("a page that waits has its connection renewed, for two minutes after something was done", async () => {
  const server = new SessionServer();
  const preconnection = new Preconnection(URL_, { WebSocket: server.WebSocket });
  const expire = async () => {
    await settle();
    server.socket.cut();
    mock.timers.tick(10_000);
    await settle();
  };
  for (let round = 0; round < 20; round += 1) await expire();
  assert.equal(server.sockets.length, 13);
  preconnection.stir();
  await settle();
  assert.equal(server.sockets.length, 14);
  assert.equal(server.socket.readyState, 1);
  preconnection.close();
  await settle();
  assert.equal(server.socket.readyState, 3);
  preconnection.stir();
  assert.equal(server.sockets.length, 14);
});

test("a server that is not there is asked every ten seconds, and joining says why not", async () => {
  const { server, preconnection, room } = prepared();
  server.isReachable = false;
  await settle();
  assert.equal(server.sockets.length, 1);
  mock.timers.tick(9_999);
  await settle();
  assert.equal(server.sockets.length, 1);
  mock.timers.tick(1);
  await settle();
  assert.equal(server.sockets.length, 2);
  await assert.rejects(room.join(), { code: "unreachable" });
  preconnection.stir();
  await until(() => true);
  assert.equal(server.sockets.length, 3);
});
