/** What is wrong with our key, from what is known of those of the others. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { keyTrouble } from "../../ui/key-warning.js";

test("others who encrypt while we do not are told, and make the call an encrypted one if they are half of it", () => {
  for (const [states, trouble, isCallEncrypted] of [
    [[], "none", false],
    [[null, null], "none", false],
    [["keyMissing"], "missing", true],
    [["keyMissing", null], "missing", true],
    // Anybody can say that they encrypt.
    [["keyMissing", null, null], "missing", false],
  ]) {
    assert.deepEqual(keyTrouble(states), { trouble, isCallEncrypted }, String(states));
  }
});

test("our key is the wrong one where all who have a key have another", () => {
  for (const [states, trouble] of [
    [["decrypted", "waiting"], "none"],
    [["otherKey"], "other"],
    [["otherKey", "otherKey", "noKey"], "other"],
    [["otherKey", "decrypted"], "none"],
    [["otherKey", "waiting"], "none"],
    [["noKey"], "none"],
  ]) {
    assert.equal(keyTrouble(states).trouble, trouble, String(states));
  }
});
