/** The ways to the server, each over a real network where there is one, and the choice among them. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Chooser } from "../../client/chooser.js";
import { CallError } from "../../client/errors.js";
import { EventLines, EventsChannel } from "../../client/socket-events.js";
import { PollingChannel } from "../../client/socket-polling.js";
import { Posts } from "../../client/socket-posts.js";
import { Socket } from "../../client/socket.js";
import { WebSocketChannel } from "../../client/socket-websocket.js";
import { FakeWebSocket, settle } from "./fakes.mjs";
import { HttpSockets } from "./http-server.mjs";

test.afterEach(() => mock.timers.reset());

for (const [what, pieces, events] of [
  ["one event", ["data: a\n\n"], ["a"]],
  ["one in pieces", ["da", "ta: a", "\n", "\n"], ["a"]],
  ["two at once", ["data: a\n\ndata: b\n\n"], ["a", "b"]],
  ["CR LF, cut in the middle", ["data: a\r", "\n\r", "\ndata: b\r\n\r\n"], ["a", "b"]],
  ["CR alone", ["data: a\r\rdata: b\r\r\r"], ["a", "b"]],
  ["comments and other fields", [": alive\n\nid: 1\nevent: x\ndata: a\n: alive\n\n"], ["a"]],
  ["data of two lines", ["data: a\ndata:b\n\n"], ["a\nb"]],
  ["no space, or a second one", ["data:a\n\ndata:  b\n\n"], ["a", " b"]],
  ["nothing complete", ["data: a\n"], []],
]) {
  test(`a stream of events with ${what} is read`, () => {
    const lines = new EventLines();
    assert.deepEqual(pieces.flatMap((piece) => lines.add(piece)), events);
  });
}

test("a line that never ends is not kept", () => {
  const lines = new EventLines();
  const piece = "x".repeat(1024 * 1024);
  assert.throws(() => {
    for (let count = 0; count < 40; count += 1) lines.add(piece);
  }, /too long/);
});

test("what is said while a request is under way goes with the next one, in order", async () => {
  const sent = [];
  const answers = [];
  const posts = new Posts((messages) => new Promise((resolve) => sent.push(messages) && answers.push(resolve)), () => assert.fail());
  for (const word of ["a", "b"]) posts.add(JSON.stringify(word));
  await settle();
  for (const word of ["c", "d"]) posts.add(JSON.stringify(word));
  await settle();
  assert.deepEqual(sent, [["a", "b"]]);
  answers[0]();
  await settle();
  assert.deepEqual(sent, [["a", "b"], ["c", "d"]]);
  posts.add('"e"');
  assert.deepEqual(posts.end(), ["e"], "what was not sent is given back");
});

test("a request that fails is told once, and nothing is said afterwards", async () => {
  let failed = 0;
  let sent = 0;
  const posts = new Posts(() => Promise.reject(new Error(String((sent += 1)))), () => (failed += 1));
  posts.add("1");
  await settle();
  posts.add("2");
  await settle();
  assert.deepEqual([failed, sent], [1, 1]);
});

/** A socket's frames and its end, as they come. */
function listened(socket) {
  const got = { frames: [], closed: null, signs: 0 };
  socket.listen({
    frame: (frame) => got.frames.push(JSON.parse(frame)),
    close: (code) => (got.closed = code),
    sign: () => (got.signs += 1),
  });
  return got;
}

