//! A viewer's link: what it carries is estimated, what it is sent is paced and allocated by that.

use std::time::{Duration, Instant};

use super::allocator::{Allocator, Budget, Grant, Wish};
use super::bwe::{BandwidthEstimator, BweConfig, Demand, Estimate, LimitedBy};
use super::pacer::Pacer;
use crate::prefetch;
use crate::rate::RateMeter;
use crate::rtp::rtcp::TransportFeedback;
use crate::stats::BandwidthStats;
use crate::view::Cap;

/// What a new link is believed to carry. As libwebrtc starts; the first probes tell within two round
/// trips whether it is more.
const START: u64 = 1_000_000;
/// Sound alone and some feedback; what is less is an outage.
const MIN: u64 = 30_000;
/// Ten gigabits: a bound for arithmetic, not for anybody's link.
const MAX: u64 = 10_000_000_000;
/// While nothing that was tried did not fit, bursts leave at this rate at least: most links carry it, and a
/// first keyframe should not wait for others to be told apart.
const UNTRIED: u64 = 12_000_000;
/// Between decisions while nothing happens. Feedback comes every 50 to 100 ms; a switch takes a keyframe,
/// which takes longer.
const INTERVAL: Duration = Duration::from_millis(200);
/// While everything wanted is sent and the link carries it. What changes that is told at once:
/// congestion, another wish, a layer that comes or goes; layers that grow are seen in time.
const CONTENT: Duration = Duration::from_secs(1);

/// A viewer's link. What a packet needs stands first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    /// Bytes sent that are not in the rate yet.
    uncounted: usize,
    pub(crate) pacer: Pacer,
    bwe: BandwidthEstimator,
    allocator: Allocator,
    /// The viewer numbers what it receives and reports it: without that nothing is known of the link.
    reports: bool,
    /// The viewer said once what it can receive at most.
    remb: bool,
    decide_at: Option<Instant>,
    /// What was sent.
    rate: RateMeter,
    was_congested: bool,
}

impl Link {
    /// A link of which nothing is known.
    pub(crate) fn new(now: Instant) -> Self {
        let config = BweConfig {
            start: START,
            min: MIN,
            max: MAX,
        };
        Self {
            bwe: BandwidthEstimator::new(now, config),
            pacer: Pacer::default(),
            allocator: Allocator::default(),
            reports: false,
            remb: false,
            decide_at: None,
            rate: RateMeter::default(),
            uncounted: 0,
            was_congested: false,
        }
    }

