/**
 * Wishes of any kind, with a connection that ends at any time: the promise settles, and the next server knows the wish.
 */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Publication } from "../../client/publication.js";
import { serve, until } from "./fake-room.mjs";
import { fakeTrack, settle } from "./fakes.mjs";

test.afterEach(() => mock.timers.reset());

const ben = {
  id: "p1",
  name: "Ben",
  tracks: [
    { id: "t1", kind: "audio", source: "microphone", muted: false, simulcast: false, codec: "opus" },
    { id: "t2", kind: "video", source: "camera", muted: false, simulcast: true, codec: "VP8" },
  ],
};

/** How a connection ends; `false`: the room is over with it. */
const ENDS = {
  "the socket closes": [({ socket }) => socket.close(), true],
  "the socket is closing": [
    ({ socket }) => {
      // Messages are dropped without a word until the close is complete.
      socket.readyState = 2;
      setTimeout(() => socket.dispatchEvent(Object.assign(new Event("close"), { code: 1006 })), 100);
    },
    true,
  ],
  "the server falls silent": [({ server }) => (server.hung = true), true],
  "the server shuts down": [({ socket }) => socket.receive({ type: "bye", reason: "server_shutdown", message: "" }), true],
  "media fails": [({ socket }) => socket.receive({ type: "media", state: "failed", reason: "consent_expired" }), true],
  "the path fails": [
    ({ pc }) => {
      pc.become("failed");
      mock.timers.tick(15_000);
    },
    true,
  ],
  "we are removed": [({ socket }) => socket.receive({ type: "bye", reason: "kicked", message: "" }), false],
  "we leave": [({ server }) => server.room.leave(), false],
};

/** Requests that reach the server and are never answered. */
const deaf = (...types) => ({ deaf: new Set(types) });
const held = (name) => ({ held: new Set([name]) });

/**
 * Each with the moments at which it may be caught, and the wish as the next server should know it. `moments`: what
 * is withheld while it is under way; an empty one lets it through to the end, so that only the intent is at stake.
 */
const ACTIONS = {
  publish: {
    moments: [{}, deaf("offer"), held("createOffer"), held("setLocalDescription"), held("setRemoteDescription")],
    act: ({ room }) => room.publish({ source: "screen", media: fakeTrack("video") }),
    wish: (knows) => assert.deepEqual(knows.tracks, { microphone: false, screen: false }),
  },
  unpublish: {
    moments: [{}, deaf("offer"), held("createOffer"), held("setLocalDescription"), held("setRemoteDescription")],
    act: ({ room, microphone }) => room.unpublish(microphone),
    wish: (knows) => assert.deepEqual(knows.tracks, {}),
  },
  "publish, then unpublish at once": {
    moments: [{}, deaf("offer"), held("createOffer"), held("setRemoteDescription")],
    act: ({ room }) => {
      const screen = new Publication({ source: "screen", media: fakeTrack("video") });
      return Promise.all([room.publish(screen), room.unpublish(screen)]);
    },
    wish: (knows) => assert.deepEqual(knows.tracks, { microphone: false }),
  },
  "publish, then mute at once": {
    moments: [{}, deaf("offer"), deaf("offer", "mute"), held("createOffer"), held("setRemoteDescription")],
    act: ({ room }) => {
      const screen = new Publication({ source: "screenAudio", media: fakeTrack("audio") });
      return Promise.all([room.publish(screen), room.setMuted(screen, true)]);
    },
    wish: (knows) => assert.deepEqual(knows.tracks, { microphone: false, screen_audio: true }),
  },
  mute: {
    moments: [{}, deaf("mute")],
    act: ({ room, microphone }) => room.setMuted(microphone, true),
    wish: (knows) => assert.deepEqual(knows.tracks, { microphone: true }),
  },
  "mute, unmute, mute": {
    moments: [{}, deaf("mute")],
    act: ({ room, microphone }) => Promise.all([true, false, true].map((muted) => room.setMuted(microphone, muted))),
    wish: (knows) => assert.deepEqual(knows.tracks, { microphone: true }),
  },
  replaceMedia: {
    moments: [{}, held("replaceTrack")],
    act: ({ room, microphone }) => room.replaceMedia(microphone, null),
    wish: (knows) => assert.deepEqual(knows.tracks, { microphone: false }),
  },
  unsubscribe: {
    moments: [{}, deaf("unsubscribe")],
    act: ({ room }) => room.unsubscribe(["t1"]),
    wish: (knows) => assert.deepEqual(knows.chosen, { t1: false }),
  },
  "unsubscribe, then subscribe": {
    moments: [{}, deaf("unsubscribe"), deaf("unsubscribe", "subscribe")],
    act: ({ room }) => Promise.all([room.unsubscribe(["t1"]), room.subscribe(["t1"])]),
    wish: (knows) => assert.equal(knows.chosen.t1 ?? true, true),
  },
  rename: {
    moments: [{}, deaf("update")],
    act: ({ room }) => room.rename("Anna"),
    wish: (knows) => assert.equal(knows.name, "Anna"),
  },
  "new metadata": {
    moments: [{}, deaf("update")],
    act: ({ room }) => room.update({ metadata: { hand: "up" } }),
    wish: (knows) => assert.deepEqual([knows.name, knows.metadata], ["Ana", { hand: "up" }]),
  },
  view: {
    moments: [{}, deaf("view")],
    act: ({ room }) => room.setView("t2", { height: 180 }),
    wish: (knows) => assert.deepEqual(knows.views, { t2: 180 }),
  },
  // For now or not at all: these need only settle.
  chat: { moments: [deaf("chat")], act: ({ room }) => room.sendChat("hello"), wish: () => {} },
  serverStats: { moments: [deaf("stats")], act: ({ room }) => room.serverStats(), wish: () => {} },
  timeline: { moments: [deaf("timeline")], act: ({ room }) => room.timeline(), wish: () => {} },
  getStats: { moments: [held("getStats")], act: ({ room }) => room.getStats(), wish: () => {} },
};

