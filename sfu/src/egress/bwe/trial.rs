//! Tests whose a queue is: the sender's, or another flow's.
//!
//! A queue that stays though less is sent belongs to another flow, or the path has become longer. That may be a
//! mistake, as a receiver that is late for lack of processor time looks the same. And it may be over. While such a
//! queue is assumed, delay is no reason to send less and probes make queues of their own, so that the mistake would
//! keep itself alive. So it is tested from time to time: less is sent for a moment, without any change of the estimate.
//! The sender's own queue empties then; another flow's stays.

use super::BandwidthEstimator;
use super::aimd::{BETA, Cause};
use super::control::STANDING_US;
use super::drain::{Drain, Purpose};

/// Time after which a queue attributed to another flow is tested, in microseconds.
const TRIALS_US: i64 = 2_000_000;
/// Time after which it is tested if the attribution is doubtful, in microseconds.
const SOON_US: i64 = 400_000;
/// Longest such time; it doubles after each test in which the queue stays.
const TRIALS_MAX_US: i64 = 16_000_000;
/// Length below which a queue tells nothing, in microseconds.
const LEAST_US: i64 = 25_000;
/// Share of the arriving rate that a test sends.
pub(super) const TRIED: f64 = 0.6;
/// Longest duration of a test, in microseconds, and until its effect shows.
const LASTS_US: i64 = 300_000;
/// Share of itself below which a queue of the sender's own falls.
const LEFT: f64 = 0.35;
/// Share of itself below which it falls where one test decides.
const LEFT_ALONE: f64 = 0.15;
/// Tests in a row that must show that: a flow that halves its rate just then looks so once.
const PASSES: u32 = 3;
/// Ratio to the longest queue of another flow, in halves, above which the queue is the sender's without a test.
const EXCESS_HALVES: i64 = 3;
/// Least distance for that, in microseconds.
const EXCESS_US: i64 = 20_000;
/// Age from which on another flow is not expected any more, in microseconds.
pub(super) const FORGOTTEN_US: i64 = 10_000_000;

/// The next test of a queue attributed to another flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// The time of the next test, in microseconds.
    pub(super) at: i64,
    /// The pause after a test in which the queue stays, in microseconds.
    pause: i64,
    /// The longest queue, in microseconds, that was attributed to another flow.
    known: i64,
    /// The number of tests in a row after which it went away.
    passed: u32,
    /// The next test decides alone.
    decides: bool,
}

impl Trial {
    /// No test was made.
    pub(super) const NONE: Self = Self {
        at: -FORGOTTEN_US,
        pause: 0,
        known: 0,
        passed: 0,
        decides: false,
    };

    /// Plans a test soon that decides alone.
    pub(super) fn try_soon(&mut self, now: i64) {
        self.at = now + SOON_US;
        self.decides = true;
    }
}

impl BandwidthEstimator {
    /// Begins a test that is due.
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

    /// Ends the test if the queue has gone away, or stays.
    pub(super) fn end_trial(&mut self, now: i64, drain: Drain) {
        let left = self.delay.above_least();
        let seen = self
            .history
            .newest()
            .is_some_and(|newest| newest > drain.since);
        let most = match self.trial.decides {
            true => LEFT_ALONE,
            false => LEFT,
        };
        if seen && left < (most * drain.peak as f64) as i64 {
            self.drain = None;
            let trial = &mut self.trial;
            trial.passed += 1;
            trial.at = now + TRIALS_US / 2;
            if trial.passed >= PASSES || std::mem::take(&mut trial.decides) {
                self.delay.own();
                if drain.peak > STANDING_US {
                    // The queue was full, so that the arriving rate was the link's.
                    let _ = self.aimd.note_capacity(drain.arrived);
                    self.cut(now, drain.arrived * BETA, Cause::Delay);
                }
            }
        } else if now >= drain.until {
            self.drain = None;
            let trial = &mut self.trial;
            // A fall too small to decide alone may be enough for one of several tests.
            let passes = seen && left < (LEFT * drain.peak as f64) as i64;
            if std::mem::take(&mut trial.decides) && passes {
                trial.passed = 1;
                trial.at = now + TRIALS_US / 2;
                return;
            }
            trial.passed = 0;
            trial.at = now + trial.pause;
            trial.pause = (2 * trial.pause).min(TRIALS_MAX_US);
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
