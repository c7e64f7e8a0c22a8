//! Carries what decides a viewer's layers to its link, and the decision to its slots.
//!
//! A decision is made for one viewer at a time, over all of its video subscriptions. It depends on the layers that
//! their publishers send, the viewer's screen, the speakers (`egress/request`), and the bandwidth of its link
//! (`Link::allocate` in `egress/link`); `egress/apply` points the slots at the layers. Every change is an event, an
//! entry in the room's timeline, and a line in the log.

use std::time::Instant;

use super::Worker;
use crate::audio::Speech;
use crate::egress::{Applied, LayerAllocation, LayerRequest, Standing};
use crate::error::SfuError;
use crate::event::{Event, SubscriptionState};
use crate::id::{PeerId, RoomId};
use crate::index::PeerIx;
use crate::stats::Decision;
use crate::view::{Cap, View};

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

    /// Gathers a viewer's requests, and the audio tracks that were muted or unmuted.
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
        let room = self.rooms.get(&peer.room);
        let last_n = self.config.last_n.zip(room);
        let standing = |publisher| Standing {
            speech: room.map_or(Speech::Never, |room| room.speakers.speech_of(publisher)),
            in_last_n: last_n
                .is_none_or(|(most, room)| room.last_n.includes(most, peer.id, publisher)),
        };
        let subscriber = &peer.subscriber;
        subscriber.layer_requests(now, &self.tracks, standing, requests, sounds);
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
        let room = peer.room;
        let Applied {
            news,
            wants,
            decodable,
        } = peer.subscriber.apply(now, requests, allocations);
        for track in wants {
            self.wants_changed(track);
        }
        for track in decodable {
            self.decodable_changed(now, room, track);
        }
        if !news.is_empty() {
            self.report_allocation(now, index, news);
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
