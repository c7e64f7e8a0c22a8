//! Codecs that viewers cannot decode: who is told, and which codec a publisher is asked for.
//!
//! A viewer cannot watch a track if its receiving m-lines have none of the track's codecs, or lack the one in use. It
//! is told at once ([`Reason::Codec`](crate::Reason)), nothing is reserved for it on its link, and nothing is asked of
//! the publisher on its behalf. The publisher is told a moment later, of all such viewers together
//! ([`Event::UnwatchableChanged`]).
//!
//! Publishers send the codec that the answer lists first. The answer to an offer lists first the codec that serves the
//! present viewers ([`Audience::first_codec`]). If that does not serve viewers who come later, and the publisher has
//! offered one that does, it is asked to offer again ([`Event::RenegotiationWanted`]).
//!
//! Most calls have no such viewers, and this costs them nothing: a track is watched from the first viewer on that
//! cannot decode it. The publisher's worker then asks the room's other parts for their viewers ([`Control::Survey`]),
//! and they answer with each change ([`Control::Audience`]).

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::{Control, Worker};
use crate::egress::{Member, Slot, current_codec};
use crate::event::{Event, MediaKind, RenegotiationReason, Unwatchable};
use crate::id::{RoomId, TrackId};
use crate::index::{PeerIx, TrackIx, WorkerIx};
use crate::rtp::parameters::CodecFormat;
use crate::track::Track;
use crate::track::audience::{Audience, Unable};
use crate::transport::sdp::{Offer, OfferedMedia};

/// Delay from the first sign to the check: several viewers who come together are one change, and the other workers have
/// answered by then.
const SETTLE: Duration = Duration::from_millis(250);

/// The codecs of each publishing m-line in the order in which its client offered them.
pub(super) type Offered = HashMap<String, Vec<CodecFormat>>;

/// Tracks that some viewer could not decode.
#[derive(Debug, Default)]
pub(super) struct Watches {
    tracks: HashMap<TrackId, Watch>,
    due: BTreeSet<(Instant, TrackId)>,
}

#[derive(Debug)]
struct Watch {
    room: RoomId,
    due: Option<Instant>,
    /// The audience that the publisher, or the publisher's worker, was last told.
    told: Audience,
    /// On the publisher's worker: the audiences that others reported, and the workers that were asked.
    elsewhere: Vec<(WorkerIx, Audience)>,
    surveyed: Vec<WorkerIx>,
}

impl Watches {
    /// Schedules a check of a track, and from now on also when its viewers change.
    fn begin(&mut self, now: Instant, room: RoomId, track: TrackId) {
        self.tracks.entry(track).or_insert_with(|| Watch {
            room,
            due: None,
            told: Audience::default(),
            elsewhere: Vec::new(),
            surveyed: Vec::new(),
        });
        self.mark(now, track);
    }

    /// Schedules a check of a track, if it is watched.
    pub(super) fn mark(&mut self, now: Instant, track: TrackId) {
        self.look_at(now + SETTLE, track);
    }

    fn look_at(&mut self, at: Instant, track: TrackId) {
        let Some(watch) = self.tracks.get_mut(&track) else {
            return;
        };
        if watch.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = watch.due.replace(at) {
            self.due.remove(&(due, track));
        }
        self.due.insert((at, track));
    }

    fn take_due(&mut self, now: Instant) -> Option<TrackId> {
        let (_, track) = *self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.pop_first();
        if let Some(watch) = self.tracks.get_mut(&track) {
            watch.due = None;
        }
        Some(track)
    }

    /// Forgets a track that ended.
    pub(super) fn remove(&mut self, track: TrackId) {
        if let Some(due) = self.tracks.remove(&track).and_then(|watch| watch.due) {
            self.due.remove(&(due, track));
        }
    }

    /// The time of the next check.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The viewers that cannot watch a track, as its publisher was told.
    pub(super) fn unable(&self, track: TrackId) -> Option<&Unable> {
        self.tracks.get(&track).map(|watch| &watch.told.unable)
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.tracks.len() + self.due.len()
    }
}

impl Worker {
    /// Records that a viewer cannot decode a track, or can again.
    pub(super) fn decodable_changed(&mut self, now: Instant, room: RoomId, track: TrackId) {
        self.watches.begin(now, room, track);
        self.survey_others(room, track);
    }

    /// Records that a track's viewers have changed.
    pub(super) fn viewers_changed(&mut self, now: Instant, track: TrackId) {
        self.watches.mark(now, track);
    }

