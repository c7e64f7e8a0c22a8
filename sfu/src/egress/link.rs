//! A viewer's link: its bandwidth is estimated, and from that its packets are paced and its layers allocated.

use std::time::{Duration, Instant};

use super::allocator::{Allocator, Budget, LayerAllocation, LayerRequest};
use super::bwe::{
    BandwidthEstimator, Block, BweConfig, Demand, Estimate, LimitedBy, ReportedEstimator, RoundTrip,
};
use super::pacer::Pacer;
use super::redundancy::{Decider, Redundancy, Seen};
use super::sound::Sound;
use crate::prefetch;
use crate::rate::RateMeter;
use crate::rtp::rtcp::TransportFeedback;
use crate::stats::BandwidthStats;
use crate::stream::Crowding;
use crate::view::Cap;

/// Estimated bandwidth of a new link, as in libwebrtc. The first probes show within two round trips whether it is more.
const START: u64 = 1_000_000;
/// Lowest estimate: audio alone and some feedback. Less is an outage.
const MIN: u64 = 30_000;
/// Highest estimate, ten gigabits: a bound for arithmetic, not for a real link.
const MAX: u64 = 10_000_000_000;
/// Lowest pacing rate for bursts while every rate tried has fitted. Most links carry it, and a first keyframe should
/// not wait for a better estimate.
const UNTRIED: u64 = 12_000_000;
/// Interval of decisions while nothing happens. Feedback comes every 50 to 100 ms; a switch takes a keyframe, which
/// takes longer.
const INTERVAL: Duration = Duration::from_millis(200);
/// Interval while everything wanted is sent and the link carries it. Congestion, another view, and a layer that comes
/// or goes cause a decision at once; layers that grow are seen in time.
const CONTENT: Duration = Duration::from_secs(1);

/// The estimator's start, before anything is known of a link.
const CONFIG: BweConfig = BweConfig {
    start: START,
    min: MIN,
    max: MAX,
};
/// Time without transport-wide feedback, though negotiated, after which a viewer that sends receiver reports is
/// estimated by these.
const UNHEARD: Duration = Duration::from_secs(2);
/// Silence after which a viewer is cut off, if feedback is overdue as well: feedback comes many times a second, and
/// reports once.
const UNHEARD_BY_FEEDBACK: Duration = Duration::from_secs(1);
/// Silence after which a viewer without feedback is cut off: STUN checks come every 2.5 s beside the reports.
const UNHEARD_BY_REPORTS: Duration = Duration::from_millis(2_800);
/// Time after which an unheard viewer is sent only a trickle (RFC 8083): nobody knows where its packets go.
const TRICKLES: Duration = Duration::from_secs(5);
const TRICKLE: u64 = 8;
/// Time for which the link stays known as the limit.
const REMEMBERS: Duration = Duration::from_secs(60);
/// Bandwidth from which on packets are padded to make sending cheaper. On a narrower link padding would be a fifth of
/// the audio.
const ROOMY: u64 = 3_000_000;
/// Time for which waiting packets may leave faster than the estimate.
const BURST: Duration = Duration::from_millis(80);
/// Interval at which pictures are dropped because others wait behind them.
const SHEDS: Duration = Duration::from_millis(200);
/// Time after a viewer is heard again in which packets that waited meanwhile may be dropped without blaming their
/// layer.
const RETURNS: Duration = Duration::from_secs(2);
/// Delay at the bottleneck that, if it never falls lower for [`STANDS`], shows that the link is full. A keyframe makes
/// a longer queue that goes away.
const STANDING: Duration = Duration::from_millis(40);
const STANDS: Duration = Duration::from_millis(300);
/// Longest wait of video for a viewer estimated by receiver reports. Its rate rises in steps, from layer to layer, and
/// the estimate follows seconds later: a queue here would hide the sent rate from the reports.
const WAITS: Duration = Duration::from_millis(400);

/// The streams that a receiver's own estimate (REMB) covers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Listed {
    /// The slots it names; empty: it covers all.
    pub(crate) slots: Vec<usize>,
    /// All video sent is among them: the estimate is for their total.
    pub(crate) whole: bool,
    /// Audio is among them too.
    pub(crate) audio: bool,
    /// Bits a second sent on these slots.
    pub(crate) rate: u64,
}

