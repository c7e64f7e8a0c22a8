import { h } from "./dom.js";
import { reasonWords } from "./words.js";

/** @import { Decision } from "../client/index.js" */

const WINDOW_MS = 60_000;
/** The latest decisions are also told in words. */
const IN_WORDS = 3;

/**
 * The layers sent of a track over the last while, as stretches of one layer.
 *
 * @typedef {{ from: number, to: number, layer: number | null, temporal: number | null, reason: string }} Stretch
 *   `from` and `to`: shares of the window
 *
 * @param {readonly Decision[]} decisions of one track, oldest first
 * @param {number} now
 * @param {number} [window] milliseconds
 * @returns {Stretch[]} oldest first
 */
export function stretches(decisions, now, window = WINDOW_MS) {
  const start = now - window;
  /** @param {number} at */
  const share = (at) => Math.min(1, Math.max(0, (at - start) / window));
  return decisions.flatMap(({ atMs, layer, temporal, reason }, index) => {
    const from = share(atMs);
    const to = share(decisions[index + 1]?.atMs ?? now);
    return to > from ? [{ from, to, layer, temporal, reason }] : [];
  });
}

/**
 * A strip of the last minute, lighter the higher the layer, and the latest decisions under it.
 *
 * @param {readonly Decision[]} decisions of one track, oldest first
 * @param {number} now
 */
export function timelineStrip(decisions, now) {
  const strip = h("div", { class: "strip" });
  for (const { from, to, layer, reason } of stretches(decisions, now)) {
    const piece = h("i", { class: layer === null ? "paused" : `layer-${Math.min(layer, 2)}`, "data-reason": reason });
    piece.style.left = `${(from * 100).toFixed(2)}%`;
    piece.style.width = `${((to - from) * 100).toFixed(2)}%`;
    strip.append(piece);
  }
  const latest = decisions.slice(-IN_WORDS).reverse();
  const lines = latest.map((decision) => h("li", { text: decisionWords(decision, now) }));
  return h("div", { class: "timeline" }, strip, h("ol", {}, ...lines));
}

/**
 * @param {Decision} decision
 * @param {number} now
 */
export function decisionWords({ atMs, layer, temporal, reason, estimate }, now) {
  const ago = `−${Math.max(0, (now - atMs) / 1000).toFixed(0)} s`;
  const what = layer === null ? "paused" : `layer ${layer}${temporal === null ? "" : ` T${temporal}`}`;
  const link = estimate === null ? "" : `; the link could carry ${Math.round(estimate / 1000)} kbit/s`;
  return `${ago} ${what}: ${reasonWords(reason)}${link}`;
}
