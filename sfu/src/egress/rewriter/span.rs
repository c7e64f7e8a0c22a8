//! One uninterrupted stay on one source, with constant offsets from its numbers to the viewer's.

use super::Rewritten;
use crate::id::TrackId;

/// A layer of a track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) track: TrackId,
    pub(crate) layer: usize,
    /// SSRC of the layer's stream: a publisher may begin a new one on the same layer.
    pub(crate) ssrc: u32,
}

/// The numbers of a source packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Frame {
    /// Unwrapped sequence number.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) ids: Ids,
}

/// The counters of frames, where present: in a VP8 or VP9 payload descriptor (RFC 7741 and RFC 9628, section 4.2 of
/// each) and in a dependency descriptor.
///
/// When frames are left out, only VP8's picture ids close up. References between frames use VP9's picture ids, or the
/// frame numbers of a dependency descriptor, as differences. Receivers know that some may be missing, and would look
/// for the wrong frames if those closed up.
///
/// They are packed into one word, as they are passed on for every packet: a processor that reads at once several fields
/// just written piece by piece waits until all of them have reached the cache.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ids(u64);

const PICTURE_ID: u32 = 0;
const FRAME_NUMBER: u32 = 16;
const TL0_PIC_IDX: u32 = 32;
/// Bits that tell which are present.
const HAS_PICTURE_ID: u64 = 1 << 48;
const HAS_FRAME_NUMBER: u64 = 1 << 49;
const HAS_TL0_PIC_IDX: u64 = 1 << 50;

const PICTURE_ID_MASK: u16 = 0x7fff;

impl Ids {
    pub(crate) fn new(
        picture_id: Option<u16>,
        tl0_pic_idx: Option<u8>,
        frame_number: Option<u16>,
    ) -> Self {
        let word = |value: Option<u16>, at: u32, has: u64| {
            value.map_or(0, |value| u64::from(value) << at | has)
        };
        Self(
            word(picture_id, PICTURE_ID, HAS_PICTURE_ID)
                | word(tl0_pic_idx.map(u16::from), TL0_PIC_IDX, HAS_TL0_PIC_IDX)
                | word(frame_number, FRAME_NUMBER, HAS_FRAME_NUMBER),
        )
    }

    /// 15 bits.
    pub(crate) fn picture_id(self) -> Option<u16> {
        (self.0 & HAS_PICTURE_ID != 0).then_some((self.0 >> PICTURE_ID) as u16)
    }

    /// 8 bits.
    pub(crate) fn tl0_pic_idx(self) -> Option<u8> {
        (self.0 & HAS_TL0_PIC_IDX != 0).then_some((self.0 >> TL0_PIC_IDX) as u8)
    }

    /// 16 bits.
    pub(crate) fn frame_number(self) -> Option<u16> {
        (self.0 & HAS_FRAME_NUMBER != 0).then_some((self.0 >> FRAME_NUMBER) as u16)
    }

    /// The counters that the next picture begins with.
    pub(super) fn next(self) -> Self {
        Self::new(
            self.picture_id().map(|id| (id + 1) & PICTURE_ID_MASK),
            self.tl0_pic_idx().map(|idx| idx.wrapping_add(1)),
            self.frame_number().map(|number| number.wrapping_add(1)),
        )
    }

    /// The counters that the picture before ended with, at most. `base`: this picture is of temporal layer 0, whose
    /// pictures TL0PICIDX counts.
    pub(super) fn before(self, base: bool) -> Self {
        Self::new(
            self.picture_id()
                .map(|id| id.wrapping_sub(1) & PICTURE_ID_MASK),
            self.tl0_pic_idx()
                .map(|idx| idx.wrapping_sub(u8::from(base))),
            self.frame_number().map(|number| number.wrapping_sub(1)),
        )
    }

    /// Advances to the counters sent; those that are absent keep their values.
    pub(super) fn advance(&mut self, sent: Self) {
        *self = sent.or(*self);
    }

