//! The time that a thread lets datagrams gather before it forwards them.

use std::time::{Duration, Instant};

use super::system::thread_cpu;

/// Period over which the thread's load is measured.
const PERIOD: Duration = Duration::from_millis(50);
/// Share of busy time below which a thread holds nothing back: every packet is forwarded when it comes, as longer runs
/// would save nothing that is needed.
const IDLE_SHARE: f64 = 0.35;
/// Share of busy time from which on it holds packets back for the longest time allowed.
const FULL_SHARE: f64 = 0.7;

/// The coalescing window. It is zero at low load, and grows with the share of a core that the thread uses: then the
/// time saved by longer runs keeps queues, and so delays, from growing.
#[derive(Debug)]
pub(super) struct Pace {
    max: Duration,
    window: Duration,
    since: Instant,
    cpu: Duration,
}

impl Pace {
    /// A window of `max` at most.
    pub(super) fn new(now: Instant, max: Duration) -> Self {
        Self {
            max,
            window: Duration::ZERO,
            since: now,
            cpu: thread_cpu(),
        }
    }

    /// Computes the next window. Called once in every turn.
    pub(super) fn window(&mut self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= PERIOD {
            let cpu = thread_cpu();
            let busy = cpu.saturating_sub(self.cpu).as_secs_f64() / elapsed.as_secs_f64();
            (self.since, self.cpu) = (now, cpu);
            self.window = next(self.window, self.max, busy);
        }
        self.window
    }
}

/// Half way from the last window to the one that fits the load: a longer window lowers the load, and
/// would otherwise swing with it.
fn next(last: Duration, max: Duration, busy: f64) -> Duration {
    let share = ((busy - IDLE_SHARE) / (FULL_SHARE - IDLE_SHARE)).clamp(0.0, 1.0);
    let next = (last + max.mul_f64(share)) / 2;
    // A window this short gathers nothing, and is too short to sleep.
    if next < max / 16 {
        Duration::ZERO
    } else {
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_load() {
        let max = Duration::from_micros(400);
        let settle = |mut window, busy| {
            for _ in 0..20 {
                window = next(window, max, busy);
            }
            window
        };
        for (busy, low, high) in [
            (0.0, 0, 0),
            (0.3, 0, 0),
            (0.525, 190, 200),
            (0.7, 399, 400),
            (1.0, 399, 400),
        ] {
            let window = settle(Duration::ZERO, busy).as_micros();
            assert!((low..=high).contains(&window), "{busy}: {window}");
        }
        assert_eq!(settle(max, 0.1), Duration::ZERO, "and back");
        let never = Duration::ZERO;
        assert_eq!(next(never, never, 1.0), never);
    }
}
