/**
 * The native signaling protocol, version 1 (`signaling/docs/PROTOCOL.md`): parsers of the server's messages and builders of
 * the client's. Both are tested with the golden files of the server. Names of the protocol (`at_ms`) stay in this file:
 * what is parsed has names of the API (`atMs`).
 */
import { camel, count, flag, list, nullable, number, object, oneOf, optional, record, ShapeError, text } from "./shape.js";

export const PROTOCOL_VERSION = 1;

/** The present rule by which messages of data channels name their sender; `data.protocol` of `welcome` confirms it. */
export const DATA_PROTOCOL = "tertulia.sender";

const mediaKind = oneOf("audio", "video");
const wireSource = oneOf("camera", "microphone", "screen", "screen_audio", "other");
/** @param {unknown} value @param {string} at */
const source = (value, at) => camel(wireSource(value, at));

const track = record({
  id: text,
  kind: mediaKind,
  source,
  muted: flag,
  simulcast: flag,
  codec: nullable(text),
});

const participant = record({
  id: text,
  name: text,
  metadata: optional(object),
  tracks: list(track),
  connected: optional(flag),
});

const chatMessage = record({
  id: count,
  participant: text,
  name: text,
  text,
  at_ms: count,
});

const slot = record({ mid: text, kind: mediaKind, track: nullable(text) });
const needs = record({ audio: count, video: count });

/** The server's limits: bytes of a message, Unicode code points of a chat message, bits a second of all our media. */
const limits = record({ message_bytes: count, chat_chars: count, publisher_bitrate: optional(count) });

const iceServer = record({
  urls: (value, at) => (typeof value === "string" ? value : list(text)(value, at)),
  username: optional(text),
  credential: optional(text),
});

/** The relay's decisions and counters for one track it sends us. */
const subscription = record({
  track: text,
  publisher: optional(text),
  source: optional(source),
  kind: optional(mediaKind),
  mid: nullable(text),
  layer: nullable(count),
  temporal: nullable(count),
  target: nullable(count),
  reason: text,
  allocated: count,
  bitrate: count,
  keyframe_requests: count,
  packets: count,
  bytes: count,
  nacks_received: count,
  retransmitted: count,
  redundant: optional(count),
  fraction_lost: number,
});

/** The relay's counters for one layer we send. */
const layer = record({
  rid: nullable(text),
  alive: flag,
  wanted: flag,
  bitrate: count,
  height: nullable(count),
  packets: count,
  bytes: count,
  lost: count,
  nacks_sent: count,
  repaired: count,
});

/** The relay's estimate of our link and the use it makes of it; bits a second. */
const bandwidth = record({
  estimate: nullable(count),
  limited_by: text,
  desired: count,
  allocated: count,
  sent: count,
  acknowledged: count,
  loss: number,
  queue_delay_ms: optional(number),
  contested: optional(flag),
  queued_bytes: count,
  queued_ms: number,
  probes: count,
  redundancy: optional(text),
});

/** The layer of a track that we are to be sent from now on. */
const subscriptionState = record({
  track: text,
  layer: nullable(count),
  temporal: nullable(count),
  paused: flag,
  reason: text,
});

const layerWanted = record({ rid: nullable(text), active: flag });

/** A participant that cannot watch a track of ours. */
const unable = record({ participant: text, reason: text });

/** One decision of the relay about us; without a track it is about the link. */
const decision = record({
  at_ms: count,
  track: nullable(text),
  layer: nullable(count),
  temporal: nullable(count),
  reason: text,
  estimate: nullable(count),
});

const peerStats = record({
  connected: flag,
  remote_addr: nullable(text),
  path: nullable(text),
  media_held: optional(text),
  srtp_profile: nullable(text),
  rtt_ms: nullable(number),
  packets_over_rate: optional(count),
  bandwidth,
  published: list(
    record({
      track: text,
      kind: mediaKind,
      codec: text,
      layers: list(layer),
      keyframe_requests: count,
      streams_begun_anew: optional(count),
      packets_passed_over: optional(count),
      unwatchable: optional(list(unable)),
    }),
  ),
  subscriptions: list(subscription),
});

/**
 * A right that an older server does not name: everybody has it.
 *
 * @param {unknown} value @param {string} at
 */
const granted = (value, at) => (value === undefined ? true : flag(value, at));

/**
 * A right that an older server does not name: nobody has it.
 *
 * @param {unknown} value @param {string} at
 */
const withheld = (value, at) => (value === undefined ? false : flag(value, at));

/** Our rights. */
const permissions = record({
  microphone: flag,
  camera: flag,
  screen: flag,
  subscribe: granted,
  chat: flag,
  data: flag,
  update: flag,
  moderate: withheld,
});

