//! The tracks that other workers relay to this one.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use slab::Slab;

use crate::cache::CacheShare;
use crate::id::{PeerId, RoomId, TrackId};
use crate::ingress::Track;
use crate::ladder::LayerSet;

/// A track whose publisher is on another worker.
#[derive(Debug)]
pub(in crate::worker) struct RelayedTrack {
    pub(in crate::worker) track: Track,
    pub(in crate::worker) room: RoomId,
    pub(in crate::worker) publisher: PeerId,
    /// The publisher's worker.
    pub(in crate::worker) from: u16,
    /// The layers wanted here, as last told to that worker; its packets are relayed if there is
    /// any.
    pub(in crate::worker) wanted: LayerSet,
    /// The memory for its packets here.
    pub(in crate::worker) caches: CacheShare,
}

/// All tracks relayed to this worker.
#[derive(Debug, Default)]
pub(in crate::worker) struct RelayedTracks {
    tracks: Slab<RelayedTrack>,
    by_id: HashMap<TrackId, usize>,
    /// The track of the last packet: packets of one frame follow each other.
    last: Option<(TrackId, usize)>,
    /// Keyframe requests that came too soon after another: the time they are due, the track and the
    /// layer.
    deferred: BTreeSet<(Instant, usize, usize)>,
}

impl RelayedTracks {
    /// The index that the next track gets.
    pub(in crate::worker) fn next_index(&self) -> usize {
        self.tracks.vacant_key()
    }

    pub(in crate::worker) fn insert(&mut self, track: RelayedTrack) -> usize {
        let id = track.track.id;
        let index = self.tracks.insert(track);
        self.by_id.insert(id, index);
        index
    }

    pub(in crate::worker) fn remove(&mut self, index: usize) -> Option<RelayedTrack> {
        let track = self.tracks.try_remove(index)?;
        self.by_id.remove(&track.track.id);
        self.last = None;
        self.deferred.retain(|(_, other, _)| *other != index);
        Some(track)
    }

    pub(in crate::worker) fn get(&self, index: usize) -> Option<&RelayedTrack> {
        self.tracks.get(index)
    }

    pub(in crate::worker) fn get_mut(&mut self, index: usize) -> Option<&mut RelayedTrack> {
        self.tracks.get_mut(index)
    }

    pub(in crate::worker) fn index_of(&self, id: TrackId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The index of a packet's track, looked up as in [`index_of`](Self::index_of) but faster for
    /// runs of one track.
    pub(in crate::worker) fn index_of_next(&mut self, id: TrackId) -> Option<usize> {
        match self.last {
            Some((last, index)) if last == id => Some(index),
            _ => {
                let index = self.index_of(id)?;
                self.last = Some((id, index));
                Some(index)
            }
        }
    }

    pub(in crate::worker) fn iter(&self) -> impl Iterator<Item = (usize, &RelayedTrack)> {
        self.tracks.iter()
    }

    pub(in crate::worker) fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Records that a viewer needs a keyframe. True if the publisher's worker is to be asked now;
    /// too soon after another request it is deferred.
    pub(in crate::worker) fn request_keyframe(
        &mut self,
        now: Instant,
        index: usize,
        layer: usize,
    ) -> bool {
        let track = self.tracks.get_mut(index);
        let Some(requests) = track
            .and_then(|track| track.track.layers.get_mut(layer))
            .map(|layer| &mut layer.keyframes)
        else {
            return false;
        };
        let ask = requests.request(now);
        if let Some(due) = requests.poll_timeout() {
            self.deferred.insert((due, index, layer));
        }
        ask
    }

    /// The time at which [`take_due`](Self::take_due) has something.
    pub(in crate::worker) fn poll_timeout(&self) -> Option<Instant> {
        self.deferred.first().map(|(due, ..)| *due)
    }

    /// The track and layer of a deferred request that is due. A keyframe that came meanwhile has
    /// answered it.
    pub(in crate::worker) fn take_due(&mut self, now: Instant) -> Option<(usize, usize)> {
        loop {
            let (due, index, layer) = *self.deferred.first()?;
            if due > now {
                return None;
            }
            self.deferred.pop_first();
            let track = self.tracks.get_mut(index);
            if track
                .and_then(|track| track.track.layers.get_mut(layer))
                .is_some_and(|layer| layer.keyframes.poll(now))
            {
                return Some((index, layer));
            }
        }
    }
}
