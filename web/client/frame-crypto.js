import { openFrame, sealFrame } from "./frame-format.js";
import { deriveSenderKey, open, readHeader, seal, TAG_BYTES } from "./sframe.js";

/**
 * @import { Bytes, Header, SenderKey } from "./sframe.js"
 */

/**
 * Units encrypted under one KID. AES-GCM may be used 2^32 times with a key (NIST SP 800-38D section 8.3); counters also
 * fit 32 bits then.
 */
const UNITS_PER_KID = 2 ** 32 - 1;
/** All our KIDs have eight bytes, by which encrypted frames are recognised. */
const KID_TOP_BIT = 1n << 63n;
/** KIDs whose keys are kept: more people than a room can show, with two reloads each. */
const KEYS_KEPT = 1_024;
/** Senders whose counters are kept for each receiver: an m-line carries one at a time. */
const SENDERS_KEPT = 16;
/** KIDs whose latest counter is kept for each receiver after that, so that what was recorded of them is not played again. */
const HIGHEST_KEPT = 4_096;
/** Units of one sender that may overtake another: six seconds of sound and three layers of video. */
const REORDERED = 2_048;
/** Failures without a success between them, after which a track is told to be undecryptable: no lost packet explains more. */
const FAILURES = 3;

/**
 * What becomes of the frames that arrive: `decrypted`; `otherKey`, encrypted with a key that is not ours; `noKey`, not
 * encrypted; `waiting`, nothing to judge by yet.
 *
 * @typedef {"waiting" | "decrypted" | "otherKey" | "noKey"} Outcome
 */

/**
 * Encrypts everything that we send. No nonce repeats: a nonce is made of a KID's salt and a counter. The KID is drawn at
 * random for each `Sealer`, so for each page load and each key, and its counter only grows; it is taken before anything
 * is awaited, so that tracks encrypted at the same time do not share one.
 */
export class Sealer {
  #baseKey;
  #unitsPerKid;
  #kid = 0n;
  #count = 0;
  /** @type {Promise<SenderKey>} */
  #senderKey;

  /**
   * @param {CryptoKey} baseKey
   * @param {number} [unitsPerKid] for tests
   */
  constructor(baseKey, unitsPerKid = UNITS_PER_KID) {
    this.#baseKey = baseKey;
    this.#unitsPerKid = unitsPerKid;
    this.#senderKey = this.#renew();
  }

