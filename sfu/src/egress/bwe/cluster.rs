//! The result of a probe (libwebrtc's `ProbeBitrateEstimator`).
//!
//! libwebrtc takes the lesser of the rates between the first and the last packet, at either end: jitter of 30 ms makes
//! a 15 ms probe worthless. Here the arriving rate is the sending rate divided by one plus the growth of delay during
//! the probe, by least squares over all of its packets. Probes last the longer the noisier the path is.

/// Delivered share of a probe below which the link is full.
pub(super) const FULL: f64 = 0.85;
/// Ratio of arriving to sending rate from which on packets were held and let go together. A queue lets them go at the
/// link's rate.
const TOGETHER: f64 = 2.5;
/// Growth of delay that turns may hide, as a multiple of their share of the probe's time.
const HIDES: f64 = 1.5;
/// Length of turns that hide as much as noise does, as a multiple of the noise.
const NOISE: f64 = 0.85;
/// Bound of the rate of a probe's packets, as a multiple of their rate of arrival from first to last.
const THROUGH: f64 = 1.1;
/// Time within which the packets of a probe left at once, in microseconds.
const AT_ONCE_US: f64 = 5_000.0;
/// Length of a probe, as a multiple of the path's noise, from which on its first and last arrival count, too.
const CLEAR: f64 = 15.0;

/// The measurements of a probe.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Measured {
    /// The rate that the probe was meant to show, bits a second.
    pub(super) goal: f64,
    /// The rate that arrived; the link's rate if it was full.
    pub(super) rate: f64,
    /// The part of the rate that is sure, however noise and the path's turns fell.
    pub(super) least: f64,
    /// The part of the rate that is sure if the link was full, where noise hides no queue.
    pub(super) end: f64,
    /// Length of the path's turns, in microseconds.
    pub(super) turns: f64,
    /// The link was full.
    pub(super) saturated: bool,
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    pub(super) id: u8,
    pub(super) rate: f64,
    /// Bytes to send, at least.
    bytes: u64,
    packets: u32,
    /// The time at which it was asked for.
    at: i64,
    sent: u32,
    sent_bytes: u64,
    first: i64,
    last: i64,
    arrived: u32,
    arrived_bytes: u64,
    /// Bytes of the first packet that arrived.
    first_bytes: u64,
    missing: u32,
    arrivals: (i64, i64),
    origin: (i64, i64),
    /// The last packet's times of sending and arrival, and whether it came together with the one before.
    before: (i64, i64, bool),
    /// The time by which packets followed others more closely on arrival than when sent, in microseconds, and the
    /// number of such groups.
    held: (i64, u32),
    /// Sums over time of sending and delay, in milliseconds: x, y, xx, xy.
    sums: [f64; 4],
}

impl Cluster {
    pub(super) fn new(id: u8, rate: f64, bytes: u64, packets: u32, at: i64) -> Self {
        Self {
            id,
            rate,
            bytes,
            packets,
            at,
            sent: 0,
            sent_bytes: 0,
            first: at,
            last: at,
            arrived: 0,
            arrived_bytes: 0,
            first_bytes: 0,
            missing: 0,
            arrivals: (0, 0),
            origin: (0, 0),
            before: (0, 0, false),
            held: (0, 0),
            sums: [0.0; 4],
        }
    }

    pub(super) fn sent(&mut self, at: i64, bytes: u16) {
        if self.sent == 0 {
            self.first = at;
        }
        self.last = at;
        self.sent += 1;
        self.sent_bytes += u64::from(bytes);
    }

    pub(super) fn arrived(&mut self, sent: i64, arrival: i64, bytes: u16, was_missing: bool) {
        let delay = arrival.wrapping_sub(sent);
        if self.arrived == 0 {
            self.origin = (sent, delay);
            self.arrivals = (arrival, arrival);
            self.first_bytes = u64::from(bytes);
        } else {
            let (gap, later) = (sent - self.before.0, arrival - self.before.1);
            let takes = f64::from(bytes) * 8e6 / self.rate.max(1.0);
            let together = later >= 0 && TOGETHER * (later as f64) < takes;
            if together {
                self.held.0 += (gap - later).max(0);
                self.held.1 += u32::from(!self.before.2);
            }
            self.before.2 = together;
        }
        (self.before.0, self.before.1) = (sent, arrival);
        self.arrivals = (self.arrivals.0.min(arrival), self.arrivals.1.max(arrival));
        let x = (sent - self.origin.0) as f64 / 1e3;
        let y = delay.wrapping_sub(self.origin.1) as f64 / 1e3;
        for (sum, value) in self.sums.iter_mut().zip([x, y, x * x, x * y]) {
            *sum += value;
        }
        self.arrived += 1;
        self.arrived_bytes += u64::from(bytes);
        self.missing = self.missing.saturating_sub(u32::from(was_missing));
    }

