//! The fan-out of a turn's packets, viewer by viewer: plan, pack, seal.

use std::time::Instant;

use slab::Slab;

use super::Worker;
use super::inbox::{Delivery, Inbox, Viewer};
use super::peer::Peer;
use crate::drops::DropReason;
use crate::egress::{Item, Next, Outlet, Paced, Pacer, Packer, Plan, Slot, Start};
use crate::index::{PeerIx, TrackIx};
use crate::packet::Packet;
use crate::transmit::Transmits;

/// Sealed bytes after which they are sent before more are made: half of a core's second-level cache, so that the kernel
/// copies them while they are still there. It is far more than one message, and some hundred packets to a system call.
pub(super) const PART_BYTES: usize = 256 << 10;

/// Buffers for forwarding, kept from turn to turn to save allocations.
#[derive(Debug, Default)]
pub(super) struct FanoutScratch {
    planned: Vec<Planned>,
    items: Vec<Item>,
    packer: Packer,
    /// Layers that need a keyframe.
    wanted: Vec<(TrackIx, usize)>,
}

/// A packet to be sent, as planned.
#[derive(Clone, Copy, Debug)]
struct Planned {
    packet: u32,
    slot: u32,
    plan: Plan,
}

/// A layer that a viewer is switched to; its first packets are in the publisher's cache.
#[derive(Clone, Copy, Debug)]
struct Replay {
    /// The delivery of the packet that made the switch possible.
    at: Delivery,
    start: Start,
}

impl Worker {
    /// Forwards waiting packets until so many bytes are ready to send; true if some are left.
    pub(super) fn forward(&mut self, now: Instant, bytes: usize) -> bool {
        while self.transmits.bytes() < bytes {
            let Some(viewer) = self.inbox.next_viewer() else {
                self.inbox.clear();
                self.request_wanted(now);
                return false;
            };
            self.forward_to(now, viewer);
        }
        true
    }

    fn forward_to(&mut self, now: Instant, viewer: Viewer) {
        self.prefetch_next();
        let mut next = self.inbox.first(&viewer);
        while let Some(delivery) = next {
            let replay = self.plan(now, viewer.peer, delivery);
            self.seal(now, viewer.peer);
            let Some(replay) = replay else {
                return;
            };
            self.replay(now, viewer.peer, replay);
            next = self.inbox.after(&replay.at);
        }
    }

    /// Plans a viewer's packets from one on, up to a point where cached packets come first.
    fn plan(&mut self, now: Instant, viewer: PeerIx, from: Delivery) -> Option<Replay> {
        let peer = self.peers.get_mut(viewer)?;
        if !peer.transport.is_connected() || peer.transport.media_path().is_none() {
            return None;
        }
        let mut next = Some(from);
        while let Some(delivery) = next {
            next = self.inbox.after(&delivery);
            if let Some(next) = &next {
                peer.prefetch_slot(next.slot as usize);
            }
            let Some((origin, packet)) = self.inbox.packet(delivery.packet) else {
                continue;
            };
            let slot = delivery.slot as usize;
            let plan = self.desk.begin(&delivery);
            peer.subscriber.plan(now, slot, &packet, plan);
            if let Some(outgoing) = &plan.outgoing {
                peer.transport.prefetch_rollover(outgoing.ssrc());
            }
            if plan.switched {
                let pacer = &mut peer.subscriber.link_mut().pacer;
                pacer.skip(now, slot);
            }
            if plan.report_at.is_some() {
                self.schedule.touch(viewer);
            }
            let replay = plan.replay;
            let pacer = &mut peer.subscriber.link_mut().pacer;
            self.desk.settle(now, origin, &packet, pacer);
            if peer.subscriber.link().wakes() {
                self.schedule.touch(viewer);
            }
            if let Some(start) = replay {
                return Some(Replay {
                    at: delivery,
                    start,
                });
            }
        }
        None
    }

    /// Seals a viewer's planned packets.
    fn seal(&mut self, now: Instant, viewer: PeerIx) {
        let Some(peer) = self.peers.get_mut(viewer) else {
            return;
        };
        let ntp = self.config.clock.ntp(now);
        let sealed = self
            .desk
            .seal(now, peer, &self.inbox, ntp, &mut self.transmits);
        self.counters.packets_forwarded += sealed.packets;
        self.counters.padding_bytes += sealed.padding;
        self.counters
            .drop_many(DropReason::SealFailed, sealed.failed);
    }

