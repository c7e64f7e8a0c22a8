//! What a viewer's link carries, found out on the sending side from transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! The structure is that of libwebrtc's GoogCC (`modules/congestion_controller/goog_cc`, main branch of
//! 2025): a delay signal and a loss signal bound a rate, acknowledged traffic and probes raise it. Its
//! parts are our own, and other where a relay is: its traffic comes in steps of whole layers, so that
//! most of the time less is sent than the link carries, and most of what is known comes from probes.
//!
//! - [`queue`]: how long packets wait, against the least delay of the last seconds; not a trend line.
//! - [`acknowledged`]: what arrives.
//! - [`loss`]: only beyond what the link loses anyway.
//! - [`probe`]: whether there is more.
//!
//! `rtc-interceptor`'s estimator was judged and not used: it has no probes, and a relay without probes
//! never leaves a low layer. REMB (draft-alvestrand-rmcat-remb-03) counts where there is no such feedback.

mod acknowledged;
mod history;
mod loss;
mod probe;
mod queue;

use std::time::{Duration, Instant};

use acknowledged::Acknowledged;
use history::History;
use loss::Loss;
use probe::{Found, Probes, percent};
use queue::Queue;

use crate::rtp::rtcp::TransportFeedback;

/// IP and UDP headers, for the link carries them too.
const OVERHEAD: usize = 28;
/// A queue that lasts is one beyond this; below, it may be a burst of ours on its way.
const QUEUE_LONG: Duration = Duration::from_millis(60);
/// And beyond this if it grows.
const QUEUE_GROWING: Duration = Duration::from_millis(22);
/// Drained, as far as one can tell.
const QUEUE_SHORT: Duration = Duration::from_millis(12);
/// Of what still arrives when the link is overused, in percent: what is left drains the queue.
const BACKOFF: u64 = 85;
/// While nothing that was tried did not fit, bursts leave at this rate at least: most links carry it, and a
/// first keyframe should not wait for the others to be told apart.
const UNTRIED: u64 = 12_000_000;
/// A queue must become shorter within this, and three round trips, once it is sent less.
const DRAIN: Duration = Duration::from_millis(500);
/// Over this, what arrives at an overused link is what it carries.
const RECENT: Duration = Duration::from_millis(250);
const STEADY: Duration = Duration::from_millis(600);
/// Without feedback for so long, while something is under way, the link is believed to carry less and
/// less.
const OUTAGE: Duration = Duration::from_millis(1_500);
/// What was confirmed counts for so long.
const CONFIRMED: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;

/// What is known beforehand, in bits a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BweConfig {
    pub(crate) start: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// What is asked of the link, in bits a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// What is meant to be sent now.
    pub(crate) allocated: u64,
    /// What would be sent if the link carried it.
    pub(crate) desired: u64,
}

/// A burst to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    pub(crate) cluster: u8,
    /// Bits a second.
    pub(crate) bitrate: u64,
    /// At least.
    pub(crate) bytes: usize,
    /// At least.
    pub(crate) packets: u32,
}

/// What the estimate is held down by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LimitedBy {
    /// Nobody has said anything yet.
    Unknown,
    /// Nothing: all that was tried fitted.
    None,
    Delay,
    Loss,
    Remb,
}

impl LimitedBy {
    /// A stable code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Remb => "remb",
        }
    }
}

/// What is known of a link. Rates are in bits a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) bitrate: u64,
    /// What may be sent at any moment.
    pub(crate) pacing: u64,
    pub(crate) limited_by: LimitedBy,
    pub(crate) acknowledged: u64,
    /// Share lost lately (0 to 1).
    pub(crate) loss: f64,
    /// Overused just now, or draining after it.
    pub(crate) congested: bool,
    /// The highest rate confirmed lately, by traffic or by a probe.
    pub(crate) probed: u64,
    /// How long packets wait in the link's queue.
    pub(crate) queue_delay: Duration,
    /// Sent so far.
    pub(crate) probes: u64,
}

/// The estimator of one link.
#[derive(Debug)]
pub(crate) struct BandwidthEstimator {
    config: BweConfig,
    history: History,
    queue: Queue,
    acknowledged: Acknowledged,
    loss: Loss,
    probes: Probes,
    demand: Demand,
    bitrate: u64,
    limited_by: LimitedBy,
    /// The queue is being drained.
    drains: bool,
    /// Since when it is watched how that goes, and how long it was then.
    draining: Option<(Instant, Duration)>,
    decreased_at: Option<Instant>,
    increased_at: Option<Instant>,
    /// The highest rates confirmed, of this span and the one before.
    confirmed: [u64; 2],
    confirmed_until: Option<Instant>,
    rtt: Duration,
    feedback_at: Option<Instant>,
    outage_at: Option<Instant>,
    remb: Option<u64>,
}

