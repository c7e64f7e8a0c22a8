//! One subscription at work: the track that a slot carries, and the selection of its packets.

use std::mem::offset_of;
use std::time::{Duration, Instant};

use super::selector::{Candidate, Decision, LayerSelector};
use crate::clock::{SenderClock, ntp_to_ticks};
use crate::event::MediaKind;
use crate::id::{PeerId, TrackId};
use crate::index::TrackIx;
use crate::packet::Packet;
use crate::rtp::codec::{Codec, h264};
use crate::rtp::parameters::{CodecFormat, CodecParameters, SectionParameters};
use crate::track::ladder::{LayerId, Ranks};

/// Longest wait of a switch for the end of the frame being sent. Publishers send the layers of a picture interleaved
/// and within a frame's time; a frame that takes longer has stopped in its middle.
const PATIENCE: Duration = Duration::from_millis(100);

/// Facts of the track that a subscription needs.
#[derive(Clone, Debug)]
pub(crate) struct SourceTrack {
    pub(crate) id: TrackId,
    pub(crate) kind: MediaKind,
    pub(crate) publisher: PeerId,
    /// The track among the worker's.
    pub(crate) index: TrackIx,
    /// Codecs that its publisher may send.
    pub(crate) codecs: Vec<CodecFormat>,
}

/// A subscription that has a slot.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Forwarder {
    /// The source's id, near at hand.
    pub(crate) track: TrackId,
    kind: MediaKind,
    /// The payload type looked up last: packet after packet it is the same.
    latest: (u8, PayloadType),
    /// The clock and timestamp of the last packet forwarded, for aligning layers.
    last: Option<(SenderClock, u32)>,
    /// The switch that waits, in a box: few do, and every packet reads what stands here.
    held: Option<Box<Held>>,
    pub(crate) selector: LayerSelector,
    /// The publisher's payload types that the viewer can be sent, with the viewer's. At most one for each negotiated
    /// codec.
    payload_types: Vec<(u8, PayloadType)>,
    /// The source, boxed: it is needed when something changes, not packet by packet.
    pub(crate) source: Box<SourceTrack>,
}

/// A switch that waits for the end of the frame being sent.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    start: Start,
}

/// A packet's relation to the packets sent before it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Order {
    /// The current layer is in the middle of a frame.
    pub(crate) torn: bool,
    /// The packet is of the current layer, and packets before it have not come.
    pub(crate) behind_gap: bool,
    /// The packet is older than packets of its layer already sent: nothing begins with it.
    pub(crate) past: bool,
}

/// The packet at which another layer begins, in its publisher's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    pub(crate) layer: usize,
    /// Unwrapped sequence number of the keyframe's first packet.
    pub(crate) sequence: u64,
}

/// A viewer's payload type, with the one of its retransmissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PayloadType {
    pub(crate) media: Option<u8>,
    pub(crate) rtx: Option<u8>,
    /// The viewer sends NACKs and has no RTX for them: packets are kept as they are sent.
    pub(crate) kept: bool,
    /// The publisher sends redundant audio (RFC 2198), of which the viewer gets the newest frame.
    pub(crate) unwraps: bool,
    /// Redundant audio around the media, if the publisher sends none and the viewer takes it.
    pub(crate) red: Option<u8>,
    /// The media inside, if the publisher sends redundant audio and the viewer takes it.
    pub(crate) inside: Option<u8>,
}

impl Forwarder {
    /// Bytes of it that every packet needs.
    pub(super) const HOT: usize = offset_of!(Self, selector) + LayerSelector::HOT;

