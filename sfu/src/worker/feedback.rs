//! RTCP that a timer sends: reports, NACKs, deferred keyframe requests, transport-wide feedback.

use std::time::Instant;

use super::Worker;
use crate::index::PeerIx;
use crate::rtp::rtcp;

impl Worker {
    pub(super) fn poll_feedback(&mut self, now: Instant, index: PeerIx) {
        self.refresh_clocks(now, index);
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if !peer.transport.is_connected() {
            return;
        }
        let ntp = self.config.clock.ntp(now);
        let rtt = peer.subscriber.rtt();
        let mut changed = Vec::new();
        let mut rtcp = Vec::new();
        peer.publisher
            .poll_rtcp(now, rtt, &mut self.tracks, &mut rtcp, |track| {
                changed.push(track);
            });
        peer.subscriber.poll_rtcp(now, ntp, &peer.cname, &mut rtcp);
        peer.subscriber.link_mut().handle_timeout(now);
        for compound in rtcp::datagrams(&rtcp) {
            peer.send_rtcp(compound, &mut self.transmits);
        }
        for track in changed {
            self.retarget(now, track);
            self.announce_layers(track);
        }
        self.decide_if_due(now, index);
        self.send_paced(now, index);
    }

    /// Updates the publishers' clocks for all of a viewer's streams at one moment. The offset of a publisher's clock
    /// may have changed between the last packets of two streams.
    fn refresh_clocks(&mut self, now: Instant, index: PeerIx) {
        let peer = self.peers.get(index);
        let Some(peer) = peer.filter(|peer| peer.subscriber.reports_due(now)) else {
            return;
        };
        let mut clocks = Vec::new();
        for (at, slot) in peer.subscriber.slots() {
            let Some((track, layer, ssrc)) = slot.sent_of() else {
                continue;
            };
            let track = self.tracks.get(track);
            let layer = track.and_then(|track| track.layers.get(layer));
            let layer = layer.filter(|layer| layer.ssrc == Some(ssrc));
            clocks.extend(
                layer
                    .and_then(|layer| layer.sender)
                    .map(|clock| (at, clock)),
            );
        }
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        for (at, clock) in clocks {
            let slot = peer.subscriber.slot_mut(at);
            if let Some(forwarder) = slot.and_then(|slot| slot.forwarder.as_mut()) {
                forwarder.set_clock(clock);
            }
        }
    }
}
