//! Estimates a link whose receiver sends no transport-wide feedback: by receiver reports (RFC 3550 section 6.4.1) and
//! by the receiver's own estimate (REMB), if it sends one.
//!
//! Reports come once a second, from some receivers every five: far too rarely to show a probe of 20 ms. So the link's
//! bandwidth is found by sending more (`tries`). While more is wanted, the target is raised to the rate that the next
//! layer needs; the layer is sent, and its reports are awaited. As long as nothing failed, each good report raises the
//! target by several times: the largest layer of one camera is reached after two or three reports. The rate that
//! arrived at a failure is remembered as the link's capacity. The target returns up to there at once. Beyond it one
//! layer is tried at a time, some seconds later, and three times as late after each further failure, up to a minute:
//! each failure makes audio late for a second or two.
//!
//! Signs of too high a rate, each of which cuts the target to the arriving rate:
//!
//! | sign | from | why |
//! |---|---|---|
//! | delay | reports | packets that had not come when the report was written wait in a queue (`signs`, `streams`); if none was on its way, the round trip of the last sender report |
//! | loss | reports | more than a tenth beyond the share that the path loses at any rate |
//! | a lower estimate | REMB | `said` |
//! | silence | | three reports are missing |
//!
//! A receiver that is sent nothing, since not even a lowest layer was carried, has nothing to report on. The least
//! layer is then tried again: five seconds after silence (`silence`), and by the pauses above after any other sign.
//!
//! A receiver that never reports may be unable to, and packets sent into silence must be harmless (RFC 8083): it is
//! sent audio, and lowest layers up to [`MUTE`] bits a second.

mod said;
mod signs;
mod silence;
mod streams;
#[cfg(test)]
mod tests;
mod tries;

use std::time::{Duration, Instant};

use said::{Risen, Said};
use signs::{Base, Trial, Window};
pub(crate) use streams::Block;
use streams::Streams;
use tries::{BETA, PAUSE_US, PROOF_US, RARE_US, RISES, Raised};

use super::{BweConfig, Demand, Estimate, LimitedBy};

/// Highest rate to a receiver that never reported, bits a second.
const MUTE: f64 = 500_000.0;
/// Ratio to the target at which frames may leave.
const BURST: f64 = 1.5;
/// Ratio to the target while a queue is to empty: audio overtakes packets that wait here, but not those that wait on
/// the
/// link.
const DRAINS: f64 = 0.6;

/// The estimator. Rates are in bits a second of UDP payload, of everything sent.
#[derive(Debug)]
pub(crate) struct ReportedEstimator {
    epoch: Instant,
    now: i64,
    streams: Streams,
    said: Said,
    /// The REMB covers all video together.
    whole: bool,
    /// Bits a second sent on streams that it does not cover.
    beside: f64,
    demand: Demand,
    target: f64,
    bounds: (f64, f64),
    /// The reason that the target is not higher; none while nothing failed.
    cause: Option<LimitedBy>,
    /// The times of the first packet and of the last.
    sent_at: Option<(i64, i64)>,
    heard_at: Option<i64>,
    /// The interval of reports.
    spacing: i64,
    silences: i64,
    /// The time at which sending was tried again after nothing was sent.
    resumed_at: Option<i64>,
    /// The time at which the receiver was heard again after complete silence.
    spared_at: Option<i64>,
    rtt: Option<i64>,
    base: Base,
    queue: i64,
    /// The time at which a queue was seen once.
    suspicious: Option<i64>,
    window: Window,
    loss: f64,
    /// Share of packets that the path loses at any rate.
    inherent: f64,
    trial: Option<Trial>,
    raised: Option<Raised>,
    /// The last try, whatever its result, until the next cut.
    tried: Option<Raised>,
    /// The last time that a layer began which raised the rate by [`RISES`].
    risen: Option<Raised>,
    cut_at: Option<i64>,
    /// The queue at the last cut, or when it was first seen afterwards.
    cut_for: Option<i64>,
    /// The arriving rate when the link was full.
    capacity: Option<f64>,
    /// The time from which on a higher rate is tried.
    hold_until: i64,
    pause: i64,
}

/// A round trip from a report: its length and its age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrip {
    /// The round trip without the receiver's own time.
    pub(crate) took: Duration,
    /// The receiver's own time: the sender report was sent so much earlier.
    pub(crate) delay: Duration,
}

