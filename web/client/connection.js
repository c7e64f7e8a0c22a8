import { CallError } from "./errors.js";
import { Events } from "./events.js";
import { DATA_PROTOCOL, say } from "./protocol.js";
import { countersOf, Pulse } from "./pulse.js";
import { PathWatch, WHOLE_PATIENCE_MS } from "./reconnect.js";
import { REPLY_TIMEOUT_MS, Signaling } from "./signaling.js";
import { Transport } from "./transport.js";

/**
 * @import { DataReceived } from "./data.js"
 * @import { Encryption } from "./encryption.js"
 * @import { EncryptionSecret } from "./encryption-key.js"
 * @import { Line } from "./line.js"
 * @import { CarriedTrack, Needs, ServerMessage, ServerMessages } from "./protocol.js"
 * @import { Publication } from "./publication.js"
 * @import { Preconnection } from "./preconnection.js"
 * @import { Pointing } from "./slots.js"
 * @import { SocketKind } from "./socket.js"
 */

/**
 * @typedef {object} RoomOptions
 * @property {string} url the server's `/v1/ws`
 * @property {string} room the room's name, by the rules of `readRoom`
 * @property {string} name the name that others see, by the rules of `readName`
 * @property {Record<string, unknown>} [metadata] anything that others may know of us
 * @property {boolean} [autoSubscribe] receive every track without being asked; true if left out
 * @property {string | (() => string | Promise<string>)} [token] the access token, where the server wants one, or what
 *   gets one: it is asked anew for each connection, so that a call outlives its first token
 * @property {"always" | "large"} [audience] see the room as its audience does: those who publish or hold up a hand, and how
 *   many others there are. `large`: if it is large. Left out: never
 * @property {EncryptionSecret} [encryption] the key, or a passphrase, by which sound and pictures are encrypted end to
 *   end; the server is told neither
 * @property {string} [session] what a page before this one had by `sessionChanged` in the same room: we go on as the
 *   same participant
 * @property {Preconnection} [preconnection] made before, so that joining takes one round trip; it is taken
 */

/**
 * @typedef {object} Substitutes for tests
 * @property {typeof WebSocket} [WebSocket]
 * @property {typeof fetch} [fetch] of the ways beside the WebSocket
 * @property {(config: RTCConfiguration) => RTCPeerConnection} [connect]
 * @property {() => Worker} [startWorker]
 * @property {boolean} [batch] whether the listener of `message` takes a `batch`
 *
 * @typedef {RoomOptions & Substitutes} ConnectionOptions
 */

/**
 * @typedef {object} ConnectionEvents
 * @property {ServerMessage} message a message that is no reply and does not concern the transport
 * @property {Pointing[]} slots
 * @property {RTCPeerConnectionState} state
 * @property {DataReceived} data
 * @property {{ publication: Publication, error: unknown }} refused an earlier publication is not carried any more
 * @property {void} restarted another transport replaces the one before; earlier events about that are void
 * @property {unknown} error an offer that nobody waits for failed; the call goes on
 * @property {void} down nothing reaches the server at the moment, and nothing comes from it but media
 * @property {SocketKind} up the server is reached again, or in another way; nothing was lost
 * @property {string} token by which the session can be taken up
 * @property {void} asked a `join` is said now
 * @property {string} forgotten the session was not resumed, by this code: the next thing is a `join`
 * @property {Loss} lost a new connection is needed
 * @property {{ reason: string, message: string }} ended the server does not want us any more
 */

/**
 * @typedef {object} Loss
 * @property {string} reason
 * @property {string} message
 * @property {boolean} isRestart the server was started again: the others come back as well
 * @property {boolean} isTaken another page goes on with our session
 * @property {boolean} isSessionOver the server has not our session any more; else it can be resumed
 */

/**
 * Receiving m-lines of an offer that is made before it is known who is in the room: enough for a call of four. Each costs
 * some kilobytes of SDP, and one that is missing a round trip.
 */
const GUESSED = { audio: 3, video: 3 };

/** Refusals to take up a session. All it takes is another `join`. */
const NO_SESSION = ["no_such_session", "session_used", "session_gap", "unknown_type", "not_joined"];

/**
 * One stay in a room: a line of messages that has joined, and its transport. Either may be cut for a while without the
 * other. A `Room` outlives it and makes another when this one is lost.
 *
 * @extends {Events<ConnectionEvents>}
 */
