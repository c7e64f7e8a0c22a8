//! The rate of received bits, over a sliding window.

use std::time::{Duration, Instant};

/// Complete buckets in the window; the one being filled is not counted.
const BUCKETS: usize = 8;
/// Length of one bucket. Eight are a second: in a shorter window, one with a keyframe and one without would give the
/// same layer two different rates.
const BUCKET: Duration = Duration::from_millis(125);

/// A rate over the last second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateMeter {
    /// Bytes, the current bucket among them.
    buckets: [u32; BUCKETS + 1],
    current: u8,
    /// The time at which the current bucket ends.
    until: Option<Instant>,
    /// Complete buckets since the first packet, or since the last silence; at most [`BUCKETS`].
    filled: u8,
    /// The rate before the silence.
    last: u64,
}

impl RateMeter {
    /// Counts bytes.
    pub(crate) fn add(&mut self, now: Instant, bytes: usize) {
        if self.until.is_none_or(|until| now >= until) {
            self.turn(now);
        }
        let bucket = &mut self.buckets[usize::from(self.current)];
        *bucket = bucket.saturating_add(bytes as u32);
    }

    fn turn(&mut self, now: Instant) {
        let until = *self.until.get_or_insert(now + BUCKET);
        if now < until {
            return;
        }
        let late = now.saturating_duration_since(until);
        let passed = (late.as_millis() / BUCKET.as_millis()) as usize + 1;
        if passed > BUCKETS {
            // A rate measured over less than a window is not trusted.
            let full = usize::from(self.filled) == BUCKETS;
            *self = Self {
                until: Some(now + BUCKET),
                last: if full { self.rate() } else { self.last },
                ..Self::default()
            };
            return;
        }
        for _ in 0..passed {
            self.current = (self.current + 1) % self.buckets.len() as u8;
            self.buckets[usize::from(self.current)] = 0;
        }
        self.filled = (usize::from(self.filled) + passed).min(BUCKETS) as u8;
        self.until = Some(until + BUCKET * passed as u32);
    }

    /// Bits a second over the complete buckets. While they are fewer than a window, the rate before the silence counts:
    /// an encoder restarts with a keyframe, and then sends less than its usual rate for a while.
    fn rate(&self) -> u64 {
        if self.filled == 0 {
            return self.last;
        }
        let bytes = self.buckets.iter().map(|bytes| u64::from(*bytes));
        let complete = bytes.sum::<u64>() - u64::from(self.buckets[usize::from(self.current)]);
        let rate = complete * 8 * 1_000 / (u64::from(self.filled) * BUCKET.as_millis() as u64);
        if usize::from(self.filled) < BUCKETS && self.last > 0 {
            return self.last;
        }
        rate
    }

    /// Whether the rate is of a whole window, or of the time before a silence.
    pub(crate) fn is_known(&self) -> bool {
        usize::from(self.filled) == BUCKETS || self.last > 0
    }

    /// Whether no bytes came for a second.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        let window = BUCKET * BUCKETS as u32;
        self.until.is_none_or(|until| now >= until + window)
    }

    /// Bits a second in the last second, for people: 0 during a silence.
    pub(crate) fn measured(&self, now: Instant) -> u64 {
        match self.is_silent(now) {
            true => 0,
            false => self.bitrate(now),
        }
    }

    /// Bits a second lately. During a silence, and for a second after it, at least the rate before it: a layer that was
    /// switched off must not seem smaller than it is, or it would be granted to a link that cannot carry it.
    pub(crate) fn bitrate(&self, now: Instant) -> u64 {
        let Some(until) = self.until.filter(|until| now >= *until) else {
            return self.rate();
        };
        let full = usize::from(self.filled) == BUCKETS;
        let mut turned = *self;
        turned.turn(if full { until } else { now });
        turned.rate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_rate_of_the_last_second_and_remembers_it_over_a_silence() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = RateMeter::default();
        assert_eq!(meter.bitrate(at(0)), 0);
        for ms in (0..3_000).step_by(10) {
            meter.add(at(ms), 125);
        }
        let rate = meter.bitrate(at(3_000));
        assert!((95_000..=105_000).contains(&rate), "{rate}");
        for ms in (3_000..5_000).step_by(10) {
            meter.add(at(ms), 1_250);
        }
        let rate = meter.bitrate(at(5_000));
        assert!((950_000..=1_050_000).contains(&rate), "{rate}");
        for ms in 5_000..7_000 {
            let silent = meter.bitrate(at(ms));
            assert!((950_000..=1_050_000).contains(&silent), "{ms}: {silent}");
        }
        // People are told of the silence.
        assert!(meter.measured(at(5_500)) > 0);
        assert_eq!(meter.measured(at(6_125)), 0);
        let later = meter.bitrate(at(60_000));
        assert!((950_000..=1_050_000).contains(&later), "{later}");
        for ms in (60_000..63_000).step_by(10) {
            meter.add(at(ms), 125);
            let rate = meter.bitrate(at(ms));
            if ms < 61_000 {
                assert_eq!(rate, later, "{ms}: too soon to tell");
            } else if ms > 61_125 {
                assert!((95_000..=105_000).contains(&rate), "{ms}: {rate}");
            }
        }
    }

    #[test]
    fn slow_pictures_are_no_silence() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for pause in [40, 100, 200, 500] {
            let mut meter = RateMeter::default();
            for ms in 0..10_000_u64 {
                if ms % pause == 0 {
                    meter.add(at(ms), pause as usize * 125);
                }
                // A window may hold one picture more or less.
                let rate = meter.bitrate(at(ms));
                let right = (1_000 - pause) * 1_000..=(1_000 + pause) * 1_000;
                let is_early = ms < 1_250;
                assert!(is_early || right.contains(&rate), "{pause}, {ms}: {rate}");
            }
        }
        // A single picture gives a low rate, however large it was.
        let mut meter = RateMeter::default();
        meter.add(at(0), 30_000);
        assert!(meter.bitrate(at(1_100)) <= 240_000);
    }
}