    /// A forwarder of `source` on an m-line; none if they share no codec.
    pub(crate) fn new(source: SourceTrack, media: &SectionParameters) -> Option<Self> {
        let mut payload_types = Vec::new();
        for codec in &source.codecs {
            let opus = source.codecs.iter().find(|opus| within(codec, opus));
            let unwraps = opus.is_some() && !takes_redundancy(media, codec);
            let carried = opus.filter(|_| unwraps).unwrap_or(codec);
            let found = media.payload_type_for(carried.codec, &carried.parameters);
            if let Some((payload_type, rtx)) = found {
                let carried = PayloadType {
                    media: Some(payload_type),
                    rtx,
                    kept: rtx.is_none() && asks_again(media, payload_type),
                    unwraps,
                    red: around(media, payload_type),
                    inside: opus
                        .filter(|_| !unwraps)
                        .and_then(|opus| media.payload_type_for(opus.codec, &opus.parameters))
                        .map(|(payload_type, _)| payload_type),
                };
                payload_types.push((codec.payload_type, carried));
            }
        }
        let latest = *payload_types.first()?;
        Some(Self {
            selector: LayerSelector::default(),
            track: source.id,
            kind: source.kind,
            source: Box::new(source),
            payload_types,
            latest,
            last: None,
            held: None,
        })
    }

    /// Applies a renegotiation of the m-line; false if it has no codec for the track now.
    pub(crate) fn renegotiate(&mut self, media: &SectionParameters) -> bool {
        self.follow((*self.source).clone(), media)
    }

    /// Applies a renegotiation of the track; false if the m-line has no codec for it now.
    pub(crate) fn follow(&mut self, source: SourceTrack, media: &SectionParameters) -> bool {
        let Some(fresh) = Self::new(source, media) else {
            return false;
        };
        self.payload_types = fresh.payload_types;
        self.latest = fresh.latest;
        self.source = fresh.source;
        true
    }

    /// Whether the viewer can decode a payload type of the publisher.
    pub(crate) fn decodes(&self, publishers: u8) -> bool {
        self.payload_type(publishers).media.is_some()
    }

    /// The viewer's payload type for the publisher's. An unknown one has no `media`.
    pub(crate) fn payload_type(&self, publishers: u8) -> PayloadType {
        if self.latest.0 == publishers {
            return self.latest.1;
        }
        // The later of two counts, as in the session description.
        let mut types = self.payload_types.iter().rev();
        let found = types.find(|(theirs, _)| *theirs == publishers);
        found.map_or_else(PayloadType::default, |(_, ours)| *ours)
    }

    /// The viewer's payload type for the publisher's, remembered for the next packets.
    pub(crate) fn next_payload_type(&mut self, publishers: u8) -> PayloadType {
        self.latest = (publishers, self.payload_type(publishers));
        self.latest.1
    }

    /// Decides whether to send a packet.
    pub(crate) fn select(&mut self, now: Instant, packet: &Packet<'_>, order: Order) -> Decision {
        let decision = match self.kind {
            MediaKind::Audio => self.selector.select_sound(packet.layer),
            MediaKind::Video => {
                let mut candidate = candidate(packet);
                candidate.behind_gap = order.behind_gap;
                candidate.switchable &= !order.past;
                self.selector.select(candidate, order.torn && packet.cached)
            }
        };
        if decision == Decision::Hold {
            let held = || {
                Box::new(Held {
                    since: now,
                    start: Start {
                        layer: packet.layer,
                        sequence: packet.sequence,
                    },
                })
            };
            self.held.get_or_insert_with(held);
        }
        decision
    }

    /// The layer that needs a keyframe, if any. Sound needs none: each of its packets decodes alone.
    pub(crate) fn awaits_keyframe_of(&self) -> Option<usize> {
        if self.kind == MediaKind::Audio || self.held.is_some() {
            return None;
        }
        self.selector.awaits_keyframe_of()
    }

