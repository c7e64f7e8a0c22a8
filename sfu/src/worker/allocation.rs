//! What viewers want, what they are allowed, and what was decided for them.

use std::time::Instant;

use super::Worker;
use crate::error::SfuError;
use crate::id::{PeerId, RoomId, TrackId};
use crate::place::Place;
use crate::stats::Decision;
use crate::view::{Cap, TrackSettings, View};

impl Worker {
    /// Takes how a viewer shows tracks. What it is not subscribed to is passed over.
    pub(crate) fn set_views(
        &mut self,
        _now: Instant,
        peer: PeerId,
        views: &[View],
    ) -> Result<(), SfuError> {
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        for view in views {
            peer.subscriber.set_view(*view);
        }
        Ok(())
    }

    /// Bounds what a viewer is sent.
    pub(crate) fn set_cap(
        &mut self,
        _now: Instant,
        peer: PeerId,
        cap: Cap,
    ) -> Result<(), SfuError> {
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        peer.subscriber.set_cap(cap);
        Ok(())
    }

    /// Takes what a published track is beside its packets.
    pub(crate) fn set_track(
        &mut self,
        _now: Instant,
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
        }
        Ok(())
    }

    /// What was decided in a room lately.
    pub(crate) fn timeline(&self, room: RoomId) -> Result<Vec<Decision>, SfuError> {
        let room = self.rooms.get(&room).ok_or(SfuError::NoSuchRoom)?;
        Ok(room.timeline.iter().cloned().collect())
    }
}
