/** Moderation in the client, with a server of the test's own. */
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { ALL_PERMISSIONS } from "../../client/permissions.js";
import { Publication } from "../../client/publication.js";
import { serve, until } from "./fake-room.mjs";
import { fakeTrack, settle } from "./fakes.mjs";

afterEach(() => mock.timers.reset());

const OPEN = { locked: false, waitingRoom: false, chat: true };

test("an older server has no rules, no hands, and nobody who moderates", async () => {
  const { room } = serve();
  await room.join();
  assert.deepEqual(room.moderation.rules, OPEN);
  assert.deepEqual([room.moderation.hands, room.permissions.moderate], [[], false]);
});

test("every action is said in the words of the protocol, and its refusal told", async () => {
  const server = serve();
  await server.room.join();
  const { moderation } = server.room;
  const [socket] = server.sockets;
  for (const [act, expected] of [
    [() => moderation.mute("t"), { action: "mute", track: "t" }],
    [() => moderation.askToUnmute("p"), { action: "ask_unmute", participant: "p" }],
    [() => moderation.remove("p"), { action: "remove", participant: "p" }],
    [() => moderation.ban("p"), { action: "ban", participant: "p" }],
    [() => moderation.setLocked(true), { action: "lock", on: true }],
    [() => moderation.setWaitingRoom(false), { action: "waiting_room", on: false }],
    [() => moderation.setChat(false), { action: "chat", on: false }],
    [() => moderation.admit("p"), { action: "admit", participant: "p" }],
    [() => moderation.deny("p"), { action: "deny", participant: "p" }],
    [() => moderation.lowerHand("p"), { action: "lower_hand", participant: "p" }],
    [() => moderation.end(), { action: "end" }],
  ]) {
    await act();
    const { id, ...said } = socket.said.at(-1);
    assert.equal(typeof id, "number");
    assert.deepEqual(said, { type: "moderate", ...expected });
  }
  server.script.refusals = { moderate: "not_allowed" };
  await assert.rejects(moderation.end(), { code: "not_allowed" });
  server.room.leave();
  await assert.rejects(moderation.end(), { code: "not_connected" });
});

test("an invitation is made, listed and revoked, and its refusal told", async () => {
  const permissions = { ...ALL_PERMISSIONS, chat: false };
  const server = serve({
    replies: {
      invite: { type: "invitation", invitation: "in_1", token: "a.b.c", expires_at_ms: 7_000 },
      invitations: { type: "invitations", invitations: [{ id: "in_1", expires_at_ms: 7_000, made_by: "Ada", permissions }] },
    },
  });
  await server.room.join();
  const { moderation } = server.room;
  const [socket] = server.sockets;
  const said = () => {
    const { id, ...rest } = socket.said.at(-1);
    assert.equal(typeof id, "number");
    return rest;
  };
  assert.deepEqual(await moderation.invite({ expiresIn: 3_600 }), { id: "in_1", token: "a.b.c", expiresAtMs: 7_000 });
  assert.deepEqual(said(), { type: "invite", expires_s: 3_600 });
  const grants = { publish: ["microphone"], chat: false };
  await moderation.invite({ expiresIn: 60, name: "Grace", grants });
  assert.deepEqual(said(), { type: "invite", expires_s: 60, name: "Grace", grants });
  const [first, ...others] = await moderation.invitations();
  assert.deepEqual([first.id, first.madeBy, first.expiresAtMs, first.name, first.permissions.chat, others], ["in_1", "Ada", 7_000, undefined, false, []]);
  assert.equal(await moderation.revokeInvitation("in_1"), undefined);
  assert.deepEqual(said(), { type: "revoke", invitation: "in_1" });
  server.script.refusals = { invite: "too_many_invitations", invitations: "not_allowed", revoke: "no_such_invitation" };
  await assert.rejects(moderation.invite({ expiresIn: 60 }), { code: "too_many_invitations" });
  await assert.rejects(moderation.invitations(), { code: "not_allowed" });
  await assert.rejects(moderation.revokeInvitation("in_1"), { code: "no_such_invitation" });
  server.room.leave();
  await assert.rejects(moderation.invite({ expiresIn: 60 }), { code: "not_connected" });
});

test("a track that a moderator mutes is silent before anybody is told, until we unmute it", async () => {
  const server = serve();
  const { room } = server;
  const media = fakeTrack("audio");
  const microphone = await room.publish(new Publication({ source: "microphone", media }));
  await room.join();
  const [socket] = server.sockets;
  let enabledWhenTold = null;
  room.on("moderated", () => (enabledWhenTold = media.enabled));
  const mute = { type: "moderated", action: "mute", by: "boss" };
  socket.receive({ ...mute, participant: "somebody", track: microphone.trackId });
  socket.receive({ ...mute, participant: room.participantId, track: "another" });
  assert.equal(media.enabled, true);
  socket.receive({ ...mute, participant: room.participantId, track: microphone.trackId });
  assert.deepEqual([media.enabled, microphone.muted, enabledWhenTold], [false, true, false]);
  await settle();
  assert.equal(socket.knows.tracks.microphone, true);
  await room.setMuted(microphone, false);
  assert.deepEqual([media.enabled, socket.knows.tracks.microphone], [true, false]);
});

