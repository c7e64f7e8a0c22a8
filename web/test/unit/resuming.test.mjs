/** A room whose line of messages is cut, and the call that goes on. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { until } from "./fake-room.mjs";
import { settle } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";
import { ben, camera, heard, joined } from "./session-room.mjs";

test.afterEach(() => mock.timers.reset());

test("a cut line is taken up again: nobody is told, and the transport is the same", async () => {
  const { server, room, connections, events, session, tokens } = await joined();
  const { participantId } = room;
  server.socket.cut();
  assert.equal(room.state, "connected");
  assert.deepEqual(events, [["signaling", false]]);
  assert.deepEqual(room.signaling, { isConnected: false, transport: null });
  await until(() => room.signaling.isConnected);
  assert.deepEqual(events, [["signaling", false], ["signaling", true]]);
  assert.equal(room.participantId, participantId);
  assert.equal(connections.length, 1);
  assert.equal(connections[0].closed, false);
  assert.equal(connections[0].offers.length, 1);
  assert.deepEqual(server.socket.said.map(({ type }) => type), ["resume", "ack"], "the old token is ended at once");
  assert.equal(tokens.length, 2);
  assert.equal(tokens[1], session.token);
  room.leave();
});

test("what is wished and said while the line is cut reaches the server, once and in order", async () => {
  const { server, room, events, microphone, session } = await joined();
  server.isReachable = false;
  server.socket.cut();
  const wishes = [
    room.setMuted(microphone, true),
    room.sendChat("one"),
    room.unsubscribe(["t1"]),
    room.sendChat("two"),
    room.rename("Anna"),
  ];
  assert.equal(microphone.media.enabled, false, "the device does not wait");
  server.push(session, { type: "chat", message: { id: 1, participant: "p1", name: "Ben", text: "from Ben", at_ms: 1 } });
  await until(() => Date.now() > 8_000, 500, 40);
  assert.equal(heard(session, "chat").length, 0);
  server.isReachable = true;
  await until(() => room.signaling.isConnected);
  await settle();
  await Promise.all(wishes);
  assert.deepEqual(heard(session, "chat").map(({ text }) => text), ["one", "two"]);
  assert.deepEqual(heard(session, "mute").map(({ muted }) => muted), [true]);
  assert.deepEqual(heard(session, "unsubscribe").map(({ tracks }) => tracks), [["t1"]]);
  assert.deepEqual(heard(session, "update").map(({ name }) => name), ["Anna"]);
  assert.deepEqual(events.filter(([name]) => name === "chat"), [["chat", "from Ben"]]);
  room.leave();
});

test("figures are for now or not at all, and wishes are not kept without end", async () => {
  const { server, room, session } = await joined();
  server.isReachable = false;
  server.socket.cut();
  await assert.rejects(room.serverStats(), { code: "not_connected" });
  await assert.rejects(room.timeline(), { code: "not_connected" });
  const all = await Promise.race([
    Promise.allSettled(Array.from({ length: 200 }, (_, number) => room.sendChat(String(number)))),
    settle().then(() => null),
  ]);
  assert.equal(all, null, "the first ones wait");
  await assert.rejects(room.sendChat("one more"), { code: "too_much_waiting" });
  server.isReachable = true;
  await until(() => room.signaling.isConnected);
  await settle();
  assert.equal(heard(session, "chat").length, 88);
  room.leave();
});

test("a path that dies while the line is cut is restarted once that is back", async () => {
  const { server, room, connections, events } = await joined();
  server.isReachable = false;
  server.socket.cut();
  connections[0].become("failed");
  await until(() => Date.now() > 20_000, 500, 60);
  assert.equal(connections[0].offers.length, 1);
  assert.equal(room.state, "connected");
  server.isReachable = true;
  await until(() => room.signaling.isConnected);
  await settle();
  assert.equal(connections[0].offers.at(-1).iceRestart, true);
  connections[0].become("connected");
  await until(() => Date.now() > 60_000, 500, 200);
  assert.equal(room.state, "connected");
  assert.deepEqual(events, [["signaling", false], ["signaling", true]]);
  room.leave();
});

test("a server that was started again gets us back as who we were, and the others are waited for", async () => {
  const { server, room, connections, events } = await joined();
  const { participantId } = room;
  const chat = room.sendChat("said before");
  await chat;
  server.answer = ({ type }) => (type === "chat" ? [] : undefined);
  const lost = room.sendChat("on its way");
  await settle();
  events.length = 0;
  server.others = [];
  server.answer = () => undefined;
  server.restart();
  await until(() => room.signaling.isConnected);
  connections[1].become("connected");
  await lost;
  const [session] = server.sessions.values();
  assert.equal(room.participantId, participantId);
  assert.deepEqual(server.socket.said.slice(0, 2).map(({ type }) => type), ["resume", "join"], "on one connection");
  assert.deepEqual(heard(session, "chat").map(({ text }) => text), ["on its way"]);
  assert.equal(connections.length, 2);
  assert.equal(connections[0].closed, true);
  assert.deepEqual(events, [
    ["signaling", false],
    ["state", "reconnecting", "connection_lost"],
    ["presenceChanged", "p1"],
    ["state", "connected", ""],
    ["signaling", true],
  ]);
  assert.equal(room.participants.get("p1").isConnected, false);
  events.length = 0;
  server.push(session, { type: "participant_joined", participant: { ...ben, tracks: [] } });
  server.push(session, { type: "track_published", participant: "p1", track: { ...camera, id: "t9" } });
  await settle();
  assert.deepEqual(events, [["presenceChanged", "p1"], ["trackUnpublished", "t1"], ["trackPublished", "t9"]]);
  await until(() => Date.now() > 90_000, 500, 400);
  assert.equal(room.participants.size, 1);
  room.leave();
});

test("who was unsubscribed from stays so under a server that was started again", async () => {
  const { server, room, connections } = await joined();
  await room.unsubscribe(["t1"]);
  server.others = [];
  server.restart();
  await until(() => room.state === "connected" && room.signaling.isConnected);
  connections[1].become("connected");
  const [session] = server.sessions.values();
  server.push(session, { type: "participant_joined", participant: { ...ben, tracks: [] } });
  server.push(session, { type: "track_published", participant: "p1", track: { ...camera, id: "t9" } });
  await settle();
  assert.deepEqual(heard(session, "unsubscribe").map(({ tracks }) => tracks), [["t9"]]);
  // A second one of the kind is another.
  server.push(session, { type: "track_published", participant: "p1", track: { ...camera, id: "t10" } });
  await settle();
  assert.equal(heard(session, "unsubscribe").length, 1);
  room.leave();
});

test("who does not come back to a server that was started again is gone after its patience", async () => {
  const { server, room, connections, events } = await joined();
  server.others = [];
  server.restart();
  await until(() => room.state === "connected" && room.signaling.isConnected);
  connections[1].become("connected");
  events.length = 0;
  await until(() => room.participants.size === 0, 500, 70);
  assert.deepEqual(events, [["trackUnpublished", "t1"], ["participantLeft", "p1"]]);
  room.leave();
});

test("a message that the room has is not said again after joining anew", async () => {
  const { server, room } = await joined();
  server.answer = ({ type }) => (type === "chat" ? [] : undefined);
  const said = [room.sendChat("arrived"), room.sendChat("arrived"), room.sendChat("did not")];
  await settle();
  server.answer = () => undefined;
  server.restart();
  server.chat = [{ id: 7, participant: room.participantId, name: "Ana", text: "arrived", at_ms: 5 }];
  await until(() => room.signaling.isConnected);
  await Promise.all(said);
  const [session] = server.sessions.values();
  assert.deepEqual(heard(session, "chat").map(({ text }) => text), ["arrived", "did not"]);
  room.leave();
});

test("a line that is cut for longer than the server waits is given up, and joined anew", async () => {
  const { server, room, connections, events } = await joined();
  server.isReachable = false;
  server.socket.cut();
  await until(() => room.state === "reconnecting", 500, 120);
  assert.ok(Date.now() >= 45_000, `${Date.now()} ms`);
  server.sessions.clear();
  server.isReachable = true;
  await until(() => room.state === "connected");
  assert.deepEqual(events.filter(([name]) => name !== "signaling"), [["state", "reconnecting", "connection_lost"], ["state", "connected", ""]]);
  assert.equal(connections.length, 2);
  room.leave();
});

test("a page that was loaded again goes on as the same participant", async () => {
  const first = await joined();
  const token = first.tokens.at(-1);
  mock.timers.reset();
  const second = await joined({ session: token }, first.server);
  assert.equal(second.room.participantId, first.room.participantId);
  assert.deepEqual(second.server.socket.said.slice(0, 3).map(({ type, fresh }) => [type, fresh]), [["resume", true], ["ack", undefined], ["offer", undefined]]);
  assert.equal(first.server.sessions.size, 1);
  // Its own line is cut: the counts are those of the new page.
  await second.room.sendChat("hello");
  second.server.socket.cut();
  await until(() => second.room.signaling.isConnected);
  await second.room.sendChat("again");
  const [session] = first.server.sessions.values();
  assert.deepEqual(heard(session, "chat").map(({ text }) => text), ["hello", "again"]);
  second.room.leave();
});

test("a token that is worth nothing any more joins, one that another page has used as somebody else", async () => {
  for (const [code, spent] of [["no_such_session", false], ["session_used", true]]) {
    const server = new SessionServer();
    const first = await joined({}, server);
    const token = first.tokens.at(-1);
    if (spent) {
      server.socket.cut();
      await until(() => first.room.signaling.isConnected);
      await settle();
    } else {
      server.sessions.clear();
    }
    mock.timers.reset();
    const second = await joined({ session: token }, server);
    assert.equal(server.refused[code], 1);
    const join = server.socket.said.find(({ type }) => type === "join");
    assert.equal(join.session, spent ? undefined : token);
    assert.equal(second.room.participantId === first.room.participantId, !spent);
    second.room.leave();
    mock.timers.reset();
  }
});

test("leaving says goodbye and ends the token; so does a room that gives up", async () => {
  const { server, room, session, tokens } = await joined();
  room.leave();
  await settle();
  assert.equal(session.heard.at(-1).type, "leave");
  assert.equal(tokens.at(-1), null);
});

test("a server that is too busy to resume is asked again", async () => {
  const { server, room, connections, events } = await joined();
  const { hear } = server;
  let refusals = 2;
  server.hear = (peer, message) => {
    if (message.type !== "resume" || refusals === 0) return hear.call(server, peer, message);
    refusals -= 1;
    return peer.socket.tell({ type: "error", id: message.id, code: "overloaded", message: "busy", fatal: false });
  };
  server.socket.cut();
  await until(() => room.signaling.isConnected);
  assert.equal(refusals, 0);
  assert.equal(connections.length, 1);
  assert.deepEqual(events, [["signaling", false], ["signaling", true]]);
  room.leave();
});

test("others who are away are told as such, and stay", async () => {
  const { server, room, events, session } = await joined();
  server.push(session, { type: "presence", participant: "p1", connected: false });
  await settle();
  assert.equal(room.participants.get("p1").isConnected, false);
  server.push(session, { type: "presence", participant: "p1", connected: true });
  server.push(session, { type: "presence", participant: "p9", connected: false });
  await settle();
  assert.deepEqual(events, [["presenceChanged", "p1"], ["presenceChanged", "p1"]]);
  room.leave();
});

test("a dead socket that nobody has closed is noticed within 6 s, and left alone afterwards", async () => {
  const { server, room, events } = await joined();
  const [first] = server.sockets;
  first.isDead = { up: true, down: true };
  const began = Date.now();
  await until(() => server.sockets.length === 2, 500, 20);
  assert.ok(Date.now() - began <= 6_000, `${Date.now() - began} ms`);
  await until(() => room.signaling.isConnected);
  assert.equal(first.readyState, 3);
  assert.deepEqual(events, [["signaling", false], ["signaling", true]]);
  room.leave();
});

test("a server without sessions is joined anew, as ever", async () => {
  const server = new SessionServer();
  server.graceMs = undefined;
  const { room, events } = await joined({}, Object.assign(server, { isOld: true }));
  server.socket.cut();
  assert.deepEqual(events, [["state", "reconnecting", "connection_lost"]]);
  await until(() => room.state === "connected");
  room.leave();
});
