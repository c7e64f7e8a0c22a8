//! A receiving m-line of a viewer. Its SSRC stays; its track changes.

use std::mem::offset_of;
use std::time::{Duration, Instant};

use super::allocator::LayerAllocation;
use super::earlier::EarlierFrames;
use super::forwarder::{Forwarder, Order, SourceTrack, Start};
use super::kept::{self, Kept};
use super::keyframes::{KeyframeAllowance, KeyframeRequest};
use super::outlet::{Line, Outgoing, Outlet, Wrapped};
use super::redundancy::Redundancy;
use super::repeats::Repeats;
use super::rewriter::{Frame, FrameKey, Ids, Rewriter, Source, above};
use super::rtx::RtxBudget;
use super::selector::Decision;
use super::sender::SenderState;
use crate::cache::CacheShare;
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::index::TrackIx;
use crate::packet::Packet;
use crate::rate::RateMeter;
use crate::rtp::OutHeader;
use crate::rtp::codec::Codec;
use crate::rtp::codec::red::{Earlier, Primary};
use crate::rtp::extension::ExtensionIds;
use crate::rtp::parameters::{CodecFormat, SectionParameters};
use crate::track::ladder::LayerId;
use crate::view::Reason;

/// Age up to which a sent packet is most likely still in its publisher's cache.
const RECENT: Duration = Duration::from_millis(500);

/// A receiving m-line.
///
/// In a large call the slots of a worker exceed its cache, and a packet costs as much as the cache lines it touches. So
/// the fields that every packet needs stand in one stretch, in this order, and the others after it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Slot {
    rewriter: Rewriter,
    pub(crate) kind: MediaKind,
    /// The m-line receives: it may be `inactive` for a while.
    receiving: bool,
    /// The viewer reported on the SSRC, and needs no MID any more.
    pub(crate) confirmed: bool,
    /// Packets of its track were left out on purpose: the next one begins a new span.
    resumes: bool,
    /// The stream being sent has begun anew: only a keyframe can continue.
    anew: bool,
    pub(crate) ssrc: u32,
    /// The m-line's extension ids, near at hand.
    ids: ExtensionIds,
    pub(crate) sender: SenderState,
    pub(crate) sent: Sent,
    /// The rate sent lately.
    pub(crate) rate: RateMeter,
    /// The last audio frames sent, while they are sent twice.
    earlier: Option<Box<EarlierFrames>>,
    pub(crate) forwarder: Option<Forwarder>,
    pub(crate) counters: Counters,
    /// The last decision for its track.
    pub(crate) allocation: Option<LayerAllocation>,
    /// The layer and reason that the viewer was told last.
    pub(crate) told: Option<(Option<LayerId>, Reason)>,
    /// Bounds the keyframes that its viewer may cause; it outlives a track.
    keyframes: KeyframeAllowance,
    rtx_ssrc: Option<u32>,
    rtx_sequence: u16,
    budget: RtxBudget,
    /// Counts of repairs; none before the viewer's first NACK.
    repeats: Option<Repeats>,
    /// The last number that is not sent again, nor any before it, and the time of that decision.
    given_up: Option<(u16, Instant)>,
    /// Packets as they were sent, if the viewer sends NACKs without RTX.
    kept: Option<Box<Kept>>,
    /// The memory for those.
    caches: CacheShare,
    pub(crate) media: Box<SectionParameters>,
}

/// Time after which a number may be another packet's: at a thousand packets a second numbers wrap after a minute, and
/// receivers ask for ten seconds at most.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// Bytes of a slot that every packet needs, from the first field of the rewriter that it needs.
const HOT: usize = offset_of!(Slot, forwarder) + Forwarder::HOT - Rewriter::COLD;

/// Counters of the packets sent to a slot's subscription; they begin anew with each track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    /// Bytes of payload.
    pub(crate) bytes: u64,
}

/// Counters of rarer events of a slot's subscription; they begin anew with each track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) nacks_received: u64,
    pub(crate) retransmitted: u64,
    /// Packets sent with a copy of the one before.
    pub(crate) redundant: u64,
    pub(crate) fraction_lost: f64,
    /// Keyframes asked for, by the viewer or for it.
    pub(crate) keyframe_requests: u64,
}

