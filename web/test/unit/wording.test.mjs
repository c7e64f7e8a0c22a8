/** Words and ways of the page that depend on what the server has decided. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ALL_PERMISSIONS } from "../../client/index.js";
import { meansOf } from "../../ui/inviting.js";
import { explainEntry } from "../../ui/words.js";

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
