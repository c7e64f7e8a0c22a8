/** The numbers of a session: tables of its rules, and random faults against a server that keeps them. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { FOR_MUTES, MOST_KEPT, Session } from "../../client/session.js";
import { Line } from "../../client/line.js";
import { settle } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";

const made = () => new Session({ token: "T.1", graceMs: 30_000 });
const say = (session, type, id) => session.say({ type, id }, JSON.stringify({ type, id }));

test("messages are numbered from welcome and from the first after join", () => {
  const session = made();
  assert.equal(session.received, 1, "the welcome");
  for (const type of ["ping", "ack", "resume", "join"]) say(session, type, 1);
  assert.equal(session.sent, 0);
  say(session, "chat", 2);
  say(session, "leave");
  assert.equal(session.sent, 2);
  for (const message of [{ type: "pong" }, { type: "resumed" }, { type: "bye" }, { type: "error", fatal: true }]) session.hear(message);
  assert.equal(session.received, 1);
  for (const message of [{ type: "ok" }, { type: "error", fatal: false }, null]) session.hear(message);
  assert.equal(session.received, 4);
});

for (const [what, act, kept] of [
  ["nothing happened", () => {}, [1, 2, 3]],
  ["a reply to the second came", (session) => session.hear({ type: "ok", id: 12 }), [3]],
  ["a refusal of the first came", (session) => session.hear({ type: "error", id: 11, fatal: false }), [2, 3]],
  ["a reply to something else came", (session) => session.hear({ type: "ok", id: 99 }), [1, 2, 3]],
  ["the server has had two", (session) => session.forget(2), [3]],
  ["the server has had all", (session) => session.forget(3), []],
]) {
  test(`what is said again when ${what}`, () => {
    const session = made();
    for (const id of [11, 12, 13]) say(session, "chat", id);
    act(session);
    const again = session.resume({ session: "T.2", received: kept.length > 0 ? kept[0] - 1 : 3 });
    assert.deepEqual(again.map((frame) => JSON.parse(frame).id), kept.map((number) => number + 10));
    assert.equal(session.token, "T.2");
  });
}

test("a server that wants what is not kept, or has had more than there was, is not followed", () => {
  const session = made();
  for (const id of [11, 12, 13]) say(session, "chat", id);
  session.forget(2);
  assert.equal(session.resume({ session: "T.2", received: 1 }), null);
  assert.equal(session.resume({ session: "T.2", received: 4 }), null);
  assert.equal(session.token, "T.1");
});

test("an acknowledgement is due after 64 messages, and the number of kept ones is bounded", () => {
  const session = made();
  for (let count = 1; count < 64; count += 1) {
    assert.equal(session.owesAck, false);
    session.hear({ type: "speakers" });
  }
  assert.equal(session.owesAck, true);
  session.told();
  assert.equal(session.owesAck, false);
  for (let count = 0; count < MOST_KEPT - FOR_MUTES; count += 1) {
    assert.equal(session.hasPlaceFor("chat"), true);
    say(session, "chat", count);
  }
  assert.equal(session.hasPlaceFor("chat"), false);
  assert.equal(session.hasPlaceFor("mute"), true);
});

/** Numbers from 0 up to 1, always the same for the same seed (mulberry32). */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A network that delivers each way of each connection in order, and takes its time. */
function slowNetwork(random) {
  const last = new Map();
  return (deliver, socket = null, way = "up") => {
    const key = socket ? (socket[way] ??= {}) : {};
    const at = Math.max(Date.now() + random() * 300, last.get(key) ?? 0);
    last.set(key, at);
    setTimeout(deliver, at - Date.now());
  };
}

/** Whether a seed has passed: how many cuts it had. */
async function runFaults(seed, steps) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const random = randomOf(seed);
  const server = new SessionServer(slowNetwork(random));
  const line = new Line("ws://server.invalid/v1/ws", { WebSocket: server.WebSocket });
  const tick = async (ms) => {
    for (let left = ms; left > 0; left -= 50) {
      mock.timers.tick(50);
      await settle();
    }
  };
  const heard = [];
  let downs = 0;
  line.on("message", (message) => message.type === "chat" && heard.push(message.message.id));
  line.on("down", () => (downs += 1));
  line.on("refused", ({ code }) => assert.fail(`seed ${seed}: refused with ${code}`));
  const opened = line.open();
  await tick(1_000);
  await opened;
  line.send({ type: "join", id: line.nextId(), room: "r", name: "n", version: 1, auto_subscribe: true, resumable: true });
  await tick(1_000);
  const [session] = server.sessions.values();
  let said = 0;
  let told = 0;
  const sayOne = () => line.canTake("chat") && line.send({ type: "chat", id: line.nextId(), text: String((said += 1)) });
  const tellOne = () =>
    server.push(session, { type: "chat", message: { id: (told += 1), participant: "p", name: "n", text: "x", at_ms: 1 } });
  const current = () => server.sockets.filter(({ readyState }) => readyState < 2);
  const faults = [
    () => current().forEach((socket) => socket.cut()),
    () => current().forEach((socket) => (socket.isDead = { up: true, down: true })),
    () => current().forEach((socket) => (socket.isDead.up = true)),
    () => current().forEach((socket) => (socket.isDead.down = true)),
    () => (server.isReachable = false),
    () => (server.isReachable = true),
  ];
  for (let step = 0; step < steps; step += 1) {
    if (random() < 0.6) sayOne();
    if (random() < 0.6) tellOne();
    if (random() < 0.06) faults[Math.floor(random() * faults.length)]();
    if (random() < 0.03) server.isReachable = true;
    await tick(50 + Math.floor(random() * 4) * 50);
  }
  server.isReachable = true;
  current().forEach((socket) => socket.cut());
  await tick(40_000);
  assert.ok(line.isUp, `seed ${seed}: not up in the end`);
  const arrived = session.heard.filter(({ type }) => type === "chat").map(({ text }) => Number(text));
  assert.deepEqual(arrived, Array.from({ length: said }, (_, index) => index + 1), `seed ${seed}: ours, once and in order`);
  assert.deepEqual(heard, Array.from({ length: told }, (_, index) => index + 1), `seed ${seed}: theirs, once and in order`);
  assert.ok(said > steps / 4 && told > steps / 4);
  line.close();
  mock.timers.reset();
  return downs;
}

test("whatever is cut, lost or late, each message arrives once and in order, both ways", async () => {
  let downs = 0;
  for (let seed = 1; seed <= 60; seed += 1) downs += await runFaults(seed, 120);
  assert.ok(downs > 100, `${downs} cuts`);
});