    /// Forwards a layer's cached packets from the one where a viewer begins, up to the first that waits in the inbox.
    fn replay(&mut self, now: Instant, viewer: PeerIx, replay: Replay) {
        let Some((origin, _)) = self.inbox.packet(replay.at.packet) else {
            return;
        };
        let (Some(track), Some(peer)) = (self.tracks.get(origin), self.peers.get_mut(viewer))
        else {
            return;
        };
        let (start, at) = (replay.start, replay.at);
        let Some(layer) = track.layers.get(start.layer) else {
            return;
        };
        let ntp = self.config.clock.ntp(now);
        for (sequence, datagram) in layer.cached_since(start.sequence) {
            if self
                .inbox
                .comes_later(at.packet, origin, start.layer, sequence)
            {
                continue;
            }
            let Some(info) = track.cached_info(start.layer, sequence, datagram) else {
                continue;
            };
            let packet = Packet {
                datagram,
                info: &info,
            };
            let slot = at.slot as usize;
            let mut plan = Plan::default();
            peer.subscriber.plan(now, slot, &packet, &mut plan);
            if plan.report_at.is_some() {
                self.schedule.touch(viewer);
            }
            let Some(outgoing) = plan.outgoing else {
                continue;
            };
            let paced = Paced::new(at.slot, outgoing, origin, &packet);
            let link = peer.subscriber.link_mut();
            if !link.pacer.admits(now, usize::from(outgoing.len)) {
                link.pacer.push(now, paced);
                if link.wakes() {
                    self.schedule.touch(viewer);
                }
                continue;
            }
            let Some((mut outlet, slot)) = peer.outlet(now, slot, ntp, &mut self.transmits) else {
                return;
            };
            let sent = slot.send(&outgoing, &packet, 0, &mut outlet);
            self.counters.packets_forwarded += u64::from(sent);
        }
    }

    /// Sends a viewer's paced packets that are due.
    pub(super) fn send_paced(&mut self, now: Instant, viewer: PeerIx) {
        self.shed(now, viewer);
        while let Some(peer) = self.peers.get_mut(viewer) {
            if !peer.transport.is_connected() {
                return;
            }
            match peer.subscriber.link_mut().pacer.next(now) {
                None => break,
                Some(Next::Repair(slot, repair)) => {
                    self.send_repair(now, viewer, slot, &repair);
                }
                Some(Next::Media(paced)) => self.send_cached(now, viewer, &paced),
                Some(Next::Padding(bytes)) => self.send_probe(now, viewer, bytes),
            }
        }
    }

    /// Drops video that waited for too long, so that audio and other pictures get through.
    fn shed(&mut self, now: Instant, viewer: PeerIx) {
        let Some(peer) = self.peers.get_mut(viewer) else {
            return;
        };
        let Some(slot) = peer.subscriber.link_mut().shed(now) else {
            return;
        };
        if let Some(slot) = peer.subscriber.slot_mut(slot) {
            slot.shed(now);
        }
        self.decide(now, viewer);
    }

    /// Sends a paced packet from its publisher's cache.
    fn send_cached(&mut self, now: Instant, viewer: PeerIx, paced: &Paced) {
        let source = paced.source;
        let track = self.tracks.get(source.track);
        let (Some(track), Some(viewer)) = (track, self.peers.get_mut(viewer)) else {
            return;
        };
        let found = track.cached(source.layer, source.ssrc, source.sequence);
        let Some((datagram, info)) = found else {
            return self.counters.drop(DropReason::PacedNotCached);
        };
        let packet = Packet {
            datagram,
            info: &info,
        };
        let ntp = self.config.clock.ntp(now);
        let outlet = viewer.outlet(now, paced.slot as usize, ntp, &mut self.transmits);
        if let Some((mut outlet, slot)) = outlet
            && slot.send(&paced.outgoing, &packet, 0, &mut outlet)
        {
            let bytes = usize::from(paced.outgoing.len);
            outlet.link.pacer.passed(bytes);
            self.counters.packets_forwarded += 1;
        }
    }

    /// Sends a probe, only to see whether the link carries it: a recent packet again, else padding.
    fn send_probe(&mut self, now: Instant, viewer: PeerIx, bytes: usize) {
        let Some(peer) = self.peers.get_mut(viewer) else {
            return;
        };
        let Some(slot) = peer.subscriber.slot_for_probes(now) else {
            return peer.subscriber.link_mut().pacer.give_up_probe();
        };
        let again = peer.subscriber.probe_packet(now, slot);
        if let Some(repair) = again.filter(|_| bytes > 2 * usize::from(u8::MAX))
            && self.send_again(now, viewer, slot, &repair)
        {
            self.counters.probe_packets += 1;
            return;
        }
        let ntp = self.config.clock.ntp(now);
        let Some(peer) = self.peers.get_mut(viewer) else {
            return;
        };
        let sent = peer
            .outlet(now, slot, ntp, &mut self.transmits)
            .is_some_and(|(mut outlet, slot)| slot.send_padding(bytes, &mut outlet));
        if sent {
            self.counters.probe_packets += 1;
        } else {
            peer.subscriber.link_mut().pacer.give_up_probe();
        }
    }

