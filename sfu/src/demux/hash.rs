//! A fast keyed hash for paths.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds [`PathHasher`]s of one key.
///
/// The standard library's SipHash is made for tables that strangers fill, at 20 ns for an address. Strangers do not
/// fill this one: a path enters it after a STUN check over it has authenticated, and a peer has
/// [few](super::paths). A multiplication folded into itself takes 2 ns and is enough; its key hides which ports
/// collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathHash {
    key: u64,
}

impl Default for PathHash {
    fn default() -> Self {
        // A SipHash of nothing is as random as its key.
        let key = RandomState::new().build_hasher().finish();
        Self { key }
    }
}

impl BuildHasher for PathHash {
    type Hasher = PathHasher;

    fn build_hasher(&self) -> PathHasher {
        PathHasher { state: self.key }
    }
}

/// Folds 8 bytes at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathHasher {
    state: u64,
}

/// Odd, and half of its bits set: the fraction of the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl PathHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(MULTIPLIER);
        self.state = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.fold(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.fold(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddr;

    use super::*;
    use crate::transport::Path;

    #[test]
    fn paths_spread_over_the_table() {
        let hash = PathHash::default();
        let v4 = (0..20_000u16).map(|port| Path::from(([127, 0, 0, 1], port)));
        let v6 = (0..20_000u16)
            .map(|host| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, host], 40_000)))
            .map(Path::Udp);
        for paths in [v4.collect::<Vec<_>>(), v6.collect()] {
            let hashes: Vec<u64> = paths.iter().map(|path| hash.hash_one(path)).collect();
            assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), paths.len());
            for shift in [0, 48] {
                let places: HashSet<u64> = hashes.iter().map(|h| (h >> shift) & 0xffff).collect();
                // 20,000 balls thrown at random into 65,536 bins hit 17,200.
                assert!(places.len() > 16_500, "{} of bits {shift}", places.len());
            }
        }
        let other = PathHash::default();
        let path = Path::from(([192, 0, 2, 1], 7));
        assert_ne!(hash.hash_one(path), other.hash_one(path), "keyed");
    }
}