test("a mute of a moderator that meets our unmute on its way ends in silence", async () => {
  const server = serve();
  const { room } = server;
  const media = fakeTrack("audio");
  const microphone = await room.publish(new Publication({ source: "microphone", media, muted: true }));
  await room.join();
  const [socket] = server.sockets;
  const unmuted = room.setMuted(microphone, false);
  socket.receive({ type: "moderated", action: "mute", by: "boss", participant: room.participantId, track: microphone.trackId });
  await unmuted;
  await settle();
  assert.deepEqual([media.enabled, socket.knows.tracks.microphone], [false, true]);
});

test("hands stand in the order of raising, and a hand of ours comes back with the connection", async () => {
  const server = serve({ welcome: { hands: ["p", "q"] } });
  const { room } = server;
  await room.join();
  const [socket] = server.sockets;
  const { moderation } = room;
  await moderation.raiseHand(true);
  const me = room.participantId;
  socket.receive({ type: "hand", participant: me, raised: true });
  socket.receive({ type: "hand", participant: "r", raised: true });
  socket.receive({ type: "hand", participant: "p", raised: false, by: "boss" });
  assert.deepEqual(moderation.hands, ["q", me, "r"]);
  socket.receive({ type: "participant_left", participant: "q", reason: "left" });
  assert.deepEqual(moderation.hands, [me, "r"]);
  const raised = () => server.sockets.at(-1).said.filter(({ type }) => type === "hand").map((said) => said.raised);
  socket.close();
  await until(() => server.sockets.length === 2 && room.state === "connected");
  assert.deepEqual(raised(), [true]);
  // One that a moderator lowered stays down.
  server.sockets[1].receive({ type: "hand", participant: room.participantId, raised: false, by: "boss" });
  server.sockets[1].close();
  await until(() => server.sockets.length === 3 && room.state === "connected");
  assert.deepEqual(raised(), []);
});

test("rules, rights and who waits are told as they change", async () => {
  const server = serve({ welcome: { rules: { locked: true, waiting_room: false, chat: true } } });
  const { room } = server;
  const told = [];
  room.on("rulesChanged", ({ rules, by }) => told.push([rules, by]));
  room.on("permissionsChanged", ({ moderate }) => told.push(moderate));
  room.on("waitingChanged", (waiting) => told.push([...waiting.values()]));
  await room.join();
  const [socket] = server.sockets;
  socket.receive({ type: "rules", rules: { locked: false, waiting_room: true, chat: false }, by: "boss" });
  socket.receive({ type: "permissions", permissions: { ...ALL_PERMISSIONS, moderate: true } });
  socket.receive({ type: "waiting", waiting: [{ id: "w", name: "Wim" }, { id: "v", name: "Vera" }] });
  socket.receive({ type: "waiting_left", participant: "w", outcome: "left" });
  assert.deepEqual(told, [
    [],
    [{ ...OPEN, locked: true }, null],
    [{ locked: false, waitingRoom: true, chat: false }, "boss"],
    true,
    ["Wim", "Vera"],
    ["Vera"],
  ]);
  assert.equal(room.permissions.moderate, true);
});

test("a join that has to wait takes as long as that takes, and ends by the word of a moderator", async () => {
  for (const outcome of ["admitted", "denied"]) {
    const server = serve({ deaf: new Set(["join"]) });
    const { room } = server;
    let awaited = 0;
    room.on("admissionAwaited", () => (awaited += 1));
    let result = null;
    room.join().then(() => (result = "admitted"), ({ code }) => (result = code));
    await settle();
    const [socket] = server.sockets;
    const { id } = socket.said[0];
    socket.receive({ type: "wait" });
    assert.deepEqual([awaited, room.isAwaitingAdmission, room.state], [1, true, "joining"]);
    for (let turn = 0; turn < 60; turn += 1) {
      mock.timers.tick(5_000);
      await settle();
    }
    assert.deepEqual([result, server.sockets.length], [null, 1], "five minutes later");
    if (outcome === "denied") socket.receive({ type: "error", id, code: "denied", message: "No.", fatal: false });
    else {
      socket.receive({ type: "welcome", id, version: 1, room: "standup", participant: "me", participants: [], chat: [], ice_servers: [], limits: { message_bytes: 1, chat_chars: 1 }, server: { name: "t", version: "0" } });
    }
    await settle();
    await settle();
    assert.deepEqual([result, room.isAwaitingAdmission, room.state], [outcome, false, outcome === "denied" ? "closed" : "connected"]);
    room.leave();
    mock.timers.reset();
  }
});