    /// Whether a switch waits.
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Whether a switch has waited too long.
    pub(crate) fn held_too_long(&self, now: Instant) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| now >= held.since + PATIENCE)
    }

    /// Ends the wait.
    pub(crate) fn release(&mut self) -> Option<Start> {
        self.held.take().map(|held| held.start)
    }

    /// The time by which the picture moved on, by the publisher's own clock, from the last packet forwarded to this one
    /// of another layer.
    pub(crate) fn advance(&self, packet: &Packet<'_>) -> Option<i64> {
        let rate = packet.codec.clock_rate();
        let (clock, timestamp) = self.last?;
        let before = clock.ntp_of(timestamp, rate);
        let now = packet.sender?.ntp_of(packet.header.timestamp, rate);
        Some(ntp_to_ticks(now.wrapping_sub(before) as i64, rate))
    }

    /// Updates the clock of the packet forwarded last.
    pub(crate) fn set_clock(&mut self, clock: SenderClock) {
        if let Some((known, _)) = &mut self.last {
            *known = clock;
        }
    }

    /// The clock of the layer forwarded now.
    pub(crate) fn clock(&self) -> Option<SenderClock> {
        self.last.map(|(clock, _)| clock)
    }

    /// Notes a packet forwarded.
    pub(crate) fn forwarded(&mut self, packet: &Packet<'_>) {
        self.last = packet
            .sender
            .map(|sender| (sender, packet.header.timestamp));
    }

    /// Applies the present order of the track's encodings; the packets sent do not change.
    pub(crate) fn set_order(&mut self, order: Ranks) {
        if *self.selector.order() != order {
            self.selector.set_order(order);
        }
    }

    /// A layer, numbered in the order it was decided in, as `order` numbers it.
    pub(crate) fn translate(&self, layer: LayerId, order: &Ranks) -> LayerId {
        self.selector.order().translate(layer, order)
    }

    /// The index of the encoding being sent, and of the one to be sent.
    pub(crate) fn streams(&self) -> (Option<usize>, Option<usize>) {
        let sent = self.selector.stream();
        let sends = self.selector.target().is_some();
        (sent.filter(|_| sends), self.selector.wanted_stream())
    }

    /// Whether packets of an encoding are of no more use: it was left for a smaller picture, is gone, or nothing is to
    /// be sent.
    pub(crate) fn has_left(&self, encoding: usize) -> bool {
        let order = self.selector.order();
        let rank = order.rank(encoding);
        let Some(goes_on) = self.current().or(self.target()) else {
            return true;
        };
        rank.is_none_or(|rank| !order.is_single() && goes_on.spatial < rank)
    }

    /// Sets the layer to send; none stops at once.
    pub(crate) fn set_target(&mut self, target: Option<LayerId>) {
        if self.selector.target() == target {
            return;
        }
        let before = self.selector.wanted_stream();
        self.selector.set_target(target);
        if before != self.selector.wanted_stream() {
            self.held = None;
        }
    }

    /// Stops the layer being sent at once: there is no time to wait for the next one.
    pub(crate) fn stop(&mut self) {
        self.selector.leave();
    }

    /// Stops at once, even within a frame, until a packet that a stream can begin with.
    pub(crate) fn halt(&mut self) {
        self.selector.halt();
        self.held = None;
    }

    /// Records that a stream goes on in a codec that the viewer cannot decode.
    pub(crate) fn interrupt(&mut self, layer: usize) {
        if self.selector.stream() == Some(layer) {
            self.halt();
        }
    }

    /// Continues with a packet of the publisher's next stream on the same layer.
    pub(crate) fn restart(&mut self, packet: &Packet<'_>) {
        self.selector.restart(candidate(packet));
    }

    /// The layer to be sent.
    pub(crate) fn target(&self) -> Option<LayerId> {
        self.selector.target()
    }

    /// The layer being sent.
    pub(crate) fn current(&self) -> Option<LayerId> {
        self.selector.current()
    }
}

/// Whether a viewer sends NACKs for a payload type (RFC 4585 section 4.2).
fn asks_again(media: &SectionParameters, payload_type: u8) -> bool {
    let mut codecs = media.codecs.iter();
    codecs.any(|codec| codec.payload_type == payload_type && codec.feedback.nack)
}

/// The viewer's payload type of redundant audio around another of its types.
fn around(media: &SectionParameters, payload_type: u8) -> Option<u8> {
    let wanted = CodecParameters::Red {
        primary: payload_type,
    };
    let mut codecs = media.codecs.iter();
    let found = codecs.find(|codec| codec.parameters == wanted);
    found.map(|codec| codec.payload_type)
}

