//! Bounds on slots whose layers did not get through in time, though they seemed to fit.
//!
//! The cost of a layer is not known while it begins, and a keyframe costs more than any rate says. When pictures have
//! waited until they are of no use, the slot gets less for a while, and for longer each further time: a layer that
//! overran once is likely to do so again. A lowest layer that the link carries easily is no such layer: something else
//! held its packets up, and a picture must not be away for long because of that.

use std::time::{Duration, Instant};

use super::{CALM_MAX, FORGIVE};
use crate::track::ladder::LayerId;

/// Time of the first bound. It is short: right after a link has become narrow, keyframes wait that would fit at another
/// time.
const FIRST: Duration = Duration::from_secs(1);
/// Factor by which the time grows with each further bound.
const AGAIN: u32 = 4;

/// Bounds of slots: at most one for each.
#[derive(Debug, Default)]
pub(super) struct Ceilings {
    known: Vec<Ceiling>,
}

#[derive(Clone, Copy, Debug)]
struct Ceiling {
    slot: usize,
    /// The highest layer that may be sent; none: nothing.
    layer: Option<LayerId>,
    since: Instant,
    span: Duration,
}

impl Ceilings {
    /// Bounds a slot to `layer`, or to nothing, for a while; `briefly`: not for longer than the first time.
    pub(super) fn lower(
        &mut self,
        now: Instant,
        slot: usize,
        layer: Option<LayerId>,
        briefly: bool,
    ) {
        self.forget(now);
        let known = self.known.iter().position(|ceiling| ceiling.slot == slot);
        let before = known.map(|at| self.known.swap_remove(at));
        let before = before.filter(|_| !briefly);
        let span = before.map_or(FIRST, |before| (before.span * AGAIN).min(CALM_MAX));
        self.known.push(Ceiling {
            slot,
            layer,
            since: now,
            span,
        });
    }

    /// The bound of a slot, if it has one now.
    pub(super) fn of(&self, now: Instant, slot: usize) -> Option<Option<LayerId>> {
        let mut known = self.known.iter();
        let ceiling = known.find(|ceiling| ceiling.slot == slot)?;
        (now < ceiling.since + ceiling.span).then_some(ceiling.layer)
    }

    /// Forgets bounds of long ago.
    pub(super) fn forget(&mut self, now: Instant) {
        let is_recent = |ceiling: &Ceiling| now < ceiling.since + ceiling.span + FORGIVE;
        self.known.retain(is_recent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_overruns_again_is_bounded_for_longer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let low = Some(LayerId::default());
        let mut ceilings = Ceilings::default();
        assert_eq!(ceilings.of(start, 3), None);
        let mut now = 0;
        for span in [1, 4, 16, 60, 60] {
            ceilings.lower(at(now), 3, low, false);
            assert_eq!(ceilings.of(at(now + span - 1), 3), Some(low), "{span}");
            assert_eq!(ceilings.of(at(now + span), 3), None, "{span}");
            assert_eq!(ceilings.of(at(now), 4), None, "another slot");
            now += span + 5;
        }
        // After a long time without a bound the first time applies again.
        now += 200;
        ceilings.lower(at(now), 3, None, false);
        assert_eq!(ceilings.of(at(now), 3), Some(None), "nothing at all");
        assert_eq!(ceilings.of(at(now + 1), 3), None);
        assert_eq!(ceilings.known.len(), 1);
    }
}