impl ReportedEstimator {
    /// A new estimator, without measurements.
    pub(crate) fn new(now: Instant, config: BweConfig) -> Self {
        Self {
            epoch: now,
            now: 0,
            streams: Streams::default(),
            said: Said::default(),
            whole: true,
            beside: 0.0,
            demand: Demand::default(),
            target: config.start as f64,
            bounds: (config.min as f64, config.max.max(config.min) as f64),
            cause: None,
            sent_at: None,
            heard_at: None,
            spacing: 1_000_000,
            silences: 0,
            resumed_at: None,
            spared_at: None,
            rtt: None,
            base: Base::default(),
            queue: 0,
            suspicious: None,
            window: Window::default(),
            loss: 0.0,
            inherent: 0.0,
            trial: None,
            raised: None,
            tried: None,
            risen: None,
            cut_at: None,
            cut_for: None,
            capacity: None,
            hold_until: 0,
            pause: 0,
        }
    }

    /// Records a packet of `bytes`.
    pub(crate) fn sent(&mut self, now: Instant, ssrc: u32, sequence: u16, bytes: usize) {
        let now = self.advance(now);
        let first = self.sent_at.map_or(now, |(first, _)| first);
        self.sent_at = Some((first, now));
        self.streams.sent(now, ssrc, sequence, bytes);
    }

