//! Estimates the bandwidth of a viewer's link from transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). It is sans I/O. Rates at the interface are in bits a second of
//! UDP payload; those within are of IP packets.
//!
//! It follows the design of libwebrtc's `GoogCcNetworkController` (`modules/congestion_controller/goog_cc`, main branch
//! as of 2024-25), itself draft-ietf-rmcat-gcc-02 much extended. It departs from it where an SFU differs from an
//! encoder. An SFU sends the layers that exist, so that these nearly always limit its rate; and it can stop sending a
//! layer at once, but not make one smaller.
//!
//! | part | libwebrtc | what differs |
//! |---|---|---|
//! | `history` | `TransportFeedbackAdapter` | a ring; a loss counts once the packet can no longer come |
//! | `trendline`, `delay` | `TrendlineEstimator`, `InterArrivalDelta` | least delays instead of last ones; overuse needs a standing queue; a queue that no other flow fills is drained |
//! | `drain`, `trial` | none | a queue is emptied, which tells whose it is: the sender's, another flow's, or none of the link's |
//! | `acknowledged` | `AcknowledgedBitrateEstimator` | plain windows, a short one for cuts |
//! | `aimd` | `AimdRateControl`, `LinkCapacityEstimator` | no growth while application-limited: probes do that |
//! | `loss` | `LossBasedBweV2` | asks by a probe whether losses depend on the rate |
//! | `prober`, `probing`, `cluster` | `ProbeController`, `ProbeBitrateEstimator` | keeps probing while more is desired; slope of delay instead of first and last packet |
//!
//! `reported` is the estimator for receivers without that feedback.
//!
//! `rtc-interceptor` 0.21.1 has a Google congestion control too. It is not used for these reasons: it never probes and
//! stays at a low rate while application-limited; it cuts by losses above 10 % whatever their cause; it filters delays
//! with the Kalman filter of 2016; and it takes an allocated list of reports.
//!
//! # Bounds
//!
//! The state is about 1.5 KiB, and 16 bytes for each packet that may be unanswered: half a KiB for a viewer that is
//! sent audio, 128 KiB at most (`history`). A stranger writes the feedback: it can make that stranger's own estimate
//! wrong, but not move it out of its bounds.

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

/// Bytes of IP and UDP headers in a packet. IPv6 has 20 more, and behind a NAT64 the version is not known.
const OVERHEAD: usize = 28;
/// The unit in which arrivals are counted: 250 us.
const TICK_US: i64 = 250;

/// Time that a receiver heard again has until its feedback must come.
const SPARED: Duration = Duration::from_millis(1_500);

/// Bounds of an estimate, in bits a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BweConfig {
    /// The estimate before any feedback.
    pub(crate) start: u64,
    /// The lowest estimate; a link that carries less is an outage.
    pub(crate) min: u64,
    /// The highest estimate.
    pub(crate) max: u64,
}

/// Rates to be sent, in bits a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// The rate meant to be sent now.
    pub(crate) allocated: u64,
    /// The rate that would be sent if the link carried it. While it exceeds `allocated`, probes find out whether the
    /// link does.
    pub(crate) desired: u64,
    /// Bits a second with the cheapest further layer added.
    pub(crate) step: u64,
}

/// The limit of an estimate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LimitedBy {
    /// There was no feedback yet.
    Unknown,
    /// Every rate tried has fitted.
    None,
    /// At a higher rate packets queued up.
    Delay,
    /// At a higher rate packets were lost, or nothing was heard.
    Loss,
    /// The receiver said so.
    Remb,
}

impl LimitedBy {
    /// The code that [`BandwidthStats`](crate::stats::BandwidthStats) uses.
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

/// The estimated state of a link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Estimate {
    /// The estimated bandwidth, bits a second.
    pub(crate) bitrate: u64,
    /// The pacing rate: above the estimate, as frames come in bursts; below it while a queue is to empty.
    pub(crate) pacing: u64,
    /// The limit of the estimate.
    pub(crate) limited_by: LimitedBy,
    /// The rate that arrived lately, bits a second.
    pub(crate) acknowledged: u64,
    /// Share of packets lost lately (0 to 1).
    pub(crate) loss: f64,
    /// Round trip, the time a report waits excluded as far as known.
    pub(crate) rtt: Option<Duration>,
    /// The estimated time that packets wait in the link's queue.
    pub(crate) queue_delay: Duration,
    /// The sender's own part of it: not another flow's, nor usual on the path.
    pub(crate) own_delay: Duration,
    /// Another flow is believed to fill the link's queue.
    pub(crate) contested: bool,
    /// The link is overused or the rate was just cut: no time for more.
    pub(crate) congested: bool,
    /// The rate was just cut deeply, which may yet be taken back.
    pub(crate) doubtful: bool,
    /// The highest rate seen to arrive within the last 5 to 10 s, as traffic or as a probe, unless the estimate was cut
    /// below it since.
    pub(crate) probed: u64,
    /// Probes sent.
    pub(crate) probes: u64,
    /// REMB of the streams that the receiver named, bits a second.
    pub(crate) said: Option<u64>,
}

