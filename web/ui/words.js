import { firstCharacter } from "../client/index.js";

/**
 * @import { CallError, EncryptionState } from "../client/index.js"
 * @import { LinkState } from "./link.js"
 */

/**
 * Reasons that a call is over or did not begin, in words for people. A code that is missing here keeps the server's own
 * sentence.
 *
 * @type {Record<string, { title: string, text: string }>}
 */
const ENDINGS = {
  left: { title: "You left the call", text: "" },
  stopped_waiting: { title: "You stopped waiting", text: "You were not let in. Join again to wait again." },
  replaced: { title: "You joined from somewhere else", text: "This page was replaced by the newer one." },
  not_allowed: { title: "You may not join this call", text: "" },
  token_required: {
    title: "This call wants an access token",
    text: "Open it by the link that you were given: that has the token in it. If it has none, ask for a new one.",
  },
  token_expired: { title: "Your link has expired", text: "Ask whoever gave it to you for a new one." },
  token_revoked: { title: "Your link was revoked", text: "Ask whoever gave it to you for a new one." },
  token_not_yet_valid: { title: "Your link is not valid yet", text: "Try again when the call begins." },
  token_wrong_room: { title: "Your link is for another room", text: "Open it anew, or ask for one to this room." },
  token_invalid: { title: "Your link does not let you in", text: "It may be cut off or out of date. Ask for a new one." },
  authorize_timeout: { title: "The server did not decide whether you may join", text: "Try again in a moment." },
  banned: { title: "You were removed from the call", text: "" },
  denied: { title: "You were not let in", text: "A moderator of the call decided so." },
  room_locked: { title: "The room is locked", text: "A moderator lets nobody else in. Ask them to unlock it." },
  waiting_room_full: { title: "Too many people wait to be let in", text: "Try again in a moment." },
  waiting_timeout: { title: "Nobody let you in", text: "Tell a moderator of the call that you are here, then try again." },
  kicked: { title: "You were removed from the call", text: "" },
  room_closed: { title: "The room was closed", text: "" },
  server_shutdown: { title: "The server was shut down", text: "It did not come back in time. Try again in a moment." },
  unreachable: { title: "The server cannot be reached", text: "It may be down, or your network may be. Try again in a moment." },
  origin_refused: { title: "The server takes no calls from this page", text: "" },
  host_refused: { title: "The server takes no calls by this name", text: "" },
  websocket_blocked: {
    title: "The connection is blocked on its way",
    text: "The server answers, but something before it, a proxy perhaps, lets neither WebSockets nor other lasting connections through.",
  },
  connection_lost: { title: "The connection was lost", text: "Check your network, then try again." },
  media_failed: {
    title: "Audio and video do not get through",
    text: "The server answers, but your network seems to block its media (UDP). Another network may help.",
  },
  timeout: { title: "The server did not answer", text: "It may be very busy. Try again in a moment." },
  room_full: { title: "The room is full", text: "Try again when somebody has left." },
  server_full: { title: "The server is full", text: "Try again in a moment." },
  server_memory: { title: "The server is full", text: "Try again in a moment." },
  connections_per_address: {
    title: "Too many calls from your network",
    text: "Try again when others of your network have left.",
  },
  joins_per_address: { title: "Too many calls from your network", text: "Try again in a minute." },
  rooms_per_address: { title: "Your network has opened too many rooms", text: "Try again when one of them is empty." },
  overloaded: { title: "The server is very busy", text: "Try again in a moment." },
  shutting_down: { title: "The server is shutting down", text: "Try again in a moment." },
  worker_failed: { title: "A part of the server has failed", text: "Try again in a moment." },
  bad_version: { title: "This page is out of date", text: "Reload it to get the current one." },
  encryption_unsupported: {
    title: "This call is encrypted, and this browser cannot decrypt it",
    text: "",
  },
  encryption_failed: { title: "The encryption of this call could not be started", text: "Reload the page to try again." },
  bad_key: { title: "The key in your link is damaged", text: "It may be cut off. Ask for the whole link." },
  unsupported_browser: { title: "This browser cannot hold calls", text: "It has no WebRTC. A current one will do." },
};

/**
 * @param {string} code
 * @param {string} message the server's sentence
 */
export function explainEnding(code, message) {
  const { title = "The call ended", text = "" } = ENDINGS[code] ?? {};
  return { title, text: text || withoutTitle(code, message) };
}

/**
 * @param {string} code
 * @param {string} message the server's sentence
 * @returns {string} what that says beyond the title
 */
function withoutTitle(code, message) {
  if (!/^You were removed from (the|this) (room|call)\b/.test(message)) return message;
  return code === "banned" ? "You cannot come back until it ends." : "";
}

/** Endings after which the server lets nobody in again by the same link. */
const FINAL = new Set(["banned", "token_expired", "token_revoked", "token_wrong_room"]);

