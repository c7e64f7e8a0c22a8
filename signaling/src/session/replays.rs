//! The messages that a session is sent a second time, and their bound.
//!
//! A client that comes back names the last message that it has had. Nobody knows whether that is true: one resume of some
//! hundred bytes may have all messages sent again that the session keeps, and the next one the same.

use std::time::Duration;

use tokio::time::Instant;

use super::outbox::{UNACKNOWLEDGED, UNACKNOWLEDGED_BYTES};

/// Times that a session may be sent again all that it keeps (4096 messages, or 4 MiB) in one go, and as often within each
/// [`PERIOD`]. Overflow: the resume is refused, and may come again when the debt is paid off, which takes a few seconds. A
/// client on a very bad network comes back some 20 times a minute, and misses far less than that each time: as much as
/// came while it was away. In the long run 64 MiB a minute are 9 Mbit/s, less than one picture to a viewer may take.
const TIMES: f64 = 16.0;
const PERIOD: Duration = Duration::from_secs(60);

/// The allowance of one session.
#[derive(Debug)]
pub(crate) struct Replays {
    /// Times that everything kept may be sent again now. Below 0: a debt.
    left: f64,
    filled: Instant,
}

impl Replays {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: TIMES,
            filled: now,
        }
    }

    /// Counts messages that were sent again, and their bytes.
    pub(crate) fn count(&mut self, now: Instant, messages: usize, bytes: usize) {
        self.fill(now);
        let messages = messages as f64 / UNACKNOWLEDGED as f64;
        let bytes = bytes as f64 / UNACKNOWLEDGED_BYTES as f64;
        self.left -= messages.max(bytes);
    }

    /// The time after which something may be sent again. None: now.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        let lacks = -self.left;
        (lacks >= 0.0).then(|| PERIOD.mul_f64(lacks / TIMES).max(Duration::from_millis(1)))
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled);
        self.filled = now;
        let filled = elapsed.as_secs_f64() / PERIOD.as_secs_f64() * TIMES;
        self.left = (self.left + filled).min(TIMES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(now: Instant, seconds: f64) -> Instant {
        now + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn everything_is_sent_again_sixteen_times_a_minute_and_no_more() {
        for (messages, bytes) in [
            (UNACKNOWLEDGED, 0),
            (1, UNACKNOWLEDGED_BYTES),
            (UNACKNOWLEDGED, UNACKNOWLEDGED_BYTES),
        ] {
            let start = Instant::now();
            let mut replays = Replays::new(start);
            let mut sent = 0;
            // A client that asks ten times a second, for ten minutes.
            for tick in 0..6_000 {
                let now = seconds(start, f64::from(tick) / 10.0);
                if replays.wait(now).is_none() {
                    replays.count(now, messages, bytes);
                    sent += 1;
                }
            }
            assert!((174..=178).contains(&sent), "{messages} {bytes}: {sent}");
        }
    }

    #[test]
    fn who_is_refused_may_come_back_within_the_grace() {
        let now = Instant::now();
        let mut replays = Replays::new(now);
        for _ in 0..15 {
            replays.count(now, UNACKNOWLEDGED, 0);
            assert_eq!(replays.wait(now), None);
        }
        // As long as anything is left, a whole replay may follow.
        replays.count(now, UNACKNOWLEDGED - 1, 0);
        assert_eq!(replays.wait(now), None);
        replays.count(now, UNACKNOWLEDGED, 0);
        let wait = replays.wait(now).expect("a debt");
        assert!(wait < Duration::from_secs(4), "{wait:?}");
        assert!(replays.wait(now + wait / 2).is_some());
        assert_eq!(replays.wait(now + wait + Duration::from_millis(1)), None);
    }

    /// Twenty cuts within a minute, each while a busy room says ten things a second, and as many in which a link dies again
    /// and again under all that is kept.
    #[test]
    fn a_bad_network_is_not_held_up() {
        for each in [40, UNACKNOWLEDGED] {
            let start = Instant::now();
            let mut replays = Replays::new(start);
            for fault in 0..20 {
                let now = seconds(start, f64::from(fault) * 3.0);
                assert_eq!(replays.wait(now), None, "{each}: fault {fault}");
                replays.count(now, each, each * 300);
            }
        }
    }
}
