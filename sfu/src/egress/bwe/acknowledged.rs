//! The rate at which sent packets arrive (libwebrtc's `AcknowledgedBitrateEstimator`).
//!
//! libwebrtc smooths windows of 150 ms by how unlikely they are, which takes up to a second to follow a link that has
//! become slower. Plain windows are used instead: a short one for cuts (packets arrive back to back then, with little
//! noise), and a long one for everything else.

/// Length of a bucket, in microseconds of the receiver's clock.
const BUCKET_US: i64 = 25_000;
const BUCKETS: usize = 32;

/// Window for cuts.
pub(super) const SHORT_US: i64 = 150_000;
/// Window for everything else.
pub(super) const LONG_US: i64 = 500_000;

/// Bytes that arrived, by time of arrival.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// Bytes and packets of each bucket.
    buckets: [(u32, u16); BUCKETS],
    /// The latest arrival.
    newest: i64,
    /// The first arrival after a long time without any.
    since: Option<i64>,
}

impl Acknowledged {
    pub(super) fn add(&mut self, arrival: i64, bytes: u64) {
        let (bucket, newest) = (
            arrival.div_euclid(BUCKET_US),
            self.newest.div_euclid(BUCKET_US),
        );
        if self.since.is_none() || bucket - newest >= BUCKETS as i64 {
            *self = Self {
                newest: arrival,
                since: Some(arrival),
                ..Self::default()
            };
        } else if newest - bucket >= BUCKETS as i64 {
            return;
        }
        for empty in newest + 1..=bucket.min(newest + BUCKETS as i64) {
            self.buckets[slot(empty)] = (0, 0);
        }
        self.newest = self.newest.max(arrival);
        let (sum, packets) = &mut self.buckets[slot(bucket)];
        *sum = sum.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        *packets = packets.saturating_add(1);
    }

    /// Bits a second over the last `window` microseconds, with the number of packets; none if less than half of the
    /// window was measured.
    pub(super) fn rate(&self, window: i64) -> Option<(f64, u32)> {
        let since = self.since?;
        let last = self.newest.div_euclid(BUCKET_US);
        let first = (self.newest - window).div_euclid(BUCKET_US) + 1;
        let first = first.max(last - BUCKETS as i64 + 1);
        let begin = (first * BUCKET_US).max(since);
        let span = self.newest - begin;
        if span < window / 2 {
            return None;
        }
        let (mut bytes, mut packets) = (0_u64, 0);
        for bucket in first..=last {
            let (sum, count) = self.buckets[slot(bucket)];
            bytes += u64::from(sum);
            packets += u32::from(count);
        }
        // If the window begins with a packet, the time between the first and the last of n packets is that of n - 1.
        let counted = bytes as f64
            * if begin == since && packets > 1 {
                f64::from(packets - 1) / f64::from(packets)
            } else {
                1.0
            };
        Some((counted * 8e6 / span as f64, packets))
    }
}

fn slot(bucket: i64) -> usize {
    bucket.rem_euclid(BUCKETS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_a_link_within_a_window() {
        let mut acknowledged = Acknowledged::default();
        let mut at = 1_000_000_000;
        let mut run = |acknowledged: &mut Acknowledged, spacing: i64, count: u32| {
            for _ in 0..count {
                at += spacing;
                acknowledged.add(at, 1_250);
            }
            [SHORT_US, LONG_US]
                .map(|window| acknowledged.rate(window).map(|rate| rate.0.round() / 1e6))
        };
        assert_eq!(run(&mut acknowledged, 10_000, 2), [None, None]);
        let close = |got: [Option<f64>; 2], expected: [f64; 2]| {
            for (got, expected) in got.into_iter().zip(expected) {
                let got = got.unwrap();
                assert!((got / expected - 1.0).abs() < 0.12, "{got} {expected}");
            }
        };
        close(run(&mut acknowledged, 10_000, 60), [1.0, 1.0]);
        close(run(&mut acknowledged, 5_000, 120), [2.0, 2.0]);
        close(run(&mut acknowledged, 20_000, 8), [0.5, 1.55]);
        // It begins anew after a silence, whichever way the clock jumped.
        assert_eq!(run(&mut acknowledged, 3_000_000, 1), [None, None]);
        acknowledged.add(-5_000_000, 1_000);
        acknowledged.add(i64::MAX / 2, 1_000);
        assert_eq!(acknowledged.rate(LONG_US), None);
    }
}
