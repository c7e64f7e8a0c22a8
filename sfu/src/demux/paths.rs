//! Paths, and the peers at their far ends.
//!
//! A check only claims a path: its sender may have forged the source. A peer proves to be there by answering a check of
//! the server or by finishing a handshake. A claim without proof gets only a path that nobody has proved to be at; the
//! latest claim holds. A peer that proves to be at another peer's path shares it: a NAT or a host has given the port to
//! somebody new, or several peers use one socket. Their SRTP keys then tell the packets apart, and the first peer loses
//! none. A handshake alone has no keys yet: it goes to the peer that waits for one, proved or not.

use std::collections::{BTreeSet, HashMap};

use super::hash::PathHash;
use crate::transport::Path;

/// Paths of one peer at most: one more than its ICE agent has. The agent drops the least useful one for a new one, which is claimed
/// here before the agent says which; this bound is a safeguard. By an equal one the path in use would go.
const PATHS: usize = 17;
/// Peers at one path beside the first, at most. Each adds a set of keys to try on every packet from there. Further
/// peers on one socket are refused.
const GUESTS: usize = 7;

/// The peer at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    /// The peer that a packet is first assumed to be from.
    pub(crate) peer: usize,
    is_proven: bool,
    /// Other peers have proved to be there too.
    pub(crate) is_shared: bool,
    /// Another peer claims it without proof.
    pub(crate) is_contested: bool,
}

/// The outcome of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// The peer has the path, alone or shared.
    Held,
    /// Another peer has proved to be there and this one has not, or too many share it.
    Refused,
}

/// All peers' paths on a worker.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    holders: HashMap<Path, Holder, PathHash>,
    /// The paths of the holders, in the order of addresses.
    by_address: BTreeSet<Path>,
    /// Further peers at shared paths.
    guests: HashMap<Path, Vec<usize>, PathHash>,
    /// The peer that last claimed, in vain, a path that another holds.
    claimants: HashMap<Path, usize, PathHash>,
    /// Paths of each peer, the longest known first.
    of_peers: HashMap<usize, Vec<Path>>,
}

impl Paths {
    /// The peer at a path.
    pub(crate) fn holder(&self, path: Path) -> Option<Holder> {
        self.holders.get(&path).copied()
    }

    /// Peers at a shared path, the first one first.
    pub(crate) fn all_at(&self, path: Path) -> impl Iterator<Item = usize> {
        let first = self.holders.get(&path).map(|holder| holder.peer);
        let guests = self.guests.get(&path).into_iter().flatten();
        first.into_iter().chain(guests.copied())
    }

    /// Peers at other ports of the same address, of which there may be many. A peer with several ports comes several times.
    pub(crate) fn near(&self, path: Path) -> impl Iterator<Item = usize> {
        let ports = self.by_address.range(path.neighbours());
        ports.filter_map(|near| self.holders.get(near).map(|holder| holder.peer))
    }

    /// The peer that claims a path held by another.
    pub(crate) fn claimant(&self, path: Path) -> Option<usize> {
        self.claimants.get(&path).copied()
    }

    /// Records that a peer claims a path, with proof or without.
    pub(crate) fn claim(&mut self, path: Path, peer: usize, is_proven: bool) -> Claim {
        let Some(holder) = self.holders.get_mut(&path) else {
            let holder = Holder {
                peer,
                is_proven,
                is_shared: false,
                is_contested: false,
            };
            self.holders.insert(path, holder);
            self.by_address.insert(path);
            self.note(path, peer);
            return Claim::Held;
        };
        if holder.peer == peer {
            holder.is_proven |= is_proven;
            return Claim::Held;
        }
        if !holder.is_proven {
            let before = std::mem::replace(&mut holder.peer, peer);
            holder.is_proven = is_proven;
            self.forget(path, before);
            self.note(path, peer);
            return Claim::Held;
        }
        let guests = self.guests.get_mut(&path);
        if guests.is_some_and(|guests| guests.contains(&peer)) {
            return Claim::Held;
        }
        let guests = self.guests.get(&path).map_or(0, Vec::len);
        if !is_proven || guests == GUESTS {
            holder.is_contested = true;
            self.claimants.insert(path, peer);
            return Claim::Refused;
        }
        holder.is_shared = true;
        self.drop_claim(path, peer);
        self.guests.entry(path).or_default().push(peer);
        self.note(path, peer);
        Claim::Held
    }

