//! Checks whether a worker's parts agree with each other, for simulations.

use std::time::Instant;

use super::Worker;
use super::peer::Peer;
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::{PeerIx, TrackIx};
use crate::track::{Target, Track};
use crate::transport::{Path, Srtp};

impl Worker {
    /// The transport-wide number of a peer's next packet.
    pub(crate) fn transport_sequence(&self, peer: PeerId) -> Option<u16> {
        let peer = self.peers.get(*self.by_id.get(&peer)?)?;
        Some(peer.subscriber.transport_sequence())
    }

    /// Disagreements between this worker's parts.
    pub(crate) fn audit(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (index, peer) in self.peers.iter() {
            self.audit_peer(index, peer, &mut faults);
        }
        self.audit_tracks(&mut faults);
        for (id, room) in &self.rooms {
            for index in &room.peers {
                if self.peers.get(*index).is_none_or(|peer| peer.room != *id) {
                    faults.push(format!("{id} has a peer at {index:?} that is not there"));
                }
            }
            for (track, at) in &room.tracks {
                let found = self.tracks.get(*at);
                if found.is_none_or(|found| (found.room, found.id) != (*id, *track)) {
                    faults.push(format!("{id} has {track} at {at:?}, where it is not"));
                }
            }
        }
        if self.by_id.len() != self.peers.len() {
            faults.push("peers and their names differ in number".to_owned());
        }
        faults
    }

    fn audit_peer(&self, index: PeerIx, peer: &Peer, faults: &mut Vec<String>) {
        let Some(room) = self.rooms.get(&peer.room) else {
            return faults.push(format!("{} is in a room that is gone", peer.id));
        };
        if !room.peers.contains(&index) || self.by_id.get(&peer.id) != Some(&index) {
            faults.push(format!("{} is not listed where it is", peer.id));
        }
        for at in peer.publisher.indexes() {
            let Some(track) = self.tracks.get(*at) else {
                faults.push(format!("{} publishes {at:?}, where no track is", peer.id));
                continue;
            };
            if (track.peer(), track.publisher) != (Some(index), peer.id) {
                let (track, peer) = (track.id, peer.id);
                faults.push(format!("{track} is published by another than {peer}"));
            }
            if room.tracks.get(&track.id) != Some(at) {
                faults.push(format!("{} is not in its room's list", track.id));
            }
        }
        let carried = peer.subscriber.slots().filter_map(|(slot, state)| {
            let source = &*state.forwarder.as_ref()?.source;
            Some((Some(slot), source))
        });
        let waiting = peer
            .subscriber
            .waiting()
            .iter()
            .map(|waiting| (None, &waiting.source));
        for (slot, source) in carried.chain(waiting) {
            if !room.tracks.contains_key(&source.id) {
                faults.push(format!("{} is subscribed to a track that ended", peer.id));
            }
            let Some(slot) = slot else { continue };
            let target = Target {
                peer: index,
                slot: slot.into(),
            };
            let viewers = self.viewers(source.index);
            if viewers.iter().filter(|other| **other == target).count() != 1 {
                faults.push(format!("{} is not routed to {target:?} once", source.id));
            }
        }
    }

    fn audit_tracks(&self, faults: &mut Vec<String>) {
        let peers = self.peers.iter();
        let published = peers.map(|(_, peer)| peer.publisher.indexes().len());
        let piped = self
            .tracks
            .iter()
            .filter(|(_, track)| track.peer().is_none());
        if published.sum::<usize>() + piped.count() != self.tracks.len() {
            faults.push("a track has a publisher that does not know it".to_owned());
        }
        for (at, track) in self.tracks.iter() {
            let room = self.rooms.get(&track.room);
            if room.and_then(|room| room.tracks.get(&track.id)) != Some(&at)
                || self.tracks.find(track.id) != Some(at)
            {
                faults.push(format!("{} at {at:?} is not found by its name", track.id));
            }
            for target in track.sinks.viewers() {
                let peer = self.peers.get(target.peer);
                let slot = peer.and_then(|peer| peer.subscriber.slot(target.slot.into()));
                let forwarder = slot.and_then(|slot| slot.forwarder.as_ref());
                if forwarder.is_none_or(|forwarder| forwarder.source.index != at) {
                    let id = track.id;
                    faults.push(format!("{id} goes to {target:?}, who knows nothing of it"));
                }
            }
            let taps = track.sinks.taps();
            if !taps.is_empty() && (track.peer().is_none() || self.taps.poll_timeout().is_none()) {
                faults.push(format!("{} has a tap that nobody looks after", track.id));
            }
            if track.peer().is_none() && !track.sinks.pipes().is_empty() {
                faults.push(format!(
                    "{} is sent on by a worker that does not own it",
                    track.id
                ));
            }
        }
    }