    /// Asks for the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        prefetch::line(&self.uncounted);
        prefetch::line(&self.pacer.overflowed);
        self.bwe.prefetch();
    }

    /// The same of what is behind a pointer.
    pub(crate) fn prefetch_ring(&self) {
        self.bwe.prefetch_ring();
    }

    /// The viewer negotiated transport-wide feedback, or did not.
    pub(crate) fn set_reports(&mut self, reports: bool) {
        self.reports = reports;
    }

    /// Notes a packet about to be sent with a transport-wide number.
    pub(crate) fn sent(&mut self, now: Instant, sequence: u16, bytes: usize) {
        self.uncounted += bytes;
        let probe = self.pacer.note_probe(bytes);
        self.bwe.packet_sent(now, sequence, bytes, probe);
    }

    /// Takes transport-wide feedback.
    pub(crate) fn feedback(&mut self, now: Instant, feedback: &TransportFeedback) {
        self.bwe.feedback(now, feedback);
        self.follow(now);
    }

    /// Takes what a receiver report says of a stream.
    pub(crate) fn report(&mut self, now: Instant, fraction_lost: f64, rtt: Duration) {
        self.bwe.report(now, fraction_lost, rtt);
    }

    /// Takes a receiver's own estimate.
    pub(crate) fn remb(&mut self, now: Instant, bitrate: u64) {
        self.remb = true;
        self.bwe.remb(now, bitrate);
        self.follow(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let bwe = self.is_known().then(|| self.bwe.poll_timeout()).flatten();
        [bwe, self.pacer.poll_timeout(), self.decide_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due, but for [deciding](Self::allocate) and [pacing](Pacer::next).
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.is_known() {
            self.bwe.handle_timeout(now);
            self.follow(now);
        }
    }

    /// The pacer follows the estimate; congestion is reason to decide at once.
    fn follow(&mut self, now: Instant) {
        self.rate.add(now, std::mem::take(&mut self.uncounted));
        let estimate = self.bwe.estimate();
        self.pacer
            .set_rate(now, self.is_known().then(|| self.pacing(&estimate)));
        if estimate.congested && !self.was_congested && self.decide_at.is_some() {
            self.decide_at = Some(now);
        }
        self.was_congested = estimate.congested;
        if let Some(probe) = self.bwe.poll_probe(now) {
            self.pacer.begin_probe(now, probe);
        }
    }

    /// What was allocated without proof must be able to show itself.
    fn pacing(&self, estimate: &Estimate) -> u64 {
        let untried = matches!(estimate.limited_by, LimitedBy::Unknown | LimitedBy::None);
        if untried && !estimate.congested {
            let shows = self.allocator.allocated.saturating_mul(3) / 2;
            estimate.pacing.max(shows).max(UNTRIED)
        } else {
            estimate.pacing
        }
    }

    /// Whether anything tells what the link carries.
    fn is_known(&self) -> bool {
        self.reports || self.remb
    }

    /// Whether more is being sent than it carries.
    pub(crate) fn is_congested(&self) -> bool {
        self.was_congested
    }

    /// Whether it is time to decide.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.decide_at.is_some_and(|at| at <= now)
    }

    /// Decides what each subscription gets. `audio` is the rate of what is sent in any case.
    pub(crate) fn allocate(
        &mut self,
        now: Instant,
        cap: Cap,
        audio: u64,
        wishes: &[Wish],
    ) -> &[Grant] {
        let estimate = self.bwe.estimate();
        let budget = if self.is_known() {
            Budget {
                bitrate: estimate.bitrate.saturating_sub(audio),
                confirmed: estimate.probed.saturating_sub(audio),
                untried: matches!(estimate.limited_by, LimitedBy::Unknown | LimitedBy::None),
                congested: estimate.congested,
            }
        } else {
            Budget {
                bitrate: MAX,
                confirmed: MAX,
                untried: true,
                congested: false,
            }
        };
        let cap = Cap {
            bitrate: cap.bitrate.map(|most| most.saturating_sub(audio)),
            ..cap
        };
        self.allocator.allocate(now, budget, cap, wishes);
        let allocated = self.allocator.allocated;
        let content =
            !budget.congested && (self.allocator.desired..=budget.bitrate).contains(&allocated);
        let interval = if content { CONTENT } else { INTERVAL };
        self.decide_at = (self.is_known() && !wishes.is_empty()).then_some(now + interval);
        let most = cap.bitrate.unwrap_or(u64::MAX);
        self.bwe.set_demand(
            now,
            Demand {
                allocated: self.allocator.allocated + audio,
                desired: self.allocator.desired.min(most) + audio,
            },
        );
        self.follow(now);
        self.allocator.grants()
    }

    /// What the link is believed to carry, for the timeline.
    pub(crate) fn estimate(&self) -> Option<u64> {
        self.is_known().then(|| self.bwe.estimate().bitrate)
    }

    /// All there is to be seen of it.
    pub(crate) fn stats(&self, now: Instant) -> BandwidthStats {
        let estimate = self.bwe.estimate();
        let known = self.is_known() && estimate.limited_by != LimitedBy::Unknown;
        BandwidthStats {
            estimate: known.then_some(estimate.bitrate),
            limited_by: estimate.limited_by.code(),
            desired: self.allocator.desired,
            allocated: self.allocator.allocated,
            sent: self.rate.bitrate(now),
            acknowledged: estimate.acknowledged,
            loss: estimate.loss,
            queue_delay_ms: estimate.queue_delay.as_secs_f64() * 1e3,
            queued_bytes: self.pacer.queued_bytes(),
            queued_ms: self.pacer.queued_since().map_or(0.0, |since| {
                now.saturating_duration_since(since).as_secs_f64() * 1e3
            }),
            probes: estimate.probes,
        }
    }
}
