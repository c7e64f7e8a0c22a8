//! The schedule of peers. A peer has one deadline, which is updated only after the peer was touched.

use std::time::Instant;

use crate::index::PeerIx;

const NONE: usize = usize::MAX;

/// The deadlines of all peers: a binary heap that knows each peer's place, so that a deadline is moved in place. It
/// allocates only when it holds more peers than ever before.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The earliest first; ties by peer, so that a run can be repeated.
    heap: Vec<(Instant, PeerIx)>,
    /// By peer: its index in the heap.
    places: Vec<usize>,
    touched: Vec<PeerIx>,
}

impl Schedule {
    /// Records that a peer's state changed: its deadline is to be asked for again.
    pub(super) fn touch(&mut self, peer: PeerIx) {
        if self.touched.last() != Some(&peer) {
            self.touched.push(peer);
        }
    }

    /// The peers touched since the last call, each once. Give the list back when done, so that it is reused.
    pub(super) fn take_touched(&mut self) -> Vec<PeerIx> {
        self.touched.sort_unstable();
        self.touched.dedup();
        std::mem::take(&mut self.touched)
    }

    /// Takes back an emptied list.
    pub(super) fn give_back(&mut self, mut list: Vec<PeerIx>) {
        list.clear();
        if self.touched.is_empty() {
            self.touched = list;
        }
    }

    /// Sets a peer's deadline.
    pub(super) fn set(&mut self, peer: PeerIx, deadline: Option<Instant>) {
        let by_peer = usize::from(peer);
        let place = self.places.get(by_peer).copied().filter(|at| *at != NONE);
        match (place, deadline) {
            (None, None) => {}
            (Some(at), Some(deadline)) => {
                if self.heap[at].0 != deadline {
                    self.heap[at].0 = deadline;
                    self.settle(at);
                }
            }
            (None, Some(deadline)) => {
                if by_peer >= self.places.len() {
                    self.places.resize(by_peer + 1, NONE);
                }
                self.heap.push((deadline, peer));
                self.settle(self.heap.len() - 1);
            }
            (Some(at), None) => {
                self.heap.swap_remove(at);
                self.places[by_peer] = NONE;
                if at < self.heap.len() {
                    self.settle(at);
                }
            }
        }
    }

    /// Moves an entry to its place.
    fn settle(&mut self, mut at: usize) {
        while at > 0 && self.heap[at] < self.heap[(at - 1) / 2] {
            self.exchange(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        loop {
            let children = (2 * at + 1)..self.heap.len().min(2 * at + 3);
            let Some(child) = children.min_by_key(|child| self.heap[*child]) else {
                break;
            };
            if self.heap[at] < self.heap[child] {
                break;
            }
            self.exchange(at, child);
            at = child;
        }
        self.places[usize::from(self.heap[at].1)] = at;
    }

    /// Swaps two entries; the caller notes the first one's new place.
    fn exchange(&mut self, moving: usize, with: usize) {
        self.heap.swap(moving, with);
        self.places[usize::from(self.heap[moving].1)] = moving;
    }

    /// A peer that is due; this touches it.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<PeerIx> {
        let (at, peer) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.set(peer, None);
        self.touch(peer);
        Some(peer)
    }

    /// Peers with a deadline.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn peers_come_due_in_order_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::default();
        schedule.set(1.into(), Some(at(30)));
        schedule.set(2.into(), Some(at(10)));
        schedule.set(1.into(), Some(at(20)));
        assert_eq!(schedule.next(), Some(at(10)));
        assert_eq!(schedule.take_due(at(9)), None);
        assert_eq!(schedule.take_due(at(25)), Some(2.into()));
        assert_eq!(schedule.take_due(at(25)), Some(1.into()));
        assert_eq!((schedule.take_due(at(25)), schedule.next()), (None, None));
        assert_eq!(schedule.take_touched(), vec![1.into(), 2.into()]);
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_set(
            steps in prop::collection::vec((0usize..12, prop::option::of(0u64..40), any::<bool>()), 1..200),
        ) {
            let start = Instant::now();
            let mut schedule = Schedule::default();
            let mut model: BTreeSet<(Instant, PeerIx)> = BTreeSet::new();
            for (peer, deadline, take) in steps {
                let peer = PeerIx::from(peer);
                let deadline = deadline.map(|ms| start + Duration::from_millis(ms));
                schedule.set(peer, deadline);
                model.retain(|(_, other)| *other != peer);
                model.extend(deadline.map(|deadline| (deadline, peer)));
                if take {
                    let now = start + Duration::from_millis(20);
                    let due = model.first().copied().filter(|(at, _)| *at <= now);
                    prop_assert_eq!(schedule.take_due(now), due.map(|(_, peer)| peer));
                    due.map(|due| model.remove(&due));
                }
                prop_assert_eq!(schedule.next(), model.first().map(|(at, _)| *at));
                prop_assert_eq!(schedule.len(), model.len());
            }
        }
    }
}