    /// Disagreements between this worker and the others, when nothing is on its way between them.
    pub(crate) fn audit_pipes(&self, workers: &[&Self]) -> Vec<String> {
        let mut faults = Vec::new();
        let here = self.config.index;
        for (_, track) in self.tracks.iter() {
            let Some(piped) = track.piped() else { continue };
            let id = track.id;
            let Some(found) = workers
                .get(usize::from(piped.from))
                .and_then(|origin| origin.published(track.room, id))
            else {
                faults.push(format!("{id} is sent to {here} and published by nobody"));
                continue;
            };
            // The rest comes with the packets.
            let state = |track: &Track| {
                let mut state = track.state();
                for layer in &mut state.layers {
                    (layer.ssrc, layer.sender, layer.measured) = (None, None, (0, 0));
                    // A keyframe tells the height; it may have come before anybody wanted the layer here.
                    layer.heights = Default::default();
                }
                state
            };
            if state(found) != state(track) {
                faults.push(format!(
                    "{id} is not at {here} what it is at its publisher's"
                ));
            }
            let wanted = !self.wanted_of(track).layers.is_empty();
            let sent = found.sinks.pipes().iter().any(|pipe| pipe.to == here);
            if (!piped.wanted.is_empty(), sent) != (wanted, wanted) {
                faults.push(format!(
                    "{id} is wanted at {here}: {wanted}, and sent: {sent}"
                ));
            }
            if !wanted && track.layers.iter().any(|layer| layer.cache.is_some()) {
                faults.push(format!("{id} keeps packets at {here} for nobody"));
            }
        }
        for (id, room) in &self.rooms {
            for other in &room.parts {
                let part = workers
                    .get(usize::from(*other))
                    .and_then(|other| other.rooms.get(id));
                let Some(part) = part.filter(|part| part.parts.contains(&here)) else {
                    faults.push(format!(
                        "{id} at {here} has a part at {other} that knows nothing of it"
                    ));
                    continue;
                };
                let is_published = |at: &TrackIx| {
                    let track = self.tracks.get(*at);
                    track.is_some_and(|track| track.peer().is_some())
                };
                let published = room.tracks.iter();
                for (track, _) in published.filter(|(_, at)| is_published(at)) {
                    if !part.tracks.contains_key(track) {
                        faults.push(format!("{track} of {here} is not known at {other}"));
                    }
                }
            }
        }
        faults
    }

    fn published(&self, room: RoomId, track: TrackId) -> Option<&Track> {
        self.tracks.get(self.published_at(room, track)?)
    }

    /// Entries in all tables.
    pub(crate) fn holdings(&self) -> usize {
        self.rooms.len()
            + self.peers.len()
            + self.by_id.len()
            + self.tracks.len()
            + self.upstream.len()
            + self
                .tracks
                .iter()
                .map(|(_, track)| track.sinks.taps().len())
                .sum::<usize>()
            + self.batches.pooled()
            + self.outbox.len()
            + self.demux.len()
            + self.schedule.len()
            + self.handshakes.len()
            + self.watches.len()
            + self.looks.len()
    }

    /// Handshake datagrams that wait.
    pub(crate) fn handshakes_waiting(&self) -> usize {
        self.handshakes.len()
    }

    /// Changes the bounds on speakers.
    pub(crate) fn bound_speakers(&mut self, last_n: Option<usize>, loudest_n: Option<usize>) {
        (self.config.last_n, self.config.loudest_n) = (last_n, loudest_n);
    }

    /// Takes a plain RTP packet as if a peer had sent it.
    pub(crate) fn handle_peers_rtp(&mut self, now: Instant, peer: PeerId, packet: &mut [u8]) {
        if let Some(index) = self.by_id.get(&peer) {
            self.take_rtp(now, *index, packet);
        }
    }

    /// Connects a peer by keys that are known, without a handshake.
    pub(crate) fn connect_peer(&mut self, now: Instant, peer: PeerId, from: Path, keys: Srtp) {
        if let Some(index) = self.by_id.get(&peer).copied()
            && let Some(peer) = self.peers.get_mut(index)
        {
            peer.transport.connect_by(now, from, keys);
            self.service(now, index);
        }
    }

    /// Takes plain RTCP as if a peer had sent it.
    pub(crate) fn handle_peers_rtcp(&mut self, now: Instant, peer: PeerId, rtcp: &[u8]) {
        if let Some(index) = self.by_id.get(&peer) {
            self.take_rtcp(now, *index, rtcp);
        }
    }
}
