//! Who turns a picture that was taken with the camera on its side: its publisher or its viewers.
//!
//! A publisher that agrees on the orientation extension (3GPP TS 26.114 section 7.4.5) sends pictures as they
//! were taken and says how they are to be turned. A viewer that has not negotiated it shows them lying on
//! their side. So an answer agrees on it only while every viewer in the room has it, on whatever worker; a
//! room without viewers is no obstacle. Without it a publisher turns its pictures before it encodes them.
//!
//! A publisher that has sent turned pictures is asked to offer again when a viewer without it comes, and ever
//! more rarely if it does not; most send none, and are left in peace. When the last such viewer has gone, the
//! next offer is answered with the extension again: pictures are right either way.
//!
//! Chromium (156) does not turn frames that bring a rotation of their own, but drops them. A publisher of whom
//! a track does not come once the extension was left out ([`pictures`]) is therefore asked to offer once more,
//! and keeps it: a picture on its side is better than none.

mod pictures;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Instant;

pub(super) use pictures::Pictures;

use super::codecs::publishes_video;
use super::{Control, Worker};
use crate::event::{Event, RenegotiationReason};
use crate::id::{PeerId, RoomId};
use crate::ingress::Media;
use crate::rtp::extension::ExtensionKind;
use crate::transport::sdp::Offer;

/// Publishers whose pictures are to be looked at, by when.
#[derive(Debug, Default)]
pub(super) struct Looks(BTreeSet<(Instant, PeerId)>);

impl Looks {
    /// The time at which there is one to look at.
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

/// The answer to an offer, as far as its published pictures go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Orientation {
    /// With the extension.
    Agreed,
    /// Without it, though it was offered.
    LeftOut,
    /// It was not offered.
    NotOffered,
}

impl Worker {
    /// Whether a room has a viewer that shows pictures as they come.
    fn has_viewers_that_do_not_turn(&self, room: RoomId) -> bool {
        let room = self.rooms.get(&room);
        room.is_some_and(|room| room.unturning > 0 || !room.unturning_parts.is_empty())
    }

    /// Takes the extension from what an offer publishes if not all viewers have it.
    pub(super) fn agree_on_orientation(
        &self,
        room: RoomId,
        peer: Option<usize>,
        offer: &mut Offer,
    ) -> Orientation {
        let peer = peer.and_then(|peer| self.peers.get(peer));
        let insists = peer.is_some_and(|peer| peer.pictures.insists);
        // Whoever offers does not watch itself.
        let own = peer.is_some_and(|peer| !peer.subscriber.turns());
        let lacking = self.rooms.get(&room).is_some_and(|room| {
            room.unturning > usize::from(own) || !room.unturning_parts.is_empty()
        });
        let mut orientation = Orientation::NotOffered;
        for media in offer
            .media
            .iter_mut()
            .filter(|media| publishes_video(media))
        {
            let mut extensions = media.extensions.iter();
            if !extensions.any(|extension| extension.kind == ExtensionKind::VideoOrientation) {
                continue;
            }
            if insists || !lacking {
                return Orientation::Agreed;
            }
            orientation = Orientation::LeftOut;
            media
                .extensions
                .retain(|extension| extension.kind != ExtensionKind::VideoOrientation);
        }
        orientation
    }

    /// A publisher was answered.
    pub(super) fn orientation_answered(&mut self, now: Instant, index: usize, how: Orientation) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let due = peer.pictures.answered(now, how, &peer.publisher);
        self.look_later(index, due);
    }

    /// Looks at a packet of a publisher's.
    pub(super) fn look_at_orientation(
        &mut self,
        now: Instant,
        index: usize,
        media: &Media,
        datagram: &[u8],
    ) {
        if !media.passed_on.is_turned(datagram) {
            return;
        }
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if peer.pictures.turned(media.track, &peer.publisher) {
            let room = peer.room;
            if self.has_viewers_that_do_not_turn(room) {
                self.ask_to_turn(now, index);
            }
        }
    }

    /// A viewer's m-lines changed, or it is gone: it showed pictures as they come before, and does now.
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

    /// Another part says whether all of its viewers turn pictures.
    pub(super) fn take_turning(&mut self, now: Instant, from: u16, room: RoomId, all: bool) {
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        part.unturning_parts.retain(|other| *other != from);
        if !all {
            part.unturning_parts.push(from);
            self.ask_all_to_turn(now, room);
        }
    }

    /// Tells a new part of the room.
    pub(super) fn announce_turning(&mut self, room: RoomId, other: u16) {
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

    /// Asks a publisher to turn its pictures, if there is something to turn.
    fn ask_to_turn(&mut self, now: Instant, index: usize) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let (asks, due) = peer.pictures.ask(now);
        if asks {
            self.ask_for_orientation(index);
        }
        // It may not follow.
        self.look_later(index, due);
    }

    fn ask_for_orientation(&mut self, index: usize) {
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

    /// Looks at the publishers whose time has come.
    pub(super) fn poll_looks(&mut self, now: Instant) {
        while let Some((_, id)) = self.looks.0.first().copied().filter(|(at, _)| *at <= now) {
            self.looks.0.pop_first();
            if let Some(index) = self.by_id.get(&id) {
                self.look_at_pictures(now, *index);
            }
        }
    }

    fn look_at_pictures(&mut self, now: Instant, index: usize) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.pictures.due = None;
        let connected = peer.transport.is_connected();
        let (room, due) = (
            peer.room,
            peer.pictures.look(now, connected, &peer.publisher),
        );
        if peer.pictures.take_silence() {
            self.ask_for_orientation(index);
        } else if self.has_viewers_that_do_not_turn(room) {
            self.ask_to_turn(now, index);
        }
        self.look_later(index, due);
    }

    fn look_later(&mut self, index: usize, at: Option<Instant>) {
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
