//! Queueing delay, and whether it is ours to act on.
//!
//! The clocks of both ends differ by an unknown constant and drift by little, so a packet's delay means
//! something only against the least delay seen lately. What stands in the queue is the least delay of
//! the last few packets over that: a minimum does not see jitter, the trend of single packets does.
//! Overuse is both together: delay grows, and something stands there. libwebrtc acts on the trend
//! alone, which is its weak spot on a jittery path.

use super::trendline::{Trend, Trendline};

/// For how long a least delay holds at least, in microseconds; at most twice as long.
const BASE_US: i64 = 10_000_000;
const SAMPLES: usize = 32;
/// The last packets: at least this many...
const FEWEST: usize = 10;
/// ...or those of this time...
const RECENT_US: i64 = 100_000;
/// ...but nothing older than this.
const OLDEST_US: i64 = 400_000;
/// What stands there without any trend is too much beyond this (and noise).
const STANDING_MAX_US: f64 = 50_000.0;
/// What stands there with a trend is noise below this.
const STANDING_MIN_US: f64 = 8_000.0;

/// A queue that another flow fills is longer than this...
/// (a flow that fills it to its end drops to half of it at worst)
const CONTESTED_US: i64 = 20_000;
/// ...most of the time: otherwise that flow has gone.
const CALM_US: i64 = 3_000_000;

/// More is never usual.
const USUAL_MAX_US: f64 = 40_000.0;

/// What the path does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Usage {
    Normal,
    Over,
    /// A queue empties: wait until it has.
    Under,
}

#[derive(Debug)]
pub(super) struct Delay {
    /// The least delay of this and of the previous period.
    base: Option<[i64; 2]>,
    period: i64,
    /// Arrival and delay of the last packets.
    samples: [(i64, i64); SAMPLES],
    count: u64,
    newest: i64,
    trendline: Trendline,
    /// How far single packets are above what stands, on average.
    noise: f64,
    /// What stands in the queue.
    standing: i64,
    previous: i64,
    /// What stands there as a rule, and how far it is off that, on average: where jitter holds up what
    /// follows, or a radio link sends in turns, something stands there without any queue of ours.
    usual: f64,
    swing: f64,
    /// Of what stands, what did not go away when we sent less: somebody else's.
    foreign: i64,
    /// Another flow fills the queue, or did until then; since when it has been short.
    contested: Option<i64>,
}

impl Default for Delay {
    fn default() -> Self {
        Self {
            base: None,
            period: 0,
            samples: [(0, 0); SAMPLES],
            count: 0,
            newest: 0,
            trendline: Trendline::default(),
            noise: 0.0,
            standing: 0,
            previous: 0,
            usual: 0.0,
            swing: 0.0,
            foreign: 0,
            contested: None,
        }
    }
}

impl Delay {
    /// A packet that arrived: times in microseconds, of different clocks.
    pub(super) fn add(&mut self, sent: i64, arrival: i64) {
        let delay = arrival.wrapping_sub(sent);
        match &mut self.base {
            // A clock that jumped by minutes is another clock.
            Some(base) if (delay - base[0].min(base[1])).abs() < 30_000_000 => {
                base[0] = base[0].min(delay);
                if sent - self.period > BASE_US {
                    self.period = sent;
                    *base = [delay, base[0]];
                }
            }
            _ => {
                *self = Self {
                    base: Some([delay; 2]),
                    period: sent,
                    newest: arrival,
                    noise: self.noise,
                    swing: self.swing,
                    ..Self::default()
                };
            }
        }
        self.samples[(self.count % SAMPLES as u64) as usize] = (arrival, delay);
        self.count += 1;
        self.newest = self.newest.max(arrival);
        self.trendline.add(sent, delay);
    }

    /// After the packets of a feedback were added.
    pub(super) fn update(&mut self) {
        let Some(base) = self.base else { return };
        let base = base[0].min(base[1]);
        let len = self.count.min(SAMPLES as u64);
        let (mut least, mut sum, mut seen) = (i64::MAX, 0, 0);
        for back in 1..=len {
            let (arrival, delay) = self.samples[((self.count - back) % SAMPLES as u64) as usize];
            let age = self.newest - arrival;
            if age > OLDEST_US || (age > RECENT_US && seen >= FEWEST) {
                break;
            }
            least = least.min(delay);
            sum += delay - base;
            seen += 1;
        }
        if seen == 0 {
            return;
        }
        self.previous = self.standing;
        self.standing = least - base;
        self.foreign = self.foreign.min(self.standing);
        if let Some(since) = self.contested {
            if self.standing > CONTESTED_US {
                self.contested = Some(self.newest);
            } else if self.newest - since > CALM_US {
                self.contested = None;
            }
        }
        let off = self.standing as f64 - self.usual;
        self.swing += 0.03 * (off.abs().min(USUAL_MAX_US) - self.swing);
        self.usual = (self.usual + 0.01 * off).clamp(0.0, USUAL_MAX_US);
        let excess = sum as f64 / seen as f64 - self.standing as f64;
        // Quickly up, slowly down: too much caution costs less.
        let weight = if excess > self.noise { 0.1 } else { 0.03 };
        self.noise += weight * (excess.min(60_000.0) - self.noise);
    }

