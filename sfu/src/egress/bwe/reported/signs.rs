//! Signs in receiver reports of too high a rate: delay and loss.

use super::streams::Learned;
use super::tries::DRAIN_US;
use super::{LimitedBy, ReportedEstimator};

/// Length above which a queue stands, if it is seen twice.
const QUEUE_US: i64 = 100_000;
/// Length above which a queue seen once is enough.
const QUEUE_SEVERE_US: i64 = 300_000;
/// Packets of a window, and its least and greatest length.
const PACKETS: u64 = 20;
const SPAN_US: i64 = 400_000;
const SPAN_MAX_US: i64 = 1_000_000;
/// Tolerated losses, and those that cause a cut.
const TOLERATED: f64 = 0.02;
const LOSS: f64 = 0.1;
/// Period of the least round trip, of which one or two count.
const BASE_US: i64 = 30_000_000;

/// A cut for losses whose effect is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) before: f64,
    pub(super) loss: f64,
    pub(super) windows: u32,
}

/// Recent reports on all streams.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pub(super) since: Option<i64>,
    pub(super) packets: u64,
    pub(super) lost: u64,
    /// The time of its last packet.
    pub(super) until: i64,
}

/// The least round trip of one or two periods.
#[derive(Debug, Default)]
pub(super) struct Base {
    pub(super) least: [Option<i64>; 2],
    pub(super) since: i64,
}

impl Base {
    pub(super) fn add(&mut self, now: i64, rtt: i64) {
        if now - self.since > BASE_US {
            self.since = now;
            self.least = [None, self.least[0]];
        }
        let least = self.least[0].map_or(rtt, |least| least.min(rtt));
        self.least[0] = Some(least);
    }

    pub(super) fn get(&self) -> Option<i64> {
        self.least.into_iter().flatten().min()
    }
}

impl ReportedEstimator {
    pub(super) fn weigh_delay(
        &mut self,
        now: i64,
        learned: &Learned,
        round_trip: Option<(i64, i64)>,
    ) {
        let Some(base) = self.base.get() else { return };
        let (took, about) = match (learned.at_least, round_trip) {
            (Some((took, about)), _) => (took, about),
            (None, Some(round_trip)) => round_trip,
            (None, None) => (base, now),
        };
        // Packets sent before a cut do not show its effect.
        if self.cut_at.is_some_and(|at| about < at) {
            return;
        }
        self.queue = (took - base).max(0);
        // A queue takes some time to empty.
        if self.cut_at.is_some_and(|at| now < at + DRAIN_US) {
            let cut_for = *self.cut_for.get_or_insert(self.queue);
            if self.queue < cut_for + QUEUE_US {
                return;
            }
        }
        if self.queue < QUEUE_US {
            self.suspicious = None;
            return;
        }
        let since = *self.suspicious.get_or_insert(now);
        let again = (100_000..3 * self.spacing).contains(&(now - since));
        if self.queue >= QUEUE_SEVERE_US || again {
            let arriving = self.streams.arriving(now).unwrap_or(self.target);
            self.cut(now, arriving, LimitedBy::Delay);
        } else if now - since >= 3 * self.spacing {
            self.suspicious = Some(now);
        }
    }

    pub(super) fn weigh_losses(&mut self, now: i64, learned: &Learned, sending: f64) {
        // Packets sent before a cut were lost for its cause, and those sent just after it stood behind them.
        if self
            .cut_at
            .is_some_and(|at| learned.since < at + self.response())
        {
            return;
        }
        let window = &mut self.window;
        let since = *window
            .since
            .get_or_insert(now - self.spacing.min(SPAN_MAX_US));
        window.packets += learned.packets;
        window.lost += learned.lost;
        window.until = window.until.max(learned.until);
        let span = now - since;
        let full = window.packets >= PACKETS && span >= SPAN_US;
        if !full && (window.packets < PACKETS / 4 || span < SPAN_MAX_US) {
            return;
        }
        let Window {
            packets,
            lost,
            until,
            ..
        } = std::mem::take(window);
        self.window.since = Some(now);
        let loss = lost as f64 / packets as f64;
        self.loss += 0.5 * (loss - self.loss);
        self.judge_trial(loss);
        let beyond = loss - 1.2 * self.inherent;
        if beyond > LOSS {
            let arriving = self.streams.arriving(now);
            let arriving = arriving.unwrap_or(sending * (1.0 - loss));
            let before = self.target;
            self.cut(now, arriving.min(before), LimitedBy::Loss);
            self.trial = Some(Trial {
                before,
                loss,
                windows: 0,
            });
        } else if beyond <= TOLERATED {
            self.inherent += 0.05 * (loss - self.inherent);
            if self.suspicious.is_none() {
                self.good(now, until, sending);
            }
        }
    }

    /// Takes a cut back if losses go on as before though less is sent: they are the path's.
    pub(super) fn judge_trial(&mut self, loss: f64) {
        let Some(trial) = &mut self.trial else { return };
        trial.windows += 1;
        if loss < 0.6 * trial.loss {
            self.trial = None;
        } else if trial.windows >= 2 {
            self.inherent = self.inherent.max(loss.min(0.5));
            self.target = self.target.max(trial.before);
            (self.cause, self.capacity, self.hold_until) = (None, None, self.now);
            self.trial = None;
        }
    }
}
