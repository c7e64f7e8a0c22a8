//! The pairs of workers that have a pipe, and the memory of their rings.

use std::collections::BTreeSet;

use crate::index::WorkerIx;
use crate::pipe::RingSizes;

/// Bytes of all rings of a server together, for any number of workers. The number of pairs grows as its square: 34
/// workers reach this with the longest rings for each pair.
const RING_BYTES: usize = 64 << 20;

/// The pairs of workers that have a pipe. They keep it: another room will likely span them too.
#[derive(Debug)]
pub(crate) struct PipeTable {
    laid: BTreeSet<(WorkerIx, WorkerIx)>,
    sizes: RingSizes,
    /// Most pairs.
    most: usize,
    refused: u64,
}

/// Two workers cannot have a pipe: all memory for rings is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableFull;

impl PipeTable {
    /// A table for so many workers. Rings are as long as the memory allows for all pairs. Where even the shortest rings
    /// are too much, not all pairs can have them.
    pub(crate) fn for_workers(workers: usize) -> Self {
        let pairs = workers * workers.saturating_sub(1) / 2;
        let sizes = RingSizes::within(RING_BYTES / pairs.max(1));
        Self::new(sizes, RING_BYTES / sizes.bytes())
    }

    /// A table for rings of these lengths, between so many pairs at most.
    pub(crate) fn new(sizes: RingSizes, most: usize) -> Self {
        Self {
            laid: BTreeSet::new(),
            sizes,
            most,
            refused: 0,
        }
    }

    /// The lengths of the rings of a new pipe between two workers; none if they have one. Call [`laid`](Self::laid) when
    /// both workers have their ends. Until then another call asks for a new pipe, which replaces the earlier one.
    pub(crate) fn plan(
        &mut self,
        one: WorkerIx,
        other: WorkerIx,
    ) -> Result<Option<RingSizes>, TableFull> {
        if self.laid.contains(&pair(one, other)) {
            return Ok(None);
        }
        if self.laid.len() >= self.most {
            self.refused += 1;
            return Err(TableFull);
        }
        Ok(Some(self.sizes))
    }

    /// Records that two workers have a pipe.
    pub(crate) fn laid(&mut self, one: WorkerIx, other: WorkerIx) {
        self.laid.insert(pair(one, other));
    }

    /// Pairs of workers that have a pipe.
    pub(crate) fn pairs(&self) -> usize {
        self.laid.len()
    }

    /// Times that two workers could not have one.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

fn pair(one: WorkerIx, other: WorkerIx) -> (WorkerIx, WorkerIx) {
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rings_together_stay_within_the_budget_for_any_number_of_workers() {
        for workers in (0..40).chain([64, 100, 128, 200, 256, 512, 1_024]) {
            let table = PipeTable::for_workers(workers);
            let sizes = table.sizes;
            let pairs = workers * workers.saturating_sub(1) / 2;
            let bytes = sizes.bytes() * pairs.min(table.most);
            assert!(bytes <= RING_BYTES, "{workers} workers: {bytes}");
            let lengths = RingSizes::SHORTEST.control..=RingSizes::LONGEST.control;
            assert!(lengths.contains(&sizes.control));
            if workers <= 34 {
                assert_eq!(sizes, RingSizes::LONGEST);
            }
            if workers <= 100 {
                assert!(table.most >= pairs, "{workers} workers can all have pipes");
            }
        }
    }

    #[test]
    fn two_workers_have_one_pipe_and_the_last_place_is_the_last() {
        let sizes = RingSizes {
            batches: 1,
            control: 1,
        };
        let mut table = PipeTable::new(sizes, 2);
        let [one, two, three] = [1, 2, 3].map(WorkerIx::from);
        assert_eq!(table.plan(three, one), Ok(Some(sizes)));
        // One of them never got its end: another pipe is laid.
        assert_eq!(table.plan(one, three), Ok(Some(sizes)));
        table.laid(three, one);
        assert_eq!(table.plan(one, three), Ok(None));
        table.laid(one, two);
        assert_eq!(table.plan(two, three), Err(TableFull));
        assert_eq!(table.plan(one, two), Ok(None), "that one is there");
        assert_eq!((table.pairs(), table.refused()), (2, 1));
    }
}
