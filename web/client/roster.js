import { RemoteTrack } from "./remote-track.js";

/**
 * @import { ParticipantInfo, ServerMessage, TrackInfo } from "./protocol.js"
 * @import { TrackFeed } from "./remote-track.js"
 */

/**
 * One of the others in the room.
 *
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} name
 * @property {Record<string, unknown>} metadata
 * @property {Map<string, RemoteTrack>} tracks what they publish, by track id
 * @property {boolean} isConnected false while the server waits for them to come back; their media may go on
 */

/**
 * @typedef {object} RosterEvents
 * @property {Participant} participantJoined
 * @property {Participant} participantUpdated
 * @property {Participant} presenceChanged they are away, or are back
 * @property {{ participant: Participant, reason: string }} participantLeft
 * @property {{ participant: Participant, track: RemoteTrack }} trackPublished
 * @property {{ participant: Participant, track: RemoteTrack }} trackUpdated
 * @property {{ participant: Participant, track: RemoteTrack }} trackUnpublished
 */

/**
 * The participants and the tracks they publish. Every change is told to `emit` afterwards. The tracks of somebody who
 * joins or leaves are told one by one, so that a listener needs no special case.
 */
export class Roster {
  /** @type {Map<string, Participant>} */
  participants = new Map();
  /** @type {Map<string, TrackFeed>} by track id */
  #feeds = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} end the wait for participants to come back, by their id */
  #waits = new Map();
  #emit;
  #receiverOf;

  /**
   * @param {<Name extends keyof RosterEvents>(name: Name, payload: RosterEvents[Name]) => void} emit
   * @param {(trackId: string) => RTCRtpReceiver | null} receiverOf the receiver that carries a track now
   */
  constructor(emit, receiverOf) {
    this.#emit = emit;
    this.#receiverOf = receiverOf;
  }

  /**
   * @param {string} trackId
   * @returns {{ participant: Participant, track: RemoteTrack } | null}
   */
  find(trackId) {
    for (const participant of this.participants.values()) {
      const track = participant.tracks.get(trackId);
      if (track) return { participant, track };
    }
    return null;
  }

  /**
   * @param {string} trackId
   * @returns {boolean} whether the server has the track now: those whom we wait for have brought none yet
   */
  isThere(trackId) {
    const participant = this.find(trackId)?.participant;
    return participant !== undefined && !this.#waits.has(participant.id);
  }

  /** @param {string} trackId of a track that another receiver carries now, or none */
  mediaChanged(trackId) {
    this.#feeds.get(trackId)?.changed();
  }

  /**
   * Takes over a whole room, as a `welcome` tells it. After a reconnect most of it is known already, and only changes
   * are told.
   *
   * @param {ParticipantInfo[]} infos
   * @param {number} [waitMs] milliseconds for those who are missing to come: to a server that was started again, all come
   *   one by one
   * @param {string} [reason] for those who are not in it
   */
  replace(infos, waitMs = 0, reason = "disconnected") {
    const present = new Set(infos.map(({ id }) => id));
    for (const id of [...this.participants.keys()]) {
      if (present.has(id)) continue;
      if (waitMs > 0) this.#await(id, waitMs);
      else this.#leave(id, reason);
    }
    for (const info of infos) this.#join(info);
  }