/// Whether a redundant format is around another one.
fn within(red: &CodecFormat, opus: &CodecFormat) -> bool {
    matches!(red.parameters, CodecParameters::Red { primary } if primary == opus.payload_type)
}

/// Whether a publisher's redundant audio can be passed on unchanged: the blocks inside name a payload type, which must
/// be the viewer's too.
fn takes_redundancy(media: &SectionParameters, red: &CodecFormat) -> bool {
    media
        .codecs
        .iter()
        .any(|ours| ours.parameters == red.parameters)
}

/// The info of a packet that the selector needs.
pub(super) fn candidate<'a>(packet: &Packet<'a>) -> Candidate<'a> {
    Candidate {
        stream: packet.layer,
        timestamp: packet.header.timestamp,
        frame: &packet.info.described.frame,
        // Parameter sets of one stream do not serve another.
        switchable: packet.switchable
            && (packet.codec != Codec::H264 || h264::has_parameter_sets(packet.payload())),
        empty: packet.payload().is_empty(),
        behind_gap: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::Codec;
    use crate::rtp::parameters::{MediaRole, SectionKind};

    const OPUS: CodecParameters = CodecParameters::Opus { stereo: false };

    fn codec(payload_type: u8, parameters: CodecParameters) -> CodecFormat {
        CodecFormat {
            payload_type,
            codec: match parameters {
                CodecParameters::Red { .. } => Codec::Red,
                _ => Codec::Opus,
            },
            parameters,
            rtx: None,
            feedback: Default::default(),
        }
    }

    fn viewer(codecs: Vec<CodecFormat>) -> SectionParameters {
        SectionParameters::plain(SectionKind::Audio, MediaRole::Slot, codecs)
    }

    #[test]
    fn redundancy_is_passed_on_to_who_takes_it_and_unwrapped_for_who_does_not() {
        let red = |primary| CodecParameters::Red { primary };
        let source = SourceTrack {
            id: TrackId::new(0, 1),
            kind: MediaKind::Audio,
            publisher: PeerId::new(0, 2),
            index: TrackIx::from(0),
            codecs: vec![codec(111, OPUS), codec(63, red(111))],
        };
        for (codecs, opus, redundant, unwraps, around) in [
            (
                vec![codec(111, OPUS), codec(64, red(111))],
                111,
                64,
                false,
                Some(64),
            ),
            (vec![codec(111, OPUS)], 111, 111, true, None),
            (vec![codec(96, OPUS)], 96, 96, true, None),
            // The blocks inside name a payload type that means something else here.
            (
                vec![codec(96, OPUS), codec(64, red(96))],
                96,
                96,
                true,
                Some(64),
            ),
        ] {
            let forwarder = Forwarder::new(source.clone(), &viewer(codecs)).unwrap();
            let expected = |media, unwraps| PayloadType {
                media: Some(media),
                unwraps,
                red: around.filter(|around| *around != media),
                inside: (redundant != opus && media == redundant).then_some(opus),
                ..PayloadType::default()
            };
            assert_eq!(forwarder.payload_type(111), expected(opus, false));
            assert_eq!(forwarder.payload_type(63), expected(redundant, unwraps));
        }
    }

    #[test]
    fn sound_awaits_no_keyframe() {
        let source = SourceTrack {
            id: TrackId::new(0, 1),
            kind: MediaKind::Audio,
            publisher: PeerId::new(0, 2),
            index: TrackIx::from(0),
            codecs: vec![codec(111, OPUS)],
        };
        let mut forwarder = Forwarder::new(source, &viewer(vec![codec(111, OPUS)])).unwrap();
        forwarder.set_target(Some(LayerId::default()));
        assert_eq!(forwarder.awaits_keyframe_of(), None);
        assert_eq!(forwarder.selector.select_sound(0), Decision::Switch);
        assert_eq!(forwarder.selector.select_sound(0), Decision::Forward);
        assert_eq!(forwarder.awaits_keyframe_of(), None);
    }
}