/// Estimates the bandwidth of one viewer's link.
///
/// The fields that every packet sent needs stand in one stretch of memory: each cache line that a packet touches is a
/// wait where viewers are many.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BandwidthEstimator {
    history: History,
    /// The time of the first packet after the last feedback.
    waiting_since: Option<i64>,
    /// Nothing at all comes from the receiver: see [`BandwidthEstimator::set_deaf`].
    is_deaf: bool,
    /// Recent bytes of payload, and of whole packets.
    payload: (u64, u64),
    /// All bytes sent.
    sent: u64,
    /// The last moment converted into microseconds: all packets of a turn are sent at one moment.
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
    /// The number after the last one reported on.
    reported: Option<u64>,
    feedback_count: Option<u8>,
    last_feedback: Option<i64>,
    /// Round trips: by receiver reports, and by feedback.
    rtt: (Option<i64>, Option<i64>),
    cut_at: Option<i64>,
    drain: Option<Drain>,
    suspicion: Option<Suspicion>,
    outage: Option<Outage>,
    /// The time before which losses do not count.
    losses_from: i64,
    /// A rate that the link carried before an outage.
    recovered: f64,
    /// The rate of the last probe while another flow fills the queue, bits a second. Delay is then no reason to send
    /// less.
    floor: f64,
    trial: Trial,
    /// The time at which a queue was last held to be none of the link's.
    doubted_at: Option<i64>,
    taken_back: TakenBack,
    /// The time at which bytes of a lost report were last counted as arrived, all at once.
    credited_at: Option<i64>,
}

impl BandwidthEstimator {
    /// A new estimator, without measurements.
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

    /// Prefetches the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        self.history.prefetch();
        prefetch::line(&self.payload);
    }

    /// Prefetches the memory behind a pointer.
    pub(crate) fn prefetch_ring(&self) {
        self.history.prefetch_ring();
    }

    /// Records a packet with its transport-wide number, `bytes` of UDP payload, and the cluster of its probe.
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

    /// Records that a packet is sent again under its number: its arrival time says nothing about the link any more.
    pub(crate) fn packet_sent_again(&mut self, sequence: u16) {
        self.history.file();
        if let Some(number) = self.history.number(sequence) {
            self.history.give_up(number);
        }
    }

    /// Handles transport-wide feedback.
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
            // The feedback covers no packet that was sent, or nothing new: it says nothing about the link.
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

    /// Records whether nothing at all comes from the receiver, feedback or other. Then missing feedback is no sign of a
    /// slow link, and the estimate stays. Packets sent meanwhile are lost, which says nothing.
    pub(crate) fn set_deaf(&mut self, now: Instant, is_deaf: bool) {
        let now = self.advance(now);
        self.is_deaf = is_deaf;
        (self.drain, self.suspicion) = (None, None);
        if !is_deaf {
            // Either feedback follows, or this link carries nothing.
            let since = now - control::SILENCE_US + SPARED.as_micros() as i64;
            self.waiting_since = self.waiting_since.map(|at| at.max(since));
            self.begin_anew(now);
        }
    }

    /// Records that packets take another path from now on; true if nothing was heard over the earlier one.
    pub(crate) fn path_changed(&mut self, now: Instant) -> bool {
        let now = self.advance(now);
        let was_deaf = std::mem::take(&mut self.is_deaf);
        (self.drain, self.suspicion) = (None, None);
        self.forget_path(now) || was_deaf
    }

    /// Records that the connection of a stream takes no more than so many bits a second, and that packets wait for it.
    pub(crate) fn takes_only(&mut self, now: Instant, rate: u64) {
        let now = self.advance(now);
        self.stall(now, rate as f64);
    }

    /// Records the round trip of a receiver report (RFC 3550 section 6.4.1).
    pub(crate) fn report(&mut self, now: Instant, rtt: Duration) {
        self.advance(now);
        let rtt = (rtt.as_micros() as i64).clamp(0, 10_000_000);
        self.rtt.0 = Some(self.rtt.0.map_or(rtt, |old| old + (rtt - old) / 4));
    }

    /// Sets the rates to be sent.
    pub(crate) fn set_demand(&mut self, now: Instant, demand: Demand) {
        let now = self.advance(now);
        if demand.desired / 9 > self.demand.desired / 8 {
            self.prober
                .hurry(now.max(self.cut_at.map_or(now, |at| at + 1_000_000)));
        }
        self.demand = demand;
        self.consider_probe(now);
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) has work.
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

    /// Does everything that is due.
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

    /// The present estimate.
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

    /// Unwraps an arrival, and converts it into microseconds.
    fn unwrap(&mut self, ticks: i64) -> i64 {
        let arrival = self.arrival.map_or(ticks, |last| {
            // The 24-bit reference time makes for 32 bits.
            last.wrapping_add(i64::from((ticks.wrapping_sub(last)) as i32))
        });
        self.arrival = Some(arrival);
        arrival.wrapping_mul(TICK_US)
    }

    /// Counts the bytes of a lost report as arrived, which most likely they did: otherwise the rate would seem to drop.
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

    /// The payload's share of the bytes sent (0 to 1).
    fn payload_share(&self) -> f64 {
        match self.payload {
            (_, 0) => 1.0,
            (payload, all) => (payload as f64 / all as f64).max(0.1),
        }
    }
}
