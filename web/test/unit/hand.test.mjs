/** Our hand: what a promise says of it, and what the room sees, are the same. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { serve, until } from "./fake-room.mjs";
import { settle } from "./fakes.mjs";
import { heard, joined } from "./session-room.mjs";

test.afterEach(() => mock.timers.reset());

const raised = (session) => heard(session, "hand").map((said) => said.raised);
const raisedTo = (socket) => socket.said.filter(({ type }) => type === "hand").map((said) => said.raised);

test("a hand that is raised while the line is cut goes up when that is back, and then it is told", async () => {
  const { server, room, session } = await joined();
  server.isReachable = false;
  server.socket.cut();
  let isDone = false;
  const done = room.moderation.raiseHand(true).then(() => (isDone = true));
  await until(() => Date.now() > 5_000, 500);
  assert.deepEqual([isDone, room.moderation.isHandRaised], [false, true]);
  server.isReachable = true;
  await until(() => room.signaling.isConnected);
  await done;
  assert.deepEqual(raised(session), [true]);
  room.leave();
});

test("a hand that is raised while the room reconnects is a wish for the next stay", async () => {
  const server = serve();
  const { room, sockets } = server;
  await room.join();
  sockets[0].close();
  assert.equal(room.state, "reconnecting");
  await room.moderation.raiseHand(true);
  await room.moderation.raiseHand(false);
  await room.moderation.raiseHand(true);
  await until(() => room.state === "connected");
  assert.deepEqual(raisedTo(sockets[1]), [true]);
  room.leave();
  await assert.rejects(room.moderation.raiseHand(true), { code: "left" });
});

test("a hand that the server refuses to raise does not go up later either", async () => {
  const server = serve();
  const { room, sockets, script } = server;
  await room.join();
  script.refusals = { hand: "rate_limited" };
  await assert.rejects(room.moderation.raiseHand(true), { code: "rate_limited" });
  assert.equal(room.moderation.isHandRaised, false);
  script.refusals = {};
  sockets[0].close();
  await until(() => room.state === "connected" && sockets.length === 2);
  await settle();
  assert.deepEqual(raisedTo(sockets[1]), []);
  room.leave();
});

test("a hand that the next stay refuses is told as an error, and down", async () => {
  const server = serve();
  const { room, sockets, script } = server;
  const errors = [];
  room.on("errorOccurred", ({ code }) => errors.push(code));
  await room.join();
  sockets[0].close();
  script.refusals = { hand: "overloaded" };
  await room.moderation.raiseHand(true);
  await until(() => room.state === "connected" && errors.length > 0);
  assert.deepEqual([errors, room.moderation.isHandRaised], [["overloaded"], false]);
  room.leave();
});

test("a hand for which there is no place among the waiting messages does not go up", async () => {
  const { server, room, session } = await joined();
  server.isReachable = false;
  server.socket.cut();
  const said = Array.from({ length: 88 }, (_, number) => room.sendChat(String(number)));
  await assert.rejects(room.moderation.raiseHand(true), { code: "too_much_waiting" });
  await assert.rejects(room.unsubscribe(["t1"]), { code: "too_much_waiting" });
  await assert.rejects(room.rename("Anna"), { code: "too_much_waiting" });
  server.isReachable = true;
  await until(() => room.signaling.isConnected);
  await Promise.all(said);
  assert.deepEqual([raised(session), heard(session, "unsubscribe"), heard(session, "update")], [[], [], []]);
  assert.deepEqual([room.moderation.isHandRaised, room.name], [false, "Ana"]);
  room.leave();
});

/** Loses media and comes back to the session, whose room has these hands by then. */
async function comeBack({ server, room, connections }, hands, meanwhile = async () => {}) {
  server.hands = hands;
  connections.at(-1).become("failed");
  await until(() => room.state === "reconnecting", 100);
  await meanwhile();
  await until(() => room.state === "connected");
  await settle();
  return server.sessions.values().next().value;
}

test("a hand that the session has kept is not raised again, and one that a moderator lowered meanwhile stays down", async () => {
  const call = await joined();
  const { room } = call;
  const { participantId } = room;
  await room.moderation.raiseHand(true);
  assert.deepEqual(raised(await comeBack(call, [participantId])), []);
  assert.equal(room.moderation.isHandRaised, true);
  assert.deepEqual(raised(await comeBack(call, [])), []);
  assert.equal(room.moderation.isHandRaised, false);
  room.leave();
});

test("a hand that we lower or raise while the room reconnects to its session follows the wish", async () => {
  const call = await joined();
  const { room } = call;
  const { participantId, moderation } = room;
  await moderation.raiseHand(true);
  assert.deepEqual(raised(await comeBack(call, [participantId], () => moderation.raiseHand(false))), [false]);
  assert.deepEqual(raised(await comeBack(call, [], () => moderation.raiseHand(true))), [true]);
  room.leave();
});

test("a mute is told however much waits, once for each track", async () => {
  const { server, room, session, microphone } = await joined();
  server.isReachable = false;
  server.socket.cut();
  const said = Array.from({ length: 88 }, (_, number) => room.sendChat(String(number)));
  await assert.rejects(room.sendChat("one more"), { code: "too_much_waiting" });
  const presses = [true, false, true, false, true].map((muted) => room.setMuted(microphone, muted));
  await settle();
  for (const muted of [false, true]) presses.push(room.setMuted(microphone, muted));
  server.isReachable = true;
  await until(() => room.signaling.isConnected);
  await Promise.all([...said, ...presses]);
  assert.deepEqual(heard(session, "mute").map(({ muted }) => muted), [true]);
  room.leave();
});
