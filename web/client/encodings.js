import { CallError } from "./errors.js";

/** @import { LayerWanted } from "./protocol.js" */

/** A description that is being applied makes parameters stale; then they are read again. */
const ATTEMPTS = 3;

/**
 * Switches the encodings of senders off and on as the relay wants, leaving everything else of a sender's parameters as
 * it is. A sender has one change at a time; a wish that comes meanwhile is followed afterwards.
 */
export class Encodings {
  /** @type {Map<RTCRtpSender, readonly LayerWanted[] | null>} null for all on */
  #wanted = new Map();
  /** @type {Set<RTCRtpSender>} */
  #busy = new Set();
  #onError;

  /** @param {(error: CallError) => void} onError */
  constructor(onError) {
    this.#onError = onError;
  }

  /**
   * @param {RTCRtpSender} sender
   * @param {readonly LayerWanted[] | null} layers null for all of them
   */
  want(sender, layers) {
    this.#wanted.set(sender, layers);
    return this.#follow(sender);
  }

  /** Once more, after a negotiation, which may have been in the way. */
  async again() {
    await Promise.all([...this.#wanted.keys()].map((sender) => this.#follow(sender)));
  }

  /** @param {RTCRtpSender} sender */
  async #follow(sender) {
    if (this.#busy.has(sender)) return;
    this.#busy.add(sender);
    try {
      for (let failures = 0; failures < ATTEMPTS; ) {
        const parameters = sender.getParameters();
        if (!change(parameters.encodings ?? [], this.#wanted.get(sender) ?? null)) return;
        try {
          await sender.setParameters(parameters);
        } catch (cause) {
          failures += 1;
          if (failures === ATTEMPTS) {
            throw new CallError("layers_failed", "The browser would not switch what it sends of a camera.", { cause });
          }
        }
      }
    } catch (error) {
      this.#onError(/** @type {CallError} */ (error));
    } finally {
      this.#busy.delete(sender);
    }
  }
}

/**
 * @param {RTCRtpEncodingParameters[]} encodings
 * @param {readonly LayerWanted[] | null} layers
 * @returns {boolean} whether anything had to change
 */
function change(encodings, layers) {
  let changed = false;
  for (const encoding of encodings) {
    // A single stream has a single wish, whatever either side calls it.
    const single = encodings.length === 1 && layers?.length === 1;
    const wish = single ? layers[0] : layers?.find(({ rid }) => rid === (encoding.rid ?? null));
    // An encoding that the relay does not mention is sent rather than missing.
    const active = wish?.active ?? true;
    if ((encoding.active ?? true) === active) continue;
    encoding.active = active;
    changed = true;
  }
  return changed;
}
