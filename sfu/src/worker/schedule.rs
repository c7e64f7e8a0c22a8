//! When each peer is due. A peer has one deadline; it is looked at again only when touched.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// The deadlines of all peers.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    queue: BTreeSet<(Instant, usize)>,
    deadlines: HashMap<usize, Instant>,
    touched: Vec<usize>,
}

impl Schedule {
    /// Something happened to a peer: its deadline is to be asked for again.
    pub(super) fn touch(&mut self, peer: usize) {
        if self.touched.last() != Some(&peer) {
            self.touched.push(peer);
        }
    }

    /// The peers touched since the last call, each once. Give the list back when done: it is reused.
    pub(super) fn take_touched(&mut self) -> Vec<usize> {
        self.touched.sort_unstable();
        self.touched.dedup();
        std::mem::take(&mut self.touched)
    }

    /// Takes back an emptied list.
    pub(super) fn give_back(&mut self, mut list: Vec<usize>) {
        list.clear();
        if self.touched.is_empty() {
            self.touched = list;
        }
    }

    /// Sets a peer's deadline.
    pub(super) fn set(&mut self, peer: usize, deadline: Option<Instant>) {
        if self.deadlines.get(&peer).copied() == deadline {
            return;
        }
        if let Some(before) = self.deadlines.remove(&peer) {
            self.queue.remove(&(before, peer));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert(peer, deadline);
            self.queue.insert((deadline, peer));
        }
    }

    /// A peer that is due; it is touched by that.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (at, peer) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.set(peer, None);
        self.touch(peer);
        Some(peer)
    }

    /// Entries in all tables.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.deadlines.len()
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn peers_come_due_in_order_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::default();
        schedule.set(1, Some(at(30)));
        schedule.set(2, Some(at(10)));
        schedule.set(1, Some(at(20)));
        assert_eq!(schedule.next(), Some(at(10)));
        assert_eq!(schedule.take_due(at(9)), None);
        assert_eq!(schedule.take_due(at(25)), Some(2));
        assert_eq!(schedule.take_due(at(25)), Some(1));
        assert_eq!((schedule.take_due(at(25)), schedule.next()), (None, None));
        assert_eq!(schedule.take_touched(), vec![1, 2]);
    }
}
