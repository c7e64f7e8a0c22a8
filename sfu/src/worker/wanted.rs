//! Finds which layers of each track have viewers, asks its publisher for these and other workers to send them. Layers
//! without viewers are paused and cost nothing.
//!
//! Each worker knows the layers that its own viewers want. For a track that another worker sends, it tells the publisher's worker
//! ([`Control::Wanted`](super::Control)). That worker adds the demand of its own viewers and asks the publisher
//! ([`Event::LayersWanted`]); [`Demand`](crate::track) decides when to ask for which layer. A change that may matter
//! marks a track. Marked tracks are updated once, at the end of a turn.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::Worker;
use crate::event::{Event, LayerWanted, MediaKind};
use crate::index::TrackIx;
use crate::track::Track;
use crate::track::ladder::{LayerSet, SPATIAL};

/// Interval of updates while a viewer is sent one layer and waits for another: no event tells when the wait is over.
const SETTLES: Duration = Duration::from_millis(200);

/// The tracks to be updated.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marked: Vec<TrackIx>,
    due: BTreeSet<(Instant, TrackIx)>,
    due_of: HashMap<TrackIx, Instant>,
}

impl Marks {
    pub(super) fn mark(&mut self, at: TrackIx) {
        if self.marked.last() != Some(&at) {
            self.marked.push(at);
        }
    }

    fn set_due(&mut self, at: TrackIx, due: Option<Instant>) {
        let before = match due {
            Some(due) => self.due_of.insert(at, due),
            None => self.due_of.remove(&at),
        };
        if before != due {
            self.due.extend(due.map(|due| (due, at)));
            if let Some(before) = before {
                self.due.remove(&(before, at));
            }
        }
    }

    /// The time to update a track that nothing marked.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The tracks that are marked or due, each once.
    fn take(&mut self, now: Instant) -> Vec<TrackIx> {
        while let Some((due, at)) = self.due.first().copied()
            && due <= now
        {
            self.set_due(at, None);
            self.marked.push(at);
        }
        let mut marked = std::mem::take(&mut self.marked);
        marked.sort_unstable();
        marked.dedup();
        marked
    }
}

impl Worker {
    /// Marks a track whose viewers here may be sent other layers from now on.
    pub(super) fn wants_changed(&mut self, at: TrackIx) {
        self.marks.mark(at);
    }

    /// Updates the marked tracks.
    pub(super) fn poll_wants(&mut self, now: Instant) {
        if self.marks.marked.is_empty() && self.marks.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        for at in self.marks.take(now) {
            let Some(track) = self.tracks.get(at) else {
                continue;
            };
            // Audio is never paused: it costs little, and tells who speaks.
            if track.kind == MediaKind::Audio && track.piped().is_none() {
                continue;
            }
            let (wanted, settled) = self.wanted_of(track);
            let again = (!settled).then(|| now + SETTLES);
            let due = if track.piped().is_some() {
                self.tell_wanted(at);
                None
            } else {
                self.ask_for(now, at, wanted)
            };
            let due = due.into_iter().chain(again).min();
            self.marks.set_due(at, due);
        }
    }

    /// The layers of a track that its viewers here are sent or are to be sent, and whether both are the same.
    pub(super) fn wanted_of(&self, track: &Track) -> (LayerSet, bool) {
        let targets = track.sinks.viewers();
        if targets.is_empty() {
            return (LayerSet::NONE, true);
        }
        if track.kind == MediaKind::Audio {
            return (LayerSet::ALL, true);
        }
        if track.settings.muted {
            return (LayerSet::NONE, true);
        }
        let (mut wanted, mut settled) = (LayerSet::NONE, true);
        for target in targets {
            let peer = self.peers.get(target.peer);
            let slot = peer.and_then(|peer| peer.subscriber.slot(target.slot.into()));
            let Some(forwarder) = slot.and_then(|slot| slot.forwarder.as_ref()) else {
                continue;
            };
            let (current, target) = forwarder.streams();
            for layer in [current, target].into_iter().flatten() {
                wanted.insert(layer);
            }
            settled &= current.is_none() || current == target;
        }
        // The smallest layer is always wanted: a viewer of a large picture may have to fall back to it from one moment
        // to the next. Waiting until its encoder is on again would freeze the picture.
        let order = track.order();
        if !wanted.is_empty()
            && let (false, Some(smallest)) = (order.is_single(), order.encodings().next())
        {
            wanted.insert(smallest);
        }
        // Nothing can be chosen yet: any layer that comes is wanted.
        let mut layers = track.encodings();
        if wanted.is_empty()
            && !layers.any(|(index, layer)| layer.is_alive() || track.demand.may_come(index))
        {
            wanted = LayerSet::ALL;
        }
        (wanted, settled)
    }

    /// Asks a publisher for the wanted layers; returns the time of the next update.
    fn ask_for(&mut self, now: Instant, at: TrackIx, wanted: LayerSet) -> Option<Instant> {
        let track = self.tracks.get_mut(at)?;
        let (room, id) = (track.room, track.publisher);
        let change = track.update_demand(now, wanted);
        if change.asked {
            let layers: Vec<LayerWanted> = track
                .encodings()
                .map(|(index, layer)| LayerWanted {
                    rid: layer.name.rid.clone(),
                    active: track.demand.asks_for(index),
                })
                .collect();
            tracing::debug!(%room, peer = %id, track = %track.id, ?layers, "layers wanted");
            self.events.push_back(Event::LayersWanted {
                room,
                peer: id,
                track: track.id,
                layers,
            });
        }
        for layer in (0..SPATIAL).filter(|layer| change.begin.contains(*layer)) {
            self.request_keyframe(now, at, layer);
        }
        if change.choice {
            self.retarget(now, at);
        }
        if change.offer {
            self.announce_layers(at);
        }
        change.due
    }
}
