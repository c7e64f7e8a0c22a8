import { toBase64Url } from "./base64url.js";
import { CallError } from "./errors.js";
import { expand } from "./sframe.js";

/** @import { Bytes } from "./sframe.js" */

/**
 * The secret that everybody of an encrypted call has: a key, as `createKey` makes and links carry, or a passphrase.
 *
 * @typedef {{ key: string } | { passphrase: string }} EncryptionSecret
 *
 * @typedef {object} CallKey
 * @property {CryptoKey} baseKey of SFrame, not to be read by the page any more
 * @property {string} check tells keys apart and says nothing else of them
 */

/** Bytes of a new key: AES-128 is what it is for. */
const KEY_BYTES = 16;
/** Bytes of a given one. */
const LONGEST_KEY = 64;
/** Rounds of PBKDF2 with SHA-256: OWASP's advice of 2023. About 0.2 s. */
export const PASSPHRASE_ROUNDS = 600_000;
/** Bytes of a check: two keys of a room differ in it. */
const CHECK_BYTES = 6;

/** @returns {string} a new key, 128 random bits as base64url */
export function createKey() {
  return toBase64Url(crypto.getRandomValues(new Uint8Array(KEY_BYTES)));
}

/**
 * @param {string} text
 * @returns {boolean} whether it is a key, as links carry it: 128 to 512 bits as base64url
 */
export function isKey(text) {
  return bytesOfKey(text) !== null;
}

/**
 * @param {EncryptionSecret} secret
 * @param {string} room the salt of a passphrase, so that one for two rooms makes two keys
 * @returns {Promise<CallKey>} rejected with `bad_key`
 */
export async function callKey(secret, room) {
  const bytes = "key" in secret ? bytesOfKey(secret.key) : await stretch(secret.passphrase, room);
  if (bytes === null) throw new CallError("bad_key", "The key of this call is cut off or mistyped.", { fatal: true });
  const baseKey = await crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveBits"]);
  const check = await expand(baseKey, new TextEncoder().encode("Tertulia 1.0 Key check"), CHECK_BYTES);
  return { baseKey, check: toBase64Url(check) };
}

/**
 * @param {string} passphrase
 * @param {string} room
 * @returns {Promise<Bytes | null>}
 */
async function stretch(passphrase, room) {
  // Two ways to type one letter are one passphrase.
  const typed = new TextEncoder().encode(passphrase.normalize("NFC"));
  if (typed.length === 0) return null;
  const material = await crypto.subtle.importKey("raw", typed, "PBKDF2", false, ["deriveBits"]);
  const salt = new TextEncoder().encode(`Tertulia 1.0 Passphrase ${room}`);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations: PASSPHRASE_ROUNDS };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, material, KEY_BYTES * 8));
}

/** @param {string} text */
function bytesOfKey(text) {
  if (!/^[\w-]+$/.test(text) || text.length > LONGEST_KEY * 2) return null;
  try {
    const decoded = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(decoded, (char) => char.charCodeAt(0));
    return bytes.length >= KEY_BYTES && bytes.length <= LONGEST_KEY ? bytes : null;
  } catch {
    return null;
  }
}
