//! Asking for what the next packets need before their turn.
//!
//! Hundreds of viewers are more than a worker's cache holds, and a viewer is sent a few packets at a time:
//! nearly every line of memory that a packet needs is far away. Where the code comes by, it waits for them
//! one after the other. Here the processor is asked for them while the packets before are worked on, and does
//! not wait. What is behind a pointer is asked for a viewer later than the pointer.
//!
//! Each `prefetch` along the way asks for what a packet needs of its own memory.

use super::Worker;
use super::peer::Peer;

impl Worker {
    /// For the two viewers after the one whose turn it is.
    pub(super) fn prefetch_next(&self) {
        if let Some(next) = self.inbox.ahead(0)
            && let Some(first) = self.inbox.first(&next)
            && let Some(peer) = self.peers.get(next.peer)
        {
            peer.prefetch_slot(first.slot as usize);
            peer.transport.prefetch_keys();
            peer.subscriber.link().prefetch_ring();
        }
        if let Some(later) = self.inbox.ahead(1)
            && let Some(peer) = self.peers.get(later.peer)
        {
            peer.run.prefetch();
            peer.transport.prefetch();
            peer.subscriber.prefetch();
        }
    }
}

impl Peer {
    /// For the next packet of a slot.
    pub(super) fn prefetch_slot(&self, slot: usize) {
        if let Some(slot) = self.subscriber.slot(slot) {
            slot.prefetch();
        }
    }
}
