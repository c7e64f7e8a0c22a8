import { summarize } from "../client/stats.js";
import { OWN_SCREEN, OWN_TILE } from "./people.js";

/**
 * @import { Room } from "../client/room.js"
 * @import { PeerStats, TrackInfo } from "../client/protocol.js"
 * @import { StreamStats } from "../client/stats.js"
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
    if (!report || !this.isShown) return;
    this.#last = summarize(report, this.#last);
    const streams = [...this.#last.values()];
    for (const { id, tracks } of this.#room.participants.values()) {
      for (const track of tracks.values()) {
        if (track.source === "screen") this.#grid.get(track.id)?.setFigures(this.#incoming([track], streams, server));
      }
      const shownInTile = [...tracks.values()].filter(({ source }) => source !== "screen");
      this.#grid.get(id)?.setFigures(this.#incoming(shownInTile, streams, server));
    }
    this.#grid.get(OWN_TILE)?.setFigures(this.#outgoing(["camera", "microphone"], streams));
    this.#grid.get(OWN_SCREEN)?.setFigures(this.#outgoing(["screen"], streams));
  }

  /**
   * @param {TrackInfo[]} tracks
   * @param {StreamStats[]} streams
   * @param {PeerStats | null} server
   */
  #incoming(tracks, streams, server) {
    const pictureFirst = [...tracks].sort((a, b) => Number(b.kind === "video") - Number(a.kind === "video"));
    const lines = pictureFirst.flatMap((track) => {
      const mid = this.#room.receivingMid(track.id);
      const decided = server?.subscriptions.find((subscription) => subscription.track === track.id);
      const stream = streams.find((each) => each.direction === "in" && each.mid === mid);
      const why = decided ? `layer ${decided.layer ?? "–"} · ${decided.reason}` : "";
      return [stream ? line(stream) : `${track.kind}: nothing yet`, track.kind === "video" && why ? why : ""];
    });
    return lines.filter(Boolean).join("\n");
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