/// A viewer's link. The fields that a packet needs stand in one stretch, from the last field of `redundancy` on.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    /// Decides whether audio is sent twice.
    redundancy: Decider,
    /// Bytes sent that are not in the rate yet.
    uncounted: usize,
    /// Audio bytes that are not in the reserved rate yet.
    uncounted_sound: usize,
    /// Bytes that copies of that audio would take.
    uncounted_copies: usize,
    /// The estimator used instead of `bwe` without transport-wide feedback.
    reported: Option<Box<ReportedEstimator>>,
    /// Transport-wide feedback was negotiated.
    numbered: bool,
    /// The link is wide enough for padding.
    roomy: bool,
    pub(crate) pacer: Pacer,
    bwe: BandwidthEstimator,
    allocator: Allocator,
    listed: Listed,
    /// The rate reserved for audio at the last decision.
    audio: u64,
    sound: Sound,
    /// The viewer asks for lost audio again.
    repairs_sound: bool,
    /// The round trip, from its reports.
    rtt: Option<Duration>,
    /// Bits a second of the lowest wanted picture, at the last decision.
    lowest: u64,
    /// Transport-wide feedback has come.
    answered: bool,
    /// The time at which the viewer first reported without that feedback.
    unanswered_since: Option<Instant>,
    decide_at: Option<Instant>,
    /// The time since which the bottleneck always has a queue.
    standing_since: Option<Instant>,
    /// The time at which the viewer was heard again.
    returned_at: Option<Instant>,
    /// The time at which video was last dropped.
    shed_at: Option<Instant>,
    /// The time at which the link was last the limit.
    limited_at: Option<Instant>,
    /// The rate sent.
    rate: RateMeter,
    was_congested: bool,
    /// The time of the last RTP, RTCP, STUN or DTLS from the viewer.
    heard_at: Instant,
    hearing: Hearing,
}

/// Whether packets come from the viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hearing {
    Heard,
    /// Nothing has come for so long that feedback is overdue: its network is cut, which is not a slow link.
    Unheard,
    /// After silence something came, but no feedback. If none follows, the way to the viewer is cut.
    Again,
}

