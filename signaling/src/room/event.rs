//! Events that a room tells a participant's protocol.

use std::sync::Arc;

use super::moderation::{Outcome, Rules, WaitingPerson};
use super::{
    Invitation, InvitationId, Metadata, NamedDecision, Page, ParticipantId, PeerStats,
    PeopleCounts, Refusal, Source, Timeline, Told, TrackName,
};
use crate::access::Token;
use crate::hooks::Permissions;
use crate::media::{
    DataRefusal, LayerWanted, MediaKind, Needs, PeerFailure, Reason, RenegotiationReason,
};

/// Bytes of an id that is kept for one event alone.
const ID: usize = 48;
/// Bytes of a track in an event.
const TRACK: usize = size_of::<TrackInfo>() + ID;

/// Told in this order: a participant and its tracks come before anything that refers to them.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first.
    Welcome(Snapshot),
    /// STUN and TURN servers are to be told anew to this participant, with users that hold from now on.
    IceServers(ParticipantId),
    /// Answers [`Action::Offer`](super::Action::Offer).
    Answered {
        /// The number of the request that it answers.
        request: Option<u32>,
        /// The answer.
        answer: Answered,
    },
    /// Answers [`Action::Stats`](super::Action::Stats).
    Stats {
        /// The number of the request that it answers.
        request: Option<u32>,
        /// The counters; none without a transport.
        peer: Option<PeerStats>,
    },
    /// Answers [`Action::Timeline`](super::Action::Timeline).
    Timeline {
        /// The number of the request that it answers.
        request: Option<u32>,
        /// The decisions.
        timeline: Timeline,
    },
    /// Answers [`Action::Invite`](super::Action::Invite).
    Invitation {
        /// The number of the request that it answers.
        request: Option<u32>,
        /// The invitation's id.
        id: InvitationId,
        /// The access token that lets in.
        token: Token,
        /// The end of its time: Unix time in seconds.
        expires_s: u64,
    },
    /// Answers [`Action::Invitations`](super::Action::Invitations).
    Invitations {
        /// The number of the request that it answers.
        request: Option<u32>,
        /// Invitations that let in, the oldest first.
        invitations: Vec<Invitation>,
    },
    /// Answers every other action.
    Done {
        /// The number of the request that it answers.
        request: Option<u32>,
    },
    /// Answers an action that was not taken.
    Refused {
        /// The number of the request that it answers.
        request: Option<u32>,
        /// The reason.
        refusal: Refusal,
    },
    /// Somebody has joined.
    ParticipantJoined(ParticipantInfo),
    /// Somebody has changed name or metadata.
    ParticipantUpdated(ParticipantInfo),
    /// Somebody has left.
    ParticipantLeft {
        /// Its id.
        participant: ParticipantId,
        /// The reason.
        reason: LeaveReason,
    },
    /// Somebody's session has lost its connection, or has one again.
    Presence {
        /// The participant.
        participant: ParticipantId,
        /// Whether it has one.
        connected: bool,
    },
    /// Somebody publishes a track.
    TrackPublished {
        /// The publisher.
        participant: ParticipantId,
        /// The track.
        track: TrackInfo,
    },
    /// A track is muted or unmuted, or carries something else.
    TrackUpdated {
        /// The publisher.
        participant: ParticipantId,
        /// The track, as it is now.
        track: TrackInfo,
    },
    /// A track has ended.
    TrackUnpublished {
        /// The publisher.
        participant: ParticipantId,
        /// The track.
        track: TrackName,
    },
    /// Told to everyone, the sender included, so that all see one order.
    Chat(ChatEntry),
    /// Its transport is up.
    MediaConnected,
    /// Its transport has failed.
    MediaFailed(PeerFailure),
    /// Slots that were pointed at other tracks.
    Slots(Vec<NamedSlot>),
    /// Receiving m-lines are missing, or no more.
    Needs(Needs),
    /// Subscriptions of a participant that are served otherwise than before.
    Subscriptions(Vec<NamedSubscription>),
    /// The layers of a participant's own track that anybody is sent.
    Layers {
        /// The track.
        track: TrackName,
        /// All its layers, the lowest first.
        layers: Vec<LayerWanted>,
    },
    /// Viewers that cannot watch a participant's own track.
    Unwatchable(NamedUnwatchable),
    /// A participant should offer again: the answer would differ now.
    Renegotiate(RenegotiationReason),
    /// Other people speak than before.
    Speakers(Speakers),
    /// The rules of the room have changed.
    Rules {
        /// The rules, as they are now.
        rules: Rules,
        /// The moderator; none: the server.
        by: Option<ParticipantId>,
    },
    /// Somebody has raised or lowered a hand. The last to raise it comes last.
    Hand {
        /// The participant.
        participant: ParticipantId,
        /// Whether it is raised.
        raised: bool,
        /// The moderator who lowered it; none: the participant.
        by: Option<ParticipantId>,
    },
    /// A moderator did something to somebody. Told to that participant and to moderators.
    Moderated {
        /// The action: a stable code.
        action: &'static str,
        /// The moderator.
        by: ParticipantId,
        /// The participant whom it is about.
        participant: ParticipantId,
        /// The track that it is about.
        track: Option<TrackName>,
    },
    /// The rights of this participant have changed.
    Permissions(Permissions),
    /// More people wait to be let in. Told to moderators.
    Waiting(Vec<WaitingPerson>),
    /// Somebody waits no more. Told to moderators.
    WaitingLeft {
        /// The id.
        participant: ParticipantId,
        /// The outcome.
        outcome: Outcome,
        /// The moderator who decided.
        by: Option<ParticipantId>,
    },
    /// A data channel that this participant opened, or a message it sent on one, was refused.
    DataRefused(DataRefusal),
    /// Several events, in their order. Told to those who take them so.
    Batch(Vec<Told>),
    /// The numbers of people. Told to the audience.
    Audience(PeopleCounts),
    /// Answers [`Action::People`](super::Action::People).
    People {
        /// The number of the request that it answers.
        request: Option<u32>,
        /// The people.
        page: Page,
    },
}

