/**
 * SFrame (RFC 9605), cipher suite AES_128_GCM_SHA256_128: encrypted and authenticated units with a header that names the
 * sender's key (KID) and the unit's number (CTR).
 *
 * @typedef {Uint8Array<ArrayBuffer>} Bytes
 * @typedef {{ kid: bigint, ctr: bigint, length: number }} Header `length`: of the header itself, in bytes
 * @typedef {{ key: CryptoKey, salt: Bytes }} SenderKey what a KID stands for
 */

/** AES_128_GCM_SHA256_128 in the registry of section 8.1. */
const SUITE = 4;
/** Bytes of key (Nk), of nonce (Nn) and of authentication tag (Nt) in that suite (section 4.5). */
const KEY_BYTES = 16;
const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

/**
 * Writes a header (section 4.3).
 *
 * @param {bigint} kid 64 bits
 * @param {bigint} ctr 64 bits
 * @returns {Bytes}
 */
export function writeHeader(kid, ctr) {
  const [k, c] = [field(kid), field(ctr)];
  return new Uint8Array([(k.code << 4) | c.code, ...k.bytes, ...c.bytes]);
}

/**
 * @param {Bytes} unit
 * @returns {Header | null} null if it is cut off
 */
export function readHeader(unit) {
  if (unit.length === 0) return null;
  const [k, c] = [unit[0] >> 4, unit[0] & 0x0f];
  const kidEnd = 1 + bytesFor(k);
  const length = kidEnd + bytesFor(c);
  if (unit.length < length) return null;
  return { kid: value(k, unit.subarray(1, kidEnd)), ctr: value(c, unit.subarray(kidEnd, length)), length };
}

/** Values up to 7 stand in the four bits themselves; others there say how many bytes follow. */
const EXTENDED = 8;

/** @param {bigint} number */
function field(number) {
  if (number < EXTENDED) return { code: Number(number), bytes: [] };
  const bytes = [];
  for (let rest = number; rest > 0n; rest >>= 8n) bytes.unshift(Number(rest & 0xffn));
  return { code: EXTENDED | (bytes.length - 1), bytes };
}

/** @param {number} code */
function bytesFor(code) {
  return code < EXTENDED ? 0 : (code & 7) + 1;
}

/**
 * @param {number} code
 * @param {Bytes} bytes
 */
function value(code, bytes) {
  return code < EXTENDED ? BigInt(code) : bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/**
 * Derives what a KID stands for (section 4.4.2). Each KID has a key and a salt of its own.
 *
 * @param {CryptoKey} baseKey for HKDF
 * @param {bigint} kid
 * @returns {Promise<SenderKey>}
 */
export async function deriveSenderKey(baseKey, kid) {
  const [key, salt] = await Promise.all([
    expand(baseKey, label("SFrame 1.0 Secret key ", kid), KEY_BYTES),
    expand(baseKey, label("SFrame 1.0 Secret salt ", kid), NONCE_BYTES),
  ]);
  return { key: await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]), salt };
}

/**
 * HKDF with SHA-256 (RFC 5869), without a salt.
 *
 * @param {CryptoKey} key
 * @param {Bytes} info
 * @param {number} bytes
 * @returns {Promise<Bytes>}
 */
export async function expand(key, info, bytes) {
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, bytes * 8));
}

/**
 * @param {string} words
 * @param {bigint} kid
 * @returns {Bytes}
 */
function label(words, kid) {
  const text = new TextEncoder().encode(words);
  const bytes = new Uint8Array(text.length + 10);
  bytes.set(text);
  const view = new DataView(bytes.buffer, text.length);
  view.setBigUint64(0, kid);
  view.setUint16(8, SUITE);
  return bytes;
}

/**
 * Encrypts a unit (section 4.4.3). One pair of KID and CTR may never be used twice.
 *
 * @param {SenderKey} senderKey
 * @param {bigint} kid
 * @param {bigint} ctr
 * @param {Bytes} metadata authenticated with it, and not in it
 * @param {Bytes} plaintext
 * @returns {Promise<Bytes>} the header and the ciphertext
 */
export async function seal({ key, salt }, kid, ctr, metadata, plaintext) {
  const header = writeHeader(kid, ctr);
  const sealed = await crypto.subtle.encrypt(parameters(salt, ctr, header, metadata), key, plaintext);
  return joined(header, new Uint8Array(sealed));
}

/**
 * Decrypts a unit (section 4.4.4).
 *
 * @param {SenderKey} senderKey of the header's KID
 * @param {Header} header as `readHeader` found it
 * @param {Bytes} metadata
 * @param {Bytes} unit
 * @returns {Promise<Bytes | null>} null if it does not authenticate
 */
export async function open({ key, salt }, { ctr, length }, metadata, unit) {
  const algorithm = parameters(salt, ctr, unit.subarray(0, length), metadata);
  try {
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, unit.subarray(length)));
  } catch {
    return null;
  }
}

/**
 * @param {Bytes} salt
 * @param {bigint} ctr
 * @param {Bytes} header
 * @param {Bytes} metadata
 */
function parameters(salt, ctr, header, metadata) {
  const iv = salt.slice();
  const view = new DataView(iv.buffer);
  view.setBigUint64(NONCE_BYTES - 8, view.getBigUint64(NONCE_BYTES - 8) ^ ctr);
  return { name: "AES-GCM", iv, additionalData: joined(header, metadata), tagLength: TAG_BYTES * 8 };
}

/**
 * @param {...(Bytes | readonly number[])} parts
 * @returns {Bytes}
 */
export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
