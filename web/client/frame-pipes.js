import { KeyRing, Reception, Sealer } from "./frame-crypto.js";
import { isKnown } from "./frame-format.js";

/**
 * @import { FromWorker, ToWorker } from "./encryption.js"
 * @import { Bytes } from "./sframe.js"
 */

/** Time for which a key before ours still decrypts: others hear of a change a little earlier or later. */
const FORMER_KEY_MS = 10_000;

/**
 * As in WebRTC Encoded Transform; the type checker knows either pages or workers.
 *
 * @typedef {{ data: ArrayBuffer, getMetadata(): { mimeType?: string, payloadType?: number } }} EncodedFrame
 * @typedef {object} Transformer
 * @property {ReadableStream<EncodedFrame>} readable
 * @property {WritableStream<EncodedFrame>} writable
 * @property {{ receiver: number | null }} options the receiver's number; null for a sender
 */

/** The frames of all senders and receivers of a call, on their way through a worker. */
export class FramePipes {
  #say;
  /** @type {Sealer | null} one for everything that we send, so that no nonce is used twice */
  #sealer = null;
  /** @type {KeyRing[]} of our key, and for a while of the one before it */
  #rings = [];
  /** @type {Map<number, Reception>} by the receivers' numbers */
  #receptions = new Map();
  /** @type {Map<number, string>} by payload type, for browsers that tell no more of a frame */
  #formats = new Map();
  /** @type {Set<string>} formats without a rule for their encryption, each told once */
  #unknown = new Set();

  /** @param {(message: FromWorker) => void} say */
  constructor(say) {
    this.#say = say;
  }

  /** @param {ToWorker} message */
  hear(message) {
    switch (message.type) {
      case "key":
        this.#use(message.baseKey);
        return this.#say({ type: "ready" });
      case "formats":
        this.#formats = message.formats;
        return undefined;
      case "restart":
        return this.#receptions.get(message.receiver)?.restart();
    }
  }

  /**
   * Lets the frames of a sender or a receiver through, changed. A frame that cannot be encrypted is dropped, so that
   * nothing is sent in the clear, and one that does not authenticate is too, so that nothing else is shown.
   *
   * @param {Transformer} transformer
   * @returns {Promise<void>} settled at the end of the sender or the receiver
   */
  async connect({ readable, writable, options: { receiver } }) {
    const change = receiver === null ? this.#encrypt : this.#decrypt(receiver);
    const frames = new TransformStream({
      transform: async (/** @type {EncodedFrame} */ frame, controller) => {
        // An error here would end the track for good.
        const changed = await change(frame).catch(() => null);
        if (changed === null) return;
        frame.data = changed.length === changed.buffer.byteLength ? changed.buffer : changed.slice().buffer;
        controller.enqueue(frame);
      },
    });
    try {
      await readable.pipeThrough(frames).pipeTo(writable);
    } catch {
      // Closed.
    } finally {
      if (receiver !== null) this.#receptions.delete(receiver);
    }
  }

  /** @param {CryptoKey} baseKey */
  #use(baseKey) {
    this.#sealer = new Sealer(baseKey);
    const [former] = this.#rings;
    this.#rings = [new KeyRing(baseKey), ...(former ? [former] : [])];
    if (former) setTimeout(() => (this.#rings = this.#rings.filter((ring) => ring !== former)), FORMER_KEY_MS);
  }

  /** @param {EncodedFrame} frame @returns {Promise<Bytes | null>} */
  #encrypt = async (frame) => {
    const mimeType = this.#formatOf(frame);
    return mimeType === null || this.#sealer === null ? null : this.#sealer.seal(mimeType, new Uint8Array(frame.data));
  };

  /** @param {number} receiver */
  #decrypt(receiver) {
    const reception = new Reception((outcome) => this.#say({ type: "outcome", receiver, outcome }));
    this.#receptions.set(receiver, reception);
    return async (/** @type {EncodedFrame} */ frame) => {
      const mimeType = this.#formatOf(frame);
      return mimeType === null ? null : reception.open(this.#rings, mimeType, new Uint8Array(frame.data));
    };
  }

  /** @param {EncodedFrame} frame */
  #formatOf(frame) {
    const { payloadType = -1, mimeType = this.#formats.get(payloadType) ?? "" } = frame.getMetadata();
    if (isKnown(mimeType)) return mimeType;
    if (!this.#unknown.has(mimeType)) this.#say({ type: "unknownFormat", mimeType });
    this.#unknown.add(mimeType);
    return null;
  }
}
