//! Messages of the server. Bots read these, so an unknown value of an open list is a plain string.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Source;
use crate::config::IceServer;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    Welcome(Welcome),
    Answer(Answer),
    Needs(Needs),
    Slots {
        slots: Vec<Slot>,
    },
    ParticipantJoined {
        participant: Participant,
    },
    ParticipantUpdated {
        participant: Participant,
    },
    ParticipantLeft {
        participant: String,
        reason: LeaveReason,
    },
    TrackPublished {
        participant: String,
        track: Track,
    },
    TrackUpdated {
        participant: String,
        track: Track,
    },
    TrackUnpublished {
        participant: String,
        track: String,
    },
    Chat {
        message: ChatMessage,
    },
    Media {
        state: MediaState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Stats {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The relay's counters of this participant's transport; null while it has none.
        peer: Option<Value>,
    },
    /// Subscriptions of this participant that are served otherwise than before.
    Subscriptions {
        subscriptions: Vec<SubscriptionState>,
    },
    /// The layers of an own track that anybody is sent; the others need not be encoded.
    Layers {
        track: String,
        layers: Vec<LayerWanted>,
    },
    /// Viewers that cannot watch an own track; none takes an earlier message back.
    Unwatchable {
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
    Speakers {
        /// Participants who speak or spoke, the most recent first.
        recent: Vec<String>,
        /// The number of these, from the first on, that speak now.
        speaking: usize,
    },
    Timeline {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// The time of this reply; Unix time in ms, as the decisions'.
        now_ms: u64,
        /// Oldest first.
        decisions: Vec<Decision>,
    },
    Ok {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
    },
    Pong {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
    },
    Error(Refusal),
    Bye {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        reason: String,
        message: String,
    },
    /// A message of a later server, to be ignored. Never sent.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub version: u32,
    pub room: String,
    /// The id of the participant who joined.
    pub participant: String,
    /// Its name in the room, which the server may have chosen. None from an older server: it is the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its metadata in the room, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Its rights. None from an older server: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// The others.
    pub participants: Vec<Participant>,
    /// Oldest first.
    pub chat: Vec<ChatMessage>,
    pub ice_servers: Vec<IceServer>,
    pub limits: MessageLimits,
    /// Data channels; none from an older server, whose data channels name no senders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataChannels>,
    pub server: ServerInfo,
}

/// The rights of a participant; everybody may receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Permissions {
    /// May publish sound.
    pub microphone: bool,
    /// May publish a camera.
    pub camera: bool,
    /// May publish a screen and its sound.
    pub screen: bool,
    /// May write in the chat.
    pub chat: bool,
    /// May send data channel messages.
    pub data: bool,
    /// May change its own name and metadata.
    pub update: bool,
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

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub sdp: String,
    pub published: Vec<PublishedTrack>,
    /// Every m-line that was offered for use and answered with port 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedMedia>,
    /// Every receiving m-line.
    pub slots: Vec<Slot>,
    pub needs: Needs,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishedTrack {
    pub mid: String,
    pub track: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusedMedia {
    pub mid: String,
    /// Stable, as in an `error`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Slot {
    pub mid: String,
    pub kind: MediaKind,
    /// Null when free.
    pub track: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubscriptionState {
    pub track: String,
    /// Counted from the lowest; null while it is paused.
    pub layer: Option<u8>,
    /// The highest of its temporal layers, counted from the lowest; null while it is paused.
    pub temporal: Option<u8>,
    pub paused: bool,
    /// The reason that no higher layer is sent: a stable code.
    pub reason: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayerWanted {
    /// Null without simulcast.
    pub rid: Option<String>,
    pub active: bool,
}

/// A participant who cannot watch a track.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unable {
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
    pub layer: Option<u8>,
    pub temporal: Option<u8>,
    /// The reason that no higher layer is sent, or the event on the link.
    pub reason: String,
    /// The link's estimated bandwidth at that time, in bits a second.
    pub estimate: Option<u64>,
}

/// Receiving m-lines to add to those there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Needs {
    pub audio: u16,
    pub video: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Audio,
    Video,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Participant {
    pub id: String,
    pub name: String,
    pub metadata: Map<String, Value>,
    pub tracks: Vec<Track>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Track {
    pub id: String,
    pub kind: MediaKind,
    pub source: Source,
    pub muted: bool,
    pub simulcast: bool,
    pub codec: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Counts up within the room.
    pub id: u64,
    /// The sender's id, who may have left since.
    pub participant: String,
    /// The sender's name when it was sent.
    pub name: String,
    pub text: String,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    Left,
    Disconnected,
    MediaFailed,
    Server,
    Kicked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    Connected,
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MessageLimits {
    pub message_bytes: usize,
    pub chat_chars: usize,
    /// Bits a second of all media of a participant; 0: no limit. Servers of before did not say.
    #[serde(default)]
    pub publisher_bitrate: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerInfo {
    pub name: String,
    pub version: String,
}

/// The body of `error`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Stable.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Whether the socket closes.
    pub fatal: bool,
}
