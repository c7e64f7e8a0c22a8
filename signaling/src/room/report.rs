//! Events of all rooms, for an embedder.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::actor::Room;
use super::participant::Participant;
use super::timeline::unix_ms;
use super::{ChatEntry, InvitationId, LeaveReason, ParticipantId, Source, TrackInfo, TrackName};
use crate::media::MediaKind;

/// Events kept for a reader that is behind. Overflow: the oldest are dropped, and the reader is told how many
/// ([`Heard::Missed`]). A reader that is busy for a second misses nothing of a thousand events a second; the largest
/// event, a data channel message of 16 KiB, bounds them at 16 MB.
const KEPT: usize = 1_024;

/// A thing that happened in a room.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct RoomEvent {
    /// The room's name.
    pub room: Arc<str>,
    /// The time; Unix time in milliseconds.
    pub at_ms: u64,
    /// The thing.
    pub change: Change,
}

/// The kinds of [`RoomEvent`].
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// The room was made, by somebody who is about to join.
    RoomOpened,
    /// The room is gone. Everybody who was in it has left before.
    RoomClosed {
        /// The reason, a stable code: `empty`, `evicted`, `closed`, `events_not_taken` or `server_shutdown`.
        reason: &'static str,
    },
    /// A participant has joined.
    Joined(Person),
    /// A participant has changed its name or metadata; this is the name now.
    Updated(Person),
    /// A participant has left. Its tracks were unpublished before.
    Left {
        /// The participant.
        person: Person,
        /// The reason.
        reason: LeaveReason,
    },
    /// A participant publishes a track.
    Published {
        /// The publisher.
        person: Person,
        /// The track.
        track: PublicTrack,
    },
    /// A track has ended.
    Unpublished {
        /// The publisher.
        person: Person,
        /// The track.
        track: TrackName,
    },
    /// Something was written in the chat.
    Chat(ChatEntry),
    /// A participant has sent a data channel message to the others. Told only if
    /// [`NodeBuilder::hear_data`](crate::NodeBuilder::hear_data) asks for it.
    Data {
        /// The sender.
        person: Person,
        /// Whether it came on the channel `reliable`; otherwise on `unreliable`.
        reliable: bool,
        /// Whether it was sent as bytes; otherwise it is UTF-8.
        binary: bool,
        /// The message.
        payload: Arc<[u8]>,
    },
    /// A moderator has done something.
    Moderated {
        /// The moderator.
        by: Person,
        /// The action, a stable code of the protocol: `mute`, `remove`, `lock` and so on.
        action: &'static str,
        /// The participant whom it is about, who may have left by it.
        participant: Option<ParticipantId>,
        /// The track that it is about.
        track: Option<TrackName>,
        /// The invitation that was made or revoked.
        invitation: Option<InvitationId>,
        /// Whether a rule holds from now on, if the action sets one.
        on: Option<bool>,
    },
}

/// A participant as an embedder knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Person {
    /// Its id in the room.
    pub participant: ParticipantId,
    /// The embedder's key of the user, as [`Admission::identity`](crate::hooks::Admission::identity) gave it.
    pub identity: Option<Arc<str>>,
    /// Its name at that time.
    pub name: String,
}

/// A published track as an embedder knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PublicTrack {
    /// Its id.
    pub track: TrackName,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its source, as the publisher says.
    pub source: Source,
    /// Whether its publisher has muted it.
    pub muted: bool,
}

impl From<&TrackInfo> for PublicTrack {
    fn from(track: &TrackInfo) -> Self {
        Self {
            track: track.name.clone(),
            kind: track.kind,
            source: track.source,
            muted: track.muted,
        }
    }
}

/// Yields the events of all rooms from when it was made on.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Arc<RoomEvent>>);

/// A thing that an [`Events`] yields.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// The next event.
    Event(Arc<RoomEvent>),
    /// So many events were dropped here: they came faster than they were read.
    Missed(u64),
}

impl Events {
    /// The next event. None once the node is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The way to all [`Events`].
#[derive(Clone, Debug)]
pub(super) struct Reports(broadcast::Sender<Arc<RoomEvent>>);

impl Default for Reports {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Reports {
    pub(super) fn events(&self) -> Events {
        Events(self.0.subscribe())
    }

    /// Tells everybody who listens. Costs nothing while nobody does.
    pub(super) fn tell(&self, room: &Arc<str>, change: impl FnOnce() -> Change) {
        if self.0.receiver_count() > 0 {
            // The last listener may be gone meanwhile.
            let _ = self.0.send(Arc::new(RoomEvent {
                room: Arc::clone(room),
                at_ms: unix_ms(),
                change: change(),
            }));
        }
    }
}

impl Participant {
    pub(super) fn person(&self) -> Person {
        Person {
            participant: self.id.clone(),
            identity: self.identity.clone(),
            name: self.name.clone(),
        }
    }
}

impl Room {
    /// Tells embedders.
    pub(super) fn report(&self, change: impl FnOnce() -> Change) {
        self.shared.reports.tell(&self.name.shared(), change);
    }

    /// Tells embedders something about a participant who is here.
    pub(super) fn report_of(&self, id: &ParticipantId, change: impl FnOnce(Person) -> Change) {
        if let Some(participant) = self.participants.get(id) {
            self.report(|| change(participant.person()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_behind_is_told_how_much_was_missed_and_goes_on() {
        let reports = Reports::default();
        let room: Arc<str> = "room".into();
        reports.tell(&room, || panic!("nobody listens"));
        let mut events = reports.events();
        for _ in 0..KEPT + 7 {
            reports.tell(&room, || Change::RoomOpened);
        }
        assert_eq!(events.next().await, Some(Heard::Missed(7)));
        for _ in 0..KEPT {
            let Some(Heard::Event(event)) = events.next().await else {
                panic!("an event");
            };
            assert_eq!((&event.change, &*event.room), (&Change::RoomOpened, "room"));
        }
        drop(reports);
        assert_eq!(events.next().await, None);
    }
}
