//! What a viewer's link carries, estimated from transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Sans I/O; rates at the interface are in bits a
//! second of UDP payload, inside those of IP packets.
//!
//! It follows the design of libwebrtc's `GoogCcNetworkController` (`modules/congestion_controller/goog_cc`,
//! main branch as of 2024-25), itself draft-ietf-rmcat-gcc-02 much extended, and departs from it where an
//! SFU differs from an encoder: it sends what layers there are, so that it is nearly always limited by
//! them, and it can stop sending a layer at once, but not make one smaller.
//!
//! | part | libwebrtc | what differs |
//! |---|---|---|
//! | `history` | `TransportFeedbackAdapter` | a ring; a loss counts once the packet can no longer come |
//! | `trendline`, `delay` | `TrendlineEstimator`, `InterArrivalDelta` | least delays instead of last ones; overuse needs a queue that stands; a queue nobody else fills is drained |
//! | `drain`, `trial` | none | a queue is emptied, and tells by that whose it is: ours, another flow's, or none of the link's |
//! | `acknowledged` | `AcknowledgedBitrateEstimator` | plain windows, a short one for cuts |
//! | `aimd` | `AimdRateControl`, `LinkCapacityEstimator` | no growth while application-limited: probes do that |
//! | `loss` | `LossBasedBweV2` | asks by a probe whether losses depend on the rate |
//! | `prober`, `probing`, `cluster` | `ProbeController`, `ProbeBitrateEstimator` | keeps probing while more is desired; slope of delay instead of first and last packet |
//!
//! Receivers without that feedback are another matter: see `reported`.
//!
//! `rtc-interceptor` 0.21.1 has a Google congestion control too. It is not used: it probes nothing and
//! never leaves a low rate while application-limited; cuts by losses above 10 % whatever their cause;
//! filters delays with the Kalman filter of 2016; and takes an allocated list of reports.
//!
//! # Bounds
//!
//! About 1.5 KiB of state, and 16 bytes for each packet that may be unanswered: half a KiB for a viewer who is
//! sent sound, 128 KiB at most (`history`). Feedback is a stranger's: it can make the estimate wrong, for
//! the stranger alone, but not leave its bounds.

mod acknowledged;
mod aimd;
mod cluster;
mod control;
mod delay;
mod drain;
mod history;
mod loss;
mod prober;
mod probing;
mod reported;
mod taken_back;
#[cfg(test)]
mod tests;
mod trendline;
mod trial;

use std::time::{Duration, Instant};

use acknowledged::Acknowledged;
use aimd::Aimd;
use control::{Confirmed, Outage, Suspicion};
use delay::Delay;
use drain::Drain;
use history::{History, Status};
use loss::Loss;
pub(crate) use prober::Probe;
use prober::Prober;
pub(crate) use reported::{Block, ReportedEstimator, RoundTrip};
use taken_back::TakenBack;
use trial::Trial;

use crate::prefetch;
use crate::rtp::rtcp::TransportFeedback;

/// Of IP and UDP, in bytes a packet; IPv6 has 20 more, and nobody tells which it is behind a NAT64.
const OVERHEAD: usize = 28;
/// 250 us, in which arrivals are counted.
const TICK_US: i64 = 250;

/// Who is heard again has so long for feedback.
const SPARED: Duration = Duration::from_millis(1_500);

/// Bounds of an estimate, in bits a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BweConfig {
    /// Before anything is known.
    pub(crate) start: u64,
    /// The estimate is never below; a link that carries less is an outage.
    pub(crate) min: u64,
    /// Nor above.
    pub(crate) max: u64,
}

/// What is to be sent, in bits a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// What is meant to be sent now.
    pub(crate) allocated: u64,
    /// What would be sent if the link carried it. While it is more than `allocated`, probes find out
    /// whether it does.
    pub(crate) desired: u64,
    /// Bits a second with the cheapest further layer added.
    pub(crate) step: u64,
}

/// What limits an estimate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LimitedBy {
    /// There was no feedback yet.
    Unknown,
    /// All that was tried fitted.
    None,
    /// More made packets queue up.
    Delay,
    /// More was lost, or nothing was heard.
    Loss,
    /// The receiver said so.
    Remb,
}

