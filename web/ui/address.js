import { cleanName, readRoom } from "../client/index.js";

/** @import { EncryptionSecret } from "../client/index.js" */

/**
 * The options in the page's address.
 *
 * @typedef {object} Address
 * @property {string} room empty when none is named
 * @property {string} wrongRoom a text in the room's place that cannot be a room; empty otherwise
 * @property {string} name
 * @property {string} token the access token; empty without one
 * @property {boolean} [isNewLink] the token came by the link, not by the page before a reload
 * @property {string | null} key of an encrypted call, maybe a damaged one; null if the link says nothing of a key
 * @property {boolean} asksPassphrase the call is encrypted by a passphrase, which no link carries
 * @property {boolean} autojoin
 * @property {boolean} debug
 * @property {boolean} microphone false: join with it off
 * @property {boolean} camera
 * @property {number} height lines of video to capture
 * @property {string} codec for the camera; empty for the client's own choice
 * @property {string} scalabilityMode its layers within one stream; empty for simulcast
 */

/** Longest token that a server reads. */
const TOKEN_LENGTH = 4096;
/** Longest key that is looked at; a longer one is none. */
const KEY_LENGTH = 256;
const SECRETS = ["token", "key", "passphrase"];
const HEIGHTS = [90, 180, 360, 540, 720, 1080];
const CODECS = ["VP8", "H264", "VP9", "AV1"];
/** Scalability modes as named by WebRTC-SVC. */
const SCALABILITY_MODE = /^[LS][1-3]T[1-3](h|_KEY|_KEY_SHIFT|h_KEY)?$/;

/**
 * Reads `/?room=standup`, `/#standup`, `/?room=standup#token=…` and the options of tests and links:
 * `name`, `autojoin=1`, `debug=1`, `mic=0`, `camera=0`, `video=180p`, `codec=VP9`, `svc=L3T3_KEY`, `token`.
 * A token belongs behind the `#`, which browsers send to no server and no proxy logs. The key of an encrypted call stands
 * nowhere else: `#key=…`, `#token=…&key=…`; `#passphrase` asks for one. Mail programs and people mangle links: a key that is
 * there in any shape counts as given, so that no call that was to be encrypted begins without.
 *
 * @param {URL} url
 * @returns {Address}
 */
export function readAddress(url) {
  const query = url.searchParams;
  const secrets = secretsIn(url.hash);
  const given = query.get("room") ?? (secrets === null ? decode(url.hash.slice(1)) : "");
  const room = readRoom(given);
  const codec = (query.get("codec") ?? "").toUpperCase();
  const scalabilityMode = query.get("svc") ?? "";
  const height = Number.parseInt(query.get("video") ?? "", 10);
  return {
    room: room.name ?? "",
    wrongRoom: given && room.name === null ? given : "",
    name: cleanName(query.get("name") ?? ""),
    token: cutToken(secrets?.get("token") ?? query.get("token") ?? ""),
    key: secrets?.get("key")?.slice(0, KEY_LENGTH) ?? null,
    asksPassphrase: secrets?.has("passphrase") ?? false,
    autojoin: query.get("autojoin") === "1",
    debug: query.get("debug") === "1",
    microphone: query.get("mic") !== "0",
    camera: query.get("camera") !== "0",
    height: HEIGHTS.includes(height) ? height : 720,
    codec: CODECS.includes(codec) ? codec : "",
    scalabilityMode: SCALABILITY_MODE.test(scalabilityMode) ? scalabilityMode : "",
  };
}

/**
 * The page's address without its token, which is nobody else's. None if it has no token.
 *
 * @param {URL} url
 * @returns {string | null}
 */
export function withoutToken(url) {
  const secrets = secretsIn(url.hash);
  if (!secrets?.has("token") && !url.searchParams.has("token")) return null;
  const address = new URL(url);
  address.searchParams.delete("token");
  secrets?.delete("token");
  if (secrets) address.hash = [...secrets].map(([name, value]) => (value ? `${name}=${value}` : name)).join("&");
  return address.href;
}

/**
 * @param {string} hash
 * @returns {Map<string, string> | null} what is behind the `#`; null if that is a room's name
 */
function secretsIn(hash) {
  const text = hash.slice(1).replace(/%(25)*3D/gi, "=").replace(/%(25)*26/gi, "&").replaceAll("&amp;", "&");
  const secrets = new Map(text.split("&").map((part) => {
    const [name, ...value] = part.split("=");
    return [decode(name).trim().replace(/^[?#!/]+/, "").toLowerCase(), value.join("=")];
  }));
  // No room has such a name by its link: that begins with `?room=`.
  return SECRETS.some((name) => secrets.has(name)) ? secrets : null;
}

/**
 * The name that a token gives its holder. The server alone knows whether the token is good.
 *
 * @param {string} token
 * @returns {string} empty if it gives none
 */
export function nameInToken(token) {
  const name = claimsOf(token)?.name;
  return typeof name === "string" ? cleanName(name) : "";
}

/** @param {string} token @returns {any} null if it cannot be read */
function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (char) => char.charCodeAt(0))));
  } catch {
    return null;
  }
}

/** @param {string} token a longer one could only be refused; cut, it is as well */
function cutToken(token) {
  return token.slice(0, TOKEN_LENGTH + 1);
}

/**
 * The address that leads others to a room.
 *
 * @param {URL} url the page's own
 * @param {string} room
 * @param {EncryptionSecret | null} [encryption] the link carries a key, and never a passphrase
 */
export function roomLink(url, room, encryption = null) {
  const link = new URL(url.pathname, url);
  link.searchParams.set("room", room);
  if (encryption) link.hash = "key" in encryption ? `key=${encryption.key}` : "passphrase";
  return link.href;
}

/**
 * The address that leads somebody to a room by an invitation.
 *
 * @param {string} link to the room, as of `roomLink`
 * @param {string} token of the invitation
 */
export function invitationLink(link, token) {
  const invitation = new URL(link);
  const secrets = invitation.hash.slice(1);
  invitation.hash = secrets ? `token=${token}&${secrets}` : `token=${token}`;
  return invitation.href;
}

/**
 * The page's address without the call it was in; its options stay.
 *
 * @param {URL} url
 */
export function withoutRoom(url) {
  const address = new URL(url);
  address.searchParams.delete("room");
  address.hash = "";
  return address.href;
}

/**
 * The WebSocket beside a page, wherever the server is mounted.
 *
 * @param {string} base the page's `document.baseURI`
 */
export function signalingUrl(base) {
  const url = new URL("v1/ws", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  url.hash = "";
  return url.href;
}

/**
 * The room that a token is for. The server alone knows whether the token is good.
 *
 * @param {string} token
 * @returns {string} empty if it names none, or lets into all
 */
export function roomInToken(token) {
  const room = claimsOf(token)?.tertulia?.room;
  return typeof room === "string" && room !== "*" ? room : "";
}

const MOODS = ["quiet", "bright", "amber", "brisk", "gentle", "lively", "mellow", "sunny", "early", "merry"];
const PLACES = ["plaza", "terrace", "balcony", "garden", "harbour", "orchard", "corner", "arcade", "bakery", "kiosk"];

/**
 * A name for a new room, easy to say over the phone.
 *
 * @param {() => number} random from 0 up to 1
 */
export function inventRoom(random) {
  /** @param {string[]} words */
  const pick = (words) => words[Math.floor(random() * words.length)];
  return `${pick(MOODS)}-${pick(PLACES)}-${10 + Math.floor(random() * 90)}`;
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