impl Event {
    /// Bytes that it takes while it waits: its texts, and a bit for each entry of its lists. Within a half of what it
    /// really takes, or more.
    pub(crate) fn weight(&self) -> usize {
        const ENTRY: usize = 128;
        let rest = match self {
            Self::Welcome(snapshot) => {
                let people = snapshot.participants.iter().map(ParticipantInfo::weight);
                let chat = snapshot.chat.iter().map(ChatEntry::weight);
                let said: usize = people.chain(chat).sum();
                let own = snapshot.name.len() + snapshot.metadata.weight();
                said + own + snapshot.hands.len() * size_of::<ParticipantId>()
            }
            Self::Answered { answer, .. } => {
                let lines = answer.published.len() + answer.refused.len() + answer.slots.len();
                answer.sdp.len() + lines * ENTRY
            }
            Self::Stats { peer, .. } => peer.as_ref().map_or(0, |peer| {
                (8 + 4 * peer.published.len() + 2 * peer.subscriptions.len()) * ENTRY
            }),
            Self::Timeline { timeline, .. } => {
                timeline.decisions.len() * size_of::<NamedDecision>()
            }
            Self::ParticipantJoined(info) | Self::ParticipantUpdated(info) => info.weight(),
            Self::TrackPublished { .. } | Self::TrackUpdated { .. } => TRACK,
            Self::Chat(entry) => entry.weight(),
            Self::Slots(slots) => slots.len() * ENTRY,
            Self::Waiting(people) => people.iter().map(|it| ENTRY + it.name.len()).sum(),
            Self::Refused { refusal, .. } => refusal.message.len(),
            Self::Invitation { token, .. } => token.as_str().len(),
            Self::Invitations { invitations, .. } => {
                let named = invitations
                    .iter()
                    .map(|it| ENTRY + it.made_by.len() + it.name.as_ref().map_or(0, String::len));
                named.sum()
            }
            Self::Speakers(speakers) => speakers.recent.len() * size_of::<ParticipantId>(),
            Self::Layers { layers, .. } => layers.len() * size_of::<LayerWanted>(),
            Self::Subscriptions(subscriptions) => subscriptions.len() * ENTRY,
            Self::Batch(parts) => parts.iter().map(Told::weight).sum(),
            Self::People { page, .. } => {
                page.participants.iter().map(ParticipantInfo::weight).sum()
            }
            Self::Unwatchable(unwatchable) => unwatchable.participants.len() * ENTRY,
            _ => 0,
        };
        size_of::<Self>() + rest
    }
}

impl ParticipantInfo {
    /// The memory that it takes, in bytes: its metadata as if nobody else had it, since others may let go of it.
    pub(super) fn weight(&self) -> usize {
        self.name.len() + self.metadata.weight() + self.tracks.len() * TRACK + size_of::<Self>()
    }
}

impl ChatEntry {
    fn weight(&self) -> usize {
        self.name.len() + self.text.len() + ID + size_of::<Self>()
    }
}

