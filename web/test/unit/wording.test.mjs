/** Words and ways of the page that depend on what the server has decided. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ALL_PERMISSIONS } from "../../client/index.js";
import { meansOf } from "../../ui/inviting.js";
import { explainEnding, explainEntry, explainRefusal, explainWaiting, mayRejoin } from "../../ui/words.js";

test("the link is offered where it lets in, an invitation where we may make one", () => {
  for (const [access, moderate, means] of [
    ["open", false, "link"],
    ["open", true, "link"],
    ["hooks", true, "link"],
    [null, false, "link"],
    ["tokens", false, "nothing"],
    ["tokens", true, "invitation"],
  ]) {
    assert.equal(meansOf({ access, permissions: { ...ALL_PERMISSIONS, moderate } }), means, `${access} ${moderate}`);
  }
});

test("the page says how others come in, where somebody needs to know", () => {
  assert.match(explainEntry("open", false), /anybody with the link can join/);
  assert.match(explainEntry("tokens", false), /A moderator can make one/);
  for (const [access, mayInvite] of [["tokens", true], ["hooks", false], [null, false]]) assert.equal(explainEntry(access, mayInvite), "");
});

test("people who wait are named", () => {
  assert.equal(explainWaiting(["Eve"]), "Eve waits to be let in");
  assert.equal(explainWaiting(["Eve", "Bob"]), "Eve and one other wait to be let in");
  assert.equal(explainWaiting(["Eve", "Bob", "Zoe"]), "Eve and 2 others wait to be let in");
});

test("whoever does not want to wait any more has not left a call", () => {
  const { title, text } = explainEnding("stopped_waiting", "");
  assert.deepEqual([title, text], ["You stopped waiting", "You were not let in. Join again to wait again."]);
  assert.equal(explainRefusal({ code: "stopped_waiting" }), `${title}. ${text}`);
});

test("joining again is offered wherever it may help", () => {
  assert.equal(mayRejoin("banned"), false);
  for (const code of ["left", "kicked", "stopped_waiting", "connection_lost", "room_locked"]) assert.ok(mayRejoin(code), code);
});

test("a server that cannot be reached may be the one that is away", () => {
  assert.match(explainEnding("unreachable", "").text, /^It may be down, or your network may be/);
});
