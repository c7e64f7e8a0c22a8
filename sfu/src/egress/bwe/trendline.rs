//! The trend of delay (libwebrtc's `TrendlineEstimator`, draft-ietf-rmcat-gcc-02 section 5).
//!
//! A line is fitted through the last groups' delays and compared to an adaptive threshold, so that a flow that fills
//! the queue does not starve this one. It differs from libwebrtc in the groups: a group is the packets sent within 20
//! ms, and its delay is that of the packet delayed least, not of the last. So neither jitter nor the length of a burst
//! looks like a queue.

/// Groups the line is fitted through.
const WINDOW: usize = 20;
/// Time within which packets sent are one group, in microseconds.
const GROUP_US: i64 = 20_000;
const GAIN: f64 = 4.0;
/// Number of groups up to which the gain grows, as in libwebrtc.
const MAX_COUNT: u32 = 60;
const UP: f64 = 0.0087;
const DOWN: f64 = 0.039;
/// Distance from the threshold beyond which a value does not move it.
const SPIKE: f64 = 15.0;

/// The trend of delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Trend {
    #[default]
    Flat,
    Growing,
    Shrinking,
}

/// A group being collected.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: i64,
    /// The packet delayed least: its time of sending and its delay, in microseconds.
    at: i64,
    delay: i64,
}

#[derive(Debug)]
pub(super) struct Trendline {
    group: Option<Group>,
    /// Times of sending and delays, in milliseconds since the first.
    points: [(f64, f64); WINDOW],
    count: u32,
    origin: (i64, i64),
    threshold: f64,
    updated: f64,
    /// The line's slope, scaled.
    value: f64,
    /// The number of groups above the threshold, and the time since the first of them.
    above: (u32, f64),
    trend: Trend,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            group: None,
            points: [(0.0, 0.0); WINDOW],
            count: 0,
            origin: (0, 0),
            threshold: 12.5,
            updated: 0.0,
            value: 0.0,
            above: (0, 0.0),
            trend: Trend::Flat,
        }
    }
}

impl Trendline {
    /// Adds a packet's time of sending and its delay, in microseconds of any epoch.
    pub(super) fn add(&mut self, at: i64, delay: i64) {
        match &mut self.group {
            Some(group) if at < group.first => {}
            Some(group) if at - group.first < GROUP_US => {
                if delay < group.delay {
                    (group.at, group.delay) = (at, delay);
                }
            }
            _ => {
                let done = self.group.replace(Group {
                    first: at,
                    at,
                    delay,
                });
                if let Some(done) = done {
                    self.point(done.at, done.delay);
                }
            }
        }
    }

    /// The line's slope.
    pub(super) fn slope(&self) -> f64 {
        self.value / (f64::from(self.count.clamp(1, MAX_COUNT)) * GAIN)
    }

    pub(super) fn trend(&self) -> Trend {
        self.trend
    }

    /// Forgets everything but the threshold, which is the knowledge of the noise.
    pub(super) fn restart(&mut self) {
        *self = Self {
            threshold: self.threshold,
            ..Self::default()
        };
    }

    fn point(&mut self, at: i64, delay: i64) {
        if self.count == 0 {
            self.origin = (at, delay);
        }
        let x = (at - self.origin.0) as f64 / 1e3;
        let y = (delay - self.origin.1) as f64 / 1e3;
        self.points[self.count as usize % WINDOW] = (x, y);
        // The count exceeds the window only as far as the gain grows; the slot stays right, as that is a multiple of
        // the window.
        self.count += 1;
        if self.count >= MAX_COUNT + WINDOW as u32 {
            self.count = MAX_COUNT;
        }
        let len = (self.count as usize).min(WINDOW);
        let before = self.value;
        self.value = slope(&self.points[..len]) * f64::from(self.count.min(MAX_COUNT)) * GAIN;
        self.detect(x, before, len);
        self.adapt(x);
    }

    fn detect(&mut self, x: f64, before: f64, len: usize) {
        if len < 4 {
            return;
        }
        if self.value > self.threshold {
            if self.above.0 == 0 {
                self.above.1 = x;
            }
            self.above.0 += 1;
            if self.above.0 > 1 && x - self.above.1 >= 10.0 && self.value >= before {
                self.trend = Trend::Growing;
            }
        } else {
            self.above.0 = 0;
            self.trend = if self.value < -self.threshold {
                Trend::Shrinking
            } else {
                Trend::Flat
            };
        }
    }

    fn adapt(&mut self, x: f64) {
        let elapsed = (x - self.updated).clamp(0.0, 100.0);
        self.updated = x;
        let beyond = self.value.abs() - self.threshold;
        if beyond > SPIKE {
            return;
        }
        let gain = if beyond < 0.0 { DOWN } else { UP };
        self.threshold = (self.threshold + gain * beyond * elapsed).clamp(6.0, 600.0);
    }
}

/// The slope of the least squares line; 0 where there is none.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (sum_x, sum_y) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x).powi(2);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// The milliseconds until growth is detected, on a queue that grows by `growth` a second with `jitter` milliseconds
    /// of noise.
    fn seen_after(growth: f64, jitter: f64, seed: u64) -> Option<i64> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut trendline = Trendline::default();
        for at in (0..4_000_i64).step_by(5) {
            let grown = (at - 2_000).max(0) as f64 * growth;
            let delay = grown + rng.random::<f64>() * jitter;
            trendline.add(at * 1_000, (delay * 1e3) as i64);
            if at > 2_000 && trendline.trend() == Trend::Growing {
                return Some(at - 2_000);
            }
        }
        None
    }

    #[test]
    fn growth_is_seen_through_noise() {
        for (growth, jitter, within) in [
            (3.0, 0.0, 60),
            (3.0, 30.0, 80),
            (0.2, 0.0, 200),
            (0.2, 10.0, 300),
            (0.05, 0.0, 600),
        ] {
            for seed in 0..20 {
                let seen = seen_after(growth, jitter, seed);
                assert!(
                    seen.is_some_and(|after| after <= within),
                    "{growth} {jitter}: {seen:?}"
                );
            }
        }
        assert_eq!(seen_after(0.0, 2.0, 1), None);
        assert_eq!(seen_after(-0.2, 0.0, 1), None);
    }
}