impl BandwidthEstimator {
    /// Of a link of which nothing is known.
    pub(crate) fn new(_now: Instant, config: BweConfig) -> Self {
        Self {
            config,
            history: History::default(),
            queue: Queue::default(),
            acknowledged: Acknowledged::default(),
            loss: Loss::default(),
            probes: Probes::new(),
            demand: Demand::default(),
            bitrate: config.start,
            limited_by: LimitedBy::Unknown,
            drains: false,
            draining: None,
            decreased_at: None,
            increased_at: None,
            confirmed: [0; 2],
            confirmed_until: None,
            rtt: Duration::from_millis(100),
            feedback_at: None,
            outage_at: None,
            remb: None,
        }
    }

    /// Notes a packet of so many bytes of UDP payload.
    pub(crate) fn packet_sent(
        &mut self,
        now: Instant,
        number: u16,
        bytes: usize,
        probe: Option<u8>,
    ) {
        self.history.sent(now, number, bytes + OVERHEAD, probe);
        if self.feedback_at.is_some() {
            self.outage_at.get_or_insert(now + OUTAGE);
        }
    }

    /// Takes transport-wide feedback.
    pub(crate) fn feedback(&mut self, now: Instant, feedback: &TransportFeedback) {
        let news = self.history.feedback(feedback);
        if let Some(sent_at) = news.newest_sent_at {
            let rtt = now.saturating_duration_since(sent_at);
            self.rtt = (self.rtt * 7 + rtt) / 8;
        }
        self.queue.update(now, &news.arrived);
        self.acknowledged.update(&news.arrived);
        let found = self.probes.update(now, &news.arrived);
        let idle = self.queue.standing() < QUEUE_SHORT && !self.drains;
        let judged = self.loss.update(now, news.arrived.len(), news.lost, idle);
        let any = !news.arrived.is_empty();
        if any {
            self.feedback_at = Some(now);
            self.outage_at = None;
        }
        if self.limited_by == LimitedBy::Unknown && any {
            self.limited_by = LimitedBy::None;
        }
        self.judge(now, judged);
        if let Some(found) = found.filter(|_| !self.is_overused()) {
            self.take_found(now, found);
        }
        self.increase(now);
        self.poll_probes(now);
    }

    /// Backs off if the link is overused.
    fn judge(&mut self, now: Instant, loss_judged: bool) {
        if self.drains {
            self.drain(now);
        }
        // What a decrease has achieved is known a round trip later, at the earliest.
        let pause = self.rtt.max(Duration::from_millis(50)) + Duration::from_millis(100);
        if self.decreased_at.is_some_and(|at| now < at + pause) {
            return;
        }
        let filled = self.queue.standing() > QUEUE_SHORT || self.loss.excessive() > 2;
        if self.is_overused() {
            // A queue that shrinks is being drained already.
            if !self.drains || self.queue.grows() || self.queue.standing() > 4 * QUEUE_LONG {
                self.decrease(now, LimitedBy::Delay);
            }
        } else if loss_judged && self.loss.excessive() > 1 && filled {
            self.decrease(now, LimitedBy::Loss);
        }
    }

    /// A queue that is sent less than the link carries gets shorter. If it does not, it is not ours:
    /// the route has become longer, or others keep the queue full. Then that is the delay there is.
    fn drain(&mut self, now: Instant) {
        let standing = self.queue.standing();
        let (since, then) = *self.draining.get_or_insert((now, standing));
        if standing < QUEUE_SHORT {
            self.drains = false;
        } else if now >= since + DRAIN.max(3 * self.rtt) {
            if standing * 10 > then * 9 {
                self.queue.rebase();
                self.drains = false;
            }
            self.draining = Some((now, standing));
        }
        if !self.drains {
            self.draining = None;
        }
    }

    fn is_overused(&self) -> bool {
        let standing = self.queue.standing();
        let allowance = self.queue.jitter() / 2;
        standing > QUEUE_LONG + allowance
            || (standing > QUEUE_GROWING + allowance && self.queue.grows())
    }

    fn decrease(&mut self, now: Instant, by: LimitedBy) {
        let arrives = self.acknowledged.bitrate(RECENT);
        let to = percent(arrives, BACKOFF).clamp(self.config.min, self.config.max);
        if to < self.bitrate {
            self.bitrate = to;
        }
        self.limited_by = by;
        self.drains = by == LimitedBy::Delay;
        self.draining = None;
        self.decreased_at = Some(now);
        self.increased_at = Some(now);
        self.confirmed = [0, self.bitrate];
        self.loss.forget();
        self.probes
            .abort(now, Duration::from_millis(400).max(2 * self.rtt));
    }

    fn take_found(&mut self, now: Instant, found: Found) {
        let carried = if found.whole {
            found.bitrate
        } else {
            percent(found.bitrate, 95)
        };
        if carried > self.bitrate {
            self.bitrate = carried.min(self.config.max);
            self.increased_at = Some(now);
        }
        self.confirm(now, carried.min(self.bitrate));
        if found.whole && self.limited_by != LimitedBy::Remb && self.bitrate >= self.demand.desired
        {
            self.limited_by = LimitedBy::None;
        }
    }

