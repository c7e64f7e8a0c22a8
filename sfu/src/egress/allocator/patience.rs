//! Upgrades that fit only just.

use std::time::{Duration, Instant};

use crate::track::ladder::LayerId;

/// Time for which such an upgrade must fit without a break, a few swings of a layer's rate: the highest rate that it
/// needs shows in that time.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Upgrades that must fit at each decision for a while.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// At most each layer of each request; removed when it does not fit.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    slot: usize,
    layer: LayerId,
    /// The time since which it has fitted at every decision.
    since: Instant,
    /// It fits at the present decision, too.
    fits: bool,
}

impl Patience {
    /// Records that a layer of a slot fits now; true if it has for long enough.
    pub(super) fn has_fitted(&mut self, now: Instant, slot: usize, layer: LayerId) -> bool {
        let mut waiting = self.waiting.iter_mut();
        let known = waiting.find(|waiting| (waiting.slot, waiting.layer) == (slot, layer));
        let Some(known) = known else {
            self.waiting.push(Waiting {
                slot,
                layer,
                since: now,
                fits: true,
            });
            return false;
        };
        known.fits = true;
        now >= known.since + PATIENCE
    }

    /// Forgets the layers that did not fit at this decision.
    pub(super) fn end_decision(&mut self) {
        self.waiting
            .retain_mut(|waiting| std::mem::take(&mut waiting.fits));
    }
}
