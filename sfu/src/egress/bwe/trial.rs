//! Whose a queue is: ours, or another flow's.
//!
//! A queue that stays though less is sent is another's, or the way has become longer. That may be a mistake: a
//! receiver that is late for lack of processor time looks so, too. And it may be over. While such a queue is believed
//! in, delay is no reason to send less and probes make queues of their own, so that the mistake would keep itself
//! alive. So it is tried from time to time: for a moment less is sent, without any change of the estimate. Ours is a
//! queue that empties then; another's stays.

use super::BandwidthEstimator;
use super::aimd::{BETA, Cause};
use super::control::STANDING_US;
use super::drain::{Drain, Purpose};

/// A queue held to be another's is tried after so long, in microseconds...
const TRIALS_US: i64 = 2_000_000;
/// ...where that is not sure, after so long...
const SOON_US: i64 = 400_000;
/// ...and twice as long after each time that it stays, but no longer than this.
const TRIALS_MAX_US: i64 = 16_000_000;
/// A shorter queue tells nothing, in microseconds.
const LEAST_US: i64 = 25_000;
/// A trial sends this share of what arrives...
pub(super) const TRIED: f64 = 0.6;
/// ...for so long at most, in microseconds, and until that shows.
const LASTS_US: i64 = 300_000;
/// A queue of ours leaves less than this share of itself...
const LEFT: f64 = 0.35;
/// ...less than this where one trial decides...
const LEFT_ALONE: f64 = 0.15;
/// ...so many times in turn: a flow that halves its rate just then looks so once.
const PASSES: u32 = 3;
/// Without a trial the queue is ours where so many halves of what was found to be another's stand there...
const EXCESS_HALVES: i64 = 3;
/// ...and so much more, in microseconds.
const EXCESS_US: i64 = 20_000;
/// Another flow that was there so long ago, in microseconds, is not expected any more.
pub(super) const FORGOTTEN_US: i64 = 10_000_000;

/// When a queue held to be another's is tried next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// Time of the next trial, in microseconds.
    pub(super) at: i64,
    /// Time after a trial in which it stays until the next, in microseconds.
    pause: i64,
    /// The longest queue, in microseconds, that was found to be another's.
    known: i64,
    /// How often in turn it went away.
    passed: u32,
    /// The next one decides alone.
    decides: bool,
}

impl Trial {
    /// There was none.
    pub(super) const NONE: Self = Self {
        at: -FORGOTTEN_US,
        pause: 0,
        known: 0,
        passed: 0,
        decides: false,
    };

    /// A trial comes soon, and decides.
    pub(super) fn try_soon(&mut self, now: i64) {
        self.at = now + SOON_US;
        self.decides = true;
    }
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

    /// Sends less for a moment: a queue that empties then was ours.
    fn begin_trial(&mut self, now: i64) {
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

    /// The queue has gone away, or it stays.
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
                    // The queue was full, so that what arrived is what the link carries.
                    let _ = self.aimd.note_capacity(drain.arrived);
                    self.cut(now, drain.arrived * BETA, Cause::Delay);
                }
            }
        } else if now >= drain.until {
            self.drain = None;
            let trial = &mut self.trial;
            (trial.passed, trial.decides) = (0, false);
            trial.at = now + trial.pause;
            trial.pause = (2 * trial.pause).min(TRIALS_MAX_US);
        }
    }

    /// Takes the queue for ours where far more stands there than what was found to be another's.
    pub(super) fn own_excess(&mut self) {
        if self.delay.is_contested()
            && self.delay.standing() > EXCESS_HALVES * self.trial.known / 2 + EXCESS_US
        {
            self.delay.own();
        }
    }

    /// Takes the queue for another's.
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