    fn confirmed(&self) -> u64 {
        self.confirmed[0].max(self.confirmed[1]).min(self.bitrate)
    }

    fn confirm(&mut self, now: Instant, bitrate: u64) {
        if self.confirmed_until.is_none_or(|at| now >= at) {
            self.confirmed = [self.confirmed[1], 0];
            self.confirmed_until = Some(now + CONFIRMED);
        }
        self.confirmed[1] = self.confirmed[1].max(bitrate);
    }

    /// Follows what arrives: by 8 % a second, and never far from it (libwebrtc: `AimdRateControl`).
    fn increase(&mut self, now: Instant) {
        let arrives = self.acknowledged.bitrate(STEADY);
        if self.is_overused() || self.drains {
            return;
        }
        self.confirm(now, arrives);
        let since = *self.increased_at.get_or_insert(now);
        let elapsed = now
            .saturating_duration_since(since)
            .min(Duration::from_secs(1));
        self.increased_at = Some(now);
        let grown = self.bitrate as f64 * 1.08f64.powf(elapsed.as_secs_f64());
        let most = percent(arrives, 150) + 10_000;
        if self.bitrate < most {
            self.bitrate = (grown as u64 + 1).min(most).min(self.config.max);
        }
        // What arrives without a queue is carried.
        self.bitrate = self.bitrate.max(arrives.min(self.config.max));
    }

    /// Takes a receiver report: the round trip, and the loss where nothing better tells.
    pub(crate) fn report(&mut self, now: Instant, fraction_lost: f64, rtt: Duration) {
        if self.feedback_at.is_some() {
            return;
        }
        self.rtt = rtt;
        // As libwebrtc's first loss controller does (draft-ietf-rmcat-gcc-02 section 6).
        if fraction_lost > 0.1 && self.remb.is_some() {
            let to = self.bitrate as f64 * (1.0 - 0.5 * fraction_lost);
            self.bitrate = (to as u64).max(self.config.min);
            self.decreased_at = Some(now);
        }
    }

    /// Takes the receiver's own estimate; it counts while there is no transport-wide feedback.
    pub(crate) fn remb(&mut self, now: Instant, bitrate: u64) {
        let fresh = self.feedback_at.is_some_and(|at| now < at + 4 * OUTAGE);
        if fresh {
            return;
        }
        self.remb = Some(bitrate);
        self.bitrate = bitrate.clamp(self.config.min, self.config.max);
        self.limited_by = LimitedBy::Remb;
        self.confirmed = [0, self.bitrate];
    }

    /// Takes what is asked of the link.
    pub(crate) fn set_demand(&mut self, now: Instant, demand: Demand) {
        self.demand = demand;
        self.poll_probes(now);
    }

    fn poll_probes(&mut self, now: Instant) {
        let calm = self.feedback_at.is_some()
            && !self.drains
            && self.queue.standing() < QUEUE_GROWING
            && self.loss.excessive() == 0;
        let jitter = self.queue.jitter();
        self.probes
            .poll(now, self.bitrate, self.confirmed(), self.demand, calm, jitter);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. Probes are decided on when
    /// feedback comes.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.outage_at
    }

    /// Does what is due: without feedback the link is believed to carry less and less.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.outage_at.is_none_or(|at| now < at) {
            return;
        }
        self.outage_at = None;
        if self
            .history
            .oldest_unknown()
            .is_some_and(|at| now >= at + OUTAGE)
        {
            self.bitrate = (self.bitrate / 2).max(self.config.min);
            self.limited_by = LimitedBy::Delay;
            self.decreased_at = Some(now);
            self.confirmed = [0, self.bitrate];
            self.probes.abort(now, OUTAGE);
        }
    }

    /// The probe to send now.
    pub(crate) fn poll_probe(&mut self, _now: Instant) -> Option<Probe> {
        self.probes.take()
    }

    /// What is known now.
    pub(crate) fn estimate(&self) -> Estimate {
        let congested = self.drains || self.is_overused();
        let pacing = if self.drains {
            percent(self.bitrate, 95)
        } else if matches!(self.limited_by, LimitedBy::None | LimitedBy::Unknown) {
            percent(self.bitrate, 250).max(UNTRIED)
        } else {
            percent(self.bitrate, 150)
        };
        Estimate {
            bitrate: self.bitrate,
            pacing: pacing.max(self.config.min),
            limited_by: self.limited_by,
            acknowledged: self.acknowledged.bitrate(STEADY),
            loss: self.loss.share(),
            congested,
            probed: self.confirmed(),
            queue_delay: self.queue.standing(),
            probes: self.probes.sent,
        }
    }
}
