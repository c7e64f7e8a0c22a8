/** The rules of a room whose server was started again, which a moderator's client sets again. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { ALL_PERMISSIONS } from "../../client/permissions.js";
import { until } from "./fake-room.mjs";
import { settle } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";
import { ben, camera, heard, joined } from "./session-room.mjs";

test.afterEach(() => mock.timers.reset());

const OPEN = { locked: false, waiting_room: false, chat: true };
const STRICT = { locked: true, waiting_room: true, chat: false };
const GRACE_MS = 30_000;

/** A room with Ben in it, in which a moderator has set rules. */
async function ruled(rules = STRICT, { moderate = true, server = new SessionServer(), ...options } = {}) {
  Object.assign(server, { rules, permissions: { ...ALL_PERMISSIONS, moderate } });
  return joined(options, server);
}

const isBack = ({ room }) => room.state === "connected" && room.signaling.isConnected;

async function back(call) {
  await until(() => isBack(call));
  call.connections.at(-1).become("connected");
  await settle();
}

/** Starts the server again, without anybody but us at first. */
async function restart(call, { isSaid = false, rules = OPEN, moderate = true } = {}) {
  const { server, room } = call;
  Object.assign(server, { others: [], rules, permissions: { ...ALL_PERMISSIONS, moderate } });
  if (isSaid) server.socket.tell({ type: "bye", reason: "server_shutdown", message: "" });
  await settle();
  server.restart();
  await back(call);
  const [session] = server.sessions.values();
  return { session, said: () => heard(session, "moderate").map(({ action, on, participant }) => [action, on ?? participant]), room };
}

const comes = (server, session, person = { ...ben, tracks: [{ ...camera, id: "t9" }] }) => {
  server.push(session, { type: "participant_joined", participant: person });
  return settle();
};

/** Runs the clock by some milliseconds. */
async function pass(ms) {
  const end = Date.now() + ms;
  await until(() => Date.now() >= end, 500, 1_000);
}

test("a server that was killed and started again gets its rules back once somebody of before is there", async () => {
  const call = await ruled();
  const { session, said } = await restart(call);
  assert.deepEqual(said(), [], "the room may be another one by the same name");
  await comes(call.server, session);
  assert.deepEqual(said(), [["lock", true], ["waiting_room", true], ["chat", false]]);
  await pass(2 * GRACE_MS);
  // From now on people wait as ever.
  call.server.push(session, { type: "waiting", waiting: [{ id: "p1", name: "Ben" }] });
  await settle();
  assert.equal(said().length, 3, "once");
  call.room.leave();
});

test("after a goodbye of the server the chat is off and newcomers wait at once, and the lock comes when all are back", async () => {
  const call = await ruled();
  const { session, said } = await restart(call, { isSaid: true });
  assert.deepEqual(said(), [["waiting_room", true], ["chat", false]]);
  await comes(call.server, session);
  assert.deepEqual(said().at(-1), ["lock", true]);
  call.room.leave();
});

test("whoever does not come back holds the lock up no longer than the server keeps a place", async () => {
  const call = await ruled({ ...OPEN, locked: true });
  const { said } = await restart(call, { isSaid: true });
  await pass(GRACE_MS - 2_000);
  assert.deepEqual(said(), []);
  await pass(3_000);
  assert.deepEqual(said(), [["lock", true]]);
  call.room.leave();
});

test("whoever was alone in the room restores its rules at once", async () => {
  const server = Object.assign(new SessionServer(), { others: [] });
  const call = await ruled(STRICT, { server });
  const { said } = await restart(call);
  assert.deepEqual(said().sort(), [["chat", false], ["lock", true], ["waiting_room", true]]);
  call.room.leave();
});

test("people of before who have to wait are let in, and strangers are shown", async () => {
  const server = Object.assign(new SessionServer(), { others: [ben, { id: "p2", name: "Cleo", tracks: [] }] });
  const call = await ruled({ ...OPEN, waiting_room: true }, { server });
  const { room } = call;
  const { session, said } = await restart(call, { isSaid: true });
  server.push(session, { type: "waiting", waiting: [{ id: "p1", name: "Ben" }, { id: "p8", name: "Eve" }] });
  await settle();
  assert.deepEqual(said(), [["waiting_room", true], ["admit", "p1"]]);
  assert.deepEqual([...room.moderation.waiting.keys()], ["p8"]);
  // Where that fails, somebody has to decide.
  server.answer = ({ action }) => (action === "admit" ? [{ type: "error", code: "room_full", message: "", fatal: false }] : undefined);
  server.push(session, { type: "waiting", waiting: [{ id: "p1", name: "Ben" }] });
  await settle();
  assert.deepEqual([...room.moderation.waiting.keys()], ["p8", "p1"]);
  // Another moderator may be faster.
  server.answer = ({ action }) => (action === "admit" ? [{ type: "error", code: "no_such_participant", message: "", fatal: false }] : undefined);
  server.push(session, { type: "waiting", waiting: [{ id: "p2", name: "Cleo" }] });
  await settle();
  assert.deepEqual(said().at(-1), ["admit", "p2"]);
  assert.deepEqual([...room.moderation.waiting.keys()], ["p8", "p1"]);
  room.leave();
});