/** @param {string} code @returns {boolean} whether joining again may help */
export function mayRejoin(code) {
  return !FINAL.has(code);
}

/**
 * @param {string | null} access the server's rule to let people in
 * @param {boolean} mayInvite
 * @returns {string} how others come into the call; empty where nobody needs to be told
 */
export function explainEntry(access, mayInvite) {
  if (access === "open") return "This server is open: anybody with the link can join.";
  return access === "tokens" && !mayInvite ? "Others need a link of their own to join. A moderator can make one, or whoever gave you yours." : "";
}

/**
 * @param {Partial<CallError>} error why joining failed
 * @returns {string}
 */
export function explainRefusal({ code = "", message = "" }) {
  const known = ENDINGS[code];
  return known ? [`${known.title}.`, known.text || withoutTitle(code, message)].filter(Boolean).join(" ") : sentence({ message });
}

/**
 * @param {string} reason why the connection is being made again
 * @returns {string} for the banner meanwhile
 */
export function explainReconnecting(reason) {
  switch (reason) {
    case "server_shutdown":
      return "The server is shutting down. Waiting for it to come back…";
    case "worker_failed":
      return "A part of the server has failed. Reconnecting…";
    case "media_failed":
      return "Audio and video do not get through: a firewall or your network may block them (UDP). Trying again…";
    default:
      return "The connection was lost. Reconnecting…";
  }
}

/**
 * Reasons that the server sends no higher layer of a track, by code.
 *
 * @type {Record<string, string>}
 */
const REASONS = {
  best: "the best there is",
  bandwidth: "your connection is too slow",
  size_hint: "its place on the screen needs no more",
  cap: "the server’s limit is reached",
  publisher: "nothing comes from its sender at the moment",
  waiting_for_publisher: "its sender has sent nothing yet",
  waiting_for_keyframe: "on its way",
  hidden: "not on your screen",
  muted: "muted",
  last_n: "others spoke more recently",
  quiet: "others are louder",
  waiting_for_m_line: "waiting for a free line",
  codec_not_negotiated: "this browser cannot play its format",
  unreachable: "the server gets no answer from here",
};

/**
 * @param {string} code
 * @returns {string} the code itself if it has no words yet
 */
export function reasonWords(code) {
  return Object.hasOwn(REASONS, code) ? REASONS[code] : code.replaceAll("_", " ");
}

/**
 * @param {{ paused: boolean, reason: string } | null | undefined} subscription
 * @param {string | null} [codec] what the track comes in
 * @returns {string | null} why the server sends nothing of a track
 */
export function explainPause(subscription, codec = null) {
  if (!subscription?.paused) return null;
  if (subscription.reason === "codec_not_negotiated") {
    return `This browser cannot play this video${codec ? `: its format is ${codec}` : ""}`;
  }
  const words = reasonWords(subscription.reason);
  // A track that has not begun yet is not paused.
  return subscription.reason.startsWith("waiting_") ? words : `paused: ${words}`;
}

/**
 * @param {EncryptionState | null} state of a person
 * @returns {string | null} why they are neither seen nor heard in an encrypted call; null if that is no reason
 */
export function explainEncryption(state) {
  switch (state) {
    case "noKey":
      return "does not have the key of this call";
    case "otherKey":
      return "has another key";
    case "keyMissing":
      return "you do not have the key";
    default:
      return null;
  }
}

/**
 * The state of our own link, in a word.
 *
 * @type {Readonly<Record<LinkState, string>>}
 */
export const LINK_WORDS = Object.freeze({
  connecting: "Connecting…",
  connected: "Connected",
  cut: "Reconnecting…",
  resuming: "Reconnecting, the call goes on",
  interrupted: "Interrupted",
  failed: "Failed",
});

/** More about a state of our own link, where a word does not say enough. @type {Partial<Record<LinkState, string>>} */
export const LINK_HINTS = Object.freeze({
  resuming: "Sound and pictures go on. What you write or change now reaches the others when the connection is back.",
});

/** Said of a message of ours that waits for the connection. */
export const WAITING_WORDS = "is sent when the connection is back";

/** Said of somebody whose connection is gone for a moment. */
export const AWAY_WORDS = "reconnecting…";

/** @type {Readonly<Record<string, string>>} */
const WAYS = Object.freeze({
  websocket: "messages by WebSocket",
  sse: "messages by SSE, as no WebSocket gets through",
  polling: "messages by long polling, as neither WebSockets nor SSE get through",
});

/**
 * The way of messages to the server, for the figures of our own tile.
 *
 * @param {{ isConnected: boolean, transport: string | null }} signaling
 * @returns {string}
 */
export function explainSignaling({ isConnected, transport }) {
  return isConnected && transport !== null ? WAYS[transport] : "messages: reconnecting";
}

/**
 * The reason that nobody else is seen, for their tiles.
 *
 * @param {string | null} access the server's rule to let people in
 */
