//! Reading what the next packets need before their turn.
//!
//! What a worker knows of hundreds of viewers is more than its cache holds, and a viewer is sent a few
//! packets at a time: nearly every line of memory that a packet needs is far away. Where the code comes
//! by, it waits for them one after the other. Here one word of each is read, for nothing, while the
//! packets before are worked on: these reads do not depend on each other, so the processor waits for
//! all of them at once. What is behind a pointer is read a viewer later than the pointer.
//!
//! Each `warm` along the way names a word of each line of its own memory that a packet needs.

use std::hint::black_box;

use super::Worker;
use super::peer::Peer;

impl Worker {
    /// For the two viewers after the one whose turn it is.
    pub(super) fn warm_next(&self) {
        if let Some(next) = self.inbox.ahead(0)
            && let Some(first) = self.inbox.first(&next)
            && let Some(peer) = self.peers.get(next.peer)
        {
            peer.warm_slot(first.slot as usize);
            let ring = peer.subscriber.link().warm_ring();
            black_box(peer.transport.warm_keys().wrapping_add(ring));
        }
        if let Some(later) = self.inbox.ahead(1)
            && let Some(peer) = self.peers.get(later.peer)
        {
            let transport = peer.run.warm().wrapping_add(peer.transport.warm());
            black_box(peer.subscriber.warm().wrapping_add(transport));
        }
    }
}

impl Peer {
    /// For the next packet of a slot.
    pub(super) fn warm_slot(&self, slot: usize) {
        if let Some(slot) = self.subscriber.slot(slot) {
            black_box(slot.warm());
        }
    }

    /// For sealing a packet of an SSRC.
    pub(super) fn warm_number(&self, ssrc: u32) {
        black_box(self.transport.warm_rollover(ssrc));
    }
}
