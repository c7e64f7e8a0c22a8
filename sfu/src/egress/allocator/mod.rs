//! Distributes what a viewer's link carries over its video subscriptions.
//!
//! Pure: wishes and a budget in, grants out. Sound is not its business: it is always sent, and the
//! budget is what is left beside it.
//!
//! 1. What is not to be seen, or not allowed, is paused.
//! 2. In order of priority everybody gets their lowest layer, for as long as the budget lasts. What
//!    does not fit is paused; something smaller behind it may still fit.
//! 3. What is left goes to upgrades: screens, pinned ones and the speaker first and whole, the others
//!    in rounds of one step each.
//!
//! # Hysteresis
//!
//! Down at once, up with proof: what all layers need together may only grow to a rate that arrived
//! already, as media or as a probe, with room to spare. After a cut it does not grow for a while, and
//! for longer if the cut followed an upgrade closely: a link at the edge of a layer is tried more and
//! more rarely instead of every few seconds, and taken only once it has fitted for seconds without a
//! break: the momentary rate of a layer swings, and in a trough nearly all of them fit. Shifting between
//! subscriptions (another person speaks) needs no proof: it makes nothing more.

mod assumed;
mod options;

use std::time::{Duration, Instant};

use assumed::assume;
use options::Options;

use crate::id::TrackId;
use crate::ladder::{Ladder, LayerId, Ranks};
use crate::view::{Cap, Reason};

/// After a cut, before more is tried.
const CALM: Duration = Duration::from_secs(1);
/// After an upgrade that did not last; twice as long after each further one, up to the last.
const CALM_AGAIN: Duration = Duration::from_secs(15);
const CALM_MAX: Duration = Duration::from_secs(60);
/// An upgrade that is cut within this did not last.
const PROOF: Duration = Duration::from_secs(12);
/// Without a cut for so long, the past is forgotten.
const FORGIVE: Duration = Duration::from_secs(90);
/// Of the budget, what upgrades may use, in percent: rates of layers vary by this much from second to
/// second, and an upgrade that fits only just does not last.
const UPGRADE_SHARE: u64 = 88;
/// And before the calm after a cut is over: with so much room the link is another than the one that the
/// cut was made for.
const CHANGED_SHARE: u64 = 66;
/// For a while after a cut, what upgrades may use at once, in percent: rates of layers swing by a tenth
/// within seconds, so that one that takes more may fit now and not in a moment.
const AMPLE_SHARE: u64 = 80;
/// What takes more has to fit for so long without a break, a few of those swings: what its layer needs at
/// its highest shows in that time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a cap, what the link must carry for the cap to stay the reason.
const CAPPED_SHARE: u64 = 80;
/// Of the budget, what layers already sent may need while the link is calm, in percent.
const KEEP_SHARE: u64 = 108;

/// And of what is left, what a lowest layer already sent may need before it is paused, in percent.
const LOWEST_SHARE: u64 = 130;

/// Who comes first when there is not enough for all. Smaller comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Priority {
    /// Shows a screen: what everybody talks about, and unreadable when small.
    Screen,
    /// The viewer wants it before others.
    Pinned,
    /// Speaks now.
    Speaking,
    /// Spoke: how many have since.
    Spoke(u16),
    /// The rest.
    Other,
}

impl Priority {
    /// Upgraded as far as possible before others are at all.
    fn comes_whole(self) -> bool {
        self <= Self::Speaking
    }
}

/// A video subscription.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) slot: usize,
    pub(crate) track: TrackId,
    pub(crate) ladder: Ladder,
    /// The track's encodings as the ladder counts them.
    pub(crate) order: Ranks,
    pub(crate) priority: Priority,
    /// Pixels its place on the screen is high; 0 is any.
    pub(crate) height: u16,
    /// It is not to be sent, whatever the link carries.
    pub(crate) paused: Option<Reason>,
    /// Steps are left out of the ladder: the viewer cannot decode them.
    pub(crate) lacks_codec: bool,
    /// Bits a second that it may take of what the link carries, if it has a bound of its own.
    pub(crate) most: Option<u64>,
    /// What it was granted last.
    pub(crate) current: Option<LayerId>,
    /// What is sent of it, until a keyframe of what was granted comes.
    pub(crate) shown: Option<LayerId>,
}

impl Wish {
    /// Whether a layer was asked for and does not come.
    fn waits_for(&self, layer: Option<LayerId>) -> bool {
        let mut rungs = self.ladder.rungs().iter();
        rungs.any(|rung| rung.late && Some(rung.id) == layer)
    }