/// A track that some cannot watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedUnwatchable {
    /// The track.
    pub track: TrackName,
    /// The number of all of them.
    pub count: usize,
    /// Some of them, each with the reason.
    pub participants: Vec<(ParticipantId, Reason)>,
}

/// The state of a participant's subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedSubscription {
    /// The track.
    pub track: TrackName,
    /// Counted from the lowest; none while it is paused.
    pub layer: Option<u8>,
    /// The highest of its temporal layers; none while it is paused.
    pub temporal: Option<u8>,
    /// The reason that no higher layer is sent.
    pub reason: Reason,
}

/// Participants who speak now and who spoke last, the most recent first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Speakers {
    /// The participants.
    pub recent: Vec<ParticipantId>,
    /// The number of these, from the first on, that speak now.
    pub speaking: usize,
}

/// The room at the time that an entrant joins.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of the request that it answers.
    pub request: Option<u32>,
    /// The room's name.
    pub room: Arc<str>,
    /// The entrant.
    pub participant: ParticipantId,
    /// The entrant's name, which the embedder may have chosen.
    pub name: String,
    /// The entrant's metadata, likewise.
    pub metadata: Metadata,
    /// The entrant's rights.
    pub permissions: Permissions,
    /// The others, in the order they joined.
    pub participants: Vec<ParticipantInfo>,
    /// Oldest first.
    pub chat: Vec<ChatEntry>,
    /// The room's rules.
    pub rules: Rules,
    /// Participants with a raised hand, the first to raise it first.
    pub hands: Vec<ParticipantId>,
    /// The numbers of people, for one who sees the room as its audience does: `participants` and `hands` are of those on
    /// stage then.
    pub audience: Option<PeopleCounts>,
}

/// The answer to an offer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The session description.
    pub sdp: String,
    /// m-line and track.
    pub published: Vec<(String, TrackName)>,
    /// m-lines that were offered for use and refused, each with the reason.
    pub refused: Vec<(String, Refusal)>,
    /// All receiving m-lines.
    pub slots: Vec<NamedSlot>,
    /// Receiving m-lines that are missing.
    pub needs: Needs,
}

/// A receiving m-line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedSlot {
    /// The m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The track; none when free.
    pub track: Option<TrackName>,
}

/// A participant as the others see it.
#[derive(Clone, Debug)]
pub struct ParticipantInfo {
    /// Its id.
    pub id: ParticipantId,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: Metadata,
    /// The tracks that it publishes.
    pub tracks: Vec<TrackInfo>,
    /// Whether its session has a connection.
    pub connected: bool,
}

/// A published track as the others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackInfo {
    /// Its id.
    pub name: TrackName,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its source, as its publisher says.
    pub source: Source,
    /// Whether its publisher has muted it.
    pub muted: bool,
    /// Whether it has several encodings.
    pub simulcast: bool,
    /// The codec that it comes in.
    pub codec: &'static str,
}

/// A chat message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChatEntry {
    /// A number that counts up within the room.
    pub id: u64,
    /// The sender, who may have left; [`ParticipantId::SERVER`] of the server itself.
    pub participant: ParticipantId,
    /// The sender's name then.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// The reason that a participant has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaveReason {
    /// It said so.
    Left,
    /// Its connection ended.
    Disconnected,
    /// Reserved.
    MediaFailed,
    /// The server is shutting down, or the room was closed.
    Server,
    /// The embedder or a moderator removed it.
    Kicked,
    /// It is in the room, but not on stage any more. Told to the audience.
    Audience,
    /// A new join of the user has taken its place.
    Replaced,
}

impl LeaveReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Disconnected => "disconnected",
            Self::MediaFailed => "media_failed",
            Self::Server => "server",
            Self::Kicked => "kicked",
            Self::Audience => "audience",
            Self::Replaced => "replaced",
        }
    }
}

/// The reason that a room ended a membership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The participant's event queue was full: it reads more slowly than the room speaks.
    TooSlow,
    /// The server is shutting down.
    ServerShutdown,
    /// The server did not keep up with the room, and has closed it.
    RoomFailed,
    /// The embedder or a moderator removed the participant.
    Kicked {
        /// A sentence for the person.
        message: String,
        /// The moderator.
        by: Option<ParticipantId>,
    },
    /// A moderator removed the participant for as long as the room is there.
    Banned {
        /// A sentence for the person.
        message: String,
        /// The moderator.
        by: Option<ParticipantId>,
    },
    /// A new join has taken its place: of the same user, or with the session's secret.
    Replaced,
    /// The embedder or a moderator closed the room.
    RoomClosed {
        /// A sentence for the people.
        message: String,
        /// The moderator.
        by: Option<ParticipantId>,
    },
}
