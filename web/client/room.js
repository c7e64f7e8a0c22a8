import { Connection } from "./connection.js";
import { CallError } from "./errors.js";
import { Events } from "./events.js";
import { say } from "./protocol.js";
import { Publication } from "./publication.js";
import { Backoff, isPassing } from "./reconnect.js";
import { Roster } from "./roster.js";
import { Views } from "./views.js";

/**
 * @import { ConnectionOptions } from "./connection.js"
 * @import { ChatMessage, Decision, ParticipantInfo, PeerStats, ServerMessage, ServerMessages, SubscriptionState } from "./protocol.js"
 * @import { PublishOptions } from "./publication.js"
 * @import { RosterEvents } from "./roster.js"
 * @import { Shown } from "./views.js"
 */

/** People give up on a call that is silent for this long; so do we, and say so. */
const GIVE_UP_AFTER_MS = 180_000;
/** What a page can usefully scroll through; the server keeps fewer. */
const CHAT_KEPT = 500;

/**
 * @typedef {"new" | "joining" | "connected" | "reconnecting" | "closed"} RoomState
 *
 * @typedef {{ state: RoomState, reason: string, message: string }} StateChange
 *   `reason`: empty, or why: the codes of `bye` and of errors in `signaling/PROTOCOL.md`, `left`,
 *   `connection_lost`, `media_failed`
 */

/**
 * @typedef {object} OwnEvents
 * @property {StateChange} state
 * @property {RTCPeerConnectionState} mediaState
 * @property {{ trackId: string, receiver: RTCRtpReceiver | null }} trackMedia another receiver carries the
 *   track now, or none does
 * @property {{ trackId: string, subscription: SubscriptionState | null }} subscriptionChanged what we are sent of a
 *   track, and why no more; null when nothing is known any more
 * @property {Speakers} speakersChanged
 * @property {ChatMessage} chat
 * @property {{ payload: string | ArrayBuffer, reliable: boolean }} data
 * @property {unknown} error something failed that the call survives
 *
 * @typedef {{ recent: string[], speaking: number }} Speakers ids of participants, ourselves included: who speaks and
 *   who spoke, the latest first; `speaking` of these, from the first on, speak now
 *
 * @typedef {RosterEvents & OwnEvents} RoomEvents
 */

/**
 * A room as one participant sees it. Listen first, then `join()`: everything that is there already
 * is told by the same events as everything that comes later.
 *
 * It survives a lost connection: it joins again with a fresh transport, publishes what was published
 * and tells only what changed meanwhile. `closed` is final.
 *
 * @extends {Events<RoomEvents>}
 */