    /// What is sent does not come any more, and something else does: the picture stands still. What
    /// comes only once it is asked for would take longer.
    fn is_stranded(&self) -> bool {
        let alive = |spatial: Option<u8>| {
            let mut rungs = self.ladder.rungs().iter();
            rungs.any(|rung| rung.alive && spatial.is_none_or(|of| rung.id.spatial == of))
        };
        self.shown
            .is_some_and(|shown| !alive(Some(shown.spatial)) && alive(None))
    }
}

/// What there is to distribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Bits a second for video.
    pub(crate) bitrate: u64,
    /// Bits a second for video that arrived lately, as media or as a probe.
    pub(crate) confirmed: u64,
    /// Nothing was tried that did not fit: lowest layers are tried without proof.
    pub(crate) untried: bool,
    /// The link is overused just now.
    pub(crate) congested: bool,
    /// Whoever says what the link carries waits by itself after a cut that followed an upgrade.
    pub(crate) waits: bool,
}

/// What a subscription gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    pub(crate) slot: usize,
    pub(crate) track: TrackId,
    /// None: paused, or nothing comes.
    pub(crate) layer: Option<LayerId>,
    pub(crate) bitrate: u64,
    /// Why no more.
    pub(crate) reason: Reason,
    /// The publisher was asked for the layer and does not send it: what was sent before goes on.
    pub(crate) is_late: bool,
}

/// The allocator of one viewer.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    grants: Vec<Grant>,
    choices: Vec<Choice>,
    /// Upgrades that fit only just: at most each layer of each wish, and gone when they do not fit.
    waiting: Vec<Waiting>,
    upgraded_at: Option<Instant>,
    cut_at: Option<Instant>,
    calm: Duration,
    /// What the grants need.
    pub(crate) allocated: u64,
    /// What they would need without any bound by the link.
    pub(crate) desired: u64,
    /// Bits a second of the grants with the cheapest further layer; of the grants alone if there is none.
    pub(crate) step: u64,
    /// It was the server's limit that counted, not the link.
    is_capped: bool,
}

/// An upgrade that fits only just.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    slot: usize,
    layer: LayerId,
    /// It has fitted at every decision since.
    since: Instant,
    /// At the present one, too.
    fits: bool,
}

#[derive(Clone, Copy, Debug)]
struct Choice {
    wish: usize,
    slot: usize,
    priority: Priority,
    options: Options,
    /// As [`Wish::most`].
    most: u64,
    /// Chosen among the options.
    chosen: Option<usize>,
    /// As it was.
    before: Option<usize>,
}

impl Choice {
    fn cost(&self) -> u64 {
        self.chosen.map_or(0, |at| self.options.bitrate(at))
    }

    fn next(&self) -> Option<usize> {
        let next = self.chosen.map_or(0, |at| at + 1);
        (next < self.options.len()).then_some(next)
    }
}

impl Allocator {
    /// Decides anew. The grants are in the order of the wishes.
    pub(crate) fn allocate(
        &mut self,
        now: Instant,
        budget: Budget,
        cap: Cap,
        wishes: &[Wish],
    ) -> &[Grant] {
        self.choose_among(wishes, cap);
        let allowed = Allowed::new(self, now, budget, cap);
        self.is_capped = allowed.is_capped;
        let mut left = allowed.total;
        self.give_lowest(&allowed, &mut left);
        self.upgrade(now, &allowed);
        self.note(now, allowed.before);
        self.grant(wishes, cap, &allowed);
        &self.grants
    }

    /// As last decided.
    pub(crate) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// When it may decide otherwise though nothing else has changed.
    pub(crate) fn calm_until(&self) -> Option<Instant> {
        self.cut_at.map(|at| at + self.calm)
    }

    fn choose_among(&mut self, wishes: &[Wish], cap: Cap) {
        self.choices.clear();
        for (index, wish) in wishes.iter().enumerate() {
            if wish.paused.is_some() {
                continue;
            }
            let height = tighter(wish.height, cap.height.unwrap_or(0));
            let options = match cap.bitrate {
                None => Options::of(&wish.ladder, height, wish.is_stranded()),
                Some(_) => {
                    let mut ladder = wish.ladder;
                    assume(&mut ladder);
                    Options::of(&ladder, height, wish.is_stranded())
                }
            };
            self.choices.push(Choice {
                wish: index,
                slot: wish.slot,
                priority: wish.priority,
                before: wish.current.and_then(|layer| options.position(layer)),
                options,
                most: wish.most.unwrap_or(u64::MAX),
                chosen: None,
            });
        }
        // Stable: among equals, who was first stays first.
        self.choices.sort_by_key(|choice| choice.priority);
    }

