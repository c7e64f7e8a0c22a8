//! DTLS handshakes, a few a turn.
//!
//! A handshake step costs up to a quarter of a millisecond of public-key arithmetic, as much as forwarding hundreds of
//! packets. These must not wait for a join storm. So handshake datagrams queue here, and the runtime says how many a
//! turn has time for. No step is long enough to justify a thread of its own (`benches/handshake.rs` measures them).

use std::collections::VecDeque;
use std::time::Instant;

use super::Worker;
use crate::drops::DropReason;
use crate::index::PeerIx;
use crate::transport::Path;

/// Datagrams that may wait. A client sends two flights of a few datagrams: this fits a storm of 500 joins. Beyond it
/// the newest are dropped; DTLS retransmits after a second.
const WAITING: usize = 2_048;
/// Largest datagram kept: a ClientHello with every extension, and a client's certificate flight, stay under an MTU
/// each.
const DATAGRAM: usize = 2_048;

/// Handshake datagrams that wait.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    waiting: VecDeque<(PeerIx, Path, Vec<u8>)>,
}

impl Handshakes {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number of datagrams that wait.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets the datagrams of a peer.
    pub(super) fn remove(&mut self, peer: PeerIx) {
        self.waiting.retain(|(other, ..)| *other != peer);
    }
}

impl Worker {
    pub(super) fn handle_dtls(
        &mut self,
        now: Instant,
        index: PeerIx,
        from: Path,
        datagram: &mut [u8],
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if peer.transport.is_handshake(datagram) {
            if datagram.len() > DATAGRAM {
                return self.counters.drop(DropReason::DtlsOversized);
            }
            if self.handshakes.waiting.len() == WAITING {
                return self.counters.drop(DropReason::HandshakesOverloaded);
            }
            self.handshakes
                .waiting
                .push_back((index, from, datagram.to_vec()));
            return;
        }
        peer.transport.handle_dtls(now, from, datagram);
        self.after_dtls(now, index);
    }

    fn after_dtls(&mut self, now: Instant, index: PeerIx) {
        let peer = self.peers.get_mut(index);
        let refused = peer.map_or(0, |peer| peer.transport.take_dtls_refused());
        self.counters.drop_many(DropReason::DtlsRefused, refused);
        self.service(now, index);
    }

    /// Handles waiting datagrams while there is `time` for another; at least one, if there is one.
    pub(crate) fn run_handshakes(&mut self, now: Instant, time: &mut dyn FnMut() -> bool) {
        while let Some((index, from, mut datagram)) = self.handshakes.waiting.pop_front() {
            if let Some(peer) = self.peers.get_mut(index) {
                peer.transport.handle_dtls(now, from, &mut datagram);
                self.after_dtls(now, index);
            }
            if !time() {
                return;
            }
        }
    }
}
