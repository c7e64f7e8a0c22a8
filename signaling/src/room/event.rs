//! Events that a room tells a participant's protocol.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{ParticipantId, PeerStats, Refusal, Source, Timeline, TrackName};
use crate::hooks::Permissions;
use crate::media::{
    DataRefusal, LayerWanted, MediaKind, Needs, PeerFailure, Reason, RenegotiationReason,
};

/// Told in this order: a participant and its tracks come before anything that refers to them.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first.
    Welcome(Snapshot),
    /// Answers [`Action::Offer`](super::Action::Offer).
    Answered {
        request: Option<u32>,
        answer: Answered,
    },
    /// Answers [`Action::Stats`](super::Action::Stats).
    Stats {
        request: Option<u32>,
        peer: Option<PeerStats>,
    },
    /// Answers [`Action::Timeline`](super::Action::Timeline).
    Timeline {
        request: Option<u32>,
        timeline: Timeline,
    },
    /// Answers every other action.
    Done {
        request: Option<u32>,
    },
    /// Answers an action that was not taken.
    Refused {
        request: Option<u32>,
        refusal: Refusal,
    },
    ParticipantJoined(ParticipantInfo),
    ParticipantUpdated(ParticipantInfo),
    ParticipantLeft {
        participant: ParticipantId,
        reason: LeaveReason,
    },
    TrackPublished {
        participant: ParticipantId,
        track: TrackInfo,
    },
    TrackUpdated {
        participant: ParticipantId,
        track: TrackInfo,
    },
    TrackUnpublished {
        participant: ParticipantId,
        track: TrackName,
    },
    /// Told to everyone, the sender included, so that all see one order.
    Chat(ChatEntry),
    MediaConnected,
    MediaFailed(PeerFailure),
    /// Slots that were pointed at other tracks.
    Slots(Vec<NamedSlot>),
    Needs(Needs),
    /// Subscriptions of a participant that are served otherwise than before.
    Subscriptions(Vec<NamedSubscription>),
    /// The layers of a participant's own track that anybody is sent.
    Layers {
        track: TrackName,
        layers: Vec<LayerWanted>,
    },
    /// Viewers that cannot watch a participant's own track.
    Unwatchable(NamedUnwatchable),
    /// A participant should offer again: the answer would differ now.
    Renegotiate(RenegotiationReason),
    Speakers(Speakers),
    /// A data channel that this participant opened, or a message it sent on one, was refused.
    DataRefused(DataRefusal),
}

/// A track that some cannot watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedUnwatchable {
    pub track: TrackName,
    /// The number of all of them.
    pub count: usize,
    /// Some of them, each with the reason.
    pub participants: Vec<(ParticipantId, Reason)>,
}

/// The state of a participant's subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedSubscription {
    pub track: TrackName,
    /// Counted from the lowest; none while it is paused.
    pub layer: Option<u8>,
    pub temporal: Option<u8>,
    /// The reason that no higher layer is sent.
    pub reason: Reason,
}

/// Participants who speak now and who spoke last, the most recent first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Speakers {
    pub recent: Vec<ParticipantId>,
    /// The number of these, from the first on, that speak now.
    pub speaking: usize,
}

/// The room at the time that an entrant joins.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub request: Option<u32>,
    pub room: Arc<str>,
    /// The entrant.
    pub participant: ParticipantId,
    /// The entrant's name, which the embedder may have chosen.
    pub name: String,
    /// The entrant's metadata, likewise.
    pub metadata: Map<String, Value>,
    /// The entrant's rights.
    pub permissions: Permissions,
    /// The others, in the order they joined.
    pub participants: Vec<ParticipantInfo>,
    /// Oldest first.
    pub chat: Vec<ChatEntry>,
}

#[derive(Clone, Debug)]
pub struct Answered {
    pub sdp: String,
    /// m-line and track.
    pub published: Vec<(String, TrackName)>,
    /// m-lines answered with port 0, each with the reason.
    pub refused: Vec<(String, Refusal)>,
    pub slots: Vec<NamedSlot>,
    pub needs: Needs,
}

/// A receiving m-line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedSlot {
    pub mid: String,
    pub kind: MediaKind,
    /// The track; none when free.
    pub track: Option<TrackName>,
}

#[derive(Clone, Debug)]
pub struct ParticipantInfo {
    pub id: ParticipantId,
    pub name: String,
    pub metadata: Map<String, Value>,
    pub tracks: Vec<TrackInfo>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackInfo {
    pub name: TrackName,
    pub kind: MediaKind,
    pub source: Source,
    pub muted: bool,
    pub simulcast: bool,
    pub codec: &'static str,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChatEntry {
    pub id: u64,
    pub participant: ParticipantId,
    /// The sender's name then.
    pub name: String,
    pub text: Arc<str>,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaveReason {
    Left,
    Disconnected,
    MediaFailed,
    Server,
    /// The embedder removed it.
    Kicked,
}

impl LeaveReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Disconnected => "disconnected",
            Self::MediaFailed => "media_failed",
            Self::Server => "server",
            Self::Kicked => "kicked",
        }
    }
}

/// The reason that a room ended a membership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The participant's event queue was full: it reads more slowly than the room speaks.
    TooSlow,
    ServerShutdown,
    /// The server did not keep up with the room, and has closed it.
    RoomFailed,
    /// The embedder removed the participant; its sentence for the person.
    Kicked(String),
    /// The embedder closed the room; its sentence for the people.
    RoomClosed(String),
}
