//! Probes: the conditions for one, and the estimate that follows from its result.

use super::BandwidthEstimator;
use super::aimd::Cause;
use super::cluster::FULL;
use super::delay::Usage;
use super::prober::{Ask, GOAL};

/// Ratio of a probe's rate to that of the next step: an upgrade needs some room.
const STEP_ROOM: f64 = 1.5;
/// Largest share of a probe's packets that may be lost without being a sign of a full link.
const EXCUSED: f64 = 0.2;
/// Time without packets and feedback, in microseconds, after which an earlier queue is gone: packets in a queue bring
/// feedback as they leave.
const IDLE_US: i64 = 1_000_000;
/// Share used of the rate measured by a probe that filled the link.
const USED: f64 = 0.93;

impl BandwidthEstimator {
    /// Applies the result of a probe that is over.
    pub(super) fn finish_probe(&mut self, now: i64) {
        let (newest, rtt) = (self.history.newest(), self.rtt_us());
        let Some(cluster) = self.prober.take_over(now, newest, rtt) else {
            return;
        };
        let measured = cluster.measure(self.loss.inherent().min(EXCUSED), self.delay.noise());
        let Some(measured) = measured.filter(|_| self.drain.is_none() && self.outage.is_none())
        else {
            return self.prober.failed(now, self.delay.is_contested());
        };
        self.prober.note_turns(measured.turns);
        // Turns hide a queue. If the link's capacity is known, only the sure part counts.
        let sure = match self.aimd.cause() {
            Some(_) if !self.delay.is_contested() => measured.least,
            _ => measured.rate,
        };
        self.confirmed.add(now, sure);
        if self.delay.is_contested() {
            self.floor = measured.rate;
        }
        if let Some(suspicion) = self.suspicion
            && measured.goal > 1.5 * suspicion.rate
        {
            if measured.rate < 1.2 * suspicion.rate {
                return self.cut_for_losses(now);
            }
            self.suspicion = None;
            self.loss.excuse();
        }
        if !measured.saturated {
            let before = self.aimd.target();
            self.aimd.raise(now, sure);
            if sure >= FULL * measured.rate {
                self.aimd.forget_cause();
                return self.prober.succeeded(now);
            }
            return match sure > 1.05 * before {
                true => self.prober.succeeded(now),
                false => self.prober.failed(now, self.delay.is_contested()),
            };
        }
        let arriving = self.arriving();
        // One measurement of a varying link does not make it faster.
        let used = USED * self.aimd.note_capacity(measured.rate).min(measured.end);
        if !self.delay.is_contested()
            && used < 0.85 * self.aimd.target()
            && arriving < 0.85 * self.aimd.target()
        {
            self.aimd.cut(now, used.max(arriving), Cause::Delay);
            self.confirmed.limit(self.aimd.target());
        } else {
            self.aimd.raise_to_end(now, used);
        }
        self.prober.failed(now, self.delay.is_contested());
    }

    /// Begins a probe if one is due, useful and harmless.
    pub(super) fn consider_probe(&mut self, now: i64) {
        if !self.prober.is_due(now) || self.last_feedback.is_none() {
            return;
        }
        let Some(rate) = self.wanted() else { return };
        let busy = self.drain.is_some() || self.outage.is_some() || self.suspicion.is_some();
        if !busy && (self.is_idle(now) || self.has_room()) {
            self.probe(now, rate);
        } else {
            self.prober.delay_until(now + 100_000);
        }
    }

    /// Whether nothing is sent: the last measurement of the queue says nothing then, and only a probe brings news.
    fn is_idle(&self, now: i64) -> bool {
        let heard = self.last_feedback.unwrap_or(now);
        self.waiting_since.is_none() && now - heard > IDLE_US
    }

    /// Whether the queue leaves room for a probe.
    fn has_room(&self) -> bool {
        let short = (self.delay.ours() as f64) < 25_000.0 + self.delay.noise();
        self.usage() == Usage::Normal && (short || self.delay.is_contested())
    }

    pub(super) fn probe(&mut self, now: i64, rate: f64) {
        let share = self.payload_share();
        let target = self.aimd.target();
        self.prober.begin(
            now,
            Ask {
                rate: rate.min(self.max),
                target,
                share,
                noise: self.delay.noise(),
                contested: self.delay.is_contested(),
            },
        );
    }

    /// The rate of the next probe, if one is useful.
    pub(super) fn wanted(&self) -> Option<f64> {
        let share = self.payload_share();
        let desired = self.demand.desired as f64 / share;
        let allocated = self.demand.allocated as f64 / share;
        let target = self.aimd.target();
        let goal = (GOAL * desired).min(self.max);
        let known = self.confirmed.highest().min(target);
        if (allocated >= 0.98 * desired && target >= desired) || known >= 0.9 * goal {
            return None;
        }
        let base = target.max(self.arriving());
        let step = if self.prober.count() == 0 { 3.0 } else { 2.0 };
        let goal = goal.min((step * base).max(self.recovered));
        if self.aimd.cause().is_none() || self.delay.is_contested() {
            return Some(goal);
        }
        // The link was full at a lower rate: a probe asks for no more than the next step needs.
        let next = STEP_ROOM * self.demand.step as f64 / share;
        (next > known || goal < next).then_some(goal.min(next))
    }
}
