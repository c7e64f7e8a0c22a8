import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { Encryption } from "./encryption.js";
import { Entering } from "./entering.js";
import { CallError, isLost, isRefusal, isUnreachable, notConnected } from "./errors.js";
import { Events } from "./events.js";
import { sayFarewell, takeUnsaid } from "./farewell.js";
import { Identity } from "./identity.js";
import { Moderation } from "./moderation.js";
import { ALL_PERMISSIONS, mayNotPublish, mayPublish } from "./permissions.js";
import { say } from "./protocol.js";
import { Publication } from "./publication.js";
import { Readability } from "./readability.js";
import { Receiving } from "./receiving.js";
import { Attempts, GIVE_UP_AFTER_MS } from "./reconnect.js";
import { Restart } from "./restart.js";
import { Roster } from "./roster.js";
import { Unwatchables } from "./unwatchable.js";

/**
 * @import { ConnectionOptions, Loss, RoomOptions } from "./connection.js"
 * @import { EncryptionState } from "./encryption.js"
 * @import { EncryptionSecret } from "./encryption-key.js"
 * @import { Line } from "./line.js"
 * @import { Permissions } from "./permissions.js"
 * @import { ChatMessage, Limits, ParticipantInfo, PeerStats, PeopleCounts, ServerMessage, SubscriptionState, Timeline, Unwatchable } from "./protocol.js"
 * @import { PublishOptions } from "./publication.js"
 * @import { RoomEvents, RoomState, SignalingState, Speakers } from "./room-events.js"
 * @import { Participant } from "./roster.js"
 * @import { Shown } from "./views.js"
 */

/**
 * A room as one participant sees it. Listen first, then `join()`: the present state is told by the same events as later
 * changes.
 *
 * Losing the line of messages to the server is not losing the call: sound and pictures go on, what is said meanwhile is
 * kept, and another connection takes up where the last one was cut (`signalingChanged`). Only when the server does not
 * know us any more, or media does not get through, it joins again with a fresh transport, as the same participant,
 * publishes its publications again and tells only the changes meanwhile (`reconnecting`). `closed` is final.
 *
 * Wishes survive both: publications, mutes, subscriptions, views, our hand, name and metadata. Their promises settle once the
 * server knows, or without an error as soon as the stay in the room is lost or not there yet: then the next one tells
 * the server. They are rejected when the server refuses, when it does not answer in time (the wish holds nevertheless),
 * or when the room is closed. Chat waits for the next connection as well. Data and the server's statistics need one at
 * once.
 *
 * @extends {Events<RoomEvents>}
 */
