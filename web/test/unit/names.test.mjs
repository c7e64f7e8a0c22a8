import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { JOINS_NEXT, JOINS_PREVIOUS, VIRAMAS } from "../../client/joining.js";
import { cleanName, cut, explainFault, firstCharacter, lengthOf, meantRoom, NAME_LENGTH, proposeRoom, readName, readRoom, typedRoom } from "../../client/names.js";

/** The table the server's own tests assert, so that the two cannot drift apart. */
const golden = JSON.parse(readFileSync(new URL("../../../signaling/golden/names.json", import.meta.url), "utf8"));

for (const { what, given, taken, cleaned = taken } of golden.names) {
  test(`display name: ${what}, ${JSON.stringify(given.slice(0, 12))}`, () => {
    const { name, fault } = readName(given);
    assert.equal(name, taken);
    if (fault) assert.match(explainFault(fault, "A name"), /^A name .*\.$/);
    const clean = cleanName(given);
    assert.equal(clean, cleaned);
    if (clean) assert.equal(readName(clean).name, clean);
  });
}

for (const { what, given, taken } of golden.rooms) {
  test(`room: ${what}, ${JSON.stringify(given.slice(0, 12))}`, () => {
    const { name, fault } = readRoom(given);
    assert.equal(name, taken);
    if (fault) assert.match(explainFault(fault, "A room’s name"), /^A room’s name .*\.$/);
    const proposed = proposeRoom(given);
    if (proposed) assert.equal(readRoom(proposed).name, proposed);
    if (taken) assert.equal(proposed, taken);
  });
}

test("letters that join are those of the server", () => {
  assert.deepEqual(JOINS_NEXT, golden.joins_next);
  assert.deepEqual(JOINS_PREVIOUS, golden.joins_previous);
  assert.deepEqual(VIRAMAS, golden.viramas);
});

test("two rooms that differ are never made one by their field", () => {
  const names = golden.rooms.flatMap(({ taken }) => taken ?? []);
  const shown = new Map(names.map((name) => [typedRoom(name), name]));
  assert.equal(shown.size, new Set(names).size);
  for (const [typed, name] of shown) assert.equal(typed, name);
});

for (const [typed, shown] of [
  ["weekly sync", "weekly-sync"],
  ["  weekly   sync  ", "weekly-sync "],
  ["会議　１", "会議-1"],
  ["Ａ", "A"],
  ["a/b", "a/b"],
  ["<b>", "<b>"],
  ["party 🎉", "party-🎉"],
]) {
  test(`the field shows ${JSON.stringify(typed)} as the room that it means`, () => assert.equal(typedRoom(typed), shown));
}

test("a space at the end of a room means nothing, and a longer name is not cut to another's", () => {
  assert.equal(meantRoom(" standup ").name, "standup");
  assert.equal(meantRoom("standup-").name, "standup-");
  assert.equal(meantRoom(" ").fault?.code, "empty");
  assert.equal(meantRoom(`${"x".repeat(64)}1`).fault?.code, "too_long");
});

for (const [given, proposed] of [
  ["a b", "a-b"],
  ["a/b", "ab"],
  ["party 🎉", "party-"],
  ["🎉", ""],
  ["a\u202eb", "ab"],
  ["x".repeat(99), ""],
]) {
  test(`near to ${JSON.stringify(given.slice(0, 12))} is a room that may be`, () => assert.equal(proposeRoom(given), proposed));
}

for (const [text, length, kept] of [
  ["abc", 2, "ab"],
  ["abc", 9, "abc"],
  ["", 2, ""],
  ["a👨‍👩‍👧", 5, "a"],
  ["a👨‍👩‍👧", 6, "a👨‍👩‍👧"],
  ["🇪🇺🇪🇺", 3, "🇪🇺"],
  ["e\u0301e\u0301", 3, "e\u0301"],
  ["😀😀", 1, "😀"],
  ["x\r\ny", 2, "x"],
]) {
  test(`${JSON.stringify(text)} is cut to ${length} between characters`, () => assert.equal(cut(text, length), kept));
}

test("a character is what a reader takes for one", () => {
  assert.equal(firstCharacter("👩🏽‍💻Ada"), "👩🏽‍💻");
  assert.equal(firstCharacter("e\u0301a"), "e\u0301");
  assert.equal(firstCharacter(""), "");
  assert.equal(lengthOf("😀e\u0301"), 3);
});

test("of a pasted book no more is read than a name may need", () => {
  for (const text of ["\u200b".repeat(1e6), "Ada ".repeat(1e6), "\u0301".repeat(1e6), "👩\u200d".repeat(1e6)]) {
    assert.ok(lengthOf(cleanName(text)) <= NAME_LENGTH);
  }
});
