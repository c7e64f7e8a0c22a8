//! A viewer's link: what it carries is estimated, what it is sent is paced and allocated by that.

use std::time::{Duration, Instant};

use super::allocator::{Allocator, Budget, Grant, Wish};
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

/// Before anything is known of a link.
const CONFIG: BweConfig = BweConfig {
    start: START,
    min: MIN,
    max: MAX,
};
/// Who negotiated transport-wide feedback and sends none for so long, but reports, is believed by reports.
const UNHEARD: Duration = Duration::from_secs(2);
/// A viewer of which nothing at all is heard for so long is cut off, if feedback is missed as well: it comes many
/// times a second, and reports once.
const UNHEARD_BY_FEEDBACK: Duration = Duration::from_secs(1);
/// Where there is none, checks come every 2.5 s beside the reports.
const UNHEARD_BY_REPORTS: Duration = Duration::from_millis(2_800);
/// After so long what is sent to who is not heard is no more than a trickle (RFC 8083): nobody knows where it goes.
const TRICKLES: Duration = Duration::from_secs(5);
const TRICKLE: u64 = 8;
/// The time for which it is remembered that the link was the limit.
const REMEMBERS: Duration = Duration::from_secs(60);
/// A link known to carry no more is not sent padding that only makes packets cheaper to send: of sound that would be
/// a fifth.
const ROOMY: u64 = 3_000_000;
/// How long what waits may leave faster than the estimate.
const BURST: Duration = Duration::from_millis(80);
/// Between two pictures given up because others wait behind them.
const SHEDS: Duration = Duration::from_millis(200);
/// What waited while a viewer was not heard may be given up for so long after, and tells nothing of its layer.
const RETURNS: Duration = Duration::from_secs(2);
/// A queue at the bottleneck that is never shorter for so long means that no more than what arrives fits. A keyframe
/// makes a longer one that goes away.
const STANDING: Duration = Duration::from_millis(40);
const STANDS: Duration = Duration::from_millis(300);
/// How long video of who is believed by reports may wait here. What it is sent comes in steps, from layer to
/// layer, and its estimate follows seconds later: a queue here would hide from the reports what is sent.
const WAITS: Duration = Duration::from_millis(400);

/// What a receiver's own estimate (REMB) is for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Listed {
    /// The slots it names; none: it is for all.
    pub(crate) slots: Vec<usize>,
    /// All video that is sent is among them: it is for their total.
    pub(crate) whole: bool,
    /// So is sound.
    pub(crate) audio: bool,
    /// Bits a second that they are sent.
    pub(crate) rate: u64,
}

/// A viewer's link. What a packet needs stands in one stretch, which begins with the last field of `redundancy`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    /// Whether sound is sent twice.
    redundancy: Decider,
    /// Bytes sent that are not in the rate yet.
    uncounted: usize,
    /// Bytes of sound that are not in its reserved rate yet.
    uncounted_sound: usize,
    /// Bytes that copies of that sound would take.
    uncounted_copies: usize,
    /// In place of `bwe`, where there is no transport-wide feedback.
    reported: Option<Box<ReportedEstimator>>,
    /// Transport-wide feedback was negotiated.
    numbered: bool,
    /// Padding does not matter to it.
    roomy: bool,
    pub(crate) pacer: Pacer,
    bwe: BandwidthEstimator,
    allocator: Allocator,
    listed: Listed,
    /// What sound takes, as last decided.
    audio: u64,
    sound: Sound,
    /// Lost sound is asked for again by the viewer.
    repairs_sound: bool,
    /// There and back, from its reports.
    rtt: Option<Duration>,
    /// Bits a second of the lowest picture that is wanted, as last decided.
    lowest: u64,
    /// There was some transport-wide feedback.
    answered: bool,
    /// The time at which the viewer first reported without that feedback.
    unanswered_since: Option<Instant>,
    decide_at: Option<Instant>,
    /// The time since which there is always a queue at the bottleneck.
    standing_since: Option<Instant>,
    /// The time at which the viewer was heard again.
    returned_at: Option<Instant>,
    /// The time at which video was last given up.
    shed_at: Option<Instant>,
    /// The time at which the link was last the limit.
    limited_at: Option<Instant>,
    /// What was sent.
    rate: RateMeter,
    was_congested: bool,
    /// When anything at all was last heard of the viewer: RTP, RTCP, STUN or DTLS.
    heard_at: Instant,
    hearing: Hearing,
}

/// Whether the viewer is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hearing {
    Heard,
    /// Nothing at all for long enough for feedback to be missed: its network is cut, which is no slow link.
    Unheard,
    /// It was not, then something was that was no feedback. If none follows, it is the way to it that is cut.
    Again,
}

