/** Whether a path is alive, by what comes over it. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { countersOf, Pulse } from "../../client/pulse.js";
import { settle } from "./fakes.mjs";

test.afterEach(() => mock.timers.reset());

/** A path with sound both ways, until somebody says otherwise. */
function watched() {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const path = { arrives: true, sends: true, canAct: true };
  const counters = { arrived: 0, sent: 0 };
  const told = { doubt: 0, dead: 0 };
  const pulse = new Pulse({
    count: async () => (path.isGone ? null : { ...counters }),
    doubt: () => (told.doubt += 1),
    dead: () => {
      told.dead += path.canAct ? 1 : 0;
      return path.canAct;
    },
  });
  const run = async (ms) => {
    for (let left = ms; left > 0; left -= 20) {
      counters.arrived += path.arrives ? 1 : 0;
      counters.sent += path.sends ? 1 : 0;
      mock.timers.tick(20);
      await settle();
    }
  };
  return { pulse, path, told, run };
}

test("a path that brings something is never doubted", async () => {
  const { told, run } = watched();
  await run(30_000);
  assert.deepEqual(told, { doubt: 0, dead: 0 });
});

test("one that brings nothing for what we send is doubted after half a second, and dead after another one", async () => {
  const { path, told, run } = watched();
  await run(5_000);
  path.arrives = false;
  await run(520);
  assert.deepEqual(told, { doubt: 1, dead: 0 });
  await run(960);
  assert.deepEqual(told, { doubt: 1, dead: 0 });
  await run(20);
  assert.deepEqual(told, { doubt: 1, dead: 1 });
});

test("what is done about it gets time, and ever more of it", async () => {
  const { path, told, run } = watched();
  await run(3_000);
  path.arrives = false;
  await run(1_520);
  const at = [];
  for (let ms = 0; ms < 12_000; ms += 500) {
    const before = told.dead;
    await run(500);
    if (told.dead > before) at.push(ms + 500);
  }
  assert.deepEqual(at, [1_500, 3_000, 6_000, 12_000]);
  path.arrives = true;
  await run(3_000);
  path.arrives = false;
  await run(2_600);
  assert.deepEqual(told, { doubt: 2, dead: 6 }, "then all begins anew");
});

test("what could not be done is done as soon as it can", async () => {
  const { path, told, run } = watched();
  await run(3_000);
  Object.assign(path, { arrives: false, canAct: false });
  await run(5_000);
  assert.equal(told.dead, 0);
  path.canAct = true;
  await run(520);
  assert.equal(told.dead, 1);
});

test("who sends nothing may hear nothing", async () => {
  const { path, told, run } = watched();
  await run(3_000);
  Object.assign(path, { arrives: false, sends: false });
  await run(60_000);
  assert.deepEqual(told, { doubt: 0, dead: 0 });
});

test("when there is a reason for doubt, half a second of silence is enough, also for those who only listen", async () => {
  const { pulse, path, told, run } = watched();
  path.sends = false;
  await run(3_200);
  path.arrives = false;
  await run(2_100);
  pulse.hurry();
  await run(480);
  assert.equal(told.dead, 0);
  await run(60);
  assert.equal(told.dead, 1);
});

test("the same doubt is no reason where nothing came before, and none where something comes", async () => {
  const { pulse, path, told, run } = watched();
  Object.assign(path, { arrives: false, sends: false });
  await run(6_000);
  pulse.hurry();
  await run(3_000);
  assert.equal(told.dead, 0);
  Object.assign(path, { arrives: true, sends: true });
  await run(3_000);
  pulse.hurry();
  await run(3_000);
  assert.deepEqual(told, { doubt: 0, dead: 0 });
});

test("one that is told dead is told again at once when there is a new way to act", async () => {
  const { pulse, path, told, run } = watched();
  await run(3_000);
  path.arrives = false;
  await run(1_600);
  assert.equal(told.dead, 1);
  pulse.hurry();
  assert.equal(told.dead, 2);
});

test("a sleep is no silence, nor is a transport without a path", async () => {
  const { path, told, run } = watched();
  await run(3_000);
  path.arrives = false;
  mock.timers.setTime(Date.now() + 3_600_000);
  await run(500);
  path.isGone = true;
  await run(20_000);
  assert.deepEqual(told, { doubt: 0, dead: 0 });
});

test("counters that take the browser long are asked for more rarely", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  let asked = 0;
  const pulse = new Pulse({
    count: async () => {
      asked += 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { arrived: asked, sent: 0 };
    },
    doubt: () => {},
    dead: () => true,
  });
  for (let ms = 0; ms < 21_000; ms += 20) {
    mock.timers.tick(20);
    await settle();
  }
  assert.ok(asked >= 9 && asked <= 11, `${asked} times in 21 s`);
  pulse.stop();
});

test("nothing is told after the end", async () => {
  const { pulse, path, told, run } = watched();
  await run(3_000);
  path.arrives = false;
  await run(1_100);
  pulse.stop();
  pulse.hurry();
  await run(10_000);
  assert.deepEqual(told, { doubt: 1, dead: 0 });
});

test("connectivity checks are no sign of life", () => {
  const report = new Map([
    ["a", { type: "candidate-pair", bytesReceived: 1_000, responsesReceived: 7 }],
    ["b", { type: "candidate-pair", responsesReceived: 1 }],
    ["c", { type: "inbound-rtp", packetsReceived: 20 }],
    ["d", { type: "outbound-rtp", packetsSent: 300 }],
    ["e", { type: "outbound-rtp" }],
  ]);
  assert.deepEqual(countersOf(report), { arrived: 1_020, sent: 300 });
});
