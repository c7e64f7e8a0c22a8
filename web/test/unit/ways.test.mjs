/** Ways for media, each tried alone: which candidates a trial keeps, and what people are told of its outcome. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { keepCandidates, relayServers, tryWays } from "../../client/ways.js";
import { roomInToken, signalingUrl } from "../../ui/address.js";
import { explainNotTried, explainWay, milliseconds, nameWay, summarizeWays } from "../../ui/check-words.js";
import { FakeWebSocket } from "./fakes.mjs";

const SDP = [
  "v=0",
  "a=candidate:1 1 udp 2130706431 203.0.113.7 10000 typ host",
  "a=candidate:2 1 UDP 2130706431 2001:db8::1 10000 typ host",
  "a=candidate:3 1 tcp 1518280447 203.0.113.7 443 typ host tcptype passive",
  "a=end-of-candidates",
  "",
].join("\r\n");

const RELAY = { kind: "relay", url: "turns:call.example.org:443?transport=tcp" };
const outcome = (way, state = "reached", roundTripMs = state === "reached" ? 20 : null) => ({
  way: typeof way === "string" ? { kind: way } : way,
  state,
  connectMs: state === "reached" ? 100 : null,
  roundTripMs,
});

test("an answer keeps the addresses of one kind of way", () => {
  const ports = (kind) => [...keepCandidates(SDP, kind).matchAll(/^a=candidate:(\d)/gm)].map(([, id]) => id);
  assert.deepEqual(ports("udp"), ["1", "2"]);
  assert.deepEqual(ports("tcp"), ["3"]);
  assert.deepEqual(ports("relay"), ["1", "2"], "a relay sends on over UDP");
  assert.match(keepCandidates(SDP, "tcp"), /^v=0\r\n[^]*a=end-of-candidates\r\n$/);
  assert.equal(keepCandidates(SDP.replace(/.*tcp.*\r\n/, ""), "tcp"), null);
  assert.equal(keepCandidates("v=0\r\n", "udp"), null);
});

test("each address of TURN is a server of its own, with its user", () => {
  const user = { username: "ana", credential: "secret" };
  const servers = [{ urls: "stun:a.example" }, { urls: ["turn:a.example", "TURNS:a.example", "stun:b.example"], ...user }];
  assert.deepEqual(relayServers(servers), [
    { urls: "turn:a.example", ...user },
    { urls: "TURNS:a.example", ...user },
  ]);
});

test("each way has a name without jargon, and says what it is", () => {
  assert.match(nameWay({ kind: "udp" }).what, /^UDP: the usual way/);
  assert.match(nameWay({ kind: "tcp" }).what, /^TCP: the kind of connection that web pages use/);
  for (const [url, how] of [
    [RELAY.url, "encrypted"],
    ["turn:a.example", "over UDP"],
    ["turn:a.example?transport=udp", "over UDP"],
    ["turn:a.example?transport=tcp", "over TCP"],
  ]) assert.match(nameWay({ kind: "relay", url }).what, new RegExp(`${how}[^]*\\.$`), url);
});

test("the whole says what it comes to", () => {
  for (const [outcomes, tone, words] of [
    [[outcome("udp"), outcome("tcp"), outcome(RELAY)], "good", /^Your network lets sound and pictures through/],
    [[outcome("udp"), outcome("tcp", "not_offered")], "good", /^Your network lets sound and pictures through/],
    [[outcome("udp"), outcome(RELAY, "blocked")], "good", /which you do not need/],
    [[outcome("udp", "reached", 400)], "fair", /talk over each other/],
    [[outcome("udp", "blocked"), outcome("tcp")], "fair", /lets no UDP through: the call works over TCP, with more delay/],
    [[outcome("udp", "blocked"), outcome("tcp", "not_offered"), outcome(RELAY)], "fair", /works through a relay/],
    [[outcome("udp", "blocked"), outcome("tcp", "blocked"), outcome(RELAY, "blocked")], "bad", /Try another network/],
    [[], "bad", /No way/],
  ]) {
    const summary = summarizeWays(outcomes);
    assert.equal(summary.tone, tone, JSON.stringify(outcomes));
    assert.match(summary.text, words);
  }
});

test("each outcome of a way is one sentence", () => {
  const all = ["udp", "tcp", RELAY].flatMap((way) => ["reached", "blocked", "not_offered"].map((state) => outcome(way, state)));
  for (const each of [...all, outcome("udp", "reached", 500)]) assert.match(explainWay(each), /^[A-Z][^.]+\.$/);
  assert.match(explainWay(outcome("udp", "blocked")), /no UDP through/);
  assert.match(explainWay(outcome("udp", "reached", 500)), /much delay/);
});

test("who is not let in reads what is needed", () => {
  for (const [code, needsLink, words] of [
    ["token_required", true, /Paste your invitation link/],
    ["token_expired", true, /newer link/],
    ["admission_awaited", true, /moderator/],
    ["room_full", false, /full/],
    ["strange", false, /Said so/],
  ]) {
    const told = explainNotTried({ code, message: "Said so." });
    assert.equal(told.needsLink, needsLink, code);
    assert.match(told.text, words);
  }
});

test("times are short, and none is a dash", () => {
  assert.deepEqual([null, 0, 1.26, 12.4, 1234].map(milliseconds), ["–", "0.1 ms", "1.3 ms", "12 ms", "1234 ms"]);
});

test("the room of a token is found without a look at its signature", () => {
  const token = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;
  assert.equal(roomInToken(token({ tertulia: { room: "hall" } })), "hall");
  for (const other of [token({ tertulia: { room: "*" } }), token({}), token({ tertulia: { room: 7 } }), "", "a.b.c"]) assert.equal(roomInToken(other), "");
});

test("messages go beside the page, wherever it is", () => {
  assert.equal(signalingUrl("https://a.example/call/check?x=1#token=t"), "wss://a.example/call/v1/ws");
  assert.equal(signalingUrl("http://a.example/check"), "ws://a.example/v1/ws");
});

test("who is refused, or would have to wait, hears so, and leaves no connection", async () => {
  for (const [reply, code] of [
    [({ id }) => ({ type: "error", id, code: "token_required", message: "A token is needed.", fatal: true }), "token_required"],
    [() => ({ type: "wait" }), "admission_awaited"],
  ]) {
    const sockets = [];
    const WebSocket = class extends FakeWebSocket {
      constructor(url) {
        super(url);
        sockets.push(this);
        this.onsaid = (message) => {
          if (message.type === "ping") this.receive({ type: "pong", id: message.id });
          if (message.type === "join") this.receive(reply(message));
        };
        queueMicrotask(() => this.open());
      }
    };
    const wish = { url: "ws://a.example/v1/ws", room: "r", name: "n", token: "t", line: { WebSocket } };
    await assert.rejects(tryWays(wish), { code });
    assert.deepEqual(sockets.map(({ readyState }) => readyState), [3], code);
    const [join] = sockets[0].said;
    assert.deepEqual([join.room, join.token, join.auto_subscribe], ["r", "t", false]);
  }
});
