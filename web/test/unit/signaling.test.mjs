/** Requests over a line that the test plays. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { CallError } from "../../client/errors.js";
import { Events } from "../../client/events.js";
import { Signaling } from "../../client/signaling.js";

class FakeLine extends Events {
  isUp = true;
  said = [];
  canTake = () => true;
  nextId = () => this.said.length + 1;
  send = (message) => this.said.push(message);
  close = () => this.tell("over", new CallError("connection_lost", ""));
  tell = (name, payload) => this.emit(name, payload);
}

/** Timers of this process that keep it alive. */
const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

test("no timer of a request is left, whether it is answered or its line is closed", async () => {
  const before = timers();
  const line = new FakeLine();
  const signaling = new Signaling(line);
  const requests = [signaling.request({ type: "chat", text: "a" }), signaling.request({ type: "chat", text: "b" })];
  assert.equal(timers(), before + 2);
  // The line has moved to a better way, without having been down.
  line.tell("up", "websocket");
  assert.equal(timers(), before + 2);
  line.tell("message", { type: "ok", id: 1 });
  await requests[0];
  assert.equal(timers(), before + 1);
  signaling.close();
  await assert.rejects(requests[1], { code: "connection_lost" });
  assert.equal(timers(), before);
});
