//! RTP and RTCP into the worker: decrypt once, bind to a layer, queue for the viewers.

use std::time::Instant;

use super::Worker;
use super::inbox::Origin;
use super::peer::Peer;
use crate::egress::{Repair, Request};
use crate::event::Event;
use crate::ingress::{Media, Receipt};
use crate::packet::{Facts, Packet, PassedOn, vp8_descriptor};
use crate::rtp::{RtpHeader, rtcp};
use crate::transmit::Transmits;

impl Worker {
    pub(super) fn handle_rtp(&mut self, now: Instant, index: usize, datagram: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let len = match peer.transport.open_rtp(datagram) {
            Ok(len) => len,
            Err(code) => return self.counters.drop(code),
        };
        let Some(datagram) = datagram.get_mut(..len) else {
            return;
        };
        self.schedule.touch(index);
        match peer.publisher.receive(now, datagram) {
            Receipt::Media(media) => self.route(now, index, media, &datagram[media.start..]),
            Receipt::Nothing => {}
            Receipt::Dropped(code) => self.counters.drop(code),
        }
    }

    fn route(&mut self, now: Instant, index: usize, media: Media, datagram: &[u8]) {
        if media.layers_changed {
            // What came before was for the layers as they were.
            self.forward(now, usize::MAX);
            self.retarget(index, media.track);
        }
        let Some(peer) = self.peers.get(index) else {
            return;
        };
        let Some(track) = peer.publisher.track(media.track) else {
            return;
        };
        if media.first {
            let (room, peer, track) = (peer.room, peer.id, track.id);
            self.events
                .push_back(Event::TrackLive { room, peer, track });
        }
        let facts = Facts {
            header: media.header,
            codec: media.codec,
            track: track.id,
            layer: media.layer,
            sequence: media.sequence,
            switchable: media.keyframe || media.codec.is_audio(),
            cached: track.layers[media.layer].cache.is_some(),
            sender: track.layers[media.layer].sender,
            descriptor: vp8_descriptor(media.codec, &media.header, datagram),
            passed_on: PassedOn::find(&media.header, datagram, &track.extensions),
        };
        let origin = Origin {
            peer: index,
            track: media.track,
        };
        let fanout = track.fanout;
        self.distribute(origin, fanout, facts, datagram);
    }

    /// Queues a packet of a track for everyone subscribed; [`forward`](Self::forward) sends it.
    pub(super) fn distribute(
        &mut self,
        origin: Origin,
        fanout: usize,
        facts: Facts,
        datagram: &[u8],
    ) {
        let targets = self.router.targets(fanout);
        if !self.inbox.push(origin, facts, datagram, targets) {
            self.counters.drop("inbox_full");
        }
    }

    pub(super) fn handle_rtcp(&mut self, now: Instant, index: usize, datagram: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let len = match peer.transport.open_rtcp(datagram) {
            Ok(len) => len,
            Err(code) => return self.counters.drop(code),
        };
        if let Some(datagram) = datagram.get(..len) {
            self.take_rtcp(now, index, datagram);
        }
    }

    /// Takes decrypted RTCP.
    pub(super) fn take_rtcp(&mut self, now: Instant, index: usize, datagram: &[u8]) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let wall = self.config.clock.ntp(now);
        let mut requests = Vec::new();
        for packet in rtcp::parse_compound(datagram) {
            match packet {
                Ok(packet) => {
                    peer.publisher.receive_rtcp(now, wall, &packet);
                    peer.subscriber
                        .receive_rtcp(now, wall, &packet, &mut requests);
                }
                Err(error) => self.counters.drop(error.code()),
            }
        }
        self.schedule.touch(index);
        for request in requests {
            match request {
                Request::Keyframe { peer, track, layer } => {
                    self.request_keyframe(now, peer, track, layer)
                }
                Request::Repair { slot, repair } => self.repair(now, index, slot, &repair),
            }
        }
    }

    /// Sends a viewer a packet again, from the publisher's cache.
    fn repair(&mut self, now: Instant, viewer: usize, slot: usize, repair: &Repair) {
        let Some((publisher, viewer)) = self.peers.get2_mut(repair.peer, viewer) else {
            return;
        };
        let Some(track) = publisher.publisher.track(repair.track) else {
            return;
        };
        let Some(layer) = track
            .layers
            .get(repair.layer)
            .filter(|layer| layer.ssrc == Some(repair.ssrc))
        else {
            return;
        };
        let Some(datagram) = layer
            .cache
            .as_ref()
            .and_then(|cache| cache.get(repair.sequence))
        else {
            return self.counters.drop("repair_not_cached");
        };
        let payload_type = datagram.get(1).map_or(0, |byte| byte & 0x7f);
        let Some(codec) = track.codec(payload_type) else {
            return;
        };
        let Ok(header) = RtpHeader::parse(datagram) else {
            return;
        };
        let facts = Facts {
            header,
            codec,
            track: track.id,
            layer: repair.layer,
            sequence: repair.sequence,
            switchable: false,
            cached: true,
            sender: None,
            descriptor: vp8_descriptor(codec, &header, datagram),
            passed_on: PassedOn::find(&header, datagram, &track.extensions),
        };
        let packet = Packet {
            datagram,
            facts: &facts,
        };
        let ntp = self.config.clock.ntp(now);
        if let Some((mut outlet, slot, sequence)) = viewer.outlet(slot, ntp, &mut self.transmits) {
            slot.retransmit(repair, &packet, sequence, &mut outlet);
        }
    }

    /// Asks a publisher for a keyframe, merged with what others ask.
    pub(super) fn request_keyframe(
        &mut self,
        now: Instant,
        index: usize,
        track: usize,
        layer: usize,
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let mut rtcp = Vec::new();
        peer.publisher
            .request_keyframe(now, track, layer, &mut rtcp);
        peer.send_rtcp(&rtcp, &mut self.transmits);
        self.schedule.touch(index);
    }

    /// A layer of a track came alive or died: its viewers choose again.
    pub(super) fn retarget(&mut self, index: usize, track: usize) {
        let Some(track) = self
            .peers
            .get(index)
            .and_then(|peer| peer.publisher.track(track))
        else {
            return;
        };
        let highest = track.highest_alive();
        for target in self.router.targets(track.fanout).to_vec() {
            let slot = self
                .peers
                .get_mut(target.peer)
                .and_then(|peer| peer.subscriber.slot_mut(target.slot));
            if let Some(forwarder) = slot.and_then(|slot| slot.forwarder.as_mut()) {
                forwarder.retarget(highest);
            }
        }
    }
}

impl Peer {
    /// Seals and queues RTCP.
    pub(super) fn send_rtcp(&mut self, rtcp: &[u8], transmits: &mut Transmits) {
        if rtcp.is_empty() {
            return;
        }
        let Some(to) = self.transport.remote_addr() else {
            return;
        };
        let transport = &mut self.transport;
        transmits.push(to, &mut self.run, |buf| transport.seal_rtcp(rtcp, buf));
    }
}
