//! The news that this worker owes the workers of publishers: keyframes that viewers here need, and changes of the
//! layers that they want.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::index::TrackIx;
use crate::track::Tracks;

/// The news about tracks that other workers send.
#[derive(Debug, Default)]
pub(in crate::worker) struct Upstream {
    /// Keyframe requests that came too soon after another: the time they are due, the track and the layer.
    deferred: BTreeSet<(Instant, TrackIx, usize)>,
    /// Tracks that got their first viewer or lost their last one.
    changed: Vec<TrackIx>,
}

impl Upstream {
    /// Records that a track got its first viewer, or lost its last one.
    pub(in crate::worker) fn changed(&mut self, track: TrackIx) {
        self.changed.push(track);
    }

    /// A track that got its first viewer, or lost its last one, since it was last returned.
    pub(super) fn take_changed(&mut self) -> Option<TrackIx> {
        self.changed.pop()
    }

    /// Forgets a track that ended.
    pub(super) fn forget(&mut self, track: TrackIx) {
        self.deferred.retain(|(_, other, _)| *other != track);
    }

    /// Records that a viewer needs a keyframe. True if the publisher's worker is to be asked now; too soon after
    /// another request it is deferred.
    pub(super) fn request_keyframe(
        &mut self,
        now: Instant,
        tracks: &mut Tracks,
        track: TrackIx,
        layer: usize,
    ) -> bool {
        let found = tracks.get_mut(track);
        let Some(layers) = found.and_then(|track| track.layers.get_mut(layer)) else {
            return false;
        };
        let ask = layers.keyframes.request(now);
        if let Some(due) = layers.keyframes.poll_timeout() {
            self.deferred.insert((due, track, layer));
        }
        ask
    }

    /// The time at which [`take_due`](Self::take_due) has something.
    pub(in crate::worker) fn poll_timeout(&self) -> Option<Instant> {
        self.deferred.first().map(|(due, ..)| *due)
    }

    /// The track and layer of a deferred request that is due. A keyframe that came meanwhile has answered it.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        tracks: &mut Tracks,
    ) -> Option<(TrackIx, usize)> {
        loop {
            let (due, track, layer) = *self.deferred.first()?;
            if due > now {
                return None;
            }
            self.deferred.pop_first();
            let found = tracks.get_mut(track);
            let found = found.and_then(|track| track.layers.get_mut(layer));
            if found.is_some_and(|layer| layer.keyframes.poll(now)) {
                return Some((track, layer));
            }
        }
    }

    /// The number of deferred requests.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::worker) fn len(&self) -> usize {
        self.deferred.len()
    }
}
