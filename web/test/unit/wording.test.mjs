/** Words and ways of the page that depend on what the server has decided. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ALL_PERMISSIONS } from "../../client/index.js";
import { isLocalLink, meansOf } from "../../ui/inviting.js";
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
  for (const code of ["token_expired", "token_revoked", "token_wrong_room"]) assert.equal(mayRejoin(code), false, code);
  for (const code of ["token_not_yet_valid", "token_required", "left", "kicked", "stopped_waiting", "connection_lost", "room_locked"]) assert.ok(mayRejoin(code), code);
});

test("whoever was removed is told so once, and for how long", () => {
  for (const message of ["You were removed from the room.", "You were removed from this room for good.", "You were removed from this call until it ends."]) {
    assert.deepEqual(explainEnding("banned", message), { title: "You were removed from the call", text: "You cannot come back until it ends." });
    assert.equal(explainRefusal({ code: "banned", message }), "You were removed from the call. You cannot come back until it ends.");
  }
  assert.equal(explainEnding("kicked", "You were removed from the room.").text, "");
  assert.equal(explainEnding("kicked", "The exam is over.").text, "The exam is over.");
});

test("a page that cannot encrypt says why", () => {
  for (const message of ["Browsers encrypt calls only on pages loaded over https or from localhost.", "This browser cannot encrypt calls: it has no encoded transforms (RTCRtpScriptTransform)."]) {
    assert.equal(explainEnding("encryption_unsupported", message).text, message);
  }
});

test("an address that works on one computer only is told from others", () => {
  for (const link of ["http://localhost:8080/?room=a", "http://127.0.0.1:8080/?room=a", "http://[::1]:8080/?room=a", "http://call.localhost/?room=a"]) assert.ok(isLocalLink(link), link);
  for (const link of ["https://call.example.org/?room=a", "http://192.168.1.5:8080/?room=a", "http://localhost.example.org/"]) assert.ok(!isLocalLink(link), link);
});

test("a server that cannot be reached may be the one that is away", () => {
  assert.match(explainEnding("unreachable", "").text, /^It may be down, or your network may be/);
});
