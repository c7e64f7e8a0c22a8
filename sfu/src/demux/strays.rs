//! Media over paths that nobody is at: whose keys are tried.
//!
//! A NAT that forgets a client's port gives it another one, and the client does not know. Its media then comes from a
//! port of the same address over which it has not checked. Its keys tell. But anybody can send such packets, and many
//! people may be behind one address, so that the keys tried are bounded, for each packet and for each second.

use std::time::{Duration, Instant};

/// The packets for which keys may be tried.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    left: u32,
    refilled_at: Option<Instant>,
}

/// Peers at one address that are looked at for one packet: as many people as an office may have at a worker.
const LOOKED_AT: usize = 64;
/// Peers whose keys are tried for one packet. Each takes a microsecond or two.
const TRIED: usize = 8;
/// Packets for which keys are tried in a [`PERIOD`]: at most 1% of a core.
const PACKETS: u32 = 500;
/// The period of [`PACKETS`].
const PERIOD: Duration = Duration::from_secs(1);

impl Strays {
    /// The peers whose keys are to be tried for a packet, among those at its address, each with the time at which it was
    /// last heard over its own path. Empty if there are none, or for too many packets lately.
    pub(crate) fn choose<Peer: Ord>(
        &mut self,
        now: Instant,
        near: impl Iterator<Item = (Option<Instant>, Peer)>,
    ) -> Vec<Peer> {
        let mut near: Vec<_> = near.take(LOOKED_AT).collect();
        if near.is_empty() || !self.take(now) {
            return Vec::new();
        }
        // Whoever has another port is not heard over the old one any more.
        near.sort_unstable();
        near.dedup();
        let tried = near.into_iter().take(TRIED);
        tried.map(|(_, peer)| peer).collect()
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.refilled_at.is_none_or(|at| now >= at + PERIOD) {
            (self.left, self.refilled_at) = (PACKETS, Some(now));
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_silent_longest_are_tried() {
        let (mut strays, start) = (Strays::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let near = |peers: &[(Option<u64>, usize)]| -> Vec<(Option<Instant>, usize)> {
            let peers = peers.iter();
            peers.map(|(ms, peer)| (ms.map(at), *peer)).collect()
        };
        let some = near(&[(Some(20), 1), (None, 2), (Some(10), 3), (Some(20), 1)]);
        assert_eq!(strays.choose(start, some.into_iter()), [2, 3, 1]);
        let many = (0..200).map(|peer| (Some(at(1_000 - peer)), peer));
        // The last of the first 64 were heard earliest.
        assert_eq!(strays.choose(start, many), [63, 62, 61, 60, 59, 58, 57, 56]);
    }

    #[test]
    fn keys_are_tried_for_so_many_packets_a_second() {
        let (mut strays, start) = (Strays::default(), Instant::now());
        for second in 0..3 {
            let now = start + PERIOD * second;
            let near = || std::iter::once((None, 7));
            assert!(strays.choose(now, std::iter::empty::<(_, u8)>()).is_empty());
            let tried = (0..2_000).filter(|_| !strays.choose(now, near()).is_empty());
            assert_eq!(tried.count(), PACKETS as usize);
        }
    }
}
