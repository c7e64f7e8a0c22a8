//! Trials whose a queue is: the sender's, or another flow's.
//!
//! A queue that stays though less is sent belongs to another flow, or the path has become longer. That may be a
//! mistake, as a receiver that is late for lack of processor time looks the same. And it may be over. While such a
//! queue is assumed, delay is no reason to send less and probes make queues of their own, so that the mistake would
//! keep itself alive. So a trial is made from time to time: less is sent for a moment, without any change of the
//! estimate. The sender's own queue empties then; another flow's stays.

use super::BandwidthEstimator;
use super::aimd::{BETA, Cause};
use super::control::STANDING_US;
use super::drain::{Drain, Purpose};

/// Time until the trial of a queue attributed to another flow, in microseconds.
const TRIALS_US: i64 = 2_000_000;
/// Time until the trial if the attribution is doubtful, in microseconds.
const SOON_US: i64 = 400_000;
/// Longest time until a trial, in microseconds; the time doubles after each trial in which the queue stays.
const TRIALS_MAX_US: i64 = 16_000_000;
/// Length below which a queue tells nothing, in microseconds.
const LEAST_US: i64 = 25_000;
/// Share of the arriving rate that is sent during a trial.
pub(super) const TRIED: f64 = 0.6;
/// Longest duration of a trial, in microseconds, beside the time until its effect shows.
const LASTS_US: i64 = 300_000;
/// Share of itself below which a queue of the sender's own falls.
const LEFT: f64 = 0.35;
/// Share of itself below which it falls where one trial decides.
const LEFT_ALONE: f64 = 0.15;
/// Trials in a row that must show that: a flow that halves its rate just then looks so once.
const PASSES: u32 = 3;
/// Ratio to the longest queue of another flow, in halves, above which the queue is the sender's without a trial.
const EXCESS_HALVES: i64 = 3;
/// Least distance for that, in microseconds.
const EXCESS_US: i64 = 20_000;
/// Age from which on another flow is not expected any more, in microseconds.
pub(super) const FORGOTTEN_US: i64 = 10_000_000;

/// The next trial of a queue attributed to another flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// The time of the next trial, in microseconds.
    pub(super) at: i64,
    /// The pause after a trial in which the queue stays, in microseconds.
    pause: i64,
    /// The longest queue, in microseconds, that was attributed to another flow.
    known: i64,
    /// The number of trials in a row after which it went away.
    passed: u32,
    /// The next trial decides alone.
    decides: bool,
}

impl Trial {
    /// No trial was made.
    pub(super) const NONE: Self = Self {
        at: -FORGOTTEN_US,
        pause: 0,
        known: 0,
        passed: 0,
        decides: false,
    };

    /// Plans a trial soon that decides alone.
    pub(super) fn try_soon(&mut self, now: i64) {
        self.at = now + SOON_US;
        self.decides = true;
    }

    /// Judges a trial and plans the next one.
    fn judge(&mut self, now: i64, seen: Seen) -> Verdict {
        let most = match self.decides {
            true => LEFT_ALONE,
            false => LEFT,
        };
        if seen.is_left(most) {
            self.passed += 1;
            self.at = now + TRIALS_US / 2;
            if self.passed >= PASSES || std::mem::take(&mut self.decides) {
                return Verdict::Own;
            }
        } else if !seen.is_late {
            return Verdict::Open;
        } else if std::mem::take(&mut self.decides) && seen.is_left(LEFT) {
            // A fall too small to decide alone may be enough for one of several trials.
            self.passed = 1;
            self.at = now + TRIALS_US / 2;
        } else {
            self.passed = 0;
            self.at = now + self.pause;
            self.pause = (2 * self.pause).min(TRIALS_MAX_US);
        }
        Verdict::Foreign
    }
}

/// The effect of a trial so far.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The queue before, in microseconds.
    peak: i64,
    /// The queue now, in microseconds; none until a packet sent during the trial was reported.
    left: Option<i64>,
    /// The trial has taken its whole time.
    is_late: bool,
}

impl Seen {
    fn is_left(&self, share: f64) -> bool {
        self.left
            .is_some_and(|left| left < (share * self.peak as f64) as i64)
    }
}

/// The outcome of a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// The trial goes on.
    Open,
    /// The queue is the sender's.
    Own,
    /// The queue is still attributed to another flow.
    Foreign,
}

impl BandwidthEstimator {
    /// Begins a trial that is due.
    pub(super) fn consider_trial(&mut self, now: i64) {
        let due = self.delay.is_contested()
            && now >= self.trial.at
            && self.delay.above_least() > LEAST_US;
        if due && self.drain.is_none() && !self.prober.is_busy() {
            self.begin_trial(now);
        }
    }

