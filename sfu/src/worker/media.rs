//! RTP and RTCP into the worker: decrypt once, bind to a layer, queue for the viewers.

use std::time::Instant;

use super::Worker;
use super::peer::Peer;
use crate::drops::DropReason;
use crate::egress::{Repair, Request};
use crate::event::Event;
use crate::index::{PeerIx, TrackIx};
use crate::ingress::{Media, Publisher, Receipt};
use crate::packet::{Packet, PacketInfo};
use crate::pipe::PipedPacket;
use crate::rtp::rtcp;
use crate::transmit::Transmits;
use crate::transport::Path;

impl Worker {
    pub(super) fn handle_rtp(
        &mut self,
        now: Instant,
        index: PeerIx,
        from: Path,
        datagram: &mut [u8],
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let len = match peer.transport.open_rtp(datagram) {
            Ok(len) => len,
            Err(reason) => return self.counters.drop(reason),
        };
        if peer.transport.spoken(now, from) {
            self.service(now, index);
        }
        if let Some(datagram) = datagram.get_mut(..len) {
            self.take_rtp(now, index, datagram);
        }
    }

    /// Handles a decrypted packet.
    pub(super) fn take_rtp(&mut self, now: Instant, index: PeerIx, datagram: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        self.schedule.touch(index);
        peer.subscriber.hear(now);
        match peer.publisher.receive(now, &mut self.tracks, datagram) {
            Receipt::Media(media) => {
                let packet = &datagram[media.start..];
                if !media.codec.is_audio() {
                    self.look_at_orientation(now, index, &media, packet);
                }
                self.route(now, media, packet);
            }
            Receipt::Nothing => {}
            Receipt::Dropped(reason) => self.counters.drop(reason),
        }
    }

    /// Hands a packet to its viewers, on this worker and others.
    pub(super) fn route(&mut self, now: Instant, media: Media, datagram: &[u8]) {
        let at = media.track;
        if media.layers_changed {
            // Waiting packets were meant for the old layers.
            self.forward(now, usize::MAX);
            self.retarget(now, at);
            self.announce_layers(at);
        }
        if media.anew {
            self.begin_anew(now, at, media.layer);
        }
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        if media.first {
            let (room, peer, track) = (track.room, track.publisher, track.id);
            self.events
                .push_back(Event::TrackLive { room, peer, track });
            self.marks.mark(at);
        }
        if track.settings.muted {
            return;
        }
        // Before the loudest are chosen: a recording has everybody's sound.
        if !track.sinks.taps().is_empty() {
            self.feed_taps(now, &media, datagram);
        }
        if media.codec.is_audio() && !self.hear(now, &media, datagram) {
            return;
        }
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        let Some(layer) = track.layers.get(media.layer) else {
            return;
        };
        let info = PacketInfo {
            header: media.header,
            codec: media.codec,
            track: track.id,
            layer: media.layer,
            sequence: media.sequence,
            switchable: media.keyframe || media.codec.is_audio(),
            cached: layer.cache.is_some(),
            sender: layer.sender,
            described: media.described,
            passed_on: media.passed_on,
        };
        let pipes = track.sinks.pipes();
        if !pipes.is_empty() {
            let packet = PipedPacket {
                track: track.id,
                layer: media.layer as u8,
                sequence: media.sequence,
                header: media.header,
                codec: media.codec,
                keyframe: media.keyframe,
                anew: media.anew,
                described: media.described,
                sender: layer.sender,
            };
            let to = pipes.iter().map(|pipe| pipe.to);
            self.batches.push(to, packet, datagram);
        }
        let viewers = track.sinks.viewers();
        if !self.inbox.push(at, info, datagram, viewers) {
            self.counters.drop(DropReason::InboxFull);
        }
    }

