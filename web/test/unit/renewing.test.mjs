/** A path that dies before the browser sees it: the room looks for another one. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { until } from "./fake-room.mjs";
import { settle } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";
import { joined } from "./session-room.mjs";

test.afterEach(() => mock.timers.reset());

/** A room that sends and receives sound, until `path` says otherwise. */
async function talking() {
  const alone = new SessionServer();
  alone.others = [];
  const path = { arrives: true, bytes: 0, packets: 0 };
  const getStats = async () =>
    new Map([
      ["pair", { type: "candidate-pair", bytesReceived: path.bytes }],
      ["out", { type: "outbound-rtp", packetsSent: path.packets }],
    ]);
  const { room, server, connections, events: told } = await joined({ getStats }, alone);
  const run = async (ms) => {
    for (let left = ms; left > 0; left -= 20) {
      path.packets += 1;
      if (path.arrives) path.bytes += 100;
      mock.timers.tick(20);
      await settle();
    }
  };
  await run(3_000);
  const restarts = () => connections[0].offers.filter(({ iceRestart }) => iceRestart).length;
  return { server, room, connections, path, told, run, restarts };
}

test("a dead path beside a line that lives is renewed in two seconds, by nothing but an ICE restart", async () => {
  const { room, connections, path, told, run, restarts } = await talking();
  path.arrives = false;
  await run(2_000);
  assert.equal(restarts(), 1);
  path.arrives = true;
  await run(20_000);
  assert.equal(restarts(), 1);
  assert.equal(connections.length, 1);
  assert.deepEqual(told, []);
  room.leave();
});

test("a network that takes the line with it: the line is taken up first, then the path is renewed", async () => {
  const { server, room, connections, path, told, run, restarts } = await talking();
  const [before] = server.sockets;
  before.isDead = { up: true, down: true };
  path.arrives = false;
  await until(() => server.sockets.length === 2 && room.signaling.isConnected, 20);
  await run(1_500);
  assert.equal(restarts(), 1);
  const [first] = server.sockets[1].said;
  assert.equal(first.type, "resume");
  path.arrives = true;
  await run(20_000);
  assert.equal(restarts(), 1);
  assert.equal(connections.length, 1);
  assert.ok(!told.some(([, state]) => state === "reconnecting"));
  room.leave();
});

test("while there is no network nothing is offered, and then at once", async () => {
  const { server, room, path, run, restarts } = await talking();
  server.isReachable = false;
  server.sockets[0].isDead = { up: true, down: true };
  path.arrives = false;
  await run(6_000);
  assert.equal(restarts(), 0);
  server.isReachable = true;
  await until(() => room.signaling.isConnected, 20);
  await run(100);
  assert.equal(restarts(), 1);
  room.leave();
});
