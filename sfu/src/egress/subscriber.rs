//! All that one peer is sent.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use slab::Slab;

use super::bwe::{Block, RoundTrip};
use super::forwarder::SourceTrack;
use super::link::{Link, Listed};
use super::slot::{Plan, Repair, Slot, SlotSeed};
use super::waiting::{Decoders, RefusedLines, Waiting};
use crate::cache::CacheShare;
use crate::event::{MediaKind, Needs};
use crate::id::TrackId;
use crate::packet::Packet;
use crate::place::Place;
use crate::prefetch;
use crate::rtp::codec::Codec;
use crate::rtp::extension::ExtensionKind;
use crate::rtp::rtcp::{ReportBlock, Rtcp};
use crate::transport::sdp::NegotiatedMedia;
use crate::view::{Cap, Reason, View};

/// A round trip beyond this is a report about something else.
const RTT_MAX: Duration = Duration::from_secs(10);

/// Packets sent last that serve as probes in turn: of some frames, so that they are in the cache.
const PROBE_PACKETS: u16 = 16;

/// All that one peer is sent. What a packet needs stands first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Subscriber {
    slots: Slab<Slot>,
    transport_sequence: u16,
    /// How far back the packet was that served as the last probe.
    probed: u16,
    /// The memory for packets that are kept as they were sent.
    caches: CacheShare,
    link: Link,
    /// Slots by what they are sent under, in its order: reports name it, of every slot every second, and
    /// the slots themselves are far apart in memory.
    by_ssrc: Vec<(u32, usize)>,
    /// No sender report is due before.
    reports_at: Option<Instant>,
    /// Subscriptions without a slot, oldest first.
    waiting: Vec<Waiting>,
    /// What its m-lines take.
    decoders: Decoders,
    refused: RefusedLines,
    rtt: Option<Duration>,
    /// How the viewer shows what it is subscribed to.
    views: HashMap<TrackId, View>,
    cap: Cap,
}

/// What a viewer's feedback asks of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A keyframe of what the slot is sent or waits for.
    Keyframe {
        /// Where the track is.
        place: Place,
        layer: usize,
    },
    /// A packet again.
    Repair {
        /// The slot that lacks it.
        slot: usize,
        repair: Repair,
    },
    /// Nothing: so many packets are not sent again, for they are on their way or too many.
    Refused(u64),
}

impl Subscriber {
    /// Nothing is sent yet.
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

    /// The slots with their indexes, to change.
    pub(crate) fn slots_mut(&mut self) -> impl Iterator<Item = (usize, &mut Slot)> {
        self.slots.iter_mut()
    }

    /// One slot.
    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// One slot, to change.
    pub(crate) fn slot_mut(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    /// Decides on a packet of the track that a slot carries, in an empty plan.
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
        if slot.kind == MediaKind::Audio {
            slot.make_redundant(now, self.link.redundancy(), packet, plan);
        }
        if plan.report_at.is_some() {
            self.reports_at = earliest([self.reports_at, plan.report_at]);
        }
    }

    /// The slots, and what their packets share: their numbering and the link.
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