/// A packet that a viewer lacks, with its place in a publisher's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Repair {
    /// The track.
    pub(crate) track: TrackIx,
    pub(crate) layer: usize,
    /// The SSRC of the publisher's stream; the packet is lost once another stream has begun.
    pub(crate) ssrc: u32,
    /// The publisher's sequence number, unwrapped.
    pub(crate) sequence: u64,
    /// The viewer's sequence number.
    pub(crate) lost: u16,
}

/// The outcome for a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// The packet to be sent.
    pub(crate) outgoing: Option<Outgoing>,
    /// The time of the first sender report, if reports begin.
    pub(crate) report_at: Option<Instant>,
    /// The layer that needs a keyframe.
    pub(crate) keyframe_of: Option<usize>,
    /// The packet is the first of another layer: packets of the earlier one that wait are of no more use.
    pub(crate) switched: bool,
    /// The packet at which another layer begins that waited for the end of a frame: the cached packets from it on are
    /// to be forwarded now.
    pub(crate) replay: Option<Start>,
}

/// Fresh numbers for a slot, from the worker's generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotSeed {
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: Option<u32>,
    pub(crate) sequence: u16,
    pub(crate) rtx_sequence: u16,
    pub(crate) timestamp: u32,
}

impl Slot {
    /// A free slot.
    pub(crate) fn new(
        kind: MediaKind,
        seed: SlotSeed,
        media: SectionParameters,
        caches: CacheShare,
    ) -> Self {
        let clock_rate = match kind {
            MediaKind::Audio => Codec::Opus.clock_rate(),
            MediaKind::Video => Codec::Vp8.clock_rate(),
        };
        Self {
            kind,
            ssrc: seed.ssrc,
            rtx_ssrc: seed.rtx_ssrc,
            ids: media.extensions.ids(),
            media: Box::new(media),
            receiving: true,
            sender: SenderState::new(clock_rate),
            forwarder: None,
            rewriter: Rewriter::new(clock_rate, seed.sequence, seed.timestamp),
            rtx_sequence: seed.rtx_sequence,
            budget: RtxBudget::default(),
            repeats: None,
            given_up: None,
            kept: None,
            caches,
            earlier: None,
            confirmed: false,
            sent: Sent::default(),
            counters: Counters::default(),
            rate: RateMeter::default(),
            resumes: false,
            anew: false,
            allocation: None,
            told: None,
            keyframes: KeyframeAllowance::default(),
        }
    }

    /// The track it carries.
    pub(crate) fn track(&self) -> Option<TrackId> {
        self.forwarder.as_ref().map(|forwarder| forwarder.track)
    }

    /// Sets the track it carries; false if the m-line has no codec for it.
    pub(crate) fn assign(&mut self, source: &SourceTrack) -> bool {
        let carries = |codec: &CodecFormat| {
            let found = self.media.payload_type_for(codec.codec, &codec.parameters);
            found.is_some()
        };
        // Checked first, as it is done for each free slot, and a fitting source is copied.
        if !source.codecs.iter().any(carries) {
            return false;
        }
        self.forwarder = Forwarder::new(source.clone(), &self.media);
        (self.sent, self.counters) = (Sent::default(), Counters::default());
        (self.allocation, self.told, self.anew) = (None, None, false);
        self.forwarder.is_some()
    }

    /// Removes its track, and returns it.
    pub(crate) fn free(&mut self) -> Option<SourceTrack> {
        (self.kept, self.earlier) = (None, None);
        self.forwarder.take().map(|forwarder| *forwarder.source)
    }

    /// Whether it can take a track.
    pub(crate) fn is_free(&self) -> bool {
        self.receiving && self.forwarder.is_none()
    }

    /// Marks that packets since the last one forwarded were left out on purpose, so that they do not look lost.
    pub(crate) fn resume(&mut self) {
        self.resumes = true;
    }

    /// Records that the stream of a layer has begun anew, under another SSRC or the same.
    pub(crate) fn begin_anew(&mut self, layer: usize) {
        let forwarder = self.forwarder.as_ref();
        self.anew |= forwarder.is_some_and(|forwarder| forwarder.selector.stream() == Some(layer));
    }

