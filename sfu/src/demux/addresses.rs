//! Source addresses, and the peers at them.
//!
//! A check only claims an address: its sender may have forged the source. A peer proves to be there by answering a
//! check of the server or by finishing a handshake. A claim without proof gets only an address that nobody has proved
//! to be at; the latest claim holds. A peer that proves to be at another peer's address shares it: a NAT or a host has
//! given the port to somebody new, or several peers use one socket. Their SRTP keys then tell the packets apart, and
//! the first peer loses none. A handshake alone has no keys yet: it goes to the peer that waits for one, proved or not.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::hash::AddrHash;

/// Addresses of one peer at most. Its ICE agent drops addresses before it has more than these, and says which; this
/// bound is a safeguard.
const ADDRESSES: usize = 16;
/// Peers at one address beside the first, at most. Each adds a set of keys to try on every packet from there. Further
/// peers on one socket are refused.
const GUESTS: usize = 7;

/// The peer at an address.
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
    /// The peer has the address, alone or shared.
    Held,
    /// Another peer has proved to be there and this one has not, or too many share it.
    Refused,
}

/// All peers' addresses on a worker.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    holders: HashMap<SocketAddr, Holder, AddrHash>,
    /// Further peers at shared addresses.
    guests: HashMap<SocketAddr, Vec<usize>, AddrHash>,
    /// The peer that last claimed, in vain, an address that another holds.
    claimants: HashMap<SocketAddr, usize, AddrHash>,
    /// Addresses of each peer, the longest known first.
    of_peers: HashMap<usize, Vec<SocketAddr>>,
}

impl Addresses {
    /// The peer at an address.
    pub(crate) fn holder(&self, addr: SocketAddr) -> Option<Holder> {
        self.holders.get(&addr).copied()
    }

    /// Peers at a shared address, the first one first.
    pub(crate) fn all_at(&self, addr: SocketAddr) -> impl Iterator<Item = usize> {
        let first = self.holders.get(&addr).map(|holder| holder.peer);
        let guests = self.guests.get(&addr).into_iter().flatten();
        first.into_iter().chain(guests.copied())
    }

    /// The peer that claims an address held by another.
    pub(crate) fn claimant(&self, addr: SocketAddr) -> Option<usize> {
        self.claimants.get(&addr).copied()
    }

    /// Records that a peer claims an address, with proof or without.
    pub(crate) fn claim(&mut self, addr: SocketAddr, peer: usize, is_proven: bool) -> Claim {
        let Some(holder) = self.holders.get_mut(&addr) else {
            let holder = Holder {
                peer,
                is_proven,
                is_shared: false,
                is_contested: false,
            };
            self.holders.insert(addr, holder);
            self.note(addr, peer);
            return Claim::Held;
        };
        if holder.peer == peer {
            holder.is_proven |= is_proven;
            return Claim::Held;
        }
        if !holder.is_proven {
            let before = std::mem::replace(&mut holder.peer, peer);
            holder.is_proven = is_proven;
            self.forget(addr, before);
            self.note(addr, peer);
            return Claim::Held;
        }
        let guests = self.guests.get_mut(&addr);
        if guests.is_some_and(|guests| guests.contains(&peer)) {
            return Claim::Held;
        }
        let guests = self.guests.get(&addr).map_or(0, Vec::len);
        if !is_proven || guests == GUESTS {
            holder.is_contested = true;
            self.claimants.insert(addr, peer);
            return Claim::Refused;
        }
        holder.is_shared = true;
        self.drop_claim(addr, peer);
        self.guests.entry(addr).or_default().push(peer);
        self.note(addr, peer);
        Claim::Held
    }

    /// Takes an address from a peer. Other peers there stay.
    pub(crate) fn unbind(&mut self, addr: SocketAddr, peer: usize) {
        self.drop_claim(addr, peer);
        self.leave(addr, peer);
        self.forget(addr, peer);
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, peer: usize) {
        let claims = self.claimants.iter().filter(|(_, other)| **other == peer);
        let claims: Vec<SocketAddr> = claims.map(|(addr, _)| *addr).collect();
        for addr in claims {
            self.drop_claim(addr, peer);
        }
        for addr in self.of_peers.remove(&peer).unwrap_or_default() {
            self.leave(addr, peer);
        }
    }

