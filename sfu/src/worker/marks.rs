//! The tracks whose wanted layers are to be updated.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::index::TrackIx;

/// The tracks to be updated: marked ones at the end of the turn, others when they are due.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marked: Vec<TrackIx>,
    due: BTreeSet<(Instant, TrackIx)>,
    due_of: HashMap<TrackIx, Instant>,
}

impl Marks {
    /// Marks a track.
    pub(super) fn mark(&mut self, at: TrackIx) {
        if self.marked.last() != Some(&at) {
            self.marked.push(at);
        }
    }

    /// Sets the time at which a track is due though nothing marks it.
    pub(super) fn set_due(&mut self, at: TrackIx, due: Option<Instant>) {
        let before = match due {
            Some(due) => self.due_of.insert(at, due),
            None => self.due_of.remove(&at),
        };
        if before != due {
            self.due.extend(due.map(|due| (due, at)));
            if let Some(before) = before {
                self.due.remove(&(before, at));
            }
        }
    }

    /// The time to update a track that nothing marked.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Whether no track is to be updated now.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.marked.is_empty() && self.poll_timeout().is_none_or(|at| at > now)
    }

    /// The tracks that are marked or due, each once.
    pub(super) fn take(&mut self, now: Instant) -> Vec<TrackIx> {
        while let Some((due, at)) = self.due.first().copied()
            && due <= now
        {
            self.set_due(at, None);
            self.marked.push(at);
        }
        let mut marked = std::mem::take(&mut self.marked);
        marked.sort_unstable();
        marked.dedup();
        marked
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_track_is_taken_once_when_it_is_marked_or_due() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut marks = Marks::default();
        assert!(marks.is_idle(start));
        for track in [4, 1, 4, 4] {
            marks.mark(TrackIx::from(track));
        }
        marks.set_due(2.into(), Some(at(20)));
        marks.set_due(1.into(), Some(at(10)));
        marks.set_due(3.into(), Some(at(10)));
        marks.set_due(3.into(), Some(at(30)));
        assert!(!marks.is_idle(start));
        assert_eq!(marks.take(at(10)), vec![1.into(), 4.into()]);
        assert!(marks.is_idle(at(19)) && !marks.is_idle(at(20)));
        assert_eq!(marks.poll_timeout(), Some(at(20)));
        marks.set_due(2.into(), None);
        assert_eq!(marks.take(at(60)), vec![3.into()]);
        assert_eq!((marks.poll_timeout(), marks.is_idle(at(99))), (None, true));
        assert!(marks.take(at(99)).is_empty());
    }
}