impl LimitedBy {
    /// As [`BandwidthStats`](crate::stats::BandwidthStats) names it.
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

/// What is believed of a link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Estimate {
    /// It carries this, bits a second.
    pub(crate) bitrate: u64,
    /// Packets may leave at this rate: above the estimate, for frames come in bursts; below it while a
    /// queue is to empty.
    pub(crate) pacing: u64,
    /// What limits the estimate.
    pub(crate) limited_by: LimitedBy,
    /// What arrived lately, bits a second.
    pub(crate) acknowledged: u64,
    /// Share of packets lost lately (0 to 1).
    pub(crate) loss: f64,
    /// Round trip, the time a report waits excluded as far as known.
    pub(crate) rtt: Option<Duration>,
    /// What packets are believed to wait in the link's queue.
    pub(crate) queue_delay: Duration,
    /// The part of it that is our own doing: not another flow's, nor usual on the path.
    pub(crate) own_delay: Duration,
    /// Another flow is believed to fill the link's queue.
    pub(crate) contested: bool,
    /// It is overused or was just cut: no moment for more.
    pub(crate) congested: bool,
    /// It was just cut deeply, which may be taken back yet.
    pub(crate) doubtful: bool,
    /// The highest rate that was seen to arrive within the last 5 to 10 s, as traffic or as a probe, if
    /// the estimate was not cut below it since.
    pub(crate) probed: u64,
    /// Probes sent.
    pub(crate) probes: u64,
    /// REMB of the streams that the receiver named, bits a second.
    pub(crate) said: Option<u64>,
}

/// Estimates what one viewer's link carries.
///
/// What is noted of every packet sent stands in one stretch of memory: each line of it that a packet
/// touches is a wait where viewers are many.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BandwidthEstimator {
    history: History,
    /// When the first packet after the last feedback was sent.
    waiting_since: Option<i64>,
    /// Nothing at all is heard of the receiver: see [`BandwidthEstimator::set_deaf`].
    is_deaf: bool,
    /// Bytes of payload and of all, lately.
    payload: (u64, u64),
    /// Bytes sent in all.
    sent: u64,
    /// The last moment that was put into microseconds: a turn's packets are sent at one.
    moment: (Instant, i64),
    epoch: Instant,
    /// The latest time seen. All times are in microseconds since the epoch.
    now: i64,
    max: f64,
    acknowledged: Acknowledged,
    delay: Delay,
    loss: Loss,
    aimd: Aimd,
    prober: Prober,
    demand: Demand,
    confirmed: Confirmed,
    /// The latest arrival, in ticks of the receiver's clock, unwrapped.
    arrival: Option<i64>,
    /// The number behind the last one reported on.
    reported: Option<u64>,
    feedback_count: Option<u8>,
    last_feedback: Option<i64>,
    /// By receiver reports, and by feedback.
    rtt: (Option<i64>, Option<i64>),
    cut_at: Option<i64>,
    drain: Option<Drain>,
    suspicion: Option<Suspicion>,
    outage: Option<Outage>,
    /// Losses of what was sent before mean nothing.
    losses_from: i64,
    /// After an outage: a rate that the link carried before it.
    recovered: f64,
    /// While another flow fills the queue: what the last probe got of it, bits a second. Delay is no
    /// reason to send less.
    floor: f64,
    trial: Trial,
    /// When a queue was last held to be none of the link's.
    doubted_at: Option<i64>,
    taken_back: TakenBack,
    /// When bytes of a lost report were last counted as arrived, all at once.
    credited_at: Option<i64>,
}

impl BandwidthEstimator {
    /// An estimator that knows nothing.
    pub(crate) fn new(now: Instant, config: BweConfig) -> Self {
        let (min, max) = (config.min as f64, config.max.max(config.min) as f64);
        Self {
            epoch: now,
            now: 0,
            moment: (now, 0),
            max,
            history: History::default(),
            acknowledged: Acknowledged::default(),
            delay: Delay::default(),
            loss: Loss::default(),
            aimd: Aimd::new(0, config.start as f64, (min, max)),
            prober: Prober::new(0),
            demand: Demand::default(),
            confirmed: Confirmed::default(),
            payload: (0, 0),
            sent: 0,
            arrival: None,
            reported: None,
            feedback_count: None,
            last_feedback: None,
            waiting_since: None,
            is_deaf: false,
            rtt: (None, None),
            cut_at: None,
            drain: None,
            suspicion: None,
            outage: None,
            losses_from: 0,
            recovered: 0.0,
            floor: 0.0,
            trial: Trial::NONE,
            doubted_at: None,
            taken_back: TakenBack::NONE,
            credited_at: None,
        }
    }

