//! The bound on how often a client may speak.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket that also notices who keeps on after being refused.
pub(super) struct RateLimit {
    tokens: f64,
    filled: Instant,
    per_second: f64,
    burst: f64,
    refused: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allowance {
    Granted,
    Refused,
    /// Refused too often.
    Abuse,
}

/// Refusals in a row, with no message granted between. Each costs an answer, so a client that does
/// not stop is cut off; one that merely stuttered has seen the error long before.
const ABUSE: u32 = 100;

impl RateLimit {
    pub(super) fn new(now: Instant, per_second: u32, burst: u32) -> Self {
        Self {
            tokens: f64::from(burst),
            filled: now,
            per_second: f64::from(per_second),
            burst: f64::from(burst),
            refused: 0,
        }
    }

    pub(super) fn take(&mut self, now: Instant) -> Allowance {
        let elapsed: Duration = now.saturating_duration_since(self.filled);
        self.filled = now;
        let refilled = self.tokens + elapsed.as_secs_f64() * self.per_second;
        self.tokens = refilled.min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            // At the long-run rate a flood still gets some requests granted: those must not reset
            // the count.
            if self.tokens >= 1.0 {
                self.refused = 0;
            }
            return Allowance::Granted;
        }
        self.refused += 1;
        if self.refused >= ABUSE {
            Allowance::Abuse
        } else {
            Allowance::Refused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start, 10, 3);
        let taken: Vec<_> = (0..4).map(|_| limit.take(start)).collect();
        assert_eq!(taken[..3], [Allowance::Granted; 3]);
        assert_eq!(taken[3], Allowance::Refused);
        assert_eq!(
            limit.take(start + Duration::from_millis(50)),
            Allowance::Refused
        );
        assert_eq!(
            limit.take(start + Duration::from_millis(101)),
            Allowance::Granted
        );
        let rested = start + Duration::from_secs(60);
        assert!((0..3).all(|_| limit.take(rested) == Allowance::Granted));
        assert_eq!(limit.take(rested), Allowance::Refused);
    }

    #[test]
    fn a_flood_is_abuse_even_though_some_is_granted() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start, 50, 100);
        let flood = (0u64..).map(|i| limit.take(start + Duration::from_millis(i)));
        assert!(
            flood
                .take(1000)
                .any(|allowance| allowance == Allowance::Abuse)
        );
    }

    #[test]
    fn a_client_at_the_rate_is_never_refused() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start, 50, 100);
        for i in 0..5_000 {
            let now = start + Duration::from_millis(20 * i);
            assert_eq!(limit.take(now), Allowance::Granted);
        }
    }
}
