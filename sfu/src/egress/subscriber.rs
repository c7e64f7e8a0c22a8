//! The tracks that one peer is sent.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use slab::Slab;

use super::bwe::{Block, RoundTrip};
use super::forwarder::SourceTrack;
use super::keyframes::KeyframeRequest;
use super::link::{Link, Listed};
use super::slot::{Plan, Repair, Slot, SlotSeed};
use super::waiting::{Decoders, RefusedLines, Waiting};
use crate::cache::CacheShare;
use crate::event::{MediaKind, Needs};
use crate::id::TrackId;
use crate::index::TrackIx;
use crate::packet::Packet;
use crate::prefetch;
use crate::rtp::codec::Codec;
use crate::rtp::extension::ExtensionKind;
use crate::rtp::parameters::SectionParameters;
use crate::rtp::rtcp::{ReportBlock, Rtcp};
use crate::view::{Cap, Reason, View};

/// Longest credible round trip: a longer one answers some other report.
const RTT_MAX: Duration = Duration::from_secs(10);

/// The last packets sent that serve as probes in turn: of several frames, so that they are in the cache.
const PROBE_PACKETS: u16 = 16;

/// The tracks that one peer is sent. The fields that a packet needs stand first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Subscriber {
    slots: Slab<Slot>,
    transport_sequence: u16,
    /// Distance back to the packet that served as the last probe.
    probed: u16,
    /// The memory for packets that are kept as they were sent.
    caches: CacheShare,
    link: Link,
    /// Slots by SSRC, sorted. Reports name the SSRC of every slot every second, and the slots themselves are far apart
    /// in memory.
    by_ssrc: Vec<(u32, usize)>,
    /// The time before which no sender report is due.
    reports_at: Option<Instant>,
    /// Subscriptions without a slot, oldest first.
    waiting: Vec<Waiting>,
    /// Formats that its m-lines take.
    decoders: Decoders,
    refused: RefusedLines,
    rtt: Option<Duration>,
    /// The viewer's views of its tracks.
    views: HashMap<TrackId, View>,
    cap: Cap,
}

/// A request that a viewer's feedback makes to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A keyframe of the layer that the slot is sent or waits for.
    Keyframe {
        /// The track.
        track: TrackIx,
        layer: usize,
    },
    /// A packet to be sent again.
    Repair {
        /// The slot that lacks it.
        slot: usize,
        repair: Repair,
    },
    /// No request: so many packets are not sent again, as they are on their way already or too many.
    RepairsRefused(u64),
    /// No request: the viewer asked for too many keyframes lately.
    KeyframeRefused,
}

impl Subscriber {
    /// A subscriber without slots.
    pub(crate) fn new(now: Instant, cap: Cap, caches: CacheShare) -> Self {
        Self {
            slots: Slab::new(),
            by_ssrc: Vec::new(),
            reports_at: None,
            waiting: Vec::new(),
            decoders: Decoders::default(),
            refused: RefusedLines::default(),
            transport_sequence: 0,
            rtt: None,
            views: HashMap::new(),
            cap,
            link: Link::new(now),
            probed: 0,
            caches,
        }
    }

    /// Its part of the memory of all caches.
    pub(crate) fn caches(&self) -> &CacheShare {
        &self.caches
    }

