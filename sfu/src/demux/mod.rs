//! Which peer a datagram is for.
//!
//! By source address once a STUN check from there has authenticated; before that only by the user
//! fragment of such a check (RFC 8445 section 7.3). Everything else from an unknown address is
//! dropped without a trace but a counter.

mod hash;

use std::collections::HashMap;
use std::net::SocketAddr;

use hash::AddrHash;

/// Addresses one peer may be bound to at a time. Its ICE agent forgets addresses before it has more
/// than these and tells which; this bound only makes sure.
const ADDRESSES: usize = 16;

/// The class of a datagram, by its first byte (RFC 7983 section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Unknown,
}

/// Classifies a datagram.
pub(crate) fn classify(datagram: &[u8]) -> Class {
    match (datagram.first(), datagram.get(1)) {
        (Some(0..=3), _) => Class::Stun,
        (Some(20..=63), _) => Class::Dtls,
        // RFC 5761 section 4: RTCP packet types are 192 to 223 where RTP has marker and payload type.
        (Some(128..=191), Some(192..=223)) => Class::Rtcp,
        (Some(128..=191), Some(_)) => Class::Rtp,
        _ => Class::Unknown,
    }
}

/// The known addresses and fragments of one worker.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    by_addr: HashMap<SocketAddr, usize, AddrHash>,
    by_ufrag: HashMap<Vec<u8>, usize>,
    addrs: HashMap<usize, Vec<SocketAddr>>,
}

impl Demux {
    /// The peer bound to an address.
    pub(crate) fn by_addr(&self, addr: SocketAddr) -> Option<usize> {
        self.by_addr.get(&addr).copied()
    }

    /// The peer with a user fragment.
    pub(crate) fn by_ufrag(&self, ufrag: &[u8]) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// Adds a peer's fragment; an ICE restart adds another.
    pub(crate) fn insert_ufrag(&mut self, ufrag: String, peer: usize) {
        self.by_ufrag.insert(ufrag.into_bytes(), peer);
    }

    /// Forgets a fragment.
    pub(crate) fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag.as_bytes());
    }

    /// Binds an address to a peer, from whichever peer it was bound to: ports are reused.
    pub(crate) fn bind(&mut self, addr: SocketAddr, peer: usize) {
        match self.by_addr.insert(addr, peer) {
            Some(before) if before == peer => return,
            Some(before) => {
                if let Some(addrs) = self.addrs.get_mut(&before) {
                    addrs.retain(|other| *other != addr);
                }
            }
            None => {}
        }
        let addrs = self.addrs.entry(peer).or_default();
        if addrs.len() == ADDRESSES {
            let oldest = addrs.remove(0);
            self.by_addr.remove(&oldest);
        }
        addrs.push(addr);
    }

    /// Forgets an address, if it is still that peer's.
    pub(crate) fn unbind(&mut self, addr: SocketAddr, peer: usize) {
        if self.by_addr(addr) == Some(peer) {
            self.by_addr.remove(&addr);
        }
        if let Some(addrs) = self.addrs.get_mut(&peer) {
            addrs.retain(|other| *other != addr);
        }
    }

    /// Entries in all tables.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.by_addr.len() + self.by_ufrag.len() + self.addrs.len()
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, peer: usize) {
        for addr in self.addrs.remove(&peer).unwrap_or_default() {
            self.by_addr.remove(&addr);
        }
        self.by_ufrag.retain(|_, other| *other != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_are_told_apart() {
        for (bytes, class) in [
            (&[][..], Class::Unknown),
            (&[0, 1], Class::Stun),
            (&[3], Class::Stun),
            (&[4], Class::Unknown),
            (&[22, 254], Class::Dtls),
            (&[0x80, 96], Class::Rtp),
            (&[0x90, 0x80 | 111], Class::Rtp),
            (&[0x80, 200], Class::Rtcp),
            (&[0x81, 206], Class::Rtcp),
            (&[0x80], Class::Unknown),
            (&[255, 255], Class::Unknown),
        ] {
            assert_eq!(classify(bytes), class, "{bytes:?}");
        }
    }

    #[test]
    fn addresses_of_a_peer_are_bounded_and_go_with_it() {
        let mut demux = Demux::default();
        let addr = |port| SocketAddr::from(([10, 0, 0, 1], port));
        for port in 1..=20 {
            demux.bind(addr(port), 7);
        }
        assert_eq!(demux.by_addr(addr(4)), None);
        assert_eq!(demux.by_addr(addr(5)), Some(7));
        assert_eq!(demux.by_addr.len(), ADDRESSES);
        demux.bind(addr(20), 8);
        demux.insert_ufrag("a".into(), 7);
        demux.remove(7);
        assert_eq!(
            (demux.by_addr(addr(5)), demux.by_addr(addr(20))),
            (None, Some(8))
        );
        assert_eq!(demux.by_ufrag(b"a"), None);
    }
}