    /// These counters, with absent ones taken from the others.
    fn or(self, others: Self) -> Self {
        Self::new(
            self.picture_id().or(others.picture_id()),
            self.tl0_pic_idx().or(others.tl0_pic_idx()),
            self.frame_number().or(others.frame_number()),
        )
    }
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ids")
            .field("picture_id", &self.picture_id())
            .field("tl0_pic_idx", &self.tl0_pic_idx())
            .field("frame_number", &self.frame_number())
            .finish()
    }
}

/// A span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) source: Source,
    /// Its first packet, in the source's numbers.
    first: Frame,
    /// Its first packet, in the viewer's numbers.
    start: Frame,
    /// Its number among the rewriter's spans.
    pub(super) id: u32,
    /// Packets left out of it before [`known_from`](Self::known_from).
    pub(super) left_out: LeftOut,
    /// The source's sequence number from which on the left-out packets are known.
    pub(super) known_from: u64,
    /// The last of the viewer's numbers used by its packets, once it is over.
    pub(super) last: u64,
    /// The highest of the source's numbers sent or left out, once it is over.
    pub(super) newest: u64,
}

/// Packets and frames left out of a span up to some place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) packets: u64,
    /// Frames left out, counted for a codec whose picture ids close up.
    pub(crate) frames: u32,
}

impl Span {
    /// A span from its first packet. `ids` are the counters that the viewer must see there, if it saw any before.
    pub(super) fn new(
        id: u32,
        source: Source,
        first: Frame,
        sequence: u64,
        timestamp: u32,
        ids: Ids,
    ) -> Self {
        let ids = ids.or(first.ids);
        Self {
            id,
            left_out: LeftOut::default(),
            known_from: first.sequence,
            last: u64::MAX,
            newest: first.sequence,
            source,
            first,
            start: Frame {
                sequence,
                timestamp,
                ids,
            },
        }
    }

    /// A source packet in the viewer's numbers, with so much left out before it.
    pub(super) fn rewrite(&self, frame: &Frame, left_out: LeftOut) -> Rewritten {
        Rewritten {
            sequence: self.sequence(frame.sequence, left_out),
            timestamp: self.timestamp(frame.timestamp),
            ids: self.ids(frame.ids, left_out.frames),
        }
    }

    /// A source sequence number of the span in the viewer's.
    pub(super) fn sequence(&self, sequence: u64, left_out: LeftOut) -> u64 {
        self.start.sequence + (sequence - self.first.sequence) - left_out.packets
    }

    /// A source timestamp in the viewer's.
    pub(crate) fn timestamp(&self, timestamp: u32) -> u32 {
        timestamp
            .wrapping_sub(self.first.timestamp)
            .wrapping_add(self.start.timestamp)
    }

    fn ids(&self, ids: Ids, frames: u32) -> Ids {
        let (first, start) = (self.first.ids, self.start.ids);
        Ids::new(
            ids.picture_id().map(|id| {
                id.wrapping_sub(first.picture_id().unwrap_or(0))
                    .wrapping_add(start.picture_id().unwrap_or(0))
                    .wrapping_sub(frames as u16)
                    & PICTURE_ID_MASK
            }),
            ids.tl0_pic_idx().map(|idx| {
                idx.wrapping_sub(first.tl0_pic_idx().unwrap_or(0))
                    .wrapping_add(start.tl0_pic_idx().unwrap_or(0))
            }),
            ids.frame_number().map(|number| {
                number
                    .wrapping_sub(first.frame_number().unwrap_or(0))
                    .wrapping_add(start.frame_number().unwrap_or(0))
            }),
        )
    }

    /// Whether a viewer's sequence number is of this span or later.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        sequence >= self.start.sequence
    }

    /// A viewer's sequence number in the source's.
    pub(super) fn source_sequence(&self, sequence: u64, left_out: LeftOut) -> u64 {
        sequence - self.start.sequence + self.first.sequence + left_out.packets
    }
}
