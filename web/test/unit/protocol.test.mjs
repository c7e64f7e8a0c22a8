import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { parseServerMessage, replyTypes, say } from "../../client/protocol.js";

/** The files the server's own tests assert, so that the two cannot drift apart. */
const GOLDEN = new URL("../../../signaling/golden/native/", import.meta.url);

function golden(side) {
  const folder = new URL(`${side}/`, GOLDEN);
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return names.map((name) => ({ name, text: readFileSync(new URL(name, folder), "utf8") }));
}

/** A message under the names of the API, except what an application has put into `metadata`. */
function inTheApi(value, field) {
  if (field === "source") return value.replace("screen_audio", "screenAudio");
  if (Array.isArray(value)) return value.map((each) => inTheApi(each));
  if (typeof value !== "object" || value === null || field === "metadata") return value;
  const camel = (name) => name.split("_").map((word, at) => (at > 0 ? word[0].toUpperCase() + word.slice(1) : word)).join("");
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [camel(name), inTheApi(each, name)]));
}

/** How this client says what a golden client message says. */
const rebuild = {
  join: ({ auto_subscribe: autoSubscribe, offer, ...wish }) => say.join({ ...wish, autoSubscribe, offer: inTheApi(offer) }),
  resume: ({ session, received, offer, views }) => say.resume(session, { received, offer: inTheApi(offer), views }),
  ack: ({ received }) => say.ack(received),
  offer: ({ sdp, tracks }) => say.offer(sdp, inTheApi(tracks)),
  candidate: ({ candidate, mid }) => say.candidate(candidate, mid),
  subscribe: ({ tracks }) => say.subscribe(tracks),
  unsubscribe: ({ tracks }) => say.unsubscribe(tracks),
  mute: ({ track, muted }) => say.mute(track, muted),
  update: ({ name, metadata }) => say.update({ ...(name && { name }), ...(metadata && { metadata }) }),
  chat: ({ text }) => say.chat(text),
  view: ({ tracks }) => say.view(tracks),
  hand: ({ raised }) => say.hand(raised),
  moderate: ({ type, ...wish }) => say.moderate(wish),
  invite: ({ expires_s: expiresIn, name, grants }) => say.invite({ expiresIn, name, grants }),
  invitations: () => say.invitations(),
  revoke: ({ invitation }) => say.revoke(invitation),
  stats: () => say.stats(),
  timeline: () => say.timeline(),
  people: (page) => say.people(page),
  ping: ({ received }) => say.ping(received),
  leave: () => say.leave(),
};

for (const { name, text } of golden("server")) {
  test(`server/${name} is read whole`, () => {
    assert.deepEqual(parseServerMessage(text), inTheApi(JSON.parse(text)));
  });
}

for (const { name, text } of golden("client")) {
  test(`client/${name} is what we say`, () => {
    const { id, ...expected } = JSON.parse(text);
    assert.deepEqual(rebuild[expected.type](expected), expected);
    assert.equal(id !== undefined, expected.type in replyTypes, "what has a reply is sent as a request");
  });
}

test("every message either side knows has a golden file", () => {
  const said = new Set(golden("client").map(({ text }) => JSON.parse(text).type));
  assert.deepEqual(Object.keys(say).filter((type) => !said.has(type)), []);
  const heard = new Set(golden("server").map(({ text }) => JSON.parse(text).type));
  for (const reply of Object.values(replyTypes)) assert.ok(heard.has(reply), reply);
});

test("no name of the protocol is in what a client is given, and its metadata is its own", () => {
  const metadata = { seat_number: 4 };
  const track = { id: "t", kind: "audio", source: "screen_audio", muted: false, simulcast: false, codec: null };
  const frame = JSON.stringify({ type: "participant_joined", participant: { id: "p", name: "n", metadata, tracks: [track] } });
  const { participant } = parseServerMessage(frame);
  assert.deepEqual(participant, { id: "p", name: "n", metadata, tracks: [{ ...track, source: "screenAudio" }] });
  const [said] = say.offer("v=0", [{ mid: "1", source: "screenAudio", muted: false }]).tracks;
  assert.deepEqual(said, { mid: "1", source: "screen_audio", muted: false });
  for (const { text } of golden("server")) {
    const { type, ...fields } = parseServerMessage(text);
    const names = JSON.stringify(fields).match(/"\w+":/g) ?? [];
    assert.deepEqual(names.filter((name) => name.includes("_")), [], type);
  }
});

test("fields and types of a newer server are passed over", () => {
  const batch = parseServerMessage('{"type":"batch","messages":[{"type":"hologram"},{"type":"needs","audio":1,"video":2}]}');
  assert.deepEqual(batch.messages, [null, { type: "needs", audio: 1, video: 2 }]);
  assert.equal(parseServerMessage('{"type":"hologram","depth":3}'), null);
  assert.equal(parseServerMessage('{"type":"constructor"}'), null);
  assert.deepEqual(parseServerMessage('{"type":"needs","audio":1,"video":2,"smell":3}'), {
    type: "needs",
    audio: 1,
    video: 2,
  });
});

for (const [what, frame, at] of [
  ["no JSON", "{", "message must be JSON"],
  ["no object", "[]", "message must be an object"],
  ["no type", "{}", "type must be a string"],
  ["a missing field", '{"type":"needs","audio":1}', "video must be a whole number"],
  ["a negative count", '{"type":"needs","audio":1,"video":-1}', "video must be a whole number"],
  ["a wrong word", '{"type":"media","state":"odd"}', "state must be one of connected, failed"],
  ["a wrong field in a batch", '{"type":"batch","messages":[{"type":"needs"}]}', "messages[0].audio must be a whole number"],
  [
    "a wrong field far inside",
    '{"type":"participant_joined","participant":{"id":"p","name":"n","tracks":[{"id":"t","kind":"smell"}]}}',
    "participant.tracks[0].kind must be one of audio, video",
  ],
]) {
  test(`${what} is refused and named`, () => {
    assert.throws(() => parseServerMessage(frame), (error) => error.message.startsWith(at), at);
  });
}
