import { callKey } from "./encryption-key.js";
import { CallError } from "./errors.js";

/**
 * @import { CallKey, EncryptionSecret } from "./encryption-key.js"
 * @import { Outcome } from "./frame-crypto.js"
 * @import { Participant } from "./roster.js"
 */

/**
 * How somebody's sound and pictures come to us in an encrypted call: `decrypted`; `otherKey`: their key is not ours;
 * `noKey`: they have none, and send in the clear; `keyMissing`: they have one, and we have none; `waiting`: they have our
 * key, and nothing has come yet. Nothing is played of `otherKey`, `noKey` and `keyMissing`.
 *
 * @typedef {Outcome | "keyMissing"} EncryptionState
 *
 * @typedef {{ type: "key", baseKey: CryptoKey } | { type: "formats", formats: Map<number, string> }
 *   | { type: "restart", receiver: number }} ToWorker
 * @typedef {{ type: "ready" } | { type: "outcome", receiver: number, outcome: Outcome }
 *   | { type: "unknownFormat", mimeType: string }} FromWorker
 */

/** The field of a participant's metadata that says which key they have: its check, which tells no more of it. */
const ANNOUNCED = "sframe";
/** A worker that has not answered by then cannot be loaded. Browsers do not always say so. */
const START_PATIENCE_MS = 10_000;

/**
 * Encrypts what we send and decrypts what we receive, in a worker. Each track is put through it before it is negotiated,
 * so that nothing leaves in the clear.
 */
export class Encryption {
  #options;
  /** @type {Worker | null} */
  #worker = null;
  /** @type {CallKey | null} */
  #key = null;
  /** @type {Map<number, RTCRtpReceiver>} by their numbers for the worker */
  #receivers = new Map();
  #lastNumber = 0;
  /** @type {WeakMap<RTCRtpReceiver, Outcome>} */
  #outcomes = new WeakMap();
  /** @type {Map<string, unknown>} by participant id, the check with which they could not be decrypted */
  #hopeless = new Map();

  /**
   * @param {object} options
   * @param {() => void} options.onOutcome called when the outcome of a receiver has changed
   * @param {(error: CallError) => void} options.onError called when something of ours is not sent
   * @param {() => Worker} [options.startWorker] for tests
   */
  constructor(options) {
    this.#options = options;
  }

  /**
   * @param {EncryptionSecret} secret
   * @param {string} room
   * @returns {Promise<void>} rejected with `encryption_unsupported`, `encryption_failed` or `bad_key`
   */
  async start(secret, room) {
    if (!("RTCRtpScriptTransform" in globalThis) || !globalThis.crypto?.subtle) throw unsupported();
    const key = await callKey(secret, room);
    const { startWorker = loadWorker } = this.#options;
    this.#worker = startWorker();
    this.#worker.addEventListener("message", ({ data }) => this.#heard(data));
    await this.#give(this.#worker, key);
    this.#worker.addEventListener("error", () => this.#options.onError(failed()));
  }

