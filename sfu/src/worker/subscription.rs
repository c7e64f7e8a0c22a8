//! Subscriptions, their slots, and messages to the viewer about them.

use std::time::Instant;

use super::Worker;
use crate::egress::{KeyframeRequest, SourceTrack};
use crate::error::SfuError;
use crate::event::{Event, Slot};
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::{PeerIx, TrackIx};
use crate::track::{Target, Track};

impl Worker {
    /// Forwards a track to a peer.
    pub(crate) fn subscribe(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
    ) -> Result<(), SfuError> {
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        let room = self.peers.get(index).ok_or(SfuError::NoSuchPeer)?.room;
        let at = self
            .rooms
            .get(&room)
            .and_then(|room| room.tracks.get(&track))
            .copied();
        let at = at.ok_or(SfuError::NoSuchTrack)?;
        let source = self.source(at).ok_or(SfuError::NoSuchTrack)?;
        // A publisher does not get its own tracks.
        if source.publisher == peer {
            return Err(SfuError::NoSuchTrack);
        }
        self.add_subscription(now, index, source);
        Ok(())
    }

    /// Stops forwarding a track to a peer.
    pub(crate) fn unsubscribe(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
    ) -> Result<(), SfuError> {
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        self.remove_subscription(now, index, track);
        Ok(())
    }

    /// Subscribes the peers of a room that want every track to a new one.
    pub(super) fn auto_subscribe(
        &mut self,
        now: Instant,
        room: RoomId,
        track: TrackId,
        publisher: Option<PeerIx>,
    ) {
        let Some(room) = self.rooms.get(&room) else {
            return;
        };
        let Some(source) = room.tracks.get(&track).and_then(|at| self.source(*at)) else {
            return;
        };
        let viewers: Vec<PeerIx> = room
            .peers
            .iter()
            .copied()
            .filter(|index| {
                Some(*index) != publisher
                    && self
                        .peers
                        .get(*index)
                        .is_some_and(|peer| peer.auto_subscribe)
            })
            .collect();
        for viewer in viewers {
            self.add_subscription(now, viewer, source.clone());
        }
    }

    /// The tracks of a room without those of one peer.
    pub(super) fn sources(&self, room: RoomId, except: Option<PeerIx>) -> Vec<SourceTrack> {
        let Some(room) = self.rooms.get(&room) else {
            return Vec::new();
        };
        let mut found: Vec<_> = room
            .tracks
            .iter()
            .filter(|(_, at)| {
                let peer = self.tracks.get(**at).and_then(Track::peer);
                except.is_none() || peer != except
            })
            .collect();
        // Tracks in the order they were published, so that a run does not depend on a map's order.
        found.sort_unstable_by_key(|(id, _)| **id);
        found
            .into_iter()
            .filter_map(|(_, at)| self.source(*at))
            .collect()
    }

    fn source(&self, at: TrackIx) -> Option<SourceTrack> {
        let track = self.tracks.get(at)?;
        Some(SourceTrack {
            id: track.id,
            kind: track.kind,
            publisher: track.publisher,
            index: at,
            codecs: track.codecs.clone(),
        })
    }

    /// Adds a viewer of a track. The fan-out of each packet reads the list of these.
    fn add_viewer(&mut self, at: TrackIx, target: Target) {
        if let Some(track) = self.tracks.get_mut(at) {
            let first = track.sinks.add_viewer(target);
            if first && track.piped().is_some() {
                self.upstream.changed(at);
            }
        }
        self.wants_changed(at);
    }

    /// Removes a viewer of a track.
    pub(super) fn remove_viewer(&mut self, at: TrackIx, target: Target) {
        if let Some(track) = self.tracks.get_mut(at) {
            let last = track.sinks.remove_viewer(target);
            if last && track.piped().is_some() {
                self.upstream.changed(at);
            }
        }
        self.wants_changed(at);
    }

    /// The viewers of a track on this worker.
    pub(super) fn viewers(&self, at: TrackIx) -> &[Target] {
        let track = self.tracks.get(at);
        track.map_or(&[], |track| track.sinks.viewers())
    }