export class Room extends Events {
  /** @type {ConnectionOptions} */
  #options;
  // Every roster event is a room event too; the checker cannot follow that through the intersection.
  #roster = new Roster((name, payload) => {
    if (name === "trackUnpublished") this.#receiving.forget(/** @type {any} */ (payload).track.id);
    if (name === "trackPublished") {
      this.#receiving.published(/** @type {any} */ (payload));
      this.#readability.refuseUnreadable(/** @type {any} */ (payload).participant);
    }
    this.emit(name, /** @type {any} */ (payload));
    this.moderation.look();
    if (name === "participantLeft") this.#readability.forget(/** @type {any} */ (payload).participant.id);
    else this.#readability.judge(/** @type {any} */ (payload).participant ?? payload);
  }, (trackId) => this.#readability.playableReceiver(trackId));
  #unwatchable = new Unwatchables((change) => this.emit("unwatchableChanged", change));
  /** @type {Set<Publication>} */
  #publications = new Set();
  #receiving;
  /** @type {Encryption | null} null in a call that we do not encrypt */
  #encryption = null;
  #readability;
  #chat = new Chat({ say: (words) => this.#sayChat(words), received: (message) => this.emit("chatReceived", message) });
  #identity;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {Connection | null} the same, once the server has let us in */
  #joined = null;
  /** @type {Line | null} a line without a stay in the room, for the next one */
  #line = null;
  #restart = new Restart();
  /** @type {RoomState} */
  #state = "new";
  /** The reason that it is closed. */
  #ending = { reason: "", message: "" };
  #attempts = new Attempts();
  #entering;
  /** @type {number | null} the time at which media failed, while none has got through since, over several connections */
  #blockedSince = null;

  /** Rules, raised hands, people who wait, and the actions of moderators. @readonly */
  moderation = new Moderation(
    (name, payload) => this.emit(name, payload),
    () => this.#connected().signaling,
    async (tell) => {
      this.#refuseClosed();
      await this.#keep(tell());
    },
    this,
  );
  /** Whether a moderator has to let us in, and has not decided. */
  isAwaitingAdmission = false;

  /** @type {Limits} the server's; zeros before it has told them */
  limits = { messageBytes: 0, chatChars: 0, publisherBitrate: 0 };
  /** @type {Readonly<Permissions>} what we may do here, known once `connected` */
  permissions = ALL_PERMISSIONS;
  /** @type {string | null} the server's rule to let people in, known once `connected`: `open`, `tokens` or `hooks` */
  access = null;
  /**
   * The numbers of people, ourselves included, in a room that we see as its audience does: `participants` are those who
   * publish or hold up a hand then, and `people` asks for others. Null where `participants` are all others.
   *
   * @type {PeopleCounts | null}
   */
  audience = null;
  /** @type {Speakers} */
  speakers = { recent: [], speaking: 0 };

  /** @param {RoomOptions} options */
  constructor(options) {
    super();
    this.#options = { ...options, batch: true };
    this.#identity = new Identity(this.#options, (token) => this.emit("sessionChanged", token));
    this.#entering = new Entering(this.#options, this.#attempts);
    this.#receiving = new Receiving(options.autoSubscribe ?? true, {
      roster: this.#roster,
      changed: (change) => this.emit("subscriptionChanged", change),
      report: (error) => this.#report(error),
    });
    if (options.encryption) {
      this.#encryption = new Encryption({
        onOutcome: () => this.#readability.judgeAll(),
        onError: (error) => this.#report(error),
        startWorker: this.#options.startWorker,
      });
    }
    this.#readability = new Readability(this.#encryption, {
      roster: this.#roster,
      views: this.#receiving.views,
      choices: this.#receiving.choices,
      receiverOf: (trackId) => this.receiverOf(trackId),
      refuse: (trackIds) => this.#receiving.decide(trackIds, false),
      changed: (participant, encryption) => this.emit("encryptionChanged", { participant, encryption }),
    });
  }

  get state() {
    return this.#state;
  }

  get name() {
    return this.#options.name;
  }

  /** @returns {string | null} our own participant id, the same one after a reconnect if the server has sessions */
  get participantId() {
    return this.#identity.participantId;
  }

  /** @returns {ChatMessage[]} oldest first */
  get chat() {
    return this.#chat.messages;
  }

  /** @returns {ReadonlyMap<string, Participant>} the others, by id */
  get participants() {
    return this.#roster.participants;
  }

  /** @returns {ReadonlyMap<string, SubscriptionState>} what we are sent, by track id, as far as the server has said */
  get subscriptions() {
    return this.#receiving.states;
  }

  /** @returns {ReadonlyMap<string, Unwatchable>} who cannot watch our tracks, by track id */
  get unwatchable() {
    return this.#unwatchable.states;
  }

  /** @returns {ReadonlySet<Publication>} */
  get publications() {
    return this.#publications;
  }

  /** @returns {RTCPeerConnectionState} */
  get mediaState() {
    return this.#connection?.transport?.state ?? "new";
  }

  /**
   * The line of messages to the server. While it is cut, the call goes on, or the wait for a moderator.
   *
   * @returns {SignalingState}
   */
  get signaling() {
    const signaling = (this.#isWaiting ? this.#connection : this.#joined)?.signaling;
    return { isConnected: signaling?.isUp ?? false, transport: signaling?.kind ?? null };
  }

  /** Media has not got through since it last failed, though the server answers. */
  get isMediaBlocked() {
    return this.#blockedSince !== null;
  }

  /** Whether we encrypt what we send, end to end. */
  get isEncrypted() {
    return this.#encryption !== null;
  }

  /**
   * @param {string} participantId
   * @returns {EncryptionState | null} null where neither they nor we encrypt
   */
  encryptionOf(participantId) {
    return this.#readability.of(participantId);
  }

  /** Joins; rejected with a `CallError`, after which the room is closed. */
  async join() {
    this.#enter("joining");
    try {
      if (this.#options.encryption) await this.#encryption?.start(this.#options.encryption, this.#options.room);
      this.#refuseClosed();
      await this.#connectFirst();
    } catch (error) {
      // Left or thrown out meanwhile: that is why.
      this.#refuseClosed();
      this.#close(/** @type {CallError} */ (error).code ?? "internal", /** @type {Error} */ (error).message);
      throw error;
    }
  }

  /** Says goodbye and closes. Where no message reaches the server, that is tried for half a minute afterwards. */
  leave() {
    this.#close("left", "");
  }

  /** Does not wait for the next attempt to reconnect. */
  retryNow() {
    this.#attempts.hurry();
    this.#connection?.signaling.retryNow();
  }

  /**
   * Publishes a track, at once or with the next connection. The code that captured the track also stops it.
   *
   * @param {PublishOptions | Publication} wish
   */
  async publish(wish) {
    this.#refuseClosed();
    const publication = wish instanceof Publication ? wish : new Publication(wish);
    if (this.#publications.has(publication)) return publication;
    if (!mayPublish(this.permissions, publication)) throw mayNotPublish(publication.source);
    if (publication.muted) publication.silence();
    this.#publications.add(publication);
    try {
      await this.#keep(this.#connection?.transport?.add(publication));
    } catch (error) {
      this.#publications.delete(publication);
      throw error;
    }
    return publication;
  }

  /** @param {Publication} publication */
  async unpublish(publication) {
    if (!this.#publications.delete(publication)) return;
    publication.trackId = null;
    if (this.#state !== "closed") await this.#keep(this.#connection?.transport?.remove(publication));
  }

  /**
   * Mutes a publication, or unmutes it: its media is silenced (`enabled`) before this returns, then the others are
   * told. The last of several calls counts, in whatever order the server answers.
   *
   * @param {Publication} publication
   * @param {boolean} muted
   */
  async setMuted(publication, muted) {
    publication.muted = muted;
    publication.silence();
    if (this.#publications.has(publication)) await this.#keep(this.#connection?.transport?.applyMute(publication));
  }

  /**
   * Sends another device's track in the place of this one, or nothing.
   *
   * @param {Publication} publication
   * @param {MediaStreamTrack | null} media
   */
  async replaceMedia(publication, media) {
    publication.media = media;
    if (publication.muted) publication.silence();
    await this.#keep(this.#connection?.transport?.replaceMedia(publication));
  }

  /**
   * @param {string} trackId
   * @returns {RTCRtpReceiver | null} the receiver that carries somebody's track now
   */
  receiverOf(trackId) {
    return this.#connection?.transport?.receiverOf(trackId) ?? null;
  }

  /**
   * Says something to everybody, each message once: a cut in between changes nothing.
   *
   * @param {string} words
   * @returns {Promise<void>} once the server has it
   */
  async sendChat(words) {
    this.#connected();
    await this.#chat.send(words);
  }

  /** @param {string} name */
  rename(name) {
    return this.update({ name });
  }

  /**
   * Changes our name and metadata for the others.
   *
   * @param {{ name?: string, metadata?: Record<string, unknown> }} changes absent fields stay
   */
  async update(changes) {
    this.#refuseClosed();
    const { name, metadata } = this.#options;
    if (changes.metadata && this.#encryption) changes = { ...changes, metadata: this.#encryption.announce(changes.metadata) };
    Object.assign(this.#options, changes);
    const wanted = { ...this.#options };
    try {
      await this.#keep(this.#joined?.signaling.request(say.update(changes)));
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (changes.name !== undefined && this.#options.name === wanted.name) this.#options.name = name;
      if (changes.metadata !== undefined && this.#options.metadata === wanted.metadata) this.#options.metadata = metadata;
      throw error;
    }
  }

  /**
   * Encrypts with another key from now on, in a call that is encrypted. Whoever is to go on has to change to it as well:
   * how they get it is not the room's business. What comes with the key before is decrypted for ten more seconds.
   *
   * @param {EncryptionSecret} secret
   */
  async changeKey(secret) {
    this.#refuseClosed();
    if (!this.#encryption) throw new CallError("not_encrypted", "This call is not encrypted, and has no key to change.");
    await this.#encryption.change(secret, this.#options.room);
    this.#readability.judgeAll();
    // Without that right the others learn it from the frames.
    if (this.permissions.update) await this.update({ metadata: this.#options.metadata ?? {} });
  }

  /**
   * Says how somebody's track is shown, so that the server sends no more than that needs; at any time, as often as it
   * changes. A track without a view is sent as large as it comes.
   *
   * @param {string} trackId
   * @param {Shown} shown
   */
  setView(trackId, shown) {
    this.#receiving.show(trackId, shown);
  }

  /**
   * Receives tracks, whatever `autoSubscribe` is. The choice holds for as long as the track is there.
   *
   * @param {string[]} trackIds
   */
  subscribe(trackIds) {
    return this.#choose(trackIds, true);
  }

  /**
   * Stops receiving tracks. The choice holds for as long as the track is there; somebody who joins again has new
   * tracks.
   *
   * @param {string[]} trackIds
   */
  unsubscribe(trackIds) {
    return this.#choose(trackIds, false);
  }

  /**
   * Sends a message to all others over a data channel; they get it by their `dataReceived` event. A message longer than the
   * server takes (16 KiB) is refused with `data_too_large`. Messages beyond its rate (100 a second) are lost, and an
   * `errorOccurred` says so.
   *
   * @param {string | ArrayBuffer | ArrayBufferView<ArrayBuffer>} payload
   * @param {{ reliable?: boolean }} [options]
   */
  sendData(payload, options) {
    const transport = this.#connected().transport;
    if (!transport) throw notConnected();
    transport.sendData(payload, options);
  }

  /**
   * Asks for some of the others, in the order they joined.
   *
   * @param {{ after?: number, limit?: number }} [page] `after`: `next` of the page before; `limit`: 1 to 100, 50 if left out
   * @returns {Promise<{ participants: ParticipantInfo[], total: number, next: number | null }>} `total`: everybody, ourselves
   *   included; `next`: null on the last page
   */
  async people(page = {}) {
    const { participants, total, next = null } = await this.#connected().signaling.request(say.people(page));
    return { participants, total, next };
  }

  /** @returns {Promise<PeerStats | null>} what the relay decides for us */
  async serverStats() {
    return (await this.#reached().request(say.stats())).peer;
  }

  /** @returns {Promise<Timeline>} the server's latest decisions about us with their reasons, oldest first */
  async timeline() {
    const { nowMs, decisions } = await this.#reached().request(say.timeline());
    return { nowMs, decisions };
  }

  /** @returns {Promise<RTCStatsReport | null>} */
  async getStats() {
    return (await this.#keep(this.#connection?.transport?.getStats())) ?? null;
  }

  /** @param {Publication} publication @returns {string | null} the m-line that carries it, as the stats name it */
  publishedMid(publication) {
    return this.#connection?.transport?.publishedMid(publication) ?? null;
  }

  /** @param {string} trackId @returns {string | null} the m-line that carries somebody's track now */
  receivingMid(trackId) {
    return this.#connection?.transport?.receivingMid(trackId) ?? null;
  }

  async #connectFirst() {
    this.#line = this.#options.preconnection?.take() ?? null;
    this.#identity.goOn(takeUnsaid(this.#options));
    let isFast = this.#line !== null && !this.#identity.isResumable;
    await this.#entering.run({
      isWanted: () => this.#state === "joining" && !this.#joined,
      attempt: () => this.#connect(isFast),
      failed: () => {
        isFast = false;
        this.#disconnect(true);
      },
    });
    this.#refuseClosed();
  }

  /** @param {boolean} [isFast] joins and offers at once, before it is known who is there */
  async #connect(isFast = false) {
    // Changes made before the server has let us in are told afterwards.
    this.#announceKey();
    const joinedAs = { ...this.#options, session: this.#identity.joinToken, audience: this.#audienceWish() };
    const connection = new Connection(joinedAs, this.#publications, this.#encryption, this.#line);
    this.#line = null;
    this.#connection = connection;
    this.#follow(connection);
    const welcome = await (isFast ? connection.joinOffering() : connection.join(this.#identity.isResumable));
    this.#refuseLost(connection);
    this.#joined = connection;
    this.isAwaitingAdmission = false;
    this.limits = welcome.limits;
    if (!welcome.session && !connection.graceMs) this.#identity.session = null;
    this.#admitted(welcome, joinedAs, connection.isResumed);
    for (const message of welcome.chat) this.#chat.add(message, this.participantId);
    const others = this.#identity.others(welcome.participants);
    this.#receiving.remember(others);
    const isAudience = welcome.audience !== undefined;
    const { graceMs, isResumed, signaling } = connection;
    // A server that was started again has none of the tracks of before.
    const isRestart = this.#restart.isLikely && !others.some(({ tracks }) => tracks.some(({ id }) => this.#roster.find(id)));
    const known = new Set(this.participants.keys());
    const rejoin = { isRestart, isCertain: this.#restart.isCertain, isResumed, wasAudience: this.audience !== null, known, graceMs };
    // Of the audience nobody knows who is missing, and who is not on stage.
    this.#roster.replace(others, isRestart && !isAudience ? graceMs : 0, isAudience ? "audience" : "disconnected");
    this.#setAudience(welcome.audience ?? null);
    this.#restart.begin(graceMs);
    this.moderation.begin(welcome, signaling, rejoin).catch((error) => !isLost(error) && this.#report(error));
    this.#catchUp(joinedAs, connection);
    await (isFast ? connection.offered() : connection.offer(this.#receiving.choices.count(others)));
    this.#refuseLost(connection);
    this.#enter("connected");
    this.#chat.sendAgain();
    this.#tellSignaling();
  }

  /**
   * Takes what the server has decided about us: it may know us by another name, and forbid things.
   *
   * @param {import("./protocol.js").ServerMessages["welcome"]} welcome
   * @param {ConnectionOptions} joinedAs
   * @param {boolean} isResumed
   */
  #admitted(welcome, joinedAs, isResumed) {
    const { permissions = ALL_PERMISSIONS, access } = welcome;
    this.access = access ?? null;
    this.#identity.admitted(welcome, joinedAs, { mayUpdate: permissions.update, isResumed });
    if (permissions.update) this.#announceKey();
    this.permissions = Object.freeze({ ...permissions });
    for (const publication of this.#publications) {
      if (!mayPublish(permissions, publication)) this.#refused(publication, mayNotPublish(publication.source));
    }
  }

  /**
   * Tells a new server what was changed meanwhile, and all that we want to receive.
   *
   * @param {ConnectionOptions} joinedAs
   * @param {Connection} connection
   */
  #catchUp(joinedAs, { signaling }) {
    this.#receiving.begin(signaling);
    const { name, metadata } = this.#options;
    const changes = { ...(name !== joinedAs.name && { name }), ...(metadata !== joinedAs.metadata && { metadata }) };
    if (Object.keys(changes).length === 0) return;
    signaling.request(say.update(changes)).catch((error) => !isLost(error) && this.#report(error));
  }

  /** @param {Connection} connection */
  #follow(connection) {
    connection.on("message", (message) => this.#receive(message));
    connection.on("refused", ({ publication, error }) => this.#refused(publication, error));
    connection.on("slots", (moved) => {
      for (const { track: trackId } of moved) {
        const participant = this.#roster.find(trackId)?.participant;
        if (participant) this.#readability.judge(participant);
        this.#roster.mediaChanged(trackId);
        this.emit("trackMediaChanged", { trackId, receiver: this.receiverOf(trackId) });
      }
    });
    connection.on("state", (state) => {
      if (state === "connected") {
        this.#attempts.reset();
        this.#blockedSince = null;
      }
      this.emit("mediaStateChanged", state);
    });
    connection.on("restarted", () => {
      this.#receiving.clear();
      this.#unwatchable.clear();
    });
    connection.on("data", (data) => this.emit("dataReceived", data));
    connection.on("error", (error) => this.#report(error));
    connection.on("ended", ({ reason, message }) => {
      this.#identity.end();
      this.#close(reason, message);
    });
    connection.on("token", (token) => (this.#identity.session = token));
    connection.on("down", () => this.#tellSignaling());
    connection.on("up", () => this.#tellSignaling());
    connection.on("asked", () => this.#identity.asked());
    connection.on("forgotten", (code) => {
      if (code === "session_used") return this.#identity.taken();
      this.#identity.sessionEnded();
      this.#restart.forgotten(code);
    });
    connection.on("lost", (loss) => {
      this.#restart.lost(loss);
      if (loss.isTaken) this.#identity.taken();
      else if (loss.isSessionOver) this.#identity.sessionEnded();
      if (this.#state !== "connected") return;
      const { reason, message } = loss;
      if (reason === "media_failed") {
        this.#blockedSince ??= Date.now();
        if (Date.now() - this.#blockedSince >= GIVE_UP_AFTER_MS) return this.#close(reason, message);
      }
      void this.#reconnect(loss);
    });
  }

  #tellSignaling() {
    if (this.#state === "connected" || this.#isWaiting) this.emit("signalingChanged", this.signaling);
  }

  /** Whether we wait for a moderator for the first time. */
  get #isWaiting() {
    return this.#state === "joining" && this.isAwaitingAdmission;
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "batch":
        for (const each of message.messages) if (each) this.#receive(each);
        return undefined;
      case "audience":
        return this.#setAudience({ participants: message.participants, publishers: message.publishers, hands: message.hands });
      case "chat":
        return this.#chat.add(message.message, this.participantId);
      case "subscriptions":
        return this.#receiving.decided(message.subscriptions);
      case "unwatchable":
        return this.#unwatchable.apply(message);
      case "wait":
        return this.#awaitAdmission();
      case "permissions":
        this.permissions = Object.freeze({ ...message.permissions });
        this.emit("permissionsChanged", this.permissions);
        return this.moderation.look();
      case "speakers":
        return this.#setSpeakers({ recent: message.recent, speaking: message.speaking });
      default:
        this.moderation.apply(message, this.participantId);
        return this.#identity.isOfFormer(message) ? undefined : this.#roster.apply(message);
    }
  }

  /**
   * The audience is told of few people, and stays audience: others would burst in upon it in the middle of a call. The size
   * of a room says nothing while all come back to it one by one.
   *
   * @returns {"always" | "large" | undefined}
   */
  #audienceWish() {
    const wish = this.#options.audience;
    if (wish !== "large" || this.participantId === null) return wish;
    if (this.audience) return "always";
    return this.#restart.isLikely ? undefined : wish;
  }

  /** @param {PeopleCounts | null} audience */
  #setAudience(audience) {
    const isSame = JSON.stringify(audience) === JSON.stringify(this.audience);
    this.audience = audience;
    if (!isSame) this.emit("audienceChanged", audience);
  }

  #awaitAdmission() {
    this.isAwaitingAdmission = true;
    this.#entering.wait();
    this.emit("admissionAwaited", undefined);
    this.#tellSignaling();
  }

  /** @param {Speakers} speakers */
  #setSpeakers(speakers) {
    this.speakers = speakers;
    this.emit("speakersChanged", speakers);
  }

  /** Tells the others which key we have: that by which they know, before any frame comes, that theirs is another. */
  #announceKey() {
    if (this.#encryption) this.#options.metadata = this.#encryption.announce(this.#options.metadata);
  }

  /** @param {string} words */
  async #sayChat(words) {
    try {
      await this.#connected().signaling.request(say.chat(words));
    } catch (error) {
      // Who joins again as somebody else cannot tell what arrived.
      throw isLost(error) && this.#identity.session === null ? notConnected() : error;
    }
  }

  /** @param {Loss} loss */
  async #reconnect({ reason, message }) {
    this.#restart.cut();
    this.#disconnect();
    this.#enter("reconnecting", reason, message);
    this.#receiving.clear();
    this.#unwatchable.clear();
    this.#setSpeakers({ recent: [], speaking: 0 });
    const error = await this.#attempts.run({
      isWanted: () => this.#state === "reconnecting",
      isReady: () => this.#line !== null,
      attempt: () => this.#connect(),
      failed: () => {
        if (this.isAwaitingAdmission) this.#attempts.renew();
        this.#disconnect();
      },
    });
    if (!error) return;
    // It has said that it goes: that it cannot be reached is no news.
    const isAway = reason === "server_shutdown" && (isUnreachable(error) || isLost(error));
    const { code = "connection_lost", message: why = message } = isAway ? { code: reason } : error;
    this.#close(code, why);
  }

  /**
   * @param {string} reason
   * @param {string} message
   */
  #close(reason, message) {
    if (this.#state === "closed") return;
    this.#ending = { reason, message };
    // The state is set before any listener hears that its wish has failed.
    this.#state = "closed";
    // Without a goodbye the server would keep our place for a while. Nobody may have noticed yet that the connection is dead.
    const heard = this.#connection?.signaling.heard;
    if (!this.#connection?.leave()) sayFarewell(this.#options, this.#identity);
    else if (this.#identity.isResumable) sayFarewell(this.#options, this.#identity, heard);
    this.#disconnect();
    this.#line?.close();
    this.#roster.close();
    this.moderation.close();
    this.#identity.end();
    this.#chat.end(new CallError(reason, message || "The call is over."));
    this.#encryption?.close();
    this.#enter("closed", reason, message);
    this.#attempts.hurry();
  }

  /** @param {boolean} [isWaiting] we go on to wait for a moderator, if we did */
  #disconnect(isWaiting = false) {
    this.#receiving.end();
    this.#identity.left();
    this.moderation.left();
    const connection = this.#connection;
    this.#connection = null;
    this.#joined = null;
    this.isAwaitingAdmission &&= isWaiting;
    this.#line = connection?.release() ?? null;
    if (this.#isWaiting) this.#tellSignaling();
    this.emit("mediaStateChanged", this.mediaState);
  }

  /**
   * @param {string[]} trackIds
   * @param {boolean} wanted
   */
  async #choose(trackIds, wanted) {
    this.#refuseClosed();
    await this.#keep(this.#receiving.choose(trackIds, wanted));
  }

  /**
   * Hides the loss of a connection from a wish: the next connection carries it out.
   *
   * @template T
   * @param {Promise<T> | undefined} told
   * @returns {Promise<T | undefined>} rejected when the server refused, or when no connection comes any more
   */
  async #keep(told) {
    try {
      return await told;
    } catch (error) {
      if (!isLost(error)) throw error;
      this.#refuseClosed();
      return undefined;
    }
  }

  #refuseClosed() {
    if (this.#state !== "closed") return;
    const { reason, message } = this.#ending;
    throw new CallError(reason, message || "The call is over.");
  }

  /** @param {Connection} connection */
  #refuseLost(connection) {
    if (this.#connection !== connection || connection.isOver) throw new CallError("connection_lost", "The connection was lost.");
  }

  /**
   * @param {RoomState} state
   * @param {string} [reason]
   * @param {string} [message]
   */
  #enter(state, reason = "", message = "") {
    this.#state = state;
    this.emit("stateChanged", { state, reason, message });
  }

  /**
   * @param {Publication} publication
   * @param {unknown} error
   */
  #refused(publication, error) {
    if (!this.#publications.delete(publication)) return;
    this.emit("publicationRefused", { publication, error: /** @type {Error} */ (error) });
    this.#report(error);
  }

  /** @param {unknown} error that the call survives */
  #report(error) {
    this.emit("errorOccurred", /** @type {Error} */ (error));
  }

  /** @returns the line to the server, which is not cut */
  #reached() {
    const { signaling } = this.#connected();
    if (!signaling.isUp) throw notConnected();
    return signaling;
  }

  #connected() {
    if (this.#state !== "connected" || !this.#connection) throw notConnected();
    return this.#connection;
  }
}