    /// Entries in all tables.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.holders.len() + self.guests.len() + self.claimants.len() + self.of_peers.len()
    }

    /// Takes a peer from an address; the next peer there becomes its holder.
    fn leave(&mut self, addr: SocketAddr, peer: usize) {
        let mut guests = self.guests.remove(&addr).unwrap_or_default();
        match self.holders.get_mut(&addr) {
            Some(holder) if holder.peer == peer => {
                if guests.is_empty() {
                    self.holders.remove(&addr);
                    if let Some(claimant) = self.claimants.remove(&addr) {
                        self.claim(addr, claimant, false);
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
            self.guests.insert(addr, guests);
        }
    }

    /// Drops a peer's claim to an address.
    fn drop_claim(&mut self, addr: SocketAddr, peer: usize) {
        if self.claimants.get(&addr) == Some(&peer) {
            self.claimants.remove(&addr);
            if let Some(holder) = self.holders.get_mut(&addr) {
                holder.is_contested = false;
            }
        }
    }

    /// Records an address of a peer.
    fn note(&mut self, addr: SocketAddr, peer: usize) {
        let addrs = self.of_peers.entry(peer).or_default();
        addrs.push(addr);
        if addrs.len() > ADDRESSES {
            let oldest = addrs.remove(0);
            self.leave(oldest, peer);
        }
    }

    fn forget(&mut self, addr: SocketAddr, peer: usize) {
        if let Some(addrs) = self.of_peers.get_mut(&peer) {
            addrs.retain(|other| *other != addr);
            if addrs.is_empty() {
                self.of_peers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn at(addresses: &Addresses, port: u16) -> Vec<usize> {
        addresses.all_at(addr(port)).collect()
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
            let mut addresses = Addresses::default();
            let outcomes = claims
                .iter()
                .map(|(peer, is_proven)| addresses.claim(addr(1), *peer, *is_proven));
            assert_eq!(outcomes.last(), Some(last), "{claims:?}");
            assert_eq!(at(&addresses, 1), there, "{claims:?}");
            let holder = addresses.holder(addr(1)).unwrap();
            assert_eq!(holder.is_shared, there.len() > 1, "{claims:?}");
            let refused = last == Claim::Refused;
            assert_eq!(holder.is_contested, refused, "{claims:?}");
            let claimant = refused.then(|| claims.last().unwrap().0);
            assert_eq!(addresses.claimant(addr(1)), claimant, "{claims:?}");
        }
    }

    #[test]
    fn who_leaves_takes_nothing_from_others() {
        let mut addresses = Addresses::default();
        for peer in 1..=3 {
            addresses.claim(addr(1), peer, true);
        }
        addresses.claim(addr(1), 4, false);
        addresses.unbind(addr(1), 4);
        addresses.unbind(addr(1), 2);
        assert_eq!(at(&addresses, 1), [1, 3]);
        addresses.remove(1);
        assert_eq!(at(&addresses, 1), [3]);
        assert_eq!(addresses.claim(addr(1), 4, false), Claim::Refused);
        // Nobody else is there then.
        addresses.remove(3);
        assert_eq!(at(&addresses, 1), [4]);
        addresses.remove(4);
        assert_eq!(addresses.len(), 0);
    }

    #[test]
    fn both_sides_are_bounded() {
        let mut addresses = Addresses::default();
        for port in 1..=20 {
            addresses.claim(addr(port), 7, true);
        }
        assert_eq!((at(&addresses, 4), at(&addresses, 5)), (vec![], vec![7]));
        assert_eq!(addresses.holders.len(), ADDRESSES);
        let mut outcomes = (100..120).map(|peer| addresses.claim(addr(20), peer, true));
        assert_eq!(
            outcomes.position(|claim| claim == Claim::Refused),
            Some(GUESTS)
        );
    }

    proptest! {
        #[test]
        fn nobody_loses_an_address_that_is_proved(
            steps in prop::collection::vec((0u8..8, 0usize..6, 0u16..12), 1..200),
        ) {
            let mut addresses = Addresses::default();
            let mut proved: BTreeMap<u16, BTreeSet<usize>> = BTreeMap::new();
            for (step, peer, port) in steps {
                match step {
                    0..=3 => {
                        let claim = addresses.claim(addr(port), peer, false);
                        let others = proved.get(&port).is_some_and(|proved| !proved.is_empty());
                        let own = proved.get(&port).is_some_and(|proved| proved.contains(&peer));
                        prop_assert_eq!(claim == Claim::Refused, others && !own);
                    }
                    4 | 5 => {
                        prop_assert_eq!(addresses.claim(addr(port), peer, true), Claim::Held);
                        proved.entry(port).or_default().insert(peer);
                    }
                    6 => {
                        addresses.unbind(addr(port), peer);
                        proved.entry(port).or_default().remove(&peer);
                    }
                    _ => {
                        addresses.remove(peer);
                        for proved in proved.values_mut() {
                            proved.remove(&peer);
                        }
                    }
                }
                for (port, proved) in &proved {
                    let there = at(&addresses, *port);
                    prop_assert!(proved.iter().all(|peer| there.contains(peer)));
                    prop_assert!(proved.is_empty() || there.len() == proved.len());
                    let holder = addresses.holder(addr(*port));
                    prop_assert_eq!(holder.is_some_and(|at| at.is_shared), there.len() > 1);
                    let claimant = addresses.claimant(addr(*port));
                    prop_assert_eq!(holder.is_some_and(|at| at.is_contested), claimant.is_some());
                    prop_assert!(claimant.is_none_or(|peer| !there.contains(&peer)));
                }
                let listed: usize = addresses.of_peers.values().map(Vec::len).sum();
                let guests: usize = addresses.guests.values().map(Vec::len).sum();
                prop_assert_eq!(listed, addresses.holders.len() + guests);
            }
        }
    }
}
