//! Bounds the data channel messages of a peer, and how often it is told of refusals.

use std::time::{Duration, Instant};

use crate::event::DataRefusal;

/// Interval at which one reason is told to a peer. The messages it sends are bounded, but not its mistakes.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// The messages that a peer may still send, and the times it was told of refusals.
#[derive(Debug, Default)]
pub(crate) struct DataBudget {
    window: Option<Instant>,
    used: u32,
    /// None may be sent at all.
    pub(crate) is_closed: bool,
    /// The room's control plane is told of each.
    pub(crate) is_heard: bool,
    /// Times by reason, in the order of [`DataRefusal`].
    told: [Option<Instant>; DataRefusal::COUNT],
}

impl DataBudget {
    /// Counts a message; false if there were `per_second` in this second already.
    pub(crate) fn take(&mut self, now: Instant, per_second: u32) -> bool {
        if self
            .window
            .is_none_or(|window| now >= window + Duration::from_secs(1))
        {
            self.window = Some(now);
            self.used = 0;
        }
        self.used = self.used.saturating_add(1);
        self.used <= per_second
    }

    /// Whether the peer is to be told of a refusal now.
    pub(crate) fn tell(&mut self, now: Instant, reason: DataRefusal) -> bool {
        let told = &mut self.told[reason as usize];
        let due = told.is_none_or(|told| now >= told + TOLD_EVERY);
        if due {
            *told = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_messages_and_each_reason_is_told_once_in_it() {
        let mut budget = DataBudget::default();
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let taken = (0..10).filter(|i| budget.take(ms(*i), 3)).count();
        assert_eq!(taken, 3);
        assert!(!budget.take(ms(999), 3) && budget.take(ms(1_000), 3));
        for reason in [DataRefusal::TooFast, DataRefusal::UnknownLabel] {
            let told = (0..250).filter(|i| budget.tell(ms(i * 10), reason));
            assert_eq!(told.collect::<Vec<_>>(), [0, 100, 200], "{reason:?}");
        }
    }
}
