import { Encodings } from "./encodings.js";
import { CallError } from "./errors.js";
import { Events } from "./events.js";
import { Negotiation } from "./negotiation.js";
import { orderCodecs } from "./publication.js";
import { SlotTable } from "./slots.js";

/**
 * @import { CarriedTrack, LayerWanted, MediaKind, Needs, ServerMessages, Slot } from "./protocol.js"
 * @import { Publication } from "./publication.js"
 * @import { Pointing } from "./slots.js"
 */

/** More receiving m-lines than any page can show; SDP grows with each, so `needs` may not ask for more. */
const MAX_RECEIVING = 200;

/**
 * @typedef {object} TransportOptions
 * @property {RTCIceServer[]} iceServers
 * @property {Needs} receiving the receiving m-lines of the first offer
 * @property {(sdp: string, tracks: CarriedTrack[]) => Promise<ServerMessages["answer"]>} sendOffer
 * @property {(trackId: string, muted: boolean) => Promise<unknown>} sendMute
 * @property {(config: RTCConfiguration) => RTCPeerConnection} [connect] for tests
 */

/**
 * One peer connection to the relay: what we publish, the m-lines that receive, two data channels.
 *
 * `slots` tells what moved between receiving m-lines; `state` follows the peer connection;
 * `data` carries what others send; `error` an offer that failed and that nobody waits for.
 *
 * @extends {Events<{ slots: Pointing[], state: RTCPeerConnectionState, data: { payload: string | ArrayBuffer, reliable: boolean }, error: unknown }>}
 */
export class Transport extends Events {
  #pc;
  #options;
  #negotiation = new Negotiation(() => this.#exchange());
  #slots = new SlotTable();
  /** @type {Map<Publication, RTCRtpTransceiver>} */
  #sending = new Map();
  /** @type {RTCRtpTransceiver[]} transceivers of ended publications, to be sent on again */
  #idle = [];
  /** @type {{ audio: RTCRtpTransceiver[], video: RTCRtpTransceiver[] }} */
  #receiving = { audio: [], video: [] };
  /** How many of each the server has answered: what its `needs` adds to. */
  #answered = { audio: 0, video: 0 };
  #wanted = { audio: 0, video: 0 };
  #encodings = new Encodings((error) => !this.#closed && this.emit("error", error));
  #restartIce = false;
  #closed = false;
  #reliable;
  #unreliable;

  /** @param {TransportOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#want(options.receiving);
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

  /** How many m-lines receive, to begin the next transport with. */
  get receivingCounts() {
    return { audio: this.#receiving.audio.length, video: this.#receiving.video.length };
  }

  /**
   * @param {string} trackId
   * @returns {RTCRtpReceiver | null} what carries the track now
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
    return this.#pc.getStats();
  }

  /** @param {Slot[]} slots from the server */
  applySlots(slots) {
    const moved = this.#slots.apply(slots);
    if (moved.length > 0) this.emit("slots", moved);
  }

  /**
   * Begins to carry a publication with the next offer.
   *
   * @param {Publication} publication
   */
  add(publication) {
    const reused = this.#reuse(publication);
    const transceiver =
      reused ?? this.#pc.addTransceiver(publication.media ?? publication.kind, publication.transceiverInit());
    if (publication.kind === "video") preferCodec(transceiver, publication.codec);
    this.#sending.set(publication, transceiver);
    return this.negotiate();
  }

  /**
   * Stops to carry a publication; the next offer says so.
   *
   * @param {Publication} publication
   */
  remove(publication) {
    const transceiver = this.#sending.get(publication);
    if (!transceiver || this.#closed) return Promise.resolve();
    this.#sending.delete(publication);
    transceiver.direction = "inactive";
    void transceiver.sender.replaceTrack(null);
    this.#idle.push(transceiver);
    return this.negotiate();
  }

  /**
   * Sends other media on the same m-line, or none; needs no offer.
   *
   * @param {Publication} publication
   */
  async replaceMedia(publication) {
    await this.#sending.get(publication)?.sender.replaceTrack(publication.media);
  }

  /**
   * Encodes what somebody is sent of a publication, and no more.
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
    if (this.#want(needs)) this.#negotiateUnasked();
  }

  /** Asks for a new path to the server, keeping everything that is negotiated. */
  restartIce() {
    this.#restartIce = true;
    return this.negotiate();
  }

  negotiate() {
    return this.#negotiation.request();
  }

  /**
   * @param {string | ArrayBuffer | ArrayBufferView<ArrayBuffer>} payload
   * @param {{ reliable?: boolean }} [options]
   */
  sendData(payload, { reliable = true } = {}) {
    const channel = reliable ? this.#reliable : this.#unreliable;
    if (channel.readyState !== "open") throw new CallError("not_connected", "The data channel is not open.");
    // TypeScript lists an overload for each; they do the same.
    channel.send(/** @type {string} */ (payload));
  }

  close() {
    this.#closed = true;
    this.#pc.close();
  }

  /**
   * @param {string} label
   * @param {RTCDataChannelInit} init
   */
  #channel(label, init) {
    const channel = this.#pc.createDataChannel(label, init);
    channel.binaryType = "arraybuffer";
    channel.addEventListener("message", ({ data }) => {
      this.emit("data", { payload: data, reliable: label === "reliable" });
    });
    return channel;
  }

  /**
   * An ended screen share leaves its m-line; the next one takes it, so that sharing again and again
   * does not grow the session.
   *
   * @param {Publication} publication
   */
  #reuse(publication) {
    if (publication.simulcast) return undefined;
    const index = this.#idle.findIndex(
      ({ sender, receiver }) => receiver.track.kind === publication.kind && sender.getParameters().encodings.length <= 1,
    );
    if (index < 0) return undefined;
    const [transceiver] = this.#idle.splice(index, 1);
    transceiver.direction = "sendonly";
    void transceiver.sender.replaceTrack(publication.media);
    // What nobody watched of the one before says nothing about this one.
    void this.#encodings.want(transceiver.sender, null);
    return transceiver;
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
    this.negotiate().catch((error) => {
      if (!this.#closed) this.emit("error", error);
    });
  }

