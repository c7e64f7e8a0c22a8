//! Teardown. A room ends its peers, a peer ends its tracks, a track ends its subscriptions; each is told once, the
//! innermost first. The requester of an end is told only of the things that ended with it.

use std::time::Instant;

use super::Worker;
use super::room::Room;
use crate::error::SfuError;
use crate::event::{Event, PeerFailure};
use crate::id::{PeerId, RoomId};
use crate::index::PeerIx;
use crate::track::Target;

impl Worker {
    /// Creates a room.
    pub(crate) fn create_room(&mut self) -> RoomId {
        let id = RoomId::new(self.config.index, self.next_id());
        self.rooms.insert(id, Room::new());
        tracing::info!(room = %id, "room created");
        id
    }

    /// Ends this worker's part of a room and its peers.
    pub(crate) fn close_room(&mut self, now: Instant, room: RoomId) {
        let Some(peers) = self.rooms.get(&room).map(|room| room.peers.clone()) else {
            return;
        };
        for index in peers {
            self.end_peer(now, index);
        }
        self.end_part(now, room);
        self.rooms.remove(&room);
        tracing::info!(%room, "room closed");
    }

    /// Ends a peer; it is told by DTLS.
    pub(crate) fn close_peer(&mut self, now: Instant, peer: PeerId) -> Result<(), SfuError> {
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        self.end_peer(now, index);
        Ok(())
    }

    /// Closes all rooms.
    pub(crate) fn close_all(&mut self, now: Instant) {
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.close_room(now, room);
        }
    }

    /// Tells of each peer and track that it is gone with this failed worker. It touches no other state: a panic may
    /// have left any of it half done.
    pub(crate) fn abandon(&mut self) {
        for (_, peer) in self.peers.iter() {
            let (room, id) = (peer.room, peer.id);
            let tracks = peer.publisher.tracks(&self.tracks);
            let tracks = tracks.map(|(_, track)| track.id);
            self.events.extend(tracks.map(|track| Event::TrackEnded {
                room,
                peer: id,
                track,
            }));
            self.events.push_back(Event::PeerFailed {
                room,
                peer: id,
                reason: PeerFailure::WorkerFailed,
            });
        }
    }

    fn end_peer(&mut self, now: Instant, index: PeerIx) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.transport.close(now);
        while let Some((to, datagram)) = peer.transport.poll_transmit() {
            Self::transmit(&mut self.transmits, &mut peer.run, to, &datagram);
        }
        tracing::info!(room = %peer.room, peer = %peer.id, "peer closed");
        self.remove_peer(now, index);
    }

    /// Forgets a peer, with its tracks and subscriptions.
    pub(super) fn remove_peer(&mut self, now: Instant, index: PeerIx) {
        let Some(peer) = self.peers.get(index) else {
            return;
        };
        for track in peer.publisher.indexes().to_vec() {
            self.unpublish(now, index, track);
        }
        let Some(peer) = self.peers.remove(index) else {
            return;
        };
        for (slot, state) in peer.subscriber.slots() {
            if let Some(forwarder) = &state.forwarder {
                let slot = slot.into();
                self.remove_viewer(forwarder.source.index, Target { peer: index, slot });
                self.viewers_changed(now, forwarder.source.id);
            }
        }
        for waiting in peer.subscriber.waiting() {
            self.viewers_changed(now, waiting.source.id);
        }
        self.turning_changed(now, peer.room, (!peer.subscriber.turns(), false));
        self.looks.remove(peer.id, &peer.pictures);
        if let Some(room) = self.rooms.get_mut(&peer.room) {
            room.peers.remove(&index);
        }
        self.by_id.remove(&peer.id);
        self.demux.remove(index.into());
        self.handshakes.remove(index);
        self.schedule.set(index, None);
    }
}
