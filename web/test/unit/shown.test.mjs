/** The views that tiles tell the server, and the words they show to people. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { promote } from "../../ui/order.js";
import { neededHeight } from "../../ui/shown.js";
import { decisionWords, stretches } from "../../ui/timeline.js";
import { Arrivals } from "../../ui/arrivals.js";
import { linkState } from "../../ui/link.js";
import { Figures } from "../../ui/figures.js";
import { OWN_TILE } from "../../ui/people.js";
import { explainOverRate, explainPause, explainTile, explainUnwatchable, reasonWords } from "../../ui/words.js";

test("a picture needs the lines of its place, more when it is cut off at the sides", () => {
  const box = (width, height, whole = false, aspect = 16 / 9) => ({ width, height, aspect, whole });
  assert.equal(neededHeight(box(320, 180), 1), 180);
  assert.equal(neededHeight(box(320, 180), 1.5), 270);
  assert.equal(neededHeight(box(200, 180), 1), 180, "filled and cut off at the sides");
  assert.equal(neededHeight(box(640, 180), 1), 360, "filled and cut off above and below");
  assert.equal(neededHeight(box(640, 180, true), 1), 180);
  assert.equal(neededHeight(box(160, 180, true), 1), 90, "whole between bars");
  assert.equal(neededHeight(box(90, 160, true, 9 / 16), 2), 320);
});

const people = ["own", "a", "b", "c", "d", "e"];
const stays = (id) => id === "own";

test("who speaks comes to the front in the place of who was silent longest", () => {
  assert.deepEqual(promote(people, ["a", "b"], 3, stays), people, "nobody moves who is in front");
  assert.deepEqual(promote(people, ["e"], 3, stays), ["own", "a", "e", "c", "d", "b"]);
  assert.deepEqual(promote(people, ["e", "b", "a"], 3, stays), people.with(0, "own"), "all in front have spoken");
  assert.deepEqual(promote(people, ["e", "b"], 3, stays), ["own", "e", "b", "c", "d", "a"]);
  assert.deepEqual(promote(people, ["gone", "own"], 3, stays), people);
  assert.deepEqual(promote(["own"], ["x"], 3, stays), ["own"]);
});

test("whoever speaks, in any order, is in front and nobody is lost", () => {
  let order = people;
  let recent = [];
  for (let turn = 0; turn < 200; turn += 1) {
    const speaker = people[1 + ((turn * 7 + ((turn * turn) % 5)) % 5)];
    recent = [speaker, ...recent.filter((id) => id !== speaker)];
    order = promote(order, recent, 4, stays);
    assert.equal(order[0], "own");
    assert.ok(order.indexOf(speaker) < 4, `${speaker} in ${order}`);
    assert.deepEqual([...order].sort(), [...people].sort());
  }
});

const decision = (atMs, layer, reason = "best") => ({ atMs, track: "t", layer, temporal: null, reason, estimate: null });

test("a timeline is the stretches between decisions, within its window", () => {
  const decided = [decision(1_000, 2), decision(50_000, null, "bandwidth"), decision(80_000, 0)];
  const found = stretches(decided, 100_000, 100_000);
  assert.deepEqual(found.map(({ from, to, layer }) => [from, to, layer]), [
    [0.01, 0.5, 2],
    [0.5, 0.8, null],
    [0.8, 1, 0],
  ]);
  assert.deepEqual(stretches(decided, 100_000, 10_000).map(({ from, to }) => [from, to]), [[0, 1]]);
  assert.deepEqual(stretches([], 5), []);
});

test("decisions and pauses are told in words", () => {
  assert.equal(decisionWords({ ...decision(3_000, 1, "bandwidth"), temporal: 2, estimate: 480_400 }, 15_000),
    "−12 s layer 1 T2: your connection is too slow; the link could carry 480 kbit/s");
  assert.equal(explainPause({ paused: true, reason: "bandwidth" }), "paused: your connection is too slow");
  assert.equal(explainPause({ paused: true, reason: "muted" }), "paused: muted");
  assert.equal(explainPause({ paused: true, reason: "cap" }), "paused: the server’s limit is reached");
  for (const waiting of ["waiting_for_publisher", "waiting_for_keyframe", "waiting_for_m_line"]) {
    assert.doesNotMatch(explainPause({ paused: true, reason: waiting }), /paused/, "it has not begun");
  }
  assert.equal(explainPause({ paused: false, reason: "bandwidth" }), null);
  assert.equal(explainPause(undefined), null);
  assert.equal(reasonWords("solar_flare"), "solar flare");
  assert.equal(reasonWords("constructor"), "constructor");
});

test("our own link is told as our own, by what the browser says and by what arrives", () => {
  const facts = { room: "connected", media: "connected", silentMs: 0, isIdle: false };
  for (const [changes, expected] of [
    [{}, "connected"],
    [{ media: "new" }, "connecting"],
    [{ media: "connecting", silentMs: 60_000 }, "connecting"],
    [{ silentMs: 2_900 }, "connected"],
    [{ silentMs: 3_000 }, "interrupted"],
    [{ silentMs: 6_000, isIdle: true }, "connected"],
    [{ silentMs: 9_000, isIdle: true }, "interrupted"],
    [{ media: "disconnected" }, "interrupted"],
    [{ media: "failed" }, "failed"],
    [{ room: "reconnecting", media: "new" }, "interrupted"],
    [{ room: "joining", media: "new" }, "connecting"],
    [{ room: "closed" }, "failed"],
    [{ cutMs: 900 }, "connected"],
    [{ cutMs: 1_000 }, "cut"],
    [{ cutMs: 1_000, isFlowing: true }, "resuming"],
    [{ cutMs: 900, isFlowing: true }, "connected"],
    [{ cutMs: 60_000, silentMs: 3_000 }, "interrupted"],
    [{ cutMs: 60_000, media: "disconnected" }, "interrupted"],
    [{ cutMs: 60_000, room: "reconnecting" }, "interrupted"],
  ]) {
    assert.equal(linkState({ ...facts, ...changes }), expected, JSON.stringify(changes));
  }
});

test("silence is counted from the last thing that arrived, of whatever kind", () => {
  const report = (...entries) => new Map(entries.map((entry, index) => [String(index), entry]));
  const rtp = (packetsReceived) => ({ type: "inbound-rtp", packetsReceived });
  const pair = (bytesReceived, responsesReceived) => ({ type: "candidate-pair", bytesReceived, responsesReceived });
  const arrivals = new Arrivals();
  assert.equal(arrivals.poll(report(rtp(5), pair(9, 1)), 1_000), 0);
  assert.equal(arrivals.poll(report(rtp(5), pair(9, 1)), 2_500), 1_500);
  for (const entries of [[rtp(6), pair(9, 1)], [rtp(6), pair(10, 1)], [rtp(6), pair(10, 2)], [rtp(6), pair(10, 2), rtp(1)]]) {
    assert.equal(arrivals.poll(report(...entries), 9_000), 0);
  }
  assert.equal(arrivals.poll(report(rtp(6), pair(10, 2), rtp(1)), 12_000), 3_000);
  assert.equal(arrivals.poll(null, 13_000), 0, "without a transport there is nothing to wait for");
  assert.equal(arrivals.poll(report(rtp(6), pair(10, 2), rtp(1)), 20_000), 0, "and another begins anew");
});

test("a tile says whose fault it is", () => {
  const well = { link: "connected", subscription: { paused: false, reason: "best" }, hasMoved: true, isLate: false, isStill: false };
  const paused = (reason) => ({ subscription: { paused: true, reason } });
  for (const [changes, expected] of [
    [{}, null],
    [{ isStill: true }, "no picture arrives at the moment"],
    [paused("publisher"), "paused: nothing comes from its sender at the moment"],
    [paused("cap"), "paused: the server’s limit is reached"],
    // The server's last message does not count: nothing arrives here.
    [{ ...paused("publisher"), link: "interrupted" }, "the connection to the server is interrupted"],
    [{ ...paused("bandwidth"), link: "failed" }, "the connection to the server has failed"],
    [{ link: "interrupted" }, "the connection to the server is interrupted"],
    // Before the first picture.
    [{ hasMoved: false }, null],
    [{ hasMoved: false, isLate: true }, "waiting for the picture"],
    [{ hasMoved: false, isLate: true, link: "connecting" }, "connecting…"],
    [{ hasMoved: false, isLate: true, subscription: undefined, link: "connecting" }, "connecting…"],
    [{ hasMoved: false, ...paused("waiting_for_keyframe") }, null],
    [{ hasMoved: false, ...paused("bandwidth") }, "paused: your connection is too slow"],
    [{ hasMoved: false, isLate: true, ...paused("waiting_for_publisher") }, "its sender has sent nothing yet"],
    [{ hasMoved: false, isLate: true, ...paused("last_n"), link: "connecting" }, "paused: others spoke more recently"],
  ]) {
    assert.equal(explainTile({ ...well, ...changes }), expected, JSON.stringify(changes));
  }
});

test("what cannot be decoded is told in words, to those who cannot see and to who is not seen", () => {
  const undecodable = { paused: true, reason: "codec_not_negotiated" };
  assert.equal(explainPause(undecodable, "VP9"), "This browser cannot play this video: its format is VP9");
  assert.equal(explainPause(undecodable), "This browser cannot play this video");
  for (const [count, names, who] of [
    [1, ["Ana"], "Ana"],
    [1, [], "One person"],
    [2, ["Ana", "Ben"], "Ana and Ben"],
    [2, ["Ana"], "Ana and one other"],
    [2, [], "2 people"],
    [40, ["Ana", "Ben", "Cy"], "Ana and 39 others"],
  ]) {
    const words = explainUnwatchable("video", count, names);
    assert.ok(words.startsWith(`${who} cannot see your video: `), words);
  }
  assert.match(explainUnwatchable("audio", 1, ["Ana"]), /^Ana cannot hear you: their browser does not play its format$/);
  assert.equal(explainUnwatchable("video", 0, []), null);
});

test("one who sends more than the server takes is told so, and how much that is", () => {
  assert.equal(explainOverRate(0, 0, 40_000_000), "");
  assert.equal(explainOverRate(1_234, 1_000, 40_000_000), "you send too much: the server drops what is above its limit of 40 Mbit/s (1,234 packets so far)");
  assert.equal(explainOverRate(1, 0, 1_500_000), "you send too much: the server drops what is above its limit of 1.5 Mbit/s (1 packet so far)");
  assert.equal(explainOverRate(7, 7, 40_000_000), "you sent too much: the server dropped what was above its limit of 40 Mbit/s (7 packets)");
  // By a server that does not tell its limit.
  assert.equal(explainOverRate(7, 3, 0), "you send too much: the server drops what is above its limit (7 packets so far)");
});

test("the figures of one's own tile tell what the server drops", async () => {
  let dropped = 0;
  /** @type {(figures: string) => void} */
  let shown;
  const room = {
    participants: new Map(),
    limits: { publisherBitrate: 40_000_000 },
    getStats: async () => new Map(),
    serverStats: async () => ({ packetsOverRate: dropped, subscriptions: [] }),
    timeline: async () => null,
    publishedMid: () => null,
    signaling: { isConnected: true, transport: "sse" },
  };
  const tile = { setFigures: (figures) => figures !== null && shown(figures) };
  const grid = { tiles: [], get: (id) => (id === OWN_TILE ? tile : null) };
  const figures = new Figures({ room, own: { publication: () => null }, grid });
  for (const [packets, expected] of [
    [0, "nothing sent"],
    [5, "nothing sent\nyou send too much: the server drops what is above its limit of 40 Mbit/s (5 packets so far)"],
    [5, "nothing sent\nyou sent too much: the server dropped what was above its limit of 40 Mbit/s (5 packets)"],
  ]) {
    dropped = packets;
    const told = new Promise((resolve) => (shown = resolve));
    figures.show(true);
    assert.equal(await told, `${expected}\nmessages by SSE, as no WebSocket gets through`);
    figures.show(false);
  }
});