    /// Handles a block of a receiver report, while so many bits a second are sent.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        block: &Block,
        round_trip: Option<RoundTrip>,
        sending: u64,
    ) {
        let now = self.advance(now);
        let Some(learned) = self.streams.report(now, block) else {
            return;
        };
        self.hear(now);
        let round_trip = round_trip.map(|trip| {
            let took = trip.took.as_micros() as i64;
            (took, now - took - trip.delay.as_micros() as i64)
        });
        if let Some((took, _)) = round_trip {
            self.rtt = Some(self.rtt.map_or(took, |rtt| rtt + (took - rtt) / 4));
            self.base.add(now, took);
        }
        if self.spared_at.is_some_and(|at| learned.since < at) {
            return;
        }
        self.base.add(now, learned.at_most);
        self.weigh_delay(now, &learned, round_trip);
        self.weigh_losses(now, &learned, sending as f64);
    }

    /// Handles the receiver's own estimate, in bits a second, which covers all video or not. `listed` is sent now of
    /// the streams it covers, and `sending` of all.
    pub(crate) fn remb(
        &mut self,
        now: Instant,
        bitrate: u64,
        (whole, listed): (bool, u64),
        sending: u64,
    ) {
        let now = self.advance(now);
        self.whole = whole;
        let (rate, listed, sending) = (bitrate as f64, listed as f64, sending as f64);
        // One layer is tried beyond it at a time; if it covers only some video, that is not known.
        let tried = match whole {
            true => self.said.tried_at(),
            false => self.tried.map(|tried| tried.at),
        };
        let tried = tried.map(|at| now - at);
        let tried = tried.filter(|since| *since < PROOF_US);
        let beside = (sending - listed).max(0.0);
        let risen = self.risen.map(|risen| Risen {
            since: now - risen.at,
            before: risen.sending - beside,
        });
        let reports = self.heard_at.is_some_and(|at| now - at < 2 * RARE_US);
        if self.said.take(now, rate, (listed, sending), tried, risen) {
            // Streams that it does not cover go on.
            let most = rate + beside;
            if whole && self.target > 1.02 * most {
                self.cut(now, most, LimitedBy::Remb);
            }
            return;
        }
        self.beside = beside;
        let moved = self.said.has_moved() && self.cause == Some(LimitedBy::Remb);
        if moved {
            (self.hold_until, self.pause) = (now, 0);
        }
        if whole {
            self.bound(now, sending);
        }
        if !reports {
            self.hear(now);
        }
        if moved || !reports {
            self.good(now, now - 200_000, sending);
        }
    }

    /// Sets the rates to be sent.
    pub(crate) fn set_demand(&mut self, now: Instant, demand: Demand) {
        let now = self.advance(now);
        let before = self.demand.allocated as f64;
        if demand.allocated as f64 > RISES * before {
            self.risen = Some(Raised {
                at: now,
                sending: before,
            });
        }
        self.demand = demand;
    }

    /// Whether reports should have come by now.
    pub(crate) fn misses(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.epoch).as_micros() as i64;
        self.silence_at().is_some_and(|at| since >= at)
    }

    /// Records that the receiver is heard after complete silence. Reports follow; packets sent meanwhile are lost,
    /// which says nothing.
    pub(crate) fn spare(&mut self, now: Instant) {
        let now = self.advance(now);
        self.spared_at = Some(now);
        (self.window, self.suspicious, self.trial) = (Window::default(), None, None);
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) has work.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let calm = self.cut_at.map(|at| at + self.response());
        let calm = calm.filter(|at| *at > self.now);
        let until = self.said.until().filter(|at| *at > self.now);
        let next = [self.silence_at(), self.resumes_at(), calm, until];
        let at = next.into_iter().flatten().min()?;
        Some(self.epoch + Duration::from_micros(at.max(0) as u64))
    }

    /// Does everything that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.resumes_at().is_some_and(|at| at <= now) {
            self.resume(now);
        }
        if self.silence_at().is_none_or(|at| now < at) {
            return;
        }
        // The count does not depend on how late this is called.
        self.silences = (now - self.quiet_since()) / self.silence();
        match self.heard_at {
            Some(_) if self.is_resumed() => self.cut(now, 0.0, LimitedBy::Loss),
            Some(_) => self.cut(now, 0.5 * self.target, LimitedBy::Loss),
            None => self.cut(now, MUTE / BETA, LimitedBy::Loss),
        }
    }

    /// The present estimate.
    pub(crate) fn estimate(&self) -> Estimate {
        let limit = self.said.limit(self.now);
        let (least, most) = self.bounds;
        let target = self.target.clamp(least, most);
        let congested = self.is_congested();
        let limited_by = match (self.cause, self.heard_at) {
            _ if self.whole && limit.is_some_and(|limit| limit < target) => LimitedBy::Remb,
            (Some(cause), _) => cause,
            (None, None) => LimitedBy::Unknown,
            (None, Some(_)) => LimitedBy::None,
        };
        let pacing = if congested {
            DRAINS * target
        } else {
            BURST * target
        };
        Estimate {
            bitrate: target as u64,
            pacing: pacing as u64,
            limited_by,
            acknowledged: self.streams.arriving(self.now).unwrap_or(0.0) as u64,
            loss: self.loss,
            rtt: self.rtt.map(|rtt| Duration::from_micros(rtt.max(0) as u64)),
            queue_delay: Duration::from_micros(self.queue.max(0) as u64),
            own_delay: Duration::ZERO,
            contested: false,
            congested,
            doubtful: false,
            probed: if self.heard_at.is_some() {
                target as u64
            } else {
                0
            },
            probes: 0,
            said: limit.map(|limit| limit as u64),
        }
    }

    fn advance(&mut self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.epoch);
        self.now = self.now.max(since.as_micros() as i64);
        self.now
    }

    fn hear(&mut self, now: i64) {
        let first = self.sent_at.map_or(now, |(first, _)| first);
        // Reports on several streams may come in one round.
        let apart = now - self.heard_at.unwrap_or(first);
        let spared = self.spared_at > self.heard_at;
        let back = spared || self.is_resumed() || self.silences > 0;
        self.silences = 0;
        if self.heard_at.is_none() {
            // The cut for silence had no reason.
            self.cause = self.cause.filter(|cause| *cause != LimitedBy::Loss);
            (self.cut_at, self.capacity, self.hold_until) = (None, None, 0);
            self.spacing = apart.max(500_000);
        } else if apart > 100_000 && !back {
            self.spacing += (apart.min(10_000_000) - self.spacing) / 4;
        }
        if back {
            self.hold_until = self.hold_until.min(now + PAUSE_US / 3);
        }
        self.heard_at = Some(now);
    }

    fn is_congested(&self) -> bool {
        let silent = self.silences > 0 && self.heard_at.is_some();
        silent
            || self
                .cut_at
                .is_some_and(|at| self.now < at + self.response())
    }

    /// The time until a cut shows its effect.
    fn response(&self) -> i64 {
        300_000 + self.rtt.unwrap_or(100_000) + self.queue
    }
}