/** The rules of a room that moderators set. */
const rules = record({ locked: flag, waiting_room: flag, chat: flag });

/** An invitation that lets in; its token was told to who made it. */
const invitation = record({ id: text, expires_at_ms: count, made_by: text, name: optional(text), permissions });

/** The numbers of people in a room: everybody, those who publish, raised hands. */
const counts = record({ participants: count, publishers: count, hands: count });

/** The means to go on after a lost connection: a token for one resumption, and how long the server waits for it. */
const session = record({ token: text, grace_ms: count });

/** Every message the server sends, by its type; beside `batch`, which has some of these. */
const serverShapes = {
  welcome: record({
    id: optional(count),
    version: count,
    room: text,
    participant: text,
    name: optional(text),
    metadata: optional(object),
    permissions: optional(permissions),
    participants: list(participant),
    chat: list(chatMessage),
    rules: optional(rules),
    hands: optional(list(text)),
    audience: optional(counts),
    ice_servers: list(iceServer),
    limits,
    data: optional(record({ protocol: text, message_bytes: count, messages_per_second: count })),
    server: record({ name: text, version: text }),
    access: optional(text),
    session: optional(session),
  }),
  ice_servers: record({ ice_servers: list(iceServer) }),
  resumed: record({ id: optional(count), session: text, received: count }),
  answer: record({
    id: optional(count),
    sdp: text,
    published: list(record({ mid: text, track: text })),
    refused: optional(list(record({ mid: text, code: text, message: text }))),
    slots: list(slot),
    needs,
  }),
  needs,
  slots: record({ slots: list(slot) }),
  participant_joined: record({ participant }),
  participant_updated: record({ participant }),
  participant_left: record({ participant: text, reason: text }),
  presence: record({ participant: text, connected: flag }),
  track_published: record({ participant: text, track }),
  track_updated: record({ participant: text, track }),
  track_unpublished: record({ participant: text, track: text }),
  chat: record({ message: chatMessage }),
  media: record({ state: oneOf("connected", "failed"), reason: optional(text) }),
  subscriptions: record({ subscriptions: list(subscriptionState) }),
  layers: record({ track: text, layers: list(layerWanted) }),
  unwatchable: record({ track: text, count, participants: list(unable) }),
  renegotiate: record({ reason: text }),
  speakers: record({ recent: list(text), speaking: count }),
  wait: record({}),
  rules: record({ rules, by: optional(text) }),
  hand: record({ participant: text, raised: flag, by: optional(text) }),
  moderated: record({ action: text, by: text, participant: text, track: optional(text) }),
  permissions: record({ permissions }),
  waiting: record({ waiting: list(record({ id: text, name: text })) }),
  waiting_left: record({ participant: text, outcome: text, by: optional(text) }),
  invitation: record({ id: optional(count), invitation: text, token: text, expires_at_ms: count }),
  invitations: record({ id: optional(count), invitations: list(invitation) }),
  audience: counts,
  people: record({ id: optional(count), participants: list(participant), total: count, next: optional(count) }),
  timeline: record({ id: optional(count), now_ms: count, decisions: list(decision) }),
  stats: record({ id: optional(count), peer: nullable(peerStats) }),
  ok: record({ id: optional(count) }),
  pong: record({ id: optional(count) }),
  error: record({ id: optional(count), code: text, message: text, fatal: flag, retry_after_ms: optional(count) }),
  bye: record({ id: optional(count), reason: text, message: text, by: optional(text) }),
};