const KEPT = Object.entries(ACTIONS).filter(([, { wish }]) => wish.length > 0);

async function joined(moment = {}) {
  const server = serve({ others: [ben] });
  const errors = [];
  server.room.on("errorOccurred", (error) => errors.push(error.code ?? String(error)));
  const microphone = await server.room.publish({ source: "microphone", media: fakeTrack("audio") });
  await server.room.join();
  server.connections[0].become("connected");
  server.script.deaf = moment.deaf;
  for (const name of moment.held ?? []) server.connections[0].held.add(name);
  return { server, room: server.room, microphone, socket: server.sockets[0], pc: server.connections[0], errors };
}

/** How a promise ended, or that it did not. */
function outcomeOf(promise) {
  const outcome = { state: "pending", code: undefined };
  Promise.resolve(promise).then(
    () => (outcome.state = "resolved"),
    (error) => Object.assign(outcome, { state: "rejected", code: error.code }),
  );
  return outcome;
}

/** On a socket that lives on, a server that does not answer is all there is to tell. */
function isUnanswered({ code }, moment, how) {
  return (how === "media fails" || how === "the path fails") && code === "timeout" && moment.deaf !== undefined && !moment.deaf.has("offer");
}

/** The server behaves again. */
function heal({ server }) {
  server.script.deaf = undefined;
  server.hung = false;
}

for (const [name, { moments, act, wish }] of Object.entries(ACTIONS)) {
  for (const moment of moments) {
    const when = [...(moment.deaf ?? moment.held ?? ["answered"])].join();
    for (const [how, [end, goesOn]] of Object.entries(ENDS)) {
      test(`${name} (${when}) settles when ${how}${goesOn ? ", and is not forgotten" : ""}`, async () => {
        const call = await joined(moment);
        const outcome = outcomeOf(act(call));
        await settle();
        end(call);
        await settle();
        if (!goesOn) {
          assert.notEqual(outcome.state, "pending");
          assert.equal(call.room.state, "closed");
          return;
        }
        for (let waited = 0; outcome.state === "pending" && waited < 40; waited += 1) {
          mock.timers.tick(500);
          await settle();
        }
        assert.notEqual(outcome.state, "pending");
        // A wish kept for the next connection is no failure.
        const expected = isUnanswered(outcome, moment, how) ? { state: "rejected", code: "timeout" } : { state: "resolved", code: undefined };
        if (wish.length > 0) assert.deepEqual(outcome, expected);
        heal(call);
        mock.timers.tick(500);
        await settle();
        for (const pc of call.server.connections) for (const operation of [...pc.held]) pc.release(operation);
        await until(() => call.room.state === "connected");
        mock.timers.tick(1_500);
        await settle();
        wish(call.server.sockets.at(-1).knows);
        assert.deepEqual(call.errors, []);
        call.room.leave();
      });
    }
  }
}

