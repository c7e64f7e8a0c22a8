//! The decisions that follow from the measurements.

use super::acknowledged::LONG_US;
use super::aimd::{BETA, Cause};
use super::delay::Usage;
use super::drain::Purpose;
use super::loss::Verdict;
use super::trial::TRIED;
use super::{BandwidthEstimator, LimitedBy};

/// Time without feedback while sending, in microseconds, after which, with some round trips added, it is an outage.
pub(super) const SILENCE_US: i64 = 1_000_000;
/// Interval of packets that ask whether an outage is over if nothing else is sent, in microseconds.
const KNOCK_US: i64 = 1_000_000;
/// Ratio to the estimate at which frames may leave.
const BURST: f64 = 1.5;
/// Length of a queue, in microseconds, that allows no growth but needs no cut yet.
pub(super) const STANDING_US: i64 = 40_000;
/// Time after a cut without bursts, in microseconds: the queue must not come back.
const NO_BURST_US: i64 = 2_000_000;
/// Length below which a queue may be a probe's doing, in microseconds.
const PROBED_US: i64 = 60_000;

/// A suspicion: more packets are lost than the path is known to lose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    /// The time at which the suspicion counts as true without an answer.
    pub(super) until: i64,
    /// The rate sent.
    pub(super) rate: f64,
}

/// An outage: nothing is heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    since: i64,
    cuts: i64,
    /// The target before it.
    before: f64,
    /// The time of the next packet that asks whether it is over.
    knock_at: i64,
}

/// The highest rate seen to arrive within the last one or two periods.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    rates: [f64; 2],
    since: i64,
}

impl Confirmed {
    /// Length of a period: the few probes of a known link confirm it again in time; a cut limits it at once.
    const PERIOD_US: i64 = 15_000_000;

    pub(super) fn add(&mut self, now: i64, rate: f64) {
        if now - self.since > Self::PERIOD_US {
            self.since = now;
            self.rates = [0.0, self.rates[0]];
        }
        self.rates[0] = self.rates[0].max(rate);
    }

    pub(super) fn limit(&mut self, rate: f64) {
        self.rates = self.rates.map(|old| old.min(rate));
    }

    pub(super) fn highest(&self) -> f64 {
        self.rates[0].max(self.rates[1])
    }
}

impl BandwidthEstimator {
    /// Updates the rate after a feedback.
    pub(super) fn control(&mut self, now: i64) {
        if !self.delay.is_contested() {
            self.floor = 0.0;
        }
        self.end_drain(now);
        self.consider_trial(now);
        self.finish_probe(now);
        match self.usage() {
            Usage::Over => self.overused(now),
            Usage::Under => self.aimd.hold(now),
            Usage::Normal => self.calm(now),
        }
        self.weigh_losses(now);
        self.consider_probe(now);
    }

    /// The state of the path, without a probe's own queue, which goes away.
    pub(super) fn usage(&self) -> Usage {
        let usage = self.delay.usage();
        let probed = self
            .prober
            .ended()
            .is_some_and(|at| self.now - at < self.response());
        let short = self.delay.is_contested() || self.delay.ours() < PROBED_US;
        if usage == Usage::Over && short && (probed || self.prober.is_active()) {
            Usage::Under
        } else {
            usage
        }
    }

    fn calm(&mut self, now: i64) {
        let Some((rate, _)) = self.acknowledged.rate(LONG_US) else {
            return self.aimd.hold(now);
        };
        self.confirmed.add(now, rate);
        let newest = self.history.newest().unwrap_or(0);
        let awaited = self.cut_at.is_some_and(|at| newest < at);
        // While a queue stands, the arriving rate is the link's.
        let full = !self.delay.is_contested() && self.delay.ours() > STANDING_US;
        if awaited || full || self.drain.is_some() || self.suspicion.is_some() {
            return self.aimd.hold(now);
        }
        self.aimd.grow(now, rate, self.rtt_us());
    }