  /**
   * Changes to another key at once. What others still send with the one before is decrypted for some seconds more.
   *
   * @param {EncryptionSecret} secret
   * @param {string} room
   */
  async change(secret, room) {
    const key = await callKey(secret, room);
    if (this.#worker) await this.#give(this.#worker, key);
    this.#hopeless.clear();
  }

  /** @param {RTCRtpSender} sender that sends nothing yet */
  encrypt(sender) {
    this.#through(sender, null);
  }

  /** @param {RTCRtpReceiver} receiver */
  decrypt(receiver) {
    const number = (this.#lastNumber += 1);
    this.#receivers.set(number, receiver);
    this.#through(receiver, number);
  }

  /** @param {RTCRtpReceiver} receiver that carries another track now */
  restart(receiver) {
    for (const [number, each] of this.#receivers) if (each === receiver) this.#say({ type: "restart", receiver: number });
  }

  /**
   * Learns the formats of a session. Firefox tells only the payload type of a frame.
   *
   * @param {string} sdp
   */
  learnFormats(sdp) {
    /** @type {Map<number, string>} */
    const formats = new Map();
    for (const section of sdp.split(/^(?=m=)/m)) {
      const kind = /^m=(audio|video) /.exec(section)?.[1];
      if (!kind) continue;
      for (const [, payloadType, name] of section.matchAll(/^a=rtpmap:(\d+) ([^/\s]+)\//gm)) formats.set(Number(payloadType), `${kind}/${name}`);
    }
    this.#say({ type: "formats", formats });
  }

  /** Forgets the receivers of a transport that is gone. */
  forgetReceivers() {
    this.#receivers.clear();
  }

  close() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#receivers.clear();
  }

  /**
   * @param {Record<string, unknown>} [metadata] ours
   * @returns {Record<string, unknown>} with the check of our key
   */
  announce(metadata = {}) {
    const check = this.#key?.check;
    return metadata[ANNOUNCED] === check ? metadata : { ...metadata, [ANNOUNCED]: check };
  }

  /**
   * @param {Participant} participant
   * @param {(trackId: string) => RTCRtpReceiver | null} receiverOf
   * @returns {EncryptionState}
   */
  stateOf(participant, receiverOf) {
    const outcomes = [...participant.tracks.keys()].map((trackId) => {
      const receiver = receiverOf(trackId);
      return receiver && this.#outcomes.get(receiver);
    });
    // Frames are evidence; what is announced is only said.
    for (const outcome of /** @type {const} */ (["otherKey", "noKey", "decrypted"])) if (outcomes.includes(outcome)) return outcome;
    if (!isAnnounced(participant)) return "noKey";
    return participant.metadata[ANNOUNCED] === this.#key?.check ? "waiting" : "otherKey";
  }

  /**
   * Whether neither frames nor announcements let us expect that anything of somebody will be decrypted. Their pictures are
   * not asked for then: a decoder that gets none asks for keyframes without end, at the cost of everybody else.
   *
   * @param {Participant} participant
   * @param {EncryptionState} state as of now
   * @param {(trackId: string) => RTCRtpReceiver | null} receiverOf
   */
  isHopeless({ id, tracks, metadata }, state, receiverOf) {
    const announced = metadata[ANNOUNCED];
    if (state === "decrypted" || announced === this.#key?.check) this.#hopeless.delete(id);
    const failed = [...tracks.keys()].some((trackId) => {
      const receiver = receiverOf(trackId);
      const outcome = receiver && this.#outcomes.get(receiver);
      return outcome === "otherKey" || outcome === "noKey";
    });
    if (failed && announced !== this.#key?.check) this.#hopeless.set(id, announced);
    return this.#hopeless.has(id) && this.#hopeless.get(id) === announced;
  }

  /** @param {string} participantId of somebody who has left */
  forget(participantId) {
    this.#hopeless.delete(participantId);
  }

  /**
   * @param {RTCRtpSender | RTCRtpReceiver} end
   * @param {number | null} receiver
   */
  #through(end, receiver) {
    if (!this.#worker) throw failed();
    end.transform = new RTCRtpScriptTransform(this.#worker, { receiver });
  }

  /**
   * @param {Worker} worker
   * @param {CallKey} key
   * @returns {Promise<void>} once it uses the key
   */
  async #give(worker, key) {
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(failed()), START_PATIENCE_MS);
      const settle = (/** @type {Event} */ event) => {
        if (event.type === "message" && /** @type {MessageEvent<FromWorker>} */ (event).data.type !== "ready") return;
        clearTimeout(timer);
        worker.removeEventListener("message", settle);
        worker.removeEventListener("error", settle);
        if (event.type === "error") reject(failed());
        else resolve(undefined);
      };
      worker.addEventListener("message", settle);
      worker.addEventListener("error", settle);
      worker.postMessage(/** @satisfies {ToWorker} */ ({ type: "key", baseKey: key.baseKey }));
    });
    this.#key = key;
  }

  /** @param {ToWorker} message */
  #say(message) {
    this.#worker?.postMessage(message);
  }

  /** @param {FromWorker} message */
  #heard(message) {
    if (message.type === "unknownFormat") {
      const format = message.mimeType || "one that the browser does not name";
      return this.#options.onError(new CallError("format_not_encryptable", `This format cannot be encrypted, so it is not sent: ${format}.`));
    }
    if (message.type !== "outcome") return;
    const receiver = this.#receivers.get(message.receiver);
    if (!receiver) return;
    this.#outcomes.set(receiver, message.outcome);
    this.#options.onOutcome();
  }
}

/**
 * @param {Participant} participant
 * @returns {boolean} whether they say that they encrypt
 */
export function isAnnounced({ metadata }) {
  return metadata[ANNOUNCED] !== undefined;
}

/** @param {EncryptionState | null} state @returns {boolean} whether nothing of it may be played */
export function isUnreadable(state) {
  return state === "otherKey" || state === "noKey" || state === "keyMissing";
}

function loadWorker() {
  return new Worker(new URL("./encryption-worker.js", import.meta.url), { type: "module" });
}

function unsupported() {
  const why =
    globalThis.isSecureContext === false
      ? "Browsers encrypt calls only on pages loaded over https or from localhost."
      : "This browser cannot encrypt calls: it has no encoded transforms (RTCRtpScriptTransform).";
  return new CallError("encryption_unsupported", why, { fatal: true });
}

function failed() {
  return new CallError("encryption_failed", "The part of the page that encrypts the call does not work.", { fatal: true });
}
