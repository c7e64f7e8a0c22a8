/** @import { Bytes } from "./sframe.js" */
import { joined } from "./sframe.js";

/** The bit that says that another header follows, and the length of such a header (RFC 2198 section 3). */
const FOLLOWS = 0x80;
const HEADER = 4;
/** Bytes of an earlier frame at most: its length has 10 bits. */
const LONGEST = 1023;

/**
 * @typedef {{ header: Bytes, frame: Bytes }} Block `header`: of an earlier frame with a length that is to be replaced
 */

/**
 * The frames in redundant audio: earlier ones, and the newest at the end.
 *
 * @param {Bytes} payload
 * @returns {Block[] | null} null if it is cut off
 */
export function blocks(payload) {
  const headers = [];
  let at = 0;
  while (payload[at] & FOLLOWS) {
    headers.push(payload.subarray(at, at + HEADER));
    at += HEADER;
  }
  if (at >= payload.length) return null;
  headers.push(payload.subarray(at, (at += 1)));
  const found = [];
  for (const header of headers) {
    const length = header.length === HEADER ? ((header[2] & 3) << 8) | header[3] : payload.length - at;
    if (at + length > payload.length) return null;
    found.push({ header, frame: payload.subarray(at, (at += length)) });
  }
  return found;
}

/**
 * Changes each frame by itself: a relay adds copies of earlier frames, and takes them away.
 *
 * @param {Bytes} payload
 * @param {(frame: Bytes) => Promise<Bytes | null>} change
 * @returns {Promise<Bytes | null>} without the earlier frames that cannot be changed; null if the newest cannot be
 */
export async function eachBlock(payload, change) {
  const found = blocks(payload);
  const newest = found?.pop();
  if (!found || !newest) return null;
  const headers = [];
  const frames = [];
  for (const { header, frame } of found) {
    const changed = frame.length > 0 ? await change(frame) : null;
    if (changed === null || changed.length > LONGEST) continue;
    headers.push([header[0], header[1], (header[2] & 0xfc) | (changed.length >> 8), changed.length & 0xff]);
    frames.push(changed);
  }
  const last = await change(newest.frame);
  return last && joined(...headers, newest.header, ...frames, last);
}
