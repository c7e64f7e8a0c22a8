//! The timers of a thread's bots.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// One time for each bot, the earliest first. Changing a time leaves the old entry behind, which is
/// skipped when it comes up.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Indexed by bot.
    wanted: Vec<Option<Instant>>,
}

impl Timers {
    /// Calls `bot` at `at` and at no other time.
    pub(super) fn set(&mut self, bot: usize, at: Option<Instant>) {
        if self.wanted.len() <= bot {
            self.wanted.resize(bot + 1, None);
        }
        if self.wanted[bot] == at {
            return;
        }
        self.wanted[bot] = at;
        if let Some(at) = at {
            self.heap.push(Reverse((at, bot)));
        }
    }

    /// The next time anybody wants.
    pub(super) fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, bot))) = self.heap.peek() {
            if self.wanted[*bot] == Some(*at) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    /// A bot whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, bot)) = self.heap.pop()?;
        self.wanted[bot] = None;
        Some(bot)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_last_time_set_counts() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timers = Timers::default();
        timers.set(2, Some(at(10)));
        timers.set(0, Some(at(20)));
        timers.set(2, Some(at(30)));
        timers.set(1, Some(at(25)));
        timers.set(1, None);
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.pop(at(19)), None);
        assert_eq!(timers.pop(at(100)), Some(0));
        assert_eq!(timers.pop(at(100)), Some(2));
        assert_eq!((timers.pop(at(100)), timers.next()), (None, None));
    }
}