/**
 * @typedef {"audio" | "video"} MediaKind
 * @typedef {ReturnType<typeof source>} Source
 * @typedef {ReturnType<typeof track>} TrackInfo
 * @typedef {ReturnType<typeof participant>} ParticipantInfo
 * @typedef {ReturnType<typeof chatMessage>} ChatMessage
 * @typedef {ReturnType<typeof slot>} Slot
 * @typedef {ReturnType<typeof needs>} Needs
 * @typedef {ReturnType<typeof subscription>} SubscriptionStats
 * @typedef {ReturnType<typeof peerStats>} PeerStats
 * @typedef {ReturnType<typeof subscriptionState>} SubscriptionState
 * @typedef {ReturnType<typeof layerWanted>} LayerWanted
 * @typedef {ReturnType<typeof limits>} Limits
 * @typedef {ReturnType<typeof decision>} Decision
 * @typedef {{ nowMs: number, decisions: Decision[] }} Timeline the latest decisions, oldest first; `nowMs` is the
 *   server's time, as each decision's `atMs` is: Unix time in milliseconds
 * @typedef {ReturnType<typeof counts>} PeopleCounts
 * @typedef {{ count: number, participants: ReturnType<typeof unable>[] }} Unwatchable how many cannot watch a track,
 *   and some of them
 * @typedef {{ track: string, visible: boolean, height: number, pinned: boolean }} TrackView how a track is
 *   shown; `height` in device pixels, 0 if unknown
 * @typedef {{ mid: string, source: Source, muted: boolean }} CarriedTrack what a sending m-line carries
 * @typedef {{ sdp: string, tracks: CarriedTrack[] }} OfferedTransport an offer that goes along with another message
 * @typedef {{ token: string, graceMs: number }} SessionInfo
 * @typedef {{ action: "mute", track: string }
 *   | { action: "ask_unmute" | "remove" | "ban" | "admit" | "deny" | "lower_hand", participant: string }
 *   | { action: "lock" | "waiting_room" | "chat", on: boolean }
 *   | { action: "end" }} ModerateWish an action of a moderator
 * @typedef {ReturnType<typeof invitation>} Invitation
 * @typedef {{ publish?: ("microphone" | "camera" | "screen")[], subscribe?: boolean, chat?: boolean, data?: boolean,
 *   update?: boolean, moderate?: boolean }} Grants rights of whoever uses an invitation; what is left out is as its maker has
 *   it, and `moderate` false
 * @typedef {{ expiresIn: number, name?: string, grants?: Grants }} InviteWish `expiresIn`: seconds for which it lets in, 60 to
 *   2,592,000 (30 days); `name`: of whoever uses it, who may choose one otherwise
 */

/**
 * @typedef {{ [Type in keyof typeof serverShapes]: { type: Type } & ReturnType<(typeof serverShapes)[Type]> }} ServerMessages
 * @typedef {{ type: "batch", messages: (ServerMessage | null)[] }} Batch null is of a type this client does not know yet
 * @typedef {ServerMessages[keyof ServerMessages] | Batch} ServerMessage
 */

/**
 * Reads one text frame from the server.
 *
 * @param {string} frame
 * @returns {ServerMessage | null} null for a type this client does not know yet
 * @throws {ShapeError} when the frame is not JSON or a known type lacks a field
 */
export function parseServerMessage(frame) {
  /** @type {unknown} */
  let json;
  try {
    json = JSON.parse(frame);
  } catch {
    throw new ShapeError("", "JSON");
  }
  return readMessage(object(json, ""), "");
}

/**
 * @param {Record<string, unknown>} json
 * @param {string} at
 * @returns {ServerMessage | null}
 */
function readMessage(json, at) {
  const type = text(json.type, at ? `${at}.type` : "type");
  if (type === "batch") {
    const messages = list(object)(json.messages, "messages");
    return { type, messages: messages.map((each, index) => readMessage(each, `messages[${index}]`)) };
  }
  if (!Object.hasOwn(serverShapes, type)) return null;
  const shape = serverShapes[/** @type {keyof ServerMessages} */ (type)];
  return /** @type {any} */ ({ type, ...shape(json, at) });
}

/** @param {CarriedTrack} track */
function carried({ source, ...rest }) {
  return { ...rest, source: source === "screenAudio" ? "screen_audio" : source };
}

/**
 * Fields of a message that also says what `offer` and `view` say.
 *
 * @param {OfferedTransport} [offer]
 * @param {TrackView[]} [views]
 */
function along(offer, views) {
  return {
    ...(offer === undefined ? {} : { offer: { sdp: offer.sdp, tracks: offer.tracks.map(carried) } }),
    ...(views === undefined ? {} : { views }),
  };
}