    /// Forgets the viewers on another worker, which is gone.
    pub(super) fn forget_audience(&mut self, now: Instant, from: WorkerIx) {
        let mut changed = Vec::new();
        for (track, watch) in &mut self.watches.tracks {
            watch.surveyed.retain(|other| *other != from);
            let before = watch.elsewhere.len();
            watch.elsewhere.retain(|(other, _)| *other != from);
            changed.extend((watch.elsewhere.len() < before).then_some(*track));
        }
        for track in changed {
            self.watches.mark(now, track);
        }
    }

    /// Answers the publisher's worker, which asks for the viewers of a track here.
    pub(super) fn survey(&mut self, now: Instant, room: RoomId, track: TrackId) {
        self.watches.begin(now, room, track);
        self.watch(now, track);
    }

    /// Records the viewers of a track that another worker reports.
    pub(super) fn take_audience(
        &mut self,
        now: Instant,
        from: WorkerIx,
        (room, track): (RoomId, TrackId),
        audience: Audience,
    ) {
        if self.index_of(room, track).is_none() {
            return;
        }
        self.watches.begin(now, room, track);
        if let Some(watch) = self.watches.tracks.get_mut(&track) {
            watch.elsewhere.retain(|(other, _)| *other != from);
            watch.elsewhere.push((from, audience));
        }
        self.survey_others(room, track);
    }

    /// Checks the tracks that are due.
    pub(super) fn poll_watches(&mut self, now: Instant) {
        while let Some(track) = self.watches.take_due(now) {
            self.watch(now, track);
        }
    }

    fn index_of(&self, room: RoomId, track: TrackId) -> Option<TrackIx> {
        self.rooms.get(&room)?.tracks.get(&track).copied()
    }

    fn watch(&mut self, now: Instant, track: TrackId) {
        let Some(room) = self.watches.tracks.get(&track).map(|watch| watch.room) else {
            return;
        };
        let Some(at) = self.index_of(room, track) else {
            return self.watches.remove(track);
        };
        let audience = self.audience(at, room);
        match self.tracks.get(at).map(Track::peer) {
            None => {}
            Some(None) => self.report_audience(at, room, track, audience),
            Some(Some(peer)) => {
                self.survey_others(room, track);
                self.tell_publisher(now, peer, at, audience);
            }
        }
    }

    /// The viewers of a track on this worker.
    fn audience(&self, at: TrackIx, room: RoomId) -> Audience {
        let Some(track) = self.tracks.get(at) else {
            return Audience::default();
        };
        let targets = track.sinks.viewers().iter();
        let watching = targets.filter_map(|target| {
            let viewer = self.peers.get(target.peer)?;
            let slot = viewer.subscriber.slot(target.slot.into());
            Some(viewer.as_member(slot.is_some_and(Slot::is_undecodable)))
        });
        let waiting = self.peers_of(room).filter_map(|viewer| {
            let waiting = viewer.subscriber.waits_for(track.id)?;
            let is_known = viewer.subscriber.decoders().has(track.kind);
            is_known.then(|| viewer.as_member(waiting.is_undecodable()))
        });
        Audience::of(&track.codecs, watching.chain(waiting))
    }

    fn report_audience(&mut self, at: TrackIx, room: RoomId, track: TrackId, audience: Audience) {
        let piped = self.tracks.get(at).and_then(Track::piped);
        let Some(from) = piped.map(|piped| piped.from) else {
            return;
        };
        if let Some(watch) = self.watches.tracks.get_mut(&track)
            && watch.told != audience
        {
            watch.told.clone_from(&audience);
            let control = Control::Audience {
                room,
                track,
                audience: Box::new(audience),
            };
            self.outbox.push_back((from, control));
        }
    }

    /// Asks the other parts of the room for the viewers of a track that is published here.
    fn survey_others(&mut self, room: RoomId, track: TrackId) {
        if self.published_at(room, track).is_none() {
            return;
        }
        let parts = self.rooms.get(&room).map(|room| &room.parts);
        let Some(watch) = self.watches.tracks.get_mut(&track) else {
            return;
        };
        for part in parts.into_iter().flatten() {
            if !watch.surveyed.contains(part) {
                watch.surveyed.push(*part);
                self.outbox
                    .push_back((*part, Control::Survey { room, track }));
            }
        }
    }

