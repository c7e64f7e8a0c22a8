//! Maps by SSRC, looked up for every packet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by SSRC. SSRCs are random and nobody attacks a bot: one multiplication spreads them well
/// enough.
pub(super) type SsrcMap<V> = HashMap<u32, V, BuildHasherDefault<SsrcHasher>>;

#[derive(Clone, Copy, Default)]
pub(super) struct SsrcHasher(u64);

impl Hasher for SsrcHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        // The odd number nearest to 2^64 over the golden ratio.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
