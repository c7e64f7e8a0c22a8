import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Liveness, onWake } from "../../client/liveness.js";

test.afterEach(() => mock.timers.reset());

function watching() {
  mock.timers.enable({ apis: ["setInterval", "setTimeout", "Date"] });
  const told = { pings: 0, dead: 0 };
  const doubts = [];
  const liveness = new Liveness({ ping: () => (told.pings += 1), doubt: () => doubts.push(Date.now()), dead: () => (told.dead += 1) });
  liveness.start(5_000);
  const run = (ms) => {
    for (let left = ms; left > 0; left -= 500) mock.timers.tick(500);
  };
  return { liveness, told, doubts, run };
}

test("a silent connection is dead after 5 s, asked twice before", () => {
  const { told, run } = watching();
  run(4_500);
  assert.deepEqual(told, { pings: 1, dead: 0 });
  run(500);
  assert.equal(told.dead, 1);
  run(60_000);
  assert.equal(told.dead, 1, "told once");
});

test("one that is heard lives", () => {
  const { liveness, told, run } = watching();
  for (let round = 0; round < 10; round += 1) {
    run(4_500);
    liveness.heard();
  }
  assert.equal(told.dead, 0);
  assert.ok(told.pings >= 15 && told.pings <= 18, `${told.pings} pings in 45 s`);
});

test("one that may be dead has 1.5 s to prove the contrary, however often it is asked", () => {
  const { liveness, told, run } = watching();
  liveness.check();
  assert.equal(told.pings, 1);
  run(1_000);
  liveness.check();
  run(500);
  assert.equal(told.dead, 1);
});

test("a check that is not answered at once is doubted once, and what is heard ends the doubt", () => {
  const { liveness, told, doubts, run } = watching();
  run(4_500);
  assert.deepEqual(doubts, [], "an ordinary ping has time");
  liveness.heard();
  liveness.check();
  assert.ok(liveness.isChecking);
  run(500);
  assert.equal(doubts.length, 1);
  liveness.heard();
  assert.ok(!liveness.isChecking);
  run(500);
  liveness.check();
  mock.timers.tick(400);
  liveness.heard();
  run(4_000);
  liveness.check();
  liveness.stop();
  run(4_000);
  assert.deepEqual([doubts.length, told.dead], [1, 0]);
});

test("a timer that comes late is no proof of death, but a reason to ask", () => {
  const { liveness, told, run } = watching();
  mock.timers.setTime(Date.now() + 3_600_000);
  mock.timers.tick(500);
  assert.deepEqual(told, { pings: 1, dead: 0 });
  liveness.heard();
  run(4_500);
  assert.equal(told.dead, 0);
  mock.timers.setTime(Date.now() + 3_600_000);
  run(2_000);
  assert.equal(told.dead, 1);
});

test("what wakes us is listened to until it is not", () => {
  const [window, connection] = [new EventTarget(), new EventTarget()];
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { connection }, configurable: true });
  Object.assign(globalThis, {
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window),
  });
  try {
    let woken = 0;
    const stop = onWake(() => (woken += 1));
    window.dispatchEvent(new Event("online"));
    window.dispatchEvent(new Event("visibilitychange"));
    connection.dispatchEvent(new Event("change"));
    assert.equal(woken, 3);
    stop();
    window.dispatchEvent(new Event("online"));
    connection.dispatchEvent(new Event("change"));
    assert.equal(woken, 3);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else delete globalThis.navigator;
  }
});
