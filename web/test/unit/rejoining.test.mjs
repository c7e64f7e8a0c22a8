/** A room that has lost its transport or its session: how it comes back, and as whom. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { until } from "./fake-room.mjs";
import { settle } from "./fakes.mjs";
import { ben, camera, heard, joined } from "./session-room.mjs";

test.afterEach(() => mock.timers.reset());

/** Media fails for good, and the room begins anew. */
async function loseMedia({ room, connections }) {
  const count = connections.length;
  connections.at(-1).become("failed");
  await until(() => room.state === "reconnecting");
  return () => until(() => room.state === "connected" && connections.length === count + 1);
}

const saidTo = (socket) => socket.said.map(({ type, fresh }) => (fresh ? `${type} fresh` : type));

test("lost media resumes the session with a fresh transport: no access token is asked for", async () => {
  let asked = 0;
  const call = await joined({ token: () => `token-${(asked += 1)}` });
  const { server, room, connections, events, microphone } = call;
  const { participantId } = room;
  // From now on the door is closed to everybody, as to a token that has expired.
  const { hear } = server;
  server.hear = (peer, message) =>
    message.type === "join"
      ? peer.socket.tell({ type: "error", id: message.id, code: "token_expired", message: "", fatal: false })
      : hear.call(server, peer, message);
  await (await loseMedia(call))();
  assert.deepEqual(saidTo(server.socket).slice(0, 3), ["resume fresh", "ack", "offer"]);
  assert.equal(asked, 1);
  assert.equal(room.participantId, participantId);
  assert.equal(connections[0].closed, true);
  assert.equal(microphone.trackId, "own-microphone");
  const changes = events.filter(([name]) => name !== "signaling");
  assert.deepEqual(changes, [["state", "reconnecting", "media_failed"], ["state", "connected", ""]]);
  room.leave();
});

test("what was changed while the room reconnected is told to the session that it resumes", async () => {
  const call = await joined({ metadata: { seat: 1 } });
  const { server, room } = call;
  const back = await loseMedia(call);
  await room.rename("Anna");
  await room.update({ metadata: { seat: 2 } });
  await room.unsubscribe(["t1"]);
  await back();
  await settle();
  const [session] = server.sessions.values();
  assert.deepEqual(heard(session, "update").map(({ name, metadata }) => [name, metadata]), [["Anna", { seat: 2 }]]);
  assert.deepEqual(heard(session, "unsubscribe").map(({ tracks }) => tracks), [["t1"]]);
  assert.deepEqual([room.name], ["Anna"]);
  room.leave();
});

test("a name and metadata that the server knows are not told again", async () => {
  const call = await joined({ metadata: { seat: 1 } });
  await (await loseMedia(call))();
  await settle();
  const [session] = call.server.sessions.values();
  assert.deepEqual(heard(session, "update"), []);
  call.room.leave();
});

test("a session that the server has lost together with media is joined anew under the same id, and the others are waited for", async () => {
  const call = await joined();
  const { server, room, connections, events } = call;
  const { participantId } = room;
  const back = await loseMedia(call);
  server.sessions.clear();
  server.others = [];
  await back();
  connections[1].become("connected");
  assert.deepEqual(saidTo(server.socket).slice(0, 2), ["resume fresh", "join"]);
  assert.equal(room.participantId, participantId);
  assert.deepEqual(events.filter(([name]) => !/state|signaling/.test(name)), [["presenceChanged", "p1"]]);
  room.leave();
});

test("messages that are not kept any more cost the transport, not the session", async () => {
  const { server, room, session } = await joined();
  // As a server that had to forget what it had told last.
  session.acknowledged = session.sent + 1;
  server.socket.cut();
  await until(() => room.state === "reconnecting");
  await until(() => room.state === "connected");
  assert.equal(server.refused.session_gap, 1);
  assert.deepEqual(saidTo(server.socket).slice(0, 4), ["resume", "resume fresh", "ack", "offer"]);
  room.leave();
});

test("another page that has our session is somebody else in the room, and we see them", async () => {
  const first = await joined();
  const token = first.tokens.at(-1);
  const second = await joined({ session: token }, first.server);
  const { participantId } = second.room;
  assert.equal(participantId, first.room.participantId);
  // The first page is told by the fate of its own line.
  first.server.others = [ben, { id: participantId, name: "Ana", tracks: [{ ...camera, id: "t5" }] }];
  first.events.length = 0;
  first.server.sockets[0].cut();
  await until(() => first.room.state === "connected" && first.room.signaling.isConnected);
  assert.equal(first.server.refused.session_used, 1);
  assert.notEqual(first.room.participantId, participantId);
  assert.deepEqual([...first.room.participants.keys()].sort(), ["p1", participantId].sort());
  assert.deepEqual(first.events.filter(([name]) => /Joined|Published/.test(name)), [["participantJoined", participantId], ["trackPublished", "t5"]]);
  first.room.leave();
  second.room.leave();
});

test("another page that took our session while we were reconnecting is seen as well", async () => {
  const first = await joined();
  const { server, room } = first;
  const { participantId } = room;
  const back = await loseMedia(first);
  // The token is another page's now.
  const [session] = server.sessions.values();
  session.spent.add(session.token);
  session.token = `${session.token.split(".")[0]}.other`;
  server.others = [ben, { id: participantId, name: "Ana", tracks: [] }];
  await back();
  assert.equal(server.refused.session_used, 1);
  assert.notEqual(room.participantId, participantId);
  assert.ok(room.participants.has(participantId));
  assert.equal(first.tokens.includes(null), true, "there was nothing to go on with");
  room.leave();
});