    /// Continues for a viewer with new keys: see [`Rewriter::begin_again`]. Kept packets are dropped, as they are
    /// sealed under the old keys, which nobody can open any more.
    pub(crate) fn begin_again(&mut self) {
        self.rewriter.begin_again();
        self.rtx_sequence = above(self.rtx_sequence.into()) as u16;
        (self.kept, self.repeats, self.earlier) = (None, None, None);
    }

    /// Stops the m-line from receiving, until a later offer.
    pub(crate) fn pause(&mut self) {
        self.receiving = false;
    }

    /// Applies a later offer of the viewer; false if its track has no codec there any more.
    pub(crate) fn renegotiate(&mut self, media: SectionParameters) -> bool {
        self.receiving = true;
        self.ids = media.extensions.ids();
        *self.media = media;
        let forwarder = self.forwarder.as_mut();
        forwarder.is_none_or(|forwarder| forwarder.renegotiate(&self.media))
    }

    /// Applies a later offer of its track's publisher; false if the viewer has no codec for it any more.
    pub(crate) fn follow(&mut self, source: &SourceTrack) -> bool {
        let forwarder = self.forwarder.as_mut();
        forwarder.is_none_or(|forwarder| forwarder.follow(source.clone(), &self.media))
    }

    /// The m-line's name.
    pub(crate) fn mid(&self) -> &str {
        &self.media.mid
    }

    /// The source sent last: the track, the layer, and the publisher's SSRC.
    pub(crate) fn sent_of(&self) -> Option<(TrackIx, usize, u32)> {
        let source = self.rewriter.span()?.source;
        let forwarder = self.forwarder.as_ref()?;
        let same = source.track == forwarder.track;
        same.then_some((forwarder.source.index, source.layer, source.ssrc))
    }

