//! Upgrades that fit only just.

use std::time::{Duration, Instant};

use crate::ladder::LayerId;

/// What takes more has to fit for so long without a break, a few of those swings: what its layer needs at
/// its highest shows in that time.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What fits only just has to fit at each decision for a while.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// At most each layer of each wish, and gone when they do not fit.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    slot: usize,
    layer: LayerId,
    /// It has fitted at every decision since.
    since: Instant,
    /// At the present one, too.
    fits: bool,
}

impl Patience {
    /// Notes that a layer of a slot fits now; whether it has for long enough.
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

    /// Forgets what did not fit at this decision.
    pub(super) fn end_decision(&mut self) {
        self.waiting
            .retain_mut(|waiting| std::mem::take(&mut waiting.fits));
    }
}
