import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Room } from "../../client/room.js";
import { answerTo, FakePeerConnection, FakeWebSocket, fakeTrack, settle } from "./fakes.mjs";

/**
 * A server of one room, in the test's own process. Every socket is `sockets[n]`, in order.
 *
 * @param {{ others?: any[], refuse?: { code: string, fatal?: boolean } | null }} script
 */
function serve(script = {}) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const sockets = [];
  const connections = [];
  const events = [];
  const server = { sockets, connections, events, script, reachable: true, chat: [] };

  class Socket extends FakeWebSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
      this.onsaid = reply;
      queueMicrotask(() => (server.reachable ? this.open() : this.close()));
    }
  }

  function reply(message, socket) {
    const { id } = message;
    const say = (answer) => queueMicrotask(() => socket.receive({ id, ...answer }));
    if (message.type === "join" && script.refuse) {
      say({ type: "error", message: "refused", fatal: false, ...script.refuse });
    } else if (message.type === "join") {
      say(welcome(message, sockets.length, script.others ?? [], server.chat));
    } else if (message.type === "offer") {
      say(answerTo(message.sdp, { tracks: message.tracks, point: script.point }));
    } else if (message.type === "ping") {
      if (!server.hung) say({ type: "pong" });
    } else if (message.type === "leave") {
      socket.receive({ type: "bye", reason: "left", message: "" });
    } else {
      say({ type: "ok" });
    }
  }

  server.room = new Room({
    url: "ws://server.invalid/v1/ws",
    room: "standup",
    name: "Ana",
    WebSocket: Socket,
    connect: (config) => {
      const connection = new FakePeerConnection(config);
      connections.push(connection);
      return connection;
    },
  });
  for (const name of ["participantJoined", "participantLeft", "trackPublished", "trackUnpublished"]) {
    server.room.on(name, (payload) => events.push([name, (payload.track ?? payload.participant ?? payload).id]));
  }
  server.room.on("trackMedia", ({ trackId, receiver }) => events.push(["media", trackId, Boolean(receiver)]));
  server.room.on("state", ({ state, reason }) => events.push(["state", state, reason]));
  server.room.on("chat", ({ text }) => events.push(["chat", text]));
  return server;
}

function welcome({ room }, count, participants, chat) {
  return {
    type: "welcome",
    version: 1,
    room,
    participant: `me-${count}`,
    participants,
    chat,
    ice_servers: [],
    limits: { message_bytes: 65536, chat_chars: 2000 },
    server: { name: "tertulia", version: "0" },
  };
}

const camera = { id: "t1", kind: "video", source: "camera", muted: false, simulcast: true, codec: "VP8" };
const ben = { id: "p1", name: "Ben", tracks: [camera] };
const cleo = { id: "p2", name: "Cleo", tracks: [] };

/** Runs the clock until `done`, as a server that comes back would let it. */
async function until(done, step = 500, limit = 1000) {
  for (let turn = 0; !done() && turn < limit; turn += 1) {
    mock.timers.tick(step);
    await settle();
  }
  assert.ok(done(), "not within the time");
}

test.afterEach(() => mock.timers.reset());

test("joining tells what is there before any media of it", async () => {
  const { room, events, connections } = serve({ others: [ben], point: { 0: "t1" } });
  await room.join();
  assert.deepEqual(events, [
    ["state", "joining", ""],
    ["participantJoined", "p1"],
    ["trackPublished", "t1"],
    ["media", "t1", true],
    ["state", "connected", ""],
  ]);
  assert.equal(connections[0].offers.length, 1, "one m-line for each track there is, in the first offer");
  room.leave();
  assert.equal(connections[0].closed, true);
  assert.deepEqual(events.at(-1), ["state", "closed", "left"]);
});

test("a refused join says why and leaves nothing open", async () => {
  const { room, events, sockets } = serve({ refuse: { code: "room_full" } });
  await assert.rejects(room.join(), { code: "room_full" });
  assert.deepEqual(events.at(-1), ["state", "closed", "room_full"]);
  assert.equal(sockets[0].readyState, 3);
});