    fn give_lowest(&mut self, allowed: &Allowed, left: &mut u64) {
        let mut given = 0_u64;
        for choice in &mut self.choices {
            if choice.options.len() == 0 {
                continue;
            }
            let cost = choice.options.bitrate(0);
            let bound = if choice.before.is_some() {
                // A picture that goes away is worse than one that comes late for a moment; if it is
                // really too much, the estimate falls further.
                percent(*left, LOWEST_SHARE)
            } else if allowed.settled {
                percent(*left, UPGRADE_SHARE)
            } else {
                // Paused for want of bandwidth, most likely: not at once again, unless others left room.
                (*left).min(allowed.before.saturating_sub(allowed.total - *left))
            };
            // A cap is a bound that needs no trying, and that a swinging rate may touch.
            let share = match choice.before {
                Some(_) => KEEP_SHARE,
                None => UPGRADE_SHARE,
            };
            let within_cap = cost <= percent(allowed.cap.saturating_sub(given), share);
            if cost <= choice.most && within_cap && (cost <= bound || allowed.untried) {
                choice.chosen = Some(0);
                *left = left.saturating_sub(cost);
                given += cost;
            }
        }
    }

    fn upgrade(&mut self, now: Instant, allowed: &Allowed) {
        let mut total: u64 = self.choices.iter().map(Choice::cost).sum();
        for whole in [true, false] {
            loop {
                let mut any = false;
                for choice in &mut self.choices {
                    if choice.priority.comes_whole() != whole || choice.chosen.is_none() {
                        continue;
                    }
                    while let Some(next) = choice.next() {
                        let cost = choice.options.bitrate(next);
                        let after = total - choice.cost() + cost;
                        if after > allowed.bound() || cost > choice.most {
                            break;
                        }
                        let layer = choice.options.id(next);
                        if after > allowed.at_once()
                            && !has_waited(&mut self.waiting, now, choice.slot, layer)
                        {
                            break;
                        }
                        (choice.chosen, total, any) = (Some(next), after, true);
                        if !whole {
                            break;
                        }
                    }
                }
                if !any {
                    break;
                }
            }
        }
        self.waiting
            .retain_mut(|waiting| std::mem::take(&mut waiting.fits));
    }

    /// Remembers upgrades and cuts.
    fn note(&mut self, now: Instant, before: u64) {
        let after: u64 = self.choices.iter().map(Choice::cost).sum();
        let cut = self.choices.iter().any(|choice| {
            choice.before.is_some()
                && choice.chosen.map(|at| at + 1) < choice.before.map(|at| at + 1)
        });
        let raised = self
            .choices
            .iter()
            .any(|choice| choice.before.is_some() && choice.chosen > choice.before);
        if cut && after < before {
            let lasted = self.upgraded_at.is_none_or(|at| now >= at + PROOF);
            let recent = self.cut_at.is_some_and(|at| now < at + FORGIVE);
            self.calm = match (lasted, recent) {
                (false, _) => (self.calm * 2).clamp(CALM_AGAIN, CALM_MAX),
                (true, true) => self.calm.max(CALM),
                (true, false) => CALM,
            };
            self.cut_at = Some(now);
        } else if raised && after > before {
            self.upgraded_at = Some(now);
        }
        self.allocated = after;
        let steps = self.choices.iter().filter_map(|choice| {
            let next = choice.options.bitrate(choice.next()?);
            Some(after - choice.cost() + next)
        });
        self.step = steps.min().unwrap_or(after);
        self.desired = self
            .choices
            .iter()
            .map(|choice| match choice.options.len() {
                0 => 0,
                len => choice.options.bitrate(len - 1),
            })
            .sum();
    }