test("rules that another moderator has set meanwhile stay", async () => {
  const call = await ruled();
  const { session, said } = await restart(call, { rules: { ...OPEN, locked: true } });
  await comes(call.server, session);
  await pass(2 * GRACE_MS);
  assert.deepEqual(said(), []);
  call.room.leave();
});

test("a rule that a moderator sets while others come back is left to them", async () => {
  const call = await ruled({ ...OPEN, locked: true });
  const { server, room } = call;
  const { session, said } = await restart(call, { isSaid: true });
  for (const locked of [true, false]) server.push(session, { type: "rules", rules: { ...OPEN, locked }, by: "boss" });
  await comes(server, session);
  await pass(2 * GRACE_MS);
  assert.deepEqual(said(), []);
  assert.equal(room.moderation.rules.locked, false);
  room.leave();
});

test("rules that only hold again are told as such, and those that somebody decides are not", async () => {
  const call = await ruled(STRICT, { moderate: false });
  const { server, room } = call;
  const told = [];
  const { session } = await restart(call, { isSaid: true, moderate: false });
  room.on("rulesChanged", ({ by, isRestored }) => told.push([by, isRestored]));
  const rules = async (changes) => {
    server.push(session, { type: "rules", rules: { ...OPEN, ...changes }, by: "boss" });
    await settle();
    return told.pop();
  };
  assert.deepEqual(await rules({ waiting_room: true }), ["boss", true]);
  assert.deepEqual(await rules({}), ["boss", false], "switched off");
  assert.deepEqual(await rules({ waiting_room: true }), ["boss", false], "and on, by somebody");
  assert.deepEqual(await rules({ waiting_room: true, chat: false }), ["boss", true]);
  await pass(3 * GRACE_MS);
  assert.deepEqual(await rules({ waiting_room: true, chat: false, locked: true }), ["boss", false], "much later");
  room.leave();
});

for (const isLate of [false, true]) {
  test(`whoever may not moderate restores nothing, ${isLate ? "nor when they may much later" : "until they may"}`, async () => {
    const call = await ruled(STRICT, { moderate: false });
    const { server } = call;
    const { session, said } = await restart(call, { isSaid: true, moderate: false });
    await comes(server, session);
    if (isLate) await pass(2 * GRACE_MS);
    assert.deepEqual(said(), []);
    server.push(session, { type: "permissions", permissions: { ...ALL_PERMISSIONS, moderate: true } });
    await settle();
    assert.equal(said().length, isLate ? 0 : 3);
    call.room.leave();
  });
}

test("a room without rules is told none", async () => {
  const call = await ruled(OPEN);
  const { session, said } = await restart(call, { isSaid: true });
  await comes(call.server, session);
  await pass(2 * GRACE_MS);
  assert.deepEqual(said(), []);
  call.room.leave();
});

test("a room that was ended while our line was cut stays as its next people find it", async () => {
  const call = await ruled();
  // It is the same room after this one.
  await comes(call.server, (await restart(call, { isSaid: true, rules: STRICT })).session);
  // The session is over, and strangers have met under the name.
  const { session, said } = await restart(call);
  await comes(call.server, session, { ...ben, id: "p7", tracks: [] });
  await pass(2 * GRACE_MS);
  assert.deepEqual(said(), []);
  // Nor is it another room later.
  await comes(call.server, session);
  assert.deepEqual(said(), []);
  call.room.leave();
});

test("a room that went on while we were put out of it keeps the rules that it has", async () => {
  const call = await ruled();
  const { server, room } = call;
  server.rules = OPEN;
  server.restart();
  await back(call);
  await pass(2 * GRACE_MS);
  const [session] = server.sessions.values();
  assert.deepEqual(heard(session, "moderate"), [], "Ben's camera is the same");
  room.leave();
});

test("a session that is resumed takes the rules as they are", async () => {
  const call = await ruled();
  const { server, room, connections } = call;
  server.rules = OPEN;
  connections[0].become("failed");
  await until(() => room.state === "reconnecting");
  await back(call);
  const [session] = server.sessions.values();
  assert.deepEqual(heard(session, "moderate"), []);
  assert.deepEqual(room.moderation.rules.locked, false);
  room.leave();
});