    /// Sends less for a moment: a queue that empties then is the sender's.
    fn begin_trial(&mut self, now: i64) {
        // Much later the queue is another one.
        self.trial.decides &= now < self.trial.at + TRIALS_US;
        let (arrived, is_sure) = self.arriving_now();
        let peak = self.delay.above_least();
        let grows = self.delay.slope().clamp(0.0, 1.0) * (self.rtt_us() + 100_000) as f64;
        let empties = ((peak as f64 + grows) / (1.0 - TRIED)) as i64;
        let lasts = empties.min(LASTS_US) + self.rtt_us() + 150_000;
        self.drain = Some(Drain {
            since: now,
            began: now,
            until: now + lasts,
            peak,
            cuts: 0,
            arrived,
            is_sure,
            before: self.aimd.target(),
            sent: self.sent,
            purpose: Purpose::Trial,
        });
    }

    /// Ends the trial if the queue has gone away, or stays.
    pub(super) fn end_trial(&mut self, now: i64, drain: Drain) {
        let newest = self.history.newest();
        let is_seen = newest.is_some_and(|newest| newest > drain.since);
        let seen = Seen {
            peak: drain.peak,
            left: is_seen.then(|| self.delay.above_least()),
            is_late: now >= drain.until,
        };
        let verdict = self.trial.judge(now, seen);
        if verdict == Verdict::Open {
            return;
        }
        self.drain = None;
        if verdict == Verdict::Own {
            self.delay.own();
            if drain.peak > STANDING_US {
                // The queue was full, so that the arriving rate was the link's.
                let _ = self.aimd.note_capacity(drain.arrived);
                self.cut(now, drain.arrived * BETA, Cause::Delay);
            }
        }
    }

    /// Attributes the queue to the sender if it far exceeds the longest one attributed to another flow.
    pub(super) fn own_excess(&mut self) {
        if self.delay.is_contested()
            && self.delay.standing() > EXCESS_HALVES * self.trial.known / 2 + EXCESS_US
        {
            self.delay.own();
        }
    }

    /// Attributes the queue to another flow.
    pub(super) fn disown(&mut self, now: i64) {
        let known = match now - self.trial.at < FORGOTTEN_US {
            true => self.trial.known,
            false => 0,
        };
        self.trial = Trial {
            at: now + TRIALS_US,
            pause: 2 * TRIALS_US,
            known: known.max(self.delay.standing()),
            passed: 0,
            decides: false,
        };
        self.delay.disown();
        self.drain = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 50_000_000;
    const PEAK: i64 = 100_000;

    /// A trial with a pause, after `passed` trials in which the queue went away.
    fn trial(passed: u32, decides: bool) -> Trial {
        Trial {
            at: NOW - 500_000,
            pause: 4_000_000,
            known: PEAK,
            passed,
            decides,
        }
    }

    fn seen(left: Option<i64>, is_late: bool) -> Seen {
        Seen {
            peak: PEAK,
            left,
            is_late,
        }
    }

    #[test]
    fn a_trial_is_judged_by_the_queue_that_is_left() {
        use Verdict::*;
        let half_second = TRIALS_US / 2;
        // passed, decides, left, late: verdict, passed, next, decides
        for (before, left, late, verdict, after) in [
            ((0, false), None, false, Open, (0, -500_000, false)),
            ((0, false), Some(36_000), false, Open, (0, -500_000, false)),
            (
                (0, false),
                Some(34_000),
                false,
                Foreign,
                (1, half_second, false),
            ),
            (
                (1, false),
                Some(34_000),
                true,
                Foreign,
                (2, half_second, false),
            ),
            (
                (2, false),
                Some(34_000),
                false,
                Own,
                (3, half_second, false),
            ),
            (
                (2, false),
                Some(36_000),
                true,
                Foreign,
                (0, 4_000_000, false),
            ),
            ((2, false), None, true, Foreign, (0, 4_000_000, false)),
            ((0, true), None, false, Open, (0, -500_000, true)),
            ((0, true), Some(16_000), false, Open, (0, -500_000, true)),
            ((0, true), Some(14_000), false, Own, (1, half_second, false)),
            (
                (0, true),
                Some(34_000),
                true,
                Foreign,
                (1, half_second, false),
            ),
            (
                (0, true),
                Some(36_000),
                true,
                Foreign,
                (0, 4_000_000, false),
            ),
            ((0, true), None, true, Foreign, (0, 4_000_000, false)),
        ] {
            let mut trial = trial(before.0, before.1);
            let judged = trial.judge(NOW, seen(left, late));
            let then = (trial.passed, trial.at - NOW, trial.decides);
            assert_eq!(
                (judged, then),
                (verdict, after),
                "{before:?} {left:?} {late}"
            );
        }
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound_while_the_queue_stays() {
        let mut trial = trial(0, false);
        let pauses = [(); 4].map(|()| {
            trial.judge(NOW, seen(Some(PEAK), true));
            trial.at - NOW
        });
        assert_eq!(pauses, [4_000_000, 8_000_000, TRIALS_MAX_US, TRIALS_MAX_US]);
    }

    #[test]
    fn a_doubtful_attribution_is_tried_soon_and_alone() {
        let mut trial = trial(0, false);
        trial.try_soon(NOW);
        assert_eq!((trial.at, trial.decides), (NOW + SOON_US, true));
    }
}
