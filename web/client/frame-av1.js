/** @import { Bytes } from "./sframe.js" */
import { joined } from "./sframe.js";

/**
 * OBUs that stay readable (AV1 section 6.2.2): the sequence header, by which keyframes are known, and those that carry no
 * picture and that packetizers leave out.
 */
const SEQUENCE_HEADER = 1;
const TEMPORAL_DELIMITER = 2;
const PADDING = 15;
const READABLE = [SEQUENCE_HEADER, TEMPORAL_DELIMITER, PADDING];

/** Bits of an OBU header (section 5.3.2). */
const FORBIDDEN = 0x80;
const EXTENSION = 0x04;
const HAS_SIZE = 0x02;
/** Bytes of a size at most (section 4.10.5). */
const SIZE_BYTES = 8;

/**
 * @typedef {{ header: Bytes, payload: Bytes }} Obu `header`: one or two bytes, without the size
 */

/**
 * The parts of a frame.
 *
 * @param {Bytes} frame
 * @returns {Obu[] | null} null if the frame is not made of whole OBUs
 */
export function obus(frame) {
  const found = [];
  for (let at = 0; at < frame.length; ) {
    if (frame[at] & FORBIDDEN) return null;
    const headerEnd = at + (frame[at] & EXTENSION ? 2 : 1);
    const header = frame.subarray(at, headerEnd);
    const size = frame[at] & HAS_SIZE ? readSize(frame, headerEnd) : { value: frame.length - headerEnd, end: headerEnd };
    if (size === null || size.value < 0 || size.end + size.value > frame.length) return null;
    at = size.end + size.value;
    found.push({ header, payload: frame.subarray(size.end, at) });
  }
  return found;
}

/**
 * Encrypts the payload of each OBU of a picture by itself. Packetizers take frames apart into OBUs and take away their
 * sizes, so headers stay readable.
 *
 * @param {Bytes} frame
 * @param {(metadata: Bytes, plaintext: Bytes) => Promise<Bytes>} seal
 */
export async function sealAv1(frame, seal) {
  return eachPayload(frame, seal);
}

/**
 * @param {Bytes} frame
 * @param {(metadata: Bytes, unit: Bytes) => Promise<Bytes | null>} open
 */
export async function openAv1(frame, open) {
  return eachPayload(frame, open);
}

/**
 * @param {Bytes} frame
 * @param {(metadata: Bytes, payload: Bytes) => Promise<Bytes | null>} change
 * @returns {Promise<Bytes | null>} null without a picture, or if a part of it cannot be changed
 */
async function eachPayload(frame, change) {
  const parts = obus(frame);
  if (!parts?.some(isOfPicture)) return null;
  const changed = [];
  for (const part of parts) {
    // On the way the size comes and goes, and with it the bit that tells of it.
    const metadata = part.header.slice();
    metadata[0] &= ~HAS_SIZE;
    const payload = isOfPicture(part) ? await change(metadata, part.payload) : part.payload;
    if (payload === null) return null;
    metadata[0] |= HAS_SIZE;
    changed.push(metadata, sizeOf(payload.length), payload);
  }
  return joined(...changed);
}

/** @param {Obu} obu */
function isOfPicture({ header }) {
  return !READABLE.includes((header[0] >> 3) & 0x0f);
}

/**
 * @param {Bytes} frame
 * @param {number} at
 */
function readSize(frame, at) {
  let value = 0;
  for (let index = 0; index < SIZE_BYTES; index += 1) {
    const byte = frame[at + index];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if ((byte & 0x80) === 0) return { value, end: at + index + 1 };
  }
  return null;
}

/** @param {number} length */
function sizeOf(length) {
  const bytes = [];
  for (let rest = length; ; rest >>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}
