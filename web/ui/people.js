import { AudioLevels } from "../client/index.js";
import { Tile } from "./tile.js";
import { explainEncryption, explainTile, explainUnseen, explainUnwatchable } from "./words.js";

/**
 * @import { Participant, RemoteTrack, Room } from "../client/index.js"
 * @import { Grid } from "./grid.js"
 * @import { Link } from "./link.js"
 * @import { Meter } from "./meter.js"
 * @import { OwnMedia } from "./own.js"
 * @import { Sound } from "./sound.js"
 */

const SPEAKING_POLL_MS = 150;
const STILL_POLL_MS = 1_000;
/** A camera sends several pictures a second even in the dark. */
const STILL_MS = 3_000;
/** A first picture that comes within this needs no words. */
const LATE_MS = 1_000;
/** Speech level of our own microphone, which no relay has measured. */
const OWN_SPEECH_LEVEL = 0.015;
/** The ids of our own tiles; the server's ids look different. */
export const OWN_TILE = "own";
export const OWN_SCREEN = "own-screen";

/** @param {Room} room @returns {number} everybody in it, ourselves included */
export function countOf({ audience, participants }) {
  return audience?.participants ?? participants.size + 1;
}

/** Keeps tiles and sound in step with the room: one tile for a person, one more for a screen they share. */
export class People {
  #room;
  #own;
  #grid;
  #sound;
  #meter;
  #link;
  #levels = new AudioLevels();
  #timer;
  #stillTimer;
  /** @type {WeakMap<Tile, number>} since when each tile waits for its first picture */
  #waiting = new WeakMap();
  /** @type {(() => void)[]} */
  #stops;

