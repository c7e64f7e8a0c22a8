//! The newest index of every SSRC we send.

use super::index::{INDEX_END, guess};

/// Newest index by SSRC, open addressing. Only our own SSRCs enter, and none ever leaves: sending an
/// SSRC again from rollover zero would repeat nonces, which breaks AES-GCM.
#[derive(Default)]
pub(super) struct Rollovers {
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    ssrc: u32,
    /// [`EMPTY`], or the newest index sent.
    newest: u64,
}

const EMPTY: u64 = u64::MAX;
const FIRST_SLOTS: usize = 16;
/// 256 m-lines with media and RTX make 512 SSRCs; eight times that leaves room for every m-line to be
/// recycled with new ones during a long call. 128 KiB when full.
const MAX_SSRCS: usize = 4_096;

impl Rollovers {
    /// The index `sequence` is sent under, remembered if it is the newest. An older one
    /// (a retransmission) gets the index it had. `None` when indices or the table are exhausted.
    pub(super) fn index(&mut self, ssrc: u32, sequence: u16) -> Option<u64> {
        let at = match self.find(ssrc) {
            Some(at) if self.slots.get(at)?.newest != EMPTY => at,
            _ => return self.insert(ssrc, sequence),
        };
        let slot = self.slots.get_mut(at)?;
        let index = guess(slot.newest, sequence)?;
        slot.newest = slot.newest.max(index);
        Some(index)
    }

    #[cfg(test)]
    pub(super) fn set_newest(&mut self, ssrc: u32, index: u64) {
        self.index(ssrc, 0);
        let at = self.find(ssrc).unwrap();
        self.slots[at].newest = index;
    }

    /// Where `ssrc` is or belongs. Never more than half full, so there is always an end.
    fn find(&self, ssrc: u32) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = ssrc.wrapping_mul(0x9e37_79b1) as usize & mask;
        loop {
            let slot = self.slots.get(at)?;
            if slot.newest == EMPTY || slot.ssrc == ssrc {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn insert(&mut self, ssrc: u32, sequence: u16) -> Option<u64> {
        if self.used == MAX_SSRCS {
            return None;
        }
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let index = u64::from(sequence);
        debug_assert!(index < INDEX_END);
        let at = self.find(ssrc)?;
        *self.slots.get_mut(at)? = Slot {
            ssrc,
            newest: index,
        };
        self.used += 1;
        Some(index)
    }

    fn grow(&mut self) {
        let empty = Slot {
            ssrc: 0,
            newest: EMPTY,
        };
        let len = (self.slots.len() * 2).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![empty; len]);
        for slot in old.into_iter().filter(|slot| slot.newest != EMPTY) {
            if let Some(to) = self.find(slot.ssrc).and_then(|at| self.slots.get_mut(at)) {
                *to = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_roll_over_and_retransmissions_keep_their_index() {
        let mut rollovers = Rollovers::default();
        assert_eq!(rollovers.index(7, 65_534), Some(65_534));
        assert_eq!(rollovers.index(7, 65_535), Some(65_535));
        assert_eq!(rollovers.index(7, 0), Some(65_536));
        assert_eq!(rollovers.index(7, 65_534), Some(65_534));
        assert_eq!(rollovers.index(7, 1), Some(65_537));
        // An old one does not become the newest: 40,000 would then lie a rollover back.
        assert_eq!(rollovers.index(7, 20_000), Some(85_536));
        assert_eq!(rollovers.index(7, 60_000), Some(60_000));
        assert_eq!(rollovers.index(7, 40_000), Some(105_536));
        assert_eq!(rollovers.index(8, 1), Some(1));
        assert_eq!(rollovers.index(8, 65_535), None);
        rollovers.set_newest(8, INDEX_END - 1);
        assert_eq!(rollovers.index(8, 0), None);
    }

    #[test]
    fn the_table_grows_to_its_bound_and_keeps_everything() {
        let mut rollovers = Rollovers::default();
        for ssrc in 0..MAX_SSRCS as u32 {
            assert_eq!(rollovers.index(ssrc * 16, 65_535), Some(65_535));
        }
        for ssrc in 0..MAX_SSRCS as u32 {
            assert_eq!(rollovers.index(ssrc * 16, 0), Some(65_536));
        }
        assert_eq!(rollovers.index(1, 0), None);
        assert_eq!(rollovers.slots.len(), 2 * MAX_SSRCS);
    }
}
