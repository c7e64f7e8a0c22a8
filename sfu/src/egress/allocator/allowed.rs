//! The shares of the budget that may be given out, and the number of subscriptions that may get more.

use std::time::Instant;

use super::{Allocator, Budget, CALM, FORGIVE};
use crate::view::Cap;

/// Share of the budget for upgrades, in percent. Rates of layers vary by the rest from second to second, and an upgrade
/// that fits only just does not last.
pub(super) const UPGRADE_SHARE: u64 = 88;
/// Share of the budget for upgrades before the calm after a cut is over. A link with so much room is another link than
/// the one that the cut was made for.
const CHANGED_SHARE: u64 = 66;
/// Ratio to the rate that did not fit, in percent, from which on it is another link.
const CHANGED: u64 = 130;
/// Share of the budget for upgrades at once, for a while after a cut, in percent. Rates of layers swing by a tenth
/// within seconds, so that one that needs more may fit now and not in a moment.
const AMPLE_SHARE: u64 = 80;
/// Share of the cap, in percent, that the link must carry for the cap to stay the reason: estimates swing.
const CAPPED_SHARE: u64 = 80;
/// Share of the budget that layers already sent may need, in percent. Their rates swing, and while a queue is emptied
/// the budget is below the link's rate by about as much.
pub(super) const KEEP_SHARE: u64 = 108;

/// Share of the budget for lowest layers, in percent: no picture at all is worse than one that is late now and then.
const FIRST_SHARE: u64 = 98;
/// Share of the budget for any number of lowest layers at once, in percent: their keyframes fit beside them.
const ROOMY_SHARE: u64 = 50;
/// Share of the remaining budget that a lowest layer already sent may need before it is paused, in percent: pausing and
/// resuming it are two keyframes.
pub(super) const LOWEST_SHARE: u64 = 115;

/// The rates that may be given out.
pub(super) struct Allowed {
    /// Bits a second for layers sent already, and for lowest layers.
    pub(super) total: u64,
    /// Bits a second for upgrades.
    pub(super) more: u64,
    /// Bits a second for upgrades that take effect at once, without having fitted for a while.
    pub(super) ample: u64,
    /// Bits a second for lowest layers that are not sent now.
    pub(super) lowest: u64,
    /// Bits a second for those that resume at once, without having fitted for a while.
    pub(super) lowest_at_once: u64,
    /// Lowest layers that are sent now stay, whatever their rates: the link may carry them after all.
    pub(super) keeps_lowest: bool,
    /// Bits a second for any number of lowest layers at a time: a new participant should not wait.
    pub(super) roomy: u64,
    /// Bits a second that the present allocations need.
    pub(super) before: u64,
    /// Bits a second kept for audio beside them.
    pub(super) sound: u64,
    /// Bits a second that the link carries in all.
    pub(super) whole: u64,
    /// Every rate tried so far has fitted.
    pub(super) untried: bool,
    /// Nothing shows yet that the link carries no more.
    pub(super) is_unknown: bool,
    /// The server's limit in bits a second.
    pub(super) cap: u64,
    /// The link alone would carry the cap, or may well do.
    pub(super) is_capped: bool,
}

impl Allowed {
    pub(super) fn new(allocator: &Allocator, now: Instant, budget: Budget, cap: Cap) -> Self {
        let most = cap.bitrate.unwrap_or(u64::MAX);
        let before: u64 = allocator
            .choices
            .iter()
            .filter_map(|choice| Some(choice.options.bitrate(choice.before?)))
            .sum();
        let known = budget.bitrate.min(budget.confirmed);
        let sound = budget.sound;
        let did_not_fit = allocator.cut_from.saturating_add(sound);
        let changed = known.saturating_add(sound) > percent(did_not_fit, CHANGED);
        let calm =
            budget.waits || changed || allocator.calm_until().is_none_or(|until| now >= until);
        let settled = allocator.cut_at.is_none_or(|at| now >= at + CALM) && !budget.congested;
        let share = match (settled, calm) {
            (true, true) => UPGRADE_SHARE,
            (true, false) => CHANGED_SHARE,
            (false, _) => 0,
        };
        // Rates that swing must not exceed a server's limit.
        let of_known = |share| percent(known, share).min(percent(most, UPGRADE_SHARE));
        let carried = percent(budget.bitrate, KEEP_SHARE);
        let total = carried.min(percent(most, KEEP_SHARE));
        let recent = allocator.cut_at.is_some_and(|at| now < at + FORGIVE);
        let at_once = if recent { AMPLE_SHARE } else { 100 };
        let lowest = if share > 0 { FIRST_SHARE } else { 0 };
        let kept = before.min(total);
        Self {
            total,
            more: of_known(share),
            ample: of_known(share.min(at_once)),
            lowest: of_known(lowest).max(kept),
            lowest_at_once: of_known(lowest.min(at_once)).max(kept),
            keeps_lowest: budget.doubtful,
            roomy: of_known(lowest.min(ROOMY_SHARE)),
            before,
            sound,
            whole: budget.whole,
            untried: budget.untried,
            is_unknown: budget.untried && !budget.congested && !budget.waits,
            cap: most,
            // The link's rate beyond the cap is never found out: near the cap, the reason told before stays.
            is_capped: cap.bitrate.is_some()
                && (budget.untried
                    || most <= carried
                    || allocator.is_capped && percent(most, CAPPED_SHARE) <= carried),
        }
    }

    /// Whether a rate exceeds the cap, so that a better link would change nothing.
    pub(super) fn is_beyond_cap(&self, bitrate: u64) -> bool {
        self.is_capped && bitrate > percent(self.cap, UPGRADE_SHARE)
    }

    /// Bits a second that all layers may need together.
    pub(super) fn bound(&self) -> u64 {
        self.more.max(self.before.min(self.total))
    }

    /// Bits a second that all layers may need together at once, without having fitted for a while.
    pub(super) fn at_once(&self) -> u64 {
        self.ample.max(self.before.min(self.total))
    }
}

/// The subscriptions that may get more than before.
pub(super) struct Raises {
    /// Any number may.
    pub(super) all: bool,
    /// One may.
    pub(super) one: bool,
    /// The slot that gets more: it may get as much as fits, which also takes one keyframe.
    pub(super) slot: Option<usize>,
    /// No slot gets more before a picture that is about to come.
    pub(super) wait: bool,
}

impl Raises {
    pub(super) fn may(&self, slot: usize) -> bool {
        (self.all || self.one || self.slot == Some(slot)) && !self.wait
    }

    /// Records that a slot gets more.
    pub(super) fn raise(&mut self, slot: usize) {
        if self.one {
            (self.one, self.slot) = (false, Some(slot));
        }
    }
}

pub(super) fn percent(of: u64, share: u64) -> u64 {
    (u128::from(of) * u128::from(share) / 100).min(u128::from(u64::MAX)) as u64
}
