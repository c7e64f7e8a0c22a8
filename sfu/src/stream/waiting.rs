//! The time that the bytes in a ring have waited for their connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The moments at which bytes were put into a ring.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// All bytes ever put in.
    put: u64,
    /// Moments, each with the bytes put in before it, the oldest first.
    marks: VecDeque<(Instant, u64)>,
    /// Two moments, [`WINDOW`] apart at least, each with the bytes taken before it, the later first.
    taken: [Option<(Instant, u64)>; 2],
}

/// Moments that are told apart: the age is known to this.
const APART: Duration = Duration::from_millis(5);
/// Moments kept: those of the last third of a second. Where older bytes wait, newer ones count as old as the last moment,
/// which is long enough ago for any use of it.
const MARKS: usize = 64;

/// Time over which the rate is taken, at least; at most about twice as long.
const WINDOW: Duration = Duration::from_millis(100);

impl Waiting {
    /// Records that nothing waits, so that the rate until now is that of the sender.
    pub(super) fn begin_anew(&mut self) {
        self.marks.clear();
        self.taken = [None; 2];
    }

    /// Records bytes that were put in.
    pub(super) fn put(&mut self, now: Instant, bytes: usize) {
        let is_apart = self.marks.back().is_none_or(|(at, _)| now >= *at + APART);
        if is_apart && self.marks.len() < MARKS {
            self.marks.push_back((now, self.put));
        }
        self.put += bytes as u64;
    }

    /// Bits a second that the connection took lately, if so many bytes wait for it now. None: it is not known yet.
    pub(super) fn rate(&mut self, now: Instant, bytes: usize) -> Option<u64> {
        let taken = self.put.saturating_sub(bytes as u64);
        let is_apart = |(at, _): (Instant, u64)| now >= at + WINDOW;
        if self.taken[0].is_none_or(is_apart) {
            self.taken = [Some((now, taken)), self.taken[0]];
        }
        let (at, before) = self.taken[1].filter(|then| is_apart(*then))?;
        let passed = now.saturating_duration_since(at).as_micros().max(1) as u64;
        Some((taken - before) * 8 * 1_000_000 / passed)
    }

    /// The time that the oldest byte has waited, if so many still do. It is at most [`APART`] too long.
    pub(super) fn longest(&mut self, now: Instant, bytes: usize) -> Duration {
        let taken = self.put.saturating_sub(bytes as u64);
        if bytes == 0 {
            self.marks.clear();
            return Duration::ZERO;
        }
        // The byte after those taken came with the last mark that is not behind it.
        while self
            .marks
            .get(1)
            .is_some_and(|(_, before)| *before <= taken)
        {
            self.marks.pop_front();
        }
        let oldest = self.marks.front();
        oldest.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_oldest_byte_is_known_to_a_few_milliseconds(
            steps in prop::collection::vec((0u64..40, 0usize..3_000, 0usize..3_000), 1..300),
        ) {
            let start = Instant::now();
            let (mut now, mut waiting) = (start, Waiting::default());
            let mut bytes: VecDeque<(Instant, usize)> = VecDeque::new();
            for (passed, put, mut taken) in steps {
                now += Duration::from_millis(passed);
                if put > 0 {
                    waiting.put(now, put);
                    bytes.push_back((now, put));
                }
                while let Some((_, len)) = bytes.front_mut() {
                    let part = taken.min(*len);
                    (taken, *len) = (taken - part, *len - part);
                    if *len > 0 {
                        break;
                    }
                    bytes.pop_front();
                }
                let left = bytes.iter().map(|(_, len)| len).sum();
                let longest = waiting.longest(now, left);
                let exact = bytes.front().map_or(Duration::ZERO, |(at, _)| now - *at);
                // Beyond the marks it is only known to be long.
                let is_long = longest > APART * (MARKS as u32 - 1) && exact > Duration::from_millis(100);
                let is_near = longest >= exact && longest <= exact + APART;
                prop_assert!(is_near || is_long, "{longest:?} for {exact:?}");
                prop_assert!(waiting.marks.len() <= MARKS);
            }
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_tenths_of_a_second() {
        let start = Instant::now();
        let (mut waiting, mut bytes) = (Waiting::default(), 0);
        // A second in which nothing is sent does not count.
        waiting.put(start, 1_000);
        assert_eq!(waiting.rate(start, 0), None);
        waiting.begin_anew();
        let start = start + Duration::from_secs(1) - Duration::from_millis(10);
        for (rate, turns) in [(0, 30), (1_000, 100), (50, 100)] {
            for _ in 0..turns {
                let now = start + Duration::from_millis(waiting.put / 100);
                waiting.put(now, 1_000);
                bytes += 1_000 - rate;
                let seen = waiting.rate(now, bytes);
                if waiting.put <= 10_000 {
                    assert_eq!(seen, None);
                }
            }
            let now = start + Duration::from_millis(waiting.put / 100);
            let seen = waiting.rate(now, bytes).unwrap();
            // So many bytes each 10 ms.
            let expected = rate as u64 * 800;
            assert!(
                seen.abs_diff(expected) <= 400 + expected / 10,
                "{seen} for {expected}"
            );
        }
    }

    #[test]
    fn one_that_never_waits_is_young() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        for turn in 0..1_000 {
            let now = start + Duration::from_millis(20 * turn);
            waiting.put(now, 900);
            assert_eq!(waiting.longest(now, 900), Duration::ZERO);
            assert_eq!(waiting.longest(now, 0), Duration::ZERO);
        }
    }
}
