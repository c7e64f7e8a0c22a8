//! All tracks of a worker.

use std::collections::HashMap;

use super::Track;
use crate::id::TrackId;
use crate::index::{Table, TrackIx};

/// The tracks of a worker, those that other workers send included.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    tracks: Table<TrackIx, Track>,
    by_id: HashMap<TrackId, TrackIx>,
    /// The track last found by [`find_next`](Self::find_next).
    last: Option<(TrackId, TrackIx)>,
}

impl Tracks {
    /// Adds a track.
    pub(crate) fn insert(&mut self, track: Track) -> TrackIx {
        let id = track.id;
        let index = self.tracks.insert(track);
        self.by_id.insert(id, index);
        index
    }

    /// Removes a track.
    pub(crate) fn remove(&mut self, index: TrackIx) -> Option<Track> {
        let track = self.tracks.remove(index)?;
        self.by_id.remove(&track.id);
        self.last = None;
        Some(track)
    }

    /// One track.
    pub(crate) fn get(&self, index: TrackIx) -> Option<&Track> {
        self.tracks.get(index)
    }

    /// One track, mutable.
    pub(crate) fn get_mut(&mut self, index: TrackIx) -> Option<&mut Track> {
        self.tracks.get_mut(index)
    }

    /// The index of a track.
    pub(crate) fn find(&self, id: TrackId) -> Option<TrackIx> {
        self.by_id.get(&id).copied()
    }

    /// The index of a packet's track, found faster than by [`find`](Self::find) where packets of one track follow each
    /// other.
    pub(crate) fn find_next(&mut self, id: TrackId) -> Option<TrackIx> {
        match self.last {
            Some((last, index)) if last == id => Some(index),
            _ => {
                let index = self.find(id)?;
                self.last = Some((id, index));
                Some(index)
            }
        }
    }

    /// Every track with its index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TrackIx, &Track)> {
        self.tracks.iter()
    }

    /// Every track with its index, mutable.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (TrackIx, &mut Track)> {
        self.tracks.iter_mut()
    }

    /// The number of tracks.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.tracks.len()
    }
}
