//! What a whole run measured, second by second.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Histogram;

/// A day: a longer soak keeps its last second growing.
const MAX_SECONDS: usize = 86_400;

/// One second of all bots together.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// RTP packets sent by publishers, without retransmissions.
    pub sent: u64,
    /// RTP packets received.
    pub received: u64,
    /// Their RTP headers and payloads.
    pub bytes: u64,
    /// Gaps that stayed, as of the second they were given up in.
    pub lost: u64,
    /// Forwarding delay of the packets received.
    pub delay: Histogram,
    /// Difference of successive packets' transit times, within each stream (RFC 3550 section 6.4.1,
    /// not smoothed).
    pub jitter: Histogram,
}

impl Second {
    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.delay.merge(&other.delay);
        self.jitter.merge(&other.jitter);
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        (self.sent, self.received, self.bytes, self.lost) = (0, 0, 0, 0);
        self.delay.clear();
        self.jitter.clear();
    }
}

/// The run's seconds. Threads count for themselves and add what they have about once a second.
#[derive(Debug)]
pub struct Measure {
    started: Instant,
    seconds: Mutex<Vec<Second>>,
}

impl Measure {
    /// From now on.
    pub fn start(now: Instant) -> Self {
        Self {
            started: now,
            seconds: Mutex::default(),
        }
    }

    /// Adds what was counted in the second that `at` lies in.
    pub fn add(&self, at: Instant, part: &Second) {
        let second = self.second_of(at);
        let mut seconds = self.seconds();
        if seconds.len() <= second {
            seconds.resize_with(second + 1, Second::default);
        }
        seconds[second].merge(part);
    }

    /// Which second `at` lies in.
    pub fn second_of(&self, at: Instant) -> usize {
        let since = at.saturating_duration_since(self.started);
        usize::try_from(since.as_secs())
            .unwrap_or(usize::MAX)
            .min(MAX_SECONDS - 1)
    }

    /// When a second began.
    pub fn instant_of(&self, second: usize) -> Instant {
        self.started + Duration::from_secs(second as u64)
    }

    /// Every second so far.
    pub fn seconds(&self) -> MutexGuard<'_, Vec<Second>> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_in_a_second_is_added_up() {
        let start = Instant::now();
        let measure = Measure::start(start);
        let mut part = Second {
            received: 3,
            ..Second::default()
        };
        part.delay.record(Duration::from_millis(2));
        measure.add(start + Duration::from_millis(2_300), &part);
        measure.add(start + Duration::from_millis(2_900), &part);
        let seconds = measure.seconds();
        let received: Vec<u64> = seconds.iter().map(|second| second.received).collect();
        assert_eq!(received, [0, 0, 6]);
        assert_eq!(seconds[2].delay.count(), 2);
        part.clear();
        assert_eq!((part.received, part.delay.count()), (0, 0));
    }
}
