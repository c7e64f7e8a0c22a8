//! What follows from the measurements.

use super::acknowledged::{LONG_US, SHORT_US};
use super::aimd::{BETA, Cause};
use super::cluster::FULL;
use super::delay::Usage;
use super::loss::Verdict;
use super::prober::{Ask, GOAL};
use super::{BandwidthEstimator, LimitedBy};

/// Without feedback for so long while sending, in microseconds, and some round trips: an outage.
pub(super) const SILENCE_US: i64 = 1_000_000;
/// While nothing is heard and nothing else is left to send: between two packets that ask, in microseconds.
const KNOCK_US: i64 = 1_000_000;
/// What stands in the queue is gone below this.
const EMPTY_US: f64 = 12_000.0;
/// Frames leave at up to this times the estimate.
const BURST: f64 = 1.5;
/// A queue tells whose it is only while less than this share of the arrivals before a cut is sent.
const LESS: f64 = 0.92;
/// ...and while no more than this share of what arrives now is sent: otherwise it grows by that.
const MORE: f64 = 1.05;
/// A probe asks for so many times the rate of the next step: an upgrade needs some room.
const STEP_ROOM: f64 = 1.5;
/// The window in which arrivals are counted is longer by so many times the path's noise.
const TURNS: f64 = 6.0;
/// A short time may tell so many times the rate of a longer one: more is what comes after a halt.
const EVEN: f64 = 1.15;
/// A queue is no reason to cut yet, but none to grow either.
const STANDING_US: i64 = 40_000;
/// For so long after a cut no burst leaves: the queue must not come back.
const NO_BURST_US: i64 = 2_000_000;
/// A queue that grows by more, in seconds a second, while it should empty: the link became slower still.
const OURS: f64 = 0.4;
/// Of a probe's losses, what is no sign of a full link at most.
const EXCUSED: f64 = 0.2;
/// A probe makes a queue of less than this.
const PROBED_US: i64 = 60_000;
/// What a probe that filled the link measured is used to this share.
const USED: f64 = 0.93;

/// The queue is being emptied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    since: i64,
    pub(super) until: i64,
    /// What stood there, in microseconds.
    peak: i64,
    /// For how many cuts this is.
    cuts: u32,
    /// Bits a second that arrived before, and whether that is sure.
    arrived: f64,
    is_sure: bool,
    /// Bytes sent since.
    pub(super) sent: u64,
}

impl Drain {
    /// Whether what was sent since is really less than what arrived before: only then does a queue that stays say
    /// that it is another's.
    ///
    /// `arriving`: bits a second lately. A queue grows by what is sent and does not arrive.
    fn is_tried(&self, now: i64, arriving: f64) -> bool {
        let sent = self.sent as f64 * 8e6 / (now - self.since).max(1) as f64;
        self.is_sure && sent < LESS * self.arrived && sent < MORE * arriving
    }
}

/// More is lost than the path is known to lose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    /// Without an answer until then it is held true.
    pub(super) until: i64,
    /// What was sent.
    rate: f64,
}

/// Nothing is heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    since: i64,
    cuts: i64,
    /// The target before it.
    before: f64,
    /// When to ask whether it is over.
    knock_at: i64,
}

/// The highest rate seen to arrive within the last one or two periods.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    rates: [f64; 2],
    since: i64,
}

impl Confirmed {
    const PERIOD_US: i64 = 5_000_000;

    fn add(&mut self, now: i64, rate: f64) {
        if now - self.since > Self::PERIOD_US {
            self.since = now;
            self.rates = [0.0, self.rates[0]];
        }
        self.rates[0] = self.rates[0].max(rate);
    }

    fn limit(&mut self, rate: f64) {
        self.rates = self.rates.map(|old| old.min(rate));
    }

    pub(super) fn highest(&self) -> f64 {
        self.rates[0].max(self.rates[1])
    }
}

