//! Distributes the estimated bandwidth of a viewer's link over its video subscriptions.
//!
//! It is pure: requests and a budget in, allocations out. Audio is not part of it: audio is always sent, and the budget
//! is the rest.
//!
//! 1. Hidden and forbidden tracks are paused.
//! 2. In order of priority each subscription gets its lowest layer, for as long as the budget lasts. One that does not
//!    fit is paused; a smaller one after it may still fit.
//! 3. The rest goes to upgrades: those that come whole first and as far as possible, the others in rounds of one step
//!    each.
//!
//! # Hysteresis
//!
//! Cuts happen at once, upgrades need proof. The sum of all layers may only grow to a rate that has arrived already, as
//! media or as a probe, with room to spare. After a cut it does not grow for a while, and for longer if the cut
//! followed an upgrade closely. So on a link at the edge of a layer that layer is tried more and more rarely instead of
//! every few seconds. It is also sent only once it has fitted for seconds without a break: the momentary rate of a
//! layer swings, and in a trough nearly all of them fit. A shift between subscriptions (another person speaks) needs no
//! proof, as the sum does not grow.
//!
//! Each change is a keyframe, and a browser then restarts all encodings of a camera. So after a cut one picture at a
//! time gets more, a layer whose pictures waited too long is bounded for a while, and within a class the present
//! pictures stay.

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
use crate::track::ladder::{Ladder, LayerId, Ranks};
use crate::view::{Cap, Reason};

/// Time after a cut before more is tried.
const CALM: Duration = Duration::from_secs(1);
/// Time after a cut that followed an upgrade closely; it doubles after each further one, up to [`CALM_MAX`].
const CALM_AGAIN: Duration = Duration::from_secs(15);
const CALM_MAX: Duration = Duration::from_secs(60);
/// Time within which a cut shows that an upgrade did not last.
const PROOF: Duration = Duration::from_secs(12);
/// Share of the rate sent, in percent, below which a link has changed: no upgrade is to blame for that.
const NARROWED: u64 = 50;
/// Time without a cut after which earlier cuts are forgotten.
const FORGIVE: Duration = Duration::from_secs(90);
/// Share of the rate to distribute, in percent, up to which pictures are carried easily: with its keyframes a layer
/// takes about twice its rate.
const EASY_SHARE: u64 = 50;
/// Time between two upgrades, or resumptions: the keyframe has gone through, and feedback tells its effect.
const ONE_AT_A_TIME: Duration = Duration::from_secs(1);

/// The place of a subscription in the order when there is not enough for all. Smaller comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Priority {
    /// The class. Within a class the present pictures stay, whatever their ranks: a change costs two keyframes.
    pub(crate) class: u8,
    /// The place in the class.
    pub(crate) rank: u16,
    /// It is upgraded as far as possible before others are upgraded at all.
    pub(crate) comes_whole: bool,
}

/// A video subscription.
#[derive(Clone, Debug)]
pub(crate) struct LayerRequest {
    pub(crate) slot: usize,
    pub(crate) track: TrackId,
    pub(crate) ladder: Ladder,
    /// The order of the track's encodings that the ladder uses.
    pub(crate) order: Ranks,
    pub(crate) priority: Priority,
    /// Height of its place on the screen in pixels; 0 is any.
    pub(crate) height: u16,
    /// The reason that it must not be sent, whatever the link carries.
    pub(crate) paused: Option<Reason>,
    /// The ladder lacks steps that the viewer cannot decode.
    pub(crate) lacks_codec: bool,
    /// Largest part of the link's rate that it may take, in bits a second, if it has a bound of its own.
    pub(crate) most: Option<u64>,
    /// The last allocation.
    pub(crate) current: Option<LayerId>,
    /// The layer being sent, until a keyframe of the granted one comes.
    pub(crate) shown: Option<LayerId>,
}

impl LayerRequest {
    /// Whether a layer was asked for and is overdue.
    fn waits_for(&self, layer: Option<LayerId>) -> bool {
        let mut rungs = self.ladder.rungs().iter();
        rungs.any(|rung| rung.late && Some(rung.id) == layer)
    }

    /// Whether the picture stands still: the layer being sent has stopped, and another one arrives. A layer that comes
    /// only on request would take longer.
    fn is_stranded(&self) -> bool {
        let alive = |spatial: Option<u8>| {
            let mut rungs = self.ladder.rungs().iter();
            rungs.any(|rung| rung.alive && spatial.is_none_or(|of| rung.id.spatial == of))
        };
        self.shown
            .is_some_and(|shown| !alive(Some(shown.spatial)) && alive(None))
    }
}

