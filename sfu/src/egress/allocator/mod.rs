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
//!
//! Each change is a keyframe, and a browser begins all encodings of a camera anew with it. So after a cut one
//! picture at a time gets more, a layer whose pictures waited too long is bounded for a while, and within a class
//! who has a picture keeps it.

mod allowed;
mod assumed;
mod ceilings;
mod comebacks;
mod options;
mod patience;

use std::time::{Duration, Instant};

use allowed::{Allowed, KEEP_SHARE, LOWEST_SHARE, Raises, UPGRADE_SHARE, percent};
use assumed::assume;
use ceilings::Ceilings;
use comebacks::Comebacks;
use options::Options;
use patience::Patience;

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
/// A link that carries less than this share of what was sent, in percent, has changed: no upgrade is to blame for that.
const NARROWED: u64 = 50;
/// Without a cut for so long, the past is forgotten.
const FORGIVE: Duration = Duration::from_secs(90);
/// Between two upgrades, or resumptions: a keyframe has gone through, and feedback tells what it did.
const ONE_AT_A_TIME: Duration = Duration::from_secs(1);

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
    /// Within a class who has a picture keeps it, whoever spoke last: to change it costs two keyframes.
    fn class(self) -> u8 {
        match self {
            Self::Screen => 0,
            Self::Pinned => 1,
            Self::Speaking => 2,
            Self::Spoke(_) | Self::Other => 3,
        }
    }

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
    /// The link may carry as much as before after all: it is known within a moment.
    pub(crate) doubtful: bool,
    /// Whoever says what the link carries waits by itself after a cut that followed an upgrade.
    pub(crate) waits: bool,
    /// Bits a second kept for sound, which are not part of `bitrate` and `confirmed`.
    pub(crate) sound: u64,
    /// Bits a second that the link carries in all.
    pub(crate) whole: u64,
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
    patience: Patience,
    ceilings: Ceilings,
    upgraded_at: Option<Instant>,
    comebacks: Comebacks,
    raised_at: Option<Instant>,
    cut_at: Option<Instant>,
    /// Bits a second that did not fit then.
    cut_from: u64,
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
    /// So many of the options may be chosen.
    within: usize,
}

impl Choice {
    fn cost(&self) -> u64 {
        self.chosen.map_or(0, |at| self.options.bitrate(at))
    }

    fn next(&self) -> Option<usize> {
        let next = self.chosen.map_or(0, |at| at + 1);
        (next < self.options.len()).then_some(next)
    }

    /// More than was granted before.
    fn is_raise(&self, to: usize) -> bool {
        self.before.is_none_or(|before| to > before)
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
        self.choose_among(now, wishes, cap);
        let allowed = Allowed::new(self, now, budget, cap);
        self.is_capped = allowed.is_capped;
        let mut left = allowed.total;
        // After a cut one at a time, so that each shows what it does before the next.
        let recent = self.cut_at.is_some_and(|at| now < at + FORGIVE);
        let mut raises = Raises {
            all: allowed.untried || !recent,
            slot: None,
            one: self.raised_at.is_none_or(|at| now >= at + ONE_AT_A_TIME),
            wait: false,
        };
        self.give_lowest(now, &allowed, &mut left, &mut raises);
        self.upgrade(now, &allowed, &mut raises);
        self.note(now, &allowed);
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

    /// What was granted to a slot waited for too long to be sent: less of it for a while.
    pub(crate) fn overran(&mut self, now: Instant, slot: usize) {
        let choice = self.choices.iter().find(|choice| choice.slot == slot);
        let Some(choice) = choice else { return };
        let below = choice.chosen.and_then(|at| at.checked_sub(1));
        let layer = below.map(|at| choice.options.id(at));
        self.ceilings.lower(now, slot, layer);
        self.comebacks.forgive();
        if self.cut_at.is_none_or(|at| now >= at + FORGIVE) {
            self.calm = CALM;
        }
        self.cut_at = Some(now);
        self.calm = self.calm.max(CALM);
    }

    /// The slot that makes way when not all gets through: of those that take much, the last in line.
    pub(crate) fn last_in_line(&self, takes_much: impl Fn(usize) -> bool) -> Option<usize> {
        let mut choices = self.choices.iter().rev();
        let found = choices.find(|choice| takes_much(choice.slot));
        found.map(|choice| choice.slot)
    }

    fn choose_among(&mut self, now: Instant, wishes: &[Wish], cap: Cap) {
        self.ceilings.forget(now);
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
            let ceiling = self.ceilings.of(now, wish.slot);
            let within = ceiling.map_or(options.len(), |layer| {
                let highest = layer.and_then(|layer| options.position(layer));
                highest.map_or(0, |at| at + 1)
            });
            self.choices.push(Choice {
                within,
                wish: index,
                slot: wish.slot,
                priority: wish.priority,
                before: wish.current.and_then(|layer| options.position(layer)),
                options,
                most: wish.most.unwrap_or(u64::MAX),
                chosen: None,
            });
        }
        // Stable: among equals, who has more keeps it, and who was first stays first.
        self.choices.sort_by_key(|choice| {
            (
                choice.priority.class(),
                std::cmp::Reverse(choice.before),
                choice.priority,
            )
        });
    }

