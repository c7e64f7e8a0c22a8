const MID = "urn:ietf:params:rtp-hdrext:sdes:mid";
const DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/**
 * A peer connection that keeps the rules of RFC 8829 our code depends on, and no media: m-lines get
 * their mid from `setLocalDescription`, an offer is legal only in `stable`, a rollback forgets the
 * mids it gave. What a closed one was asked to do never settles. Its "SDP" is JSON.
 *
 * `held` names operations that do not settle until they are deleted from it and `release` is called.
 */
export class FakePeerConnection extends EventTarget {
  signalingState = "stable";
  connectionState = "new";
  transceivers = [];
  channels = [];
  offers = [];
  closed = false;
  #nextMid = 0;
  /** @type {(() => void)[]} */
  #waiting = [];

  constructor(config, held = new Set()) {
    super();
    this.config = config;
    this.held = held;
  }

  /** Settles when the operation may go on, never once the connection is closed. */
  async #step(name) {
    if (this.held.has(name)) await new Promise((resolve) => this.#waiting.push(resolve));
    if (this.closed) await new Promise(() => {});
  }

  release(name) {
    this.held.delete(name);
    for (const resume of this.#waiting.splice(0)) resume();
  }

  createDataChannel(label, init) {
    const channel = Object.assign(new EventTarget(), { label, init, readyState: "open", sent: [] });
    channel.send = (payload) => channel.sent.push(payload);
    this.channels.push(channel);
    return channel;
  }

  addTransceiver(trackOrKind, init) {
    const kind = typeof trackOrKind === "string" ? trackOrKind : trackOrKind.kind;
    const transceiver = {
      mid: null,
      answered: false,
      stopped: false,
      direction: init.direction,
      encodings: init.sendEncodings ?? [],
      receiver: { track: { kind } },
      sender: {
        track: typeof trackOrKind === "string" ? null : trackOrKind,
        replaceTrack: async (track) => {
          await this.#step("replaceTrack");
          transceiver.sender.track = track;
        },
        getParameters: () => ({ encodings: structuredClone(transceiver.encodings) }),
        setParameters: async ({ encodings }) => void (transceiver.encodings = encodings),
      },
      stop: () => void (transceiver.stopped = true),
      extensions: [MID, DEPENDENCY_DESCRIPTOR].map((uri) => ({ uri, direction: uri === MID ? "sendrecv" : "stopped" })),
      getHeaderExtensionsToNegotiate: () => structuredClone(transceiver.extensions),
      setHeaderExtensionsToNegotiate: (extensions) => void (transceiver.extensions = extensions),
    };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getConfiguration() {
    return { ...this.config };
  }

  setConfiguration(config) {
    this.config = config;
  }

  getTransceivers() {
    return this.transceivers.filter(({ stopped }) => !stopped);
  }

  async createOffer({ iceRestart = false } = {}) {
    await this.#step("createOffer");
    return { type: "offer", iceRestart };
  }

  async setLocalDescription(description) {
    await this.#step("setLocalDescription");
    if (description.type === "rollback") {
      this.signalingState = "stable";
      for (const transceiver of this.transceivers) if (!transceiver.answered) transceiver.mid = null;
      return;
    }
    if (this.signalingState !== "stable") throw new Error("an offer is in flight");
    this.signalingState = "have-local-offer";
    for (const transceiver of this.getTransceivers()) transceiver.mid ??= String(this.#nextMid++);
    const lines = this.getTransceivers().map(({ mid, direction, receiver, encodings }) => ({
      mid,
      direction,
      kind: receiver.track.kind,
      rids: encodings.map(({ rid }) => rid).filter(Boolean),
    }));
    this.localDescription = { type: "offer", sdp: JSON.stringify(lines) };
    this.offers.push({ lines, iceRestart: description.iceRestart });
  }

  async setRemoteDescription() {
    await this.#step("setRemoteDescription");
    if (this.signalingState !== "have-local-offer") throw new Error("no offer to answer");
    this.signalingState = "stable";
    for (const transceiver of this.getTransceivers()) transceiver.answered ||= transceiver.mid !== null;
  }

  async getStats() {
    await this.#step("getStats");
    return new Map();
  }

  close() {
    this.closed = true;
  }

  become(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }
}

/** A WebSocket whose other end is the test: `receive` what the server says, `said` is what we said. */
export class FakeWebSocket extends EventTarget {
  readyState = 0;
  said = [];
  /** @type {(message: any, socket: FakeWebSocket) => void} */
  onsaid = () => {};

  constructor(url) {
    super();
    this.url = url;
  }

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  send(frame) {
    const message = JSON.parse(frame);
    // Pings go on all the time, and say nothing of what is being tested.
    if (message.type !== "ping") this.said.push(message);
    this.onsaid(message, this);
  }

  receive(message) {
    this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
  }

  close() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code: 1006 }));
  }
}

export function fakeTrack(kind, { height } = {}) {
  const settings = height ? { width: (height * 16) / 9, height } : {};
  return { kind, enabled: true, getSettings: () => settings };
}

/** Answers as the server does: every `recvonly` m-line of the offer is a free slot unless pointed. */
export function answerTo(sdp, { point = {}, needs = { audio: 0, video: 0 }, tracks = [] } = {}) {
  const slots = JSON.parse(sdp)
    .filter(({ direction }) => direction === "recvonly")
    .map(({ mid, kind }) => ({ mid, kind, track: point[mid] ?? null }));
  const published = tracks.map(({ mid, source }) => ({ mid, track: `own-${source}` }));
  return { type: "answer", sdp: "answer", published, slots, needs };
}

/** Lets everything that is ready run. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}