for (const [name, { act, wish }] of KEPT) {
  test(`${name} without a connection settles at once and is told to the next one`, async () => {
    const call = await joined();
    call.socket.close();
    assert.equal(call.room.state, "reconnecting");
    const outcome = outcomeOf(act(call));
    await settle();
    assert.deepEqual(outcome, { state: "resolved", code: undefined });
    await until(() => call.room.state === "connected");
    mock.timers.tick(1_500);
    await settle();
    wish(call.server.sockets.at(-1).knows);
    call.room.leave();
  });

  test(`${name} while the next connection is being made reaches it`, async () => {
    // At each step of joining again: before the welcome, before and after the answer, before the browser has it.
    for (const step of [deaf("join"), held("createOffer"), deaf("offer"), held("setRemoteDescription")]) {
      const call = await joined();
      call.server.script.held = step.held;
      call.socket.close();
      call.server.script.deaf = step.deaf;
      await until(() => call.server.sockets.length === 2);
      const outcome = outcomeOf(act(call));
      heal(call);
      for (const pc of call.server.connections) for (const operation of [...(step.held ?? [])]) pc.release(operation);
      // A reply that was withheld is given up in time.
      await until(() => call.room.state === "connected" && outcome.state !== "pending");
      mock.timers.tick(1_500);
      await settle();
      assert.deepEqual(outcome, { state: "resolved", code: undefined });
      wish(call.server.sockets.at(-1).knows);
      call.room.leave();
      mock.timers.reset();
    }
  });
}

test("after the end nothing is begun, and what is asked for says why not", async () => {
  const call = await joined();
  call.socket.receive({ type: "bye", reason: "kicked", message: "You were removed." });
  for (const name of ["publish", "unsubscribe", "rename", "new metadata"]) {
    await assert.rejects(Promise.resolve(ACTIONS[name].act(call)), { code: "kicked" }, name);
  }
  await assert.rejects(call.room.sendChat("hello"), { code: "not_connected" });
  assert.throws(() => call.room.sendData("x"), { code: "not_connected" });
  await call.room.unpublish(call.microphone);
  await call.room.setMuted(call.microphone, true);
  assert.equal(await call.room.getStats(), null);
});

test("joining settles wherever it is caught", async () => {
  const moments = [deaf("join"), deaf("offer"), held("createOffer"), held("setLocalDescription"), held("setRemoteDescription")];
  for (const moment of moments) {
    for (const [how, [end]] of Object.entries(ENDS)) {
      const server = serve({ deaf: moment.deaf, held: new Set(moment.held) });
      const outcome = outcomeOf(server.room.join());
      await settle();
      end({ server, room: server.room, socket: server.sockets[0], pc: server.connections[0] ?? { become() {} } });
      await settle();
      // Another transport takes its place, with a browser that answers.
      if (how === "media fails") for (const pc of server.connections) for (const operation of moment.held ?? []) pc.release(operation);
      for (let waited = 0; outcome.state === "pending" && waited < 60; waited += 1) {
        mock.timers.tick(500);
        await settle();
      }
      assert.notEqual(outcome.state, "pending", `${[...(moment.deaf ?? moment.held)]}: ${how}`);
      server.room.leave();
      mock.timers.reset();
    }
  }
});

test("a server that cannot be reached at all is given up in time", async () => {
  const server = serve();
  const outcome = outcomeOf(server.room.join());
  // The handshake of TCP or of TLS gets no answer: neither `open` nor `close` comes.
  server.sockets[0].open = () => {};
  await settle();
  mock.timers.tick(10_000);
  await settle();
  assert.deepEqual(outcome, { state: "rejected", code: "unreachable" });
});

test("who leaves while joining hears that, whatever the reply would have been", async () => {
  const server = serve(deaf("offer"));
  const outcome = outcomeOf(server.room.join());
  await settle();
  server.room.leave();
  await settle();
  assert.deepEqual(outcome, { state: "rejected", code: "left" });
});
