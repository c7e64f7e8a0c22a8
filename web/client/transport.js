import { bytesOf, splitSender } from "./data.js";
import { Encodings } from "./encodings.js";
import { CallError } from "./errors.js";
import { Events } from "./events.js";
import { Lifetime } from "./lifetime.js";
import { Mutes } from "./mutes.js";
import { Negotiation } from "./negotiation.js";
import { orderCodecs } from "./publication.js";
import { isPassing } from "./reconnect.js";
import { offerRepair } from "./repair.js";
import { SlotTable } from "./slots.js";

/**
 * @import { DataReceived } from "./data.js"
 * @import { Encryption } from "./encryption.js"
 * @import { CarriedTrack, LayerWanted, MediaKind, Needs, ServerMessages, Slot } from "./protocol.js"
 * @import { Publication } from "./publication.js"
 * @import { Pointing } from "./slots.js"
 */

/** Most receiving m-lines: more than any page can show. SDP grows with each, so `needs` may not ask for more. */
const MAX_RECEIVING = 200;
/** Pause after a refusal that may pass; it doubles with each further one, up to the last value. */
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 16_000;
/** Time for a direct path before ICE servers that were told late are used. */
const DETOUR_AFTER_MS = 2_000;
/** Least time between two offers that the server asks for: it asks rarely, and a fault there must not cause a loop. */
const RENEGOTIATE_EVERY_MS = 2_000;

/**
 * @typedef {object} TransportOptions
 * @property {RTCIceServer[]} iceServers
 * @property {ServerMessages["welcome"]["data"]} [data] rules for data channels; an older server does not send them
 * @property {Needs} receiving the receiving m-lines of the first offer
 * @property {(sdp: string, tracks: CarriedTrack[]) => Promise<ServerMessages["answer"]>} sendOffer
 * @property {(trackId: string, muted: boolean) => Promise<unknown>} sendMute rejected with a `CallError`
 * @property {Encryption | null} [encryption] of everything sent and received
 * @property {(config: RTCConfiguration) => RTCPeerConnection} [connect] for tests
 */

/**
 * @typedef {object} TransportEvents
 * @property {Pointing[]} slots tracks that moved between receiving m-lines
 * @property {RTCPeerConnectionState} state follows the peer connection
 * @property {DataReceived} data a message of another participant
 * @property {unknown} error an offer that failed and that nobody waits for
 * @property {void} broken browser and server no longer agree on the negotiated state
 */

/**
 * One peer connection to the relay: the tracks we publish, the m-lines that receive, two data channels. Every promise
 * it gives settles, at the latest when it is closed: with `connection_lost`.
 *
 * @extends {Events<TransportEvents>}
 */
export class Transport extends Events {
  #pc;
  #options;
  #negotiation = new Negotiation(() => this.#exchange());
  #slots = new SlotTable();
  /** @type {Map<Publication, RTCRtpTransceiver>} */
  #sending = new Map();
  /** @type {WeakMap<Publication, CallError>} why the server took a publication's m-line for none it can use */
  #refusals = new WeakMap();
  /** @type {RTCRtpTransceiver[]} transceivers of ended publications, to be sent on again */
  #idle = [];
  /** @type {{ audio: RTCRtpTransceiver[], video: RTCRtpTransceiver[] }} */
  #receiving = { audio: [], video: [] };
  /** Receiving m-lines of each kind that the server has answered: the base of its `needs`. */
  #answered = { audio: 0, video: 0 };
  #wanted = { audio: 0, video: 0 };
  #encodings = new Encodings((error) => this.#report(error));
  #mutes;
  #lifetime = new Lifetime();
  #restartIce = false;
  /** Something beyond new publications is to be told by an offer. */
  #unsaid = false;
  #retryDelay = RETRY_MS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} an offer the server has asked for, not made yet */
  #asked;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #detour;
  #askedAt = Number.NEGATIVE_INFINITY;
  #reliable;
  #unreliable;

