//! Bounds the packets sent again to a viewer, with RTX or without.

/// Packets sent that earn one repair. A viewer that asks for more loses so much that repairs are of no use, or misuses
/// the server as an amplifier. On a path that loses three packets in ten, lost repairs included, four in ten are asked
/// for.
const SENT: u64 = 2;
/// Repairs saved up at most: for a burst lost completely.
const BURST: u64 = 250;
/// Repairs to begin with: for a keyframe lost completely.
const FIRST: u64 = 50;

/// The repairs of a slot, earned by the packets it sends.
#[derive(Debug)]
pub(crate) struct RtxBudget {
    /// Earned and unused, in packets sent.
    earned: u64,
    /// Packets that the slot had sent at the last call.
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
    /// Takes one repair. `sent` is the number of packets that the slot has sent; a lower one than before begins anew.
    /// False if no repair is left.
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
        // Another track's packets are counted from zero.
        assert_eq!(granted(&mut budget, 40), 20);
        assert_eq!(granted(&mut budget, u64::MAX), BURST);
    }
}
