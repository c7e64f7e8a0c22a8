//! Rooms. Each is owned by one actor; protocols speak to it in [`Command`]s and hear [`Event`]s,
//! and know nothing of each other or of the media plane.

mod actor;
mod admission;
mod chat;
mod coalesce;
mod command;
mod crowd;
mod errands;
mod event;
mod id;
mod inspection;
mod invitations;
mod lane;
mod media_change;
mod moderation;
mod negotiation;
mod operate;
mod participant;
mod permission;
mod places;
mod refusal;
mod registry;
mod renewal;
mod report;
mod request;
mod stage;
mod stats;
mod stay;
mod subscription;
mod tally;
mod timeline;
mod told;
mod vacancy;
mod view;

pub(crate) use crate::access::IDENTITY_BYTES;
pub use crate::metadata::Metadata;
pub use crate::session::{Inbox, Secret};
pub(crate) use command::room_name;
pub use command::{Action, Audience, Carried, Command, Entrant, NamedView, SocketKind, Source};
pub use event::{
    Answered, ChatEntry, Ending, Event, LeaveReason, NamedSlot, NamedSubscription,
    NamedUnwatchable, ParticipantInfo, Snapshot, Speakers, TrackInfo,
};
pub use id::{InvitationId, ParticipantId, TrackName};
pub use invitations::Invitation;
#[cfg(test)]
pub(crate) use moderation::{DONE_CODES, REFUSED_CODES};
pub use moderation::{Granting, Invite, Moderate, Outcome, Rules, Waiting, WaitingPerson};
pub use operate::{OperateError, Recipient, RoomSnapshot, Seen, ServerSays};
pub(crate) use places::RESERVE;
pub use refusal::Refusal;
#[cfg(test)]
pub(crate) use registry::join_codes;
pub use registry::{Counts, Entry, Membership, RoomSettings, Rooms, StopSignal};
pub use report::{Change, Events, Heard, Person, PublicTrack, RoomEvent};
pub use stage::{Counts as PeopleCounts, Page};
pub use stats::{
    BandwidthStats, LayerStats, ParticipantStats, PeerStats, PublishedStats, RoomStats,
    SubscriptionStats, UnwatchableStats,
};
pub(crate) use tally::Tally;
pub use timeline::{NamedDecision, Timeline};
pub use told::Told;
