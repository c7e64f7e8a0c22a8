import { openAv1, sealAv1 } from "./frame-av1.js";
import { openH264, sealH264 } from "./frame-h264.js";
import { eachBlock } from "./frame-red.js";
import { joined } from "./sframe.js";

/**
 * The bytes of an encoded frame that stay readable, by codec: packetizers, the relay and receivers that put packets
 * together need them. `signaling/docs/encryption.md` lists them.
 *
 * @import { Bytes } from "./sframe.js"
 *
 * @typedef {(metadata: Bytes, plaintext: Bytes) => Promise<Bytes>} Seal encrypts a part of a frame
 * @typedef {(metadata: Bytes, unit: Bytes) => Promise<Bytes | null>} Open decrypts it; null if it does not authenticate
 */

/** Readable bytes of VP8 (RFC 7741 section 4.3): the frame tag, and of a keyframe its size as well. */
const VP8_TAG = 3;
const VP8_KEYFRAME = 10;
const NOTHING = new Uint8Array();

/** Codecs whose frames can be encrypted. */
const CODECS = ["video/vp8", "video/vp9", "video/h264", "video/av1", "audio/opus", "audio/red"];

/** @param {string} mimeType */
export function isKnown(mimeType) {
  return CODECS.includes(mimeType.toLowerCase());
}

/**
 * @param {string} mimeType a known one
 * @param {Bytes} frame
 * @param {Seal} seal
 * @returns {Promise<Bytes | null>} null for a frame that is not what its codec says
 */
export async function sealFrame(mimeType, frame, seal) {
  switch (mimeType.toLowerCase()) {
    case "video/h264":
      return sealH264(frame, seal);
    case "video/av1":
      return sealAv1(frame, seal);
    case "audio/red":
      return eachBlock(frame, (block) => seal(NOTHING, block));
    default:
      return splitFrame(mimeType, frame, seal);
  }
}

/**
 * @param {string} mimeType a known one
 * @param {Bytes} frame
 * @param {Open} open
 * @returns {Promise<Bytes | null>} null for a frame of which any part does not authenticate
 */
export async function openFrame(mimeType, frame, open) {
  switch (mimeType.toLowerCase()) {
    case "video/h264":
      return openH264(frame, open);
    case "video/av1":
      return openAv1(frame, open);
    case "audio/red":
      return eachBlock(frame, (block) => open(NOTHING, block));
    default:
      return splitFrame(mimeType, frame, open);
  }
}

/**
 * @param {string} mimeType
 * @param {Bytes} frame
 * @param {(metadata: Bytes, rest: Bytes) => Promise<Bytes | null>} change
 */
async function splitFrame(mimeType, frame, change) {
  const count = mimeType.toLowerCase() === "video/vp8" ? readableBytesOfVp8(frame) : 0;
  if (frame.length <= count) return null;
  const readable = frame.subarray(0, count);
  const changed = await change(readable, frame.subarray(count));
  return changed && joined(readable, changed);
}

/** @param {Bytes} frame */
function readableBytesOfVp8(frame) {
  const isKeyframe = (frame[0] & 1) === 0;
  return isKeyframe ? VP8_KEYFRAME : VP8_TAG;
}
