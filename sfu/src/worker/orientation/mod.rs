//! Decides whether the publisher or its viewers turn a picture that was taken with the camera on its side.
//!
//! A publisher that agrees on the orientation extension (3GPP TS 26.114 section 7.4.5) sends pictures as they were
//! taken, with the angle to turn them by. A viewer that has not negotiated the extension shows them on their side. So
//! an answer agrees on it only while every viewer in the room, on any worker, has it; a room without viewers agrees.
//! Without it a publisher turns its pictures before it encodes them.
//!
//! When a viewer without the extension comes, a publisher that has sent turned pictures is asked to offer again; if it
//! does not, it is asked more and more rarely. Most publishers send no such pictures, and are not asked. When the last
//! such viewer has gone, the next offer is answered with the extension again: pictures are right either way.
//!
//! Chromium (156) does not turn frames from a source that marks a rotation itself, but drops them. If a track of a
//! publisher stops once the extension was left out ([`Pictures`]), the publisher is therefore asked to offer once more,
//! and keeps the extension: a picture on its side is better than none.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Control, Worker};
use crate::event::{Event, RenegotiationReason};
use crate::id::{PeerId, RoomId};
use crate::index::{PeerIx, WorkerIx};
use crate::ingress::{Media, Orientation, Pictures};
use crate::rtp::extension::ExtensionKind;
use crate::transport::sdp::Offer;

/// Publishers whose pictures are to be checked, by the time of the check.
#[derive(Debug, Default)]
pub(super) struct Looks(BTreeSet<(Instant, PeerId)>);

impl Looks {
    /// The time of the next check.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Forgets a peer that is gone.
    pub(super) fn remove(&mut self, peer: PeerId, pictures: &Pictures) {
        if let Some(due) = pictures.due {
            self.0.remove(&(due, peer));
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Worker {
    /// Whether a room has a viewer that shows pictures without turning them.
    fn has_viewers_that_do_not_turn(&self, room: RoomId) -> bool {
        let room = self.rooms.get(&room);
        room.is_some_and(|room| room.unturning > 0 || !room.unturning_parts.is_empty())
    }

    /// Removes the extension from an offer's published m-lines unless all viewers have it.
    pub(super) fn agree_on_orientation(
        &self,
        room: RoomId,
        peer: Option<PeerIx>,
        offer: &mut Offer,
    ) -> Orientation {
        let peer = peer.and_then(|peer| self.peers.get(peer));
        let insists = peer.is_some_and(|peer| peer.pictures.insists);
        // The offering peer does not watch itself.
        let own = peer.is_some_and(|peer| !peer.subscriber.turns());
        let lacking = self.rooms.get(&room).is_some_and(|room| {
            room.unturning > usize::from(own) || !room.unturning_parts.is_empty()
        });
        let is_offered = offer.has_video_with(ExtensionKind::VideoOrientation);
        let orientation = Orientation::answer(is_offered, insists, lacking);
        if orientation == Orientation::LeftOut {
            offer.leave_out_of_video(ExtensionKind::VideoOrientation);
        }
        orientation
    }

    /// Records the answer to a publisher's offer.
    pub(super) fn orientation_answered(&mut self, now: Instant, index: PeerIx, how: Orientation) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let due = peer
            .pictures
            .answered(now, how, peer.publisher.tracks(&self.tracks));
        self.look_later(index, due);
    }

    /// Checks a publisher's packet for a turned picture.
    pub(super) fn look_at_orientation(
        &mut self,
        now: Instant,
        index: PeerIx,
        media: &Media,
        datagram: &[u8],
    ) {
        if !media.passed_on.is_turned(datagram) {
            return;
        }
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if peer.pictures.turned(media.track, &self.tracks) {
            let room = peer.room;
            if self.has_viewers_that_do_not_turn(room) {
                self.ask_to_turn(now, index);
            }
        }
    }

    /// Updates the room after a viewer's m-lines changed, or after it left. The flags tell whether it showed pictures
    /// unturned before, and whether it does now.
    pub(super) fn turning_changed(
        &mut self,
        now: Instant,
        room: RoomId,
        (before, after): (bool, bool),
    ) {
        let Some(part) = self.rooms.get_mut(&room).filter(|_| before != after) else {
            return;
        };
        let had = part.unturning > 0;
        part.unturning = part.unturning + usize::from(after) - usize::from(before);
        let has = part.unturning > 0;
        if had == has {
            return;
        }
        for other in &part.parts {
            let control = Control::Turning { room, all: !has };
            self.outbox.push_back((*other, control));
        }
        if has {
            self.ask_all_to_turn(now, room);
        }
    }

    /// Records whether all viewers of another part turn pictures.
    pub(super) fn take_turning(&mut self, now: Instant, from: WorkerIx, room: RoomId, all: bool) {
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        part.unturning_parts.retain(|other| *other != from);
        if !all {
            part.unturning_parts.push(from);
            self.ask_all_to_turn(now, room);
        }
    }

    /// Tells a new part of the room whether viewers here turn pictures.
    pub(super) fn announce_turning(&mut self, room: RoomId, other: WorkerIx) {
        if self.rooms.get(&room).is_some_and(|room| room.unturning > 0) {
            let control = Control::Turning { room, all: false };
            self.outbox.push_back((other, control));
        }
    }

    fn ask_all_to_turn(&mut self, now: Instant, room: RoomId) {
        let peers = self.rooms.get(&room).map(|room| room.peers.clone());
        for index in peers.into_iter().flatten() {
            self.ask_to_turn(now, index);
        }
    }

    /// Asks a publisher to turn its pictures, if any needs turning.
    fn ask_to_turn(&mut self, now: Instant, index: PeerIx) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let (asks, due) = peer.pictures.ask(now);
        if asks {
            self.ask_for_orientation(index);
        }
        // The publisher may not follow, so that it is checked again.
        self.look_later(index, due);
    }

    fn ask_for_orientation(&mut self, index: PeerIx) {
        let Some(peer) = self.peers.get(index) else {
            return;
        };
        let (room, peer, offers) = (peer.room, peer.id, peer.offers);
        tracing::info!(%room, %peer, "asked to offer again, for the orientation of its pictures");
        let reason = RenegotiationReason::Extension;
        self.events.push_back(Event::RenegotiationWanted {
            room,
            peer,
            reason,
            offers,
        });
    }

    /// Checks the publishers that are due.
    pub(super) fn poll_looks(&mut self, now: Instant) {
        while let Some((_, id)) = self.looks.0.first().copied().filter(|(at, _)| *at <= now) {
            self.looks.0.pop_first();
            if let Some(index) = self.by_id.get(&id) {
                self.look_at_pictures(now, *index);
            }
        }
    }

    fn look_at_pictures(&mut self, now: Instant, index: PeerIx) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.pictures.due = None;
        let connected = peer.transport.is_connected();
        let (room, due) = (peer.room, peer.pictures.look(now, connected, &self.tracks));
        if peer.pictures.take_silence() {
            self.ask_for_orientation(index);
        } else if self.has_viewers_that_do_not_turn(room) {
            self.ask_to_turn(now, index);
        }
        self.look_later(index, due);
    }

    fn look_later(&mut self, index: PeerIx, at: Option<Instant>) {
        let (Some(peer), Some(at)) = (self.peers.get_mut(index), at) else {
            return;
        };
        if peer.pictures.due.is_none_or(|due| at < due) {
            self.looks.remove(peer.id, &peer.pictures);
            peer.pictures.due = Some(at);
            self.looks.0.insert((at, peer.id));
        }
    }
}