    /// Tells the viewers of a layer that its stream has begun anew.
    fn begin_anew(&mut self, now: Instant, at: TrackIx, layer: usize) {
        // Waiting packets belong to the old stream.
        self.forward(now, usize::MAX);
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        for target in track.sinks.viewers() {
            let Some(peer) = self.peers.get_mut(target.peer) else {
                continue;
            };
            if let Some(slot) = peer.subscriber.slot_mut(target.slot.into()) {
                slot.begin_anew(layer);
            }
            peer.subscriber.link_mut().pacer.forget_layer(at, layer);
        }
    }

    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        index: PeerIx,
        from: Path,
        datagram: &mut [u8],
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let len = match peer.transport.open_rtcp(datagram) {
            Ok(len) => len,
            Err(reason) => return self.counters.drop(reason),
        };
        if peer.transport.spoken(now, from) {
            self.service(now, index);
        }
        if let Some(datagram) = datagram.get(..len) {
            self.take_rtcp(now, index, datagram);
        }
    }

    /// Handles decrypted RTCP.
    pub(super) fn take_rtcp(&mut self, now: Instant, index: PeerIx, datagram: &[u8]) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let wall = self.config.clock.ntp(now);
        peer.subscriber.hear(now);
        let mut requests = Vec::new();
        for packet in rtcp::parse_compound(datagram) {
            match packet {
                Ok(packet) => {
                    let tracks = &mut self.tracks;
                    peer.publisher.receive_rtcp(now, wall, tracks, &packet);
                    peer.subscriber
                        .receive_rtcp(now, wall, &packet, &mut requests);
                }
                Err(error) => self.counters.drop(error.into()),
            }
        }
        self.schedule.touch(index);
        for request in requests {
            match request {
                Request::Keyframe { track, layer } => self.request_keyframe(now, track, layer),
                Request::Repair { slot, repair } => self.repair(now, index, slot, repair),
                Request::RepairsRefused(packets) => {
                    self.counters.drop_many(DropReason::RepairRefused, packets)
                }
                Request::KeyframeRefused => self.counters.drop(DropReason::KeyframeRefused),
            }
        }
    }

    /// Sends a viewer a packet again, when its link has time for it.
    fn repair(&mut self, now: Instant, viewer: PeerIx, slot: usize, repair: Repair) {
        let Some(peer) = self.peers.get_mut(viewer) else {
            return;
        };
        let pacer = &mut peer.subscriber.link_mut().pacer;
        if pacer.admits_repair(now, slot, repair) {
            self.send_repair(now, viewer, slot, &repair);
        }
    }

    /// Sends a viewer a packet that it lacks.
    pub(super) fn send_repair(
        &mut self,
        now: Instant,
        viewer: PeerIx,
        slot: usize,
        repair: &Repair,
    ) {
        let sent = match self.resend(now, viewer, slot, repair.lost) {
            Some(sent) => sent,
            None => self.send_again(now, viewer, slot, repair),
        };
        if sent
            && let Some(peer) = self.peers.get_mut(viewer)
            && let Some(slot) = peer.subscriber.slot_mut(slot)
        {
            slot.counters.retransmitted += 1;
        }
    }

    /// Sends a packet again exactly as it was sent; none if its slot kept no packet of that number.
    fn resend(&mut self, now: Instant, viewer: PeerIx, slot: usize, lost: u16) -> Option<bool> {
        let peer = self.peers.get_mut(viewer)?;
        let ntp = self.config.clock.ntp(now);
        let (mut outlet, slot) = peer.outlet(now, slot, ntp, &mut self.transmits)?;
        slot.resend(lost, &mut outlet)
    }

    /// Sends a viewer a packet again, from the publisher's cache.
    pub(super) fn send_again(
        &mut self,
        now: Instant,
        viewer: PeerIx,
        slot: usize,
        repair: &Repair,
    ) -> bool {
        let track = self.tracks.get(repair.track);
        let track = track.filter(|track| !track.settings.muted);
        let (Some(track), Some(viewer)) = (track, self.peers.get_mut(viewer)) else {
            return false;
        };
        let found = track.cached(repair.layer, repair.ssrc, repair.sequence);
        let Some((datagram, info)) = found else {
            self.counters.drop(DropReason::RepairNotCached);
            return false;
        };
        let packet = Packet {
            datagram,
            info: &info,
        };
        let ntp = self.config.clock.ntp(now);
        let outlet = viewer.outlet(now, slot, ntp, &mut self.transmits);
        let Some((mut outlet, state)) = outlet else {
            return false;
        };
        let sent = state.retransmit(repair, &packet, &mut outlet);
        if sent {
            viewer.subscriber.link_mut().pacer.passed(datagram.len());
        }
        sent
    }

    /// Asks publishers for the keyframes among the requests of a viewer.
    pub(super) fn pass_on(&mut self, now: Instant, requests: Vec<Request>) {
        for request in requests {
            if let Request::Keyframe { track, layer } = request {
                self.request_keyframe(now, track, layer);
            }
        }
    }

    /// Asks a publisher for a keyframe, merged with what others ask.
    pub(super) fn request_keyframe(&mut self, now: Instant, at: TrackIx, layer: usize) {
        let Some(track) = self.tracks.get_mut(at) else {
            return;
        };
        let Some(index) = track.peer() else {
            return self.request_piped_keyframe(now, at, layer);
        };
        if track.settings.muted {
            return;
        }
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let mut rtcp = Vec::new();
        Publisher::request_keyframe(now, track, layer, &mut rtcp);
        peer.send_rtcp(&rtcp, &mut self.transmits);
        self.schedule.touch(index);
    }

    /// Has a track's viewers choose again, after a layer came alive or died.
    pub(super) fn retarget(&mut self, now: Instant, at: TrackIx) {
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        for target in track.sinks.viewers().to_vec() {
            self.decide(now, target.peer);
        }
        self.wants_changed(at);
    }
}

impl Peer {
    /// Seals and queues RTCP.
    pub(super) fn send_rtcp(&mut self, rtcp: &[u8], transmits: &mut Transmits) {
        if rtcp.is_empty() {
            return;
        }
        let Some(path) = self.transport.media_path() else {
            return;
        };
        let transport = &mut self.transport;
        transmits.push(path, &mut self.run, |buf| transport.seal_rtcp(rtcp, buf));
    }
}
