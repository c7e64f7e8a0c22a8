//! Subscriptions of participants to tracks. `Participant::wanted` is the goal; the media plane is
//! asked until it is reached.

use std::vec;

use tracing::{debug, warn};

use super::ParticipantId;
use super::actor::Room;
use super::errands::{AT_A_TIME, Then};
use crate::media::{PeerId, SfuError, TrackId};

/// A request the media plane had no room for.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Unfinished {
    Subscribe(ParticipantId, TrackId),
    Unsubscribe(PeerId, TrackId),
    ClosePeer(PeerId),
    View(ParticipantId),
    Settings(TrackId),
    Cap(PeerId),
}

/// A viewer and a track that it is to receive.
type Pair = (ParticipantId, TrackId);

/// A subscription that was asked for: of whom, of which peer, to which track.
type Asked = (ParticipantId, PeerId, TrackId);

impl Room {
    /// Lets everyone who wants `tracks` receive them.
    pub(super) fn subscribe_viewers(&mut self, tracks: &[TrackId], then: Then) {
        let pairs = self
            .participants
            .values()
            .flat_map(|viewer| {
                let wanted = tracks.iter().filter(|&track| viewer.wanted.contains(track));
                wanted.map(|&track| (viewer.id.clone(), track))
            })
            .collect();
        self.subscribe(pairs, then);
    }

    /// Lets a participant with a new transport receive all it wants.
    pub(super) fn subscribe_to_wanted(&mut self, id: &ParticipantId, then: Then) {
        let Some(viewer) = self.participants.get(id) else {
            return then(self);
        };
        let pairs = viewer.wanted.iter().map(|&track| (id.clone(), track));
        self.subscribe(pairs.collect(), then);
    }

    /// Subscribes participants to tracks. Those without a transport are subscribed when they have one.
    pub(super) fn subscribe(&mut self, pairs: Vec<Pair>, then: Then) {
        self.subscribe_next(pairs.into_iter(), then);
    }

    /// Some at a time, so that others ask in between.
    fn subscribe_next(&mut self, mut pairs: vec::IntoIter<Pair>, then: Then) {
        let with_peer = pairs.by_ref().filter_map(|(id, track)| {
            let viewer = self.participants.get(&id)?;
            // The one place where the relay is asked to send anybody a track.
            let peer = viewer.peer.filter(|_| viewer.permissions.subscribe)?;
            Some((id, peer, track))
        });
        let some: Vec<_> = with_peer.take(AT_A_TIME).collect();
        if some.is_empty() {
            return then(self);
        }
        self.ask_all(
            some,
            |media, &(_, peer, track)| media.subscribe(peer, track),
            |room, replies| {
                room.subscribed(replies);
                room.subscribe_next(pairs, then);
            },
        );
    }

    fn subscribed(&mut self, replies: Vec<(Asked, Result<(), SfuError>)>) {
        let mut subscribed = Vec::with_capacity(replies.len());
        for ((id, _, track), result) in replies {
            match result {
                Ok(()) => {
                    debug!(room = %self.name, participant = %id, %track, "subscribed");
                    subscribed.push((id, track));
                }
                Err(SfuError::Overloaded) => {
                    self.unfinished.insert(Unfinished::Subscribe(id, track));
                }
                // The peer or the track has ended; its event is on the way.
                Err(
                    SfuError::NoSuchPeer
                    | SfuError::NoSuchTrack
                    | SfuError::WorkerFailed
                    | SfuError::Stopped,
                ) => {}
                Err(error) => {
                    warn!(room = %self.name, participant = %id, %track, %error, "not subscribed");
                    // It is not wanted any more, so that the client may ask again.
                    if let Some(viewer) = self.participants.get_mut(&id) {
                        viewer.wanted.remove(&track);
                    }
                }
            }
        }
        self.tell_views_of(&subscribed);
    }

    pub(super) fn unsubscribe(&mut self, pairs: Vec<(PeerId, TrackId)>, then: Then) {
        self.unsubscribe_next(pairs.into_iter(), then);
    }

    fn unsubscribe_next(&mut self, mut pairs: vec::IntoIter<(PeerId, TrackId)>, then: Then) {
        let some: Vec<_> = pairs.by_ref().take(AT_A_TIME).collect();
        if some.is_empty() {
            return then(self);
        }
        self.ask_all(
            some,
            |media, &(peer, track)| media.unsubscribe(peer, track),
            |room, replies| {
                for ((peer, track), result) in replies {
                    if result == Err(SfuError::Overloaded) {
                        room.unfinished.insert(Unfinished::Unsubscribe(peer, track));
                    }
                }
                room.unsubscribe_next(pairs, then);
            },
        );
    }

    pub(super) fn close_peer(&mut self, peer: PeerId) {
        self.ask(
            move |media| media.close_peer(peer),
            move |room, closed| {
                if closed == Err(SfuError::Overloaded) {
                    room.unfinished.insert(Unfinished::ClosePeer(peer));
                }
            },
        );
    }

    /// Tries everything unfinished once more; what still cannot be done stays. Not while errands wait for each
    /// other: these are more urgent, and what is unfinished would only be asked for twice.
    pub(super) fn retry(&mut self) {
        if self.errands.is_full() {
            return;
        }
        let mut subscribe = Vec::new();
        let mut unsubscribe = Vec::new();
        for unfinished in std::mem::take(&mut self.unfinished) {
            match unfinished {
                Unfinished::Subscribe(id, track) => {
                    let viewer = self.participants.get(&id);
                    if viewer.is_some_and(|viewer| viewer.wanted.contains(&track)) {
                        subscribe.push((id, track));
                    }
                }
                Unfinished::Unsubscribe(peer, track) => {
                    let viewer = self.peers.get(&peer);
                    let viewer = viewer.and_then(|id| self.participants.get(id));
                    if viewer.is_some_and(|viewer| !viewer.wanted.contains(&track)) {
                        unsubscribe.push((peer, track));
                    }
                }
                Unfinished::ClosePeer(peer) => self.close_peer(peer),
                Unfinished::View(id) => self.retry_views(&id),
                // Its publisher may be about to change them.
                Unfinished::Settings(track) if self.is_publisher_busy(track) => {
                    self.unfinished.insert(unfinished);
                }
                Unfinished::Settings(track) => self.tell_settings(&[track], Box::new(|_| {})),
                Unfinished::Cap(peer) => self.cap(peer),
            }
        }
        self.unsubscribe(unsubscribe, Box::new(|_| {}));
        self.subscribe(subscribe, Box::new(|_| {}));
    }

    fn is_publisher_busy(&self, track: TrackId) -> bool {
        let publisher = self.tracks.get(&track).map(|(id, _)| id);
        let publisher = publisher.and_then(|id| self.participants.get(id));
        publisher.is_some_and(|publisher| publisher.lane.is_busy())
    }
}
