//! Settings of a published track, and their effects.
//!
//! A muted track is not forwarded, whatever its publisher sends: this worker does not forward it, nor do others, and no
//! viewer gets lost packets of it again. Towards its publisher nothing changes: packets are counted and reported, so
//! that its estimate of its own link stays.

use std::time::Instant;

use super::Worker;
use super::relay::track_at;
use crate::error::SfuError;
use crate::event::MediaKind;
use crate::id::{PeerId, RoomId, TrackId};
use crate::ladder::{LayerSet, SPATIAL};
use crate::place::Place;
use crate::view::TrackSettings;

impl Worker {
    /// Sets the facts of a published track that its packets do not tell.
    pub(crate) fn set_track(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
        settings: TrackSettings,
    ) -> Result<(), SfuError> {
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        let publisher = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        let room = publisher.room;
        let place = self
            .rooms
            .get(&room)
            .and_then(|room| room.tracks.get(&track))
            .copied();
        let Some(Place::Published { peer, track: at }) = place else {
            return Err(SfuError::NoSuchTrack);
        };
        let published = self.peers.get_mut(peer).filter(|_| peer == index);
        let published = published.and_then(|peer| peer.publisher.track_mut(at));
        let published = published.ok_or(SfuError::NoSuchTrack)?;
        if std::mem::replace(&mut published.settings, settings) != settings {
            self.announce(room, track);
            self.settings_changed(now, Place::Published { peer, track: at });
        }
        Ok(())
    }

    /// Applies a changed mute or screen setting, on the publisher's worker and on others.
    pub(super) fn settings_changed(&mut self, now: Instant, place: Place) {
        // Waiting packets came before the change.
        self.forward(now, usize::MAX);
        let Some(track) = track_at(&self.peers, &self.relayed, place) else {
            return;
        };
        let (id, muted) = (track.id, track.settings.muted);
        let Some(room) = self.room_of(place) else {
            return;
        };
        if muted {
            self.silence(now, room, id);
        }
        self.last_n_changed(now, room);
        self.retarget(now, place);
        if !muted {
            self.request_beginnings(now, place);
        }
    }

    /// Asks for the keyframes that viewers of a track wait for, ahead of its next packet.
    fn request_beginnings(&mut self, now: Instant, place: Place) {
        let track = track_at(&self.peers, &self.relayed, place);
        let Some(track) = track.filter(|track| track.kind == MediaKind::Video) else {
            return;
        };
        let mut awaited = LayerSet::NONE;
        for target in self.router.targets(track.fanout) {
            let peer = self.peers.get(target.peer);
            let peer = peer.filter(|peer| peer.transport.is_connected());
            let slot = peer.and_then(|peer| peer.subscriber.slot(target.slot));
            let forwarder = slot.and_then(|slot| slot.forwarder.as_ref());
            if let Some(layer) = forwarder.and_then(|forwarder| forwarder.awaits_keyframe_of()) {
                awaited.insert(layer);
            }
        }
        for layer in (0..SPATIAL).filter(|layer| awaited.contains(*layer)) {
            self.request_keyframe(now, place, layer);
        }
    }

    pub(super) fn room_of(&self, place: Place) -> Option<RoomId> {
        match place {
            Place::Published { peer, .. } => self.peers.get(peer).map(|peer| peer.room),
            Place::Relayed(index) => self.relayed.get(index).map(|track| track.room),
        }
    }
}