    /// The slots with their indexes.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots.iter()
    }

    /// The slots with their indexes, mutable.
    pub(crate) fn slots_mut(&mut self) -> impl Iterator<Item = (usize, &mut Slot)> {
        self.slots.iter_mut()
    }

    /// One slot.
    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// One slot, mutable.
    pub(crate) fn slot_mut(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    /// Plans a packet of the track that a slot carries; the plan comes in empty.
    pub(crate) fn plan(
        &mut self,
        now: Instant,
        index: usize,
        packet: &Packet<'_>,
        plan: &mut Plan,
    ) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.plan(now, packet, plan);
        if plan.keyframe_of.is_some()
            && slot.request_keyframe(now, false) != KeyframeRequest::Allowed
        {
            plan.keyframe_of = None;
        }
        if slot.kind == MediaKind::Audio {
            slot.make_redundant(now, self.link.redundancy(), packet, plan);
        }
        if plan.report_at.is_some() {
            self.reports_at = earliest([self.reports_at, plan.report_at]);
        }
    }

    /// The slots, the transport-wide number and the link, which their packets share.
    pub(crate) fn way_out(&mut self) -> (&mut Slab<Slot>, &mut u16, &mut Link) {
        (
            &mut self.slots,
            &mut self.transport_sequence,
            &mut self.link,
        )
    }

    /// The transport-wide number of the next packet.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn transport_sequence(&self) -> u16 {
        self.transport_sequence
    }

    /// Prefetches the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        prefetch::line(&self.slots);
        prefetch::line(&self.transport_sequence);
        self.link.prefetch();
    }

    /// Continues for a viewer with new keys. Waiting packets have numbers from before, and are dropped.
    pub(crate) fn begin_again(&mut self) {
        for (index, slot) in &mut self.slots {
            self.link.pacer.forget_slot(index);
            slot.begin_again();
        }
    }

    /// Stops sending at once, even within a picture. Packets that come meanwhile do not look lost.
    pub(crate) fn break_off(&mut self) {
        for (index, slot) in &mut self.slots {
            self.link.pacer.forget_slot(index);
            slot.resume();
            if let Some(forwarder) = &mut slot.forwarder {
                forwarder.halt();
            }
        }
    }

    /// The viewer's link.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The viewer's link, mutable.
    pub(crate) fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The viewer's view of a track.
    pub(crate) fn view(&self, track: TrackId) -> View {
        let view = self.views.get(&track);
        view.copied().unwrap_or(View::of(track))
    }

    /// The bound on everything it is sent.
    pub(crate) fn cap(&self) -> Cap {
        self.cap
    }

    /// A recent packet to send again as a probe; each call returns another one.
    pub(crate) fn probe_packet(&mut self, now: Instant, slot: usize) -> Option<Repair> {
        let slot = self
            .slots
            .get(slot)
            .filter(|slot| slot.carries_probes(now))?;
        self.probed = (self.probed + 1) % PROBE_PACKETS;
        slot.sent_before(self.probed)
    }

    /// The slot to send probes on.
    pub(crate) fn slot_for_probes(&self, now: Instant) -> Option<usize> {
        let carrying = self.slots.iter().find(|(_, slot)| slot.carries_probes(now));
        let any = || {
            self.slots
                .iter()
                .find(|(_, slot)| slot.kind == MediaKind::Video)
        };
        carrying.or_else(any).map(|(index, _)| index)
    }

    /// The slot of an m-line.
    pub(crate) fn slot_by_mid(&self, mid: &str) -> Option<(usize, &Slot)> {
        self.slots.iter().find(|(_, slot)| slot.mid() == mid)
    }

    /// Subscriptions that wait for a slot.
    pub(crate) fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// Formats that the viewer can decode, as far as its m-lines tell.
    pub(crate) fn decoders(&self) -> &Decoders {
        &self.decoders
    }

    /// Updates the decoders after an offer whose m-lines are all in place. `refused` are the kinds of refused m-lines.
    pub(crate) fn learn_decoders(&mut self, refused: Vec<(MediaKind, Reason)>) {
        let taken = [MediaKind::Audio, MediaKind::Video].map(|kind| {
            let slots = self.slots.iter();
            slots.filter(|(_, slot)| slot.kind == kind).count()
        });
        self.refused.answered(refused, taken);
        let slots = self.slots.iter();
        self.decoders = Decoders::of(slots.map(|(_, slot)| &*slot.media), &self.refused);
    }

    /// Whether it turns pictures by their orientation, or receives none.
    pub(crate) fn turns(&self) -> bool {
        let mut video = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.kind == MediaKind::Video);
        video.all(|(_, slot)| {
            let ids = &slot.media.extensions;
            ids.id(ExtensionKind::VideoOrientation).is_some()
        })
    }

    /// Waiting subscriptions whose reason differs from the one the viewer was told; they then count as told.
    pub(crate) fn news_of_waiting(&mut self) -> Vec<Waiting> {
        let mut news = Vec::new();
        for waiting in &mut self.waiting {
            let reason = match self.decoders.refuse(&waiting.source) {
                true => Some(Reason::Codec),
                false => self
                    .refused
                    .reason(waiting.source.kind)
                    .map(|_| Reason::NoSlot),
            };
            if waiting.explain(reason).is_some() {
                news.push(waiting.clone());
            }
        }
        news
    }

    /// Tracks it is subscribed to, waiting ones included.
    pub(crate) fn subscriptions(&self) -> usize {
        let carried = self.slots.iter().filter(|(_, slot)| slot.track().is_some());
        carried.count() + self.waiting.len()
    }

    /// Round trip, from the viewer's reports.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Adds a slot and returns its index.
    pub(crate) fn insert_slot(
        &mut self,
        now: Instant,
        kind: MediaKind,
        seed: SlotSeed,
        media: SectionParameters,
    ) -> usize {
        let index = self
            .slots
            .insert(Slot::new(kind, seed, media, self.caches.clone()));
        let at = self.by_ssrc.partition_point(|(ssrc, _)| *ssrc < seed.ssrc);
        self.by_ssrc.insert(at, (seed.ssrc, index));
        self.renegotiated(now);
        index
    }

    /// Updates the link after m-lines changed, as other feedback may be negotiated.
    pub(crate) fn renegotiated(&mut self, now: Instant) {
        let mut slots = self.slots.iter().map(|(_, slot)| slot);
        let numbers = |slot: &Slot| {
            slot.media
                .extensions
                .id(ExtensionKind::TransportCc)
                .is_some()
        };
        let video = self.slots.iter().map(|(_, slot)| slot);
        let mut video = video
            .filter(|slot| slot.kind == MediaKind::Video)
            .peekable();
        // Without RTX there is no stream for probes, and without probes a link never shows a higher bandwidth than the
        // rate sent.
        let probed = video.peek().is_none() || video.any(Slot::has_rtx);
        let numbered = probed && slots.any(numbers);
        self.link.set_numbered(now, numbered);
        let mut codecs = self.slots.iter().flat_map(|(_, slot)| &slot.media.codecs);
        let takes = codecs.clone().any(|codec| codec.codec == Codec::Red);
        let repairs = codecs.any(|codec| codec.codec == Codec::Opus && codec.feedback.nack);
        self.link.set_sound(takes, repairs);
    }

    /// Removes the slot of an m-line that stopped, or pauses it (`keep`); its track waits for another.
    pub(crate) fn release_slot(&mut self, index: usize, keep: bool) -> Option<SourceTrack> {
        self.link.pacer.forget_slot(index);
        let source = if keep {
            let slot = self.slots.get_mut(index)?;
            slot.pause();
            slot.free()
        } else {
            self.by_ssrc.retain(|(_, slot)| *slot != index);
            self.slots.try_remove(index)?.free()
        };
        let waiting = source.clone().map(Waiting::new);
        self.waiting.splice(0..0, waiting);
        source
    }

    /// Frees a slot that has no codec for its track any more. The track is returned, and waits for another slot.
    pub(crate) fn let_go(&mut self, index: usize) -> Option<SourceTrack> {
        self.link.pacer.forget_slot(index);
        let source = self.slots.get_mut(index)?.free()?;
        self.waiting.insert(0, Waiting::new(source.clone()));
        Some(source)
    }

    /// Applies a publisher's renegotiation to a waiting subscription; true if there is one.
    pub(crate) fn follow(&mut self, source: &SourceTrack) -> bool {
        let mut waiting = self.waiting.iter_mut();
        let found = waiting.find(|waiting| waiting.source.id == source.id);
        if let Some(waiting) = found {
            waiting.source = source.clone();
            return true;
        }
        false
    }

    /// Whether a track is subscribed, with a slot or without.
    pub(crate) fn is_subscribed(&self, track: TrackId) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| waiting.source.id == track)
            || self
                .slots
                .iter()
                .any(|(_, slot)| slot.track() == Some(track))
    }

    /// The subscription to a track, if it waits for a slot.
    pub(crate) fn waits_for(&self, track: TrackId) -> Option<&Waiting> {
        let mut waiting = self.waiting.iter();
        waiting.find(|waiting| waiting.source.id == track)
    }

    /// Adds a subscription; [`fill`](Self::fill) finds it a slot.
    pub(crate) fn subscribe(&mut self, source: SourceTrack) {
        self.waiting.push(Waiting::new(source));
    }

    /// Sets the view of a track, if it is subscribed.
    pub(crate) fn set_view(&mut self, view: View) {
        if self.is_subscribed(view.track) {
            self.views.insert(view.track, view);
        }
    }

    /// Bounds everything it is sent.
    pub(crate) fn set_cap(&mut self, cap: Cap) {
        self.cap = cap;
    }

    /// Removes a subscription; returns its slot and its source.
    pub(crate) fn unsubscribe(&mut self, track: TrackId) -> Option<(usize, SourceTrack)> {
        self.views.remove(&track);
        self.waiting.retain(|waiting| waiting.source.id != track);
        let (index, slot) = self
            .slots
            .iter_mut()
            .find(|(_, slot)| slot.track() == Some(track))?;
        self.link.pacer.forget_slot(index);
        Some((index, slot.free()?))
    }

    /// Gives free slots to waiting subscriptions, oldest first. Calls `assigned` with each, and with the reason for its
    /// wait that the viewer was told.
    pub(crate) fn fill(&mut self, mut assigned: impl FnMut(usize, &mut Slot, Option<Reason>)) {
        for (index, slot) in &mut self.slots {
            if !slot.is_free() {
                continue;
            }
            let kind = slot.kind;
            let taken = self
                .waiting
                .iter()
                .position(|waiting| waiting.source.kind == kind && slot.assign(&waiting.source));
            if let Some(taken) = taken {
                let waiting = self.waiting.remove(taken);
                assigned(index, slot, waiting.told);
            }
        }
    }

    /// The number of missing m-lines. A track without a codec needs none. A free slot of the right kind that stayed
    /// free has no codec for the waiting tracks, and another slot would not have one either. No m-line is asked for
    /// that would be refused.
    pub(crate) fn needs(&self) -> Needs {
        let missing = |kind| {
            if self.refused.reason(kind).is_some() {
                return 0;
            }
            let waiting = self
                .waiting
                .iter()
                .filter(|waiting| waiting.source.kind == kind)
                .filter(|waiting| !self.decoders.refuse(&waiting.source))
                .count();
            let free = self
                .slots
                .iter()
                .filter(|(_, slot)| slot.kind == kind && slot.is_free())
                .count();
            u16::try_from(waiting.saturating_sub(free)).unwrap_or(u16::MAX)
        };
        Needs {
            audio: missing(MediaKind::Audio),
            video: missing(MediaKind::Video),
        }
    }

    /// Handles one RTCP packet about a stream sent to it. `ntp` is the server's wall clock.
    pub(crate) fn receive_rtcp(
        &mut self,
        now: Instant,
        ntp: u64,
        packet: &Rtcp,
        requests: &mut Vec<Request>,
    ) {
        match packet {
            Rtcp::ReceiverReport { reports, .. } | Rtcp::SenderReport { reports, .. } => {
                for report in reports {
                    self.report_received(now, ntp, report);
                }
            }
            Rtcp::Nack { media, lost, .. } => {
                let rtt = self.rtt;
                if let Some((index, slot)) = self.sent_under(*media) {
                    let mut repairs = Vec::new();
                    let refused = slot.locate(now, rtt, lost, &mut repairs);
                    if refused > 0 {
                        requests.push(Request::RepairsRefused(refused));
                    }
                    requests.extend(repairs.into_iter().map(|repair| Request::Repair {
                        slot: index,
                        repair,
                    }));
                }
            }
            Rtcp::Pli { media, .. } => self.keyframe_wanted(now, *media, requests),
            Rtcp::Fir { entries, .. } => {
                for (media, _) in entries {
                    self.keyframe_wanted(now, *media, requests);
                }
            }
            Rtcp::Twcc(feedback) => {
                // Receivers ask for a keyframe themselves, but some only after they have waited 3 s for a picture.
                let is_heard_again = self.link.feedback(now, feedback);
                if is_heard_again {
                    self.give_up_sent(now);
                    requests.extend(self.keyframes_wanted(now));
                }
            }
            // Chromium sends some REMB that nobody negotiated, unrelated to the rate sent.
            Rtcp::Remb { bitrate, ssrcs, .. } if self.has_remb() => {
                let listed = self.listed(now, ssrcs);
                self.link.remb(now, *bitrate, listed);
            }
            _ => {}
        }
    }

    /// Whether the receiver's own estimate was negotiated (`goog-remb`) for any of the streams.
    fn has_remb(&self) -> bool {
        self.slots
            .iter()
            .any(|(_, slot)| slot.media.codecs.iter().any(|codec| codec.feedback.remb))
    }

    fn report_received(&mut self, now: Instant, ntp: u64, report: &ReportBlock) {
        let Some((_, slot)) = self.sent_under(report.ssrc) else {
            return;
        };
        slot.report_received(report.fraction_lost);
        let mut round_trip = None;
        if report.last_sender_report != 0 {
            let units = ((ntp >> 16) as u32)
                .wrapping_sub(report.last_sender_report)
                .wrapping_sub(report.delay);
            let took = Duration::from_secs(1) * units / 65_536;
            if took < RTT_MAX {
                // The round trip is smoothed as in TCP (RFC 6298): one late report moves it by an eighth.
                self.rtt = Some(self.rtt.map_or(took, |before| (before * 7 + took) / 8));
                let delay = Duration::from_secs(1) * report.delay / 65_536;
                round_trip = Some(RoundTrip { took, delay });
            }
        }
        let block = Block {
            ssrc: report.ssrc,
            highest: report.highest_sequence as u16,
            lost: report.cumulative_lost,
            fraction: f64::from(report.fraction_lost) / 256.0,
        };
        self.link.report(now, &block, round_trip, self.rtt);
    }

    /// The streams that a receiver's own estimate covers: those it names. If none of them is sent, it covers all, as
    /// the draft says (draft-alvestrand-rmcat-remb-03 section 2.3).
    fn listed(&mut self, now: Instant, ssrcs: &[u32]) -> Listed {
        let slots = ssrcs
            .iter()
            .filter_map(|ssrc| Some(self.sent_under(*ssrc)?.0));
        let slots: Vec<usize> = slots.collect();
        let named = |slot: usize| slots.is_empty() || slots.contains(&slot);
        let mut listed = Listed {
            whole: true,
            audio: slots.is_empty(),
            ..Listed::default()
        };
        let sent = self.slots.iter().filter(|(_, slot)| slot.is_sent(now));
        for (index, slot) in sent {
            if named(index) {
                listed.rate += slot.rate.bitrate(now);
                listed.audio |= slot.kind == MediaKind::Audio;
            } else if slot.kind == MediaKind::Video {
                listed.whole = false;
            }
        }
        listed.slots = slots;
        listed
    }

    fn keyframe_wanted(&mut self, now: Instant, ssrc: u32, requests: &mut Vec<Request>) {
        let Some((_, slot)) = self.sent_under(ssrc) else {
            return;
        };
        requests.extend(keyframe_of(now, slot));
    }

    /// Records that something authentic came from the viewer.
    pub(crate) fn hear(&mut self, now: Instant) {
        if self.link.hear(now) {
            self.give_up_sent(now);
        }
    }

    /// Records that packets take another path from now on; returns keyframe requests if the earlier one was dead.
    pub(crate) fn path_changed(&mut self, now: Instant) -> Vec<Request> {
        if !self.link.path_changed(now) {
            return Vec::new();
        }
        self.give_up_sent(now);
        self.keyframes_wanted(now)
    }

    /// Gives up the packets sent so far. Where nothing got through for a second, repairs of all that was sent meanwhile
    /// would hold up what the viewer needs now: sound of the present, and a keyframe.
    fn give_up_sent(&mut self, now: Instant) {
        for (_, slot) in self.slots.iter_mut() {
            slot.give_up(now);
        }
        self.link.pacer.forget_repairs();
    }

    /// Requests a keyframe for every video being sent: the packets sent last are lost for good.
    pub(crate) fn keyframes_wanted(&mut self, now: Instant) -> Vec<Request> {
        let slots = self.slots.iter_mut();
        let requests = slots.filter_map(|(_, slot)| keyframe_of(now, slot));
        requests.collect()
    }

    /// The slot with an SSRC.
    fn sent_under(&mut self, ssrc: u32) -> Option<(usize, &mut Slot)> {
        let found = self.by_ssrc.binary_search_by_key(&ssrc, |(ssrc, _)| *ssrc);
        let (_, index) = *self.by_ssrc.get(found.ok()?)?;
        Some((index, self.slots.get_mut(index)?))
    }

    /// When [`poll_rtcp`](Self::poll_rtcp) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.reports_at, self.link.poll_timeout()])
    }

    /// Whether reports are due.
    pub(crate) fn reports_due(&self, now: Instant) -> bool {
        self.reports_at.is_some_and(|at| at <= now)
    }

    /// Appends the reports due now.
    pub(crate) fn poll_rtcp(&mut self, now: Instant, ntp: u64, cname: &str, rtcp: &mut Vec<u8>) {
        if !self.reports_due(now) {
            return;
        }
        self.reports_at = None;
        for (_, slot) in &mut self.slots {
            let next = slot.poll_report(now, ntp, cname, rtcp);
            self.reports_at = earliest([self.reports_at, next]);
        }
    }
}

/// A request for the keyframe with which a slot's pictures can begin anew.
fn keyframe_of(now: Instant, slot: &mut Slot) -> Option<Request> {
    slot.counters.keyframe_requests += 1;
    let forwarder = slot.forwarder.as_ref()?;
    if forwarder.source.kind != MediaKind::Video {
        return None;
    }
    let layer = forwarder.awaits_keyframe_of();
    let layer = layer.or_else(|| forwarder.streams().0)?;
    let track = forwarder.source.index;
    match slot.request_keyframe(now, true) {
        KeyframeRequest::Allowed => Some(Request::Keyframe { track, layer }),
        KeyframeRequest::Merged => None,
        KeyframeRequest::Refused => Some(Request::KeyframeRefused),
    }
}

fn earliest(times: [Option<Instant>; 2]) -> Option<Instant> {
    times.into_iter().flatten().min()
}
