//! Finds which layers of each track have viewers, asks its publisher for these and other workers to relay them. Layers
//! without viewers are paused and cost nothing.
//!
//! Each worker knows the layers that its own viewers want. For a track relayed to it, it tells the publisher's worker
//! ([`Control::Wanted`](super::Control)). That worker adds the demand of its own viewers and asks the publisher
//! ([`Event::LayersWanted`]); [`Demand`](crate::ingress) decides when to ask for which layer. A change that may matter
//! marks a track. Marked tracks are updated once, at the end of a turn.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::Worker;
use super::relay::track_at;
use crate::event::{Event, LayerWanted, MediaKind};
use crate::ingress::Track;
use crate::ladder::{LayerSet, SPATIAL};
use crate::place::Place;

/// Interval of updates while a viewer is sent one layer and waits for another: no event tells when the wait is over.
const SETTLES: Duration = Duration::from_millis(200);

/// The tracks to be updated.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marked: Vec<Place>,
    due: BTreeSet<(Instant, Place)>,
    due_of: HashMap<Place, Instant>,
}

impl Marks {
    pub(super) fn mark(&mut self, place: Place) {
        if self.marked.last() != Some(&place) {
            self.marked.push(place);
        }
    }

    fn set_due(&mut self, place: Place, due: Option<Instant>) {
        let before = match due {
            Some(due) => self.due_of.insert(place, due),
            None => self.due_of.remove(&place),
        };
        if before != due {
            self.due.extend(due.map(|due| (due, place)));
            if let Some(before) = before {
                self.due.remove(&(before, place));
            }
        }
    }

    /// The time to update a track that nothing marked.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The tracks that are marked or due, each once.
    fn take(&mut self, now: Instant) -> Vec<Place> {
        while let Some((due, place)) = self.due.first().copied()
            && due <= now
        {
            self.set_due(place, None);
            self.marked.push(place);
        }
        let mut marked = std::mem::take(&mut self.marked);
        marked.sort_unstable();
        marked.dedup();
        marked
    }
}

impl Worker {
    /// Marks a track whose viewers here may be sent other layers from now on.
    pub(super) fn wants_changed(&mut self, place: Place) {
        self.marks.mark(place);
    }

    /// Updates the marked tracks.
    pub(super) fn poll_wants(&mut self, now: Instant) {
        if self.marks.marked.is_empty() && self.marks.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        for place in self.marks.take(now) {
            let Some(track) = track_at(&self.peers, &self.relayed, place) else {
                continue;
            };
            // Audio is never paused: it costs little, and tells who speaks.
            if track.kind == MediaKind::Audio && matches!(place, Place::Published { .. }) {
                continue;
            }
            let (wanted, settled) = self.wanted_of(track);
            let again = (!settled).then(|| now + SETTLES);
            let due = match place {
                Place::Relayed(index) => {
                    self.tell_wanted(index);
                    None
                }
                Place::Published { peer, track } => self.ask_for(now, peer, track, wanted),
            };
            let due = due.into_iter().chain(again).min();
            self.marks.set_due(place, due);
        }
    }

    /// The layers of a track that its viewers here are sent or are to be sent, and whether both are the same.
    pub(super) fn wanted_of(&self, track: &Track) -> (LayerSet, bool) {
        let targets = self.router.targets(track.fanout);
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
            let slot = peer.and_then(|peer| peer.subscriber.slot(target.slot));
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
    fn ask_for(
        &mut self,
        now: Instant,
        index: usize,
        at: usize,
        wanted: LayerSet,
    ) -> Option<Instant> {
        let peer = self.peers.get_mut(index)?;
        let (room, id) = (peer.room, peer.id);
        let track = peer.publisher.track_mut(at)?;
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
        let place = Place::Published {
            peer: index,
            track: at,
        };
        for layer in (0..SPATIAL).filter(|layer| change.begin.contains(*layer)) {
            self.request_keyframe(now, place, layer);
        }
        if change.choice {
            self.retarget(now, place);
        }
        if change.offer {
            self.announce_layers(place);
        }
        change.due
    }
}