    pub(super) fn missing(&mut self) {
        self.missing += 1;
    }

    /// Whether no more is to be learned: all packets are answered for; or one sent `reorder` later has arrived; or it
    /// takes too long. Times in microseconds.
    pub(super) fn is_over(&self, now: i64, newest: Option<i64>, rtt: i64) -> bool {
        let complete = self.sent >= self.packets && self.sent_bytes >= self.bytes;
        (complete && self.arrived + self.missing >= self.sent && self.missing == 0)
            || (complete && newest.is_some_and(|newest| newest > self.last + 60_000))
            || now - self.at > self.duration() + 500_000 + rtt
    }

    /// The latest time at which it is over.
    pub(super) fn deadline(&self, rtt: i64) -> i64 {
        self.at + self.duration() + 500_001 + rtt
    }

    fn duration(&self) -> i64 {
        (self.bytes as f64 * 8e6 / self.rate.max(1.0)) as i64
    }

    /// The result; none if too little of the probe was sent or arrived. `inherent` is the loss without meaning, `noise`
    /// that of the path in microseconds.
    pub(super) fn measure(&self, inherent: f64, noise: f64) -> Option<Measured> {
        if self.sent < 4 || self.arrived < 3 || self.sent_bytes * 10 < self.bytes * 7 {
            return None;
        }
        let mean = self.sent_bytes as f64 / f64::from(self.sent);
        let span = (self.last - self.first) as f64 / 1e6;
        let got = (self.arrived_bytes as f64 / (1.0 - inherent)).min(self.sent_bytes as f64);
        let gaps = (got - mean).max(mean) * 8.0;
        let arriving = (self.arrivals.1 - self.arrivals.0) as f64 / 1e6;
        let received = gaps / arriving.max(1e-4);
        // Packets that come back to back through a queue come at the link's rate, however long the queue was at first.
        let through = (got - self.first_bytes as f64) * 8.0 / arriving.max(1e-4);
        let sending = (self.sent_bytes as f64 - mean) * 8.0 / span.max(1e-4);
        let n = f64::from(self.arrived);
        let [x, y, xx, xy] = self.sums;
        let below = n * xx - x * x;
        let rate = if span < 0.005 || below < 1.0 {
            // For packets sent at once only the arrival tells anything, which has no upper bound.
            received.min(2.0 * self.rate)
        } else {
            let growth = ((n * xy - x * y) / below).max(0.0);
            let rate = gaps / span / (1.0 + growth);
            // A large packet takes longer through a narrow link than a small one before it, which looks like a change
            // of the queue. From the first arrival to the last it makes no difference.
            let clear = noise * CLEAR < (self.arrivals.1 - self.arrivals.0) as f64;
            if clear && through > 0.0 {
                rate.min(through)
            } else {
                rate
            }
        };
        let turns = match span * 1e6 < AT_ONCE_US {
            true => AT_ONCE_US,
            false => self.held.0 as f64 / f64::from(self.held.1.max(1)),
        };
        let hidden = |waits: f64| {
            let share = (waits / (span * 1e6).max(AT_ONCE_US)).min(1.0);
            HIDES * share * share.sqrt()
        };
        // A probe sent more slowly than meant shows only its sending rate.
        let tried = sending.min(self.rate * 1.1);
        let least = rate.min(self.rate * 1.1) / (1.0 + hidden(turns.max(NOISE * noise)));
        Some(Measured {
            goal: self.rate,
            rate: rate.min(self.rate * 1.1),
            least: least.min(THROUGH * through.max(1.0)),
            end: rate.min(self.rate * 1.1) / (1.0 + hidden(turns)),
            turns,
            saturated: rate < FULL * tried,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// A probe of 3 Mbit/s over a link, with jitter in milliseconds and losses.
    fn measured(link: f64, jitter: f64, loss: f64, duration: f64, seed: u64) -> Measured {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = (3e6 * duration / 9_600.0) as u32;
        let mut cluster = Cluster::new(1, 3e6, u64::from(count) * 1_200, count, 0);
        let mut free = 0.0_f64;
        for index in 0..count {
            let at = f64::from(index) * 3.2e3;
            cluster.sent(at as i64, 1_200);
            if rng.random::<f64>() < loss {
                cluster.missing();
                continue;
            }
            free = free.max(at) + 9_600e6 / link;
            let arrival = free + 40e3 + rng.random::<f64>() * jitter * 1e3;
            cluster.arrived(at as i64, arrival as i64, 1_200, false);
        }
        cluster.measure(loss, jitter * 500.0).unwrap()
    }

    #[test]
    fn the_end_of_a_link_is_found() {
        for (link, jitter, loss, duration, saturated) in [
            (1e9, 0.0, 0.0, 0.02, false),
            (10e6, 2.0, 0.0, 0.03, false),
            (1.5e6, 0.0, 0.0, 0.02, true),
            (2e6, 0.0, 0.0, 0.02, true),
            (1e6, 20.0, 0.0, 0.1, true),
            (1e9, 0.0, 0.1, 0.05, false),
        ] {
            let mut right = 0;
            for seed in 0..20 {
                let measured = measured(link, jitter, loss, duration, seed);
                let close = (measured.rate / link.min(3e6) - 1.0).abs() < 0.2;
                right += u32::from(close && measured.saturated == saturated);
            }
            assert!(right >= 17, "{link} {jitter} {loss}: {right}");
        }
    }

    /// On a narrow link a large packet takes as long as a small probe.
    #[test]
    fn packets_of_different_sizes_do_not_make_a_narrow_link_wider() {
        let link = 500e3;
        for sizes in [
            [90, 90, 1_200],
            [1_200, 90, 90],
            [90, 1_200, 90],
            [300, 300, 300],
        ] {
            let mut cluster = Cluster::new(1, 1e6, 3_600, 10, 0);
            let (mut at, mut free) = (0.0_f64, 0.0_f64);
            for size in sizes.iter().cycle().take(12) {
                cluster.sent(at as i64, *size);
                free = free.max(at) + f64::from(*size) * 8e6 / link;
                cluster.arrived(at as i64, (free + 30e3) as i64, *size, false);
                at += f64::from(*size) * 8e6 / 1e6;
            }
            let measured = cluster.measure(0.0, 100.0).unwrap();
            let of = measured.rate / link;
            assert!((0.8..=1.03).contains(&of), "{sizes:?}: {of}");
        }
    }

    /// Large packets of a frame, then small ones: delay seems to fall though the queue grows.
    #[test]
    fn a_frame_before_smaller_packets_makes_the_link_no_faster() {
        let link = 1e6;
        let sizes = [1_200; 4].into_iter().chain([150; 24]);
        let mut cluster = Cluster::new(1, 1.4e6, 8_400, 10, 0);
        let (mut at, mut free) = (0.0_f64, 0.0_f64);
        for size in sizes {
            cluster.sent(at as i64, size);
            free = free.max(at) + f64::from(size) * 8e6 / link;
            cluster.arrived(at as i64, (free + 30e3) as i64, size, false);
            at += f64::from(size) * 8e6 / 1.4e6;
        }
        let measured = cluster.measure(0.0, 5_000.0).unwrap();
        assert!(measured.rate > 1.15 * link, "{measured:?}");
        assert!(measured.least <= THROUGH * link, "{measured:?}");
    }

    #[test]
    fn too_little_shows_nothing() {
        let mut cluster = Cluster::new(1, 3e6, 7_200, 6, 0);
        assert_eq!(cluster.measure(0.0, 0.0), None);
        for at in 0..6 {
            cluster.sent(at * 3_200, 1_200);
        }
        assert_eq!(cluster.measure(0.0, 0.0), None);
        assert!(!cluster.is_over(100_000, None, 50_000));
        assert!(cluster.is_over(100_000, Some(90_000), 50_000));
        assert!(cluster.is_over(cluster.deadline(50_000), None, 50_000));
    }
}