    pub(super) fn cut(&mut self, now: i64, rate: f64, cause: Cause) {
        self.aimd.cut(now, rate, cause);
        self.confirmed.limit(self.aimd.target());
        self.prober.cut(now, self.delay.is_contested());
        self.suspicion = None;
        self.cut_at = Some(now);
    }

    fn weigh_losses(&mut self, now: i64) {
        if let Some(before) = self.loss.poll_restore() {
            self.aimd.raise(now, before);
            self.aimd.forget_cause();
        }
        let Some(verdict) = self.loss.poll() else {
            return;
        };
        if self.drain.is_some() {
            // The queue overflowed, which explains the loss.
            return;
        }
        match verdict {
            Verdict::Fine => self.suspicion = None,
            Verdict::Severe => self.cut_for_losses(now),
            Verdict::Suspicious if self.suspicion.is_none() => {
                let rate = self.loss.rate();
                self.suspicion = Some(Suspicion {
                    until: now + 700_000 + self.rtt_us(),
                    rate,
                });
                if !self.prober.is_busy() {
                    self.probe(now, 1.7 * rate.max(self.arriving()));
                }
            }
            Verdict::Suspicious => {}
        }
    }

    pub(super) fn cut_for_losses(&mut self, now: i64) {
        let newest = self.history.newest().unwrap_or(0);
        self.suspicion = None;
        if self.cut_at.is_some_and(|at| newest < at + 300_000) {
            return;
        }
        let before = self.aimd.target();
        let arriving = self
            .acknowledged
            .rate(LONG_US)
            .map_or(before, |(rate, _)| rate);
        self.loss.note_cut(now, before);
        let _ = self.aimd.note_capacity(arriving);
        self.cut(now, 0.92 * arriving, Cause::Loss);
        self.floor = self.floor.min(self.aimd.target());
    }

    pub(super) fn end_suspicion(&mut self, now: i64) {
        if self
            .suspicion
            .is_some_and(|suspicion| suspicion.until <= now)
        {
            self.cut_for_losses(now);
        }
    }

    /// Cuts the rate to one at which packets do not wait for their connection. A lost segment stops a connection for a round
    /// trip without being any slower, so that it is not halved twice for one.
    pub(super) fn stall(&mut self, now: i64, rate: f64) {
        let target = self.aimd.target();
        let is_recent = |at: i64| now < at + self.response();
        if self.last_feedback.is_none() || self.cut_at.is_some_and(is_recent) || rate >= target {
            return;
        }
        self.cut(now, (BETA * rate).max(0.5 * target), Cause::Delay);
    }

    /// The time from which on missing feedback is an outage.
    pub(super) fn silence_at(&self) -> Option<i64> {
        let since = self.waiting_since.filter(|_| !self.is_deaf)?;
        self.last_feedback?;
        let cuts = self.outage.map_or(0, |outage| outage.cuts);
        Some(since + SILENCE_US * (1 + cuts) + 3 * self.rtt_us())
    }

    pub(super) fn expect_feedback(&mut self, now: i64) {
        if self.silence_at().is_none_or(|at| now < at) {
            return;
        }
        let target = self.aimd.target();
        let outage = self.outage.get_or_insert(Outage {
            since: now,
            cuts: 0,
            before: target,
            knock_at: now + KNOCK_US,
        });
        // The count does not depend on how late this is called.
        let since = self.waiting_since.unwrap_or(now);
        outage.cuts = (outage.cuts + 1).max((now - since) / SILENCE_US);
        self.drain = None;
        self.floor = 0.0;
        self.cut(now, 0.5 * target, Cause::Silence);
    }

    /// The time of a packet that asks whether an outage is over. Cuts may have left nothing to send, and without
    /// packets no feedback comes that could end it.
    pub(super) fn knock_at(&self) -> Option<i64> {
        let idle = self.demand.allocated == 0 && self.demand.desired > 0 && !self.prober.is_busy();
        self.outage.filter(|_| idle).map(|outage| outage.knock_at)
    }