/// The rates to distribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Bits a second for video.
    pub(crate) bitrate: u64,
    /// Bits a second for video that arrived lately, as media or as a probe.
    pub(crate) confirmed: u64,
    /// Every rate tried so far has fitted: lowest layers are tried without proof.
    pub(crate) untried: bool,
    /// The link is overused at present.
    pub(crate) congested: bool,
    /// The link may carry the earlier rate after all, which is known within a moment.
    pub(crate) doubtful: bool,
    /// The estimator itself waits after a cut that followed an upgrade.
    pub(crate) waits: bool,
    /// Bits a second kept for audio, which are not part of `bitrate` and `confirmed`.
    pub(crate) sound: u64,
    /// Bits a second that the link carries in all.
    pub(crate) whole: u64,
}

/// The decision for a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LayerAllocation {
    pub(crate) slot: usize,
    pub(crate) track: TrackId,
    /// The layer; none: paused, or nothing comes.
    pub(crate) layer: Option<LayerId>,
    pub(crate) bitrate: u64,
    /// The reason that no higher layer is granted.
    pub(crate) reason: Reason,
    /// The publisher was asked for the layer and does not send it: the earlier layer goes on.
    pub(crate) is_late: bool,
}

/// The allocator of one viewer.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    allocations: Vec<LayerAllocation>,
    choices: Vec<Choice>,
    patience: Patience,
    ceilings: Ceilings,
    upgraded_at: Option<Instant>,
    comebacks: Comebacks,
    raised_at: Option<Instant>,
    cut_at: Option<Instant>,
    /// Bits a second that did not fit at the last cut.
    cut_from: u64,
    calm: Duration,
    /// Bits a second that the allocations need.
    pub(crate) allocated: u64,
    /// Bits a second that they would need on an unlimited link.
    pub(crate) desired: u64,
    /// Bits a second of the allocations with the cheapest further layer; of the allocations alone if there is none.
    pub(crate) step: u64,
    /// Bits a second that were distributed.
    total: u64,
    /// The server's limit was the bound, not the link.
    is_capped: bool,
}

#[derive(Clone, Copy, Debug)]
struct Choice {
    request: usize,
    slot: usize,
    priority: Priority,
    options: Options,
    /// The bound of [`LayerRequest::most`].
    most: u64,
    /// The chosen option.
    chosen: Option<usize>,
    /// The option before.
    before: Option<usize>,
    /// The number of options that may be chosen.
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

    /// Whether an option exceeds the last allocation.
    fn is_raise(&self, to: usize) -> bool {
        self.before.is_none_or(|before| to > before)
    }
}

impl Allocator {
    /// Decides anew. The allocations are in the order of the requests.
    pub(crate) fn allocate(
        &mut self,
        now: Instant,
        budget: Budget,
        cap: Cap,
        requests: &[LayerRequest],
    ) -> &[LayerAllocation] {
        self.choose_among(now, requests, cap);
        let allowed = Allowed::new(self, now, budget, cap);
        self.is_capped = allowed.is_capped;
        self.total = allowed.total;
        let mut left = allowed.total;
        // After a cut one slot at a time gets more, so that each shows its effect before the next.
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
        self.assign(requests, cap, &allowed);
        &self.allocations
    }

    /// The last decision.
    pub(crate) fn allocations(&self) -> &[LayerAllocation] {
        &self.allocations
    }

    /// The time at which the decision may change though nothing else has.
    pub(crate) fn calm_until(&self) -> Option<Instant> {
        self.cut_at.map(|at| at + self.calm)
    }

    /// Bounds a slot for a while, as its packets waited too long to be sent.
    pub(crate) fn overran(&mut self, now: Instant, slot: usize) {
        let choice = self.choices.iter().find(|choice| choice.slot == slot);
        let Some(choice) = choice else { return };
        let below = choice.chosen.and_then(|at| at.checked_sub(1));
        let layer = below.map(|at| choice.options.id(at));
        let briefly = layer.is_none() && self.allocated <= percent(self.total, EASY_SHARE);
        self.ceilings.lower(now, slot, layer, briefly);
        self.comebacks.forgive();
        if self.cut_at.is_none_or(|at| now >= at + FORGIVE) {
            self.calm = CALM;
        }
        self.cut_at = Some(now);
        self.calm = self.calm.max(CALM);
    }

    /// The slot that makes way when not everything gets through: the last in line among those that need much.
    pub(crate) fn last_in_line(&self, takes_much: impl Fn(usize) -> bool) -> Option<usize> {
        let mut choices = self.choices.iter().rev();
        let found = choices.find(|choice| takes_much(choice.slot));
        found.map(|choice| choice.slot)
    }

