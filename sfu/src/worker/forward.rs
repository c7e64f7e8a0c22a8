//! The fan-out of a turn's packets, viewer by viewer: plan, pack, seal.

use std::time::Instant;

use super::Worker;
use super::inbox::{Delivery, Inbox, Viewer};
use super::peer::Peer;
use super::relay::track_and_viewer;
use crate::egress::{Item, Outgoing, Outlet, Packer, Plan, Start};
use crate::packet::{Facts, Packet, PassedOn, vp8_descriptor};
use crate::place::Place;
use crate::rtp::RtpHeader;
use crate::rtp::codec::is_keyframe;
use crate::transmit::Transmits;

/// Sealed bytes after which they are sent before more are made: half of a core's second-level
/// cache, so that the kernel copies what is still there. Far more than one message, and some
/// hundred packets to a system call.
pub(super) const PART_BYTES: usize = 256 << 10;

/// What forwarding works with from turn to turn, for the memory's sake.
#[derive(Debug, Default)]
pub(super) struct Desk {
    planned: Vec<Planned>,
    items: Vec<Item>,
    packer: Packer,
    /// Layers a keyframe is needed of.
    wanted: Vec<(Place, usize)>,
}

/// A packet decided on.
#[derive(Clone, Copy, Debug)]
struct Planned {
    packet: u32,
    slot: u32,
    outgoing: Outgoing,
}

/// A layer that a viewer is switched to, whose first packets are in its publisher's cache.
#[derive(Clone, Copy, Debug)]
struct Replay {
    /// The packet that made it possible, and the delivery of it.
    at: Delivery,
    start: Start,
}

impl Worker {
    /// Forwards what waits until so many bytes are to be sent; true if that was not all.
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

    /// Plans a viewer's packets from one on, up to where something of a cache comes first.
    fn plan(&mut self, now: Instant, viewer: usize, from: Delivery) -> Option<Replay> {
        let peer = self.peers.get_mut(viewer)?;
        if !peer.transport.is_connected() || peer.transport.remote_addr().is_none() {
            return None;
        }
        let mut next = Some(from);
        while let Some(delivery) = next {
            next = self.inbox.after(&delivery);
            let Some((origin, packet)) = self.inbox.packet(delivery.packet) else {
                continue;
            };
            let Some(slot) = peer.subscriber.slot_mut(delivery.slot as usize) else {
                continue;
            };
            let plan = slot.plan(now, &packet);
            if plan.reports_begin {
                self.schedule.touch(viewer);
            }
            self.desk.note(&delivery, origin, &packet, &plan);
            if let Some(start) = plan.replay {
                return Some(Replay {
                    at: delivery,
                    start,
                });
            }
        }
        None
    }

    /// Sends a viewer what was planned.
    fn seal(&mut self, now: Instant, viewer: usize) {
        let Some(peer) = self.peers.get_mut(viewer) else {
            return;
        };
        let ntp = self.config.clock.ntp(now);
        let sealed = self.desk.seal(peer, &self.inbox, ntp, &mut self.transmits);
        self.counters.packets_forwarded += sealed.packets;
        self.counters.padding_bytes += sealed.padding;
        self.counters.drop_many("seal_failed", sealed.failed);
    }

    /// Forwards what is cached of a layer from where a viewer begins to be sent it, up to where
    /// the packets that wait go on.
    fn replay(&mut self, now: Instant, viewer: usize, replay: Replay) {
        let Some((origin, _)) = self.inbox.packet(replay.at.packet) else {
            return;
        };
        let Some((track, peer)) = track_and_viewer(&mut self.peers, &self.relayed, origin, viewer)
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
            let Ok(header) = RtpHeader::parse(datagram) else {
                continue;
            };
            let Some(codec) = track.codec(header.payload_type) else {
                continue;
            };
            let facts = Facts {
                header,
                codec,
                track: track.id,
                layer: start.layer,
                sequence,
                switchable: is_keyframe(codec, header.payload(datagram)),
                cached: true,
                sender: layer.sender,
                descriptor: vp8_descriptor(codec, &header, datagram),
                passed_on: PassedOn::find(&header, datagram, &track.extensions),
            };
            let packet = Packet {
                datagram,
                facts: &facts,
            };
            let Some((mut outlet, slot, transport_sequence)) =
                peer.outlet(at.slot as usize, ntp, &mut self.transmits)
            else {
                return;
            };
            if let Some(outgoing) = slot.plan(now, &packet).outgoing {
                let sent = slot.send(&outgoing, &packet, transport_sequence, 0, &mut outlet);
                self.counters.packets_forwarded += u64::from(sent);
            }
        }
    }

    fn request_wanted(&mut self, now: Instant) {
        while let Some((origin, layer)) = self.desk.wanted.pop() {
            self.request_keyframe(now, origin, layer);
        }
    }
}

/// What sealing came to.
#[derive(Default)]
struct Sealed {
    packets: u64,
    padding: u64,
    failed: u64,
}

impl Desk {
    fn note(&mut self, delivery: &Delivery, origin: Place, packet: &Packet<'_>, plan: &Plan) {
        if let Some(layer) = plan.keyframe_of
            && !packet.codec.is_audio()
            && !self.wanted.contains(&(origin, layer))
        {
            self.wanted.push((origin, layer));
        }
        if let Some(outgoing) = plan.outgoing {
            self.planned.push(Planned {
                packet: delivery.packet,
                slot: delivery.slot,
                outgoing,
            });
        }
    }

    fn seal(
        &mut self,
        peer: &mut Peer,
        inbox: &Inbox,
        ntp: u64,
        transmits: &mut Transmits,
    ) -> Sealed {
        self.items.clear();
        self.items.extend(self.planned.iter().map(|planned| Item {
            stream: planned.slot as usize,
            len: planned.outgoing.len,
        }));
        let mut sealed = Sealed::default();
        for packed in self.packer.pack(&self.items) {
            let Some(planned) = self.planned.get(packed.item as usize) else {
                continue;
            };
            let Some((_, packet)) = inbox.packet(planned.packet) else {
                continue;
            };
            let Some((mut outlet, slot, transport_sequence)) =
                peer.outlet(planned.slot as usize, ntp, transmits)
            else {
                continue;
            };
            let padding = packed.padding;
            if slot.send(
                &planned.outgoing,
                &packet,
                transport_sequence,
                padding,
                &mut outlet,
            ) {
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
    /// Its way out with one of its slots, and the number its next packet has; none while it cannot
    /// be reached.
    pub(super) fn outlet<'a>(
        &'a mut self,
        slot: usize,
        ntp: u64,
        transmits: &'a mut Transmits,
    ) -> Option<(Outlet<'a>, &'a mut crate::egress::Slot, &'a mut u16)> {
        if !self.transport.is_connected() {
            return None;
        }
        let to = self.transport.remote_addr()?;
        let (slot, transport_sequence) = self.subscriber.slot_with_sequence(slot)?;
        let outlet = Outlet {
            to,
            run: &mut self.run,
            transport: &mut self.transport,
            transmits,
            ntp,
        };
        Some((outlet, slot, transport_sequence))
    }
}