export class Room extends Events {
  #options;
  // Every roster event is one of ours; the checker cannot follow that through the intersection.
  #roster = new Roster((name, payload) => {
    if (name === "trackUnpublished") this.#forgetTrack(/** @type {any} */ (payload).track.id);
    this.emit(name, /** @type {any} */ (payload));
  });
  #views = new Views();
  /** @type {Map<string, SubscriptionState>} */
  #subscriptions = new Map();
  /** @type {Set<Publication>} */
  #publications = new Set();
  /** @type {Connection | null} */
  #connection = null;
  /** @type {RoomState} */
  #state = "new";
  #backoff = new Backoff();
  /** @type {() => void} */
  #wake = () => {};

  /** @type {string | null} our own participant id, another one after a reconnect */
  participantId = null;
  /** @type {ServerMessages["welcome"]["limits"]} */
  limits = { message_bytes: 0, chat_chars: 0 };
  /** @type {ChatMessage[]} oldest first */
  chat = [];
  /** @type {Speakers} */
  speakers = { recent: [], speaking: 0 };

  /** @param {ConnectionOptions} options */
  constructor(options) {
    super();
    this.#options = { ...options };
  }

  get state() {
    return this.#state;
  }

  get name() {
    return this.#options.name;
  }

  /** The others, by id. */
  get participants() {
    return this.#roster.participants;
  }

  /** @returns {ReadonlyMap<string, SubscriptionState>} what we are sent, by track id, as far as the server has said */
  get subscriptions() {
    return this.#subscriptions;
  }

  /** @returns {ReadonlySet<Publication>} */
  get publications() {
    return this.#publications;
  }

  /** @returns {RTCPeerConnectionState} */
  get mediaState() {
    return this.#connection?.transport?.state ?? "new";
  }

  /** Joins; rejected with a `CallError`, after which the room is closed. */
  async join() {
    this.#enter("joining");
    try {
      await this.#connect();
    } catch (error) {
      this.#close(/** @type {CallError} */ (error).code ?? "internal", /** @type {Error} */ (error).message);
      throw error;
    }
  }

  leave() {
    if (this.#state === "closed") return;
    this.#connection?.leave();
    this.#close("left", "");
  }

  /** Does not wait for the next attempt to reconnect. */
  retryNow() {
    this.#wake();
  }

  /**
   * Publishes a track, at once or with the next connection. Who captured the track also stops it.
   *
   * @param {PublishOptions} options
   */
  async publish(options) {
    const publication = new Publication(options);
    this.#publications.add(publication);
    const transport = this.#connection?.transport;
    try {
      await transport?.add(publication);
    } catch (error) {
      // Lost together with its connection, it goes out with the next one.
      if (transport !== this.#connection?.transport) return publication;
      this.#publications.delete(publication);
      throw error;
    }
    return publication;
  }

  /** @param {Publication} publication */
  async unpublish(publication) {
    this.#publications.delete(publication);
    publication.trackId = null;
    await this.#connection?.transport?.remove(publication);
  }

  /**
   * Tells everybody; that nothing is sent meanwhile is up to `media.enabled` or `replaceMedia`.
   *
   * @param {Publication} publication
   * @param {boolean} muted
   */
  async setMuted(publication, muted) {
    publication.muted = muted;
    if (publication.trackId && this.#state === "connected") {
      await this.#connection?.signaling.request(say.mute(publication.trackId, muted));
    }
  }

  /**
   * Sends another device's track in the place of this one, or nothing.
   *
   * @param {Publication} publication
   * @param {MediaStreamTrack | null} media
   */
  async replaceMedia(publication, media) {
    publication.media = media;
    await this.#connection?.transport?.replaceMedia(publication);
  }

  /**
   * @param {string} trackId
   * @returns {RTCRtpReceiver | null} what carries somebody's track now
   */
  receiverOf(trackId) {
    return this.#connection?.transport?.receiverOf(trackId) ?? null;
  }

  /** @param {string} words */
  async sendChat(words) {
    await this.#connected().signaling.request(say.chat(words));
  }

  /** @param {string} name */
  async rename(name) {
    await this.#connected().signaling.request(say.update({ name }));
    this.#options.name = name;
  }

  /**
   * Says how somebody's track is shown, for the server to send no more than that needs; at any time, as often as
   * it changes. A track of which nothing was said is sent as large as it comes.
   *
   * @param {string} trackId
   * @param {Shown} shown
   */
  setView(trackId, shown) {
    this.#views.set(trackId, shown);
  }

  /** @param {string[]} trackIds */
  async subscribe(trackIds) {
    await this.#connected().signaling.request(say.subscribe(trackIds));
  }

  /** @param {string[]} trackIds */
  async unsubscribe(trackIds) {
    await this.#connected().signaling.request(say.unsubscribe(trackIds));
  }

  /**
   * Sends a message to everybody over a data channel.
   *
   * @param {string | ArrayBuffer | ArrayBufferView<ArrayBuffer>} payload
   * @param {{ reliable?: boolean }} [options]
   */
  sendData(payload, options) {
    const transport = this.#connected().transport;
    if (!transport) throw notConnected();
    transport.sendData(payload, options);
  }

  /** @returns {Promise<PeerStats | null>} what the relay decides for us */
  async serverStats() {
    return (await this.#connected().signaling.request(say.stats())).peer;
  }

  /**
   * What the server decided about us lately and why, oldest first.
   *
   * @returns {Promise<{ now_ms: number, decisions: Decision[] }>} `now_ms`: the server's
   *   time, as `at_ms` is; Unix time in milliseconds
   */
  async timeline() {
    const { now_ms, decisions } = await this.#connected().signaling.request(say.timeline());
    return { now_ms, decisions };
  }

  /** @returns {Promise<RTCStatsReport | null>} */
  async getStats() {
    return (await this.#connection?.transport?.getStats()) ?? null;
  }

  /**
   * @param {Publication} publication
   * @returns {string | null} the m-line that carries it, as the stats name it
   */
  publishedMid(publication) {
    return this.#connection?.transport?.publishedMid(publication) ?? null;
  }

  /**
   * @param {string} trackId
   * @returns {string | null} the m-line that carries somebody's track now
   */
  receivingMid(trackId) {
    return this.#connection?.transport?.receivingMid(trackId) ?? null;
  }

  async #connect() {
    const connection = new Connection(this.#options, this.#publications);
    this.#connection = connection;
    this.#follow(connection);
    const welcome = await connection.join();
    this.participantId = welcome.participant;
    this.limits = welcome.limits;
    for (const message of welcome.chat) this.#addChat(message);
    this.#roster.replace(welcome.participants);
    // Before there is any media of them: nothing too large is sent in the meantime.
    this.#views.begin((tracks) => connection.signaling.request(say.view(tracks)));
    await connection.offer(countTracks(welcome.participants));
    if (this.#connection !== connection) throw notConnected();
    this.#enter("connected");
  }

  /** @param {Connection} connection */
  #follow(connection) {
    connection.on("message", (message) => this.#receive(message));
    connection.on("slots", (moved) => {
      for (const { track } of moved) {
        this.emit("trackMedia", { trackId: track, receiver: this.receiverOf(track) });
      }
    });
    connection.on("state", (state) => {
      if (state === "connected") this.#backoff.reset();
      this.emit("mediaState", state);
    });
    connection.on("restarted", () => this.#forgetSubscriptions());
    connection.on("data", (data) => this.emit("data", data));
    connection.on("error", (error) => this.emit("error", error));
    connection.on("ended", ({ reason, message }) => this.#close(reason, message));
    connection.on("lost", ({ reason, message }) => {
      if (this.#state === "connected") void this.#reconnect(reason, message);
    });
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "chat":
        return this.#addChat(message.message);
      case "subscriptions":
        return this.#applySubscriptions(message.subscriptions);
      case "speakers":
        return this.#setSpeakers({ recent: message.recent, speaking: message.speaking });
      default:
        return this.#roster.apply(message);
    }
  }

  /** @param {SubscriptionState[]} subscriptions those that changed */
  #applySubscriptions(subscriptions) {
    for (const subscription of subscriptions) {
      const { track: trackId } = subscription;
      if (!this.#roster.find(trackId)) continue;
      this.#subscriptions.set(trackId, subscription);
      this.emit("subscriptionChanged", { trackId, subscription });
    }
  }

  /** @param {Speakers} speakers */
  #setSpeakers(speakers) {
    this.speakers = speakers;
    this.emit("speakersChanged", speakers);
  }

  /** What was decided for a transport that is gone. */
  #forgetSubscriptions() {
    const forgotten = [...this.#subscriptions.keys()];
    this.#subscriptions.clear();
    for (const trackId of forgotten) this.emit("subscriptionChanged", { trackId, subscription: null });
  }

  /** @param {string} trackId */
  #forgetTrack(trackId) {
    this.#views.forget(trackId);
    this.#subscriptions.delete(trackId);
  }

  /** @param {ChatMessage} message */
  #addChat(message) {
    // A welcome repeats what we may have; a server that restarted counts from the start again.
    if (this.chat.some(({ id, at_ms }) => id === message.id && at_ms === message.at_ms)) return;
    this.chat = [...this.chat, message].slice(-CHAT_KEPT);
    this.emit("chat", message);
  }

  /**
   * @param {string} reason
   * @param {string} message
   */
  async #reconnect(reason, message) {
    const deadline = Date.now() + GIVE_UP_AFTER_MS;
    this.#views.end();
    this.#enter("reconnecting", reason, message);
    this.#forgetSubscriptions();
    this.#setSpeakers({ recent: [], speaking: 0 });
    for (const publication of this.#publications) publication.trackId = null;
    while (this.#state === "reconnecting") {
      await this.#pause(this.#backoff.next());
      if (this.#state !== "reconnecting") return;
      try {
        return await this.#connect();
      } catch (error) {
        this.#connection?.close();
        if (this.#state !== "reconnecting") return;
        if (isPassing(error) && Date.now() < deadline) continue;
        const { code = "connection_lost", message: why = message } = /** @type {CallError} */ (error);
        return this.#close(code, why);
      }
    }
  }

  /** @param {number} delay */
  #pause(delay) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }

  /**
   * @param {string} reason
   * @param {string} message
   */
  #close(reason, message) {
    if (this.#state === "closed") return;
    this.#views.end();
    this.#connection?.close();
    this.#connection = null;
    this.#enter("closed", reason, message);
    this.#wake();
  }

  /**
   * @param {RoomState} state
   * @param {string} [reason]
   * @param {string} [message]
   */
  #enter(state, reason = "", message = "") {
    this.#state = state;
    this.emit("state", { state, reason, message });
  }

  #connected() {
    if (this.#state !== "connected" || !this.#connection) throw notConnected();
    return this.#connection;
  }
}

function notConnected() {
  return new CallError("not_connected", "There is no connection to the room at the moment.");
}

/** @param {ParticipantInfo[]} participants */
function countTracks(participants) {
  const needs = { audio: 0, video: 0 };
  for (const { tracks } of participants) {
    for (const { kind } of tracks) needs[kind] += 1;
  }
  return needs;
}