export function explainUnseen(access) {
  return access === "tokens" ? "your link does not let you see others" : "you may not see others in this room";
}

/**
 * @param {string[]} names of people who wait to be let in
 * @returns {string} a notice for those who may let them in
 */
export function explainWaiting([first, ...others]) {
  const isOne = others.length === 0;
  const more = others.length === 1 ? "one other" : `${others.length} others`;
  return isOne ? `${isolated(first)} waits to be let in` : `${isolated(first)} and ${more} wait to be let in`;
}

/**
 * The reason that a tile shows no moving picture.
 *
 * @param {object} facts
 * @param {LinkState} facts.link our own
 * @param {{ paused: boolean, reason: string } | null | undefined} facts.subscription what the server says of the track
 * @param {string | null} [facts.codec] what it comes in
 * @param {boolean} facts.hasMoved there was a picture before
 * @param {boolean} facts.isLate it has had the time to come
 * @param {boolean} facts.isStill a picture that should move does not
 * @returns {string | null} null when all is well, or may still be
 */
export function explainTile({ link, subscription, codec, hasMoved, isLate, isStill }) {
  // Nothing is known of others while nothing arrives here.
  if (link === "interrupted") return "the connection to the server is interrupted";
  if (link === "failed") return "the connection to the server has failed";
  const pause = explainPause(subscription, codec);
  const isBeginning = !hasMoved && !isLate && subscription?.reason.startsWith("waiting_");
  if (pause && !isBeginning) return pause;
  if (!hasMoved && isLate) return link === "connecting" ? "connecting…" : "waiting for the picture";
  return isStill ? "no picture arrives at the moment" : null;
}

/**
 * @param {"video" | "audio"} kind of what we send
 * @param {number} count how many cannot watch it
 * @param {string[]} names of some of them
 * @returns {string | null} for our own tile
 */
export function explainUnwatchable(kind, count, names) {
  if (count === 0) return null;
  const [first, second] = names;
  const others = count === 2 ? (second ?? "one other") : `${count - 1} others`;
  const nobody = count === 1 ? "One person" : `${count} people`;
  const some = count === 1 ? first : `${first} and ${others}`;
  const who = first ? some : nobody;
  const what = kind === "video" ? "see your video" : "hear you";
  return `${who} cannot ${what}: ${count === 1 ? "their browser does" : "their browsers do"} not play its format`;
}

/**
 * @param {number} packets of ours that the server has dropped, since we sent more than it takes
 * @param {number} before as many at the last look
 * @param {number} limit what it takes, in bits a second; 0 if it does not say
 * @returns {string} for the figures of our own tile; empty if it has dropped none
 */
export function explainOverRate(packets, before, limit) {
  if (packets === 0) return "";
  const over = limit > 0 ? `its limit of ${(limit / 1e6).toLocaleString("en", { maximumFractionDigits: 2 })} Mbit/s` : "its limit";
  const count = packets === 1 ? "1 packet" : `${packets.toLocaleString("en")} packets`;
  return packets > before
    ? `you send too much: the server drops what is above ${over} (${count} so far)`
    : `you sent too much: the server dropped what was above ${over} (${count})`;
}

/** Characters that are left when the length of a message is first told. */
const NEAR_LIMIT = 100;

/**
 * The length of a message that is being written, near its limit.
 *
 * @param {number} length characters
 * @param {number} limit most characters; 0 if it is not known
 * @returns {string} empty while there is room enough
 */
export function explainLength(length, limit) {
  const left = limit - length;
  if (limit === 0 || left > NEAR_LIMIT) return "";
  const characters = Math.abs(left) === 1 ? "character" : "characters";
  return left < 0 ? `${(-left).toLocaleString("en")} ${characters} too many to send` : `${left} ${characters} left`;
}

/**
 * Remedies, where the reason alone does not tell people what to do.
 *
 * @type {Record<string, string>}
 */
const REMEDIES = {
  insecure_context:
    "Open this page by an address that begins with https://. Whoever runs this server can give it one: tertulia --tls-self-signed does in a local network.",
};

/**
 * @param {unknown} error
 * @returns {string} one sentence, and another if there is something to do
 */
export function sentence(error) {
  const { message = "", code = "" } = /** @type {Partial<CallError>} */ (error ?? {});
  return [message || "Something went wrong.", REMEDIES[code]].filter(Boolean).join(" ");
}

/**
 * @param {string} name
 * @returns {string} one or two letters for a face that is not shown
 */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words.slice(0, 1);
  return letters.map((word) => firstCharacter(word).toLocaleUpperCase()).join("") || "?";
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/**
 * A name for a sentence in which it must not turn the words around it.
 *
 * @param {string} name
 */
export function isolated(name) {
  return RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name;
}

/**
 * @param {string} name
 * @returns {number} a hue, always the same for the same name
 */
export function hueOf(name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 360;
  return hash;
}
