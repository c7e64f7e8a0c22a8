//! Messages of the server. Bots read these, so an unknown value of an open list is a plain string.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Source;
use crate::access::Token;
use crate::room::Metadata;

/// The messages of the server, by `type`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "a message lives for as long as it takes to write it, and few at a time do"
)]
pub enum ServerMessage {
    /// Answers `join`.
    Welcome(Welcome),
    /// Answers `offer`.
    Answer(Answer),
    /// Answers `resume`: the session goes on.
    Resumed {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The token for the next resume.
        session: Token,
        /// The number of the client's numbered messages that have come.
        received: u64,
    },
    /// STUN and TURN servers from now on: the users of before are soon taken no more.
    IceServers {
        /// In the place of those told before.
        ice_servers: Vec<IceServer>,
    },
    /// Receiving m-lines are missing, or no more.
    Needs(Needs),
    /// Receiving m-lines carry other tracks.
    Slots {
        /// The m-lines that changed.
        slots: Vec<Slot>,
    },
    /// Somebody has joined.
    ParticipantJoined {
        /// The participant.
        participant: Participant,
    },
    /// Somebody has changed name or metadata.
    ParticipantUpdated {
        /// The participant, as it is now.
        participant: Participant,
    },
    /// Somebody has left.
    ParticipantLeft {
        /// Its id.
        participant: String,
        /// The reason.
        reason: LeaveReason,
    },
    /// Somebody's session has lost its connection, or has one again.
    Presence {
        /// The participant's id.
        participant: String,
        /// Whether it has one.
        connected: bool,
    },
    /// Somebody publishes a track.
    TrackPublished {
        /// The publisher's id.
        participant: String,
        /// The track.
        track: Track,
    },
    /// A track is muted or unmuted, or carries something else.
    TrackUpdated {
        /// The publisher's id.
        participant: String,
        /// The track, as it is now.
        track: Track,
    },
    /// A track has ended.
    TrackUnpublished {
        /// The publisher's id.
        participant: String,
        /// The track's id.
        track: String,
    },
    /// Somebody wrote in the chat.
    Chat {
        /// The message.
        message: ChatMessage,
    },
    /// The transport is up, or has failed.
    Media {
        /// The transport's state.
        state: MediaState,
        /// The reason that it failed: a stable code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Answers `stats`.
    Stats {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The relay's counters of this participant's transport; null while it has none.
        peer: Option<Value>,
    },
    /// Subscriptions of this participant that are served otherwise than before.
    Subscriptions {
        /// The subscriptions that changed.
        subscriptions: Vec<SubscriptionState>,
    },
    /// The layers of an own track that anybody is sent; the others need not be encoded.
    Layers {
        /// The track's id.
        track: String,
        /// All its layers, the lowest first.
        layers: Vec<LayerWanted>,
    },
    /// Viewers that cannot watch an own track; none takes an earlier message back.
    Unwatchable {
        /// The track's id.
        track: String,
        /// The number of all of them.
        count: usize,
        /// Some of them.
        participants: Vec<Unable>,
    },
    /// The answer to another offer would be a better one.
    Renegotiate {
        /// A stable code.
        reason: String,
    },
    /// Other people speak than before.
    Speakers {
        /// Participants who speak or spoke, the most recent first.
        recent: Vec<String>,
        /// The number of these, from the first on, that speak now.
        speaking: usize,
    },
    /// The join has to wait until a moderator admits it. The answer to `join` comes later.
    Wait,
    /// The rules of the room have changed.
    Rules {
        /// The rules, as they are now.
        rules: Rules,
        /// The moderator's id; none: the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Somebody has raised or lowered a hand.
    Hand {
        /// The participant's id.
        participant: String,
        /// Whether it is raised.
        raised: bool,
        /// The id of the moderator who lowered it; none: the participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A moderator did something to this participant, or a moderator is told of it.
    Moderated {
        /// The action: a stable code.
        action: String,
        /// The moderator's id.
        by: String,
        /// The id of the participant whom it is about.
        participant: String,
        /// The id of the track that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        track: Option<String>,
    },
    /// The rights of this participant have changed.
    Permissions {
        /// The rights, as they are now.
        permissions: Permissions,
    },
    /// More people wait to be let in. Moderators are told.
    Waiting {
        /// People who came to wait, the first who came first.
        waiting: Vec<WaitingPerson>,
    },
    /// Somebody waits no more. Moderators are told.
    WaitingLeft {
        /// The id.
        participant: String,
        /// The outcome: a stable code.
        outcome: String,
        /// The id of the moderator who decided.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Answers `timeline`.
    Timeline {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The time of this reply; Unix time in ms, as the decisions'.
        now_ms: u64,
        /// Oldest first.
        decisions: Vec<Decision>,
    },
    /// Answers `invite`.
    Invitation {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The invitation's id.
        invitation: String,
        /// The access token that lets in.
        token: Token,
        /// The end of its time; Unix time in ms.
        expires_at_ms: u64,
    },
    /// Answers `invitations`.
    Invitations {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// Invitations that let in, the oldest first.
        invitations: Vec<Invitation>,
    },
    /// Several messages, in their order.
    Batch {
        /// The messages.
        messages: Vec<ServerMessage>,
    },
    /// The numbers of people in the room have changed. The audience is told.
    Audience(AudienceCounts),
    /// Answers `people`.
    People {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The others, in the order they joined.
        participants: Vec<Participant>,
        /// The number of everybody in the room.
        total: usize,
        /// `after` of the next page; none: this is the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// Answers requests that need no other answer.
    Ok {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
    },
    /// Answers `ping`.
    Pong {
        /// The number of the request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
    },
    /// Refuses a request, or tells of a fault.
    Error(Refusal),
    /// The connection ends, and is meant to.
    Bye {
        /// The number of the `leave` that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The reason: a stable code.
        reason: String,
        /// A sentence for people.
        message: String,
        /// The id of the moderator whose doing it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A message of a later server, to be ignored. Never sent.
    #[serde(other)]
    Unknown,
}

/// Tells who has joined about the room and the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The number of the request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The version of the protocol.
    pub version: u32,
    /// The room's name.
    pub room: String,
    /// The id of the participant who joined.
    pub participant: String,
    /// Its name in the room, which the server may have chosen. None from an older server: it is the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its metadata in the room, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Its rights. None from an older server: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// The others.
    pub participants: Vec<Participant>,
    /// Oldest first.
    pub chat: Vec<ChatMessage>,
    /// The room's rules. None from an older server, whose rooms have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Rules>,
    /// Ids of participants with a raised hand, the first to raise it first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hands: Vec<String>,
    /// The numbers of people, for one who is audience: `participants` and `hands` are of those on stage. None: they are of
    /// everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<AudienceCounts>,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Bounds of this server.
    pub limits: MessageLimits,
    /// Data channels; none from an older server, whose data channels name no senders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataChannels>,
    /// The server.
    pub server: ServerInfo,
    /// The rule by which it lets people in. None from an older server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The session; none if the join asked for none, or the server has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionInfo>,
}

/// An entry of `RTCConfiguration.iceServers`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IceServer {
    /// Addresses: `stun:`, `stuns:`, `turn:` or `turns:`.
    pub urls: Vec<String>,
    /// The user's name; none for STUN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password; none for STUN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// A session, as its client is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The token for the next resume.
    pub token: Token,
    /// The time for which the participant stays without a connection, in milliseconds.
    pub grace_ms: u64,
}

/// The numbers of people in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AudienceCounts {
    /// Everybody, this participant included.
    pub participants: usize,
    /// People who publish a track.
    pub publishers: usize,
    /// Raised hands.
    pub hands: usize,
}

/// The rights of a participant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Permissions {
    /// May publish sound.
    pub microphone: bool,
    /// May publish a camera.
    pub camera: bool,
    /// May publish a screen and its sound.
    pub screen: bool,
    /// May receive tracks of others. An older server does not say so: it may.
    #[serde(default = "yes")]
    pub subscribe: bool,
    /// May write in the chat.
    pub chat: bool,
    /// May send data channel messages.
    pub data: bool,
    /// May change its own name and metadata.
    pub update: bool,
    /// May moderate. An older server does not say so: nobody may.
    #[serde(default)]
    pub moderate: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// The rules of a room that moderators set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rules {
    /// Newcomers are refused.
    pub locked: bool,
    /// Newcomers wait until a moderator admits them.
    pub waiting_room: bool,
    /// Others than moderators may write in the chat.
    pub chat: bool,
}

/// Somebody who waits to be let in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WaitingPerson {
    /// The id that they will have in the room.
    pub id: String,
    /// Their name.
    pub name: String,
}

/// An invitation that lets in, without its token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: String,
    /// The end of its time; Unix time in ms.
    pub expires_at_ms: u64,
    /// The name that its maker had at that time.
    pub made_by: String,
    /// The name in the room of whoever uses it; none: the one that they ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The rights of whoever uses it.
    pub permissions: Permissions,
}

