//! Prefetches the memory that the next packets need.
//!
//! The state of hundreds of viewers exceeds a worker's cache, and a viewer is sent a few packets at a time: nearly
//! every cache line that a packet needs is far away. Without prefetching the code would wait for them one after the
//! other. Here the processor loads them while earlier packets are worked on. Memory behind a pointer is prefetched one
//! viewer later than the pointer.
//!
//! Each `prefetch` along the way loads what a packet needs of its own memory.

use super::Worker;
use super::peer::Peer;

impl Worker {
    /// Prefetches for the two viewers after the present one.
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
    /// Prefetches for the next packet of a slot.
    pub(super) fn prefetch_slot(&self, slot: usize) {
        if let Some(slot) = self.subscriber.slot(slot) {
            slot.prefetch();
        }
    }
}
