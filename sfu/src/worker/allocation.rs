//! Requests of viewers, bounds on them, and the decisions for them.
//!
//! A decision is made for one viewer at a time, over all of its video subscriptions. It depends on the layers that
//! their publishers send, the viewer's screen, the speakers, and the bandwidth of its link
//! (`Link::allocate` in `egress/link`). Every change is an event, an entry in the room's timeline, and a line in the
//! log.

use std::time::Instant;

use super::Worker;
use crate::egress::{Forwarder, LayerAllocation, LayerRequest, Priority};
use crate::error::SfuError;
use crate::event::{Event, MediaKind, SubscriptionState};
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::PeerIx;
use crate::stats::Decision;
use crate::track::Track;
use crate::track::ladder::{Ladder, LayerId};
use crate::view::{Cap, Reason, View};

impl Worker {
    /// Sets how a viewer shows tracks. A track that it is not subscribed to is skipped.
    pub(crate) fn set_views(
        &mut self,
        now: Instant,
        peer: PeerId,
        views: &[View],
    ) -> Result<(), SfuError> {
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        for view in views {
            peer.subscriber.set_view(*view);
        }
        self.decide(now, index);
        Ok(())
    }

    /// Sets a viewer's cap.
    pub(crate) fn set_cap(&mut self, now: Instant, peer: PeerId, cap: Cap) -> Result<(), SfuError> {
        let all = self.config.viewer_cap;
        let index = *self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        peer.subscriber.set_cap(cap.within(all));
        self.decide(now, index);
        Ok(())
    }

    /// The latest decisions in a room.
    pub(crate) fn timeline(&self, room: RoomId) -> Result<Vec<Decision>, SfuError> {
        let room = self.rooms.get(&room).ok_or(SfuError::NoSuchRoom)?;
        Ok(room.timeline.iter().cloned().collect())
    }

    /// Decides for a viewer if a decision is due.
    pub(super) fn decide_if_due(&mut self, now: Instant, index: PeerIx) {
        let peer = self.peers.get(index);
        if peer.is_some_and(|peer| peer.subscriber.link().is_due(now)) {
            self.decide(now, index);
        }
    }

    /// Decides the layer of each video a viewer is subscribed to.
    pub(super) fn decide(&mut self, now: Instant, index: PeerIx) {
        let mut requests = std::mem::take(&mut self.requests);
        requests.clear();
        let mut allocations = std::mem::take(&mut self.allocations);
        allocations.clear();
        self.layer_requests(now, index, &mut requests, &mut allocations);
        if let Some(peer) = self.peers.get_mut(index) {
            let cap = peer.subscriber.cap();
            let link = peer.subscriber.link_mut();
            allocations.extend_from_slice(link.allocate(now, cap, &requests));
            self.apply_allocation(now, index, &requests, &allocations);
            self.schedule.touch(index);
        }
        self.allocations = allocations;
        self.requests = requests;
    }

    /// Gathers a viewer's requests. `sounds` gets the audio tracks that were muted or unmuted: nothing else is ever
    /// decided about audio.
    fn layer_requests(
        &self,
        now: Instant,
        index: PeerIx,
        requests: &mut Vec<LayerRequest>,
        sounds: &mut Vec<LayerAllocation>,
    ) {
        let Some(peer) = self.peers.get(index) else {
            return;
        };
        for (slot, state) in peer.subscriber.slots() {
            let Some(forwarder) = &state.forwarder else {
                continue;
            };
            let source = &forwarder.source;
            let Some(track) = self.tracks.get(source.index) else {
                continue;
            };
            if source.kind == MediaKind::Audio {
                let paused = state
                    .allocation
                    .is_some_and(|allocation| allocation.layer.is_none());
                if paused != track.settings.muted {
                    sounds.push(sound(slot, source.id, track.settings.muted));
                }
                continue;
            }
            let view = peer.subscriber.view(source.id);
            let mut ladder = track.ladder(now);
            let lacks = leave_out_undecodable(&mut ladder, forwarder, track);
            let paused = if track.settings.muted {
                Some(Reason::Muted)
            } else if lacks == Lacks::All {
                Some(Reason::Codec)
            } else if !view.visible {
                Some(Reason::Hidden)
            } else if !track.settings.screen
                && !view.pinned
                && !self.in_last_n(peer.room, peer.id, source.publisher)
            {
                Some(Reason::LastN)
            } else {
                None
            };
            let priority = match (track.settings.screen, view.pinned) {
                (true, _) => Priority::Screen,
                (_, true) => Priority::Pinned,
                _ => self.speaking_priority(peer.room, source.publisher),
            };
            let order = track.order();
            let in_order = |layer: LayerId| forwarder.translate(layer, &order);
            requests.push(LayerRequest {
                slot,
                track: source.id,
                ladder,
                order,
                priority,
                height: view.height,
                paused,
                lacks_codec: lacks == Lacks::Some,
                most: peer.subscriber.link().most(slot),
                current: state
                    .allocation
                    .and_then(|allocation| allocation.layer)
                    .map(in_order),
                shown: forwarder.current().map(in_order),
            });
        }
    }

    fn speaking_priority(&self, room: RoomId, publisher: PeerId) -> Priority {
        let speaking = self
            .rooms
            .get(&room)
            .map_or(0, |room| room.speakers.speaking());
        match self.speaking_rank(room, publisher) {
            Some(rank) if rank < speaking => Priority::Speaking,
            Some(rank) => Priority::Spoke(rank as u16),
            None => Priority::Other,
        }
    }

