import assert from "node:assert/strict";
import { test } from "node:test";

import { whyRefused } from "../../client/probe.js";
import { Signaling } from "../../client/signaling.js";

const reply = (status, body) => async () => new Response(typeof body === "string" ? body : JSON.stringify(body), { status });

for (const [what, fetch, code, message] of [
  ["an origin that is refused", reply(403, { code: "origin_refused", message: "Not from there." }), "origin_refused", "Not from there."],
  ["a full server", reply(503, { code: "server_full", message: "Full." }), "server_full", "Full."],
  ["a server that would take a WebSocket", reply(200, { code: "ok", message: "Go on." }), "websocket_blocked", /WebSockets/],
  ["a proxy without a server", reply(502, "<html>Bad gateway</html>"), "unreachable", /cannot be reached/],
  ["a server that does not know the question", reply(405, ""), "unreachable", /cannot be reached/],
  ["JSON of somebody else", reply(200, { status: "ok" }), "unreachable", /cannot be reached/],
  ["JSON that is no object", reply(200, "null"), "unreachable", /cannot be reached/],
  ["no network", async () => Promise.reject(new TypeError("Failed to fetch")), "unreachable", /cannot be reached/],
]) {
  test(`${what} explains a refused WebSocket`, async () => {
    const error = await whyRefused("wss://h/call/v1/ws", fetch);
    assert.equal(error.code, code);
    assert.match(error.message, message instanceof RegExp ? message : new RegExp(message));
  });
}

test("the question goes to the WebSocket's address", async () => {
  const asked = [];
  const fetch = async (url, { method }) => {
    asked.push([url, method]);
    return reply(200, {})();
  };
  await whyRefused("wss://h/call/v1/ws", fetch);
  await whyRefused("ws://h:8080/v1/ws", fetch);
  assert.deepEqual(asked, [
    ["https://h/call/v1/ws", "POST"],
    ["http://h:8080/v1/ws", "POST"],
  ]);
});

class Socket extends EventTarget {
  readyState = 0;
  close() {}
}

test("only a socket that brought nothing is asked about", async () => {
  for (const opens of [false, true]) {
    let socket;
    let asked = 0;
    const whyRefused = async () => (asked += 1) && Object.assign(new Error(), { code: "origin_refused" });
    class Fake extends Socket {
      constructor() {
        super();
        socket = this;
      }
    }
    const signaling = new Signaling("ws://h/v1/ws", { WebSocket: Fake, whyRefused });
    const opened = signaling.opened();
    if (opens) socket.dispatchEvent(new MessageEvent("message", { data: '{"type":"pong"}' }));
    socket.dispatchEvent(Object.assign(new Event("close"), { code: 1006 }));
    if (opens) await opened;
    else await assert.rejects(opened, { code: "origin_refused" });
    assert.equal(asked, opens ? 0 : 1);
  }
});
