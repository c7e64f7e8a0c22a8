//! Asks publishers for the layers that have viewers, and other workers to send them. Layers without viewers are paused
//! and cost nothing.
//!
//! Each worker knows the layers that its own viewers want ([`Wanted`]). For a track that another worker sends, it tells
//! the publisher's worker ([`Control::Wanted`](super::Control)). That worker adds the demand of its own viewers and
//! asks the publisher ([`Event::LayersWanted`]); [`Demand`](crate::track) decides when to ask for which layer. A change
//! that may matter marks a track. Marked tracks are updated once, at the end of a turn.

use std::time::Instant;

use super::Worker;
use crate::event::{Event, LayerWanted};
use crate::index::TrackIx;
use crate::track::ladder::{LayerSet, SPATIAL};
use crate::track::{Track, Wanted};

impl Worker {
    /// Marks a track whose viewers here may be sent other layers from now on.
    pub(super) fn wants_changed(&mut self, at: TrackIx) {
        self.marks.mark(at);
    }

    /// Updates the marked tracks.
    pub(super) fn poll_wants(&mut self, now: Instant) {
        if self.marks.is_idle(now) {
            return;
        }
        for at in self.marks.take(now) {
            let track = self.tracks.get(at);
            let Some(track) = track.filter(|track| track.follows_demand()) else {
                continue;
            };
            let wanted = self.wanted_of(track);
            let due = if track.piped().is_some() {
                self.tell_wanted(at);
                None
            } else {
                self.ask_for(now, at, wanted.layers)
            };
            let due = due.into_iter().chain(wanted.again(now)).min();
            self.marks.set_due(at, due);
        }
    }

    /// The layers of a track that its viewers here want.
    pub(super) fn wanted_of(&self, track: &Track) -> Wanted {
        let viewers = track.sinks.viewers().iter();
        track.wanted_here(viewers.filter_map(|target| {
            let peer = self.peers.get(target.peer)?;
            let slot = peer.subscriber.slot(target.slot.into())?;
            Some(slot.forwarder.as_ref()?.streams())
        }))
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