    fn grant(&mut self, wishes: &[Wish], cap: Cap, allowed: &Allowed) {
        let total: u64 = self.choices.iter().map(Choice::cost).sum();
        self.grants.clear();
        self.grants.extend(wishes.iter().map(|wish| Grant {
            slot: wish.slot,
            track: wish.track,
            layer: None,
            bitrate: 0,
            is_late: false,
            reason: wish.paused.unwrap_or_else(|| {
                if wish.ladder.is_untouched() {
                    Reason::NotStarted
                } else {
                    Reason::Publisher
                }
            }),
        }));
        for choice in &self.choices {
            let (wish, grant) = (&wishes[choice.wish], &mut self.grants[choice.wish]);
            if choice.options.len() == 0 {
                continue;
            }
            grant.layer = choice.chosen.map(|at| choice.options.id(at));
            grant.bitrate = choice.cost();
            grant.is_late = wish.waits_for(grant.layer);
            grant.reason = if let Some(next) = choice.next() {
                let with_next = total - choice.cost() + choice.options.bitrate(next);
                if allowed.is_beyond_cap(with_next, choice.chosen.is_none()) {
                    Reason::Cap
                } else {
                    Reason::Bandwidth
                }
            } else if grant.is_late {
                Reason::Publisher
            } else if choice.options.is_bounded() {
                match (wish.height, cap.height) {
                    (0, _) => Reason::Cap,
                    (height, Some(most)) if most < height => Reason::Cap,
                    _ => Reason::SizeHint,
                }
            } else if choice.options.is_incomplete() && wish.lacks_codec {
                Reason::Codec
            } else if choice.options.is_unmeasured() {
                Reason::Keyframe
            } else if choice.options.is_incomplete() {
                Reason::Publisher
            } else {
                Reason::Best
            };
        }
    }
}

/// How much may be given out.
struct Allowed {
    /// For what is sent already, and for lowest layers.
    total: u64,
    /// For more than that.
    more: u64,
    /// For more than that without waiting for proof.
    ample: u64,
    /// What is granted now needs this much.
    before: u64,
    /// Lowest layers may be given to who had none.
    settled: bool,
    untried: bool,
    /// The server's limit in bits a second.
    cap: u64,
    /// The link alone would carry that much, or may well do.
    is_capped: bool,
}

impl Allowed {
    fn new(allocator: &Allocator, now: Instant, budget: Budget, cap: Cap) -> Self {
        let most = cap.bitrate.unwrap_or(u64::MAX);
        let before = allocator
            .choices
            .iter()
            .filter_map(|choice| Some(choice.options.bitrate(choice.before?)))
            .sum();
        let calm = budget.waits || allocator.calm_until().is_none_or(|until| now >= until);
        let settled = allocator.cut_at.is_none_or(|at| now >= at + CALM) && !budget.congested;
        let share = match (settled, calm) {
            (true, true) => UPGRADE_SHARE,
            (true, false) => CHANGED_SHARE,
            (false, _) => 0,
        };
        let keep = if budget.congested { 100 } else { KEEP_SHARE };
        let carried = percent(budget.bitrate, keep);
        let total = carried.min(most);
        let more = percent(budget.bitrate.min(budget.confirmed), share).min(most);
        let recent = allocator.cut_at.is_some_and(|at| now < at + FORGIVE);
        let ample = if recent {
            share.min(AMPLE_SHARE)
        } else {
            share
        };
        Self {
            total,
            more,
            ample: percent(budget.bitrate.min(budget.confirmed), ample).min(most),
            before,
            settled,
            untried: budget.untried,
            cap: most,
            // What the link carries beyond the cap is never found out: near it, what was told stays.
            is_capped: cap.bitrate.is_some()
                && (budget.untried
                    || most <= carried
                    || allocator.is_capped && percent(most, CAPPED_SHARE) <= carried),
        }
    }

    /// More than the server allows: a better link would change nothing.
    fn is_beyond_cap(&self, bitrate: u64, is_lowest: bool) -> bool {
        let share = if is_lowest { UPGRADE_SHARE } else { 100 };
        self.is_capped && bitrate > percent(self.cap, share)
    }

    /// What all may need together.
    fn bound(&self) -> u64 {
        self.more.max(self.before.min(self.total))
    }

    /// The same, of what needs no waiting.
    fn at_once(&self) -> u64 {
        self.ample.max(self.before.min(self.total))
    }
}

/// Whether an upgrade has fitted for long enough.
fn has_waited(waiting: &mut Vec<Waiting>, now: Instant, slot: usize, layer: LayerId) -> bool {
    let known = waiting
        .iter_mut()
        .find(|waiting| (waiting.slot, waiting.layer) == (slot, layer));
    let Some(known) = known else {
        waiting.push(Waiting {
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

fn percent(of: u64, share: u64) -> u64 {
    (u128::from(of) * u128::from(share) / 100).min(u128::from(u64::MAX)) as u64
}

/// The smaller of two heights of which 0 is none.
fn tighter(a: u16, b: u16) -> u16 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

#[cfg(test)]
mod tests;