  async #exchange() {
    if (this.#closed) throw new CallError("connection_lost", "The connection was closed.");
    this.#growReceiving();
    const iceRestart = this.#restartIce;
    const offered = this.receivingCounts;
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart }));
    const { carried, publications } = this.#carried();
    const answer = await this.#ask(carried);
    this.#restartIce &&= !iceRestart;
    this.#answered = offered;
    // Before anything is awaited: a later `slots` message must not be undone by this older list.
    this.#name(answer.published, publications);
    this.applySlots(answer.slots);
    await this.#pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    this.#correctMutes(carried, publications);
    void this.#encodings.again();
    this.need(answer.needs);
  }

  #growReceiving() {
    for (const kind of /** @type {MediaKind[]} */ (["audio", "video"])) {
      while (this.#receiving[kind].length < this.#wanted[kind]) {
        const transceiver = this.#pc.addTransceiver(kind, { direction: "recvonly" });
        if (kind === "video") describeDependencies(transceiver);
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

  /** @param {CarriedTrack[]} carried */
  async #ask(carried) {
    try {
      return await this.#options.sendOffer(this.#pc.localDescription?.sdp ?? "", carried);
    } catch (error) {
      if (!this.#closed) await this.#withdraw();
      throw error;
    }
  }

  /** Takes back a refused offer, and with it the publications the server has never accepted. */
  async #withdraw() {
    await this.#pc.setLocalDescription({ type: "rollback" });
    for (const [publication, transceiver] of this.#sending) {
      if (transceiver.mid !== null) continue;
      this.#sending.delete(publication);
      transceiver.stop();
    }
  }

  /**
   * @param {{ mid: string, track: string }[]} published
   * @param {Map<string, Publication>} publications
   */
  #name(published, publications) {
    for (const { mid, track } of published) {
      const publication = publications.get(mid);
      if (publication) publication.trackId = track;
    }
  }

  /**
   * Somebody may have pressed mute while the offer was under way, when the track had no name yet.
   *
   * @param {CarriedTrack[]} carried
   * @param {Map<string, Publication>} publications
   */
  #correctMutes(carried, publications) {
    for (const { mid, muted } of carried) {
      const publication = publications.get(mid);
      if (!publication?.trackId || publication.muted === muted) continue;
      this.#options.sendMute(publication.trackId, publication.muted).catch((error) => this.emit("error", error));
    }
  }
}

const DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/**
 * Browsers know the extension without which layers of AV1 cannot be told apart, yet offer it only for what
 * they send.
 *
 * @param {RTCRtpTransceiver & { getHeaderExtensionsToNegotiate?: () => { uri: string, direction: string }[],
 *   setHeaderExtensionsToNegotiate?: (extensions: { uri: string, direction: string }[]) => void }} transceiver
 */
function describeDependencies(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  const known = extensions.find(({ uri }) => uri === DEPENDENCY_DESCRIPTOR);
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