    fn give_lowest(
        &mut self,
        now: Instant,
        allowed: &Allowed,
        left: &mut u64,
        raises: &mut Raises,
    ) {
        let mut given = 0_u64;
        for choice in &mut self.choices {
            if choice.options.len() == 0 || choice.within == 0 {
                continue;
            }
            let cost = choice.options.bitrate(0);
            let after = allowed.total - *left + cost;
            let fits = allowed.untried
                || if choice.before.is_some() {
                    // A picture that goes away is worse than one that comes late for a moment; if it is
                    // really too much, the estimate falls further. And it comes back seconds after it was paused.
                    allowed.keeps_lowest || cost <= percent(*left, LOWEST_SHARE)
                } else {
                    // Paused for want of bandwidth, most likely: it must fit for a while, unless others left
                    // room for it.
                    let lowest = choice.options.id(0);
                    let most = match self.comebacks.waits(now, choice.slot) {
                        true => allowed.lowest.min(allowed.bound()),
                        false => allowed.lowest,
                    };
                    let fits = after <= most;
                    let at_once = fits && after <= allowed.lowest_at_once;
                    let fitted =
                        at_once || fits && self.patience.has_fitted(now, choice.slot, lowest);
                    // And nobody else gets more meanwhile.
                    let may = raises.may(choice.slot) || after <= allowed.roomy;
                    raises.wait |= fits && !(fitted && may);
                    fitted && may
                };
            // A cap is a bound that needs no trying, and that a swinging rate may touch.
            let share = match choice.before {
                Some(_) => KEEP_SHARE,
                None => UPGRADE_SHARE,
            };
            let within_cap = cost <= percent(allowed.cap.saturating_sub(given), share);
            if fits && within_cap && cost <= choice.most {
                choice.chosen = Some(0);
                if choice.is_raise(0) {
                    raises.raise(choice.slot);
                }
                *left = left.saturating_sub(cost);
                given += cost;
            }
        }
    }

    fn upgrade(&mut self, now: Instant, allowed: &Allowed, raises: &mut Raises) {
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
                        if next >= choice.within
                            || (choice.is_raise(next) && !raises.may(choice.slot))
                        {
                            break;
                        }
                        let layer = choice.options.id(next);
                        if after > allowed.at_once()
                            && !self.patience.has_fitted(now, choice.slot, layer)
                        {
                            break;
                        }
                        if choice.is_raise(next) {
                            raises.raise(choice.slot);
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
        self.patience.end_decision();
    }

    /// Remembers upgrades and cuts.
    fn note(&mut self, now: Instant, allowed: &Allowed) {
        let before = allowed.before;
        let after: u64 = self.choices.iter().map(Choice::cost).sum();
        let cut = self.choices.iter().any(|choice| {
            choice.before.is_some()
                && choice.chosen.map(|at| at + 1) < choice.before.map(|at| at + 1)
        });
        let raised = self
            .choices
            .iter()
            .any(|choice| choice.before.is_some() && choice.chosen > choice.before);
        if self
            .choices
            .iter()
            .any(|choice| choice.chosen > choice.before)
        {
            self.raised_at = Some(now);
        }
        if cut && after < before {
            let narrowed = allowed.whole < percent(before + allowed.sound, NARROWED);
            let went = self.comebacks.note_cut(now, &self.choices, narrowed);
            let upgraded = self.upgraded_at.is_some_and(|at| now < at + PROOF);
            let lasted = !went && (!upgraded || narrowed);
            let recent = self.cut_at.is_some_and(|at| now < at + FORGIVE);
            self.calm = match (lasted, recent) {
                (false, _) => (self.calm * 2).clamp(CALM_AGAIN, CALM_MAX),
                (true, true) => self.calm.max(CALM),
                (true, false) => CALM,
            };
            (self.cut_at, self.cut_from) = (Some(now), before);
            // An upgrade is to blame once.
            self.upgraded_at = None;
        } else {
            self.comebacks.note(now, &self.choices);
            if raised && after > before {
                self.upgraded_at = Some(now);
            }
        }
        self.allocated = after;
        let steps = self.choices.iter().filter_map(|choice| {
            let next = choice.next().filter(|next| *next < choice.within)?;
            let next = choice.options.bitrate(next);
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
                if allowed.is_beyond_cap(with_next) {
                    Reason::Cap
                } else if allowed.is_unknown {
                    // Probes are under way.
                    Reason::Keyframe
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

/// The smaller of two heights of which 0 is none.
fn tighter(a: u16, b: u16) -> u16 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

#[cfg(test)]
mod tests;