/** Waits for what a real network brings. */
async function until(done) {
  const deadline = Date.now() + 5_000;
  while (!done()) {
    assert.ok(Date.now() < deadline, "not within the time");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const [kind, open] of [
  ["sse", (url) => new EventsChannel(url)],
  ["polling", (url) => new PollingChannel(url)],
]) {
  test(`${kind}: messages go both ways, in order, each in a turn of its own`, async (t) => {
    const server = await HttpSockets.start();
    t.after(() => server.stop());
    const socket = open(server.url);
    await socket.proven;
    const [connection] = server.connections.values();
    const turns = [];
    const got = { frames: [] };
    socket.listen({
      frame: (frame) => {
        got.frames.push(JSON.parse(frame));
        // Whatever follows from a message is done before the next one comes.
        void (async () => {
          for (let step = 0; step < 10; step += 1) await null;
          turns.push(got.frames.length);
        })();
      },
      close: () => assert.fail("closed"),
    });
    const words = Array.from({ length: 30 }, (_, number) => ({ type: "chat", number }));
    for (const word of words) socket.send(JSON.stringify(word));
    await until(() => connection.said.length === 30);
    assert.deepEqual(connection.said, words);
    const sends = server.requests.filter(([path]) => path.endsWith("/send"));
    assert.ok(sends.length < 30, `${sends.length} requests for 30 messages`);
    server.tell(connection, ...words);
    await until(() => got.frames.length === 30);
    server.tell(connection, { type: "last" });
    await until(() => turns.length === 31);
    assert.deepEqual(got.frames, [...words, { type: "last" }]);
    assert.deepEqual(turns, Array.from({ length: 31 }, (_, index) => index + 1));
    socket.listen({ frame: () => {}, close: () => {} });
    socket.send('{"type":"leave"}');
    socket.close();
    await until(() => connection.isGone);
    assert.equal(connection.said.at(-1).type, "leave", "the goodbye is not lost");
    assert.ok(server.requests.every(([path]) => !path.includes(connection.name)), "its name stands in no address");
  });

  test(`${kind}: an end is told once, of a socket that was never open as well`, async (t) => {
    const server = await HttpSockets.start();
    t.after(() => server.stop());
    const socket = open(server.url);
    await socket.proven;
    const got = listened(socket);
    server.end([...server.connections.values()][0]);
    await until(() => got.closed !== null);
    assert.equal(got.closed, 1006);
    server.refuses.set(`/call/v1/http/${kind === "sse" ? "events" : "poll"}`, 503);
    await assert.rejects(open(server.url).proven);
  });

  test(`${kind}: after the end it is known whether the last word was heard`, async (t) => {
    const server = await HttpSockets.start();
    t.after(() => server.stop());
    for (const isRefused of [false, true]) {
      const socket = open(server.url);
      await socket.proven;
      const connection = [...server.connections.values()].at(-1);
      if (isRefused) server.refuses.set("/call/v1/http/send", 503);
      socket.send('{"type":"leave"}');
      let heard = null;
      void socket.heard.then((isHeard) => (heard = isHeard));
      socket.close();
      await until(() => heard !== null);
      assert.equal(heard, !isRefused);
      assert.deepEqual(connection.said, isRefused ? [] : [{ type: "leave" }]);
    }
  });

  test(`${kind}: a message that does not get through ends the socket`, async (t) => {
    const server = await HttpSockets.start();
    t.after(() => server.stop());
    const socket = open(server.url);
    await socket.proven;
    const got = listened(socket);
    server.refuses.set("/call/v1/http/send", 404);
    socket.send('{"type":"chat"}');
    await until(() => got.closed !== null);
    assert.equal(socket.isClosed, true);
  });
}

test("polling: an answer that was lost ends the socket, and so does the server's last one", async (t) => {
  const server = await HttpSockets.start();
  t.after(() => server.stop());
  for (const [more, frames] of [[{ after: 1 }, []], [{ closed: true }, [{ type: "bye" }]], [{ after: 0, closed: true }, [{ type: "bye" }]]]) {
    const socket = new PollingChannel(server.url);
    await socket.proven;
    const connection = [...server.connections.values()].at(-1);
    const got = listened(socket);
    await until(() => connection.poll);
    connection.poll.end(JSON.stringify({ connection: connection.name, messages: [{ type: "bye" }], ...more }));
    connection.poll = null;
    await until(() => got.closed !== null);
    assert.deepEqual(got.frames, frames);
  }
});

test("requests with messages are numbered, so that one that a browser repeats counts once", async (t) => {
  const server = await HttpSockets.start();
  t.after(() => server.stop());
  const socket = new EventsChannel(server.url);
  await socket.proven;
  const [connection] = server.connections.values();
  for (const count of [1, 2]) {
    socket.send('{"type":"chat"}');
    await until(() => connection.said.length === count);
  }
  socket.close();
  const sends = () => server.requests.filter(([path]) => path.endsWith("/send"));
  await until(() => sends().length === 3);
  assert.deepEqual(sends().map(([, { batch }]) => batch), [1, 2, 3]);
});

test("a comment of the stream is a sign of life", async (t) => {
  const server = await HttpSockets.start();
  t.after(() => server.stop());
  const socket = new EventsChannel(server.url);
  await socket.proven;
  const got = listened(socket);
  [...server.connections.values()][0].stream.write(":\n\n");
  await until(() => got.signs === 1);
  socket.close();
});

for (const [wasClean, words] of [[true, "heard"], [false, "not heard for sure"]]) {
  test(`what was said to a WebSocket is ${words} when its end was ${wasClean ? "" : "not "}clean`, async () => {
    const native = [];
    class Native extends FakeWebSocket {
      constructor(url) {
        super(url);
        native.push(this);
      }

      close() {
        this.dispatchEvent(Object.assign(new Event("close"), { code: 1006, wasClean }));
      }
    }
    const socket = new WebSocketChannel("ws://h/v1/ws", '{"type":"ping"}', Native);
    native[0].open();
    socket.close();
    assert.equal(await Promise.race([socket.heard, settle()]), wasClean);
  });
}

test("a WebSocket is proven by a message, not by being open", async () => {
  const native = [];
  class Native extends FakeWebSocket {
    constructor(url) {
      super(url);
      native.push(this);
    }
  }
  const socket = new WebSocketChannel("ws://h/v1/ws", '{"type":"ping"}', Native);
  let proven = false;
  socket.proven.then(() => (proven = true));
  let pinged = 0;
  native[0].onsaid = () => (pinged += 1);
  native[0].open();
  await settle();
  assert.deepEqual([pinged, proven], [1, false]);
  native[0].receive({ type: "pong" });
  await settle();
  assert.equal(proven, true);
  assert.deepEqual(listened(socket).frames, [{ type: "pong" }], "what came early is not lost");
});

/** A way that a test opens and breaks. */
class Way extends Socket {
  prove() {
    this.answered();
  }

  break() {
    this.ended(1006);
  }
}

function choosing(whyRefused = async () => new CallError("websocket_blocked", "")) {
  mock.timers.enable({ apis: ["setTimeout"] });
  const opened = [];
  const ways = ["websocket", "sse", "polling"].map((kind) => () => {
    const way = new Way(kind);
    opened.push(way);
    return way;
  });
  const chooser = new Chooser(ways, whyRefused);
  const kinds = () => opened.map(({ kind, isClosed }) => `${kind}${isClosed ? " closed" : ""}`);
  const outcome = { kind: null, code: null };
  const begin = () => chooser.open().then(({ kind }) => (outcome.kind = kind), ({ code }) => (outcome.code = code));
  return { chooser, opened, kinds, outcome, begin };
}

const tick = async (ms) => {
  mock.timers.tick(ms);
  await settle();
};

test("the best way that works is taken at once", async () => {
  const { opened, kinds, outcome, begin } = choosing();
  begin();
  opened[0].prove();
  await settle();
  assert.equal(outcome.kind, "websocket");
  await tick(60_000);
  assert.deepEqual(kinds(), ["websocket"]);
});

test("the next way is tried when one is refused, and beside one that takes 3 s", async () => {
  const { opened, kinds, outcome, begin } = choosing();
  begin();
  opened[0].break();
  await settle();
  assert.deepEqual(kinds(), ["websocket closed", "sse"]);
  await tick(2_999);
  assert.deepEqual(kinds(), ["websocket closed", "sse"]);
  await tick(1);
  assert.deepEqual(kinds(), ["websocket closed", "sse", "polling"]);
  // The better one is late, and still the first.
  opened[1].prove();
  await settle();
  assert.equal(outcome.kind, "sse");
  assert.deepEqual(kinds(), ["websocket closed", "sse", "polling closed"]);
});

test("a refusal by the server itself is not tried to get around", async () => {
  const { opened, kinds, outcome, begin } = choosing(async () => new CallError("server_full", ""));
  begin();
  opened[0].break();
  await settle();
  assert.deepEqual([outcome.code, kinds()], ["server_full", ["websocket closed"]]);
});

test("where no way leads, the answer of the server says why, and nothing is left open", async () => {
  for (const isSilent of [false, true]) {
    const { opened, kinds, outcome, begin } = choosing(async () => new CallError("unreachable", ""));
    begin();
    for (let way = 0; way < 3; way += 1) {
      if (isSilent) await tick(3_000);
      else opened[way].break();
      await settle();
    }
    await tick(10_000);
    assert.equal(outcome.code, "unreachable");
    assert.deepEqual(kinds(), ["websocket closed", "sse closed", "polling closed"]);
    mock.timers.reset();
  }
});

test("stopping ends what is under way, and a better way is given 3 s", async () => {
  const { chooser, opened, kinds, outcome, begin } = choosing();
  begin();
  chooser.stop();
  await settle();
  assert.deepEqual([outcome.code, kinds()], ["connection_lost", ["websocket closed"]]);
  const probe = assert.rejects(chooser.probe());
  await tick(3_000);
  await probe;
  const again = chooser.probe();
  opened.at(-1).prove();
  assert.equal((await again).kind, "websocket");
});