    /// Asks for the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        self.history.prefetch();
        prefetch::line(&self.payload);
    }

    /// The same of what is behind a pointer.
    pub(crate) fn prefetch_ring(&self) {
        self.history.prefetch_ring();
    }

    /// Notes a packet with its transport-wide number, `bytes` of UDP payload, and the cluster of the
    /// probe it is sent for.
    pub(crate) fn packet_sent(
        &mut self,
        now: Instant,
        sequence: u16,
        bytes: usize,
        probe: Option<u8>,
    ) {
        let at = self.micros(now);
        let all = bytes.min(usize::from(u16::MAX) - OVERHEAD) + OVERHEAD;
        let probe = probe.unwrap_or(0);
        self.history.insert(at, sequence, all as u16, probe);
        self.waiting_since.get_or_insert(at);
        self.payload.0 += (all - OVERHEAD) as u64;
        self.payload.1 += all as u64;
        self.sent += all as u64;
        if self.payload.1 > 1 << 18 {
            self.payload = (self.payload.0 / 2, self.payload.1 / 2);
        }
        if probe != 0
            && let Some(cluster) = self.prober.active(probe)
        {
            cluster.sent(at, all as u16);
        }
    }

    /// A packet is sent once more under its number: when it arrives tells nothing of the link any more.
    pub(crate) fn packet_sent_again(&mut self, sequence: u16) {
        self.history.file();
        if let Some(number) = self.history.number(sequence) {
            self.history.give_up(number);
        }
    }

    /// Takes transport-wide feedback.
    pub(crate) fn feedback(&mut self, now: Instant, feedback: &TransportFeedback) {
        let now = self.advance(now);
        self.history.file();
        self.history
            .prefetch_report(feedback.base, feedback.arrivals.len());
        self.credit_lost_reports(feedback);
        let mut newest_sent = None;
        for (sequence, ticks) in feedback.statuses() {
            let Some(number) = self.history.number(sequence) else {
                continue;
            };
            self.reported = Some(
                self.reported
                    .map_or(number + 1, |next| next.max(number + 1)),
            );
            let Some(ticks) = ticks else {
                if let Some(sent) = self.history.missing(number)
                    && let Some(cluster) = self.prober.active(sent.probe)
                {
                    cluster.missing();
                }
                continue;
            };
            let arrival = self.unwrap(ticks);
            let Some((sent, before)) = self.history.arrived(number) else {
                continue;
            };
            newest_sent = newest_sent.max(Some(sent.at));
            self.acknowledged.add(arrival, u64::from(sent.bytes));
            self.delay.add(sent.at, arrival);
            if let Some(cluster) = self.prober.active(sent.probe) {
                cluster.arrived(sent.at, arrival, sent.bytes, before == Status::Missing);
            }
        }
        let Some(newest_sent) = newest_sent else {
            // Of nothing we sent, or nothing new: it tells nothing of the link.
            return;
        };
        let took = (now - newest_sent).clamp(0, 10_000_000);
        let smoothed = self.rtt.1.map_or(took, |rtt| rtt + (took - rtt) / 8);
        self.rtt.1 = Some(smoothed.min(took + 100_000));
        self.delay.update();
        let (loss, from) = (&mut self.loss, self.losses_from);
        self.history.settle(|at, bytes, lost| {
            if at >= from {
                loss.add(at, bytes, lost);
            }
        });
        self.heard(now);
        self.control(now);
        self.last_feedback = Some(now);
        self.waiting_since = None;
    }

    /// Whether feedback should have come by now.
    pub(crate) fn misses(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.epoch).as_micros() as i64;
        self.silence_at().is_some_and(|at| since >= at)
    }

    /// Nothing at all is heard of the receiver, feedback or other, or something is again. Without a word no
    /// feedback is no sign of a slow link: what is believed stays. What was sent meanwhile is lost and tells
    /// nothing.
    pub(crate) fn set_deaf(&mut self, now: Instant, is_deaf: bool) {
        let now = self.advance(now);
        self.is_deaf = is_deaf;
        (self.drain, self.suspicion) = (None, None);
        if !is_deaf {
            // Feedback follows, or this link is one that carries nothing.
            let since = now - control::SILENCE_US + SPARED.as_micros() as i64;
            self.waiting_since = self.waiting_since.map(|at| at.max(since));
            self.begin_anew(now);
        }
    }

    /// Takes the round trip of a receiver report (RFC 3550 section 6.4.1).
    pub(crate) fn report(&mut self, now: Instant, rtt: Duration) {
        self.advance(now);
        let rtt = (rtt.as_micros() as i64).clamp(0, 10_000_000);
        self.rtt.0 = Some(self.rtt.0.map_or(rtt, |old| old + (rtt - old) / 4));
    }

    /// Says what is to be sent, and what would be.
    pub(crate) fn set_demand(&mut self, now: Instant, demand: Demand) {
        let now = self.advance(now);
        if demand.desired / 9 > self.demand.desired / 8 {
            self.prober
                .hurry(now.max(self.cut_at.map_or(now, |at| at + 1_000_000)));
        }
        self.demand = demand;
        self.consider_probe(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let probe = self.prober.poll_timeout(
            self.last_feedback.is_some() && self.wanted().is_some(),
            self.rtt_us(),
        );
        let calm = self
            .cut_at
            .map(|at| at + self.response())
            .filter(|at| *at > self.now);
        [
            probe,
            calm,
            self.silence_at(),
            self.knock_at(),
            self.drain.map(|drain| drain.until),
            self.suspicion.map(|suspicion| suspicion.until),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| self.epoch + Duration::from_micros(at.max(0) as u64))
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        self.expect_feedback(now);
        self.end_drain(now);
        self.finish_probe(now);
        self.end_suspicion(now);
        self.consider_probe(now);
        self.knock(now);
    }

    /// A probe to be sent, beginning now.
    pub(crate) fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        let now = self.advance(now);
        self.prober.poll(now)
    }

    /// What is believed now.
    pub(crate) fn estimate(&self) -> Estimate {
        let share = self.payload_share();
        let bits = |rate: f64| (rate * share).max(0.0) as u64;
        let rtt = self
            .rtt
            .0
            .or(self.rtt.1)
            .map(|us| Duration::from_micros(us.max(0) as u64));
        let (min, max) = self.aimd.bounds();
        let within = |bitrate: u64| bitrate.clamp(min as u64, max as u64);
        let bitrate = within(bits(self.aimd.target()));
        Estimate {
            bitrate,
            pacing: bits(self.pacing()),
            limited_by: self.limited_by(),
            acknowledged: if self.outage.is_some() {
                0
            } else {
                bits(self.arriving())
            },
            loss: self.loss.average(),
            rtt,
            queue_delay: Duration::from_micros(self.delay.standing().max(0) as u64),
            own_delay: match self.delay.is_contested() {
                true => Duration::ZERO,
                false => Duration::from_micros(self.delay.ours().max(0) as u64),
            },
            contested: self.delay.is_contested(),
            congested: self.is_congested(),
            doubtful: self.is_doubtful(),
            probed: bits(self.confirmed.highest()).min(bitrate),
            probes: self.prober.count(),
            said: None,
        }
    }

    fn micros(&mut self, now: Instant) -> i64 {
        if self.moment.0 != now {
            let since = now.saturating_duration_since(self.epoch);
            let us = since.as_secs() as i64 * 1_000_000 + i64::from(since.subsec_micros());
            self.moment = (now, us);
        }
        self.moment.1
    }

    fn advance(&mut self, now: Instant) -> i64 {
        self.now = self.now.max(self.micros(now));
        self.now
    }

    /// Unwraps an arrival, into microseconds.
    fn unwrap(&mut self, ticks: i64) -> i64 {
        let arrival = self.arrival.map_or(ticks, |last| {
            // The 24-bit reference time makes for 32 bits.
            last.wrapping_add(i64::from((ticks.wrapping_sub(last)) as i32))
        });
        self.arrival = Some(arrival);
        arrival.wrapping_mul(TICK_US)
    }

    /// What a lost report was about arrived most likely: without it the rate would seem to have dropped.
    fn credit_lost_reports(&mut self, feedback: &TransportFeedback) {
        let expected = self.feedback_count.map(|count| count.wrapping_add(1));
        self.feedback_count = Some(feedback.feedback_count);
        if feedback.arrivals.is_empty() {
            return;
        }
        let (Some(from), Some(to)) = (self.reported, self.history.number(feedback.base)) else {
            return;
        };
        if expected.is_none_or(|expected| expected == feedback.feedback_count) || to <= from {
            return;
        }
        let bytes = self.history.unknown_bytes(from, to);
        let arrival = feedback.arrivals.iter().find_map(|ticks| *ticks);
        if let Some(ticks) = arrival
            && self.outage.is_none()
        {
            let arrival = self.unwrap(ticks);
            self.acknowledged.add(arrival, bytes);
            self.credited_at = Some(self.now);
        }
    }

    /// Payload of what is sent (0 to 1).
    fn payload_share(&self) -> f64 {
        match self.payload {
            (_, 0) => 1.0,
            (payload, all) => (payload as f64 / all as f64).max(0.1),
        }
    }
}