  /** Waits for nobody any more. */
  close() {
    for (const timer of this.#waits.values()) clearTimeout(timer);
    this.#waits.clear();
  }

  /** @param {ServerMessage} message */
  apply(message) {
    switch (message.type) {
      case "participant_joined":
      case "participant_updated":
        return this.#join(message.participant);
      case "participant_left":
        return this.#leave(message.participant, message.reason);
      case "presence":
        return this.#setPresence(message.participant, message.connected);
      case "track_published":
      case "track_updated":
        return this.#putTrack(message.participant, message.track);
      case "track_unpublished":
        return this.#dropTrack(message.participant, message.track);
      default:
        return undefined;
    }
  }

  /** @param {ParticipantInfo} info */
  #join({ id, name, metadata = {}, tracks, connected = true }) {
    const known = this.participants.get(id);
    this.#setPresence(id, connected);
    if (!known) {
      /** @type {Participant} */
      const participant = { id, name, metadata, tracks: new Map(), isConnected: connected };
      this.participants.set(id, participant);
      this.#emit("participantJoined", participant);
    } else if (known.name !== name || JSON.stringify(known.metadata) !== JSON.stringify(metadata)) {
      known.name = name;
      known.metadata = metadata;
      this.#emit("participantUpdated", known);
    }
    this.#replaceTracks(id, tracks);
  }

  /**
   * @param {string} id
   * @param {boolean} isConnected
   */
  #setPresence(id, isConnected) {
    clearTimeout(this.#waits.get(id));
    this.#waits.delete(id);
    const participant = this.participants.get(id);
    if (!participant || participant.isConnected === isConnected) return;
    participant.isConnected = isConnected;
    this.#emit("presenceChanged", participant);
  }

  /**
   * @param {string} id
   * @param {number} waitMs
   */
  #await(id, waitMs) {
    if (this.#waits.has(id)) return;
    this.#setPresence(id, false);
    this.#waits.set(id, setTimeout(() => this.#leave(id, "disconnected"), waitMs));
  }

  /**
   * @param {string} id
   * @param {TrackInfo[]} tracks
   */
  #replaceTracks(id, tracks) {
    const published = new Set(tracks.map((track) => track.id));
    for (const trackId of [...(this.participants.get(id)?.tracks.keys() ?? [])]) {
      if (!published.has(trackId)) this.#dropTrack(id, trackId);
    }
    for (const track of tracks) this.#putTrack(id, track);
  }

  /**
   * @param {string} id
   * @param {string} reason
   */
  #leave(id, reason) {
    const participant = this.participants.get(id);
    if (!participant) return;
    clearTimeout(this.#waits.get(id));
    this.#waits.delete(id);
    for (const trackId of [...participant.tracks.keys()]) this.#dropTrack(id, trackId);
    this.participants.delete(id);
    this.#emit("participantLeft", { participant, reason });
  }

  /**
   * @param {string} id
   * @param {TrackInfo} info
   */
  #putTrack(id, info) {
    const participant = this.participants.get(id);
    if (!participant) return;
    const known = participant.tracks.get(info.id);
    const feed = this.#feeds.get(info.id);
    if (!known || !feed) return this.#addTrack(participant, info);
    if (JSON.stringify(feed.info) === JSON.stringify(info)) return;
    feed.info = info;
    this.#emit("trackUpdated", { participant, track: known });
  }

  /**
   * @param {Participant} participant
   * @param {TrackInfo} info
   */
  #addTrack(participant, info) {
    /** @type {TrackFeed} */
    const feed = { info, receiver: () => this.#receiverOf(info.id), changed: () => {} };
    const track = new RemoteTrack(feed);
    this.#feeds.set(info.id, feed);
    participant.tracks.set(info.id, track);
    this.#emit("trackPublished", { participant, track });
  }

  /**
   * @param {string} id
   * @param {string} trackId
   */
  #dropTrack(id, trackId) {
    const participant = this.participants.get(id);
    const track = participant?.tracks.get(trackId);
    if (!participant || !track) return;
    participant.tracks.delete(trackId);
    this.#endFeed(trackId);
    this.#emit("trackUnpublished", { participant, track });
  }

  /**
   * Stops what plays an ended track: its receiver may carry another one soon.
   *
   * @param {string} trackId
   */
  #endFeed(trackId) {
    const feed = this.#feeds.get(trackId);
    this.#feeds.delete(trackId);
    if (!feed) return;
    feed.receiver = () => null;
    feed.changed();
  }
}
