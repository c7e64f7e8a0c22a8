//! Bounds the rate of one publisher, all its tracks together, as a narrow link would. Packets beyond it are dropped and
//! reported as lost (transport-wide feedback, receiver reports), so that an honest sender slows down.

use std::time::{Duration, Instant};

/// Burst allowed at once, as time at the full rate: keyframes of several cameras are a few megabits, after a pause.
const BURST: Duration = Duration::from_millis(500);
/// The share of the burst that only audio may use: the last eighth.
const SOUND: i64 = 8;

/// A bucket of the bits that may still come.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bits a second; 0: no bound.
    rate: u64,
    /// Bits left, in millionths, so that a rate times microseconds is exact.
    left: i64,
    filled_at: Instant,
    refused: u64,
}

impl Throttle {
    pub(super) fn new(now: Instant, rate: u64) -> Self {
        let mut throttle = Self {
            rate: rate.min(i64::MAX as u64 / 1_000_000_000),
            left: 0,
            filled_at: now,
            refused: 0,
        };
        throttle.left = throttle.most();
        throttle
    }

    /// Whether so many bytes may pass, audio or not.
    pub(super) fn admits(
        &mut self,
        now: Instant,
        bytes: usize,
        is_sound: impl FnOnce() -> bool,
    ) -> bool {
        if self.rate == 0 {
            return true;
        }
        let passed = now.saturating_duration_since(self.filled_at);
        self.filled_at = self.filled_at.max(now);
        // The bucket holds no more than the burst.
        let passed = passed.min(BURST).as_micros() as i64;
        self.left = (self.left + self.rate as i64 * passed).min(self.most());
        let cost = bytes as i64 * 8 * 1_000_000;
        let kept = self.most() / SOUND;
        let admits = self.left >= cost && (self.left - cost >= kept || is_sound());
        if admits {
            self.left -= cost;
        } else {
            self.refused += 1;
        }
        admits
    }

    /// Packets refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn most(&self) -> i64 {
        self.rate as i64 * BURST.as_micros() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits that pass in ten seconds, of a packet of `bytes` each `each_ms` milliseconds.
    fn passed(rate: u64, each_ms: u64, bytes: usize, sound: bool) -> u64 {
        let start = Instant::now();
        let mut throttle = Throttle::new(start, rate);
        let mut bits = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            for _ in 0..each_ms {
                bits += u64::from(throttle.admits(now, bytes, || sound)) * bytes as u64 * 8;
            }
        }
        bits
    }

    #[test]
    fn what_passes_is_the_rate_and_a_burst() {
        for (rate, each_ms, least, most) in [
            (0, 10, 960_000_000, 960_000_000),
            (40_000_000, 1, 96_000_000, 96_000_000),
            (40_000_000, 10, 400_000_000, 420_000_000),
            (1_000_000, 10, 10_000_000, 10_500_000),
        ] {
            let bits = passed(rate, each_ms, 1_200, false);
            assert!((least..=most).contains(&bits), "{rate}, {each_ms}: {bits}");
        }
    }

    #[test]
    fn sound_passes_where_pictures_do_not() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start, 10_000_000);
        let (mut heard, mut said) = (0, 0);
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            for _ in 0..10 {
                throttle.admits(now, 1_200, || false);
            }
            if ms % 20 == 0 {
                said += 1;
                heard += u32::from(throttle.admits(now, 120, || true));
            }
        }
        assert_eq!(heard, said);
        assert!(throttle.refused() > 80_000);
    }
}
