//! A room: the peers that can see each other's tracks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::id::TrackId;
use crate::place::Place;

/// One worker's part of a room.
#[derive(Debug)]
pub(crate) struct Room {
    peers: BTreeSet<usize>,
    /// How many those are, for placement to read; written at joins and leaves only.
    population: Arc<AtomicUsize>,
    /// Its tracks, those that other workers relay included.
    pub(crate) tracks: HashMap<TrackId, Place>,
    /// The other workers that have a part of it.
    pub(crate) parts: Vec<u16>,
}

impl Room {
    /// An empty part, the only one.
    pub(crate) fn new(population: Arc<AtomicUsize>) -> Self {
        Self {
            peers: BTreeSet::new(),
            population,
            tracks: HashMap::new(),
            parts: Vec::new(),
        }
    }

    /// Its peers on this worker, by index among the worker's.
    pub(crate) fn peers(&self) -> &BTreeSet<usize> {
        &self.peers
    }

    /// A peer joined.
    pub(crate) fn insert(&mut self, peer: usize) {
        self.peers.insert(peer);
        self.population.store(self.peers.len(), Ordering::Relaxed);
    }

    /// A peer left.
    pub(crate) fn remove(&mut self, peer: usize) {
        self.peers.remove(&peer);
        self.population.store(self.peers.len(), Ordering::Relaxed);
    }
}