  /**
   * @param {{ room: Room, own: OwnMedia, grid: Grid, sound: Sound, meter: Meter, link: Link, onCount: (count: number) => void }} parts
   */
  constructor({ room, own, grid, sound, meter, link, onCount }) {
    this.#room = room;
    this.#own = own;
    this.#grid = grid;
    this.#sound = sound;
    this.#meter = meter;
    this.#link = link;
    const counted = () => onCount(countOf(room));
    this.#addTile(OWN_TILE, room.name, "person", true);
    this.#stops = [
      own.on("changed", () => this.#showOwn()),
      room.on("participantJoined", (participant) => {
        this.#addTile(participant.id, participant.name, "person", false);
        this.#showPerson(participant);
        counted();
      }),
      room.on("audienceChanged", counted),
      room.on("participantUpdated", (participant) => this.#rename(participant)),
      room.on("presenceChanged", (participant) => this.#showPerson(participant)),
      room.on("participantLeft", ({ participant }) => {
        grid.remove(participant.id);
        counted();
      }),
      room.on("trackPublished", ({ participant, track }) => this.#trackChanged(participant, track)),
      room.on("trackUpdated", ({ participant, track }) => this.#trackChanged(participant, track)),
      room.on("trackUnpublished", ({ participant, track }) => this.#trackEnded(participant, track)),
      room.on("trackMediaChanged", ({ trackId }) => this.#mediaChanged(trackId)),
      room.on("subscriptionChanged", ({ trackId }) => this.#mediaChanged(trackId)),
      room.on("encryptionChanged", ({ participant }) => {
        for (const trackId of participant.tracks.keys()) this.#mediaChanged(trackId);
        this.#showPerson(participant);
      }),
      room.on("unwatchableChanged", () => this.#showUnwatchable()),
      room.on("speakersChanged", () => this.#orderBySpeech()),
      link.on("changed", () => this.#explainAll()),
    ];
    this.#stillTimer = setInterval(() => this.#explainAll(), STILL_POLL_MS);
    this.#timer = setInterval(() => this.#showSpeaking(), SPEAKING_POLL_MS);
    this.#showOwn();
    counted();
  }

  close() {
    clearInterval(this.#timer);
    clearInterval(this.#stillTimer);
    for (const stop of this.#stops) stop();
  }

  /** @param {string} name */
  renameSelf(name) {
    this.#grid.get(OWN_TILE)?.rename(name);
  }

  /**
   * @param {string} id
   * @param {string} name
   * @param {"person" | "screen"} kind
   * @param {boolean} own
   */
  #addTile(id, name, kind, own) {
    if (this.#grid.get(id)) return;
    this.#grid.add(new Tile({ id, name, kind, own, onEnlarge: (tile) => this.#grid.toggleEnlarged(tile.id) }));
  }

  #showOwn() {
    const own = this.#own;
    const tile = this.#grid.get(OWN_TILE);
    tile?.setPicture(own.camera, own.cameraOn);
    tile?.setMuted(!own.microphoneOn);
    this.#meter.watch(own.microphoneOn ? own.microphone : null);
    if (own.screen) {
      this.#addTile(OWN_SCREEN, this.#room.name, "screen", true);
      this.#grid.get(OWN_SCREEN)?.setPicture(own.screen, true);
    } else {
      this.#grid.remove(OWN_SCREEN);
    }
  }

  /** @param {Participant} participant */
  #rename(participant) {
    for (const id of [participant.id, ...participant.tracks.keys()]) this.#grid.get(id)?.rename(participant.name);
  }

  /**
   * @param {Participant} participant
   * @param {RemoteTrack} track
   */
  #trackChanged(participant, track) {
    if (track.source === "screen") this.#addTile(track.id, participant.name, "screen", false);
    this.#mediaChanged(track.id);
  }

  /**
   * @param {Participant} participant
   * @param {RemoteTrack} track
   */
  #trackEnded(participant, track) {
    if (track.source === "screen") this.#grid.remove(track.id);
    if (track.kind === "audio") this.#sound.set(track.id, null);
    this.#showPerson(participant);
  }

  /** @param {string} trackId */
  #mediaChanged(trackId) {
    const participant = [...this.#room.participants.values()].find(({ tracks }) => tracks.has(trackId));
    const track = participant?.tracks.get(trackId);
    if (!participant || !track) return;
    if (track.kind === "audio") this.#sound.set(trackId, track.media);
    else if (track.source === "screen") this.#showVideo(this.#grid.get(trackId), track);
    this.#showPerson(participant);
  }

  /** @param {Participant} participant */
  #showPerson(participant) {
    const tile = this.#grid.get(participant.id);
    const tracks = [...participant.tracks.values()];
    const camera = tracks.find(({ kind, source }) => kind === "video" && source !== "screen");
    const microphone = tracks.find(({ kind, source }) => kind === "audio" && source !== "screenAudio");
    this.#showVideo(tile, camera);
    tile?.setMuted(!microphone || microphone.muted);
    tile?.setAway(!participant.isConnected);
  }

  /**
   * @param {Tile | undefined} tile
   * @param {RemoteTrack | undefined} track
   */
  #showVideo(tile, track) {
    if (!tile) return;
    if (tile.trackId !== (track?.id ?? null)) {
      tile.trackId = track?.id ?? null;
      this.#grid.onPlaced();
    }
    const shown = track !== undefined && !track.muted;
    tile.setPicture(track?.media ?? null, shown);
    this.#explain(tile, track, 0);
  }

  /** Shows on our own tiles which participants cannot see or hear us. */
  #showUnwatchable() {
    for (const [id, sources] of /** @type {const} */ ([
      [OWN_TILE, ["camera", "microphone"]],
      [OWN_SCREEN, ["screen"]],
    ])) {
      const said = sources.map((source) => this.#explainUnwatchable(source)).filter(Boolean);
      this.#grid.get(id)?.setNotice(said.join(". ") || null);
    }
  }

  /** @param {"camera" | "microphone" | "screen"} source */
  #explainUnwatchable(source) {
    const publication = this.#own.publication(source);
    const unwatchable = publication?.trackId ? this.#room.unwatchable.get(publication.trackId) : undefined;
    if (!publication || !unwatchable) return null;
    const names = unwatchable.participants.map(({ participant }) => this.#room.participants.get(participant)?.name ?? "");
    return explainUnwatchable(publication.kind, unwatchable.count, names.filter(Boolean));
  }

  /** A picture that stands still although the server sends it is explained as well. */
  #explainAll() {
    const now = performance.now();
    for (const tile of this.#grid.tiles) {
      if (tile.own) continue;
      const track = this.#findTrack(tile.trackId);
      const isPaused = track !== undefined && this.#room.subscriptions.get(track.id)?.paused;
      // A hidden page presents nothing, and a paused track is not sent.
      if (document.hidden || isPaused) tile.expectNoPicture();
      if (!document.hidden) this.#explain(tile, track, tile.stillFor(now));
    }
  }

  /**
   * @param {Tile} tile
   * @param {RemoteTrack | undefined} track
   * @param {number} stillMs for how long its picture has stood still
   */
  #explain(tile, track, stillMs) {
    const locked = explainEncryption(this.#room.encryptionOf(this.#ownerOf(tile)));
    tile.element.classList.toggle("locked", locked !== null);
    if (locked) return tile.setPaused(locked);
    // A camera that is off shows a face, which says enough.
    if (!track || (tile.kind === "person" && track.muted)) {
      this.#waiting.delete(tile);
      return tile.setPaused(null);
    }
    const { access, permissions } = this.#room;
    if (!permissions.subscribe && !tile.own) return tile.setPaused(explainUnseen(access));
    const { hasMoved } = tile;
    const now = performance.now();
    if (hasMoved) this.#waiting.delete(tile);
    else if (!this.#waiting.has(tile)) this.#waiting.set(tile, now);
    const isLate = now - (this.#waiting.get(tile) ?? now) >= LATE_MS;
    const subscription = this.#room.subscriptions.get(track.id);
    // A screen may well stand still.
    const isStill = tile.kind === "person" && stillMs > STILL_MS;
    tile.setPaused(explainTile({ link: this.#link.state, subscription, codec: track.codec, hasMoved, isLate, isStill }));
  }

  /**
   * @param {Tile} tile
   * @returns {string} the id of whose it is
   */
  #ownerOf(tile) {
    if (tile.kind === "person") return tile.id;
    for (const { id, tracks } of this.#room.participants.values()) if (tile.trackId !== null && tracks.has(tile.trackId)) return id;
    return "";
  }

  /** @param {string | null} trackId */
  #findTrack(trackId) {
    if (trackId === null) return undefined;
    for (const { tracks } of this.#room.participants.values()) {
      const track = tracks.get(trackId);
      if (track) return track;
    }
    return undefined;
  }

  /** @param {string} id a participant's */
  #tileOf(id) {
    return id === this.#room.participantId ? OWN_TILE : id;
  }

  #orderBySpeech() {
    const { recent, speaking } = this.#room.speakers;
    const active = speaking > 0 ? this.#tileOf(recent[0]) : null;
    for (const tile of this.#grid.tiles) tile.setActive(tile.id === active);
    this.#grid.bringForward(recent.map((id) => this.#tileOf(id)));
  }

  #showSpeaking() {
    const speaking = this.#levels.poll(this.#microphones(), performance.now());
    const { recent, speaking: count } = this.#room.speakers;
    // The levels are ahead of the server, which hears those as well that we are not sent.
    const heard = new Set(recent.slice(0, count));
    for (const { id, tracks } of this.#room.participants.values()) {
      this.#grid.get(id)?.setSpeaking(heard.has(id) || [...tracks.keys()].some((trackId) => speaking.has(trackId)));
    }
    this.#grid.get(OWN_TILE)?.setSpeaking(this.#own.microphoneOn && this.#meter.level() > OWN_SPEECH_LEVEL);
  }

  /** @returns {Generator<[string, RTCRtpReceiver]>} */
  *#microphones() {
    for (const { tracks } of this.#room.participants.values()) {
      for (const { id, kind, muted } of tracks.values()) {
        const receiver = kind === "audio" && !muted ? this.#room.receiverOf(id) : null;
        if (receiver) yield [id, receiver];
      }
    }
  }
}