  /**
   * @param {string} mimeType a known one
   * @param {Bytes} frame
   * @returns {Promise<Bytes | null>}
   */
  seal(mimeType, frame) {
    return sealFrame(mimeType, frame, (metadata, plaintext) => this.#unit(metadata, plaintext));
  }

  /**
   * @param {Bytes} metadata
   * @param {Bytes} plaintext
   */
  async #unit(metadata, plaintext) {
    if (this.#count === this.#unitsPerKid) this.#senderKey = this.#renew();
    const [kid, ctr, senderKey] = [this.#kid, BigInt(this.#count), this.#senderKey];
    this.#count += 1;
    return seal(await senderKey, kid, ctr, metadata, plaintext);
  }

  #renew() {
    const [random] = crypto.getRandomValues(new BigUint64Array(1));
    this.#kid = random | KID_TOP_BIT;
    this.#count = 0;
    return deriveSenderKey(this.#baseKey, this.#kid);
  }
}

/** The keys of senders, by KID. Only those that have decrypted something are kept: anybody can make up KIDs. */
export class KeyRing {
  #baseKey;
  /** @type {Map<bigint, SenderKey>} the latest at the end */
  #kept = new Map();

  /** @param {CryptoKey} baseKey */
  constructor(baseKey) {
    this.#baseKey = baseKey;
  }

  /** How many are kept. */
  get size() {
    return this.#kept.size;
  }

  /**
   * @param {Header} header
   * @param {Bytes} metadata
   * @param {Bytes} unit
   */
  async open(header, metadata, unit) {
    const { kid } = header;
    const senderKey = this.#kept.get(kid) ?? (await deriveSenderKey(this.#baseKey, kid));
    const plaintext = await open(senderKey, header, metadata, unit);
    if (plaintext) keepLatest(this.#kept, kid, senderKey, KEYS_KEPT);
    return plaintext;
  }
}

/** Decrypts the frames of one receiver, drops those that do not authenticate or come twice, and judges what comes. */
export class Reception {
  #onOutcome;
  /** @type {Map<bigint, Uint32Array>} by KID, the counters seen, each plus one and at its place modulo the length */
  #seen = new Map();
  /** @type {Map<bigint, number>} by KID of a sender whose counters are not kept any more, the highest one plus one */
  #highest = new Map();
  /** @type {Outcome} */
  #outcome = "waiting";
  #failures = 0;
  /** @type {bigint | null} the KID of the latest unit that failed */
  #failedKid = null;

  /** @param {(outcome: Outcome) => void} onOutcome called with each other outcome */
  constructor(onOutcome) {
    this.#onOutcome = onOutcome;
  }

  /** Begins to judge anew: another track arrives. */
  restart() {
    this.#failures = 0;
    this.#failedKid = null;
    this.#become("waiting");
  }

  /**
   * @param {KeyRing[]} rings of our key, and of the one before it
   * @param {string} mimeType a known one
   * @param {Bytes} frame
   * @returns {Promise<Bytes | null>} null for a frame to be dropped
   */
  async open(rings, mimeType, frame) {
    let wasSeen = false;
    /** @type {bigint | null} */
    let kid = null;
    const opened = await openFrame(mimeType, frame, async (metadata, unit) => {
      const header = readHeader(unit);
      if (header === null || (header.kid & KID_TOP_BIT) === 0n || unit.length < header.length + TAG_BYTES) return null;
      kid = header.kid;
      for (const ring of rings) {
        const plaintext = await ring.open(header, metadata, unit);
        if (plaintext === null) continue;
        // Asked only now: what does not authenticate must leave no trace.
        if (this.#isNew(header)) return plaintext;
        wasSeen = true;
        return null;
      }
      return null;
    });
    if (opened) this.#succeeded();
    // A copy says nothing about the key.
    else if (!wasSeen) this.#failed(kid);
    return opened;
  }

  /**
   * @param {Header} header
   * @returns {boolean} false for a unit that has come before, or that comes after too many later ones
   */
  #isNew({ kid, ctr }) {
    const seen = this.#seen.get(kid) ?? this.#again(kid);
    const dropped = keepLatest(this.#seen, kid, seen, SENDERS_KEPT);
    if (dropped) keepLatest(this.#highest, dropped[0], dropped[1].reduce((most, each) => Math.max(most, each)), HIGHEST_KEPT);
    const count = Number(ctr) + 1;
    const place = count % REORDERED;
    if (count > UNITS_PER_KID || seen[place] >= count) return false;
    seen[place] = count;
    return true;
  }

  /**
   * @param {bigint} kid of a sender who is new, or whose counters are not kept any more
   * @returns {Uint32Array} counters as if everything up to the highest one had come
   */
  #again(kid) {
    return new Uint32Array(REORDERED).fill(this.#highest.get(kid) ?? 0);
  }

  #succeeded() {
    this.#failures = 0;
    this.#failedKid = null;
    this.#become("decrypted");
  }

  /** @param {bigint | null} kid null for a frame that is not encrypted */
  #failed(kid) {
    this.#failures += 1;
    // What is no KID differs from frame to frame.
    const isEncrypted = kid !== null && kid === this.#failedKid;
    this.#failedKid = kid;
    if (this.#failures >= FAILURES) this.#become(isEncrypted ? "otherKey" : "noKey");
  }

  /** @param {Outcome} outcome */
  #become(outcome) {
    if (outcome === this.#outcome) return;
    this.#outcome = outcome;
    this.#onOutcome(outcome);
  }
}

/**
 * @template Value
 * @param {Map<bigint, Value>} map
 * @param {bigint} key
 * @param {Value} value
 * @param {number} most
 * @returns {[bigint, Value] | null} what is not kept any more
 */
function keepLatest(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size <= most) return null;
  const [oldest] = map;
  map.delete(oldest[0]);
  return oldest;
}
