/** A room and its server without a network. */
import assert from "node:assert/strict";
import { mock } from "node:test";

import { Room } from "../../client/room.js";
import { answerTo, FakePeerConnection, FakeWebSocket, settle } from "./fakes.mjs";

/**
 * A server of one room, in the test's own process. Every socket is `sockets[n]`, in order, with what the server
 * `knows` of who is behind it. `script.deaf` names requests that reach it and are never answered, `script.refusals`
 * those that are refused, with the code, and `script.replies` those that are answered by this.
 *
 * @param {{ others?: any[], refuse?: { code: string, fatal?: boolean } | null, deaf?: Set<string>,
 *   refusals?: Record<string, string>, replies?: Record<string, any>, autoSubscribe?: boolean, token?: string | (() => string | Promise<string>), welcome?: Record<string, unknown>,
 *   people?: Record<string, unknown>, audience?: "always" | "large", encryption?: { key: string } | { passphrase: string }, startWorker?: () => any }} script
 */
export function serve(script = {}) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const sockets = [];
  const connections = [];
  const events = [];
  const server = { sockets, connections, events, script, reachable: true, chat: [] };

  class Socket extends FakeWebSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
      this.onsaid = reply;
      queueMicrotask(() => (server.reachable ? this.open() : this.close()));
    }
  }

  function reply(message, socket) {
    const { id } = message;
    const say = (answer) => queueMicrotask(() => socket.readyState === 1 && socket.receive({ id, ...answer }));
    const code = script.refusals?.[message.type];
    if (code) return say({ type: "error", code, message: "refused", fatal: false });
    const answer = script.replies?.[message.type];
    if (answer) return say(answer);
    learn((socket.knows ??= {}), message);
    if (script.deaf?.has(message.type)) return;
    if (message.type === "join" && script.refuse) {
      say({ type: "error", message: "refused", fatal: false, ...script.refuse });
    } else if (message.type === "join") {
      say({ ...welcome(message, sockets.length, script.others ?? [], server.chat), ...script.welcome });
    } else if (message.type === "offer") {
      say(answerTo(message.sdp, { tracks: message.tracks, point: script.point }));
    } else if (message.type === "ping") {
      if (!server.hung) say({ type: "pong" });
    } else if (message.type === "people") {
      say({ type: "people", ...script.people });
    } else if (message.type === "leave") {
      socket.receive({ type: "bye", reason: "left", message: "" });
    } else {
      say({ type: "ok" });
    }
  }

  server.room = new Room({
    url: "ws://server.invalid/v1/ws",
    room: "standup",
    name: "Ana",
    ...("autoSubscribe" in script && { autoSubscribe: script.autoSubscribe }),
    ...("audience" in script && { audience: script.audience }),
    ...("token" in script && { token: script.token }),
    ...("encryption" in script && { encryption: script.encryption, startWorker: script.startWorker }),
    WebSocket: Socket,
    connect: (config) => {
      const connection = new FakePeerConnection(config, script.held);
      connections.push(connection);
      return connection;
    },
  });
  for (const name of ["participantJoined", "participantLeft", "trackPublished", "trackUnpublished"]) {
    server.room.on(name, (payload) => events.push([name, (payload.track ?? payload.participant ?? payload).id]));
  }
  server.room.on("trackMediaChanged", ({ trackId, receiver }) => events.push(["media", trackId, Boolean(receiver)]));
  server.room.on("stateChanged", ({ state, reason }) => events.push(["state", state, reason]));
  server.room.on("chatReceived", ({ text }) => events.push(["chat", text]));
  return server;
}

function welcome({ room }, count, participants, chat) {
  return {
    type: "welcome",
    version: 1,
    room,
    participant: `me-${count}`,
    participants,
    chat,
    ice_servers: [],
    limits: { message_bytes: 65536, chat_chars: 2000 },
    server: { name: "tertulia", version: "0" },
  };
}

/** Updates a server's knowledge of a participant by a message. */
function learn(knows, message) {
  switch (message.type) {
    case "join":
      return Object.assign(knows, { name: message.name, metadata: message.metadata, tracks: {}, chosen: {}, views: {} });
    case "offer":
      knows.tracks = Object.fromEntries(message.tracks.map(({ source, muted }) => [source, muted]));
      return undefined;
    case "mute":
      knows.tracks[message.track.replace("own-", "")] = message.muted;
      return undefined;
    case "subscribe":
    case "unsubscribe":
      for (const track of message.tracks) knows.chosen[track] = message.type === "subscribe";
      return undefined;
    case "update":
      if (message.name !== undefined) knows.name = message.name;
      if (message.metadata !== undefined) knows.metadata = message.metadata;
      return undefined;
    case "view":
      for (const { track, height } of message.tracks) knows.views[track] = height;
      return undefined;
    default:
      return undefined;
  }
}

/** Runs the clock until `done`, as a server that comes back would let it. */
export async function until(done, step = 500, limit = 1000) {
  for (let turn = 0; !done() && turn < limit; turn += 1) {
    mock.timers.tick(step);
    await settle();
  }
  assert.ok(done(), "not within the time");
}