    /// Prefetches the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        self.rewriter.prefetch(HOT);
    }

    /// Decides whether to send a packet of this slot's track, and under which numbers. Planned packets must be sent
    /// ([`send`](Self::send)), in any order: their numbers are taken. The plan comes in empty and is filled in place,
    /// as it is large.
    pub(crate) fn plan(&mut self, now: Instant, packet: &Packet<'_>, plan: &mut Plan) {
        let Some(forwarder) = self
            .forwarder
            .as_mut()
            // The slot's track may have changed since the packet came.
            .filter(|forwarder| forwarder.track == packet.track)
        else {
            return;
        };
        let payload_type = forwarder.next_payload_type(packet.header.payload_type);
        // Audio is kept from the viewer's first NACK on: most viewers lose none.
        let kept = payload_type.kept && (self.kind == MediaKind::Video || self.repeats.is_some());
        // Redundant audio that cannot be parsed is not sent.
        let skip = match payload_type.unwraps {
            true => Primary::find(packet.payload()).map(|primary| primary.start),
            false => Some(0),
        };
        let source = source_of(packet);
        let frame = frame_of(packet);
        let (Some(payload_type), Some(skip)) = (payload_type.media, skip) else {
            // The publisher changed to a codec that the viewer lacks. The track continues with a keyframe later, and
            // the packets not sent must not look lost.
            if self.kind == MediaKind::Video && !self.rewriter.is_past(&source, &frame) {
                forwarder.interrupt(packet.layer);
            }
            return;
        };
        let continues = !self.anew && self.rewriter.span().map(|span| span.source) == Some(source);
        if forwarder.selector.stream() == Some(packet.layer) && !continues {
            // The publisher began a new stream on this layer: only a keyframe can continue.
            if !packet.switchable {
                plan.keyframe_of = Some(packet.layer);
                return;
            }
            self.rewriter.switch(now, &source, &frame, None);
            forwarder.restart(packet);
            self.anew = false;
        }
        // Sound has no frames of several packets, and each of its packets decodes alone.
        let order = match self.kind {
            MediaKind::Audio => Order::default(),
            MediaKind::Video => Order {
                torn: self.rewriter.is_torn(),
                behind_gap: continues && self.rewriter.is_behind_gap(&frame),
                past: packet.switchable && self.rewriter.is_past(&source, &frame),
            },
        };
        let decision = forwarder.select(now, packet, order);
        plan.keyframe_of = forwarder.awaits_keyframe_of();
        match decision {
            // The end of the frame that a switch waits for does not come, or not in time.
            Decision::Forward | Decision::Skip
                if forwarder.holds() && self.rewriter.begins_frame(&frame) =>
            {
                let read = &packet.described.frame;
                let begins = read.begins && read.spatial == 0;
                self.rewriter.skip_to(&frame, begins, read.temporal == 0);
                plan.replay = forwarder.release();
                return;
            }
            Decision::Drop | Decision::Hold | Decision::Skip if forwarder.held_too_long(now) => {
                self.rewriter.give_up_frame();
                plan.replay = forwarder.release();
                return;
            }
            Decision::Drop | Decision::Hold => return,
            Decision::Skip => {
                let closes_up = packet.codec == Codec::Vp8;
                let late = self
                    .rewriter
                    .skip(&source, &frame, frame_key(packet), closes_up);
                let header = late.map(|late| OutHeader {
                    marker: false,
                    payload_type,
                    sequence: late.sequence as u16,
                    timestamp: late.timestamp,
                    ssrc: self.ssrc,
                });
                let line = self.line(false);
                plan.outgoing = header.and_then(|header| Outgoing::empty(line, packet, header));
                if let Some(outgoing) = &mut plan.outgoing {
                    outgoing.kept = kept;
                }
                return;
            }
            Decision::Switch => {
                plan.switched = true;
                self.anew = false;
                self.rewriter
                    .switch(now, &source, &frame, forwarder.advance(packet));
            }
            Decision::Forward if self.resumes => {
                self.rewriter
                    .switch(now, &source, &frame, forwarder.advance(packet));
            }
            Decision::Forward => {}
        }
        self.resumes = false;
        let Some(out) = self.rewriter.rewrite(now, &source, &frame) else {
            return;
        };
        let payload_len = packet.payload().len() - skip;
        let marker = packet.header.marker || ends_picture(forwarder, packet);
        if self.kind == MediaKind::Video {
            self.rewriter.note_end(out.sequence, marker);
            if forwarder.holds() && !self.rewriter.is_torn() {
                plan.replay = forwarder.release();
            }
        }
        forwarder.forwarded(packet);
        let header = OutHeader {
            marker,
            payload_type,
            sequence: out.sequence as u16,
            timestamp: out.timestamp,
            ssrc: self.ssrc,
        };
        let up_to = forwarder.selector.picked();
        let line = self.line(!self.confirmed);
        plan.outgoing = Outgoing::new(line, packet, header, out.ids, up_to, None, skip);
        if let Some(outgoing) = &mut plan.outgoing {
            outgoing.kept = kept;
            self.sent.packets += 1;
            self.sent.bytes += payload_len as u64;
            self.rate.add(now, payload_len);
            plan.report_at = self.sender.sent(now, out.timestamp, payload_len as u64);
        }
    }

    /// Adds a copy of the packet before to a planned audio packet, or removes the copies that its publisher added.
    pub(crate) fn make_redundant(
        &mut self,
        now: Instant,
        redundancy: Redundancy,
        packet: &Packet<'_>,
        plan: &mut Plan,
    ) {
        let Some((out, forwarder)) = plan.outgoing.as_mut().zip(self.forwarder.as_ref()) else {
            return;
        };
        let payload_type = forwarder.payload_type(packet.header.payload_type);
        if let (Some(inside), Redundancy::NoRoom) = (payload_type.inside, redundancy) {
            if let Some(primary) = Primary::find(packet.payload()) {
                out.header.payload_type = inside;
                out.skip = primary.start as u16;
                out.len = out.len.saturating_sub(out.skip);
            }
            return;
        }
        let wraps = payload_type
            .red
            .filter(|_| redundancy == Redundancy::Sent && !out.empty);
        let Some((red, inside)) = wraps.zip(payload_type.media) else {
            self.earlier = None;
            return;
        };
        let earlier = self.earlier.get_or_insert_default();
        let (sequence, timestamp) = (out.header.sequence, out.header.timestamp);
        let frame = packet.payload().get(usize::from(out.skip)..);
        earlier.keep(sequence, timestamp, frame.unwrap_or_default());
        // Without an earlier frame it stays as it is.
        let Some(copy) = earlier.before(sequence, timestamp) else {
            return;
        };
        let room = Earlier::room(copy.frame.len()) as u16;
        if out.wrap(red, Wrapped { inside, room }) {
            self.counters.redundant += 1;
            self.sent.bytes += u64::from(room);
            self.rate.add(now, usize::from(room));
            self.sender.sent_beside(room);
        }
    }

    /// Writes, seals and queues a planned packet as the viewer's next one, with `padding` bytes of RTP padding. False
    /// if it cannot be sealed.
    pub(crate) fn send(
        &mut self,
        outgoing: &Outgoing,
        packet: &Packet<'_>,
        padding: u8,
        outlet: &mut Outlet<'_>,
    ) -> bool {
        let line = Line {
            mid: outgoing.names_mid.then_some(self.media.mid.as_str()),
            ids: &self.ids,
        };
        let kept = match outgoing.kept {
            true => {
                if self.kept.is_none() {
                    self.kept = Kept::new(&self.caches).map(Box::new);
                }
                self.kept.as_deref_mut()
            }
            false => None,
        };
        let mut earlier = None;
        if self.kind == MediaKind::Audio {
            outlet.sound(outgoing, padding, copy_of(outgoing, packet));
            let frames = self.earlier.as_ref().filter(|_| outgoing.wrapped.is_some());
            let header = &outgoing.header;
            earlier = frames.and_then(|frames| frames.before(header.sequence, header.timestamp));
        }
        outlet.send(line, outgoing, packet, padding, earlier, kept)
    }

    /// Sends at most so many bytes of padding on the repair stream (RFC 4588), which a receiver acknowledges and drops.
    /// False if there is no such stream.
    pub(crate) fn send_padding(&mut self, bytes: usize, outlet: &mut Outlet<'_>) -> bool {
        let rtx = self.media.codecs.iter().find_map(|codec| codec.rtx);
        let (Some(payload_type), Some(ssrc)) = (rtx, self.rtx_ssrc) else {
            return false;
        };
        let header = OutHeader {
            marker: false,
            payload_type,
            sequence: self.rtx_sequence,
            timestamp: self.rewriter.timestamp(),
            ssrc,
        };
        let sent = outlet.send_padding(self.line(true), header, bytes);
        self.rtx_sequence = self.rtx_sequence.wrapping_add(u16::from(sent));
        sent
    }

    /// The packet sent `back` packets before the last one, to be sent again as a probe. It is better than padding, as
    /// it may be one that was lost.
    pub(crate) fn sent_before(&self, back: u16) -> Option<Repair> {
        let forwarder = self.forwarder.as_ref()?;
        let lost = self.rewriter.highest().wrapping_sub(back);
        let (span, sequence) = self.rewriter.locate(lost)?;
        (span.source.track == forwarder.track).then_some(Repair {
            track: forwarder.source.index,
            layer: span.source.layer,
            ssrc: span.source.ssrc,
            sequence,
            lost,
        })
    }

    /// Whether a retransmission stream was negotiated (RFC 4588), on which probes are sent.
    pub(crate) fn has_rtx(&self) -> bool {
        self.media.codecs.iter().any(|codec| codec.rtx.is_some())
    }

    /// Whether probes can be sent on it.
    pub(crate) fn carries_probes(&self, now: Instant) -> bool {
        self.rtx_ssrc.is_some()
            && self.kind == MediaKind::Video
            && self.sender.sent_since(now, RECENT)
    }

    /// Whether it sends packets at present.
    pub(crate) fn is_sent(&self, now: Instant) -> bool {
        self.sender.sent_since(now, RECENT)
    }

    /// Gives up the packets sent so far: none of them is sent again. A keyframe is to follow them.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.given_up = Some((self.rewriter.highest(), now));
    }

    /// Ends the picture being sent, as packets of it were dropped: it goes on with a keyframe, of this layer or another.
    pub(crate) fn shed(&mut self, now: Instant) {
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.halt();
        }
        self.give_up(now);
    }

    /// Whether a packet is of the time before [`give_up`](Self::give_up).
    fn is_given_up(&self, now: Instant, number: u16) -> bool {
        self.given_up
            .is_some_and(|(last, at)| now < at + GIVEN_UP && last.wrapping_sub(number) < 0x8000)
    }

    /// Finds the packets that a viewer lacks. Returns how many are refused, as they are on their way already or exceed
    /// the viewer's share.
    pub(crate) fn locate(
        &mut self,
        now: Instant,
        rtt: Option<Duration>,
        lost: &[u16],
        repairs: &mut Vec<Repair>,
    ) -> u64 {
        self.counters.nacks_received += lost.len() as u64;
        let Some(forwarder) = &self.forwarder else {
            return 0;
        };
        let mut refused = 0;
        for lost in lost {
            if self.is_given_up(now, *lost) {
                refused += 1;
                continue;
            }
            let Some((span, sequence)) = self.rewriter.locate(*lost) else {
                continue;
            };
            // Packets of an earlier track are not sent again: the viewer does not show it any more. Nor are those of a
            // layer that was left for a smaller one: a keyframe has replaced its frames.
            let left = forwarder.has_left(span.source.layer);
            if span.source.track != forwarder.track || left {
                continue;
            }
            let repeats = self.repeats.get_or_insert_default();
            if !repeats.admits(now, *lost, rtt) || !self.budget.take(self.sent.packets) {
                refused += 1;
                continue;
            }
            repeats.note(now, *lost);
            repairs.push(Repair {
                track: forwarder.source.index,
                layer: span.source.layer,
                ssrc: span.source.ssrc,
                sequence,
                lost: *lost,
            });
        }
        refused
    }

    /// Sends a packet again as it was sent, if it is still kept, and returns whether it was. None if no packet of this
    /// number was kept.
    pub(crate) fn resend(&self, lost: u16, outlet: &mut Outlet<'_>) -> Option<bool> {
        let kept = self.kept.as_ref().filter(|kept| kept.knows(lost))?;
        let again = kept.again(outlet.now, lost);
        let sent = again.map(|again| outlet.send_again(again));
        Some(sent.is_some())
    }

    /// Sends a packet again from its publisher's cache, by RTX (RFC 4588); without RTX nothing is sent.
    pub(crate) fn retransmit(
        &mut self,
        repair: &Repair,
        packet: &Packet<'_>,
        outlet: &mut Outlet<'_>,
    ) -> bool {
        let sent = self
            .plan_again(repair, packet)
            .is_some_and(|out| outlet.send(self.line(out.names_mid), &out, packet, 0, None, None));
        self.rtx_sequence = self.rtx_sequence.wrapping_add(u16::from(sent));
        sent
    }

    /// Decides on a packet to be sent again.
    fn plan_again(&self, repair: &Repair, packet: &Packet<'_>) -> Option<Outgoing> {
        let forwarder = self.forwarder.as_ref()?;
        let payload_type = forwarder.payload_type(packet.header.payload_type);
        let (span, sequence) = self.rewriter.locate(repair.lost)?;
        let frame = Frame {
            sequence,
            ..frame_of(packet)
        };
        // Repairs from the cache go by RTX only: written anew under its own SSRC and number, the packet would be
        // another text under one nonce. A viewer without RTX is sent the very bytes (see `kept`).
        let (payload_type, ssrc) = (payload_type.rtx?, self.rtx_ssrc?);
        let out = self.rewriter.rewrite_again(&span, &frame)?;
        // A packet with a number may not be for this viewer: it may have come too late to be left out.
        let selector = &forwarder.selector;
        let timestamp = packet.header.timestamp;
        let for_viewer = selector
            .sends(packet.layer, timestamp, &packet.described.frame)
            .unwrap_or(false);
        if self.kind == MediaKind::Video && (packet.payload().is_empty() || !for_viewer) {
            return None;
        }
        let header = OutHeader {
            marker: packet.header.marker || ends_picture(forwarder, packet),
            payload_type,
            sequence: self.rtx_sequence,
            timestamp: out.timestamp,
            ssrc,
        };
        // A report tells of the media's SSRC alone, and few repairs are sent. Firefox drops what comes under an SSRC that no
        // MID came with, once one has come with another SSRC of the m-line, though the SDP has both.
        let plan = |names_mid| {
            let (line, osn) = (self.line(names_mid), Some(repair.lost));
            Outgoing::new(line, packet, header, out.ids, selector.picked(), osn, 0)
        };
        plan(true).or_else(|| plan(false))
    }

    /// The packet unsealed, for tests of its contents.
    #[cfg(test)]
    pub(crate) fn write(&self, out: &Outgoing, packet: &Packet<'_>) -> Vec<u8> {
        let mut buf = vec![0; crate::transmit::Transmits::MAX_DATAGRAM];
        let line = self.line(out.names_mid);
        let written = super::outlet::write(&mut buf, line, out, packet, None, (0, 0));
        let (_, len) = written.expect("it fits");
        buf.truncate(len);
        buf
    }

    /// A repair unsealed, without its RTX format.
    #[cfg(test)]
    pub(crate) fn write_again(&self, repair: &Repair, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let mut out = self.plan_again(repair, packet)?;
        out.osn = None;
        out.header.ssrc = self.ssrc;
        out.header.sequence = repair.lost;
        out.header.payload_type = self
            .forwarder
            .as_ref()?
            .payload_type(packet.header.payload_type)
            .media?;
        Some(self.write(&out, packet))
    }

    /// The m-line's info; its MID only if needed, as that is far away in memory.
    fn line(&self, names_mid: bool) -> Line<'_> {
        Line {
            mid: names_mid.then(|| self.mid()),
            ids: &self.ids,
        }
    }

    /// Appends a sender report and the source description if due, and returns the time of the next. Frees the kept
    /// packets once all are too old to be sent again; without new packets nothing else would.
    pub(crate) fn poll_report(
        &mut self,
        now: Instant,
        ntp: u64,
        cname: &str,
        rtcp: &mut Vec<u8>,
    ) -> Option<Instant> {
        if !self.sender.sent_since(now, kept::WORTH) {
            self.kept = None;
        }
        let span = self.rewriter.span();
        let clock = self.forwarder.as_ref().and_then(Forwarder::clock);
        let timestamp = clock
            .zip(span)
            .map(|(clock, span)| span.timestamp(clock.timestamp_at(ntp, self.sender.clock_rate())));
        self.sender
            .poll_report(now, ntp, timestamp, self.ssrc, cname, rtcp)
    }

    /// Judges a request for a keyframe, by a PLI or FIR of its viewer or on behalf of it.
    pub(crate) fn request_keyframe(&mut self, now: Instant, is_pli: bool) -> KeyframeRequest {
        self.keyframes.request(now, is_pli)
    }

    /// Round trip as a report block tells it (RFC 3550 section 6.4.1).
    pub(crate) fn report_received(&mut self, fraction_lost: u8) {
        self.confirmed = true;
        self.counters.fraction_lost = f64::from(fraction_lost) / 256.0;
    }

    /// The layer sent, and the reason that it is no other.
    pub(crate) fn state(&self) -> (Option<LayerId>, &'static str) {
        let Some(forwarder) = &self.forwarder else {
            return (None, "free");
        };
        let current = forwarder.current();
        let granted = self.allocation.map(|allocation| allocation.reason);
        let reason = match forwarder.awaits_keyframe_of() {
            Some(_) if current.is_none() || granted == Some(Reason::Best) => Reason::Keyframe,
            _ => granted.unwrap_or(if current.is_some() {
                Reason::Best
            } else {
                Reason::NotStarted
            }),
        };
        (current, reason.code())
    }
}