    /// What stands in the queue, in microseconds.
    pub(super) fn standing(&self) -> i64 {
        self.standing
    }

    /// The part of it that is ours: neither another's nor usual.
    pub(super) fn ours(&self) -> i64 {
        (self.standing - self.foreign.max(self.usual as i64)).max(0)
    }

    /// Length of the queue beyond its least since it was found to be another's, in microseconds.
    pub(super) fn above_least(&self) -> i64 {
        self.standing - self.foreign
    }

    /// How far single packets are above what stands in the queue, in microseconds.
    pub(super) fn noise(&self) -> f64 {
        self.noise
    }

    /// Whether another flow fills the queue: to drain it would be to leave the link to that.
    pub(super) fn is_contested(&self) -> bool {
        self.contested.is_some()
    }

    /// What stands there now has not gone away though we sent less: it is another flow's, or the path
    /// has become longer.
    pub(super) fn disown(&mut self) {
        self.set_apart();
        self.contested = Some(self.newest);
    }

    /// Takes the queue as it stands for none of ours, whoever made it.
    pub(super) fn set_apart(&mut self) {
        self.foreign = self.standing;
        self.trendline.restart();
    }

    /// Takes the queue for ours, but for what is left of it: it has gone away as we sent less.
    pub(super) fn own(&mut self) {
        self.foreign = self.foreign.min(self.standing);
        self.contested = None;
        self.trendline.restart();
    }

    /// Begins to measure anew, after a time without measurements.
    pub(super) fn restart(&mut self) {
        self.count = 0;
        self.trendline.restart();
    }

    /// How fast the queue grows, in seconds a second.
    pub(super) fn slope(&self) -> f64 {
        self.trendline.slope()
    }

    pub(super) fn usage(&self) -> Usage {
        let ours = self.ours() as f64;
        match self.trendline.trend() {
            Trend::Growing if ours > STANDING_MIN_US + self.noise * 0.5 + self.swing => Usage::Over,
            Trend::Shrinking => Usage::Under,
            _ if !self.is_contested()
                && ours > STANDING_MAX_US + self.noise
                && self.standing >= self.previous =>
            {
                Usage::Over
            }
            _ => Usage::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Five seconds of packets every 5 ms with this jitter, then so much of a queue at once or growing, in
    /// milliseconds; what is believed 400 ms later.
    fn after(jitter: f64, step: f64, growth: f64) -> Delay {
        let mut rng = StdRng::seed_from_u64(7);
        let mut delay = Delay::default();
        for at in (0..5_400_i64).step_by(5) {
            let queue = if at < 5_000 {
                0.0
            } else {
                step + (at - 5_000) as f64 * growth
            };
            let way = -3_000.0 + queue + rng.random::<f64>() * jitter;
            delay.add(at * 1_000, at * 1_000 + (way * 1e3) as i64);
            if at % 50 == 0 {
                delay.update();
            }
        }
        delay.update();
        delay
    }

    #[test]
    fn a_queue_is_told_from_noise() {
        for (jitter, step, growth, usage, standing) in [
            (0.0, 0.0, 0.0, Usage::Normal, 0..1),
            (60.0, 0.0, 0.0, Usage::Normal, 0..12),
            (0.0, 0.0, 0.2, Usage::Over, 50..80),
            (20.0, 0.0, 0.5, Usage::Over, 140..200),
            (0.0, 90.0, 0.0, Usage::Over, 89..91),
        ] {
            let delay = after(jitter, step, growth);
            let ms = delay.standing() / 1_000;
            assert!(standing.contains(&ms), "{jitter} {step} {growth}: {ms}");
            assert_eq!(delay.usage(), usage, "{jitter} {step} {growth}");
        }
    }

    #[test]
    fn what_is_anothers_is_not_acted_upon() {
        let mut delay = after(0.0, 90.0, 0.0);
        delay.disown();
        assert!(delay.is_contested());
        assert_eq!((delay.ours(), delay.usage()), (0, Usage::Normal));
    }
}
