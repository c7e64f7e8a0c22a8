/** A large room in the client, with a server of the test's own. */
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { serve, until } from "./fake-room.mjs";
import { settle } from "./fakes.mjs";

afterEach(() => mock.timers.reset());

const person = (id) => ({ id, name: id, metadata: {}, tracks: [] });
const ids = (room) => [...room.participants.keys()];

test("the messages of a batch are taken in their order", async () => {
  const server = serve({ others: [person("ada")] });
  await server.room.join();
  assert.deepEqual([server.sockets[0].said[0].batch, server.sockets[0].said[0].audience], [true, undefined]);
  const updates = [];
  server.room.on("participantUpdated", ({ name }) => updates.push(name));
  server.sockets[0].receive({
    type: "batch",
    messages: [
      { type: "participant_joined", participant: person("grace") },
      { type: "hologram", depth: 3 },
      { type: "participant_updated", participant: { ...person("grace"), name: "Grace H." } },
      { type: "hand", participant: "grace", raised: true },
      { type: "participant_left", participant: "ada", reason: "left" },
    ],
  });
  assert.deepEqual([ids(server.room), updates, server.room.moderation.hands], [["grace"], ["Grace H."], ["grace"]]);
});

test("the audience knows how many there are, and who is on stage", async () => {
  const counts = { participants: 1500, publishers: 1, hands: 0 };
  const server = serve({ audience: "large", others: [person("speaker")], welcome: { audience: counts } });
  const { room } = server;
  const changes = [];
  room.on("audienceChanged", (audience) => changes.push(audience));
  await room.join();
  assert.equal(server.sockets[0].said[0].audience, "large");
  assert.deepEqual(room.audience, counts);
  server.sockets[0].receive({ type: "audience", ...counts });
  server.sockets[0].receive({ type: "audience", participants: 1501, publishers: 1, hands: 2 });
  assert.deepEqual(room.audience, { participants: 1501, publishers: 1, hands: 2 });
  assert.deepEqual(changes.map((audience) => audience.participants), [1500, 1501]);
  assert.deepEqual(ids(room), ["speaker"]);
});

test("people come by the page", async () => {
  const server = serve({ people: { participants: [person("ada"), person("grace")], total: 9, next: 17 } });
  const { room } = server;
  await room.join();
  assert.deepEqual(await room.people(), { participants: [person("ada"), person("grace")], total: 9, next: 17 });
  server.script.people = { participants: [], total: 9 };
  assert.equal((await room.people({ after: 17, limit: 2 })).next, null);
  const { id, ...said } = server.sockets[0].said.at(-1);
  assert.deepEqual(said, { type: "people", after: 17, limit: 2 });
});

test("who comes back to a room that has grown is told of those on stage alone", async () => {
  const server = serve({ audience: "large", others: [person("ada"), person("grace")] });
  const { room } = server;
  const left = [];
  room.on("participantLeft", ({ participant, reason }) => left.push([participant.id, reason]));
  await room.join();
  assert.equal(room.audience, null);
  server.script.others = [person("grace")];
  server.script.welcome = { audience: { participants: 400, publishers: 1, hands: 0 } };
  server.sockets[0].close();
  await until(() => room.state === "connected" && server.sockets.length === 2);
  await settle();
  assert.deepEqual([left, ids(room), room.audience.participants], [[["ada", "audience"]], ["grace"], 400]);
});

test("whoever is audience stays audience, though the first who come back find a small room", async () => {
  const counts = { participants: 1500, publishers: 1, hands: 0 };
  const server = serve({ audience: "large", others: [person("speaker")], welcome: { audience: counts } });
  const { room } = server;
  await room.join();
  server.sockets[0].receive({ type: "bye", reason: "server_shutdown", message: "" });
  await until(() => room.state === "connected" && server.sockets.length === 2);
  assert.deepEqual(server.sockets.map(({ said }) => said[0].audience), ["large", "always"]);
  room.leave();
});

test("whoever sees everybody goes on to do so under a server that was started again, and is judged by the size of a room that lived on", async () => {
  const server = serve({ audience: "large", others: [person("ada")] });
  const { room } = server;
  await room.join();
  server.sockets[0].receive({ type: "bye", reason: "server_shutdown", message: "" });
  await until(() => room.state === "connected" && server.sockets.length === 2);
  server.sockets[1].close();
  await until(() => room.state === "connected" && server.sockets.length === 3);
  assert.deepEqual(server.sockets.map(({ said }) => said[0].audience), ["large", undefined, "large"]);
  room.leave();
});