/** Builders of the client's messages. `Signaling` adds the `id` of those that want a reply. */
export const say = {
  /**
   * @param {{ room: string, name: string, metadata?: Record<string, unknown>, autoSubscribe?: boolean, token?: string,
   *   batch?: boolean, audience?: "always" | "large", resumable?: boolean, session?: string, offer?: OfferedTransport,
   *   views?: TrackView[] }} wish
   */
  join: ({ room, name, metadata, autoSubscribe = true, token, batch = false, audience, resumable, session, offer, views }) => ({
    type: /** @type {const} */ ("join"),
    version: PROTOCOL_VERSION,
    room,
    name,
    ...(metadata === undefined ? {} : { metadata }),
    auto_subscribe: autoSubscribe,
    ...(token === undefined ? {} : { token }),
    ...(batch ? { batch } : {}),
    ...(audience === undefined ? {} : { audience }),
    ...(resumable === undefined ? {} : { resumable }),
    ...(session === undefined ? {} : { session }),
    ...along(offer, views),
  }),
  /**
   * @param {string} session the token
   * @param {{ received: number } | { received?: undefined, offer?: OfferedTransport, views?: TrackView[] }} state
   *   `received`: how many numbered messages we have had; left out by a page that has nothing of the one before
   */
  resume: (session, state) => ({
    type: /** @type {const} */ ("resume"),
    session,
    ...(state.received === undefined ? { fresh: true, ...along(state.offer, state.views) } : { received: state.received }),
  }),
  /** @param {number} received how many numbered messages we have had */
  ack: (received) => ({ type: /** @type {const} */ ("ack"), received }),
  /** @param {string} sdp @param {CarriedTrack[]} tracks */
  offer: (sdp, tracks) => ({ type: /** @type {const} */ ("offer"), sdp, tracks: tracks.map(carried) }),
  /** @param {string} candidate @param {string} mid */
  candidate: (candidate, mid) => ({ type: /** @type {const} */ ("candidate"), candidate, mid }),
  /** @param {string[]} tracks */
  subscribe: (tracks) => ({ type: /** @type {const} */ ("subscribe"), tracks }),
  /** @param {string[]} tracks */
  unsubscribe: (tracks) => ({ type: /** @type {const} */ ("unsubscribe"), tracks }),
  /** @param {string} trackId @param {boolean} muted */
  mute: (trackId, muted) => ({ type: /** @type {const} */ ("mute"), track: trackId, muted }),
  /** @param {{ name?: string, metadata?: Record<string, unknown> }} changes */
  update: (changes) => ({ type: /** @type {const} */ ("update"), ...changes }),
  /** @param {string} words */
  chat: (words) => ({ type: /** @type {const} */ ("chat"), text: words }),
  /** @param {TrackView[]} tracks */
  view: (tracks) => ({ type: /** @type {const} */ ("view"), tracks }),
  /** @param {boolean} raised */
  hand: (raised) => ({ type: /** @type {const} */ ("hand"), raised }),
  /** @param {ModerateWish} wish */
  moderate: (wish) => ({ type: /** @type {const} */ ("moderate"), ...wish }),
  /** @param {InviteWish} wish */
  invite: ({ expiresIn, name, grants }) => ({
    type: /** @type {const} */ ("invite"),
    expires_s: expiresIn,
    ...(name === undefined ? {} : { name }),
    ...(grants === undefined ? {} : { grants }),
  }),
  invitations: () => ({ type: /** @type {const} */ ("invitations") }),
  /** @param {string} id of an invitation */
  revoke: (id) => ({ type: /** @type {const} */ ("revoke"), invitation: id }),
  stats: () => ({ type: /** @type {const} */ ("stats") }),
  timeline: () => ({ type: /** @type {const} */ ("timeline") }),
  /** @param {{ after?: number, limit?: number }} page */
  people: ({ after, limit }) => ({
    type: /** @type {const} */ ("people"),
    ...(after === undefined ? {} : { after }),
    ...(limit === undefined ? {} : { limit }),
  }),
  /** @param {number} [received] how many numbered messages we have had */
  ping: (received) => ({ type: /** @type {const} */ ("ping"), ...(received === undefined ? {} : { received }) }),
  leave: () => ({ type: /** @type {const} */ ("leave") }),
};

/**
 * @typedef {ReturnType<(typeof say)[keyof typeof say]>} ClientMessage
 */

/** The type of the message that answers a request. */
export const replyTypes = Object.freeze({
  join: "welcome",
  resume: "resumed",
  offer: "answer",
  subscribe: "ok",
  unsubscribe: "ok",
  mute: "ok",
  update: "ok",
  chat: "ok",
  view: "ok",
  hand: "ok",
  moderate: "ok",
  invite: "invitation",
  invitations: "invitations",
  revoke: "ok",
  stats: "stats",
  timeline: "timeline",
  people: "people",
  ping: "pong",
});

/**
 * @typedef {keyof typeof replyTypes} RequestType
 * @typedef {{ join: ServerMessages["welcome"], resume: ServerMessages["resumed"], offer: ServerMessages["answer"], subscribe: ServerMessages["ok"],
 *   unsubscribe: ServerMessages["ok"], mute: ServerMessages["ok"], update: ServerMessages["ok"],
 *   chat: ServerMessages["ok"], view: ServerMessages["ok"], hand: ServerMessages["ok"], moderate: ServerMessages["ok"],
 *   invite: ServerMessages["invitation"], invitations: ServerMessages["invitations"], revoke: ServerMessages["ok"], stats: ServerMessages["stats"],
 *   people: ServerMessages["people"], timeline: ServerMessages["timeline"], ping: ServerMessages["pong"] }} Replies
 */
