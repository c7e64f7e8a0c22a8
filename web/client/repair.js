/** An opus or redundant audio format of an m-line: its payload type. */
const SOUND = /^a=rtpmap:(\d+) (?:opus|red)\/48000\/2\r?$/i;
const RED = /^a=rtpmap:\d+ red\/48000\/2\r?$/im;

/**
 * Offers NACKs for audio (RFC 4585), in both directions. libwebrtc supports them if negotiated, but offers them for
 * video only. Other browsers do not support them; their offers lack redundant audio, by which they are recognised.
 *
 * @template {{ sdp?: string }} T
 * @param {T} offer as the browser made it
 * @returns {T} the offer itself if there is nothing to add
 */
export function offerRepair(offer) {
  if (!offer.sdp) return offer;
  const parts = offer.sdp.split(/^(?=m=)/m);
  const sdp = parts.map((part) => (part.startsWith("m=audio ") && RED.test(part) ? withNack(part) : part)).join("");
  return sdp === offer.sdp ? offer : { ...offer, sdp };
}

/** @param {string} part an m-line and its attributes */
function withNack(part) {
  return part
    .split(/(?<=\n)/)
    .flatMap((line) => {
      const payloadType = SOUND.exec(line.trimEnd())?.[1];
      const nack = `a=rtcp-fb:${payloadType} nack`;
      const said = part.split("\n").some((other) => other.trimEnd() === nack);
      return payloadType === undefined || said ? [line] : [line, `${nack}\r\n`];
    })
    .join("");
}
