//! A room: the peers that can see each other's tracks.

use std::collections::{BTreeSet, HashMap};

use crate::id::TrackId;

/// Where a track is: its publisher among the worker's peers, and its index there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TrackPlace {
    pub(crate) peer: usize,
    pub(crate) track: usize,
}

/// A room.
#[derive(Debug)]
pub(crate) struct Room {
    /// Its peers, by index among the worker's.
    pub(crate) peers: BTreeSet<usize>,
    /// Its tracks.
    pub(crate) tracks: HashMap<TrackId, TrackPlace>,
}

impl Room {
    /// An empty room.
    pub(crate) fn new() -> Self {
        Self {
            peers: BTreeSet::new(),
            tracks: HashMap::new(),
        }
    }
}
