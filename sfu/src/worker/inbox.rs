//! Packets of one turn between their publishers and their viewers.
//!
//! Fan-out goes viewer by viewer, not packet by packet. A viewer's keys, numbers and address are
//! then touched once for all of its packets, which lie together in memory and leave as one run.

use crate::index::{PeerIx, TrackIx};
use crate::packet::{Packet, PacketInfo};
use crate::track::Target;

/// Most bytes that wait. The runtime hands over some hundred datagrams before it flushes; the bound
/// is for other callers.
const MAX_BYTES: usize = 8 << 20;

const NONE: u32 = u32::MAX;

/// Packets that wait, and for each viewer those that it is to be sent.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    packets: Vec<Waiting>,
    deliveries: Vec<Delivery>,
    /// Viewers, in the order of their first packets.
    viewers: Vec<Viewer>,
    /// Index among the viewers by peer; valid if that viewer is this peer.
    places: Vec<u32>,
    /// The number of viewers done.
    done: usize,
}

#[derive(Debug)]
struct Waiting {
    origin: TrackIx,
    info: PacketInfo,
    start: usize,
    end: usize,
}

/// A packet for one viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// Index of the packet.
    pub(super) packet: u32,
    /// The viewer's slot.
    pub(super) slot: u32,
    next: u32,
}

/// A viewer with waiting packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewer {
    /// Index among the worker's peers.
    pub(super) peer: PeerIx,
    first: u32,
    last: u32,
}

impl Inbox {
    /// Adds a packet for each of `targets`; false if there is no room.
    pub(super) fn push(
        &mut self,
        origin: TrackIx,
        info: PacketInfo,
        datagram: &[u8],
        targets: &[Target],
    ) -> bool {
        if targets.is_empty() {
            return true;
        }
        let start = self.bytes.len();
        let end = start + datagram.len();
        if end > MAX_BYTES {
            return false;
        }
        self.bytes.extend_from_slice(datagram);
        let packet = self.packets.len() as u32;
        self.packets.push(Waiting {
            origin,
            info,
            start,
            end,
        });
        for target in targets {
            self.deliver(packet, *target);
        }
        true
    }

    fn deliver(&mut self, packet: u32, target: Target) {
        let delivery = self.deliveries.len() as u32;
        self.deliveries.push(Delivery {
            packet,
            slot: usize::from(target.slot) as u32,
            next: NONE,
        });
        let peer = usize::from(target.peer);
        if peer >= self.places.len() {
            self.places.resize(peer + 1, NONE);
        }
        let place = &mut self.places[peer];
        match self.viewers.get_mut(*place as usize) {
            Some(viewer) if viewer.peer == target.peer => {
                self.deliveries[viewer.last as usize].next = delivery;
                viewer.last = delivery;
            }
            _ => {
                *place = self.viewers.len() as u32;
                self.viewers.push(Viewer {
                    peer: target.peer,
                    first: delivery,
                    last: delivery,
                });
            }
        }
    }

    /// The next viewer; each is returned once.
    pub(super) fn next_viewer(&mut self) -> Option<Viewer> {
        let viewer = self.viewers.get(self.done).copied();
        self.done += usize::from(viewer.is_some());
        viewer
    }

    /// The viewer whose turn comes after so many others.
    pub(super) fn ahead(&self, others: usize) -> Option<Viewer> {
        self.viewers.get(self.done + others).copied()
    }

    /// A viewer's first delivery.
    pub(super) fn first(&self, viewer: &Viewer) -> Option<Delivery> {
        self.deliveries.get(viewer.first as usize).copied()
    }

    /// The viewer's next delivery.
    pub(super) fn after(&self, delivery: &Delivery) -> Option<Delivery> {
        self.deliveries.get(delivery.next as usize).copied()
    }

    /// A packet with its origin.
    pub(super) fn packet(&self, index: u32) -> Option<(TrackIx, Packet<'_>)> {
        let waiting = self.packets.get(index as usize)?;
        let packet = Packet {
            datagram: self.bytes.get(waiting.start..waiting.end)?,
            info: &waiting.info,
        };
        Some((waiting.origin, packet))
    }

    /// Whether a packet of a layer waits that came after another.
    pub(super) fn comes_later(
        &self,
        after: u32,
        origin: TrackIx,
        layer: usize,
        sequence: u64,
    ) -> bool {
        let later = self.packets.iter().skip(after as usize + 1);
        later
            .filter(|waiting| waiting.origin == origin)
            .any(|waiting| (waiting.info.layer, waiting.info.sequence) == (layer, sequence))
    }

    /// Packets to be sent, as far as known.
    pub(super) fn backlog(&self) -> usize {
        self.deliveries.len()
    }

    /// Forgets everything, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.deliveries.clear();
        self.viewers.clear();
        self.done = 0;
    }
}