    fn add_subscription(&mut self, now: Instant, index: PeerIx, source: SourceTrack) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if peer.subscriber.is_subscribed(source.id) {
            return;
        }
        peer.subscriber.subscribe(source);
        let changed = self.fill_slots(now, index);
        self.tell_viewer(index, changed);
    }

    fn remove_subscription(&mut self, now: Instant, index: PeerIx, track: TrackId) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let mut changed = Vec::new();
        if let Some((at, source)) = peer.subscriber.unsubscribe(track) {
            let slot = at.into();
            self.remove_viewer(source.index, Target { peer: index, slot });
            changed.push(at);
        }
        self.viewers_changed(now, track);
        for slot in self.fill_slots(now, index) {
            if !changed.contains(&slot) {
                changed.push(slot);
            }
        }
        self.tell_viewer(index, changed);
    }

    /// Applies a publisher's renegotiation, after which its track may come in other codecs.
    pub(super) fn follow_publisher(&mut self, now: Instant, at: TrackIx) {
        let Some(source) = self.source(at) else {
            return;
        };
        for target in self.viewers(at).to_vec() {
            let Some(peer) = self.peers.get_mut(target.peer) else {
                continue;
            };
            let slot = peer.subscriber.slot_mut(target.slot.into());
            if slot.is_some_and(|slot| !slot.follow(&source)) {
                self.let_go(now, target.peer, target.slot.into(), &source);
            }
        }
        self.retarget(now, at);
        self.viewers_changed(now, source.id);
        let room = self.tracks.get(at).map(|track| track.room);
        let room = room.and_then(|room| self.rooms.get(&room));
        let viewers = room.map(|room| room.peers.clone());
        for viewer in viewers.unwrap_or_default() {
            let Some(peer) = self.peers.get_mut(viewer) else {
                continue;
            };
            if peer.subscriber.follow(&source) {
                let changed = self.fill_slots(now, viewer);
                self.tell_viewer(viewer, changed);
            }
        }
    }

    /// Frees a slot that has no codec for its track any more.
    pub(super) fn let_go(
        &mut self,
        now: Instant,
        index: PeerIx,
        slot: usize,
        source: &SourceTrack,
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.subscriber.let_go(slot);
        peer.subscriber.follow(source);
        let target = Target {
            peer: index,
            slot: slot.into(),
        };
        self.remove_viewer(source.index, target);
        let mut changed = self.fill_slots(now, index);
        if !changed.contains(&slot) {
            changed.push(slot);
        }
        self.tell_viewer(index, changed);
    }

    /// Gives free slots to waiting subscriptions; returns those slots.
    pub(super) fn fill_slots(&mut self, now: Instant, index: PeerIx) -> Vec<usize> {
        let Some(peer) = self.peers.get_mut(index) else {
            return Vec::new();
        };
        let room = peer.room;
        let mut assigned = Vec::new();
        let mut begun = Vec::new();
        peer.subscriber.fill(|slot, state, waited_for| {
            if let Some(forwarder) = &state.forwarder {
                assigned.push((slot, (*forwarder.source).clone()));
                begun.extend(waited_for.and_then(|_| forwarder.source.begun()));
            }
        });
        let news = peer.subscriber.news_of_waiting();
        for (slot, source) in &assigned {
            let slot = (*slot).into();
            self.add_viewer(source.index, Target { peer: index, slot });
            self.viewers_changed(now, source.id);
        }
        let waits = news.iter().map(|waiting| waiting.state());
        let states: Vec<_> = begun.into_iter().chain(waits).collect();
        for waiting in &news {
            let track = waiting.source.id;
            match waiting.is_undecodable() {
                true => self.decodable_changed(now, room, track),
                false => self.viewers_changed(now, track),
            }
        }
        if !states.is_empty() {
            self.report_allocation(now, index, states);
        }
        let assigned: Vec<usize> = assigned.into_iter().map(|(slot, _)| slot).collect();
        if !assigned.is_empty() {
            self.start(now, index, &assigned);
        }
        assigned
    }

    /// Starts all subscriptions of a viewer that has connected.
    pub(super) fn begin(&mut self, now: Instant, index: PeerIx) {
        let Some(peer) = self.peers.get(index) else {
            return;
        };
        let carrying = peer.subscriber.slots();
        let slots: Vec<_> = carrying.map(|(slot, _)| slot).collect();
        self.start(now, index, &slots);
    }

    /// Restarts the subscriptions of a viewer that has connected again, with other keys. Packets sent in between are
    /// lost, perhaps too many to ask for one by one, so that its pictures begin anew.
    pub(super) fn begin_again(&mut self, now: Instant, index: PeerIx) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.subscriber.begin_again();
        }
        self.begin(now, index);
        let Some(viewer) = self.peers.get_mut(index) else {
            return;
        };
        let requests = viewer.subscriber.keyframes_wanted(now);
        self.pass_on(now, requests);
    }

    /// Points new subscriptions at their layers and asks for the keyframes they begin with.
    fn start(&mut self, now: Instant, index: PeerIx, slots: &[usize]) {
        let Some(viewer) = self.peers.get_mut(index) else {
            return;
        };
        for slot in slots {
            if let Some(slot) = viewer.subscriber.slot_mut(*slot) {
                slot.begin_sound();
            }
        }
        self.decide(now, index);
        // A keyframe sent before the viewer is connected would be lost.
        let viewer = self.peers.get_mut(index);
        let Some(viewer) = viewer.filter(|viewer| viewer.transport.is_connected()) else {
            return;
        };
        let mut wanted = Vec::new();
        for slot in slots {
            if let Some(slot) = viewer.subscriber.slot_mut(*slot)
                && let Some(forwarder) = &slot.forwarder
                && let Some(layer) = forwarder.awaits_keyframe_of()
            {
                let at = forwarder.source.index;
                slot.counters.keyframe_requests += 1;
                if slot.request_keyframe(now, false) == KeyframeRequest::Allowed {
                    wanted.push((at, layer));
                }
            }
        }
        for (at, layer) in wanted {
            self.request_keyframe(now, at, layer);
        }
    }

    /// Tells a viewer of changed slots and of missing m-lines.
    pub(super) fn tell_viewer(&mut self, index: PeerIx, changed: Vec<usize>) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let (room, id, offers) = (peer.room, peer.id, peer.offers);
        let slots: Vec<Slot> = peer
            .subscriber
            .slots()
            .filter(|(slot, _)| changed.contains(slot))
            .map(|(_, slot)| Slot {
                mid: slot.mid().to_owned(),
                kind: slot.kind,
                track: slot.track(),
            })
            .collect();
        let needs = peer.subscriber.needs();
        let needs_changed = std::mem::replace(&mut peer.needs, needs) != needs;
        if !slots.is_empty() {
            self.events.push_back(Event::SlotsChanged {
                room,
                peer: id,
                slots,
                offers,
            });
        }
        if needs_changed {
            self.events.push_back(Event::NeedsChanged {
                room,
                peer: id,
                needs,
                offers,
            });
        }
    }

    /// Ends a track: its viewers' slots become free for waiting subscriptions.
    pub(super) fn unpublish(&mut self, now: Instant, index: PeerIx, at: TrackIx) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.publisher.unpublish(at);
        }
        let Some(track) = self.tracks.remove(at) else {
            return;
        };
        let (room, id) = (track.room, track.publisher);
        self.announce_end(room, track.id);
        self.release_batches();
        tracing::info!(%room, peer = %id, track = %track.id, "track ended");
        self.events.push_back(Event::TrackEnded {
            room,
            peer: id,
            track: track.id,
        });
        self.forget_track(now, room, track.id, Some(index));
    }

    /// Removes a track that is gone from its room and its viewers.
    pub(super) fn forget_track(
        &mut self,
        now: Instant,
        room: RoomId,
        track: TrackId,
        publisher: Option<PeerIx>,
    ) {
        let mut viewers = Vec::new();
        if let Some(room) = self.rooms.get_mut(&room) {
            room.tracks.remove(&track);
            let others = room.peers.iter().copied();
            viewers.extend(others.filter(|viewer| Some(*viewer) != publisher));
        }
        for viewer in viewers {
            let subscribed = self
                .peers
                .get(viewer)
                .is_some_and(|peer| peer.subscriber.is_subscribed(track));
            if subscribed {
                self.remove_subscription(now, viewer, track);
            }
        }
        self.watches.remove(track);
        self.forget_voice(now, room, track);
        self.last_n_changed(now, room);
    }
}