impl Link {
    /// A new link, not measured yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            bwe: BandwidthEstimator::new(now, CONFIG),
            pacer: Pacer::default(),
            allocator: Allocator::default(),
            reported: Some(Box::new(ReportedEstimator::new(now, CONFIG))),
            listed: Listed::default(),
            audio: 0,
            sound: Sound::default(),
            redundancy: Decider::default(),
            repairs_sound: false,
            rtt: None,
            lowest: 0,
            numbered: false,
            answered: false,
            unanswered_since: None,
            decide_at: None,
            standing_since: None,
            returned_at: None,
            shed_at: None,
            limited_at: None,
            rate: RateMeter::default(),
            uncounted: 0,
            uncounted_sound: 0,
            uncounted_copies: 0,
            was_congested: false,
            heard_at: now,
            hearing: Hearing::Heard,
            roomy: true,
        }
    }

    /// Prefetches the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        prefetch::line(&self.uncounted);
        prefetch::line(&self.pacer.overflowed);
        self.bwe.prefetch();
    }

    /// Prefetches the memory behind a pointer.
    pub(crate) fn prefetch_ring(&self) {
        self.bwe.prefetch_ring();
    }

    /// Sets whether the viewer negotiated transport-wide feedback and a stream to probe on.
    pub(crate) fn set_numbered(&mut self, now: Instant, numbered: bool) {
        if self.numbered != numbered {
            self.unanswered_since = None;
            self.reported = (!numbered).then(|| Box::new(ReportedEstimator::new(now, CONFIG)));
        }
        self.numbered = numbered;
    }

    /// Counts a packet about to be sent, with its stream's sequence number and its transport-wide number, if it has
    /// one.
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        (ssrc, sequence): (u32, u16),
        transport_sequence: Option<u16>,
        bytes: usize,
    ) {
        self.uncounted += bytes;
        let probe = self.pacer.note_probe(bytes);
        if self.numbered
            && let Some(sequence) = transport_sequence
        {
            self.bwe.packet_sent(now, sequence, bytes, probe);
        }
        if let Some(reported) = &mut self.reported {
            reported.sent(now, ssrc, sequence, bytes);
            // Reports come once a second, and nothing else asks for the rate.
            self.count(now);
        }
    }

    /// Counts sent bytes as audio; `copy` is the number of bytes that a copy of it takes.
    pub(crate) fn sound_sent(&mut self, bytes: usize, copy: usize) {
        self.uncounted_sound += bytes;
        self.uncounted_copies += copy;
    }

    /// Whether audio is sent twice.
    pub(crate) fn redundancy(&self) -> Redundancy {
        self.redundancy.decided()
    }

    /// Sets whether the viewer takes redundant audio, and whether it asks for lost audio again.
    pub(crate) fn set_sound(&mut self, takes_redundancy: bool, repairs: bool) {
        self.redundancy.set_takes(takes_redundancy);
        self.repairs_sound = repairs;
    }

    /// Whether packets may be padded to lengths that are cheap to send.
    pub(crate) fn has_room_for_padding(&self) -> bool {
        self.roomy
    }

    /// Whether the viewer must be scheduled again because packets wait. Transport-wide feedback schedules it often
    /// enough by itself.
    pub(crate) fn wakes(&self) -> bool {
        self.reported.is_some() && self.pacer.queued_since().is_some()
    }

    /// Counts a packet that leaves once more, with its old transport-wide number.
    pub(crate) fn sent_again(&mut self, sequence: u16, bytes: usize) {
        self.uncounted += bytes;
        self.pacer.passed(bytes);
        self.bwe.packet_sent_again(sequence);
    }

    /// Records that something authentic came from the viewer; true if it was not heard before.
    pub(crate) fn hear(&mut self, now: Instant) -> bool {
        self.heard_at = self.heard_at.max(now);
        if self.hearing != Hearing::Unheard {
            return false;
        }
        self.hearing = Hearing::Again;
        match &mut self.reported {
            Some(reported) => reported.spare(now),
            None => self.bwe.set_deaf(now, false),
        }
        self.follow(now);
        true
    }

    /// Records that packets take another path from now on; true if nothing came over the earlier one.
    pub(crate) fn path_changed(&mut self, now: Instant) -> bool {
        // The next path may take packets that the earlier one did not.
        self.pacer.set_blocked(now, false);
        let unheard = std::mem::replace(&mut self.hearing, Hearing::Heard) != Hearing::Heard;
        self.heard_at = self.heard_at.max(now);
        let silent = match &mut self.reported {
            Some(reported) => {
                reported.spare(now);
                false
            }
            None => self.bwe.path_changed(now),
        };
        self.follow(now);
        if unheard || silent {
            self.returned_at = Some(now);
        }
        unheard || silent
    }

    /// Holds video back while the connection of the viewer's stream does not keep up, and lets it go on. Pictures are chosen
    /// for the rate that it takes: its feedback would tell of that only once all has come that waits there.
    pub(crate) fn set_crowding(&mut self, now: Instant, crowding: Crowding) {
        self.pacer.set_blocked(now, crowding != Crowding::Clear);
        if let (Crowding::Crowded(Some(rate)), None) = (crowding, &self.reported) {
            self.bwe.takes_only(now, rate);
            self.follow(now);
        }
    }

    /// Whether the viewer is unheard, so that missing feedback says nothing about the link.
    fn is_unheard(&mut self, now: Instant) -> bool {
        let (gap, misses) = match &self.reported {
            Some(reported) => (UNHEARD_BY_REPORTS, reported.misses(now)),
            None => (UNHEARD_BY_FEEDBACK, self.bwe.misses(now)),
        };
        if misses && self.hearing == Hearing::Heard && now >= self.heard_at + gap {
            self.hearing = Hearing::Unheard;
            if self.reported.is_none() {
                self.bwe.set_deaf(now, true);
            }
        }
        self.hearing == Hearing::Unheard
    }

    /// Handles transport-wide feedback; true if it is the first after the viewer was not heard. Packets sent meanwhile are
    /// lost for good.
    pub(crate) fn feedback(&mut self, now: Instant, feedback: &TransportFeedback) -> bool {
        if !self.numbered {
            return false;
        }
        let returns = self.hearing != Hearing::Heard;
        if returns {
            self.returned_at = Some(now);
        }
        self.hearing = Hearing::Heard;
        self.answered = true;
        self.reported = None;
        self.bwe.feedback(now, feedback);
        self.follow(now);
        returns
    }

    /// Handles a report block of a stream, with the round trip since the last sender report, if it tells one; `rtt` is
    /// the smoothed round trip.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        block: &Block,
        round_trip: Option<RoundTrip>,
        rtt: Option<Duration>,
    ) {
        if let Some(rtt) = rtt {
            self.rtt = Some(rtt);
            self.bwe.report(now, rtt);
        }
        if self.numbered && !self.answered && self.reported.is_none() {
            let since = *self.unanswered_since.get_or_insert(now);
            if now >= since + UNHEARD {
                self.reported = Some(Box::new(ReportedEstimator::new(now, CONFIG)));
            }
        }
        if let Some(reported) = &mut self.reported {
            self.hearing = Hearing::Heard;
            let sending = self.rate.bitrate(now);
            reported.report(now, block, round_trip, sending);
            self.follow(now);
        }
    }

    /// Handles a receiver's own estimate (REMB); ignored from a viewer that sends transport-wide feedback.
    pub(crate) fn remb(&mut self, now: Instant, bitrate: u64, listed: Listed) {
        if let Some(reported) = &mut self.reported {
            let sending = self.rate.bitrate(now);
            reported.remb(now, bitrate, (listed.whole, listed.rate), sending);
            self.listed = listed;
            self.follow(now);
        }
    }

    /// Bits a second that the receiver allows one slot, if it named that slot and not all.
    pub(crate) fn most(&self, slot: usize) -> Option<u64> {
        let apart = !self.listed.whole && self.listed.slots.contains(&slot);
        self.estimate_now().said.filter(|_| apart)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let bwe = match &self.reported {
            Some(_) if self.hearing == Hearing::Unheard => None,
            Some(reported) => reported.poll_timeout(),
            None => self.bwe.poll_timeout(),
        };
        [bwe, self.pacer.poll_timeout(), self.decide_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does everything due, except [deciding](Self::allocate) and [pacing](Pacer::next).
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_unheard = self.is_unheard(now);
        match &mut self.reported {
            Some(_) if is_unheard => {}
            Some(reported) => reported.handle_timeout(now),
            None => self.bwe.handle_timeout(now),
        }
        self.follow(now);
    }

    /// Moves bytes sent since the last call into the rate.
    fn count(&mut self, now: Instant) {
        self.rate.add(now, std::mem::take(&mut self.uncounted));
        let sound = std::mem::take(&mut self.uncounted_sound);
        let copies = std::mem::take(&mut self.uncounted_copies);
        self.sound.count(now, sound, copies);
    }

    /// Bits a second reserved for audio, copies included while they are sent.
    fn reserve(&mut self, now: Instant) -> u64 {
        let copies = self.sound.copies(now);
        let sent = self.redundancy.decided() == Redundancy::Sent;
        self.sound.reserved(now) + if sent { copies } else { 0 }
    }

    /// Time until lost audio comes again. An unknown round trip counts as short, which costs little. The queue at the
    /// bottleneck does not count: copies would make it longer.
    fn repairs_in(&self, estimate: &Estimate) -> Option<Duration> {
        // A link too narrow for the wanted layers loses packets by that, and would lose more with copies.
        let lacks = self.allocator.allocated < self.allocator.desired;
        let rtt = match estimate.limited_by {
            LimitedBy::Delay if lacks => Duration::ZERO,
            _ => self.rtt.unwrap_or_default(),
        };
        self.repairs_sound
            .then(|| rtt.saturating_sub(estimate.queue_delay))
    }

    /// Decides whether audio is sent twice. Pictures are to make room for the copies at once.
    fn look_at_losses(&mut self, now: Instant, estimate: &Estimate, untried: bool) {
        // An estimate cut for losses does not mean a full link, unless pictures have to fit into it.
        let by_losses = estimate.limited_by == LimitedBy::Loss;
        let unknown = untried || by_losses && self.lowest == 0;
        let seen = Seen {
            loss: estimate.loss,
            repairs_in: self.repairs_in(estimate),
            full: estimate.congested && !by_losses || self.stands(now),
            carries: (!unknown).then_some(estimate.bitrate),
            sound: self.sound.reserved(now),
            copies: self.sound.copies(now),
            picture: self.lowest,
        };
        if self.redundancy.look(now, &seen) && self.decide_at.is_some() {
            self.decide_at = Some(now);
        }
    }

    /// Sets the pacer by the estimate, and decides at once on congestion.
    fn follow(&mut self, now: Instant) {
        self.count(now);
        let estimate = self.estimate_now();
        if !matches!(estimate.limited_by, LimitedBy::Unknown | LimitedBy::None) {
            self.limited_at = Some(now);
        }
        self.note_queue(now, &estimate);
        let untried = self.is_untried(now, &estimate);
        self.look_at_losses(now, &estimate, untried);
        self.roomy = untried || estimate.bitrate > ROOMY;
        let mut pacing = self.pacing(&estimate, untried);
        // A burst is for a keyframe. Packets that keep coming faster would fill the queue at the bottleneck instead.
        let waits = |since| now.saturating_duration_since(since) > BURST;
        if !untried && self.pacer.queued_since().is_some_and(waits) {
            pacing = pacing.min(estimate.bitrate);
        }
        if self.hearing == Hearing::Unheard && now >= self.heard_at + TRICKLES {
            pacing /= TRICKLE;
        }
        self.pacer.set_rate(now, Some(pacing));
        self.pacer
            .set_wait(self.reported.is_some().then_some(WAITS));
        if estimate.congested && !self.was_congested && self.decide_at.is_some() {
            self.decide_at = Some(now);
        }
        self.was_congested = estimate.congested;
        if self.reported.is_none()
            && let Some(probe) = self.bwe.poll_probe(now)
        {
            self.pacer.begin_probe(now, probe);
        }
    }

    fn estimate_now(&self) -> Estimate {
        match &self.reported {
            Some(reported) => reported.estimate(),
            None => self.bwe.estimate(),
        }
    }

    /// The pacing rate. Layers allocated without proof that they fit must be able to leave, which is their proof.
    fn pacing(&self, estimate: &Estimate, untried: bool) -> u64 {
        if untried && !estimate.congested {
            let shows = self.allocator.allocated.saturating_mul(3) / 2;
            estimate.pacing.max(shows).max(UNTRIED)
        } else if self.reported.is_some() && !estimate.congested {
            // Audio leaves in any case, and must not be taken from the rate that video needs.
            let sent = self.allocator.allocated.saturating_add(self.audio);
            estimate.pacing.max(sent.saturating_mul(11) / 10)
        } else {
            estimate.pacing
        }
    }

    /// Whether every rate tried has fitted for a minute at least: one probe that fits says little about the rest.
    fn is_untried(&self, now: Instant, estimate: &Estimate) -> bool {
        matches!(estimate.limited_by, LimitedBy::Unknown | LimitedBy::None)
            && self.limited_at.is_none_or(|at| now >= at + REMEMBERS)
    }

    /// Records the delay at the bottleneck. Reports show it too late to count.
    fn note_queue(&mut self, now: Instant, estimate: &Estimate) {
        // The delay counts while packets are sent that show it.
        let shows = self.reported.is_none() && self.allocator.allocated > 0;
        if !shows || estimate.own_delay < STANDING {
            self.standing_since = None;
        } else if self.standing_since.is_none() {
            self.standing_since = Some(now);
        }
    }

    fn stands(&self, now: Instant) -> bool {
        self.standing_since
            .is_some_and(|since| now >= since + STANDS)
    }

    /// Whether more is being sent than the link carries.
    pub(crate) fn is_congested(&self) -> bool {
        self.was_congested
    }

    /// The slot whose video is dropped, if packets have waited for too long. Its layer is bounded for a while, and its
    /// waiting packets are dropped, so that it continues with a keyframe.
    pub(crate) fn shed(&mut self, now: Instant) -> Option<usize> {
        // The last drop may be enough. An unheard viewer is sent a trickle, which is not the fault of a picture.
        let recent = self.shed_at.is_some_and(|at| now < at + SHEDS);
        if recent || self.hearing != Hearing::Heard || !self.pacer.is_late(now) {
            return None;
        }
        self.shed_at = Some(now);
        let pacer = &self.pacer;
        let slot = self
            .allocator
            .last_in_line(|slot| pacer.is_filled_by(slot))?;
        self.pacer.forget_slot(slot);
        if self.returned_at.is_none_or(|at| now >= at + RETURNS) {
            self.allocator.overran(now, slot);
        }
        Some(slot)
    }

    /// Whether a decision is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.decide_at.is_some_and(|at| at <= now)
    }

    /// Decides the layer of each video subscription.
    pub(crate) fn allocate(
        &mut self,
        now: Instant,
        cap: Cap,
        requests: &[LayerRequest],
    ) -> &[LayerAllocation] {
        self.count(now);
        let audio = self.reserve(now);
        self.audio = audio;
        self.lowest = lowest_of(requests);
        let estimate = self.estimate_now();
        let said = estimate.said.filter(|_| self.listed.whole);
        let said = said.map(|said| said.saturating_sub(if self.listed.audio { audio } else { 0 }));
        let most = said.unwrap_or(u64::MAX);
        let untried = self.is_untried(now, &estimate);
        let stands = !untried && self.stands(now);
        let bitrate = match stands {
            true => estimate.bitrate.min(estimate.acknowledged),
            false => estimate.bitrate,
        };
        let budget = Budget {
            bitrate: bitrate.saturating_sub(audio).min(most),
            confirmed: estimate.probed.saturating_sub(audio).min(most),
            untried,
            congested: estimate.congested || stands,
            doubtful: estimate.doubtful && !stands,
            waits: self.reported.is_some(),
            sound: audio,
            whole: bitrate.min(most.saturating_add(audio)),
        };
        let cap = Cap {
            bitrate: cap.bitrate.map(|most| most.saturating_sub(audio)),
            ..cap
        };
        self.allocator.allocate(now, budget, cap, requests);
        let allocated = self.allocator.allocated;
        let content =
            !budget.congested && (self.allocator.desired..=budget.bitrate).contains(&allocated);
        let interval = if content { CONTENT } else { INTERVAL };
        self.decide_at = (!requests.is_empty()).then_some(now + interval);
        let most = cap.bitrate.unwrap_or(u64::MAX);
        let demand = Demand {
            allocated: self.allocator.allocated + audio,
            desired: self.allocator.desired.min(most) + audio,
            step: self.allocator.step + audio,
        };
        match &mut self.reported {
            Some(reported) => reported.set_demand(now, demand),
            None => self.bwe.set_demand(now, demand),
        }
        self.follow(now);
        self.allocator.allocations()
    }

    /// The estimated bandwidth of the link, for the timeline.
    pub(crate) fn estimate(&self) -> Option<u64> {
        let estimate = self.estimate_now();
        let known = self.reported.is_none() || estimate.limited_by != LimitedBy::Unknown;
        known.then(|| self.total(&estimate))
    }

    /// The estimate for everything sent.
    fn total(&self, estimate: &Estimate) -> u64 {
        let said = estimate.said.filter(|_| self.listed.whole);
        let beside = if self.listed.audio { 0 } else { self.audio };
        said.map_or(u64::MAX, |said| said.saturating_add(beside))
            .min(estimate.bitrate)
    }

    /// The link's statistics.
    pub(crate) fn stats(&self, now: Instant) -> BandwidthStats {
        let estimate = self.estimate_now();
        let known = estimate.limited_by != LimitedBy::Unknown;
        BandwidthStats {
            estimate: known.then(|| self.total(&estimate)),
            limited_by: estimate.limited_by.code(),
            desired: self.allocator.desired,
            allocated: self.allocator.allocated,
            sent: self.rate.bitrate(now),
            acknowledged: estimate.acknowledged,
            loss: estimate.loss,
            queue_delay_ms: estimate.queue_delay.as_secs_f64() * 1e3,
            contested: estimate.contested,
            queued_bytes: self.pacer.queued_bytes(),
            queued_ms: self.pacer.queued_since().map_or(0.0, |since| {
                now.saturating_duration_since(since).as_secs_f64() * 1e3
            }),
            probes: estimate.probes,
            redundancy: self.redundancy.decided().code(),
        }
    }
}

/// Bits a second of the cheapest picture among those to be shown.
fn lowest_of(requests: &[LayerRequest]) -> u64 {
    let seen = requests.iter().filter(|request| request.paused.is_none());
    let rungs =
        seen.filter_map(|request| request.ladder.rungs().iter().find(|rung| rung.bitrate > 0));
    rungs.map(|rung| rung.bitrate).min().unwrap_or(0)
}
