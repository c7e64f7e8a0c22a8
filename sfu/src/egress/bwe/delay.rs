//! Queueing delay, and the part of it that the sender must act on.
//!
//! The clocks of both ends differ by an unknown constant and drift by little, so that a packet's delay means something
//! only relative to the least delay seen lately. The *standing* queue is the least delay of the last few packets above
//! that: a minimum is not affected by jitter, but the trend of single packets is. Overuse is both together: delay
//! grows, and a queue stands. libwebrtc acts on the trend alone, which is its weak point on a jittery path.

use super::trendline::{Trend, Trendline};

/// Least time for which a least delay holds, in microseconds; at most twice as long.
const BASE_US: i64 = 10_000_000;
const SAMPLES: usize = 32;
/// Fewest packets that count as the last ones.
const FEWEST: usize = 10;
/// Time whose packets count as the last ones, if they are more.
const RECENT_US: i64 = 100_000;
/// Age from which on packets never count, in microseconds.
const OLDEST_US: i64 = 400_000;
/// Standing queue that is too long even without a trend, in microseconds, the noise added.
const STANDING_MAX_US: f64 = 50_000.0;
/// Standing queue below which a trend is noise, in microseconds.
const STANDING_MIN_US: f64 = 8_000.0;

/// Length above which a queue may be filled by another flow, in microseconds. A flow that fills it to its end drops to
/// half of it at worst.
const CONTESTED_US: i64 = 20_000;
/// Time of shorter queues after which that flow has gone, in microseconds.
const CALM_US: i64 = 3_000_000;

/// Upper bound of the usual queue, in microseconds.
const USUAL_MAX_US: f64 = 40_000.0;

/// The state of the path.
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
    /// The mean distance of single packets above the standing queue.
    noise: f64,
    /// The standing queue.
    standing: i64,
    previous: i64,
    /// The usual standing queue, and the mean deviation from it. If jitter holds up later packets, or a radio link
    /// sends in turns, a queue stands without any of the sender's doing.
    usual: f64,
    swing: f64,
    /// The part of the standing queue that did not go away when less was sent: another flow's.
    foreign: i64,
    /// Another flow fills the queue, or did until then; the time since which the queue has been short.
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
    /// Adds a packet that arrived: times in microseconds, of different clocks.
    pub(super) fn add(&mut self, sent: i64, arrival: i64) {
        let delay = arrival.wrapping_sub(sent);
        match &mut self.base {
            // A clock that jumped by minutes counts as another clock.
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

    /// Updates the state after the packets of a feedback were added.
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
        // The noise rises quickly and falls slowly: too much caution costs less.
        let weight = if excess > self.noise { 0.1 } else { 0.03 };
        self.noise += weight * (excess.min(60_000.0) - self.noise);
    }

    /// The standing queue, in microseconds.
    pub(super) fn standing(&self) -> i64 {
        self.standing
    }

    /// The sender's part of it: neither another flow's nor usual.
    pub(super) fn ours(&self) -> i64 {
        (self.standing - self.foreign.max(self.usual as i64)).max(0)
    }

    /// Length of the queue above its least since it was attributed to another flow, in microseconds.
    pub(super) fn above_least(&self) -> i64 {
        self.standing - self.foreign
    }

    /// The mean distance of single packets above the standing queue, in microseconds.
    pub(super) fn noise(&self) -> f64 {
        self.noise
    }

    /// Whether another flow fills the queue: draining it would leave the link to that flow.
    pub(super) fn is_contested(&self) -> bool {
        self.contested.is_some()
    }

    /// Attributes the standing queue to another flow, or to a longer path: it has not gone away though less was sent.
    pub(super) fn disown(&mut self) {
        self.set_apart();
        self.contested = Some(self.newest);
    }

    /// Excludes the standing queue from the sender's part, whatever made it.
    pub(super) fn set_apart(&mut self) {
        self.foreign = self.standing;
        self.trendline.restart();
    }

    /// Attributes the queue to the sender, except what is left of it: it has gone away as less was sent.
    pub(super) fn own(&mut self) {
        self.foreign = self.foreign.min(self.standing);
        self.contested = None;
        self.trendline.restart();
    }

    /// Starts the measurement anew, after a time without packets.
    pub(super) fn restart(&mut self) {
        self.count = 0;
        self.trendline.restart();
    }

    /// The growth of the queue, in seconds a second.
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

    /// Feeds five seconds of packets every 5 ms with this jitter, then a queue that stands at once or grows, in
    /// milliseconds. Returns the state 400 ms later.
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