/// Bytes that a copy of an audio packet takes in the next one; for redundant audio, without the copies left out.
fn copy_of(out: &Outgoing, packet: &Packet<'_>) -> usize {
    match packet.codec {
        Codec::Red => usize::from(out.skip),
        _ => Earlier::room(packet.payload().len()),
    }
}

fn source_of(packet: &Packet<'_>) -> Source {
    Source {
        track: packet.track,
        layer: packet.layer,
        ssrc: packet.header.ssrc,
    }
}

fn frame_of(packet: &Packet<'_>) -> Frame {
    let (picture_id, tl0_pic_idx) = packet.described.payload.numbers();
    Frame {
        sequence: packet.sequence,
        timestamp: packet.header.timestamp,
        ids: Ids::new(
            picture_id,
            tl0_pic_idx,
            packet.described.dependencies.map(|read| read.frame_number),
        ),
    }
}

/// The frame of a packet, if any.
fn frame_key(packet: &Packet<'_>) -> Option<FrameKey> {
    let key = (packet.header.timestamp, packet.described.frame.spatial);
    (!packet.payload().is_empty()).then_some(key)
}

/// Whether a packet gets the marker, though its publisher has sent more of the picture.
fn ends_picture(forwarder: &Forwarder, packet: &Packet<'_>) -> bool {
    let selector = &forwarder.selector;
    let timestamp = packet.header.timestamp;
    selector.ends_picture(packet.layer, timestamp, &packet.info.described.frame)
}
