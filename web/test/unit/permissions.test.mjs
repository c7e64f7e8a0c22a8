/** Our rights in a room, as the server tells them. */
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { ALL_PERMISSIONS, mayPublish } from "../../client/permissions.js";
import { Publication } from "../../client/publication.js";
import { serve, until } from "./fake-room.mjs";
import { fakeTrack, settle } from "./fakes.mjs";

afterEach(() => mock.timers.reset());

const publication = (source, kind) => new Publication({ source, media: fakeTrack(kind) });

test("the source decides, within its kind", () => {
  const screen = { ...ALL_PERMISSIONS, microphone: false, camera: false };
  for (const [source, kind, alone] of [
    ["microphone", "audio", false],
    ["camera", "video", false],
    ["screen", "video", true],
    ["screenAudio", "audio", true],
    ["other", "audio", false],
    ["other", "video", false],
    ["screen", "audio", false],
    ["screenAudio", "video", false],
  ]) {
    assert.equal(mayPublish(screen, { source, kind }), alone, `${source} ${kind}`);
    assert.equal(mayPublish({ ...ALL_PERMISSIONS, screen: false }, { source, kind }), !alone, `${source} ${kind}`);
    assert.equal(mayPublish(ALL_PERMISSIONS, { source, kind }), true);
  }
});

test("what may not be sent is not offered, and told; later it is refused at once", async () => {
  const permissions = { ...ALL_PERMISSIONS, camera: false };
  const server = serve({ welcome: { name: "Ana Real", metadata: { seat: 4 }, permissions } });
  const { room } = server;
  const told = [];
  room.on("errorOccurred", ({ code, message }) => told.push([code, message]));
  const refused = [];
  room.on("publicationRefused", ({ publication: { source }, error }) => refused.push([source, error.code]));
  const camera = await room.publish(publication("camera", "video"));
  const microphone = await room.publish(publication("microphone", "audio"));
  await room.join();
  assert.deepEqual(told, [["not_allowed", "You may not send a camera in this room."]]);
  assert.deepEqual(refused, [["camera", "not_allowed"]]);
  assert.deepEqual([...room.publications], [microphone]);
  assert.deepEqual(Object.keys(server.sockets[0].knows.tracks), ["microphone"]);
  await assert.rejects(room.publish(camera), { code: "not_allowed" });
  assert.deepEqual(room.permissions, permissions);
  assert.equal(room.name, "Ana Real");
});

test("a publication that a later stay does not take is told, and is none any more", async () => {
  const server = serve();
  const { room } = server;
  const refused = [];
  room.on("publicationRefused", ({ publication, error }) => refused.push([publication, error.code]));
  const camera = await room.publish(publication("camera", "video"));
  const microphone = await room.publish(publication("microphone", "audio"));
  await room.join();
  assert.deepEqual(refused, []);
  server.script.welcome = { permissions: { ...ALL_PERMISSIONS, camera: false } };
  server.sockets[0].close();
  await until(() => room.state === "reconnecting");
  await until(() => room.state === "connected");
  assert.deepEqual(refused, [[camera, "not_allowed"]]);
  assert.deepEqual([...room.publications], [microphone]);
});

test("a name that the server chose is no change of ours, and stays where we may not change it", async () => {
  for (const update of [true, false]) {
    const server = serve({ welcome: { name: "Ana Real", metadata: {}, permissions: { ...ALL_PERMISSIONS, update } } });
    const joined = server.room.join();
    await server.room.rename("Anita");
    await joined;
    await settle();
    assert.equal(server.room.name, update ? "Anita" : "Ana Real");
    const updates = server.sockets[0].said.filter(({ type }) => type === "update");
    assert.deepEqual(updates.map(({ name }) => name), update ? ["Anita"] : []);
    mock.timers.reset();
  }
});

test("a server that says nothing of rights forbids nothing", async () => {
  const server = serve();
  await server.room.join();
  assert.deepEqual([server.room.permissions, server.room.name], [ALL_PERMISSIONS, "Ana"]);
});
