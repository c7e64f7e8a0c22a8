//! What a link carries, by what its receiver says without transport-wide feedback: receiver reports
//! (RFC 3550 section 6.4.1) and its own estimate (REMB), if it makes one.
//!
//! Reports come once a second, some receivers' every five: far too rarely to see a probe of 20 ms. What a
//! link carries is therefore found out by sending it. While more is wanted, the target is raised to what the
//! next layer takes; the layer is sent, and the reports of it are awaited. As long as nothing failed, each
//! good report raises the target by up to [`FREE`] times: the largest layer of one camera after two or three
//! of them. What arrived when something failed is remembered as what the link carries. Up to there the target
//! comes back at once; beyond it one layer is tried at a time, some seconds later, and twice as late after
//! each further one that failed, up to a minute.
//!
//! Signs of too much, each of which cuts the target to what arrived:
//!
//! | sign | from | why |
//! |---|---|---|
//! | delay | reports | what had not come when the report was written waits in a queue (`streams`); where nothing was on its way, the round trip of the last sender report |
//! | loss | reports | more than a tenth beyond what the path loses whatever is sent |
//! | a lower estimate | REMB | `said` |
//! | silence | | three reports that do not come |
//!
//! A receiver that never reports may be one that cannot, and what is sent into silence must be harmless
//! (RFC 8083): it is sent sound, and lowest layers as far as [`MUTE`] bits a second.

mod said;
mod streams;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use said::Said;
pub(crate) use streams::Block;
use streams::{Learned, Streams};

use super::{BweConfig, Demand, Estimate, LimitedBy};

/// What is tried is this much more than needed: decisions ask for room to spare, and rates of layers swing.
const ROOM: f64 = 1.6;
/// By how much a good report raises what is tried, as long as nothing failed: from layer to layer it is three
/// to four times.
const FREE: f64 = 3.5;
/// And where reports are rare ([`RARE_US`]): waiting for three of them takes too long.
const FREE_RARE: f64 = 12.0;
const RARE_US: i64 = 2_000_000;
/// After a cut, before more is tried than arrived then...
const PAUSE_US: i64 = 3_000_000;
/// ...and after one that followed a try by less than this, doubled each time...
const PROOF_US: i64 = 8_000_000;
const PAUSE_AGAIN_US: i64 = 15_000_000;
/// ...up to this.
const PAUSE_MAX_US: i64 = 60_000_000;
/// After a cut, before what arrived then is sent again: the queue must be empty.
const DRAIN_US: i64 = 1_500_000;
/// What is decided upon fits with so much room at least.
const FITS: f64 = 1.3;
/// What was sent before a try was carried, and somewhat more.
const CARRIED: f64 = 1.1;
/// What arrived while the link was full is used to this share, and exceeded by so much it was not the end.
const USED: f64 = 0.95;
const EXCEEDED: f64 = 1.15;
/// How much of what was tried must have been sent when its report was written: a layer begins with a keyframe,
/// and a queue takes some time to fill.
const TRIED_US: i64 = 600_000;
/// A try of which nothing came in so long, since its layer did not, was none.
const IDLE_US: i64 = 3_000_000;
/// A queue beyond this is one that stands, if it is seen twice...
const QUEUE_US: i64 = 100_000;
/// ...or beyond this once.
const QUEUE_SEVERE_US: i64 = 300_000;
/// Packets of a window, and its least and greatest length.
const PACKETS: u64 = 20;
const SPAN_US: i64 = 400_000;
const SPAN_MAX_US: i64 = 1_000_000;
/// Losses that nobody minds, and those that are acted upon.
const TOLERATED: f64 = 0.02;
const LOSS: f64 = 0.1;
/// Of what arrived, after a cut.
const BETA: f64 = 0.85;
/// Time without a report that is silence, and in reports missed.
const SILENCE_US: i64 = 3_000_000;
const MISSED: i64 = 3;
/// To who never reported, bits a second.
const MUTE: f64 = 500_000.0;
/// The least round trip is looked for within one or two of these.
const BASE_US: i64 = 30_000_000;
/// Frames leave at up to this times the target.
const BURST: f64 = 1.5;