    fn choose_among(&mut self, now: Instant, requests: &[LayerRequest], cap: Cap) {
        self.ceilings.forget(now);
        self.choices.clear();
        for (index, request) in requests.iter().enumerate() {
            if request.paused.is_some() {
                continue;
            }
            let height = tighter(request.height, cap.height.unwrap_or(0));
            let options = match cap.bitrate {
                None => Options::of(&request.ladder, height, request.is_stranded()),
                Some(_) => {
                    let mut ladder = request.ladder;
                    assume(&mut ladder);
                    Options::of(&ladder, height, request.is_stranded())
                }
            };
            let ceiling = self.ceilings.of(now, request.slot);
            let within = ceiling.map_or(options.len(), |layer| {
                let highest = layer.and_then(|layer| options.position(layer));
                highest.map_or(0, |at| at + 1)
            });
            self.choices.push(Choice {
                within,
                request: index,
                slot: request.slot,
                priority: request.priority,
                before: request.current.and_then(|layer| options.position(layer)),
                options,
                most: request.most.unwrap_or(u64::MAX),
                chosen: None,
            });
        }
        // The sort is stable: among equals, a slot with more keeps it, and the first stays first.
        self.choices.sort_by_key(|choice| {
            (
                choice.priority.class,
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
                    // A picture that goes away is worse than one that is late for a moment, and it would come back only
                    // seconds later. If it is really too much, the estimate falls further.
                    allowed.keeps_lowest || cost <= percent(*left, LOWEST_SHARE)
                } else {
                    // Most likely it was paused for lack of bandwidth: it must fit for a while, unless other slots left
                    // room for it.
                    let lowest = choice.options.id(0);
                    let most = match self.comebacks.waits(now, choice.slot) {
                        true => allowed.lowest.min(allowed.bound()),
                        false => allowed.lowest,
                    };
                    // While lowest layers stay that may not fit, no other is added.
                    let fits = !allowed.keeps_lowest && after <= most;
                    let at_once = fits && after <= allowed.lowest_at_once;
                    let fitted =
                        at_once || fits && self.patience.has_fitted(now, choice.slot, lowest);
                    // Meanwhile no other slot gets more.
                    let may = raises.may(choice.slot) || after <= allowed.roomy;
                    raises.wait |= fits && !(fitted && may);
                    fitted && may
                };
            // A cap needs no trying, and a swinging rate may touch it.
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
                    if choice.priority.comes_whole != whole || choice.chosen.is_none() {
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

    /// Records upgrades and cuts.
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
            // An upgrade is blamed for one cut only.
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

    fn assign(&mut self, requests: &[LayerRequest], cap: Cap, allowed: &Allowed) {
        let total: u64 = self.choices.iter().map(Choice::cost).sum();
        self.allocations.clear();
        self.allocations
            .extend(requests.iter().map(|request| LayerAllocation {
                slot: request.slot,
                track: request.track,
                layer: None,
                bitrate: 0,
                is_late: false,
                reason: request.paused.unwrap_or_else(|| {
                    if request.ladder.is_untouched() {
                        Reason::NotStarted
                    } else {
                        Reason::Publisher
                    }
                }),
            }));
        for choice in &self.choices {
            let (request, allocation) = (
                &requests[choice.request],
                &mut self.allocations[choice.request],
            );
            if choice.options.len() == 0 {
                continue;
            }
            allocation.layer = choice.chosen.map(|at| choice.options.id(at));
            allocation.bitrate = choice.cost();
            allocation.is_late = request.waits_for(allocation.layer);
            allocation.reason = if let Some(next) = choice.next() {
                let with_next = total - choice.cost() + choice.options.bitrate(next);
                if allowed.is_beyond_cap(with_next) {
                    Reason::Cap
                } else if allowed.is_unknown {
                    // Probes are on their way.
                    Reason::Keyframe
                } else {
                    Reason::Bandwidth
                }
            } else if allocation.is_late {
                Reason::Publisher
            } else if choice.options.is_bounded() {
                match (request.height, cap.height) {
                    (0, _) => Reason::Cap,
                    (height, Some(most)) if most < height => Reason::Cap,
                    _ => Reason::SizeHint,
                }
            } else if choice.options.is_incomplete() && request.lacks_codec {
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

/// The smaller of two heights, where 0 is none.
fn tighter(a: u16, b: u16) -> u16 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

#[cfg(test)]
mod tests;