export class Connection extends Events {
  #options;
  #publications;
  #encryption;
  #signaling;
  /** @type {Transport | null} */
  #transport = null;
  /** @type {PathWatch | null} */
  #watch = null;
  /** @type {Pulse | null} */
  #pulse = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** @type {Promise<void>} the latest */
  #offering = Promise.resolve();
  /** @type {ServerMessages["welcome"]["data"]} */
  #data;
  /** @type {((sdp: string, tracks: CarriedTrack[]) => Promise<ServerMessages["answer"]>) | null} of an offer in the `join` */
  #sendFirst = null;
  #over = false;
  /** The server does not know us any more. */
  #isOut = false;

  /** The server had our session, and was not told anything of us. */
  isResumed = false;

  /**
   * @param {ConnectionOptions} options
   * @param {ReadonlySet<Publication>} publications carried by this and by every later transport
   * @param {Encryption | null} [encryption] started
   * @param {Line | null} [line] to be used instead of another
   */
  constructor(options, publications, encryption = null, line = null) {
    super();
    this.#options = options;
    this.#publications = publications;
    this.#encryption = encryption;
    this.#signaling = new Signaling(line ?? options.url, { WebSocket: options.WebSocket, fetch: options.fetch });
    this.#signaling.on("message", (message) => this.#receive(message));
    this.#signaling.on("error", (error) => this.emit("error", error));
    this.#signaling.on("token", (token) => this.emit("token", token));
    this.#signaling.on("down", () => {
      this.#watch?.hold();
      this.emit("down", undefined);
    });
    this.#signaling.on("up", (kind) => {
      this.#watch?.release(this.#transport?.state ?? "new");
      this.#pulse?.hurry();
      this.emit("up", kind);
    });
    this.#signaling.on("refused", ({ code, isEarly }) =>
      // What lies in a gap is lost, and the session is not.
      this.#loseSignaling({ isRestart: isEarly, isTaken: code === "session_used", isSessionOver: code !== "session_gap" }),
    );
    this.#signaling.on("close", () => this.#loseSignaling({ isSessionOver: true }));
  }

  /** Milliseconds for which the server keeps our place while we do not reach it; 0 if it does not. */
  get graceMs() {
    return this.#signaling.graceMs;
  }

  get signaling() {
    return this.#signaling;
  }

  /** Whether it is closed or lost. */
  get isOver() {
    return this.#over;
  }

  get transport() {
    return this.#transport;
  }

  /**
   * @param {boolean} isFresh the session is resumed with a fresh transport: that of before is gone, maybe with the page that
   *   had it
   * @returns {Promise<ServerMessages["welcome"]>}
   */
  async join(isFresh) {
    await this.#signaling.opened();
    const resumed = isFresh ? await this.#takeUp() : null;
    this.isResumed = resumed !== null;
    const welcome = resumed ?? (await this.#signaling.request(await this.#ask()));
    this.#iceServers = welcome.iceServers;
    this.#data = welcome.data;
    return welcome;
  }

  /**
   * Joins and offers a transport by one message, before it is known who is there and what the server's rules are.
   *
   * @returns {Promise<ServerMessages["welcome"]>} then `offered` tells when it is negotiated
   */
  async joinOffering() {
    const receiving = this.#options.autoSubscribe === false ? { audio: 0, video: 0 } : GUESSED;
    await this.#signaling.opened();
    /** @type {(answer: Promise<ServerMessages["answer"]>) => void} */
    let answered = () => {};
    /** @type {import("./protocol.js").OfferedTransport | null} */
    const offer = await new Promise((resolve) => {
      this.#sendFirst = (sdp, tracks) => {
        resolve({ sdp, tracks });
        return new Promise((settle) => (answered = settle));
      };
      this.#data = { protocol: DATA_PROTOCOL, messageBytes: Infinity, messagesPerSecond: Infinity };
      // Without an offer one can join all the same.
      this.offer(receiving).catch(() => resolve(null));
    });
    this.#sendFirst = null;
    const { welcome: told, answer } = this.#signaling.join(await this.#ask(offer ?? undefined));
    const welcome = await told;
    this.#iceServers = welcome.iceServers;
    this.#data = welcome.data;
    const transport = this.#transport;
    if (!offer || !transport || this.#over) return welcome;
    if (!welcome.session || welcome.data?.protocol !== DATA_PROTOCOL) {
      // The server is an older one, and has not answered.
      transport.close();
      this.offer(receiving).catch(() => {});
      return welcome;
    }
    this.#guard();
    transport.learn(welcome);
    answered(answer);
    return welcome;
  }

  /** @returns {Promise<void>} once the transport that was begun is negotiated */
  offered() {
    return this.#offering;
  }

  /** @param {import("./protocol.js").OfferedTransport} [offer] */
  async #ask(offer) {
    const { token } = this.#options;
    const message = say.join({ ...this.#options, resumable: true, token: typeof token === "function" ? await token() : token, offer });
    this.emit("asked", undefined);
    return message;
  }

  /** @returns {Promise<ServerMessages["welcome"] | null>} null if the server does not know the session any more */
  async #takeUp() {
    const { session = "" } = this.#options;
    /** @type {() => void} */
    let stop = () => {};
    /** @type {Promise<ServerMessages["welcome"]>} */
    const welcomed = new Promise((resolve, reject) => {
      const late = () => reject(new CallError("timeout", "The server did not welcome us in time."));
      // The reply to the request has as long, and comes before it.
      const timer = setTimeout(late, 2 * REPLY_TIMEOUT_MS);
      const stops = [
        this.#signaling.on("message", (message) => message.type === "welcome" && resolve(message)),
        this.#signaling.on("close", reject),
        () => clearTimeout(timer),
      ];
      stop = () => stops.forEach((each) => each());
    });
    welcomed.catch(() => {});
    try {
      await this.#signaling.request(say.resume(session, {}));
      return await welcomed;
    } catch (error) {
      const { code = "" } = /** @type {Partial<CallError>} */ (error);
      if (!NO_SESSION.includes(code)) throw error;
      // Another page goes on with it: this one is somebody else.
      if (code === "session_used") this.#options = { ...this.#options, session: undefined };
      this.emit("forgotten", code);
      return null;
    } finally {
      stop();
    }
  }

  /**
   * Builds the transport and offers everything at once: our publications, and an m-line for each track that is in the
   * room already, which spares a late joiner a second round trip.
   *
   * @param {Needs} receiving
   * @returns {Promise<void>} once it, or the one that had to take its place meanwhile, is negotiated
   */
  offer(receiving) {
    this.#offering = this.#offer(receiving);
    return this.#offering;
  }

  /** @param {Needs} receiving */
  async #offer(receiving) {
    if (this.#over) throw new CallError("connection_lost", "The connection was closed.");
    const transport = new Transport({
      iceServers: this.#iceServers,
      data: this.#data,
      receiving,
      sendOffer: (sdp, tracks) => this.#sendOffer(sdp, tracks),
      sendMute: (trackId, muted) => this.#signaling.request(say.mute(trackId, muted)),
      encryption: this.#encryption,
      connect: this.#options.connect,
    });
    this.#transport = transport;
    transport.on("slots", (moved) => this.emit("slots", moved));
    transport.on("data", (data) => this.emit("data", data));
    transport.on("error", (error) => this.emit("error", error));
    transport.on("broken", () => this.#loseMedia());
    transport.on("state", (state) => this.#stateChanged(transport, state));
    if (!this.#sendFirst) this.#guard();
    const added = [...this.#publications].map((publication) => this.#carry(transport, publication));
    try {
      await Promise.all([...added, transport.negotiate()]);
    } catch (error) {
      if (transport === this.#transport || this.#over) throw error;
      return this.#offering;
    }
    this.#watchPath(transport);
  }

  /** Does not wait for ever for a browser or a server. */
  #guard() {
    this.#watch?.stop();
    this.#watch = new PathWatch({ restartIce: () => {}, giveUp: () => this.#loseMedia() }, WHOLE_PATIENCE_MS);
  }

  /**
   * @param {string} sdp
   * @param {CarriedTrack[]} tracks
   */
  #sendOffer(sdp, tracks) {
    const first = this.#sendFirst;
    this.#sendFirst = null;
    return first ? first(sdp, tracks) : this.#signaling.request(say.offer(sdp, tracks));
  }

  /**
   * Adds a publication. One that does not work any more does not end the call.
   *
   * @param {Transport} transport
   * @param {Publication} publication
   */
  async #carry(transport, publication) {
    const negotiated = transport.add(publication);
    const offered = transport.negotiate();
    try {
      await negotiated;
    } catch (error) {
      await offered;
      this.emit("refused", { publication, error });
    }
  }

  /**
   * Says goodbye, so that the others see us leave at once, and closes it.
   *
   * @returns {boolean} whether the goodbye went out
   */
  leave() {
    const isSaid = this.#signaling.isUp;
    this.#signaling.send(say.leave());
    this.close();
    return isSaid;
  }

  close() {
    this.#over = true;
    this.#watch?.stop();
    this.#pulse?.stop();
    this.#transport?.close();
    this.#signaling.close();
  }

  /**
   * Closes it, and leaves its line to another connection.
   *
   * @returns {Line | null} null if that is cut, or if we are still in the room by it
   */
  release() {
    const line = this.#isOut ? this.#signaling.release() : null;
    if (line) this.#over = true;
    else this.close();
    return line;
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "needs":
        return this.#transport?.need(message);
      case "slots":
        return this.#transport?.applySlots(message.slots);
      case "layers":
        return void this.#transport?.setLayers(message.track, message.layers);
      case "ice_servers":
        this.#iceServers = message.iceServers;
        return this.#transport?.setIceServers(message.iceServers);
      case "renegotiate":
        return this.#transport?.renegotiate();
      case "media":
        return message.state === "failed" ? this.#replaceTransport() : undefined;
      case "welcome":
        // Only the answer to a resumption comes without being asked for.
        return undefined;
      case "bye":
        return this.#bye(message);
      case "error":
        return this.emit("error", new CallError(message.code, message.message, { fatal: message.fatal }));
      default:
        return this.emit("message", message);
    }
  }

  /** @param {ServerMessages["bye"]} bye */
  #bye({ reason, message }) {
    // A server that shuts down is replaced by another sooner or later: that is worth waiting for.
    if (reason === "server_shutdown") return this.#lose({ reason, message, isRestart: true, isSessionOver: true });
    if (this.#over) return;
    this.close();
    this.emit("ended", { reason, message });
  }

  /**
   * @param {Transport} transport
   * @param {RTCPeerConnectionState} state
   */
  #stateChanged(transport, state) {
    if (transport !== this.#transport || this.#over) return;
    this.#watch?.update(state);
    this.emit("state", state);
  }

  /** @param {Transport} transport */
  #watchPath(transport) {
    if (transport !== this.#transport || this.#over) return;
    this.#watch?.stop();
    this.#watch = new PathWatch({
      // The transport may have been replaced meanwhile.
      restartIce: () => transport.restartIce().catch(() => transport === this.#transport && this.#loseMedia()),
      giveUp: () => this.#loseMedia(),
    });
    this.#watch.update(transport.state);
    if (!this.#signaling.isUp) this.#watch.hold();
    this.#watchPulse(transport);
  }

  /** @param {Transport} transport */
  #watchPulse(transport) {
    this.#pulse?.stop();
    this.#pulse = new Pulse({
      count: async () => (transport.state === "connected" ? countersOf(await transport.getStats()) : null),
      doubt: () => this.#signaling.check(),
      dead: () => this.#renewPath(),
    });
  }

  /**
   * Looks for another path before the browser knows that there is none.
   *
   * @returns {boolean} false if that is of no use yet: without messages to the server there may be no network
   */
  #renewPath() {
    if (!this.#signaling.isProven) return false;
    const transport = this.#transport;
    // If there is none, the browser finds out, and `PathWatch` goes on.
    if (transport?.state === "connected") transport.restartIce().catch(() => {});
    return true;
  }

  /** The server has given up our transport; joining again is not needed, another transport is. */
  #replaceTransport() {
    // The event is from before the first offer.
    if (!this.#transport) return;
    const receiving = this.#transport.receivingCounts;
    this.#watch?.stop();
    this.#pulse?.stop();
    this.#transport?.close();
    this.emit("restarted", undefined);
    this.offer(receiving).catch((error) => this.#loseMedia(error));
  }

  /** @param {Partial<CallError>} [error] */
  #loseMedia(error) {
    // A failed worker is not the fault of a network.
    if (error?.code === "worker_failed") return this.#lose({ reason: error.code, message: error.message });
    this.#lose({ reason: "media_failed", message: "Audio and video do not get through to the server." });
  }

  /** @param {Partial<Loss>} loss */
  #loseSignaling(loss) {
    this.#isOut = true;
    this.#lose(loss);
  }

  /** @param {Partial<Loss>} loss */
  #lose(loss) {
    if (this.#over) return;
    this.#over = true;
    this.#watch?.stop();
    this.#pulse?.stop();
    this.#transport?.close();
    if (!this.#isOut) this.#signaling.close();
    this.emit("lost", {
      reason: "connection_lost",
      message: "The connection to the server was lost.",
      isRestart: false,
      isTaken: false,
      isSessionOver: false,
      ...loss,
    });
  }
}
