//! The pairs of linked workers, and the memory of their rings.

use std::collections::BTreeSet;

use super::{BATCHES, CONTROL, LinkEnd, RingSizes};
use crate::worker::Control;

/// Bytes of all rings of a server together, for any number of workers. The number of pairs grows as its square: 34
/// workers reach this with full rings for each pair.
const RING_BYTES: usize = 64 << 20;
/// Fewest control messages that a ring holds. Where the memory does not suffice for all pairs even so, not all can be
/// linked.
const CONTROL_AT_LEAST: usize = 64;

/// The pairs of workers that are linked. They stay linked: another room will likely span them too.
#[derive(Debug)]
pub(crate) struct LinkTable {
    linked: BTreeSet<(u16, u16)>,
    sizes: RingSizes,
    /// Most pairs.
    most: usize,
    refused: u64,
}

/// Two workers cannot be linked: all memory for rings is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableFull;

impl LinkTable {
    /// A table for so many workers. Rings are as long as the memory allows for all pairs.
    pub(crate) fn for_workers(workers: usize) -> Self {
        let pairs = workers * workers.saturating_sub(1) / 2;
        let batches = BATCHES;
        let control = control_between(RING_BYTES / pairs.max(1), batches);
        let sizes = RingSizes {
            batches,
            control: control.clamp(CONTROL_AT_LEAST, CONTROL),
        };
        Self::new(sizes, RING_BYTES / sizes.bytes_of_pair())
    }

    /// A table for rings of these lengths, between so many pairs at most.
    pub(crate) fn new(sizes: RingSizes, most: usize) -> Self {
        Self {
            linked: BTreeSet::new(),
            sizes,
            most,
            refused: 0,
        }
    }

    /// The ends of two workers, in their order; none if they are linked already. Call [`linked`](Self::linked) when
    /// both workers have theirs. Until then another call makes two new ends, which replace the earlier ones.
    pub(crate) fn link(
        &mut self,
        one: u16,
        other: u16,
    ) -> Result<Option<(LinkEnd, LinkEnd)>, TableFull> {
        if self.linked.contains(&pair(one, other)) {
            return Ok(None);
        }
        if self.linked.len() >= self.most {
            self.refused += 1;
            return Err(TableFull);
        }
        Ok(Some(LinkEnd::pair(one, other, self.sizes)))
    }

    /// Records that two workers have their ends.
    pub(crate) fn linked(&mut self, one: u16, other: u16) {
        self.linked.insert(pair(one, other));
    }

    /// Pairs of workers that are linked.
    pub(crate) fn pairs(&self) -> usize {
        self.linked.len()
    }

    /// Times that two workers could not be linked.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

fn pair(one: u16, other: u16) -> (u16, u16) {
    (one.min(other), one.max(other))
}

impl RingSizes {
    /// Bytes that the four rings of two workers take.
    fn bytes_of_pair(self) -> usize {
        2 * (self.control * size_of::<Control>() + self.batches * size_of::<usize>())
    }
}

/// Control messages each way if the rings of a pair take so many bytes.
fn control_between(bytes: usize, batches: usize) -> usize {
    (bytes / 2).saturating_sub(batches * size_of::<usize>()) / size_of::<Control>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rings_together_stay_within_the_budget_for_any_number_of_workers() {
        for workers in (0..40).chain([64, 100, 128, 200, 256, 512, 1_024]) {
            let table = LinkTable::for_workers(workers);
            let sizes = table.sizes;
            let pairs = workers * workers.saturating_sub(1) / 2;
            let bytes = sizes.bytes_of_pair() * pairs.min(table.most);
            assert!(bytes <= RING_BYTES, "{workers} workers: {bytes}");
            assert!((CONTROL_AT_LEAST..=CONTROL).contains(&sizes.control));
            if workers <= 34 {
                assert_eq!((sizes.control, sizes.batches), (CONTROL, BATCHES));
            }
            if workers <= 100 {
                assert!(table.most >= pairs, "{workers} workers can all be linked");
            }
        }
    }

    #[test]
    fn two_workers_are_linked_once_and_the_last_place_is_the_last() {
        let sizes = RingSizes {
            batches: 1,
            control: 1,
        };
        let mut table = LinkTable::new(sizes, 2);
        let (one, other) = table.link(3, 1).unwrap().expect("not linked");
        assert_eq!((one.other, other.other), (1, 3), "each towards the other");
        // One of them never got its end: another pair of ends is made.
        assert!(table.link(1, 3).unwrap().is_some());
        table.linked(3, 1);
        assert!(table.link(1, 3).unwrap().is_none());
        table.linked(1, 2);
        assert!(table.link(2, 3).is_err());
        assert!(table.link(1, 2).unwrap().is_none(), "that one is there");
        assert_eq!((table.pairs(), table.refused()), (2, 1));
    }
}
