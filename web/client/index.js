/**
 * Tertulia's client: join a room, publish, receive. It has no user interface and touches nothing of
 * the page; `example/` shows how little a page needs.
 *
 * This module is the public API. Other modules may change at any time.
 */
export { createKey, isKey } from "./encryption-key.js";
export { isUnreadable } from "./encryption.js";
export { CallError } from "./errors.js";
export { Events } from "./events.js";
export { captureDevices, captureScreen, explainCapture, listDevices } from "./media.js";
export { AudioLevels } from "./levels.js";
export {
  cleanName,
  cut,
  explainFault,
  firstCharacter,
  lengthOf,
  meantRoom,
  NAME_LENGTH,
  proposeRoom,
  readName,
  readRoom,
  typedRoom,
} from "./names.js";
export { ALL_PERMISSIONS, mayNotPublish } from "./permissions.js";
export { Preconnection } from "./preconnection.js";
export { Publication } from "./publication.js";
export { isPassing } from "./reconnect.js";
export { Room } from "./room.js";
export { OPEN_RULES } from "./rules.js";
export { summarize } from "./stats.js";
export { tryWays } from "./ways.js";

/**
 * @typedef {import("./connection.js").RoomOptions} RoomOptions
 * @typedef {import("./data.js").DataReceived} DataReceived
 * @typedef {import("./encryption.js").EncryptionState} EncryptionState
 * @typedef {import("./encryption-key.js").EncryptionSecret} EncryptionSecret
 * @typedef {import("./media.js").Captured} Captured
 * @typedef {import("./media.js").CaptureWish} CaptureWish
 * @typedef {import("./media.js").DeviceKind} DeviceKind
 * @typedef {import("./moderation.js").Moderation} Moderation
 * @typedef {import("./names.js").NameFault} NameFault
 * @typedef {import("./permissions.js").Permissions} Permissions
 * @typedef {import("./protocol.js").ChatMessage} ChatMessage
 * @typedef {import("./protocol.js").Decision} Decision
 * @typedef {import("./protocol.js").Grants} Grants
 * @typedef {import("./protocol.js").Invitation} Invitation
 * @typedef {import("./protocol.js").InviteWish} InviteWish
 * @typedef {import("./protocol.js").Limits} Limits
 * @typedef {import("./protocol.js").MediaKind} MediaKind
 * @typedef {import("./protocol.js").PeerStats} PeerStats
 * @typedef {import("./protocol.js").PeopleCounts} PeopleCounts
 * @typedef {import("./protocol.js").Source} Source
 * @typedef {import("./protocol.js").SubscriptionState} SubscriptionState
 * @typedef {import("./protocol.js").SubscriptionStats} SubscriptionStats
 * @typedef {import("./protocol.js").Timeline} Timeline
 * @typedef {import("./protocol.js").Unwatchable} Unwatchable
 * @typedef {import("./publication.js").PublishOptions} PublishOptions
 * @typedef {import("./remote-track.js").RemoteTrack} RemoteTrack
 * @typedef {import("./room-events.js").HandChange} HandChange
 * @typedef {import("./room-events.js").ModeratedEvent} ModeratedEvent
 * @typedef {import("./room-events.js").RoomEvents} RoomEvents
 * @typedef {import("./room-events.js").RoomState} RoomState
 * @typedef {import("./room-events.js").Speakers} Speakers
 * @typedef {import("./room-events.js").StateChange} StateChange
 * @typedef {import("./roster.js").Participant} Participant
 * @typedef {import("./rules.js").Rules} Rules
 * @typedef {import("./stats.js").StreamStats} StreamStats
 * @typedef {import("./views.js").Shown} Shown
 * @typedef {import("./ways.js").Way} Way
 * @typedef {import("./ways.js").WayOutcome} WayOutcome
 */