    fn request_wanted(&mut self, now: Instant) {
        while let Some((origin, layer)) = self.desk.wanted.pop() {
            self.request_keyframe(now, origin, layer);
        }
    }
}

/// The outcome of sealing.
#[derive(Default)]
struct Sealed {
    packets: u64,
    padding: u64,
    failed: u64,
}

impl FanoutScratch {
    /// Begins the plan for a delivery.
    fn begin(&mut self, delivery: &Delivery) -> &mut Plan {
        let at = self.planned.len();
        self.planned.push(Planned {
            packet: delivery.packet,
            slot: delivery.slot,
            plan: Plan::default(),
        });
        &mut self.planned[at].plan
    }

    /// Keeps the plan, or queues the packet in the pacer if the viewer's link has no time for it now. Audio never
    /// waits, nor does a packet that no cache has.
    fn settle(&mut self, now: Instant, origin: TrackIx, packet: &Packet<'_>, pacer: &mut Pacer) {
        let Some(planned) = self.planned.last() else {
            return;
        };
        if let Some(layer) = planned.plan.keyframe_of
            && !self.wanted.contains(&(origin, layer))
        {
            self.wanted.push((origin, layer));
        }
        if let Some(outgoing) = &planned.plan.outgoing {
            let bytes = usize::from(outgoing.len);
            if packet.codec.is_audio() || !packet.cached {
                return pacer.passed(bytes);
            }
            if pacer.admits(now, bytes) {
                return;
            }
            pacer.push(now, Paced::new(planned.slot, *outgoing, origin, packet));
        }
        self.planned.pop();
    }

    fn seal(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        inbox: &Inbox,
        ntp: u64,
        transmits: &mut Transmits,
    ) -> Sealed {
        self.items.clear();
        self.items.extend(self.planned.iter().map(|planned| Item {
            stream: planned.slot as usize,
            len: planned.plan.outgoing.map_or(0, |outgoing| outgoing.len),
        }));
        let mut sealed = Sealed::default();
        let way_out = peer.way_out(now, ntp, transmits);
        let Some((mut outlet, slots)) = way_out else {
            self.planned.clear();
            return sealed;
        };
        let pads = outlet.link.has_room_for_padding();
        for packed in self.packer.pack(&self.items, pads) {
            let Some(planned) = self.planned.get(packed.item as usize) else {
                continue;
            };
            let Some(outgoing) = &planned.plan.outgoing else {
                continue;
            };
            let Some((_, packet)) = inbox.packet(planned.packet) else {
                continue;
            };
            let Some(slot) = slots.get_mut(planned.slot as usize) else {
                continue;
            };
            let padding = packed.padding;
            if slot.send(outgoing, &packet, padding, &mut outlet) {
                sealed.packets += 1;
                sealed.padding += u64::from(padding);
            } else {
                sealed.failed += 1;
            }
        }
        self.planned.clear();
        sealed
    }
}

impl Peer {
    /// Its outlet parts and its slots; none while it cannot be reached.
    fn way_out<'a>(
        &'a mut self,
        now: Instant,
        ntp: u64,
        transmits: &'a mut Transmits,
    ) -> Option<(Outlet<'a>, &'a mut Slab<Slot>)> {
        if !self.transport.is_connected() {
            return None;
        }
        let path = self.transport.media_path()?;
        let (slots, transport_sequence, link) = self.subscriber.way_out();
        let outlet = Outlet {
            path,
            run: &mut self.run,
            transport: &mut self.transport,
            transmits,
            now,
            ntp,
            link,
            transport_sequence,
        };
        Some((outlet, slots))
    }

    /// The outlet of one of its slots.
    pub(super) fn outlet<'a>(
        &'a mut self,
        now: Instant,
        slot: usize,
        ntp: u64,
        transmits: &'a mut Transmits,
    ) -> Option<(Outlet<'a>, &'a mut Slot)> {
        let (outlet, slots) = self.way_out(now, ntp, transmits)?;
        Some((outlet, slots.get_mut(slot)?))
    }
}
