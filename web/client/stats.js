/**
 * One RTP stream sent or received, at one moment. A simulcast camera has several with the same `mid`.
 *
 * @typedef {object} StreamStats
 * @property {string} mid
 * @property {"in" | "out"} direction
 * @property {string} kind
 * @property {string | null} rid
 * @property {number} width
 * @property {number} height
 * @property {number} framesPerSecond
 * @property {number} bitsPerSecond since the last summary; 0 in the first
 * @property {number} lossShare 0 to 1, since the last summary
 * @property {string} codec
 * @property {number} framesDecoded
 * @property {number} audioEnergy
 * @property {number} freezes pictures that stood still too long, so far
 * @property {number} frozenSeconds for how long, all together
 * @property {number} nacks packets asked for again, so far: by us for received streams, of us for sent ones
 * @property {number} repaired packets that came or went again, so far
 * @property {number} keyframeRequests so far
 * @property {string} limitedBy the limit of a sender: `cpu`, `bandwidth`, `none`
 * @property {Totals} totals
 */

/**
 * @typedef {{ at: number, bytes: number, packets: number, lost: number }} Totals
 */

/**
 * Reads the figures that a person wants to know out of a stats report.
 *
 * @param {RTCStatsReport} report
 * @param {Map<string, StreamStats>} [before] the last summary, which rates are counted from
 * @returns {Map<string, StreamStats>} by stream id
 */
export function summarize(report, before = new Map()) {
  const summary = new Map();
  report.forEach((entry) => {
    const inbound = entry.type === "inbound-rtp";
    if ((!inbound && entry.type !== "outbound-rtp") || entry.mid === undefined) return;
    const totals = inbound ? received(entry) : sent(entry, report);
    const last = before.get(entry.id)?.totals ?? totals;
    summary.set(entry.id, {
      mid: entry.mid,
      direction: inbound ? "in" : "out",
      kind: entry.kind,
      rid: entry.rid ?? null,
      width: entry.frameWidth ?? 0,
      height: entry.frameHeight ?? 0,
      framesPerSecond: entry.framesPerSecond ?? 0,
      ...rates(last, totals),
      codec: (report.get(entry.codecId)?.mimeType ?? "").replace(/^.*\//, ""),
      framesDecoded: entry.framesDecoded ?? 0,
      audioEnergy: entry.totalAudioEnergy ?? 0,
      freezes: entry.freezeCount ?? 0,
      frozenSeconds: entry.totalFreezesDuration ?? 0,
      nacks: entry.nackCount ?? 0,
      repaired: (inbound ? entry.retransmittedPacketsReceived : entry.retransmittedPacketsSent) ?? 0,
      keyframeRequests: (entry.pliCount ?? 0) + (entry.firCount ?? 0),
      limitedBy: entry.qualityLimitationReason ?? "none",
      totals,
    });
  });
  return summary;
}

/**
 * @param {any} entry
 * @returns {Totals}
 */
function received(entry) {
  return {
    at: entry.timestamp,
    bytes: entry.bytesReceived ?? 0,
    packets: entry.packetsReceived ?? 0,
    lost: entry.packetsLost ?? 0,
  };
}

/**
 * @param {any} entry
 * @param {RTCStatsReport} report
 * @returns {Totals}
 */
function sent(entry, report) {
  const lost = report.get(entry.remoteId)?.packetsLost ?? 0;
  return { at: entry.timestamp, bytes: entry.bytesSent ?? 0, packets: (entry.packetsSent ?? 0) - lost, lost };
}

/**
 * @param {Totals} last
 * @param {Totals} totals
 */
function rates(last, totals) {
  const seconds = (totals.at - last.at) / 1000;
  const lost = Math.max(0, totals.lost - last.lost);
  const expected = Math.max(0, totals.packets - last.packets) + lost;
  return {
    bitsPerSecond: seconds > 0 ? ((totals.bytes - last.bytes) * 8) / seconds : 0,
    lossShare: expected > 0 ? lost / expected : 0,
  };
}
