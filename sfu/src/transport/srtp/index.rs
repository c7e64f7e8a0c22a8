//! Packet indices: the 48-bit extension of the sequence number, and which of them were seen.

/// Indices end here (RFC 3711 section 9.2): 2^48 packets on one key.
pub(super) const INDEX_END: u64 = 1 << 48;

/// The index a sequence number stands for, given the newest index (RFC 3711 appendix A).
/// `None` if that would lie before the first packet or after the last.
pub(super) fn guess(newest: u64, sequence: u16) -> Option<u64> {
    const HALF: u64 = 1 << 15;
    let (rollover, last, sequence) = (newest >> 16, newest & 0xffff, u64::from(sequence));
    let rollover = if last < HALF {
        if sequence > last + HALF {
            rollover.checked_sub(1)?
        } else {
            rollover
        }
    } else if last - HALF > sequence {
        rollover + 1
    } else {
        rollover
    };
    let index = (rollover << 16) | sequence;
    (index < INDEX_END).then_some(index)
}

/// The newest indices that were received (RFC 3711 section 3.3.2), as a ring of words (RFC 6479):
/// moving forward clears words instead of shifting all of them.
pub(super) struct ReplayWindow<const WORDS: usize> {
    newest: u64,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// Indices covered: one word less than there are, as the newest one lies only partly behind
    /// `newest`.
    pub(super) const SIZE: u64 = (WORDS as u64 - 1) * 64;

    /// A window whose first packet is `index`.
    pub(super) fn starting_at(index: u64) -> Self {
        let mut window = Self {
            newest: index,
            seen: [0; WORDS],
        };
        window.accept(index);
        window
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether `index` is new. Changes nothing: the packet is not authenticated yet.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        if index > self.newest {
            return true;
        }
        self.newest - index < Self::SIZE
            && self
                .seen
                .get(Self::word(index))
                .is_some_and(|word| word & Self::bit(index) == 0)
    }

    /// Remembers an authenticated, fresh index.
    pub(super) fn accept(&mut self, index: u64) {
        if index > self.newest {
            let skipped = (index / 64 - self.newest / 64).min(WORDS as u64);
            for back in 0..skipped {
                if let Some(word) = self.seen.get_mut(Self::word(index - back * 64)) {
                    *word = 0;
                }
            }
            self.newest = index;
        }
        if let Some(word) = self.seen.get_mut(Self::word(index)) {
            *word |= Self::bit(index);
        }
    }

    fn word(index: u64) -> usize {
        ((index / 64) % WORDS as u64) as usize
    }

    fn bit(index: u64) -> u64 {
        1 << (index % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn guesses_follow_appendix_a() {
        for (newest, sequence, index) in [
            (0, 0, Some(0)),
            (5, 4, Some(4)),
            (5, 65_535, None),
            (32_767, 65_535, Some(65_535)),
            (65_535, 0, Some(65_536)),
            (65_535, 32_767, Some(32_767)),
            (65_535, 32_766, Some(98_302)),
            (65_536, 65_535, Some(65_535)),
            (65_536 + 32_768, 0, Some(65_536)),
            (65_536 + 32_769, 0, Some(131_072)),
            (INDEX_END - 1, 65_534, Some(INDEX_END - 2)),
            (INDEX_END - 1, 0, None),
        ] {
            assert_eq!(guess(newest, sequence), index, "{newest} {sequence}");
        }
    }

    proptest! {
        /// Any index within 2^15 of the newest is recovered from its lower 16 bits.
        #[test]
        fn guess_recovers_nearby_indices(newest in 40_000_u64..INDEX_END - 40_000, step in -32_767_i64..=32_767) {
            let index = newest.wrapping_add_signed(step);
            prop_assert_eq!(guess(newest, index as u16), Some(index));
        }

        /// Against a set of everything seen.
        #[test]
        fn window_agrees_with_a_set(start in 0_u64..5_000, steps in proptest::collection::vec(-400_i64..400, 1..400)) {
            let mut window = ReplayWindow::<4>::starting_at(start);
            let mut seen = BTreeSet::from([start]);
            for step in steps {
                let index = window.newest().saturating_add_signed(step);
                let newest = *seen.last().unwrap();
                let fresh = !seen.contains(&index) && (index > newest || newest - index < ReplayWindow::<4>::SIZE);
                prop_assert_eq!(window.is_fresh(index), fresh);
                if fresh {
                    window.accept(index);
                    seen.insert(index);
                }
            }
        }
    }
}
