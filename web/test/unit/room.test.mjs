import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { serve, until } from "./fake-room.mjs";
import { fakeTrack, settle } from "./fakes.mjs";

const camera = { id: "t1", kind: "video", source: "camera", muted: false, simulcast: true, codec: "VP8" };
const ben = { id: "p1", name: "Ben", tracks: [camera] };
const cleo = { id: "p2", name: "Cleo", tracks: [] };

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

test("a server that has said that it goes and does not come back is the reason, and no network", async () => {
  const server = serve();
  await server.room.join();
  let message = "";
  server.room.on("stateChanged", (change) => (message = change.message));
  server.reachable = false;
  server.sockets[0].receive({ type: "bye", reason: "server_shutdown", message: "The server is restarting." });
  await until(() => server.room.state === "closed");
  assert.deepEqual([...server.events.at(-1), message], ["state", "closed", "server_shutdown", "The server is restarting."]);
});

for (const [what, reason] of [["goodbye", "server_shutdown"], ["cut", "connection_lost"]]) {
  test(`a server that refuses everybody after a ${what} is the reason, though it ends the last connections without a word`, async () => {
    const server = serve();
    await server.room.join();
    server.script.refuse = { code: "room_full" };
    if (what === "cut") server.sockets[0].close();
    else server.sockets[0].receive({ type: "bye", reason, message: "" });
    assert.deepEqual(server.events.at(-1), ["state", "reconnecting", reason]);
    await until(() => server.sockets.length > 5);
    server.script.deaf = new Set(["join"]);
    server.script.refuse = null;
    const count = server.sockets.length;
    await until(() => {
      for (const socket of server.sockets.slice(count)) if (socket.said.length > 0) socket.close();
      return server.room.state === "closed";
    });
    assert.ok(server.sockets.length > count);
    assert.deepEqual(server.events.at(-1), ["state", "closed", "room_full"]);
  });
}

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