  /** @param {TransportOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#want(options.receiving);
    this.#mutes = new Mutes(options.sendMute, (error) => this.#report(error));
    const { iceServers, connect = (config) => new RTCPeerConnection(config) } = options;
    this.#pc = connect({ iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.#pc.addEventListener("connectionstatechange", () => this.emit("state", this.#pc.connectionState));
    // The relay accepts exactly these two labels.
    this.#reliable = this.#channel("reliable", { ordered: true });
    this.#unreliable = this.#channel("unreliable", { ordered: false, maxRetransmits: 0 });
  }

  get state() {
    return this.#pc.connectionState;
  }

  /** The number of receiving m-lines of each kind, to begin the next transport with. */
  get receivingCounts() {
    return { audio: this.#receiving.audio.length, video: this.#receiving.video.length };
  }

  /**
   * @param {string} trackId
   * @returns {RTCRtpReceiver | null} the receiver that carries the track now
   */
  receiverOf(trackId) {
    const mid = this.#slots.midOf(trackId);
    if (mid === undefined) return null;
    const all = [...this.#receiving.video, ...this.#receiving.audio];
    return all.find((transceiver) => transceiver.mid === mid)?.receiver ?? null;
  }

  /** @param {string} trackId */
  receivingMid(trackId) {
    return this.#slots.midOf(trackId) ?? null;
  }

  /** @param {Publication} publication */
  publishedMid(publication) {
    return this.#sending.get(publication)?.mid ?? null;
  }

  getStats() {
    return this.#lifetime.within(this.#pc.getStats());
  }

  /** @param {Slot[]} slots from the server */
  applySlots(slots) {
    const moved = this.#slots.apply(slots);
    for (const { track } of moved) {
      const receiver = this.receiverOf(track);
      if (receiver) this.#options.encryption?.restart(receiver);
    }
    if (moved.length > 0) this.emit("slots", moved);
  }

  /**
   * Begins to carry a publication with the next offer.
   *
   * @param {Publication} publication
   * @returns {Promise<void>} rejected when it is not carried, with why
   */
  async add(publication) {
    if (this.#lifetime.isOver) throw lost();
    const transceiver = this.#reuse(publication) ?? this.#begin(publication);
    this.#sending.set(publication, transceiver);
    try {
      if (publication.kind === "video") preferCodec(transceiver, publication.codec);
    } catch (error) {
      // The next offer must not carry it without a name.
      this.#release(publication);
      throw error;
    }
    await this.negotiate();
    // A publication removed meanwhile is no fault.
    if (publication.trackId !== null || this.#sending.get(publication) !== transceiver) return;
    this.#release(publication);
    const refusal = this.#refusals.get(publication);
    if (refusal) throw refusal;
    throw new CallError("not_published", `The server takes none of the formats this browser has for a ${publication.source}.`);
  }

  /**
   * Stops to carry a publication at once; the next offer says so.
   *
   * @param {Publication} publication
   */
  async remove(publication) {
    if (this.#lifetime.isOver || !this.#release(publication)) return;
    this.#unsaid = true;
    await this.negotiate();
  }

  /**
   * Sends other media on the same m-line, or none, without an offer. The last of several calls counts.
   *
   * @param {Publication} publication
   */
  async replaceMedia(publication) {
    const sender = this.#sending.get(publication)?.sender;
    if (sender) await this.#lifetime.within(sender.replaceTrack(publication.media));
  }

  /**
   * Silences a publication, or ends that, at once; the server is told afterwards.
   *
   * @param {Publication} publication
   * @returns {Promise<void>} once the server knows
   */
  async applyMute(publication) {
    // The track being replaced is still sent.
    const track = this.#sending.get(publication)?.sender.track;
    if (track) track.enabled = !publication.muted;
    await this.#lifetime.within(this.#mutes.tell(publication));
  }

  /**
   * Encodes the layers of a publication that somebody is sent, and no others.
   *
   * @param {string} trackId
   * @param {readonly LayerWanted[]} layers
   */
  async setLayers(trackId, layers) {
    for (const [publication, { sender }] of this.#sending) {
      if (publication.trackId === trackId) await this.#encodings.want(sender, layers);
    }
  }

  /** @param {Needs} needs receiving m-lines to add to those the server has answered */
  need(needs) {
    if (!this.#want(needs)) return;
    this.#unsaid = true;
    this.#negotiateUnasked();
  }

  /** The server would answer what we offer in another way now. */
  renegotiate() {
    if (this.#asked !== undefined || this.#lifetime.isOver) return;
    const wait = Math.max(0, this.#askedAt + RENEGOTIATE_EVERY_MS - performance.now());
    this.#asked = setTimeout(() => {
      this.#asked = undefined;
      this.#askedAt = performance.now();
      for (const [{ kind }, transceiver] of this.#sending) if (kind === "video") offerExtension(transceiver, ORIENTATION);
      this.#unsaid = true;
      this.#negotiateUnasked();
    }, wait);
  }

  /** Asks for a new path to the server, keeping everything that is negotiated. */
  restartIce() {
    this.#restartIce = true;
    return this.negotiate();
  }

  /**
   * Takes the server's rules, where they have come after the first offer.
   *
   * @param {Pick<ServerMessages["welcome"], "data" | "iceServers">} rules
   */
  learn({ data, iceServers }) {
    this.#options = { ...this.#options, data };
    if (iceServers.length === 0) return;
    this.setIceServers(iceServers);
    // Most reach the server without them; for the others the search has to begin anew.
    this.#detour = setTimeout(() => {
      if (this.#pc.connectionState !== "connected") this.restartIce().catch((error) => this.#report(error));
    }, DETOUR_AFTER_MS);
  }

  /**
   * Takes STUN and TURN servers for the next search for a path. The path in use stays.
   *
   * @param {RTCIceServer[]} iceServers
   */
  setIceServers(iceServers) {
    this.#options = { ...this.#options, iceServers };
    // Firefox before 119 cannot change them: it goes without.
    this.#pc.setConfiguration?.({ ...this.#pc.getConfiguration(), iceServers });
  }

  negotiate() {
    return this.#lifetime.within(this.#negotiation.request());
  }

  /**
   * @param {string | ArrayBuffer | ArrayBufferView<ArrayBuffer>} payload
   * @param {{ reliable?: boolean }} [options]
   */
  sendData(payload, { reliable = true } = {}) {
    const channel = reliable ? this.#reliable : this.#unreliable;
    if (channel.readyState !== "open") throw new CallError("not_connected", "The data channel is not open.");
    // Some browsers close the channel over a longer message.
    const longest = this.#options.data?.messageBytes ?? Infinity;
    if (bytesOf(payload) > longest) throw new CallError("data_too_large", `A data channel message has at most ${longest} bytes.`);
    // TypeScript lists an overload for each; they do the same.
    channel.send(/** @type {string} */ (payload));
  }

  close() {
    if (this.#lifetime.isOver) return;
    this.#lifetime.end(lost());
    this.#mutes.close();
    clearTimeout(this.#retry);
    clearTimeout(this.#asked);
    clearTimeout(this.#detour);
    this.#pc.close();
    this.#options.encryption?.forgetReceivers();
    for (const publication of this.#sending.keys()) publication.trackId = null;
  }

  /**
   * @param {string} label
   * @param {RTCDataChannelInit} init
   */
  #channel(label, init) {
    const protocol = this.#options.data?.protocol ?? "";
    const channel = this.#pc.createDataChannel(label, { ...init, protocol });
    channel.binaryType = "arraybuffer";
    channel.addEventListener("message", ({ data }) => {
      const message = protocol ? splitSender(data) : { from: null, payload: data };
      this.emit("data", { ...message, reliable: label === "reliable" });
    });
    return channel;
  }

  /** @param {Publication} publication */
  #begin(publication) {
    const transceiver = this.#pc.addTransceiver(publication.media ?? publication.kind, publication.transceiverInit());
    this.#options.encryption?.encrypt(transceiver.sender);
    return transceiver;
  }

  /**
   * An ended screen share leaves its m-line; the next one takes it, so that sharing again and again
   * does not grow the session.
   *
   * @param {Publication} publication
   */
  #reuse(publication) {
    const init = publication.transceiverInit();
    const index = this.#idle.findIndex(
      ({ direction, sender, receiver }) =>
        direction !== "stopped" &&
        receiver.track.kind === publication.kind &&
        ridsOf(sender.getParameters().encodings) === ridsOf(init.sendEncodings),
    );
    if (index < 0) return undefined;
    const [transceiver] = this.#idle.splice(index, 1);
    transceiver.direction = "sendonly";
    this.#put(transceiver.sender, publication.media);
    // The wanted layers of the publication before do not apply to this one.
    void this.#encodings.want(transceiver.sender, null);
    return transceiver;
  }

  /**
   * Stops sending a publication. The transceiver is kept for another: Chromium gives the m-line of one that is stopped
   * before it was ever answered to the wrong transceiver.
   *
   * @param {Publication} publication
   */
  #release(publication) {
    const transceiver = this.#sending.get(publication);
    if (!transceiver) return false;
    this.#sending.delete(publication);
    this.#mutes.forget(publication);
    publication.trackId = null;
    // The server has refused its m-line, which ends it in the browser as well.
    if (transceiver.direction === "stopped") return true;
    transceiver.direction = "inactive";
    this.#put(transceiver.sender, null);
    this.#idle.push(transceiver);
    return true;
  }

  /**
   * @param {RTCRtpSender} sender
   * @param {MediaStreamTrack | null} track
   */
  #put(sender, track) {
    sender.replaceTrack(track).catch((error) => this.#report(error));
  }

  /** @param {Needs} needs */
  #want(needs) {
    let more = false;
    for (const kind of /** @type {MediaKind[]} */ (["audio", "video"])) {
      const wanted = Math.min(this.#answered[kind] + needs[kind], MAX_RECEIVING);
      if (wanted <= this.#wanted[kind]) continue;
      this.#wanted[kind] = wanted;
      more = true;
    }
    return more;
  }

  #negotiateUnasked() {
    this.negotiate().catch((error) => this.#report(error));
  }

  /** @param {unknown} error that the call survives */
  #report(error) {
    if (!this.#lifetime.isOver) this.emit("error", error);
  }

  async #exchange() {
    if (this.#lifetime.isOver) throw lost();
    this.#growReceiving();
    const iceRestart = this.#restartIce;
    const offered = this.receivingCounts;
    const unsaid = this.#unsaid;
    this.#unsaid = false;
    const { carried, publications, answer } = await this.#ask(iceRestart, unsaid);
    this.#retryDelay = RETRY_MS;
    this.#restartIce &&= !iceRestart;
    this.#answered = offered;
    // Done before anything is awaited: a later `slots` message must not be undone by this older list.
    this.#name(answer.published, publications);
    for (const { mid, code, message } of answer.refused ?? []) {
      const publication = publications.get(mid);
      if (publication) this.#refusals.set(publication, new CallError(code, message));
    }
    this.applySlots(answer.slots);
    await this.#accept(answer.sdp);
    this.#mutes.offered(carried, publications);
    void this.#encodings.again();
    this.need(answer.needs);
  }

  /**
   * Makes an offer and waits for the server's answer. An offer that fails is withdrawn.
   *
   * @param {boolean} iceRestart
   * @param {boolean} unsaid
   */
  async #ask(iceRestart, unsaid) {
    /** @type {Publication[]} */
    let fresh = [...this.#sending.keys()].filter(({ trackId }) => trackId === null);
    try {
      await this.#lifetime.within(this.#pc.createOffer({ iceRestart }).then((offer) => this.#setOffer(offer)));
      this.#options.encryption?.learnFormats(this.#pc.localDescription?.sdp ?? "");
      const { carried, publications } = this.#carried();
      // Publications added since the offer was made go out with the next one.
      fresh = [...publications.values()].filter(({ trackId }) => trackId === null);
      const sdp = this.#pc.localDescription?.sdp ?? "";
      const answer = await this.#lifetime.within(this.#options.sendOffer(sdp, carried));
      return { carried, publications, answer };
    } catch (error) {
      if (!this.#lifetime.isOver) await this.#withdraw(fresh);
      this.#unsaid ||= unsaid;
      this.#offerAgain(isPassing(error), fresh.length > 0);
      throw error;
    }
  }

  /** @param {RTCSessionDescriptionInit} offer as the browser made it */
  async #setOffer(offer) {
    const ours = offerRepair(offer);
    try {
      await this.#pc.setLocalDescription(ours);
    } catch (error) {
      // A browser need not take an offer that it did not make.
      if (ours === offer) throw error;
      await this.#pc.setLocalDescription(offer);
    }
  }

  /** @param {string} sdp */
  async #accept(sdp) {
    try {
      await this.#lifetime.within(this.#pc.setRemoteDescription({ type: "answer", sdp }));
    } catch (cause) {
      if (this.#lifetime.isOver) throw cause;
      this.emit("broken", undefined);
      throw new CallError("bad_answer", "The browser does not accept the server's answer.", { cause });
    }
  }

  /**
   * Schedules another offer for the other changes in a refused one. It comes later if the refusal was not about the
   * offer, or at once, without the publications that may have caused it.
   *
   * @param {boolean} passing
   * @param {boolean} withdrawn
   */
  #offerAgain(passing, withdrawn) {
    if (this.#lifetime.isOver || !this.#unsaid || (!passing && !withdrawn)) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#negotiateUnasked(), passing ? this.#retryDelay : 0);
    if (passing) this.#retryDelay = Math.min(this.#retryDelay * 2, RETRY_MAX_MS);
  }

  #growReceiving() {
    for (const kind of /** @type {MediaKind[]} */ (["audio", "video"])) {
      while (this.#receiving[kind].length < this.#wanted[kind]) {
        const transceiver = this.#pc.addTransceiver(kind, { direction: "recvonly" });
        this.#options.encryption?.decrypt(transceiver.receiver);
        if (kind === "video") offerExtension(transceiver, DEPENDENCY_DESCRIPTOR);
        this.#receiving[kind].push(transceiver);
      }
    }
  }

  #carried() {
    /** @type {CarriedTrack[]} */
    const carried = [];
    /** @type {Map<string, Publication>} */
    const publications = new Map();
    for (const [publication, { mid }] of this.#sending) {
      if (mid === null) continue;
      carried.push({ mid, source: publication.source, muted: publication.muted });
      publications.set(mid, publication);
    }
    return { carried, publications };
  }

  /**
   * Withdraws a refused offer, and with it the publications the server has never accepted.
   *
   * @param {Publication[]} fresh
   */
  async #withdraw(fresh) {
    if (this.#pc.signalingState !== "stable") await this.#lifetime.within(this.#pc.setLocalDescription({ type: "rollback" }));
    for (const publication of fresh) this.#release(publication);
  }

  /**
   * @param {{ mid: string, track: string }[]} published
   * @param {Map<string, Publication>} publications
   */
  #name(published, publications) {
    for (const { mid, track } of published) {
      const publication = publications.get(mid);
      if (publication && this.#sending.has(publication)) publication.trackId = track;
    }
  }
}

function lost() {
  return new CallError("connection_lost", "The connection was closed.");
}

/** @param {RTCRtpEncodingParameters[]} [encodings] */
function ridsOf(encodings = []) {
  return encodings.map(({ rid = "" }) => rid).join();
}

const DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
const ORIENTATION = "urn:3gpp:video-orientation";

/**
 * Offers an extension that the browser knows and does not offer by itself. The dependency descriptor, without which
 * layers of AV1 cannot be told apart, is offered only for sent video, and not again once an answer left it out.
 *
 * @param {RTCRtpTransceiver & { getHeaderExtensionsToNegotiate?: () => { uri: string, direction: string }[],
 *   setHeaderExtensionsToNegotiate?: (extensions: { uri: string, direction: string }[]) => void }} transceiver
 * @param {string} uri
 */
function offerExtension(transceiver, uri) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  const known = extensions.find((extension) => extension.uri === uri);
  if (!known || known.direction !== "stopped") return;
  known.direction = "sendrecv";
  transceiver.setHeaderExtensionsToNegotiate?.(extensions);
}

/**
 * @param {RTCRtpTransceiver} transceiver
 * @param {string} codec
 */
function preferCodec(transceiver, codec) {
  const capabilities = globalThis.RTCRtpSender?.getCapabilities?.("video");
  if (capabilities && "setCodecPreferences" in transceiver) {
    transceiver.setCodecPreferences(orderCodecs(capabilities.codecs, codec));
  }
}
