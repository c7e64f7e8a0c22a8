//! The newest index of every SSRC we send.

use super::index::{INDEX_END, guess};
use crate::prefetch;

/// Newest index by SSRC, open addressing. Only our own SSRCs enter, and none ever leaves: sending an
/// SSRC again from rollover zero would repeat nonces, which breaks AES-GCM.
pub(super) struct Rollovers {
    /// The slot of the SSRC sent last, near at hand: packets come in runs of one SSRC. Its entry in the table is
    /// updated when another SSRC comes.
    latest: Slot,
    slots: Vec<Slot>,
    used: usize,
}

impl Default for Rollovers {
    fn default() -> Self {
        Self {
            latest: Slot {
                ssrc: 0,
                newest: EMPTY,
            },
            slots: Vec::new(),
            used: 0,
        }
    }
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
    /// Asks for some of the memory that numbering needs.
    pub(super) fn prefetch(&self, ssrc: u32) {
        if self.latest.ssrc == ssrc {
            return;
        }
        let at = home(ssrc) & self.slots.len().wrapping_sub(1);
        if let Some(slot) = self.slots.get(at) {
            prefetch::line(slot);
        }
    }

    /// The index `sequence` is sent under, remembered if it is the newest. An older one
    /// (a retransmission) gets the index it had. `None` when indices or the table are exhausted.
    pub(super) fn index(&mut self, ssrc: u32, sequence: u16) -> Option<u64> {
        if self.latest.ssrc != ssrc || self.latest.newest == EMPTY {
            self.put_back();
            self.latest = match self.find(ssrc).and_then(|at| self.slots.get(at)) {
                Some(slot) if slot.newest != EMPTY => *slot,
                _ => self.insert(ssrc, sequence)?,
            };
        }
        let index = guess(self.latest.newest, sequence)?;
        self.latest.newest = self.latest.newest.max(index);
        Some(index)
    }

    fn put_back(&mut self) {
        let latest = self.latest;
        let at = self.find(latest.ssrc).filter(|_| latest.newest != EMPTY);
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            *slot = latest;
        }
    }

    #[cfg(test)]
    pub(super) fn set_newest(&mut self, ssrc: u32, index: u64) {
        self.index(ssrc, 0);
        self.latest.newest = index;
    }

    /// The place where `ssrc` is or belongs. The table is never more than half full, so that the search ends.
    fn find(&self, ssrc: u32) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = home(ssrc) & mask;
        loop {
            let slot = self.slots.get(at)?;
            if slot.newest == EMPTY || slot.ssrc == ssrc {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn insert(&mut self, ssrc: u32, sequence: u16) -> Option<Slot> {
        if self.used == MAX_SSRCS {
            return None;
        }
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let newest = u64::from(sequence);
        debug_assert!(newest < INDEX_END);
        let at = self.find(ssrc)?;
        let slot = Slot { ssrc, newest };
        *self.slots.get_mut(at)? = slot;
        self.used += 1;
        Some(slot)
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

fn home(ssrc: u32) -> usize {
    ssrc.wrapping_mul(0x9e37_79b1) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        /// Whichever SSRCs take turns, each goes on from its own newest: an index given twice to
        /// different packets would give the key away.
        #[test]
        fn every_ssrc_goes_on_from_its_own(sent in proptest::collection::vec((0_u32..40, 0_u16..20_000), 1..400)) {
            let mut rollovers = Rollovers::default();
            let mut newest = std::collections::HashMap::<u32, u64>::new();
            for (ssrc, step) in sent {
                let index = newest.get(&ssrc).map_or(0, |newest| *newest) + u64::from(step);
                prop_assert_eq!(rollovers.index(ssrc, index as u16), Some(index));
                newest.insert(ssrc, index);
            }
        }
    }
}
