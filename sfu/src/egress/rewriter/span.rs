//! One uninterrupted stay on one source: constant offsets from its numbers to the viewer's.

use super::Rewritten;
use crate::id::TrackId;

/// A layer of a track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) track: TrackId,
    pub(crate) layer: usize,
    /// The layer's stream: a publisher may begin a new one on the same layer.
    pub(crate) ssrc: u32,
}

/// The numbers of a source packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Frame {
    /// Unwrapped.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) ids: Ids,
}

/// The counters of frames, where present: in a VP8 or VP9 payload descriptor (RFC 7741 and RFC 9628,
/// section 4.2 of each) and in a dependency descriptor.
///
/// Of frames that are left out, only VP8's picture ids close up. VP9's picture ids and the frame numbers
/// of a dependency descriptor are what references are told by, as differences: receivers know that some
/// may be missing, and would look for the wrong frames otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ids {
    /// 15 bits.
    pub(crate) picture_id: Option<u16>,
    /// 8 bits.
    pub(crate) tl0_pic_idx: Option<u8>,
    /// 16 bits.
    pub(crate) frame_number: Option<u16>,
}

const PICTURE_ID_MASK: u16 = 0x7fff;

impl Ids {
    /// What a picture after these begins with.
    pub(super) fn next(self) -> Self {
        Self {
            picture_id: self.picture_id.map(|id| (id + 1) & PICTURE_ID_MASK),
            tl0_pic_idx: self.tl0_pic_idx.map(|idx| idx.wrapping_add(1)),
            frame_number: self.frame_number.map(|number| number.wrapping_add(1)),
        }
    }

    /// What a picture before these ended with, at most. `base`: these are of temporal layer 0, whose
    /// pictures TL0PICIDX counts.
    pub(super) fn before(self, base: bool) -> Self {
        Self {
            picture_id: self
                .picture_id
                .map(|id| id.wrapping_sub(1) & PICTURE_ID_MASK),
            tl0_pic_idx: self.tl0_pic_idx.map(|idx| idx.wrapping_sub(u8::from(base))),
            frame_number: self.frame_number.map(|number| number.wrapping_sub(1)),
        }
    }

    /// Moves on to what was sent, keeping what it does not say.
    pub(super) fn advance(&mut self, sent: Self) {
        self.picture_id = sent.picture_id.or(self.picture_id);
        self.tl0_pic_idx = sent.tl0_pic_idx.or(self.tl0_pic_idx);
        self.frame_number = sent.frame_number.or(self.frame_number);
    }
}

/// A span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) source: Source,
    /// Its first packet, in the source's numbers.
    first: Frame,
    /// The same packet, in the viewer's.
    start: Frame,
    /// Which of the rewriter's spans it is.
    pub(super) id: u32,
    /// What was left out of it before [`known_from`](Self::known_from).
    pub(super) left_out: LeftOut,
    /// The source's sequence number from which on it is known what was left out.
    pub(super) known_from: u64,
    /// The last of the viewer's numbers that a packet of it was sent under, once it is over.
    pub(super) last: u64,
    /// The highest of the source's that was sent or left out, once it is over.
    pub(super) newest: u64,
}

/// What was left out of a span up to some place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) packets: u64,
    /// Of a codec whose picture ids close up.
    pub(crate) frames: u32,
}

impl Span {
    /// From its first packet. `ids` are what the viewer must see there, where it saw any before.
    pub(super) fn new(
        id: u32,
        source: Source,
        first: Frame,
        sequence: u64,
        timestamp: u32,
        ids: Ids,
    ) -> Self {
        let ids = Ids {
            picture_id: ids.picture_id.or(first.ids.picture_id),
            tl0_pic_idx: ids.tl0_pic_idx.or(first.ids.tl0_pic_idx),
            frame_number: ids.frame_number.or(first.ids.frame_number),
        };
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
    pub(super) fn rewrite(&self, frame: Frame, left_out: LeftOut) -> Rewritten {
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
        let picture_id = ids.picture_id.map(|id| {
            let (first, start) = (self.first.ids.picture_id, self.start.ids.picture_id);
            id.wrapping_sub(first.unwrap_or(0))
                .wrapping_add(start.unwrap_or(0))
                .wrapping_sub(frames as u16)
                & PICTURE_ID_MASK
        });
        let tl0_pic_idx = ids.tl0_pic_idx.map(|idx| {
            let (first, start) = (self.first.ids.tl0_pic_idx, self.start.ids.tl0_pic_idx);
            idx.wrapping_sub(first.unwrap_or(0))
                .wrapping_add(start.unwrap_or(0))
        });
        let frame_number = ids.frame_number.map(|number| {
            let (first, start) = (self.first.ids.frame_number, self.start.ids.frame_number);
            number
                .wrapping_sub(first.unwrap_or(0))
                .wrapping_add(start.unwrap_or(0))
        });
        Ids {
            picture_id,
            tl0_pic_idx,
            frame_number,
        }
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
