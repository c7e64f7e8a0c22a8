//! A room: the peers that can see each other's tracks.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::audio::{LastN, Loudest, Speakers};
use crate::id::TrackId;
use crate::index::{PeerIx, TrackIx, WorkerIx};
use crate::stats::Decision;

/// One worker's part of a room.
#[derive(Debug)]
pub(crate) struct Room {
    /// Its peers on this worker, by index among the worker's.
    pub(crate) peers: BTreeSet<PeerIx>,
    /// Its tracks, those that other workers send included.
    pub(crate) tracks: HashMap<TrackId, TrackIx>,
    /// The other workers that have a part of it.
    pub(crate) parts: Vec<WorkerIx>,
    /// The decisions for its viewers here, oldest first.
    pub(crate) timeline: VecDeque<Decision>,
    /// Its active speakers.
    pub(crate) speakers: Speakers,
    /// The loudness of its audio tracks.
    pub(crate) loudest: Loudest,
    /// The publishers whose cameras are sent, if not all are.
    pub(crate) last_n: LastN,
    /// The number of its viewers here that ignore the video orientation and show pictures as they come.
    pub(crate) unturning: usize,
    /// The other workers that have such viewers.
    pub(crate) unturning_parts: Vec<WorkerIx>,
}

/// Decisions of a room on one worker kept at most, 70 KB. A viewer with a noisy link causes up to four a minute: enough
/// for half an hour of ten such viewers.
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
            last_n: LastN::default(),
            unturning: 0,
            unturning_parts: Vec::new(),
        }
    }

    /// Records a decision; drops the oldest if there are too many.
    pub(crate) fn decided(&mut self, decision: Decision) {
        if self.timeline.len() == TIMELINE {
            self.timeline.pop_front();
        }
        self.timeline.push_back(decision);
    }
}
