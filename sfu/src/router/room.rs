//! A room: the peers that can see each other's tracks.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Loudest, Speakers};
use crate::id::{PeerId, TrackId};
use crate::place::Place;
use crate::stats::Decision;

/// One worker's part of a room.
#[derive(Debug)]
pub(crate) struct Room {
    /// Its peers on this worker, by index among the worker's.
    pub(crate) peers: BTreeSet<usize>,
    /// Its tracks, those that other workers relay included.
    pub(crate) tracks: HashMap<TrackId, Place>,
    /// The other workers that have a part of it.
    pub(crate) parts: Vec<u16>,
    /// The decisions for its viewers here, oldest first.
    pub(crate) timeline: VecDeque<Decision>,
    /// Who speaks in it.
    pub(crate) speakers: Speakers,
    /// Who is loud in it.
    pub(crate) loudest: Loudest,
    /// Whose videos are sent, if not all are: the last speaker first, and one more than a viewer is sent, for
    /// viewers who are among them.
    pub(crate) last_n: Vec<PeerId>,
    /// Its viewers here that show pictures as they come, not as their orientation says.
    pub(crate) unturning: usize,
    /// The parts that have such viewers.
    pub(crate) unturning_parts: Vec<u16>,
}

/// Decisions remembered of a room on one worker: at the four changes a minute that a viewer at a noisy
/// edge may see, half an hour of ten such viewers. 70 KB.
const TIMELINE: usize = 1_024;

impl Room {
    /// An empty part, the only one.
    pub(crate) fn new() -> Self {
        Self {
            peers: BTreeSet::new(),
            tracks: HashMap::new(),
            parts: Vec::new(),
            timeline: VecDeque::new(),
            speakers: Speakers::default(),
            loudest: Loudest::default(),
            last_n: Vec::new(),
            unturning: 0,
            unturning_parts: Vec::new(),
        }
    }

    /// Remembers a decision; forgets the oldest if there are too many.
    pub(crate) fn decided(&mut self, decision: Decision) {
        if self.timeline.len() == TIMELINE {
            self.timeline.pop_front();
        }
        self.timeline.push_back(decision);
    }
}

/// A seat, of a peer in a part of a room or of a room on a server, counted from when it is asked for until who has it is gone,
/// wherever in between that ends. Counting takes place at joins and leaves only.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// Takes one of those that are counted here.
    pub(crate) fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }

    /// Takes one of `limit`, if any is left.
    pub(crate) fn take_of(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let one_more = |taken: usize| (taken < limit).then_some(taken + 1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