/// The estimator. Rates are of UDP payload, all that is sent, in bits a second.
#[derive(Debug)]
pub(crate) struct ReportedEstimator {
    epoch: Instant,
    now: i64,
    streams: Streams,
    said: Said,
    /// What was said is for all video.
    whole: bool,
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
    rtt: Option<i64>,
    base: Base,
    queue: i64,
    /// A queue was seen once, then.
    suspicious: Option<i64>,
    window: Window,
    loss: f64,
    /// What the path loses whatever is sent.
    inherent: f64,
    trial: Option<Trial>,
    raised: Option<Raised>,
    /// The last try, whatever came of it, until something is cut.
    tried: Option<Raised>,
    cut_at: Option<i64>,
    /// The queue then, or when it was first seen afterwards.
    cut_for: Option<i64>,
    /// What arrived when the link was full.
    capacity: Option<f64>,
    /// More than that is tried then.
    hold_until: i64,
    pause: i64,
}

/// More is tried.
#[derive(Clone, Copy, Debug)]
struct Raised {
    at: i64,
    /// What was sent then.
    sending: f64,
}

/// A cut for losses, whose effect is awaited.
#[derive(Clone, Copy, Debug)]
struct Trial {
    before: f64,
    loss: f64,
    windows: u32,
}

/// What was reported lately, of all streams.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Option<i64>,
    packets: u64,
    lost: u64,
    /// When the last packet of it was sent.
    until: i64,
}

/// The least round trip of one or two periods.
#[derive(Debug, Default)]
struct Base {
    least: [Option<i64>; 2],
    since: i64,
}

impl Base {
    fn add(&mut self, now: i64, rtt: i64) {
        if now - self.since > BASE_US {
            self.since = now;
            self.least = [None, self.least[0]];
        }
        let least = self.least[0].map_or(rtt, |least| least.min(rtt));
        self.least[0] = Some(least);
    }

    fn get(&self) -> Option<i64> {
        self.least.into_iter().flatten().min()
    }
}