test("a second restart before all are back forgets nothing", async () => {
  const call = await ruled({ ...OPEN, locked: true });
  await restart(call, { isSaid: true });
  const { session, said } = await restart(call, { isSaid: true });
  await comes(call.server, session);
  assert.deepEqual(said(), [["lock", true]]);
  call.room.leave();
});

test("a rule that may not have arrived is set in the next stay", async () => {
  const call = await ruled({ ...OPEN, chat: false });
  const { server, room, connections } = call;
  server.answer = ({ type }) => (type === "moderate" ? [] : undefined);
  const { said } = await restart(call, { isSaid: true });
  assert.deepEqual(said(), [["chat", false]]);
  server.answer = () => undefined;
  connections.at(-1).become("failed");
  await until(() => room.state === "reconnecting");
  await back(call);
  const [session] = server.sessions.values();
  assert.deepEqual(heard(session, "moderate").map(({ action, on }) => [action, on]), [["chat", false]]);
  room.leave();
});

test("rules that are due while we are between two stays are set in the next one", async () => {
  const call = await ruled({ ...OPEN, locked: true });
  const { server, room, connections } = call;
  await restart(call, { isSaid: true });
  server.hear = ((hear) => (peer, message) => message.fresh ? peer.socket.tell({ type: "error", id: message.id, code: "overloaded", message: "", fatal: false }) : hear.call(server, peer, message))(server.hear);
  connections.at(-1).become("failed");
  await until(() => room.state === "reconnecting");
  await pass(GRACE_MS);
  delete server.hear;
  await back(call);
  const [session] = server.sessions.values();
  assert.deepEqual(heard(session, "moderate").map(({ action, on }) => [action, on]), [["lock", true]]);
  room.leave();
});

test("a room that we come back to after a long cut keeps the rules that it has", async () => {
  const call = await ruled({ ...OPEN, locked: true });
  const { server, room } = call;
  await restart(call, { isSaid: true });
  server.isReachable = false;
  server.socket.cut();
  await until(() => room.state === "reconnecting", 500, 120);
  server.sessions.clear();
  server.isReachable = true;
  await back(call);
  const [session] = server.sessions.values();
  await comes(server, session);
  await pass(2 * GRACE_MS);
  assert.deepEqual(heard(session, "moderate"), []);
  room.leave();
});

test("two moderators who come back set the same rules, and the later one none that are set", async () => {
  const call = await ruled({ ...OPEN, chat: false });
  const other = await ruled({ ...OPEN, chat: false }, { server: call.server, name: "Bob" });
  const { server } = call;
  Object.assign(server, { others: [], rules: OPEN });
  for (const { peer } of server.sockets) peer.socket.tell({ type: "bye", reason: "server_shutdown", message: "" });
  await settle();
  server.restart();
  // The server holds to the first word.
  server.answer = ({ type, action, on }) => {
    if (type !== "moderate") return undefined;
    server.rules = { ...server.rules, [action]: on };
    return [{ type: "rules", rules: server.rules, by: "first", id: undefined }, { type: "ok" }];
  };
  for (const each of [call, other]) await back(each);
  await pass(2 * GRACE_MS);
  const said = [...server.sessions.values()].flatMap((session) => heard(session, "moderate").map(({ action, on }) => [action, on]));
  assert.ok(said.length >= 1 && said.every(([action, on]) => action === "chat" && on === false), JSON.stringify(said));
  assert.equal(server.rules.chat, false);
  call.room.leave();
  other.room.leave();
});

test("whoever saw a room as its audience restores what keeps people out when all have had their time", async () => {
  const server = Object.assign(new SessionServer(), { audience: { participants: 400, publishers: 1, hands: 0 } });
  const call = await ruled(STRICT, { server, audience: "always" });
  // Now it is small, and we moderate: those are not audience.
  server.audience = undefined;
  const { session, said } = await restart(call, { isSaid: true });
  await comes(server, session);
  assert.deepEqual(said(), [["chat", false]]);
  await pass(GRACE_MS + 1_000);
  assert.deepEqual(said().slice(1), [["lock", true], ["waiting_room", true]]);
  call.room.leave();
});

test("whoever leaves meanwhile restores nothing", async () => {
  const call = await ruled({ ...OPEN, locked: true });
  const { said, room } = await restart(call, { isSaid: true });
  room.leave();
  await pass(2 * GRACE_MS);
  assert.deepEqual(said(), []);
});