    /// Applies a decision, and tells of it.
    fn apply_allocation(
        &mut self,
        now: Instant,
        index: PeerIx,
        requests: &[LayerRequest],
        allocations: &[LayerAllocation],
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let congested = peer.subscriber.link().is_congested();
        let room = peer.room;
        let mut changes = Vec::new();
        let mut stopped = Vec::new();
        let mut wants = Vec::new();
        let mut muted = Vec::new();
        let mut decodable = Vec::new();
        // Allocations of audio come first and have no request: audio has one layer, and no order.
        let sounds = allocations.len().saturating_sub(requests.len());
        let orders = requests.iter().map(|request| Some(request.order));
        let orders = std::iter::repeat_n(None, sounds).chain(orders);
        for (order, allocation) in orders.zip(allocations) {
            let Some(slot) = peer.subscriber.slot_mut(allocation.slot) else {
                continue;
            };
            let before = slot.allocation.replace(*allocation);
            if before.is_some_and(|before| before.reason == Reason::Muted) {
                slot.resume();
            }
            let Some(forwarder) = &mut slot.forwarder else {
                continue;
            };
            if let Some(order) = order {
                forwarder.set_order(order);
            }
            // A layer that is overdue is not the one sent.
            let tells = match allocation.is_late {
                true => forwarder.current(),
                false => allocation.layer,
            };
            let told = slot.told.replace((tells, allocation.reason));
            let layer = pointed_at(forwarder, allocation);
            let changes_target = forwarder.target() != layer;
            forwarder.set_target(layer);
            // Packets that the link cannot carry would only wait, and everything behind them.
            let stops = congested && layer < forwarder.current();
            if stops {
                forwarder.stop();
                stopped.push(allocation.slot);
            }
            if allocation.reason == Reason::Muted {
                forwarder.halt();
            }
            if changes_target || stops {
                wants.push(forwarder.source.index);
            }
            if !changes_target && told == Some((tells, allocation.reason)) {
                continue;
            }
            if is_undecodable(before.as_ref()) != is_undecodable(Some(allocation)) {
                decodable.push(allocation.track);
            }
            if allocation.reason == Reason::Muted {
                muted.push(allocation.slot);
            }
            changes.push(SubscriptionState {
                track: allocation.track,
                layer: tells.map(|layer| layer.spatial),
                temporal: tells.map(|layer| layer.temporal),
                reason: allocation.reason,
            });
        }
        for slot in muted {
            peer.subscriber.link_mut().pacer.forget_slot(slot);
        }
        for slot in stopped {
            peer.subscriber.link_mut().pacer.skip(now, slot);
        }
        for track in wants {
            self.wants_changed(track);
        }
        for track in decodable {
            self.decodable_changed(now, room, track);
        }
        if !changes.is_empty() {
            self.report_allocation(now, index, changes);
        }
    }

    /// Tells of changes: the viewer, the timeline, the log. A keyframe is requested later, when a packet shows that one
    /// is missing.
    pub(super) fn report_allocation(
        &mut self,
        now: Instant,
        index: PeerIx,
        states: Vec<SubscriptionState>,
    ) {
        let Some(peer) = self.peers.get(index) else {
            return;
        };
        let (room, id, estimate) = (peer.room, peer.id, peer.subscriber.link().estimate());
        let at_ms = self.config.clock.unix_ms(now);
        if let Some(room) = self.rooms.get_mut(&room) {
            for state in &states {
                room.decided(Decision {
                    at_ms,
                    peer: id,
                    track: Some(state.track),
                    layer: state.layer,
                    temporal: state.temporal,
                    reason: state.reason.code(),
                    estimate,
                });
            }
        }
        for state in &states {
            tracing::debug!(
                %room,
                peer = %id,
                track = %state.track,
                layer = state.layer,
                temporal = state.temporal,
                reason = state.reason.code(),
                estimate,
                "layer decided"
            );
        }
        self.events.push_back(Event::SubscriptionsChanged {
            room,
            peer: id,
            subscriptions: states,
        });
    }
}

/// The allocation of an audio track, muted or not.
fn sound(slot: usize, track: TrackId, muted: bool) -> LayerAllocation {
    LayerAllocation {
        slot,
        track,
        layer: (!muted).then(LayerId::default),
        bitrate: 0,
        reason: if muted { Reason::Muted } else { Reason::Best },
        is_late: false,
    }
}

/// Whether a viewer is sent nothing of a track because it cannot decode it.
pub(super) fn is_undecodable(allocation: Option<&LayerAllocation>) -> bool {
    allocation
        .is_some_and(|allocation| allocation.layer.is_none() && allocation.reason == Reason::Codec)
}

/// How many of a track's encodings come in a codec that the viewer lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lacks {
    None,
    Some,
    All,
}

/// Removes from a ladder the steps of encodings that the viewer cannot decode.
fn leave_out_undecodable(ladder: &mut Ladder, forwarder: &Forwarder, track: &Track) -> Lacks {
    let decodes = |layer| {
        let payload_type = track.payload_type_of(layer);
        payload_type.is_some_and(|payload_type| forwarder.decodes(payload_type))
    };
    let order = track.order();
    let encodings = order.encodings().count();
    let decoded = order.encodings().filter(|layer| decodes(*layer)).count();
    if decoded == encodings {
        return Lacks::None;
    }
    for rung in ladder.rungs_mut() {
        if !order.encoding_of(rung.id).is_some_and(decodes) {
            (rung.alive, rung.available) = (false, false);
        }
    }
    match decoded {
        0 => Lacks::All,
        _ => Lacks::Some,
    }
}

/// The layer that a forwarder aims at for an allocation. A stream that has stopped may resume where it was.
fn pointed_at(forwarder: &Forwarder, allocation: &LayerAllocation) -> Option<LayerId> {
    match allocation.reason {
        Reason::Publisher | Reason::NotStarted => allocation.layer.or(forwarder.target()),
        _ => allocation.layer,
    }
}