/// What a report says of a round trip: how long it was, and how old.
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
            demand: Demand::default(),
            target: config.start as f64,
            bounds: (config.min as f64, config.max.max(config.min) as f64),
            cause: None,
            sent_at: None,
            heard_at: None,
            spacing: 1_000_000,
            silences: 0,
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
        let tried = self.tried.map(|tried| now - tried.at);
        let tried = tried.filter(|since| *since < PROOF_US);
        let (rate, listed, sending) = (bitrate as f64, listed as f64, sending as f64);
        let reports = self.heard_at.is_some_and(|at| now - at < 2 * RARE_US);
        if self.said.take(now, rate, (listed, sending), tried) {
            // What it is not for goes on.
            let most = rate + (sending - listed).max(0.0);
            if whole && self.target > 1.02 * most {
                self.cut(now, most, LimitedBy::Remb);
            }
        } else if !reports {
            self.hear(now);
            self.good(now, now - 200_000, sending);
        }
    }

    /// Says what is to be sent, and what would be.
    pub(crate) fn set_demand(&mut self, now: Instant, demand: Demand) {
        self.advance(now);
        self.demand = demand;
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let calm = self.cut_at.map(|at| at + self.response());
        let calm = calm.filter(|at| *at > self.now);
        let until = self.said.until().filter(|at| *at > self.now);
        let next = [self.silence_at(), calm, until];
        let at = next.into_iter().flatten().min()?;
        Some(self.epoch + Duration::from_micros(at.max(0) as u64))
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.silence_at().is_none_or(|at| now < at) {
            return;
        }
        // However late this is called.
        self.silences = (now - self.quiet_since()) / self.silence();
        match self.heard_at {
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
        let pacing = if congested { target } else { BURST * target };
        Estimate {
            bitrate: target as u64,
            pacing: pacing as u64,
            limited_by,
            acknowledged: self.streams.arriving(self.now).unwrap_or(0.0) as u64,
            loss: self.loss,
            rtt: self.rtt.map(|rtt| Duration::from_micros(rtt.max(0) as u64)),
            queue_delay: Duration::from_micros(self.queue.max(0) as u64),
            congested,
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
        if self.heard_at.is_none() {
            // What was cut for silence was cut for no reason.
            self.cause = self.cause.filter(|cause| *cause != LimitedBy::Loss);
            (self.cut_at, self.capacity, self.hold_until) = (None, None, 0);
            self.spacing = apart.max(500_000);
        } else if apart > 100_000 {
            self.spacing += (apart.min(10_000_000) - self.spacing) / 4;
        }
        if std::mem::take(&mut self.silences) > 0 {
            self.hold_until = self.hold_until.min(now + PAUSE_US / 3);
        }
        self.heard_at = Some(now);
    }

    fn weigh_delay(&mut self, now: i64, learned: &Learned, round_trip: Option<(i64, i64)>) {
        let Some(base) = self.base.get() else { return };
        let (took, about) = match (learned.at_least, round_trip) {
            (Some((took, about)), _) => (took, about),
            (None, Some(round_trip)) => round_trip,
            (None, None) => (base, now),
        };
        // What was sent before a cut tells nothing of what came of it.
        if self.cut_at.is_some_and(|at| about < at) {
            return;
        }
        self.queue = (took - base).max(0);
        // A queue takes its time to empty.
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

    fn weigh_losses(&mut self, now: i64, learned: &Learned, sending: f64) {
        // What was sent before a cut was lost for what it was cut for, and what was sent just after it stood
        // behind that.
        if self.cut_at.is_some_and(|at| learned.since < at) {
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

    /// Losses that go on as before though less is sent are the path's, and the cut is taken back.
    fn judge_trial(&mut self, loss: f64) {
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

    /// All is well of what was sent up to `until`.
    fn good(&mut self, now: i64, until: i64, sending: f64) {
        let arriving = self.streams.arriving(now).unwrap_or(sending);
        let sent = arriving.min(sending);
        self.target = self.target.max(sent).min(self.bounds.1);
        if self.cut_at.is_some_and(|at| now < at + DRAIN_US) {
            return;
        }
        match self.capacity {
            Some(capacity) if sent > EXCEEDED * capacity => {
                (self.capacity, self.cause, self.pause) = (None, None, 0);
            }
            Some(capacity) => self.target = self.target.max(USED * capacity),
            None => {}
        }
        if let Some(raised) = self.raised {
            let grown = sending > 1.15 * raised.sending && until >= raised.at + TRIED_US;
            if !grown && now < raised.at + IDLE_US.max(2 * self.spacing) {
                return;
            }
            self.raised = None;
        }
        self.consider(now, arriving, sending);
    }

    /// Tries more, if more is wanted and it is time to.
    fn consider(&mut self, now: i64, arriving: f64, sending: f64) {
        let (allocated, desired) = (self.demand.allocated as f64, self.demand.desired as f64);
        if desired <= 1.02 * allocated || sending < 0.7 * allocated {
            return;
        }
        let step = self.demand.step as f64;
        let rate = match self.capacity {
            // It fits into what the target is already.
            Some(capacity) if FITS * step < USED * capacity => return,
            Some(_) if now < self.hold_until => return,
            Some(_) => ROOM * step,
            None if self.spacing > RARE_US => (ROOM * step).max(FREE_RARE * arriving),
            None => (ROOM * step).max(FREE * arriving),
        };
        let most = self.said.limit(now).filter(|_| self.whole);
        let most = most.unwrap_or(f64::INFINITY);
        let rate = rate.min(ROOM * desired).min(most).min(self.bounds.1);
        if rate > 1.02 * self.target {
            self.target = rate;
            self.raised = Some(Raised { at: now, sending });
            self.tried = self.raised;
        }
    }

    /// Sends less, for of what was sent `arriving` came at best.
    fn cut(&mut self, now: i64, arriving: f64, cause: LimitedBy) {
        let tried = self.tried.filter(|tried| now - tried.at < PROOF_US);
        // What arrives of a try is measured over the time before it, too.
        let before = tried.map_or(0.0, |tried| CARRIED * tried.sending);
        let rate = match cause {
            LimitedBy::Remb => arriving,
            _ => BETA * arriving,
        };
        let rate = rate.max(before);
        self.target = rate.min(self.target).clamp(self.bounds.0, self.bounds.1);
        self.pause = match tried {
            Some(_) => (2 * self.pause).clamp(PAUSE_AGAIN_US, PAUSE_MAX_US),
            None => self.pause.max(PAUSE_US),
        };
        self.hold_until = now + self.pause;
        self.capacity = Some(arriving.max(before));
        self.cause = Some(cause);
        self.cut_at = Some(now);
        self.cut_for = (cause == LimitedBy::Delay).then_some(self.queue);
        self.raised = None;
        self.tried = None;
        self.suspicious = None;
        self.trial = None;
        self.window = Window {
            since: Some(now),
            ..Window::default()
        };
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

    fn quiet_since(&self) -> i64 {
        let first = self.sent_at.map_or(0, |(first, _)| first);
        self.heard_at.unwrap_or(first)
    }

    fn silence(&self) -> i64 {
        SILENCE_US.max(MISSED * self.spacing)
    }

    /// When it is silence that nothing is heard, or when it has lasted once more; to who never reported one
    /// cut is enough.
    fn silence_at(&self) -> Option<i64> {
        let (_, last) = self.sent_at?;
        let since = self.quiet_since();
        let never = self.heard_at.is_none() && self.silences > 0;
        (last > since && !never).then_some(since + (self.silences + 1) * self.silence())
    }
}
