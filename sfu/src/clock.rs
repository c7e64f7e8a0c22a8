//! Wall clock arithmetic in NTP's 32.32 fixed point (RFC 3550 section 4).

use std::time::{Duration, Instant, SystemTime};

/// From 1900 to 1970.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// Maps the monotonic clock to NTP time. Given by the runtime, so that a worker reads no clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    epoch: Instant,
    ntp: u64,
}

impl WallClock {
    /// A clock on which the monotonic `epoch` is `time` on the wall.
    pub(crate) fn new(epoch: Instant, time: SystemTime) -> Self {
        let unix = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            epoch,
            ntp: to_ntp(unix).wrapping_add(NTP_UNIX_OFFSET << 32),
        }
    }

    /// The moment it counts from.
    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Unix time of a moment, in milliseconds.
    pub(crate) fn unix_ms(&self, at: Instant) -> u64 {
        let ntp = self.ntp(at);
        let seconds = (ntp >> 32).saturating_sub(NTP_UNIX_OFFSET);
        seconds * 1_000 + (((ntp & 0xffff_ffff) * 1_000) >> 32)
    }

    /// NTP time of a moment.
    pub(crate) fn ntp(&self, at: Instant) -> u64 {
        self.ntp
            .wrapping_add(to_ntp(at.saturating_duration_since(self.epoch)))
    }
}

/// A duration in NTP units.
pub(crate) fn to_ntp(duration: Duration) -> u64 {
    (duration.as_secs() << 32) | ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

/// From an NTP difference to ticks of a media clock.
pub(crate) fn ntp_to_ticks(difference: i64, clock_rate: u32) -> i64 {
    ((i128::from(difference) * i128::from(clock_rate)) >> 32) as i64
}

/// One moment on a publisher's media clock and on the server's wall clock, from a sender report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SenderClock {
    /// NTP time, already moved from the publisher's wall clock to ours.
    pub(crate) ntp: u64,
    /// The RTP timestamp of that moment.
    pub(crate) rtp: u32,
}

impl SenderClock {
    /// NTP time of a timestamp within half the timestamp's range.
    pub(crate) fn ntp_of(&self, timestamp: u32, clock_rate: u32) -> u64 {
        let ticks = i128::from(timestamp.wrapping_sub(self.rtp) as i32);
        self.ntp
            .wrapping_add(((ticks << 32) / i128::from(clock_rate)) as u64)
    }

    /// Timestamp of an NTP time.
    pub(crate) fn timestamp_at(&self, ntp: u64, clock_rate: u32) -> u32 {
        self.rtp
            .wrapping_add(ntp_to_ticks(ntp.wrapping_sub(self.ntp) as i64, clock_rate) as u32)
    }
}

/// The difference between a publisher's wall clock and the server's. There is one for each peer, so that all its tracks
/// shift alike and stay in sync with each other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClockOffset {
    ours_minus_theirs: Option<u64>,
}

impl ClockOffset {
    /// Translates the NTP time of a report that has just arrived to the server's clock. The offset is the smallest
    /// seen: that report waited least on its way. Also returns by how much the offset has just shrunk: earlier
    /// translations are late by that.
    pub(crate) fn translate(&mut self, theirs: u64, ours: u64) -> (u64, u64) {
        /// A larger jump means that the publisher's clock was set anew.
        const STEP: i64 = 1 << 32;
        let offset = ours.wrapping_sub(theirs);
        let mut shrunk = 0;
        let kept = match self.ours_minus_theirs {
            Some(kept) => {
                let later = offset.wrapping_sub(kept) as i64;
                if (-STEP..0).contains(&later) {
                    shrunk = later.unsigned_abs();
                }
                if !(0..=STEP).contains(&later) {
                    offset
                } else {
                    kept
                }
            }
            None => offset,
        };
        self.ours_minus_theirs = Some(kept);
        (theirs.wrapping_add(kept), shrunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_and_ntp_times_are_inverse() {
        let clock = SenderClock {
            ntp: 0xe000_0000_8000_0000,
            rtp: u32::MAX - 10,
        };
        for ticks in [-90_000i32, -1, 0, 1, 45_000, 90_000_000] {
            let timestamp = clock.rtp.wrapping_add(ticks as u32);
            let back = clock.timestamp_at(clock.ntp_of(timestamp, 90_000), 90_000);
            assert!((back.wrapping_sub(timestamp) as i32).abs() <= 1, "{ticks}");
        }
        assert_eq!(
            clock.ntp_of(clock.rtp.wrapping_add(90_000), 90_000),
            clock.ntp + (1 << 32)
        );
    }

    #[test]
    fn a_peers_clock_offset_is_its_least_delayed_report() {
        let ms = |ms: u64| to_ntp(Duration::from_millis(ms));
        let mut offset = ClockOffset::default();
        assert_eq!(offset.translate(ms(1_000), ms(5_030)), (ms(5_030), 0));
        // This report came 20 ms faster: the offset shrinks, and later slow ones do not grow it.
        let (moved, shrunk) = offset.translate(ms(2_000), ms(6_010));
        assert_eq!(moved, ms(6_010));
        assert!(shrunk.abs_diff(ms(20)) < 100);
        let (moved, shrunk) = offset.translate(ms(3_000), ms(7_200));
        assert!(moved.abs_diff(ms(7_010)) < 100 && shrunk == 0);
        // A clock set back by an hour begins anew.
        assert_eq!(offset.translate(ms(0), ms(8_000)), (ms(8_000), 0));
        assert_eq!(offset.translate(ms(9_000), ms(9_000)), (ms(9_000), 0));
    }
}