test("media that never gets through is tried again, told all the while, then given up", async () => {
  const server = serve();
  await server.room.join();
  assert.equal(server.room.isMediaBlocked, false);
  await until(() => server.room.state === "reconnecting");
  await until(() => server.room.state === "connected");
  assert.equal(server.room.isMediaBlocked, true);
  server.connections.at(-1).become("connected");
  assert.equal(server.room.isMediaBlocked, false);
  server.connections.at(-1).become("failed");
  await until(() => server.room.state === "closed");
  assert.deepEqual(server.events.at(-1), ["state", "closed", "media_failed"]);
  const { length } = server.connections;
  assert.ok(length > 8 && length < 20, `${length} attempts in three minutes`);
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

test("where the server has no worker left, the reason is its own and not the network's", async () => {
  const server = serve();
  await server.room.join();
  server.script.refusals = { offer: "worker_failed" };
  server.sockets[0].receive({ type: "media", state: "failed", reason: "worker_failed" });
  await until(() => server.room.state === "reconnecting");
  assert.deepEqual(server.events.at(-1), ["state", "reconnecting", "worker_failed"]);
  server.script.refusals = {};
  await until(() => server.room.state === "connected");
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

const types = ({ said }) => said.map(({ type }) => type);

test("who was unsubscribed from stays so after a reconnect, before there is any media", async () => {
  const sound = { id: "t0", kind: "audio", source: "microphone", muted: false, simulcast: false, codec: "opus" };
  const server = serve({ others: [{ ...ben, tracks: [sound, camera] }] });
  const { room, sockets, connections } = server;
  await room.join();
  await room.unsubscribe(["t0"]);
  // Muted and unmuted by themselves they are no more wanted than before.
  for (const muted of [true, false]) sockets[0].receive({ type: "track_updated", participant: "p1", track: { ...sound, muted } });
  for (const round of [1, 2]) {
    sockets.at(-1).close();
    await until(() => room.state === "connected");
    assert.deepEqual(types(sockets[round]).slice(0, 3), ["join", "unsubscribe", "offer"]);
    assert.deepEqual(sockets[round].knows.chosen, { t0: false });
    const kinds = connections[round].offers[0].lines.map(({ kind }) => kind);
    assert.deepEqual(kinds, ["video"], "and no m-line is made for it");
  }
  await room.subscribe(["t0"]);
  sockets.at(-1).close();
  await until(() => room.state === "connected");
  assert.ok(!types(sockets.at(-1)).includes("unsubscribe"));
  // A track that has ended meanwhile needs no choice.
  await room.unsubscribe(["t0"]);
  server.script.others = [ben];
  sockets.at(-1).close();
  await until(() => room.state === "connected");
  assert.ok(!types(sockets.at(-1)).includes("unsubscribe"));
  room.leave();
});

test("who receives nothing by itself is given again what was chosen", async () => {
  const server = serve({ others: [ben], autoSubscribe: false });
  const { room, sockets, connections } = server;
  await room.join();
  assert.deepEqual(connections[0].offers[0].lines, [], "no m-lines for what is not received");
  await room.subscribe(["t1"]);
  sockets[0].close();
  await until(() => room.state === "connected");
  assert.deepEqual(types(sockets[1]).slice(0, 3), ["join", "subscribe", "offer"]);
  assert.equal(connections[1].offers[0].lines.length, 1);
  room.leave();
});

test("a choice the server refuses is none, and one ended track is not in the way of the others", async () => {
  const server = serve({ others: [ben, { ...cleo, tracks: [{ ...camera, id: "t9" }] }] });
  const { room, sockets, script } = server;
  await room.join();
  script.refusals = { unsubscribe: "rate_limited" };
  await assert.rejects(room.unsubscribe(["t1"]), { code: "rate_limited" });
  script.refusals = { unsubscribe: "no_such_track" };
  await assert.rejects(room.unsubscribe(["t77"]), { code: "no_such_track" });
  // Cleo leaves while the request is on its way: the server says so before it refuses.
  const gone = room.unsubscribe(["t1", "t9"]);
  sockets[0].receive({ type: "participant_left", participant: "p2", reason: "left" });
  const refused = sockets[0].said.length;
  await Promise.resolve();
  script.refusals = {};
  await gone;
  assert.deepEqual(sockets[0].said.slice(refused).map(({ tracks }) => tracks), [["t1"]]);
  room.leave();
});

test("we are not shown the one we were before, while the server still believes in us", async () => {
  const server = serve({ others: [ben] });
  const { room, events, sockets, script } = server;
  await room.join();
  events.length = 0;
  script.others = [ben, { id: "me-1", name: "Ana", tracks: [] }];
  sockets[0].close();
  await until(() => room.state === "connected");
  sockets[1].receive({ type: "track_published", participant: "me-1", track: { ...camera, id: "t8" } });
  sockets[1].receive({ type: "participant_left", participant: "me-1", reason: "disconnected" });
  assert.deepEqual(events.map(([name]) => name), ["state", "state"]);
  assert.deepEqual([...room.participants.keys()], ["p1"]);
  room.leave();
});

test("one publication that cannot be sent does not keep us out of the room", async () => {
  const server = serve();
  const { room, connections } = server;
  const errors = [];
  room.on("errorOccurred", ({ message }) => errors.push(message));
  const media = fakeTrack("video");
  await room.publish({ source: "microphone", media: fakeTrack("audio") });
  const camera = await room.publish({ source: "camera", media, scalabilityMode: "L9T9", codec: "VP9" });
  camera.transceiverInit = () => {
    throw new Error("no such mode");
  };
  await room.join();
  assert.deepEqual(errors, ["no such mode"]);
  assert.deepEqual([...room.publications].map(({ source }) => source), ["microphone"]);
  assert.equal(connections[0].offers[0].lines.length, 1);
  room.leave();
});

test("what is published or replaced while muted is silent, and nothing is let out but by unmuting", async () => {
  const { room } = serve();
  const first = fakeTrack("audio");
  const second = fakeTrack("audio");
  const microphone = await room.publish({ source: "microphone", media: first, muted: true });
  await room.join();
  assert.equal(first.enabled, false);
  await room.replaceMedia(microphone, second);
  assert.equal(second.enabled, false);
  await room.setMuted(microphone, false);
  assert.equal(second.enabled, true);
  const third = { ...fakeTrack("audio"), enabled: false };
  await room.replaceMedia(microphone, third);
  assert.equal(third.enabled, false, "whoever silenced it has a reason");
  room.leave();
});
