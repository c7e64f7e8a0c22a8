/** @import { Bytes } from "./sframe.js" */
import { joined } from "./sframe.js";

/** Coded slices of a picture (ITU-T H.264 section 7.4.1); all others say only how to decode them. */
const FIRST_SLICE = 1;
const LAST_SLICE = 5;
const START = Object.freeze([0, 0, 0, 1]);
/** The end of each encrypted slice: a unit that ended in zeros would lose them (section B.1). */
const END = 0x80;
/** Leading zeros of a number in a slice header at most: it has 32 bits. */
const ZEROS = 31;

/**
 * The parts of a frame: NAL units between start codes (Annex B).
 *
 * @param {Bytes} frame
 * @returns {Bytes[]} each without its start code
 */
export function nalUnits(frame) {
  const units = [];
  let begin = -1;
  for (let at = 0; at + 2 < frame.length; ) {
    if (frame[at] !== 0 || frame[at + 1] !== 0 || frame[at + 2] !== 1) {
      at += 1;
      continue;
    }
    if (begin >= 0) units.push(withoutZeros(frame.subarray(begin, at)));
    begin = at += 3;
  }
  if (begin >= 0) units.push(withoutZeros(frame.subarray(begin)));
  return units.filter(({ length }) => length > 0);
}

/** @param {Bytes} unit zeros behind it belong to the next start code */
function withoutZeros(unit) {
  let end = unit.length;
  while (end > 0 && unit[end - 1] === 0) end -= 1;
  return unit.subarray(0, end);
}

/** @param {Bytes} unit */
function isSlice(unit) {
  const type = unit[0] & 0x1f;
  return type >= FIRST_SLICE && type <= LAST_SLICE;
}

/**
 * The bytes of a slice that stay readable: the header of its NAL unit, and its first macroblock, type and parameter set
 * (section 7.3.3). Receivers drop a keyframe whose parameter set they do not know, before they decrypt it.
 *
 * @param {Bytes} unit
 * @returns {number | null} null if the slice ends before
 */
export function readableBytes(unit) {
  let at = 1;
  let bit = 8;
  let zeros = 0;
  const next = () => {
    if (bit === 8) {
      bit = 0;
      // Section 7.4.1: a 3 behind two zeros is none of the data.
      if (zeros >= 2 && unit[at] === 3) {
        zeros = 0;
        at += 1;
      }
      zeros = unit[at] === 0 ? zeros + 1 : 0;
      at += 1;
    }
    bit += 1;
    return at > unit.length ? 1 : (unit[at - 1] >> (8 - bit)) & 1;
  };
  for (let number = 0; number < 3; number += 1) {
    let leading = 0;
    while (next() === 0) if ((leading += 1) > ZEROS) return null;
    for (let each = 0; each < leading; each += 1) next();
  }
  return at > unit.length ? null : at;
}

/**
 * Keeps parameter sets and the beginning of each slice readable, and encrypts the rest of each slice by itself.
 *
 * @param {Bytes} frame
 * @param {(metadata: Bytes, plaintext: Bytes) => Promise<Bytes>} seal
 * @returns {Promise<Bytes | null>}
 */
export async function sealH264(frame, seal) {
  return eachSlice(frame, async (readable, rest) => escaped(readable, joined(await seal(readable, rest), [END])));
}

/**
 * @param {Bytes} frame
 * @param {(metadata: Bytes, unit: Bytes) => Promise<Bytes | null>} open
 * @returns {Promise<Bytes | null>}
 */
export async function openH264(frame, open) {
  return eachSlice(frame, async (readable, rest) => {
    const unit = unescaped(readable, rest);
    return unit.at(-1) === END ? open(readable, unit.subarray(0, -1)) : null;
  });
}

/**
 * @param {Bytes} frame
 * @param {(readable: Bytes, rest: Bytes) => Promise<Bytes | null>} change
 * @returns {Promise<Bytes | null>} null without a slice, or if one cannot be changed
 */
async function eachSlice(frame, change) {
  const units = nalUnits(frame);
  if (!units.some(isSlice)) return null;
  const parts = [];
  for (const unit of units) {
    parts.push(START);
    if (!isSlice(unit)) {
      parts.push(unit);
      continue;
    }
    const count = readableBytes(unit);
    const changed = count === null ? null : await change(unit.subarray(0, count), unit.subarray(count));
    if (count === null || changed === null) return null;
    parts.push(unit.subarray(0, count), changed);
  }
  return joined(...parts);
}

/**
 * Keeps start codes from appearing (section 7.4.1).
 *
 * @param {Bytes} before the bytes ahead of it in the unit
 * @param {Bytes} bytes
 * @returns {Bytes}
 */
export function escaped(before, bytes) {
  // At most every second byte needs another one before it.
  const out = new Uint8Array(bytes.length + (bytes.length >> 1) + 1);
  let length = 0;
  let zeros = zerosAtEnd(before);
  for (const byte of bytes) {
    if (zeros >= 2 && byte <= 3) {
      out[length++] = 3;
      zeros = 0;
    }
    zeros = byte === 0 ? zeros + 1 : 0;
    out[length++] = byte;
  }
  return out.subarray(0, length);
}

/**
 * @param {Bytes} before
 * @param {Bytes} bytes
 * @returns {Bytes}
 */
export function unescaped(before, bytes) {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let zeros = zerosAtEnd(before);
  for (const byte of bytes) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    zeros = byte === 0 ? zeros + 1 : 0;
    out[length++] = byte;
  }
  return out.subarray(0, length);
}

/** @param {Bytes} bytes */
function zerosAtEnd(bytes) {
  let zeros = 0;
  while (zeros < bytes.length && bytes[bytes.length - 1 - zeros] === 0) zeros += 1;
  return zeros;
}