    pub(super) fn knock(&mut self, now: i64) {
        if self.knock_at().is_none_or(|at| now < at) {
            return;
        }
        if let Some(outage) = &mut self.outage {
            outage.knock_at = now + KNOCK_US;
        }
        self.probe(now, self.aimd.target());
    }

    /// Records that feedback came.
    pub(super) fn heard(&mut self, now: i64) {
        let Some(outage) = self.outage.take() else {
            return;
        };
        self.begin_anew(now);
        // A short outage leaves most links as they were: a probe tells.
        self.recovered = if now - outage.since < 10_000_000 {
            BETA * outage.before
        } else {
            0.0
        };
        self.probe_soon(now);
    }

    /// Has the next probe come soon, but not before the first packets have arrived.
    fn probe_soon(&mut self, now: i64) {
        self.prober.hurry(now);
        self.prober.delay_until(now + 200_000);
    }

    /// Forgets the earlier path; true if nothing was heard over it. Its silence says nothing about the next path: the cuts
    /// for it are taken back, and probes tell the rest.
    pub(super) fn forget_path(&mut self, now: i64) -> bool {
        self.begin_anew(now);
        self.waiting_since = None;
        let Some(outage) = self.outage.take() else {
            return false;
        };
        self.aimd.raise(now, BETA * outage.before);
        self.aimd.forget_cause();
        self.probe_soon(now);
        true
    }

    /// Forgets losses and the queue of packets sent earlier, which tell nothing any more.
    pub(super) fn begin_anew(&mut self, now: i64) {
        self.losses_from = now;
        self.loss.restart();
        self.delay.restart();
        self.cut_at = None;
    }

    pub(super) fn pacing(&self) -> f64 {
        let target = self.aimd.target();
        if let Some(trial) = self.drain.filter(|drain| drain.purpose == Purpose::Trial) {
            return TRIED * target.min(trial.arrived);
        }
        if let Some(drain) = self.drain {
            // The pacing follows the queue's length: a short one needs no pause.
            return target.min(drain.arrived)
                * (1.0 - self.delay.ours() as f64 / 300_000.0).clamp(0.2, 0.85);
        }
        // If the link's capacity is known, the burst of a keyframe would fill its queue, and look like a link that
        // became slower.
        let cut = self.cut_at.is_some_and(|at| self.now - at < NO_BURST_US);
        if cut || (self.aimd.cause().is_some() && !self.delay.is_contested()) {
            return target;
        }
        BURST * target
    }

    pub(super) fn limited_by(&self) -> LimitedBy {
        if self.last_feedback.is_none() {
            return LimitedBy::Unknown;
        }
        match self.aimd.cause() {
            Some(Cause::Delay) => LimitedBy::Delay,
            Some(Cause::Loss | Cause::Silence) => LimitedBy::Loss,
            None => LimitedBy::None,
        }
    }

    /// Whether the sender congests the link. A queue that another flow fills does not count, unless the rate was cut
    /// for it.
    pub(super) fn is_congested(&self) -> bool {
        self.drain.is_some()
            || self.outage.is_some()
            || self
                .cut_at
                .is_some_and(|at| self.now < at + self.response())
            || (self.usage() == Usage::Over && !self.delay.is_contested())
    }

    /// The time until a cut shows its effect.
    pub(super) fn response(&self) -> i64 {
        300_000 + self.rtt_us()
    }

    /// The arriving rate, bits a second.
    pub(super) fn arriving(&self) -> f64 {
        self.acknowledged
            .rate(LONG_US)
            .map_or(0.0, |(rate, _)| rate)
    }

    /// Round trip, in microseconds.
    pub(super) fn rtt_us(&self) -> i64 {
        self.rtt.0.or(self.rtt.1).unwrap_or(100_000)
    }
}