test("after a lost socket the room joins again and tells only what changed", async () => {
  const server = serve({ others: [ben, cleo], point: { 0: "t1" } });
  const { room, events, sockets, connections, script } = server;
  await room.publish({ source: "microphone", media: fakeTrack("audio") });
  server.chat = [{ id: 1, participant: "p1", name: "Ben", text: "hello", at_ms: 5 }];
  script.point = { 1: "t1" };
  await room.join();
  events.length = 0;
  script.others = [ben];
  sockets[0].close();
  assert.equal(connections[0].closed, true);
  await until(() => room.state === "connected");
  assert.deepEqual(events, [
    ["state", "reconnecting", "connection_lost"],
    ["participantLeft", "p2"],
    ["media", "t1", true],
    ["state", "connected", ""],
  ]);
  assert.equal(room.participantId, "me-2");
  assert.deepEqual(connections[1].offers[0].lines[0].direction, "sendonly");
  room.leave();
});

test("an unreachable server is tried again, then given up with a reason", async () => {
  const server = serve();
  await server.room.join();
  server.reachable = false;
  server.sockets[0].close();
  await until(() => server.room.state === "closed");
  assert.deepEqual(server.events.at(-1), ["state", "closed", "unreachable"]);
  assert.ok(server.sockets.length > 20, `${server.sockets.length} attempts in three minutes`);
  assert.ok(server.sockets.length < 60, `${server.sockets.length} attempts in three minutes`);
});

test("a server that shuts down is waited for; one that kicks is not", async () => {
  const server = serve();
  await server.room.join();
  server.sockets[0].receive({ type: "bye", reason: "server_shutdown", message: "The server is restarting." });
  assert.deepEqual(server.events.at(-1), ["state", "reconnecting", "server_shutdown"]);
  await until(() => server.room.state === "connected");
  server.sockets[1].receive({ type: "bye", reason: "kicked", message: "You were removed." });
  assert.deepEqual(server.events.at(-1), ["state", "closed", "kicked"]);
  await until(() => true);
  assert.equal(server.sockets.length, 2);
});

test("a server that went silent without closing is noticed by pings", async () => {
  const server = serve();
  await server.room.join();
  // Media connects, so that only the silent socket is to be noticed.
  server.connections[0].become("connected");
  server.hung = true;
  await until(() => server.room.state === "reconnecting", 1000, 20);
  server.hung = false;
  await until(() => server.room.state === "connected");
  server.room.leave();
});

test("a broken path is restarted, and replaced when that does not help", async () => {
  const server = serve();
  await server.room.join();
  const [first] = server.connections;
  first.become("connected");
  first.become("disconnected");
  await until(() => first.offers.length === 2);
  assert.equal(first.offers[1].iceRestart, true);
  first.become("failed");
  assert.deepEqual(server.events.at(-1), ["state", "reconnecting", "media_failed"]);
  await until(() => server.room.state === "connected");
  assert.equal(server.connections.length, 2);
  server.room.leave();
});

test("a path that heals by itself is left alone", async () => {
  const server = serve();
  await server.room.join();
  const [connection] = server.connections;
  connection.become("connected");
  connection.become("disconnected");
  connection.become("connected");
  mock.timers.tick(60_000);
  await settle();
  assert.equal(connection.offers.length, 1);
  server.room.leave();
});

test("media the server gave up gets a new transport on the same socket", async () => {
  const server = serve();
  await server.room.publish({ source: "camera", media: fakeTrack("video") });
  await server.room.join();
  server.sockets[0].receive({ type: "media", state: "failed", reason: "consent_expired" });
  await settle();
  assert.equal(server.connections.length, 2);
  assert.equal(server.connections[0].closed, true);
  assert.equal(server.connections[1].offers[0].lines[0].direction, "sendonly");
  assert.equal(server.sockets.length, 1);
  server.room.leave();
});

test("leaving while reconnecting ends the attempts", async () => {
  const server = serve();
  await server.room.join();
  server.sockets[0].close();
  server.room.leave();
  mock.timers.tick(60_000);
  await settle();
  assert.equal(server.sockets.length, 1);
  assert.equal(server.room.state, "closed");
});

