/** Tracks of others, as objects that play themselves. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { serve, until } from "./fake-room.mjs";

const camera = { id: "t1", kind: "video", source: "camera", muted: false, simulcast: true, codec: "VP8" };
const sound = { id: "t2", kind: "audio", source: "screen_audio", muted: false, simulcast: false, codec: "opus" };
const ben = { id: "p1", name: "Ben", tracks: [camera, sound] };

globalThis.MediaStream = class {
  constructor(tracks) {
    this.tracks = tracks;
  }

  getTracks() {
    return this.tracks;
  }
};

/** What a player has of an `HTMLMediaElement` here: its stream, counted, and its attributes. */
class Player {
  #stream = null;
  streams = 0;
  autoplay = false;
  attributes = new Map();

  get srcObject() {
    return this.#stream;
  }

  set srcObject(stream) {
    this.#stream = stream;
    this.streams += 1;
  }

  get plays() {
    return this.#stream?.getTracks()[0] ?? null;
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }
}

test.afterEach(() => mock.timers.reset());

const trackOf = (room, id) => [...room.participants.values()].map(({ tracks }) => tracks.get(id)).find(Boolean);

test("a track plays where it is attached, from its first media to its end", async () => {
  const { room, sockets } = serve({ others: [ben] });
  const player = new Player();
  room.on("trackPublished", ({ track }) => track.id === "t1" && track.attach(player));
  await room.join();
  const track = trackOf(room, "t1");
  assert.deepEqual([player.plays, player.autoplay, player.attributes.has("playsinline")], [null, true, true]);
  const told = [];
  room.on("trackMediaChanged", ({ trackId, receiver }) => trackId === "t1" && told.push(receiver?.track ?? null));
  for (const mid of ["0", "1"]) {
    sockets[0].receive({ type: "slots", slots: [{ mid: "0", kind: "audio", track: null }, { mid: "1", kind: "video", track: null }] });
    assert.equal(player.plays, null);
    sockets[0].receive({ type: "slots", slots: [{ mid, kind: "video", track: "t1" }] });
    assert.equal(player.plays, track.media);
    assert.equal(track.media, told.at(-1));
    assert.equal(track.media, room.receiverOf("t1").track);
  }
  const ended = [];
  room.on("trackUnpublished", ({ track: gone }) => ended.push(gone === track, player.plays, track.media, track.detach()));
  sockets[0].receive({ type: "track_unpublished", participant: "p1", track: "t1" });
  assert.deepEqual(ended, [true, null, null, [player]], "silent at once, and still known to its listener");
  sockets[0].receive({ type: "slots", slots: [{ mid: "1", kind: "video", track: "t2" }] });
  assert.equal(player.plays, null, "the receiver carries another track now");
  room.leave();
});

test("a track is one object that follows the server's news, also across a reconnect", async () => {
  const server = serve({ others: [ben], point: { 0: "t1" } });
  const { room, sockets, script } = server;
  await room.join();
  const track = trackOf(room, "t1");
  const { id, kind, source, muted, simulcast, codec } = track;
  assert.deepEqual({ id, kind, source, muted, simulcast, codec }, camera);
  assert.equal(trackOf(room, "t2").source, "screenAudio");
  const updated = [];
  room.on("trackUpdated", ({ track: changed }) => updated.push(changed === track && changed.muted));
  for (const isMuted of [true, true, false]) {
    sockets[0].receive({ type: "track_updated", participant: "p1", track: { ...camera, muted: isMuted } });
  }
  assert.deepEqual(updated, [true, false], "the same news twice is none");
  const player = track.attach(new Player());
  const before = player.plays;
  script.others = [{ ...ben, tracks: [{ ...camera, codec: "VP9" }] }];
  sockets[0].close();
  await until(() => room.state === "connected");
  assert.equal(trackOf(room, "t1"), track);
  assert.deepEqual([track.codec, trackOf(room, "t2")], ["VP9", undefined]);
  assert.equal(player.plays, track.media);
  assert.notEqual(player.plays, before);
  room.leave();
});

test("a player plays one track, the last that was attached", async () => {
  const { room, sockets } = serve({ others: [ben], point: { 0: "t2", 1: "t1" } });
  await room.join();
  const [video, audio] = [trackOf(room, "t1"), trackOf(room, "t2")];
  const player = new Player();
  assert.equal(video.attach(player), player);
  const { streams } = player;
  video.attach(player);
  assert.equal(player.streams, streams, "attached twice, it is not interrupted");
  audio.attach(player);
  assert.equal(player.plays, audio.media);
  sockets[0].receive({ type: "slots", slots: [{ mid: "1", kind: "video", track: null }] });
  assert.equal(player.plays, audio.media, "the other track has no say any more");
  assert.deepEqual([video.detach(), video.detach(player)], [[], []]);
  const second = audio.attach(new Player());
  assert.deepEqual(audio.detach(player), [player]);
  assert.deepEqual([player.plays, second.plays], [null, audio.media]);
  assert.deepEqual(audio.detach(), [second]);
  sockets[0].receive({ type: "slots", slots: [{ mid: "0", kind: "audio", track: null }] });
  assert.equal(second.plays, null);
  room.leave();
});
