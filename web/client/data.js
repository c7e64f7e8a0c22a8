/**
 * A message over a data channel.
 *
 * @typedef {object} DataReceived
 * @property {string | null} from the sender's participant id; null from a server that does not say
 * @property {string | ArrayBuffer} payload
 * @property {boolean} reliable whether it came on the channel that loses none
 */

/** @param {string | ArrayBuffer | ArrayBufferView<ArrayBuffer>} payload */
export function bytesOf(payload) {
  return typeof payload === "string" ? new TextEncoder().encode(payload).length : payload.byteLength;
}

const LINE_FEED = 10;

/**
 * @param {string | ArrayBuffer} data the sender's id, a line feed, and what was sent
 * @returns {{ from: string | null, payload: string | ArrayBuffer }}
 */
export function splitSender(data) {
  const isText = typeof data === "string";
  const end = isText ? data.indexOf("\n") : new Uint8Array(data).indexOf(LINE_FEED);
  if (end < 0) return { from: null, payload: data };
  const id = isText ? data.slice(0, end) : new TextDecoder().decode(data.slice(0, end));
  return { from: id, payload: data.slice(end + 1) };
}
