/** A room that has joined a server with sessions. */
import { mock } from "node:test";

import { Room } from "../../client/room.js";
import { FakePeerConnection, fakeTrack } from "./fakes.mjs";
import { SessionServer } from "./session-server.mjs";

export const camera = { id: "t1", kind: "video", source: "camera", muted: false, simulcast: true, codec: "VP8" };
export const ben = { id: "p1", name: "Ben", tracks: [camera] };

/** The clock of the test stands still, and a second room of one test has the same. */
function startClock() {
  try {
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  } catch (error) {
    if (error.code !== "ERR_INVALID_STATE") throw error;
  }
}

/** A room that has joined, with Ben in it. `getStats` is that of its connections. */
export async function joined({ getStats, ...options } = {}, server = new SessionServer()) {
  startClock();
  server.others ??= [ben];
  const connections = [];
  const events = [];
  const room = new Room({
    url: "ws://server.invalid/v1/ws",
    room: "standup",
    name: "Ana",
    WebSocket: server.WebSocket,
    connect: (config) => {
      const connection = new FakePeerConnection(config);
      if (getStats) connection.getStats = getStats;
      connections.push(connection);
      return connection;
    },
    ...options,
  });
  const tokens = [];
  room.on("sessionChanged", (token) => tokens.push(token));
  for (const name of ["participantJoined", "participantLeft", "trackPublished", "trackUnpublished", "presenceChanged"]) {
    room.on(name, (payload) => events.push([name, (payload.track ?? payload.participant ?? payload).id]));
  }
  room.on("stateChanged", ({ state, reason }) => events.push(["state", state, reason]));
  room.on("signalingChanged", ({ isConnected }) => events.push(["signaling", isConnected]));
  room.on("chatReceived", ({ text }) => events.push(["chat", text]));
  const microphone = await room.publish({ source: "microphone", media: fakeTrack("audio") });
  await room.join();
  connections[0].become("connected");
  const [session] = server.sessions.values();
  events.length = 0;
  return { server, room, connections, events, microphone, session, tokens };
}

export const heard = ({ heard: all }, type) => all.filter((message) => message.type === type);
