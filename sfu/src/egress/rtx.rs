//! How much a viewer may have sent again, with RTX or without.

/// Packets sent that earn one sent again: a viewer that asks for more loses so much that repairs are of no use, or
/// uses us as an amplifier. Of a path that loses three packets in ten, lost repairs included, four in ten are
/// asked for.
const SENT: u64 = 2;
/// Saved up at most: a burst lost whole.
const BURST: u64 = 250;
/// To begin with: a keyframe lost whole.
const FIRST: u64 = 50;

/// What is sent on a slot earns what may be sent again.
#[derive(Debug)]
pub(crate) struct RtxBudget {
    /// In packets sent.
    earned: u64,
    /// Packets that were sent when this was asked last.
    seen: u64,
}

impl Default for RtxBudget {
    fn default() -> Self {
        Self {
            earned: FIRST * SENT,
            seen: 0,
        }
    }
}

impl RtxBudget {
    /// One packet of the slot, which has sent so many, or begun to count anew; false if none is left.
    pub(crate) fn take(&mut self, sent: u64) -> bool {
        let since = sent.checked_sub(self.seen).unwrap_or(sent);
        self.seen = sent;
        self.earned = self.earned.saturating_add(since).min(BURST * SENT);
        let allowed = self.earned >= SENT;
        self.earned -= if allowed { SENT } else { 0 };
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_share() {
        let mut budget = RtxBudget::default();
        let granted =
            |budget: &mut RtxBudget, sent| (0..10_000).filter(|_| budget.take(sent)).count() as u64;
        assert_eq!(granted(&mut budget, 0), FIRST);
        assert_eq!(granted(&mut budget, 101), 50);
        assert_eq!(granted(&mut budget, 102), 1, "halves add up");
        assert_eq!(granted(&mut budget, 1_000_000), BURST);
        // Another track: counted from nothing.
        assert_eq!(granted(&mut budget, 40), 20);
        assert_eq!(granted(&mut budget, u64::MAX), BURST);
    }
}