    /// Asks for the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        prefetch::line(&self.slots);
        prefetch::line(&self.transport_sequence);
        self.link.prefetch();
    }

    /// The viewer has other keys from now on. What waits has a number from before.
    pub(crate) fn begin_again(&mut self) {
        for (index, slot) in &mut self.slots {
            self.link.pacer.forget_slot(index);
            slot.begin_again();
        }
    }

    /// Nothing more leaves, not even the rest of a picture. What comes meanwhile is not to look lost.
    pub(crate) fn break_off(&mut self) {
        for (index, slot) in &mut self.slots {
            self.link.pacer.forget_slot(index);
            slot.resume();
            if let Some(forwarder) = &mut slot.forwarder {
                forwarder.halt();
            }
        }
    }

    /// What the viewer's link carries.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The same, to change.
    pub(crate) fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    /// How a track is shown.
    pub(crate) fn view(&self, track: TrackId) -> View {
        let view = self.views.get(&track);
        view.copied().unwrap_or(View::of(track))
    }

    /// What it may be sent at most.
    pub(crate) fn cap(&self) -> Cap {
        self.cap
    }

    /// A packet of just now to send again as a probe: each a different one.
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

    /// What the viewer can decode, as far as its m-lines tell.
    pub(crate) fn decoders(&self) -> &Decoders {
        &self.decoders
    }

    /// An offer's m-lines are all in their places: what they take may be something else than before.
    /// `refused`: kinds of those that were refused.
    pub(crate) fn learn_decoders(&mut self, refused: Vec<(MediaKind, Reason)>) {
        let taken = [MediaKind::Audio, MediaKind::Video].map(|kind| {
            let slots = self.slots.iter();
            slots.filter(|(_, slot)| slot.kind == kind).count()
        });
        self.refused.answered(refused, taken);
        let slots = self.slots.iter();
        self.decoders = Decoders::of(slots.map(|(_, slot)| &*slot.media), &self.refused);
    }

    /// Whether it turns the pictures it is sent as their orientation says, or receives none.
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

    /// Subscriptions that wait for another reason than the viewer knows of, which is then known.
    pub(crate) fn news_of_waiting(&mut self) -> Vec<(SourceTrack, Reason)> {
        let mut news = Vec::new();
        for waiting in &mut self.waiting {
            let reason = match self.decoders.refuse(&waiting.source) {
                true => Some(Reason::Codec),
                false => self
                    .refused
                    .reason(waiting.source.kind)
                    .map(|_| Reason::NoSlot),
            };
            if let Some(reason) = waiting.explain(reason) {
                news.push((waiting.source.clone(), reason));
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

    /// Adds a slot; its index.
    pub(crate) fn insert_slot(
        &mut self,
        now: Instant,
        kind: MediaKind,
        seed: SlotSeed,
        media: NegotiatedMedia,
    ) -> usize {
        let index = self
            .slots
            .insert(Slot::new(kind, seed, media, self.caches.clone()));
        let at = self.by_ssrc.partition_point(|(ssrc, _)| *ssrc < seed.ssrc);
        self.by_ssrc.insert(at, (seed.ssrc, index));
        self.renegotiated(now);
        index
    }

    /// m-lines changed: what is negotiated of the link may have.
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
        // Without RTX there is nothing to probe with, and who is never probed never shows what its link
        // carries beyond what it is sent.
        let probed = video.peek().is_none() || video.any(Slot::has_rtx);
        let numbered = probed && slots.any(numbers);
        self.link.set_numbered(now, numbered);
        let mut codecs = self.slots.iter().flat_map(|(_, slot)| &slot.media.codecs);
        let takes = codecs.clone().any(|codec| codec.codec == Codec::Red);
        let repairs = codecs.any(|codec| codec.codec == Codec::Opus && codec.feedback.nack);
        self.link.set_sound(takes, repairs);
    }

    /// An m-line stopped, or only pauses (`keep`); what it carried waits for another.
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

    /// A slot has no codec for its track any more, which waits for another; what it is.
    pub(crate) fn let_go(&mut self, index: usize) -> Option<SourceTrack> {
        self.link.pacer.forget_slot(index);
        let source = self.slots.get_mut(index)?.free()?;
        self.waiting.insert(0, Waiting::new(source.clone()));
        Some(source)
    }

    /// A track's publisher renegotiated; whether the viewer's subscription waits for it.
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

    /// Adds a subscription; [`fill`](Self::fill) finds it a slot.
    pub(crate) fn subscribe(&mut self, source: SourceTrack) {
        self.waiting.push(Waiting::new(source));
    }

    /// Takes how a track is shown, if it is subscribed.
    pub(crate) fn set_view(&mut self, view: View) {
        if self.is_subscribed(view.track) {
            self.views.insert(view.track, view);
        }
    }

    /// Bounds all that is sent.
    pub(crate) fn set_cap(&mut self, cap: Cap) {
        self.cap = cap;
    }

    /// Removes a subscription; the slot it had and its source.
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

    /// Gives free slots to waiting subscriptions, oldest first. Calls `assigned` with each, and with the
    /// reason for which it waited as far as the viewer was told.
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

    /// m-lines that are missing. What the viewer has no codec for needs none; and a free slot of the right
    /// kind that stayed free has no codec for what waits, and another would not have one either. Nor is one
    /// asked for that would be refused.
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

    /// Takes one RTCP packet about what is sent. `ntp` is our wall clock now.
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
                        requests.push(Request::Refused(refused));
                    }
                    requests.extend(repairs.into_iter().map(|repair| Request::Repair {
                        slot: index,
                        repair,
                    }));
                }
            }
            Rtcp::Pli { media, .. } => self.keyframe_wanted(*media, requests),
            Rtcp::Fir { entries, .. } => {
                for (media, _) in entries {
                    self.keyframe_wanted(*media, requests);
                }
            }
            Rtcp::Twcc(feedback) => self.link.feedback(now, feedback),
            // Chromium sends some that nobody negotiated, and which follow nothing that is sent.
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
                // Smoothed as TCP does (RFC 6298): one late report moves it by an eighth.
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

    /// What a receiver's own estimate is for: the streams it names. If none of them is sent, it is for all, as
    /// the draft has it (draft-alvestrand-rmcat-remb-03 section 2.3).
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

    fn keyframe_wanted(&mut self, ssrc: u32, requests: &mut Vec<Request>) {
        let Some((_, slot)) = self.sent_under(ssrc) else {
            return;
        };
        requests.extend(keyframe_of(slot));
    }

    /// Asks for a keyframe of all video that is sent: what was sent last is lost for good.
    pub(crate) fn keyframes_wanted(&mut self) -> Vec<Request> {
        let slots = self.slots.iter_mut();
        slots.filter_map(|(_, slot)| keyframe_of(slot)).collect()
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

/// The keyframe that a slot's pictures can begin anew with.
fn keyframe_of(slot: &mut Slot) -> Option<Request> {
    slot.counters.keyframe_requests += 1;
    let forwarder = slot.forwarder.as_ref()?;
    if forwarder.source.kind != MediaKind::Video {
        return None;
    }
    let layer = forwarder.awaits_keyframe_of();
    let layer = layer.or_else(|| forwarder.streams().0)?;
    let place = forwarder.source.place;
    Some(Request::Keyframe { place, layer })
}

fn earliest(times: [Option<Instant>; 2]) -> Option<Instant> {
    times.into_iter().flatten().min()
}
