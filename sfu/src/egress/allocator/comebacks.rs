//! Pictures that come back after a pause, and do not last.
//!
//! A lowest layer needs no calm, as no picture is worse than one that is late now and then. But a picture that comes
//! and goes every few seconds is worse than none: it waits like an upgrade that did not last.

use std::time::{Duration, Instant};

use super::{CALM, Choice, PROOF};

/// Time after which a waiting picture is tried like any other, even if the calm lasts longer.
const LONGEST: Duration = Duration::from_secs(30);

/// Slots of pictures that were paused or came back, each at most once in a list, until the first cut after its picture
/// is gone.
#[derive(Debug, Default)]
pub(super) struct Comebacks {
    /// Slots that a cut paused, and whose picture has not come back.
    paused: Vec<usize>,
    /// Slots whose picture came back, with the time.
    back: Vec<(usize, Instant)>,
    /// The time of the last cut that paused a picture soon after it came back.
    failed_at: Option<Instant>,
    /// The time of the last cut that was excused.
    excused_at: Option<Instant>,
}

impl Comebacks {
    /// Records a decision that is no cut.
    pub(super) fn note(&mut self, now: Instant, choices: &[Choice]) {
        let Self { paused, back, .. } = self;
        paused.retain(|slot| {
            let came = |choice: &Choice| choice.slot == *slot && choice.chosen.is_some();
            let came = choices.iter().any(came);
            if came {
                back.push((*slot, now));
            }
            !came
        });
    }

    /// Records a cut; true if it pauses a picture soon after one came back, be it that picture or another in its place.
    /// `excused`: the link is another.
    pub(super) fn note_cut(&mut self, now: Instant, choices: &[Choice], excused: bool) -> bool {
        let known = |slot: usize| choices.iter().any(|choice| choice.slot == slot);
        // The lowest layers of an excused cut may go a moment later than its upper ones.
        if excused {
            self.excused_at = Some(now);
        }
        let excused = self.excused_at.is_some_and(|at| now < at + CALM);
        // One that makes way for another earlier in line, whose publisher speaks now, has not failed.
        let mut makes_way = false;
        let mut failed = false;
        self.back
            .retain(|(slot, at)| known(*slot) && now < *at + PROOF);
        self.paused.retain(|slot| known(*slot));
        for choice in choices {
            makes_way |= choice.before.is_none() && choice.chosen.is_some();
            if choice.before.is_none() || choice.chosen.is_some() {
                continue;
            }
            failed |= !excused && !makes_way && !self.back.is_empty();
            self.back.retain(|(slot, _)| *slot != choice.slot);
            if !self.paused.contains(&choice.slot) {
                self.paused.push(choice.slot);
            }
        }
        if failed {
            self.back.clear();
            self.failed_at = Some(now);
        }
        failed
    }

    /// Forgets that a picture did not last.
    pub(super) fn forgive(&mut self) {
        self.failed_at = None;
    }

    /// Whether a slot's picture waits until the calm is over. It was paused, and it or another one came back and did
    /// not last. New pictures do not wait.
    pub(super) fn waits(&self, now: Instant, slot: usize) -> bool {
        self.failed_at.is_some_and(|at| now < at + LONGEST) && self.paused.contains(&slot)
    }
}
