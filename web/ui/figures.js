import { summarize } from "../client/index.js";
import { OWN_SCREEN, OWN_TILE } from "./people.js";
import { timelineStrip } from "./timeline.js";
import { explainOverRate, explainSignaling, reasonWords } from "./words.js";

/**
 * @import { PeerStats, RemoteTrack, Room, StreamStats, SubscriptionStats, Timeline } from "../client/index.js"
 * @import { Grid } from "./grid.js"
 * @import { OwnMedia } from "./own.js"
 */

const EVERY_MS = 1_000;

/** The figures over each tile: what arrives, and what the server decided to send and why. */
export class Figures {
  #room;
  #own;
  #grid;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {Map<string, StreamStats>} */
  #last = new Map();
  /** Packets of ours that the server had dropped when it last said so. */
  #overRate = 0;

  /** @param {{ room: Room, own: OwnMedia, grid: Grid }} parts */
  constructor({ room, own, grid }) {
    this.#room = room;
    this.#own = own;
    this.#grid = grid;
  }

  get isShown() {
    return this.#timer !== undefined;
  }

  /** @param {boolean} shown */
  show(shown) {
    clearInterval(this.#timer);
    this.#timer = shown ? setInterval(() => void this.#refresh(), EVERY_MS) : undefined;
    if (shown) void this.#refresh();
    else for (const tile of this.#grid.tiles) tile.setFigures(null);
  }

  async #refresh() {
    const report = await this.#room.getStats().catch(() => null);
    const server = await this.#room.serverStats().catch(() => null);
    const decided = await this.#room.timeline().catch(() => null);
    if (!report || !this.isShown) return;
    this.#last = summarize(report, this.#last);
    const streams = [...this.#last.values()];
    for (const { id, tracks } of this.#room.participants.values()) {
      for (const track of tracks.values()) {
        if (track.source === "screen") this.#show(track.id, [track], streams, server, decided);
      }
      const shownInTile = [...tracks.values()].filter(({ source }) => source !== "screen");
      this.#show(id, shownInTile, streams, server, decided);
    }
    const own = [this.#outgoing(["camera", "microphone"], streams), this.#dropped(server), explainSignaling(this.#room.signaling)];
    this.#grid.get(OWN_TILE)?.setFigures(own.filter(Boolean).join("\n"));
    this.#grid.get(OWN_SCREEN)?.setFigures(this.#outgoing(["screen"], streams));
  }

  /**
   * @param {string} tileId
   * @param {RemoteTrack[]} tracks
   * @param {StreamStats[]} streams
   * @param {PeerStats | null} server
   * @param {Timeline | null} decided
   */
  #show(tileId, tracks, streams, server, decided) {
    const video = tracks.find(({ kind }) => kind === "video");
    const about = decided?.decisions.filter(({ track }) => track !== null && track === video?.id) ?? [];
    const timeline = decided && about.length > 0 ? timelineStrip(about, decided.nowMs) : null;
    this.#grid.get(tileId)?.setFigures(this.#incoming(tracks, streams, server), timeline);
  }

  /**
   * @param {RemoteTrack[]} tracks
   * @param {StreamStats[]} streams
   * @param {PeerStats | null} server
   */
  #incoming(tracks, streams, server) {
    const pictureFirst = [...tracks].sort((a, b) => Number(b.kind === "video") - Number(a.kind === "video"));
    const lines = pictureFirst.flatMap((track) => {
      const mid = this.#room.receivingMid(track.id);
      const decided = server?.subscriptions.find((subscription) => subscription.track === track.id);
      const stream = streams.find((each) => each.direction === "in" && each.mid === mid);
      const first = stream ? line(stream) : `${track.kind}: nothing yet`;
      return track.kind === "video" && server && decided ? [first, ...choice(decided, stream, server)] : [first];
    });
    return lines.filter(Boolean).join("\n");
  }

  /**
   * Lines about packets dropped by the server: its limit is for all our media together.
   *
   * @param {PeerStats | null} server
   */
  #dropped(server) {
    const packets = server?.packetsOverRate ?? 0;
    const words = explainOverRate(packets, this.#overRate, this.#room.limits.publisherBitrate ?? 0);
    this.#overRate = packets;
    return words;
  }

  /**
   * @param {("camera" | "microphone" | "screen")[]} sources
   * @param {StreamStats[]} streams
   */
  #outgoing(sources, streams) {
    const lines = sources.flatMap((source) => {
      const publication = this.#own.publication(source);
      const mid = publication && this.#room.publishedMid(publication);
      const sent = streams.filter((each) => each.direction === "out" && each.mid === mid);
      return sent.filter(({ kind, width }) => kind === "audio" || width > 0).map((stream) => line(stream));
    });
    return lines.join("\n") || "nothing sent";
  }
}

/** @param {StreamStats} stream */
function line(stream) {
  const parts = [
    stream.rid,
    stream.kind === "video" ? `${stream.width}×${stream.height}` : null,
    stream.kind === "video" ? `${Math.round(stream.framesPerSecond)} fps` : null,
    `${Math.round(stream.bitsPerSecond / 1000)} kbit/s`,
    `${(stream.lossShare * 100).toFixed(1)} % lost`,
    stream.codec,
    stream.limitedBy === "none" ? null : `limited by ${stream.limitedBy}`,
  ];
  return parts.filter(Boolean).join(" · ");
}

/**
 * Lines about the server's decision on a picture, its reason, and losses on the way.
 *
 * @param {SubscriptionStats} decided
 * @param {StreamStats | undefined} stream
 * @param {PeerStats} server
 */
function choice(decided, stream, { bandwidth, rttMs: rtt }) {
  const { layer, temporal, target, reason, allocated, nacksReceived: nacks, retransmitted } = decided;
  const size = stream && stream.height > 0 && layer !== null ? ` ${stream.height}p` : "";
  const sent = `layer ${layer ?? "–"}${size}${temporal === null ? "" : ` T${temporal}`}`;
  const limit = ["none", "unknown"].includes(bandwidth.limitedBy) ? "" : ` (${bandwidth.limitedBy})`;
  const estimate = bandwidth.estimate === null ? "unknown" : `${kbits(bandwidth.estimate)}${limit}`;
  const loss = Math.max(decided.fractionLost, stream?.lossShare ?? 0);
  const frozen = stream ? `freezes ${stream.freezes} (${stream.frozenSeconds.toFixed(1)} s, pauses counted)` : "";
  return [
    `${sent} · target ${target ?? "–"} · ${reasonWords(reason)} (${reason})`,
    [`estimate ${estimate}`, bandwidth.contested ? "beside another flow" : "", `allocated ${kbits(allocated)} of ${kbits(bandwidth.allocated)}`, REDUNDANCY[bandwidth.redundancy ?? ""]]
      .filter(Boolean)
      .join(" · "),
    [`loss ${(loss * 100).toFixed(1)} %`, rtt === null ? "" : `RTT ${Math.round(rtt)} ms`, `NACK ${nacks}`, `RTX ${retransmitted}`]
      .concat(`keyframes ${decided.keyframeRequests}`, frozen)
      .filter(Boolean)
      .join(" · "),
  ];
}

/** Words for the handling of lost audio, where there is anything to say. @type {Record<string, string>} */
const REDUNDANCY = { sent: "sound sent twice", bandwidth: "no room to send sound twice" };

/** @param {number} bits a second */
function kbits(bits) {
  return `${Math.round(bits / 1000)} kbit/s`;
}
