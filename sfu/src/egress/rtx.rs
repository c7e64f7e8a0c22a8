//! How much a viewer may have sent again.

use std::time::{Duration, Instant};

/// Packets a viewer may have sent again a second on one slot. Twice a 720p layer's rate: a viewer
/// that asks for more is not repairing a stream but using us as an amplifier.
const PER_SECOND: u32 = 500;
/// Saved up at most: a burst lost whole.
const BURST: u32 = 250;

/// A token bucket.
#[derive(Debug)]
pub(crate) struct RtxBudget {
    tokens: u32,
    filled_at: Option<Instant>,
}

impl Default for RtxBudget {
    fn default() -> Self {
        Self {
            tokens: BURST,
            filled_at: None,
        }
    }
}

impl RtxBudget {
    /// One packet; false if there is none left.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let filled_at = *self.filled_at.get_or_insert(now);
        let interval = Duration::from_secs(1) / PER_SECOND;
        let earned = (now.saturating_duration_since(filled_at).as_nanos() / interval.as_nanos())
            .min(u128::from(BURST)) as u32;
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(BURST);
            self.filled_at = Some(if earned == BURST {
                now
            } else {
                filled_at + interval * earned
            });
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut budget = RtxBudget::default();
        let granted = |budget: &mut RtxBudget, now| (0..1_000).filter(|_| budget.take(now)).count();
        assert_eq!(granted(&mut budget, start), BURST as usize);
        assert_eq!(granted(&mut budget, start + Duration::from_millis(100)), 50);
        assert_eq!(
            granted(&mut budget, start + Duration::from_secs(60)),
            BURST as usize
        );
    }
}
