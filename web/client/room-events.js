/**
 * The events of a `Room`.
 *
 * @import { DataReceived } from "./data.js"
 * @import { EncryptionState } from "./encryption.js"
 * @import { Rules } from "./rules.js"
 * @import { Permissions } from "./permissions.js"
 * @import { Publication } from "./publication.js"
 * @import { ChatMessage, PeopleCounts, SubscriptionState, Unwatchable } from "./protocol.js"
 * @import { Participant, RosterEvents } from "./roster.js"
 * @import { SocketKind } from "./socket.js"
 */

/**
 * @typedef {"new" | "joining" | "connected" | "reconnecting" | "closed"} RoomState
 *
 * @typedef {{ state: RoomState, reason: string, message: string }} StateChange
 *   `reason`: empty, or why: the codes of `bye` and of errors in `signaling/docs/PROTOCOL.md`, `left`,
 *   `connection_lost`, `media_failed`
 */

/**
 * @typedef {object} OwnEvents
 * @property {StateChange} stateChanged
 * @property {RTCPeerConnectionState} mediaStateChanged
 * @property {SignalingState} signalingChanged the line of messages to the server is cut, or is there again; the call goes
 *   on meanwhile, or the wait to be let in
 * @property {string | null} sessionChanged what a later page in the same room is given as `session`, so that it goes on as
 *   the same participant; null when there is nothing to go on with. It is a secret
 * @property {{ trackId: string, receiver: RTCRtpReceiver | null }} trackMediaChanged another receiver carries the
 *   track now, or none does
 * @property {{ trackId: string, subscription: SubscriptionState | null }} subscriptionChanged what we are sent of a
 *   track, and why no more; null when nothing is known any more
 * @property {{ trackId: string, unwatchable: Unwatchable | null }} unwatchableChanged who cannot watch a track of ours;
 *   null when everybody can
 * @property {{ publication: Publication, error: Error }} publicationRefused a stay, the first or a later one, does not take
 *   what we publish: it is not sent, and is no publication of the room any more. `errorOccurred` tells the error as well
 * @property {{ participant: Participant, encryption: EncryptionState | null }} encryptionChanged whether somebody's
 *   sound and pictures can be decrypted; null where neither they nor we encrypt
 * @property {Speakers} speakersChanged
 * @property {PeopleCounts | null} audienceChanged how many there are in a room that we see as its audience does; null where
 *   we see everybody
 * @property {ChatMessage} chatReceived
 * @property {DataReceived} dataReceived
 * @property {void} admissionAwaited a moderator has to let us in: `join` goes on then. It comes again after a cut
 * @property {Permissions} permissionsChanged our rights have changed during the call
 * @property {{ rules: Rules, by: string | null, isRestored: boolean }} rulesChanged `by`: the moderator's id, null: the server;
 *   `isRestored`: they hold again, after a restart of the server, and nobody has decided anything
 * @property {HandChange} handsChanged
 * @property {ReadonlyMap<string, string>} waitingChanged the names of those who wait, by id
 * @property {ModeratedEvent} moderated a moderator did something to us, or to somebody else and we are a moderator
 * @property {Error} errorOccurred a failure that the call survives; mostly a `CallError`
 *
 * @typedef {{ isConnected: boolean, transport: SocketKind | null }} SignalingState `transport`: the way by which messages go:
 *   `websocket`, or where that is blocked `sse` (server-sent events) or `polling`
 *
 * @typedef {{ recent: string[], speaking: number }} Speakers ids of participants, ourselves included: who speaks and
 *   who spoke, the latest first; `speaking` of these, from the first on, speak now
 *
 * @typedef {{ participantId: string | null, raised: boolean, by: string | null }} HandChange `participantId`: null when
 *   all may have changed, after joining; `by`: the moderator who lowered it
 *
 * @typedef {{ action: string, by: string, participantId: string, trackId: string | null }} ModeratedEvent `action`: a code of
 *   `signaling/docs/PROTOCOL.md`: `mute`, `ask_unmute`, `remove`, `ban`
 *
 * @typedef {RosterEvents & OwnEvents} RoomEvents
 */

export {};
