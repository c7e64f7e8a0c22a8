//! The times at which packets are due: frames by the clock, a frame's packets in bursts.

use std::time::{Duration, Instant};

/// Browsers send their gathered packets every 5 ms, at up to 2.5 times the wanted rate.
const BURST_INTERVAL: Duration = Duration::from_millis(5);
const HEADROOM: f64 = 2.5;
/// A few packets go together whatever the rate: a picture of 10 packets is no burst to smooth.
const MIN_BURST: usize = 10;

/// One stream's clock.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    /// Ticks of the RTP clock in a frame.
    ticks: u32,
    clock_rate: u32,
    frames: u64,
    burst: usize,
}

impl Schedule {
    /// A schedule of frames from now on, of `ticks` of the RTP clock and usually `packets` packets each.
    pub(crate) fn new(ticks: u32, clock_rate: u32, packets: usize) -> Self {
        let frame = f64::from(ticks) / f64::from(clock_rate);
        let wanted = packets as f64 * HEADROOM * BURST_INTERVAL.as_secs_f64() / frame;
        Self {
            start: Instant::now(),
            ticks,
            clock_rate,
            frames: 0,
            burst: (wanted.ceil() as usize).max(MIN_BURST),
        }
    }

    /// The first frame is due then.
    pub(crate) fn begin(&mut self, start: Instant) {
        self.start = start;
    }

    /// The time at which the next frame is due. Computed from the count, so that rounding does not add up and
    /// the RTP clock stays with the wall clock.
    pub(crate) fn due(&self) -> Instant {
        self.start + self.after(self.frames)
    }

    pub(crate) fn advance(&mut self) {
        self.frames += 1;
    }

    /// The duration of one frame.
    pub(crate) fn period(&self) -> Duration {
        self.after(1)
    }

    pub(crate) fn ticks(&self) -> u32 {
        self.ticks
    }

    pub(crate) fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Packets that go together.
    pub(crate) fn burst(&self) -> usize {
        self.burst
    }

    /// The time at which the burst behind one that was due at `due` is due.
    pub(crate) fn next_burst(due: Instant) -> Instant {
        due + BURST_INTERVAL
    }

    fn after(&self, frames: u64) -> Duration {
        let ticks = u128::from(frames) * u128::from(self.ticks);
        Duration::from_nanos((ticks * 1_000_000_000 / u128::from(self.clock_rate)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stay_with_the_clock() {
        let mut schedule = Schedule::new(3_000, 90_000, 5);
        let start = schedule.due();
        for _ in 0..30 * 60 {
            schedule.advance();
        }
        assert_eq!(schedule.due() - start, Duration::from_secs(60));
    }

    #[test]
    fn large_frames_go_in_larger_bursts_so_that_they_end_before_the_next() {
        for (ticks, packets, burst) in [
            (3_000, 5, 10),
            (900, 10, 13),
            (900, 100, 125),
            (9_000, 100, 13),
        ] {
            let schedule = Schedule::new(ticks, 90_000, packets);
            assert_eq!(schedule.burst(), burst, "{ticks} {packets}");
        }
    }
}
