//! The memory that a peer's data channels hold, counted with its packet caches against the memory of all.
//!
//! Buffers bound one association, but not the sum over all peers. When there is no memory for more, a client's chunks
//! are accepted only in order, and it sends the others again; and a message to it is accepted once the earlier ones
//! have arrived. So each peer can always hold one message in each direction, and goes on.

use super::{Peering, Sctp};

/// Bytes that a message on its way takes beside its own: rtc-sctp keeps a chunk of each.
const MESSAGE_BYTES: usize = 256;
/// Bytes are counted in steps of this, so that few datagrams look at the memory of all.
const STEP: usize = 4 << 10;

/// Bytes of messages that have not arrived.
fn on_the_way(peering: &mut Peering, streams: [Option<u16>; 2]) -> usize {
    let buffered = |stream| {
        let stream = peering.association.stream(stream).ok()?;
        stream.buffered_amount().ok()
    };
    streams.into_iter().flatten().filter_map(buffered).sum()
}

impl Sctp {
    /// Counts the memory held. It exceeds the memory of all by a packet at most: from then on no more is accepted.
    pub(super) fn count(&mut self) {
        let streams = self.streams();
        let buffered = self.guarded(|peering| on_the_way(peering, streams));
        let buffered = buffered.unwrap_or(0);
        // Messages have a byte each at least.
        self.sent = self.sent.min(buffered);
        let fits = self.hold(buffered, 0);
        self.guarded(|peering| peering.screen.set_short(!fits));
    }

    /// Whether there is memory for another message of so many bytes to the client, which is held then. There is for
    /// the only one.
    pub(super) fn has_room_for(&mut self, bytes: usize) -> bool {
        let streams = self.streams();
        let buffered = self.guarded(|peering| on_the_way(peering, streams));
        let buffered = buffered.unwrap_or(0);
        let fits = self.hold(buffered, bytes + MESSAGE_BYTES) || buffered == 0;
        self.sent += usize::from(fits);
        fits
    }

    fn hold(&mut self, buffered: usize, more: usize) -> bool {
        let come = self.guarded(|peering| peering.screen.bytes()).unwrap_or(0);
        let held = come + buffered + self.sent * MESSAGE_BYTES + more;
        self.memory.set(held.next_multiple_of(STEP))
    }

    fn streams(&self) -> [Option<u16>; 2] {
        self.channels.map(|channel| Some(channel?.stream))
    }
}
