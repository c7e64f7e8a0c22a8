//! The decisions in a room, its people and tracks called as clients know them.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::actor::Room;
use super::{ParticipantId, TrackName};
use crate::media::{PeerId, SfuError, TrackId, stats::Decision};

/// The latest decisions in a room, oldest first.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Timeline {
    /// The time at which this was asked for: Unix time in milliseconds.
    pub now_ms: u64,
    /// The decisions, oldest first.
    pub decisions: Vec<NamedDecision>,
}

/// A decision about a viewer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NamedDecision {
    /// Unix time in milliseconds, by the clock of this machine.
    pub at_ms: u64,
    /// The viewer; none if it left long ago.
    pub participant: Option<ParticipantId>,
    /// The track; none if the entry is about the link, or about a track that ended long ago.
    pub track: Option<TrackName>,
    /// The layer to be sent from then on, counted from the lowest; none: nothing is sent.
    pub layer: Option<u8>,
    /// The highest of its temporal layers; none: nothing is sent.
    pub temporal: Option<u8>,
    /// The reason that no higher layer is sent, or the event on the link.
    pub reason: &'static str,
    /// The link's estimated bandwidth at that time, in bits a second.
    pub estimate: Option<u64>,
}

/// The names of participants and tracks that are gone: a timeline reaches further back than the
/// room's lists do. Beyond the bound the oldest is forgotten.
#[derive(Default)]
pub(super) struct Former {
    peers: VecDeque<(PeerId, ParticipantId)>,
    tracks: VecDeque<(TrackId, TrackName)>,
}

/// Names remembered: more than a timeline mentions, as that is bounded as well.
const REMEMBERED: usize = 1024;

impl Former {
    pub(super) fn peer(&mut self, peer: PeerId, id: ParticipantId) {
        push(&mut self.peers, (peer, id));
    }

    pub(super) fn track(&mut self, track: TrackId, name: TrackName) {
        push(&mut self.tracks, (track, name));
    }
}

fn push<T>(queue: &mut VecDeque<T>, entry: T) {
    if queue.len() == REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(entry);
}

fn find<K: PartialEq, N: Clone>(queue: &VecDeque<(K, N)>, key: &K) -> Option<N> {
    let found = queue.iter().rev().find(|(known, _)| known == key);
    found.map(|(_, name)| name.clone())
}

impl Room {
    pub(super) fn decisions(
        &mut self,
        then: impl FnOnce(&mut Room, Result<Timeline, SfuError>) + Send + 'static,
    ) {
        let media_room = self.media_room;
        self.ask(
            move |media| media.timeline(media_room),
            |room, decided| {
                let timeline = decided.map(|decided| room.name_decisions(decided));
                then(room, timeline);
            },
        );
    }

    fn name_decisions(&self, decided: Vec<Decision>) -> Timeline {
        let decisions = decided.into_iter().map(|decision| NamedDecision {
            at_ms: decision.at_ms,
            participant: self.participant_of(decision.peer),
            track: decision.track.and_then(|track| {
                let known = self.name_of(track);
                known.or_else(|| find(&self.former.tracks, &track))
            }),
            layer: decision.layer,
            temporal: decision.temporal,
            reason: decision.reason,
            estimate: decision.estimate,
        });
        Timeline {
            now_ms: unix_ms(),
            decisions: decisions.collect(),
        }
    }

    fn participant_of(&self, peer: PeerId) -> Option<ParticipantId> {
        let known = self.peers.get(&peer).cloned();
        known.or_else(|| find(&self.former.peers, &peer))
    }
}

pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_who_left_are_remembered() {
        let mut former = Former::default();
        for number in 0..REMEMBERED as u64 + 1 {
            former.peer(PeerId::from_u64(number), ParticipantId::random());
        }
        assert_eq!(former.peers.len(), REMEMBERED);
        assert_eq!(find(&former.peers, &PeerId::from_u64(0)), None);
        assert!(find(&former.peers, &PeerId::from_u64(1)).is_some());
    }
}
