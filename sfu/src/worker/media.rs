//! RTP and RTCP through the worker: decrypt once, bind to a layer, fan out.

use std::time::Instant;

use super::Worker;
use super::peer::Peer;
use super::relay::{track_and_viewer, track_at};
use crate::egress::{Outlet, Repair, Request, Start};
use crate::event::Event;
use crate::ingress::{Media, Receipt};
use crate::packet::Packet;
use crate::place::Place;
use crate::router::Target;
use crate::rtp::codec::is_keyframe;
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
            Receipt::Media(media) => {
                let place = Place::Published {
                    peer: index,
                    track: media.track,
                };
                self.route(now, place, media, &datagram[media.start..]);
            }
            Receipt::Nothing => {}
            Receipt::Dropped(code) => self.counters.drop(code),
        }
    }

    /// Hands a packet to those who are to be sent it, on this worker and others.
    pub(super) fn route(&mut self, now: Instant, place: Place, media: Media, datagram: &[u8]) {
        if media.layers_changed {
            self.retarget(place);
            self.announce_layers(place);
        }
        let Some(track) = track_at(&self.peers, &self.relayed, place) else {
            return;
        };
        if media.first
            && let Place::Published { peer, .. } = place
            && let Some(peer) = self.peers.get(peer)
        {
            let (room, peer, track) = (peer.room, peer.id, track.id);
            self.events
                .push_back(Event::TrackLive { room, peer, track });
        }
        let fanout = track.fanout;
        let relayed = !track.relayed_to.is_empty();
        let extensions = track.extensions;
        let packet = Packet {
            datagram,
            header: media.header,
            codec: media.codec,
            extensions: &extensions,
            track: track.id,
            layer: media.layer,
            sequence: media.sequence,
            switchable: media.keyframe || media.codec.is_audio(),
            cached: track.layers[media.layer].cache.is_some(),
            sender: track.layers[media.layer].sender,
        };
        let mut wanted = 0u32;
        // Empty but for the rare packet that a switch waited for.
        let mut replays = Vec::new();
        let ntp = self.config.clock.ntp(now);
        for target in self.router.targets(fanout) {
            let Some(viewer) = self.peers.get_mut(target.peer) else {
                continue;
            };
            let Some((slot, mut outlet)) =
                viewer.outlet(now, ntp, target.slot, &mut self.transmits)
            else {
                continue;
            };
            let forwarded = slot.forward(&packet, &mut outlet);
            self.counters.packets_forwarded += u64::from(forwarded.sent);
            if let Some(layer) = forwarded.keyframe_of {
                wanted |= 1 << layer.min(31);
            }
            if forwarded.reports_begin {
                self.schedule.touch(target.peer);
            }
            if let Some(start) = forwarded.replay {
                replays.push((*target, start));
            }
        }
        if relayed && let Place::Published { peer, .. } = place {
            self.relay(peer, &media, datagram);
        }
        for (target, start) in replays {
            self.replay(now, place, target, start);
        }
        if wanted != 0 && !media.codec.is_audio() {
            for layer in (0..32).filter(|layer| wanted & (1 << layer) != 0) {
                self.request_keyframe(now, place, layer);
            }
        }
    }

    /// Forwards what is cached of a layer from where a viewer begins to be sent it.
    fn replay(&mut self, now: Instant, place: Place, target: Target, start: Start) {
        let Some((track, viewer)) =
            track_and_viewer(&mut self.peers, &self.relayed, place, target.peer)
        else {
            return;
        };
        let Some(layer) = track.layers.get(start.layer) else {
            return;
        };
        let ntp = self.config.clock.ntp(now);
        for (sequence, datagram) in layer.cached_since(start.sequence) {
            let Ok(header) = RtpHeader::parse(datagram) else {
                continue;
            };
            let Some(codec) = track.codec(header.payload_type) else {
                continue;
            };
            let packet = Packet {
                datagram,
                header,
                codec,
                extensions: &track.extensions,
                track: track.id,
                layer: start.layer,
                sequence,
                switchable: is_keyframe(codec, header.payload(datagram)),
                cached: true,
                sender: layer.sender,
            };
            let outlet = viewer.outlet(now, ntp, target.slot, &mut self.transmits);
            if let Some((slot, mut outlet)) = outlet {
                let forwarded = slot.forward(&packet, &mut outlet);
                self.counters.packets_forwarded += u64::from(forwarded.sent);
            }
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
                Request::Keyframe { place, layer } => self.request_keyframe(now, place, layer),
                Request::Repair { slot, repair } => self.repair(now, index, slot, &repair),
            }
        }
    }

    /// Sends a viewer a packet again, from the publisher's cache.
    fn repair(&mut self, now: Instant, viewer: usize, slot: usize, repair: &Repair) {
        let Some((track, viewer)) =
            track_and_viewer(&mut self.peers, &self.relayed, repair.place, viewer)
        else {
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
        let ntp = self.config.clock.ntp(now);
        if let Some((slot, mut outlet)) = viewer.outlet(now, ntp, slot, &mut self.transmits) {
            slot.retransmit(repair, datagram, codec, &track.extensions, &mut outlet);
        }
    }

    /// Asks a publisher for a keyframe, merged with what others ask.
    pub(super) fn request_keyframe(&mut self, now: Instant, place: Place, layer: usize) {
        let (index, track) = match place {
            Place::Published { peer, track } => (peer, track),
            Place::Relayed(index) => return self.request_relayed_keyframe(now, index, layer),
        };
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
    pub(super) fn retarget(&mut self, place: Place) {
        let Some(track) = track_at(&self.peers, &self.relayed, place) else {
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
    /// A slot of this peer with its way out; none while it cannot be reached.
    fn outlet<'a>(
        &'a mut self,
        now: Instant,
        ntp: u64,
        slot: usize,
        transmits: &'a mut Transmits,
    ) -> Option<(&'a mut crate::egress::Slot, Outlet<'a>)> {
        if !self.transport.is_connected() {
            return None;
        }
        let to = self.transport.remote_addr()?;
        let (slot, transport_sequence) = self.subscriber.slot_with_sequence(slot)?;
        let outlet = Outlet {
            now,
            to,
            run: &mut self.run,
            transport: &mut self.transport,
            transmits,
            transport_sequence,
            ntp,
        };
        Some((slot, outlet))
    }

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
