import { explainRefusal } from "./words.js";

/** @import { Way, WayOutcome } from "../client/index.js" */

/** A round trip above this is heard: people talk over each other (ITU-T G.114 takes half of it for one direction). */
const SLOW_MS = 300;

/**
 * The name of a way, and what it is.
 *
 * @param {Way} way
 */
export function nameWay(way) {
  if (way.kind === "udp") return { name: "Direct", what: "UDP: the usual way for sound and pictures, with the least delay." };
  if (way.kind === "tcp") return { name: "Direct, as web pages", what: "TCP: the kind of connection that web pages use. What is lost is waited for." };
  const scheme = way.url.split(":")[0].toLowerCase();
  const isUdp = scheme === "turn" && !/[?&]transport=tcp$/i.test(way.url);
  const how = scheme === "turns" ? "encrypted, as secure web pages are" : isUdp ? "over UDP" : "over TCP";
  return { name: "Through a relay", what: `TURN: a helper passes sound and pictures on, ${how}.` };
}

/**
 * One sentence about a way that was tried: what it means, and what to do.
 *
 * @param {WayOutcome} outcome
 */
export function explainWay({ way, state, roundTripMs }) {
  if (state === "reached") {
    if (roundTripMs !== null && roundTripMs > SLOW_MS) return "It works with much delay: try another network, or a cable in place of Wi-Fi.";
    return way.kind === "udp" ? "It works: nothing to do." : "It works, and is there for when the direct way does not.";
  }
  if (state === "not_offered") {
    if (way.kind === "udp") return "The server offers no such way: tell whoever runs it.";
    return "The server does not offer it, which matters only where the direct way does not work.";
  }
  switch (way.kind) {
    case "udp":
      return "Your network or the server’s firewall lets no UDP through: try another network, or ask whoever runs it to allow UDP.";
    case "tcp":
      return "This connection is not let through: ask whoever runs your network, or the server, to allow it.";
    default:
      return "The relay is not reached, or passes nothing on: tell whoever runs the server.";
  }
}

/**
 * The whole, in one or two sentences.
 *
 * @param {WayOutcome[]} outcomes of all ways
 * @returns {{ tone: "good" | "fair" | "bad", title: string, text: string }}
 */
export function summarizeWays(outcomes) {
  /** @param {Way["kind"]} kind */
  const find = (kind) => outcomes.find(({ way, state }) => way.kind === kind && state === "reached");
  const [udp, tcp, relay] = [find("udp"), find("tcp"), find("relay")];
  const best = udp ?? tcp ?? relay;
  if (!best) {
    return { tone: "bad", title: "Calls do not work from here", text: "No way for sound and pictures leads from your network to the server. Try another network, such as that of a phone, and tell whoever runs the server." };
  }
  const slow = (best.roundTripMs ?? 0) > SLOW_MS ? " Everything takes long on the way, so that people may talk over each other." : "";
  if (udp) {
    const isBlocked = outcomes.some(({ state }) => state === "blocked");
    const rest = isBlocked ? "Another way is blocked, which you do not need." : "Your network lets sound and pictures through as it should.";
    return { tone: slow ? "fair" : "good", title: "Calls work from here", text: rest + slow };
  }
  const way = tcp ? "the call works over TCP, with more delay" : "the call works through a relay, with more delay";
  return { tone: "fair", title: "Calls work, with more delay", text: `Your network lets no UDP through: ${way}.${slow}` };
}

/**
 * Why nothing could be tried, and whether another link may help.
 *
 * @param {{ code?: string, message?: string }} error
 * @returns {{ text: string, needsLink: boolean }}
 */
export function explainNotTried({ code = "", message = "" }) {
  if (code === "token_required") {
    return { text: "This server lets people in by invitation. Paste your invitation link here to check your connection with it.", needsLink: true };
  }
  if (code.startsWith("token_")) {
    return { text: "The server does not take this invitation any more. Paste a newer link here, or ask for one.", needsLink: true };
  }
  if (code === "admission_awaited") {
    return { text: "A moderator has to let people into this room, so that the check cannot be made with this link. Paste another link here, if you have one.", needsLink: true };
  }
  return { text: explainRefusal({ code, message }), needsLink: false };
}

/** @param {number | null} ms */
export function milliseconds(ms) {
  return ms === null ? "–" : `${ms < 10 ? Math.max(0.1, ms).toFixed(1) : Math.round(ms)} ms`;
}
