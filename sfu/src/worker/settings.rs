//! Settings of a published track, and their effects.
//!
//! A muted track is not forwarded, whatever its publisher sends: this worker does not forward it, nor do others, and no
//! viewer gets lost packets of it again. Towards its publisher nothing changes: packets are counted and reported, so
//! that its estimate of its own link stays.

use std::time::Instant;

use super::Worker;
use crate::error::SfuError;
use crate::event::MediaKind;
use crate::id::{PeerId, TrackId};
use crate::index::TrackIx;
use crate::track::ladder::{LayerSet, SPATIAL};
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
        let at = self.tracks.find(track).ok_or(SfuError::NoSuchTrack)?;
        let published = self.tracks.get_mut(at);
        let published = published.filter(|track| track.peer() == Some(index));
        let published = published.ok_or(SfuError::NoSuchTrack)?;
        if std::mem::replace(&mut published.settings, settings) != settings {
            let room = published.room;
            self.announce(room, track);
            self.settings_changed(now, at);
        }
        Ok(())
    }

    /// Applies a changed mute or screen setting, on the publisher's worker and on others.
    pub(super) fn settings_changed(&mut self, now: Instant, at: TrackIx) {
        // Waiting packets came before the change.
        self.forward(now, usize::MAX);
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        let (room, id, muted) = (track.room, track.id, track.settings.muted);
        if muted {
            self.silence(now, room, id);
            self.interrupt_taps(at);
        }
        self.last_n_changed(now, room);
        self.retarget(now, at);
        if !muted {
            self.request_beginnings(now, at);
            self.begin_taps(now, at);
        }
    }

    /// Asks for the keyframes that viewers of a track wait for, ahead of its next packet.
    fn request_beginnings(&mut self, now: Instant, at: TrackIx) {
        let track = self.tracks.get(at);
        let Some(track) = track.filter(|track| track.kind == MediaKind::Video) else {
            return;
        };
        let mut awaited = LayerSet::NONE;
        for target in track.sinks.viewers() {
            let peer = self.peers.get(target.peer);
            let peer = peer.filter(|peer| peer.transport.is_connected());
            let slot = peer.and_then(|peer| peer.subscriber.slot(target.slot.into()));
            let forwarder = slot.and_then(|slot| slot.forwarder.as_ref());
            if let Some(layer) = forwarder.and_then(|forwarder| forwarder.awaits_keyframe_of()) {
                awaited.insert(layer);
            }
        }
        for layer in (0..SPATIAL).filter(|layer| awaited.contains(*layer)) {
            self.request_keyframe(now, at, layer);
        }
    }
}