/// Rules of the data channels `reliable` and `unreliable`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataChannels {
    /// A channel opened with this protocol carries messages that begin with their sender's id.
    pub protocol: String,
    /// The longest message.
    pub message_bytes: usize,
    /// Messages a second that a client may send on both channels together.
    pub messages_per_second: u32,
}

/// The answer to an offer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The session description.
    pub sdp: String,
    /// All own tracks.
    pub published: Vec<PublishedTrack>,
    /// Every m-line that was offered for use and refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedMedia>,
    /// Every receiving m-line.
    pub slots: Vec<Slot>,
    /// Receiving m-lines that are missing.
    pub needs: Needs,
}

/// An own track.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishedTrack {
    /// Its m-line.
    pub mid: String,
    /// Its id.
    pub track: String,
}

/// An m-line that the server does not take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusedMedia {
    /// The m-line.
    pub mid: String,
    /// Stable, as in an `error`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// A receiving m-line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// The m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Null when free.
    pub track: Option<String>,
}

/// The state of a subscription.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubscriptionState {
    /// The track's id.
    pub track: String,
    /// Counted from the lowest; null while it is paused.
    pub layer: Option<u8>,
    /// The highest of its temporal layers, counted from the lowest; null while it is paused.
    pub temporal: Option<u8>,
    /// Whether nothing of it is sent.
    pub paused: bool,
    /// The reason that no higher layer is sent: a stable code.
    pub reason: String,
}