test("a session that is resumed and brings no welcome is given up, and tried again", async () => {
  const call = await joined();
  const { server, room } = call;
  const { push } = server;
  server.push = (session, message) => message.type !== "welcome" && push.call(server, session, message);
  const back = await loseMedia(call);
  await until(() => server.sockets.length === 2);
  const before = Date.now();
  await until(() => server.sockets.length === 3);
  assert.ok(Date.now() - before < 60_000, `${Date.now() - before} ms`);
  server.push = push;
  await back();
  room.leave();
});

/** A room that has wishes, and whose server is away for longer than its grace. */
async function awayForLong(call) {
  const { server, room, microphone } = call;
  await room.unsubscribe(["t1"]);
  room.setView("t1", { height: 180, pinned: true });
  await room.setMuted(microphone, true);
  await room.moderation.raiseHand(true);
  mock.timers.tick(200);
  await settle();
  server.answer = ({ type }) => (type === "chat" ? [] : undefined);
  const chat = room.sendChat("on its way");
  server.isReachable = false;
  server.socket.cut();
  await until(() => room.state === "reconnecting", 500, 120);
  assert.ok(Date.now() > 45_000, `${Date.now()} ms`);
  server.answer = () => undefined;
  server.sessions.clear();
  server.isReachable = true;
  return { chat };
}

test("a server that was away for longer than its grace is told all wishes anew", async () => {
  const call = await joined();
  const { server, room, connections } = call;
  const { chat } = await awayForLong(call);
  server.others = [];
  await until(() => room.state === "connected");
  await chat;
  const [session] = server.sessions.values();
  assert.deepEqual(heard(session, "offer")[0].tracks.map(({ muted }) => muted), [true]);
  assert.deepEqual(heard(session, "hand").map(({ raised }) => raised), [true]);
  assert.deepEqual(heard(session, "chat").map(({ text }) => text), ["on its way"]);
  connections[1].become("connected");
  // Ben has lost the server as we have.
  server.push(session, { type: "participant_joined", participant: { ...ben, tracks: [] } });
  server.push(session, { type: "track_published", participant: "p1", track: { ...camera, id: "t9" } });
  await settle();
  mock.timers.tick(200);
  await settle();
  assert.deepEqual(heard(session, "unsubscribe").map(({ tracks }) => tracks), [["t9"]]);
  assert.deepEqual(heard(session, "view").flatMap(({ tracks }) => tracks), [{ track: "t9", visible: true, height: 180, pinned: true }]);
  // A second one of the kind is another.
  server.push(session, { type: "track_published", participant: "p1", track: { ...camera, id: "t10" } });
  await settle();
  assert.equal(heard(session, "unsubscribe").length, 1);
  room.leave();
});

test("a wish is for the track that comes back, not for one that comes after three minutes or beside one that stayed", async () => {
  for (const isThere of [false, true]) {
    const call = await joined();
    const { server, room } = call;
    (await awayForLong(call)).chat.catch(() => {});
    server.others = isThere ? [ben] : [];
    await until(() => room.state === "connected");
    const [session] = server.sessions.values();
    await settle();
    assert.deepEqual(heard(session, "unsubscribe").map(({ tracks }) => tracks), isThere ? [["t1"]] : []);
    const back = Date.now();
    if (!isThere) await until(() => Date.now() - back > 180_000, 1_000);
    if (!isThere) server.push(session, { type: "participant_joined", participant: { ...ben, tracks: [] } });
    server.push(session, { type: "track_published", participant: "p1", track: { ...camera, id: "t9" } });
    await settle();
    assert.equal(heard(session, "unsubscribe").length, isThere ? 1 : 0);
    room.leave();
    mock.timers.reset();
  }
});

test("others who come back while our first offer is under way are received as we chose", async () => {
  const { server, room, connections } = await joined();
  await room.unsubscribe(["t1"]);
  server.others = [];
  server.restart();
  server.answer = ({ type }) => (type === "offer" ? [] : undefined);
  await until(() => connections.length === 2 && connections[1].offers.length === 1);
  const [session] = server.sessions.values();
  server.push(session, { type: "participant_joined", participant: { ...ben, tracks: [] } });
  server.push(session, { type: "track_published", participant: "p1", track: { ...camera, id: "t9" } });
  await settle();
  assert.equal(room.state, "reconnecting");
  assert.deepEqual(heard(session, "unsubscribe").map(({ tracks }) => tracks), [["t9"]]);
  room.leave();
});

test("the mute of a moderator goes along to the next transport, and one that we never heard of is obeyed there", async () => {
  const call = await joined();
  const { server, room, microphone, session } = call;
  const { participantId } = room;
  const mute = { type: "moderated", action: "mute", by: "boss", participant: participantId };
  server.push(session, { ...mute, track: microphone.trackId });
  await settle();
  assert.equal(microphone.muted, true);
  await (await loseMedia(call))();
  const [second] = server.sessions.values();
  assert.deepEqual(heard(second, "offer")[0].tracks.map(({ muted }) => muted), [true]);
  await room.setMuted(microphone, false);
  // The server has muted it by its old name meanwhile, which goes with the line.
  call.connections.at(-1).become("connected");
  await (await loseMedia(call))();
  const [third] = server.sessions.values();
  assert.deepEqual(heard(third, "offer")[0].tracks.map(({ muted }) => muted), [false]);
  server.push(third, { ...mute, track: microphone.trackId });
  await settle();
  assert.deepEqual([microphone.muted, microphone.media.enabled], [true, false]);
  assert.deepEqual(heard(third, "mute").map(({ muted }) => muted), [true]);
  room.leave();
});
