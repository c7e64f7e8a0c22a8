//! How much of the budget may be given out, and to how many.

use std::time::Instant;

use super::{Allocator, Budget, CALM, FORGIVE};
use crate::view::Cap;

/// Upgrades may use this share of the budget, in percent: rates of layers vary by the rest from second to
/// second, and an upgrade that fits only just does not last.
pub(super) const UPGRADE_SHARE: u64 = 88;
/// Upgrades may use this share before the calm after a cut is over: with so much room the link is another than the
/// one that the cut was made for.
const CHANGED_SHARE: u64 = 66;
/// A link that carries this share of what did not fit, in percent, is another link.
const CHANGED: u64 = 130;
/// Upgrades may use this share at once for a while after a cut, in percent: rates of layers swing by a tenth
/// within seconds, so that one that takes more may fit now and not in a moment.
const AMPLE_SHARE: u64 = 80;
/// A cap stays the reason while the link carries this share of it, in percent: estimates swing.
const CAPPED_SHARE: u64 = 80;
/// Layers already sent may need this share of the budget, in percent: their rates swing, and while a queue is emptied
/// the budget is less than what the link carries by about as much.
pub(super) const KEEP_SHARE: u64 = 108;

/// Lowest layers may use this share of the budget, in percent: no picture at all is worse than one that is late now
/// and then.
const FIRST_SHARE: u64 = 98;
/// Lowest layers may use this share of the budget all at once, in percent: their keyframes fit beside them.
const ROOMY_SHARE: u64 = 50;
/// A lowest layer already sent may need this share of what is left before it is paused, in percent: pausing and
/// resuming it are two keyframes.
pub(super) const LOWEST_SHARE: u64 = 115;

/// How much may be given out.
pub(super) struct Allowed {
    /// Bits a second for what is sent already, and for lowest layers.
    pub(super) total: u64,
    /// Bits a second for upgrades.
    pub(super) more: u64,
    /// Bits a second for upgrades that need not have fitted for a while.
    pub(super) ample: u64,
    /// Bits a second for lowest layers that are not sent now.
    pub(super) lowest: u64,
    /// Bits a second for those of them that need not have fitted for a while.
    pub(super) lowest_at_once: u64,
    /// Lowest layers that are sent now stay, whatever they need: the link may carry them after all.
    pub(super) keeps_lowest: bool,
    /// Bits a second for any number of lowest layers at a time: who joins is not to wait.
    pub(super) roomy: u64,
    /// Bits a second that the present grants need.
    pub(super) before: u64,
    /// Bits a second kept for sound beside them.
    pub(super) sound: u64,
    /// Bits a second that the link carries in all.
    pub(super) whole: u64,
    /// Nothing was tried that did not fit.
    pub(super) untried: bool,
    /// Nobody knows yet that the link carries no more.
    pub(super) is_unknown: bool,
    /// The server's limit in bits a second.
    pub(super) cap: u64,
    /// The link alone would carry that much, or may well do.
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
        // A server's limit is not exceeded by rates that swing.
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
            // What the link carries beyond the cap is never found out: near it, what was told stays.
            is_capped: cap.bitrate.is_some()
                && (budget.untried
                    || most <= carried
                    || allocator.is_capped && percent(most, CAPPED_SHARE) <= carried),
        }
    }

    /// More than the server allows: a better link would change nothing.
    pub(super) fn is_beyond_cap(&self, bitrate: u64) -> bool {
        self.is_capped && bitrate > percent(self.cap, UPGRADE_SHARE)
    }

    /// Bits a second that all layers may need together.
    pub(super) fn bound(&self) -> u64 {
        self.more.max(self.before.min(self.total))
    }

    /// Bits a second that all layers may need together without having fitted for a while.
    pub(super) fn at_once(&self) -> u64 {
        self.ample.max(self.before.min(self.total))
    }
}

/// How many may get more than they had.
pub(super) struct Raises {
    /// Any number.
    pub(super) all: bool,
    /// One of them.
    pub(super) one: bool,
    /// The one that gets more: it may get as much as fits, which takes one keyframe too.
    pub(super) slot: Option<usize>,
    /// None before a picture that is about to come.
    pub(super) wait: bool,
}

impl Raises {
    pub(super) fn may(&self, slot: usize) -> bool {
        (self.all || self.one || self.slot == Some(slot)) && !self.wait
    }

    /// Notes that a slot gets more.
    pub(super) fn raise(&mut self, slot: usize) {
        if self.one {
            (self.one, self.slot) = (false, Some(slot));
        }
    }
}

pub(super) fn percent(of: u64, share: u64) -> u64 {
    (u128::from(of) * u128::from(share) / 100).min(u128::from(u64::MAX)) as u64
}