impl Link {
    /// A link of which nothing is known.
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

    /// The viewer negotiated transport-wide feedback and a stream to probe on, or did not.
    pub(crate) fn set_numbered(&mut self, now: Instant, numbered: bool) {
        if self.numbered != numbered {
            self.unanswered_since = None;
            self.reported = (!numbered).then(|| Box::new(ReportedEstimator::new(now, CONFIG)));
        }
        self.numbered = numbered;
    }

    /// Notes a packet about to be sent under a number of its stream's, and the transport-wide number that it
    /// carries, if it carries one.
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
            // Reports come once a second, and with them nothing else that asks for the rate.
            self.count(now);
        }
    }

    /// Notes that bytes of what was sent were sound, of which a copy takes so many more.
    pub(crate) fn sound_sent(&mut self, bytes: usize, copy: usize) {
        self.uncounted_sound += bytes;
        self.uncounted_copies += copy;
    }

    /// Whether sound is sent twice.
    pub(crate) fn redundancy(&self) -> Redundancy {
        self.redundancy.decided()
    }

    /// Whether the viewer offers redundant audio, and to ask for lost sound again.
    pub(crate) fn set_sound(&mut self, takes_redundancy: bool, repairs: bool) {
        self.redundancy.set_takes(takes_redundancy);
        self.repairs_sound = repairs;
    }

    /// Whether packets may be padded to lengths that are cheap to send.
    pub(crate) fn has_room_for_padding(&self) -> bool {
        self.roomy
    }

    /// Whether its viewer is to be looked at again because packets wait. Transport-wide feedback does that
    /// often enough by itself.
    pub(crate) fn wakes(&self) -> bool {
        self.reported.is_some() && self.pacer.queued_since().is_some()
    }

    /// Notes a packet that leaves once more, with the transport-wide number it had.
    pub(crate) fn sent_again(&mut self, sequence: u16, bytes: usize) {
        self.uncounted += bytes;
        self.pacer.passed(bytes);
        self.bwe.packet_sent_again(sequence);
    }

    /// Something authentic came from the viewer.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard_at = self.heard_at.max(now);
        if self.hearing == Hearing::Unheard {
            self.hearing = Hearing::Again;
            match &mut self.reported {
                Some(reported) => reported.spare(now),
                None => self.bwe.set_deaf(now, false),
            }
            self.follow(now);
        }
    }

    /// Whether nothing is heard of the viewer, so that no feedback tells nothing.
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

    /// Takes transport-wide feedback.
    pub(crate) fn feedback(&mut self, now: Instant, feedback: &TransportFeedback) {
        if !self.numbered {
            return;
        }
        if self.hearing != Hearing::Heard {
            self.returned_at = Some(now);
        }
        self.hearing = Hearing::Heard;
        self.answered = true;
        self.reported = None;
        self.bwe.feedback(now, feedback);
        self.follow(now);
    }

    /// Takes what a receiver report says of a stream, with the round trip since the last sender report, if it
    /// tells one; `rtt` is the round trip lately.
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

    /// Takes a receiver's own estimate, which is no news of one that gives transport-wide feedback.
    pub(crate) fn remb(&mut self, now: Instant, bitrate: u64, listed: Listed) {
        if let Some(reported) = &mut self.reported {
            let sending = self.rate.bitrate(now);
            reported.remb(now, bitrate, (listed.whole, listed.rate), sending);
            self.listed = listed;
            self.follow(now);
        }
    }

    /// Bits a second that the receiver allows one slot, if it named that one and not all.
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

    /// Does what is due, but for [deciding](Self::allocate) and [pacing](Pacer::next).
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_unheard = self.is_unheard(now);
        match &mut self.reported {
            Some(_) if is_unheard => {}
            Some(reported) => reported.handle_timeout(now),
            None => self.bwe.handle_timeout(now),
        }
        self.follow(now);
    }

    /// What was sent since this was last asked is in the rate.
    fn count(&mut self, now: Instant) {
        self.rate.add(now, std::mem::take(&mut self.uncounted));
        let sound = std::mem::take(&mut self.uncounted_sound);
        let copies = std::mem::take(&mut self.uncounted_copies);
        self.sound.count(now, sound, copies);
    }

    /// The bits a second to be kept for sound, copies included while they are sent.
    fn reserve(&mut self, now: Instant) -> u64 {
        let copies = self.sound.copies(now);
        let sent = self.redundancy.decided() == Redundancy::Sent;
        self.sound.reserved(now) + if sent { copies } else { 0 }
    }

    /// How long lost sound takes to come again. Until it is known it is believed to be soon, for that costs little;
    /// and the queue at the bottleneck does not count, which copies would make longer.
    fn repairs_in(&self, estimate: &Estimate) -> Option<Duration> {
        // A link too narrow for what is wanted loses by that, and more with copies.
        let lacks = self.allocator.allocated < self.allocator.desired;
        let rtt = match estimate.limited_by {
            LimitedBy::Delay if lacks => Duration::ZERO,
            _ => self.rtt.unwrap_or_default(),
        };
        self.repairs_sound
            .then(|| rtt.saturating_sub(estimate.queue_delay))
    }

    /// Decides whether sound is sent twice. Pictures are to make room for it at once.
    fn look_at_losses(&mut self, now: Instant, estimate: &Estimate, untried: bool) {
        // An estimate that was cut for losses is no sign of a full link, unless pictures are to fit into it.
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

    /// The pacer follows the estimate; congestion is reason to decide at once.
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
        // A burst is for a keyframe. What keeps coming faster would fill the queue at the bottleneck instead.
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

    /// What was allocated without proof must be able to show itself.
    fn pacing(&self, estimate: &Estimate, untried: bool) -> u64 {
        if untried && !estimate.congested {
            let shows = self.allocator.allocated.saturating_mul(3) / 2;
            estimate.pacing.max(shows).max(UNTRIED)
        } else if self.reported.is_some() && !estimate.congested {
            // Sound leaves in any case, and must not be taken from what video needs.
            let sent = self.allocator.allocated.saturating_add(self.audio);
            estimate.pacing.max(sent.saturating_mul(11) / 10)
        } else {
            estimate.pacing
        }
    }

    /// Nothing that was tried did not fit, for a minute at least: one probe that fits says little of the rest.
    fn is_untried(&self, now: Instant, estimate: &Estimate) -> bool {
        matches!(estimate.limited_by, LimitedBy::Unknown | LimitedBy::None)
            && self.limited_at.is_none_or(|at| now >= at + REMEMBERS)
    }

    /// Notes how long it takes through the bottleneck. Who is believed by reports tells later than that.
    fn note_queue(&mut self, now: Instant, estimate: &Estimate) {
        // As long as something is sent that shows it.
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

    /// Whether more is being sent than it carries.
    pub(crate) fn is_congested(&self) -> bool {
        self.was_congested
    }

    /// The slot whose video makes way, if what waits has waited for too long: its layer is bounded for a while,
    /// and what waits of it is forgotten, so that it begins with a keyframe.
    pub(crate) fn shed(&mut self, now: Instant) -> Option<usize> {
        // What is given up first may be enough. And who is not heard is sent a trickle, for no fault of a picture.
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

    /// Whether it is time to decide.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.decide_at.is_some_and(|at| at <= now)
    }

    /// Decides what each subscription to video gets.
    pub(crate) fn allocate(&mut self, now: Instant, cap: Cap, wishes: &[Wish]) -> &[Grant] {
        self.count(now);
        let audio = self.reserve(now);
        self.audio = audio;
        self.lowest = lowest_of(wishes);
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
        self.allocator.allocate(now, budget, cap, wishes);
        let allocated = self.allocator.allocated;
        let content =
            !budget.congested && (self.allocator.desired..=budget.bitrate).contains(&allocated);
        let interval = if content { CONTENT } else { INTERVAL };
        self.decide_at = (!wishes.is_empty()).then_some(now + interval);
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
        self.allocator.grants()
    }

    /// What the link is believed to carry, for the timeline.
    pub(crate) fn estimate(&self) -> Option<u64> {
        let estimate = self.estimate_now();
        let known = self.reported.is_none() || estimate.limited_by != LimitedBy::Unknown;
        known.then(|| self.total(&estimate))
    }

    /// Of all that is sent.
    fn total(&self, estimate: &Estimate) -> u64 {
        let said = estimate.said.filter(|_| self.listed.whole);
        let beside = if self.listed.audio { 0 } else { self.audio };
        said.map_or(u64::MAX, |said| said.saturating_add(beside))
            .min(estimate.bitrate)
    }

    /// All there is to be seen of it.
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

/// Bits a second of the cheapest picture of those that are to be seen.
fn lowest_of(wishes: &[Wish]) -> u64 {
    let seen = wishes.iter().filter(|wish| wish.paused.is_none());
    let rungs = seen.filter_map(|wish| wish.ladder.rungs().iter().find(|rung| rung.bitrate > 0));
    rungs.map(|rung| rung.bitrate).min().unwrap_or(0)
}