impl BandwidthEstimator {
    /// After a feedback.
    pub(super) fn control(&mut self, now: i64) {
        if !self.delay.is_contested() {
            self.floor = 0.0;
        }
        self.end_drain(now);
        self.finish_probe(now);
        match self.usage() {
            Usage::Over => self.overused(now),
            Usage::Under => self.aimd.hold(now),
            Usage::Normal => self.calm(now),
        }
        self.weigh_losses(now);
        self.consider_probe(now);
    }

    /// What the path does, as far as it is not a probe's doing: that made a queue, which goes away.
    fn usage(&self) -> Usage {
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

    fn overused(&mut self, now: i64) {
        self.aimd.hold(now);
        // A cut shows only in what was sent after it.
        let newest = self.history.newest().unwrap_or(0);
        if self.cut_at.is_some_and(|at| newest < at + 20_000) {
            return;
        }
        let arriving = self.arriving();
        if let Some(drain) = &mut self.drain {
            if self.delay.standing() <= drain.peak + drain.peak / 8 {
                return;
            }
            if drain.is_tried(now, arriving) && (drain.cuts >= 2 || self.delay.slope() < OURS) {
                // We send less than arrived, and still it grows: somebody else fills it.
                self.delay.disown();
                self.drain = None;
                return;
            }
        }
        let (arriving, is_sure) = self.arriving_now();
        if self.delay.is_contested() {
            // What arrives says little of our share: it is what we sent. The last probe tells: of a
            // full queue each gets what it puts in, and to send less than that leaves it as full.
            let most = self.aimd.target().max(arriving);
            let rate = (most * BETA).max(self.floor);
            if rate < self.aimd.target() {
                self.cut(now, rate, Cause::Delay);
            }
        } else {
            let _ = self.aimd.note_capacity(arriving);
            let cuts = self.drain.map_or(1, |drain| drain.cuts + 1);
            self.cut(now, arriving * BETA, Cause::Delay);
            let peak = self.delay.standing();
            self.drain = Some(Drain {
                since: now,
                cuts,
                until: now + 2 * peak + 2 * self.rtt_us() + 300_000,
                peak,
                arrived: arriving,
                is_sure,
                sent: 0,
            });
        }
    }

    fn calm(&mut self, now: i64) {
        let Some((rate, _)) = self.acknowledged.rate(LONG_US) else {
            return self.aimd.hold(now);
        };
        self.confirmed.add(now, rate);
        let newest = self.history.newest().unwrap_or(0);
        let awaited = self.cut_at.is_some_and(|at| newest < at);
        // What arrives is what the link carries while a queue stands.
        let full = !self.delay.is_contested() && self.delay.ours() > STANDING_US;
        if awaited || full || self.drain.is_some() || self.suspicion.is_some() {
            return self.aimd.hold(now);
        }
        self.aimd.grow(now, rate, self.rtt_us());
    }

    fn cut(&mut self, now: i64, rate: f64, cause: Cause) {
        self.aimd.cut(now, rate, cause);
        self.confirmed.limit(self.aimd.target());
        self.prober.cut(now, self.delay.is_contested());
        self.suspicion = None;
        self.cut_at = Some(now);
    }

    /// The queue is empty, or it does not empty.
    pub(super) fn end_drain(&mut self, now: i64) {
        let Some(drain) = self.drain else { return };
        let ours = self.delay.ours() as f64;
        let arriving = self.arriving();
        let seen = self
            .history
            .newest()
            .is_some_and(|newest| newest > drain.since);
        if seen && ours < EMPTY_US + 0.5 * self.delay.noise() {
            self.drain = None;
        } else if now >= drain.until {
            self.drain = None;
            if seen && ours > 0.5 * drain.peak as f64 && drain.is_tried(now, arriving) {
                self.delay.disown();
            }
        }
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
            // The queue overflowed, which is known.
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

    fn cut_for_losses(&mut self, now: i64) {
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
        // Turns hide a queue. Where the link's end is known, only what is sure counts.
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
        // One look at a link that varies does not make it faster.
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

    pub(super) fn consider_probe(&mut self, now: i64) {
        if !self.prober.is_due(now) || self.last_feedback.is_none() {
            return;
        }
        let Some(rate) = self.wanted() else { return };
        let fine = self.drain.is_none()
            && self.outage.is_none()
            && self.suspicion.is_none()
            && self.usage() == Usage::Normal
            && (self.delay.is_contested()
                || (self.delay.ours() as f64) < 25_000.0 + self.delay.noise());
        if fine {
            self.probe(now, rate);
        } else {
            self.prober.delay_until(now + 100_000);
        }
    }

    fn probe(&mut self, now: i64, rate: f64) {
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

    /// The rate of the next probe, if one is of use.
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
        // The link was full at less: no more is asked of it than the next step needs.
        let next = STEP_ROOM * self.demand.step as f64 / share;
        (next > known || goal < next).then_some(goal.min(next))
    }

    /// When it is an outage that no feedback comes.
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
        // However late this is called.
        let since = self.waiting_since.unwrap_or(now);
        outage.cuts = (outage.cuts + 1).max((now - since) / SILENCE_US);
        self.drain = None;
        self.floor = 0.0;
        self.cut(now, 0.5 * target, Cause::Silence);
    }

    /// When a packet is due that asks whether an outage is over. Cuts may have left nothing to send, and without
    /// a packet no feedback comes that could end it.
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

    /// Feedback came.
    pub(super) fn heard(&mut self, now: i64) {
        let Some(outage) = self.outage.take() else {
            return;
        };
        self.begin_anew(now);
        // A short outage leaves a link as it was more often than not: a probe tells.
        self.recovered = if now - outage.since < 10_000_000 {
            BETA * outage.before
        } else {
            0.0
        };
        self.prober.hurry(now);
        self.prober.delay_until(now + 200_000);
    }

    /// What was sent before, and the queue it stood in, tell nothing any more.
    pub(super) fn begin_anew(&mut self, now: i64) {
        self.losses_from = now;
        self.loss.restart();
        self.delay.restart();
        self.cut_at = None;
    }

    pub(super) fn pacing(&self) -> f64 {
        let target = self.aimd.target();
        if self.drain.is_some() {
            // As fast as the queue is long: a short one needs no pause.
            return target * (1.0 - self.delay.ours() as f64 / 300_000.0).clamp(0.2, 0.85);
        }
        // Where the link's end is known, a burst of a keyframe would fill its queue, and look like a link that
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

    /// A queue that another flow fills is no congestion of ours, unless the rate was cut for it.
    pub(super) fn is_congested(&self) -> bool {
        self.drain.is_some()
            || self.outage.is_some()
            || self
                .cut_at
                .is_some_and(|at| self.now < at + self.response())
            || (self.usage() == Usage::Over && !self.delay.is_contested())
    }

    /// How long a cut takes to show.
    pub(super) fn response(&self) -> i64 {
        300_000 + self.rtt_us()
    }

    /// The rate at which packets arrive while the link is full, bits a second. They arrive back to back then, so that
    /// a short time tells it, unless the path delivers in turns: one of those is no rate.
    ///
    /// The second value tells whether that is sure: packets arrive faster than the link for a moment after a halt.
    fn arriving_now(&self) -> (f64, bool) {
        let window = SHORT_US + (TURNS * self.delay.noise()) as i64;
        let lately = self.acknowledged.rate(window.min(LONG_US));
        let lately = lately.filter(|(_, packets)| *packets >= 5);
        match (lately, self.acknowledged.rate(LONG_US)) {
            (Some((rate, _)), Some((slow, _))) => (rate, rate <= EVEN * slow),
            (Some((rate, _)), None) | (None, Some((rate, _))) => (rate, false),
            (None, None) => (self.aimd.target(), false),
        }
    }

    /// What arrives, bits a second.
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