    /// Tells a publisher which viewers cannot watch, and asks it for another codec if that helps.
    fn tell_publisher(&mut self, now: Instant, peer: PeerIx, at: TrackIx, audience: Audience) {
        let (Some(track), Some(publisher)) = (self.tracks.get(at), self.peers.get(peer)) else {
            return;
        };
        let (id, room, peer_id) = (track.id, publisher.room, publisher.id);
        let Some(watch) = self.watches.tracks.get_mut(&id) else {
            return;
        };
        let mut all = audience;
        for (_, other) in &watch.elsewhere {
            all.merge(other);
        }
        let asks = all.wants_another_codec(track.kind, &track.codecs, track.codec_in_use());
        let unable = &all.unable;
        if watch.told.unable != *unable {
            tracing::debug!(%room, peer = %peer_id, track = %id, count = unable.count, "cannot be watched by");
            self.events.push_back(Event::UnwatchableChanged {
                room,
                peer: peer_id,
                unwatchable: Unwatchable {
                    track: id,
                    count: unable.count,
                    viewers: unable.named.clone(),
                },
            });
        }
        watch.told = all;
        if asks {
            self.ask_to_offer(now, peer, id);
        }
    }

    /// Asks a publisher to offer again: the answer will list another codec first.
    fn ask_to_offer(&mut self, now: Instant, peer: PeerIx, track: TrackId) {
        let Some(peer) = self.peers.get_mut(peer) else {
            return;
        };
        let (may, next) = peer.asks.ask(now);
        if may {
            let (room, peer, offers) = (peer.room, peer.id, peer.offers);
            tracing::info!(%room, %peer, %track, "asked for another codec");
            let reason = RenegotiationReason::Codec;
            self.events.push_back(Event::RenegotiationWanted {
                room,
                peer,
                reason,
                offers,
            });
        }
        // It may not follow.
        self.watches.look_at(next, track);
    }

    /// Puts the codecs that an offer publishes in the order of the answer: the one to be sent first. `peer` is the
    /// offering peer, if it exists already. Returns the offered order.
    pub(super) fn order_codecs(
        &self,
        room: RoomId,
        peer: Option<PeerIx>,
        offer: &mut Offer,
    ) -> Offered {
        let mut offered = Offered::new();
        for media in offer
            .media
            .iter_mut()
            .filter(|media| media.publishes_video())
        {
            offered.insert(media.mid.clone(), media.codecs.clone());
            let first = self.first_codec(room, peer, media);
            if first < media.codecs.len() {
                media.codecs[..=first].rotate_right(1);
            }
        }
        offered
    }

    fn first_codec(&self, room: RoomId, peer: Option<PeerIx>, media: &OfferedMedia) -> usize {
        let publisher = peer.and_then(|peer| self.peers.get(peer));
        let known = publisher.and_then(|publisher| {
            let mut tracks = publisher.publisher.tracks(&self.tracks);
            let (_, track) = tracks.find(|(_, track)| track.mid == media.mid)?;
            Some((track, publisher.offered.get(&media.mid)))
        });
        let is_known = |viewer: &&Peer| viewer.subscriber.decoders().has(MediaKind::Video);
        let Some((track, before)) = known else {
            // The viewers are not known yet, but the possible ones are.
            let offering = publisher.map(|publisher| publisher.id);
            let others = self.peers_of(room);
            let viewers = others.filter(|other| Some(other.id) != offering);
            let members = viewers
                .filter(is_known)
                .map(|viewer| viewer.as_member(false));
            return Audience::of(&media.codecs, members).first_codec(None);
        };
        let before = before.map(Vec::as_slice);
        let current = current_codec(&media.codecs, before, track.codec_in_use());
        let watch = self.watches.tracks.get(&track.id);
        if let (Some(current), None) = (current, watch) {
            return current;
        }
        let targets = track.sinks.viewers().iter();
        let watching = targets.filter_map(|target| self.peers.get(target.peer));
        let waiting = self.peers_of(room);
        let waiting = waiting.filter(|peer| peer.subscriber.waits_for(track.id).is_some());
        let viewers = watching.chain(waiting).filter(is_known);
        let members = viewers.map(|viewer| viewer.as_member(false));
        let mut audience = Audience::of(&media.codecs, members);
        for (_, other) in watch.into_iter().flat_map(|watch| &watch.elsewhere) {
            audience.merge(other);
        }
        audience.first_codec(current)
    }

    /// The peers of a room on this worker.
    fn peers_of(&self, room: RoomId) -> impl Iterator<Item = &Peer> {
        let room = self.rooms.get(&room);
        let peers = room.into_iter().flat_map(|room| &room.peers);
        peers.filter_map(|peer| self.peers.get(*peer))
    }
}

impl Peer {
    /// Describes the peer as a viewer of a track.
    fn as_member(&self, is_unable: bool) -> Member<'_> {
        Member {
            id: self.id,
            decoders: self.subscriber.decoders(),
            is_unable,
        }
    }
}

#[cfg(test)]
mod tests;
