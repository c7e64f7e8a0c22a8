//! Estimator of a link whose receiver sends no transport-wide feedback: by receiver reports
//! (RFC 3550 section 6.4.1) and its own estimate (REMB), if it makes one.
//!
//! Reports come once a second, some receivers' every five: far too rarely to see a probe of 20 ms. What a
//! link carries is therefore found out by sending it (`tries`). While more is wanted, the target is raised to
//! what the next layer takes; the layer is sent, and the reports of it are awaited. As long as nothing failed,
//! each good report raises the target by several times: the largest layer of one camera after two or three of
//! them. What arrived when something failed is remembered as what the link carries. Up to there the target
//! comes back at once; beyond it one layer is tried at a time, some seconds later, and three times as late after
//! each further one that failed, up to a minute: each makes sound late for a second or two.
//!
//! Signs of too much, each of which cuts the target to what arrived:
//!
//! | sign | from | why |
//! |---|---|---|
//! | delay | reports | what had not come when the report was written waits in a queue (`signs`, `streams`); where nothing was on its way, the round trip of the last sender report |
//! | loss | reports | more than a tenth beyond what the path loses whatever is sent |
//! | a lower estimate | REMB | `said` |
//! | silence | | three reports that do not come |
//!
//! Who is sent nothing at all, since not even a lowest layer was carried, has nothing to report on: the least
//! that could be sent is tried again, five seconds after silence (`silence`) and by the pauses above after anything
//! else.
//!
//! A receiver that never reports may be one that cannot, and what is sent into silence must be harmless
//! (RFC 8083): it is sent sound, and lowest layers as far as [`MUTE`] bits a second.

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

/// To who never reported, bits a second.
const MUTE: f64 = 500_000.0;
/// Frames leave at up to this times the target.
const BURST: f64 = 1.5;
/// And at this while a queue is to empty: sound overtakes what waits here, and not what waits on the link.
const DRAINS: f64 = 0.6;

/// The estimator. Rates are of UDP payload, all that is sent, in bits a second.
#[derive(Debug)]
pub(crate) struct ReportedEstimator {
    epoch: Instant,
    now: i64,
    streams: Streams,
    said: Said,
    /// REMB is for all video together.
    whole: bool,
    /// Bits a second that were sent of what it is not for.
    beside: f64,
    demand: Demand,
    target: f64,
    bounds: (f64, f64),
    /// Why the target is not higher; none while nothing failed.
    cause: Option<LimitedBy>,
    /// When the first packet left, and the last.
    sent_at: Option<(i64, i64)>,
    heard_at: Option<i64>,
    /// Between reports.
    spacing: i64,
    silences: i64,
    /// When something was tried again after nothing was sent.
    resumed_at: Option<i64>,
    /// The receiver was heard again after nothing at all was: when.
    spared_at: Option<i64>,
    rtt: Option<i64>,
    base: Base,
    queue: i64,
    /// A queue was seen once, then.
    suspicious: Option<i64>,
    window: Window,
    loss: f64,
    /// Share of packets that the path loses at any rate.
    inherent: f64,
    trial: Option<Trial>,
    raised: Option<Raised>,
    /// The last try, whatever came of it, until something is cut.
    tried: Option<Raised>,
    /// When a layer last began, for which this is enough more than before.
    risen: Option<Raised>,
    cut_at: Option<i64>,
    /// The queue then, or when it was first seen afterwards.
    cut_for: Option<i64>,
    /// Rate at which packets arrived when the link was full.
    capacity: Option<f64>,
    /// More than that is tried then.
    hold_until: i64,
    pause: i64,
}

/// A round trip as a report tells it: its length and its age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrip {
    /// Without the time the receiver took.
    pub(crate) took: Duration,
    /// What it took: the sender report went out so much longer ago.
    pub(crate) delay: Duration,
}

impl ReportedEstimator {
    /// An estimator that knows nothing.
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

    /// Notes a packet of `bytes`.
    pub(crate) fn sent(&mut self, now: Instant, ssrc: u32, sequence: u16, bytes: usize) {
        let now = self.advance(now);
        let first = self.sent_at.map_or(now, |(first, _)| first);
        self.sent_at = Some((first, now));
        self.streams.sent(now, ssrc, sequence, bytes);
    }

    /// Takes a block of a receiver report, while so many bits a second are sent.
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

    /// Takes the receiver's own estimate, in bits a second, which is for all video or not. Of what it is for,
    /// `listed` is sent now, and `sending` of all.
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
        // One layer is tried beyond it at a time; where it is of some video alone, that is not known.
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
            // What it is not for goes on.
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

    /// Says what is to be sent, and what would be.
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

    /// Something is heard of the receiver after nothing at all was. Reports follow; what was sent meanwhile is
    /// lost and tells nothing.
    pub(crate) fn spare(&mut self, now: Instant) {
        let now = self.advance(now);
        self.spared_at = Some(now);
        (self.window, self.suspicious, self.trial) = (Window::default(), None, None);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let calm = self.cut_at.map(|at| at + self.response());
        let calm = calm.filter(|at| *at > self.now);
        let until = self.said.until().filter(|at| *at > self.now);
        let next = [self.silence_at(), self.resumes_at(), calm, until];
        let at = next.into_iter().flatten().min()?;
        Some(self.epoch + Duration::from_micros(at.max(0) as u64))
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.resumes_at().is_some_and(|at| at <= now) {
            self.resume(now);
        }
        if self.silence_at().is_none_or(|at| now < at) {
            return;
        }
        // However late this is called.
        self.silences = (now - self.quiet_since()) / self.silence();
        match self.heard_at {
            Some(_) if self.is_resumed() => self.cut(now, 0.0, LimitedBy::Loss),
            Some(_) => self.cut(now, 0.5 * self.target, LimitedBy::Loss),
            None => self.cut(now, MUTE / BETA, LimitedBy::Loss),
        }
    }

    /// What is believed now.
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
        // Of one round of reports on several streams.
        let apart = now - self.heard_at.unwrap_or(first);
        let spared = self.spared_at > self.heard_at;
        let back = spared || self.is_resumed() || self.silences > 0;
        self.silences = 0;
        if self.heard_at.is_none() {
            // What was cut for silence was cut for no reason.
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

    /// How long a cut takes to show.
    fn response(&self) -> i64 {
        300_000 + self.rtt.unwrap_or(100_000) + self.queue
    }
}