/// Whether a layer is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayerWanted {
    /// Null without simulcast.
    pub rid: Option<String>,
    /// Whether anybody is sent it.
    pub active: bool,
}

/// A participant who cannot watch a track.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unable {
    /// The participant's id.
    pub participant: String,
    /// The reason: a stable code.
    pub reason: String,
}

/// A decision about this participant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// Unix time in ms, by the server's clock.
    pub at_ms: u64,
    /// Null if it is about the link.
    pub track: Option<String>,
    /// The layer to be sent from then on; null: none.
    pub layer: Option<u8>,
    /// The highest of its temporal layers; null: none.
    pub temporal: Option<u8>,
    /// The reason that no higher layer is sent, or the event on the link.
    pub reason: String,
    /// The link's estimated bandwidth at that time, in bits a second.
    pub estimate: Option<u64>,
}

/// Receiving m-lines to add to those there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Needs {
    /// m-lines for audio.
    pub audio: u16,
    /// m-lines for video.
    pub video: u16,
}

/// The kind of a track.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// A participant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Participant {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: Metadata,
    /// The tracks that it publishes.
    pub tracks: Vec<Track>,
    /// Whether its session has a connection.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub connected: bool,
}

/// A published track.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Track {
    /// Its id.
    pub id: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its source, as its publisher says.
    pub source: Source,
    /// Whether its publisher has muted it.
    pub muted: bool,
    /// Whether it has several encodings.
    pub simulcast: bool,
    /// The codec that it comes in.
    pub codec: String,
}

/// A chat message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Counts up within the room.
    pub id: u64,
    /// The sender's id, who may have left since.
    pub participant: String,
    /// The sender's name when it was sent.
    pub name: String,
    /// The text.
    pub text: String,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// The reason that a participant has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// It said `leave`.
    Left,
    /// Its WebSocket ended.
    Disconnected,
    /// Reserved.
    MediaFailed,
    /// The server is shutting down, or closed the room.
    Server,
    /// The operator or a moderator removed it.
    Kicked,
    /// It is in the room, but not on stage any more. The audience is told.
    Audience,
    /// A new join of the user has taken its place.
    Replaced,
}

/// The state of a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// Media can flow.
    Connected,
    /// It has ended; another is needed.
    Failed,
}

/// Bounds of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MessageLimits {
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Code points of a chat text.
    pub chat_chars: usize,
    /// Bits a second of all media of a participant; 0: no limit. Servers of before did not say.
    #[serde(default)]
    pub publisher_bitrate: u64,
}

/// The server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerInfo {
    /// The name of the software.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The rule by which a server lets people in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Everybody may join every room.
    Open,
    /// A join needs an access token.
    Tokens,
    /// The operator's own program decides.
    Hooks,
    /// A rule of a later server. Never sent.
    #[serde(other)]
    Unknown,
}

/// The body of `error`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// The number of the request that it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Stable.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Whether the socket closes.
    pub fatal: bool,
    /// The time after which the same may succeed, in milliseconds, if the server knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