    /// Takes a path from a peer. Other peers there stay.
    pub(crate) fn unbind(&mut self, path: Path, peer: usize) {
        self.drop_claim(path, peer);
        self.leave(path, peer);
        self.forget(path, peer);
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, peer: usize) {
        let claims = self.claimants.iter().filter(|(_, other)| **other == peer);
        let claims: Vec<Path> = claims.map(|(path, _)| *path).collect();
        for path in claims {
            self.drop_claim(path, peer);
        }
        for path in self.of_peers.remove(&peer).unwrap_or_default() {
            self.leave(path, peer);
        }
    }

    /// Entries in all tables.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
            + self.by_address.len()
            + self.guests.len()
            + self.claimants.len()
            + self.of_peers.len()
    }

    /// Takes a peer from a path; the next peer there becomes its holder.
    fn leave(&mut self, path: Path, peer: usize) {
        let mut guests = self.guests.remove(&path).unwrap_or_default();
        match self.holders.get_mut(&path) {
            Some(holder) if holder.peer == peer => {
                if guests.is_empty() {
                    self.holders.remove(&path);
                    self.by_address.remove(&path);
                    if let Some(claimant) = self.claimants.remove(&path) {
                        self.claim(path, claimant, false);
                    }
                    return;
                }
                // A guest has proved to be there.
                (holder.peer, holder.is_proven) = (guests.remove(0), true);
                holder.is_shared = !guests.is_empty();
            }
            Some(holder) => {
                guests.retain(|guest| *guest != peer);
                holder.is_shared = !guests.is_empty();
            }
            None => {}
        }
        if !guests.is_empty() {
            self.guests.insert(path, guests);
        }
    }

    /// Drops a peer's claim to a path.
    fn drop_claim(&mut self, path: Path, peer: usize) {
        if self.claimants.get(&path) == Some(&peer) {
            self.claimants.remove(&path);
            if let Some(holder) = self.holders.get_mut(&path) {
                holder.is_contested = false;
            }
        }
    }

    /// Records a path of a peer.
    fn note(&mut self, path: Path, peer: usize) {
        let paths = self.of_peers.entry(peer).or_default();
        paths.push(path);
        if paths.len() > PATHS {
            let oldest = paths.remove(0);
            self.leave(oldest, peer);
        }
    }

    fn forget(&mut self, path: Path, peer: usize) {
        if let Some(paths) = self.of_peers.get_mut(&peer) {
            paths.retain(|other| *other != path);
            if paths.is_empty() {
                self.of_peers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn path(port: u16) -> Path {
        Path::from(([10, 0, 0, 1], port))
    }

    fn at(paths: &Paths, port: u16) -> Vec<usize> {
        paths.all_at(path(port)).collect()
    }

    #[test]
    fn claims_are_decided_by_proof() {
        // Claims of peers 1 and 2, with or without proof; the peers there afterwards; the last outcome.
        for (claims, there, last) in [
            (&[(1, false)][..], &[1][..], Claim::Held),
            (&[(1, false), (2, false)], &[2], Claim::Held),
            (&[(1, false), (2, true)], &[2], Claim::Held),
            (&[(1, true), (2, false)], &[1], Claim::Refused),
            (&[(1, true), (2, true)], &[1, 2], Claim::Held),
            (&[(1, true), (2, true), (2, false)], &[1, 2], Claim::Held),
            (&[(1, true), (1, false), (2, false)], &[1], Claim::Refused),
            (&[(1, false), (1, true), (2, false)], &[1], Claim::Refused),
            (&[(1, false), (2, true), (1, false)], &[2], Claim::Refused),
            (&[(1, false), (2, true), (1, true)], &[2, 1], Claim::Held),
        ] {
            let mut paths = Paths::default();
            let outcomes = claims
                .iter()
                .map(|(peer, is_proven)| paths.claim(path(1), *peer, *is_proven));
            assert_eq!(outcomes.last(), Some(last), "{claims:?}");
            assert_eq!(at(&paths, 1), there, "{claims:?}");
            let holder = paths.holder(path(1)).unwrap();
            assert_eq!(holder.is_shared, there.len() > 1, "{claims:?}");
            let refused = last == Claim::Refused;
            assert_eq!(holder.is_contested, refused, "{claims:?}");
            let claimant = refused.then(|| claims.last().unwrap().0);
            assert_eq!(paths.claimant(path(1)), claimant, "{claims:?}");
        }
    }

    #[test]
    fn who_leaves_takes_nothing_from_others() {
        let mut paths = Paths::default();
        for peer in 1..=3 {
            paths.claim(path(1), peer, true);
        }
        paths.claim(path(1), 4, false);
        paths.unbind(path(1), 4);
        paths.unbind(path(1), 2);
        assert_eq!(at(&paths, 1), [1, 3]);
        paths.remove(1);
        assert_eq!(at(&paths, 1), [3]);
        assert_eq!(paths.claim(path(1), 4, false), Claim::Refused);
        // Nobody else is there then.
        paths.remove(3);
        assert_eq!(at(&paths, 1), [4]);
        paths.remove(4);
        assert_eq!(paths.len(), 0);
    }

    #[test]
    fn neighbours_have_the_same_address() {
        let mut paths = Paths::default();
        let udp = |addr: &str| Path::Udp(addr.parse().unwrap());
        for (peer, addr) in [
            "10.0.0.1:9",
            "10.0.0.1:7",
            "10.0.0.2:8",
            "10.0.0.0:65535",
            "[2001:db8::1]:8",
            "[2001:db8::1]:9",
        ]
        .into_iter()
        .enumerate()
        {
            paths.claim(udp(addr), peer, true);
        }
        for (from, expected) in [
            ("10.0.0.1:8", &[1, 0][..]),
            ("10.0.0.2:1", &[2]),
            ("10.0.0.3:8", &[]),
            ("[2001:db8::1]:1", &[4, 5]),
            ("[2001:db8::2]:1", &[]),
        ] {
            let near: Vec<usize> = paths.near(udp(from)).collect();
            assert_eq!(near, expected, "{from}");
        }
    }

    #[test]
    fn both_sides_are_bounded() {
        let mut paths = Paths::default();
        for port in 1..=20 {
            paths.claim(path(port), 7, true);
        }
        assert_eq!((at(&paths, 3), at(&paths, 4)), (vec![], vec![7]));
        assert_eq!(paths.holders.len(), PATHS);
        let mut outcomes = (100..120).map(|peer| paths.claim(path(20), peer, true));
        assert_eq!(
            outcomes.position(|claim| claim == Claim::Refused),
            Some(GUESTS)
        );
    }

    proptest! {
        #[test]
        fn nobody_loses_a_path_that_is_proved(
            steps in prop::collection::vec((0u8..8, 0usize..6, 0u16..12), 1..200),
        ) {
            let mut paths = Paths::default();
            let mut proved: BTreeMap<u16, BTreeSet<usize>> = BTreeMap::new();
            for (step, peer, port) in steps {
                match step {
                    0..=3 => {
                        let claim = paths.claim(path(port), peer, false);
                        let others = proved.get(&port).is_some_and(|proved| !proved.is_empty());
                        let own = proved.get(&port).is_some_and(|proved| proved.contains(&peer));
                        prop_assert_eq!(claim == Claim::Refused, others && !own);
                    }
                    4 | 5 => {
                        prop_assert_eq!(paths.claim(path(port), peer, true), Claim::Held);
                        proved.entry(port).or_default().insert(peer);
                    }
                    6 => {
                        paths.unbind(path(port), peer);
                        proved.entry(port).or_default().remove(&peer);
                    }
                    _ => {
                        paths.remove(peer);
                        for proved in proved.values_mut() {
                            proved.remove(&peer);
                        }
                    }
                }
                for (port, proved) in &proved {
                    let there = at(&paths, *port);
                    prop_assert!(proved.iter().all(|peer| there.contains(peer)));
                    prop_assert!(proved.is_empty() || there.len() == proved.len());
                    let holder = paths.holder(path(*port));
                    prop_assert_eq!(holder.is_some_and(|at| at.is_shared), there.len() > 1);
                    let claimant = paths.claimant(path(*port));
                    prop_assert_eq!(holder.is_some_and(|at| at.is_contested), claimant.is_some());
                    prop_assert!(claimant.is_none_or(|peer| !there.contains(&peer)));
                }
                let listed: usize = paths.of_peers.values().map(Vec::len).sum();
                let guests: usize = paths.guests.values().map(Vec::len).sum();
                prop_assert_eq!(listed, paths.holders.len() + guests);
                prop_assert!(paths.by_address.iter().all(|path| paths.holders.contains_key(path)));
                prop_assert_eq!(paths.by_address.len(), paths.holders.len());
            }
        }
    }
}
