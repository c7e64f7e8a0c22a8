//! Finds the peer that a datagram is for.
//!
//! The path tells, once a STUN check over it has authenticated; before that only the user fragment of such a check (RFC
//! 8445 section 7.3), or the keys of a peer at another port of that address ([`strays`]). Any other datagram over an
//! unknown path is dropped and counted, and leaves no other trace.
//!
//! A peer [claims](Paths::claim) a path, with proof or without ([`paths`]). No claim takes away a path that another
//! peer has proved to be at.

mod hash;
mod paths;
mod strays;

use std::collections::HashMap;

pub(crate) use paths::Claim;

use paths::Paths;
use strays::Strays;

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

/// The known paths and fragments of one worker.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    pub(crate) paths: Paths,
    pub(crate) strays: Strays,
    by_ufrag: HashMap<Vec<u8>, usize>,
    /// Peers by the tag in answers to the server's checks.
    by_tag: HashMap<u32, usize>,
}

impl Demux {
    /// The peer with a user fragment.
    pub(crate) fn by_ufrag(&self, ufrag: &[u8]) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// The peer whose check this answers.
    pub(crate) fn by_tag(&self, tag: u32) -> Option<usize> {
        self.by_tag.get(&tag).copied()
    }

    /// Adds a peer's fragment; an ICE restart adds another.
    pub(crate) fn insert_ufrag(&mut self, ufrag: String, peer: usize) {
        self.by_ufrag.insert(ufrag.into_bytes(), peer);
    }

    /// Adds a peer's tag.
    pub(crate) fn insert_tag(&mut self, tag: u32, peer: usize) {
        self.by_tag.insert(tag, peer);
    }

    /// Forgets a fragment.
    pub(crate) fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag.as_bytes());
    }

    /// Entries in all tables.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.paths.len() + self.by_ufrag.len() + self.by_tag.len()
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, peer: usize) {
        self.paths.remove(peer);
        self.by_ufrag.retain(|_, other| *other != peer);
        self.by_tag.retain(|_, other| *other != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Path;

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
    fn a_peer_goes_with_its_names() {
        let mut demux = Demux::default();
        let path = Path::from(([10, 0, 0, 1], 1));
        for peer in [7, 8] {
            demux.insert_ufrag(format!("fragment{peer}"), peer);
            demux.insert_tag(peer as u32, peer);
            demux.paths.claim(path, peer, true);
        }
        demux.remove(7);
        assert_eq!(
            (demux.by_ufrag(b"fragment7"), demux.by_tag(7)),
            (None, None)
        );
        assert_eq!(
            (demux.by_ufrag(b"fragment8"), demux.by_tag(8)),
            (Some(8), Some(8))
        );
        let holder = demux.paths.holder(path).unwrap();
        assert_eq!((holder.peer, holder.is_shared), (8, false));
    }
}