test("mute and chat become requests; unknown messages are passed over", async () => {
  const { room, sockets, events } = serve();
  const microphone = await room.publish({ source: "microphone", media: fakeTrack("audio") });
  await room.join();
  sockets[0].receive({ type: "from_the_future", weather: "fine" });
  await room.setMuted(microphone, true);
  await room.sendChat("hello");
  assert.deepEqual(
    sockets[0].said.slice(2).map(({ id, ...message }) => message),
    [
      { type: "mute", track: "own-microphone", muted: true },
      { type: "chat", text: "hello" },
    ],
  );
  sockets[0].receive({ type: "chat", message: { id: 7, participant: "p1", name: "Ben", text: "hi", at_ms: 9 } });
  assert.deepEqual(events.at(-1), ["chat", "hi"]);
  room.leave();
});

test("views are told with the join and again after a reconnect, those of ended tracks no more", async () => {
  const server = serve({ others: [ben] });
  const { room, sockets } = server;
  room.on("trackPublished", ({ track }) => room.setView(track.id, { height: 180 }));
  await room.join();
  mock.timers.tick(100);
  await settle();
  const views = (socket) => socket.said.filter(({ type }) => type === "view").map(({ tracks }) => tracks);
  const shown = { track: "t1", visible: true, height: 180, pinned: false };
  assert.deepEqual(views(sockets[0]), [[shown]]);
  room.setView("t2", { visible: false });
  sockets[0].receive({ type: "track_unpublished", participant: "p1", track: "t1" });
  sockets[0].close();
  server.script.others = [{ ...ben, tracks: [] }];
  await until(() => room.state === "connected");
  mock.timers.tick(100);
  await settle();
  assert.deepEqual(views(sockets[1]), [[{ track: "t2", visible: false, height: 0, pinned: false }]]);
  room.leave();
});

test("what is sent, who speaks and what was decided is told, and forgotten with the connection", async () => {
  const server = serve({ others: [ben] });
  const { room, sockets, connections } = server;
  const told = [];
  room.on("subscriptionChanged", ({ trackId, subscription }) => told.push([trackId, subscription?.reason ?? null]));
  room.on("speakersChanged", ({ recent, speaking }) => told.push([recent.join(), speaking]));
  await room.join();
  const paused = { track: "t1", layer: null, temporal: null, paused: true, reason: "bandwidth" };
  sockets[0].receive({ type: "subscriptions", subscriptions: [paused, { ...paused, track: "gone" }] });
  sockets[0].receive({ type: "speakers", recent: ["p1", "me-1"], speaking: 1 });
  assert.deepEqual(told.splice(0), [["t1", "bandwidth"], ["p1,me-1", 1]]);
  assert.deepEqual([...room.subscriptions.values()], [paused]);
  assert.equal(room.speakers.speaking, 1);
  sockets[0].receive({ type: "media", state: "failed", reason: "consent_expired" });
  await settle();
  assert.equal(connections.length, 2);
  assert.deepEqual(told.splice(0), [["t1", null]]);
  sockets[0].receive({ type: "subscriptions", subscriptions: [paused] });
  sockets[0].receive({ type: "track_unpublished", participant: "p1", track: "t1" });
  assert.equal(room.subscriptions.size, 0);
  sockets[0].close();
  assert.deepEqual(told.slice(-1), [["", 0]]);
  room.leave();
});

test("layers the relay does not want are switched off at the sender that carries the track", async () => {
  const { room, sockets, connections } = serve();
  await room.publish({ source: "camera", media: fakeTrack("video") });
  await room.join();
  const layers = ["q", "h", "f"].map((rid) => ({ rid, active: rid === "q" }));
  sockets[0].receive({ type: "layers", track: "own-camera", layers });
  await settle();
  const { encodings } = connections[0].transceivers[0];
  assert.deepEqual(encodings.map(({ rid, active }) => [rid, active ?? true].join()), ["q,true", "h,false", "f,false"]);
  room.leave();
});
