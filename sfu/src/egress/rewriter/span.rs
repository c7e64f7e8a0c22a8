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
    pub(crate) ids: Vp8Ids,
}

/// The counters in a VP8 payload descriptor (RFC 7741 section 4.2), where present.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Vp8Ids {
    /// 15 bits.
    pub(crate) picture_id: Option<u16>,
    /// 8 bits.
    pub(crate) tl0_pic_idx: Option<u8>,
}

const PICTURE_ID_MASK: u16 = 0x7fff;

impl Vp8Ids {
    /// What a picture after these begins with.
    pub(super) fn next(self) -> Self {
        Self {
            picture_id: self.picture_id.map(|id| (id + 1) & PICTURE_ID_MASK),
            tl0_pic_idx: self.tl0_pic_idx.map(|idx| idx.wrapping_add(1)),
        }
    }

    /// Moves on to what was sent, keeping what it does not say.
    pub(super) fn advance(&mut self, sent: Self) {
        self.picture_id = sent.picture_id.or(self.picture_id);
        self.tl0_pic_idx = sent.tl0_pic_idx.or(self.tl0_pic_idx);
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
}

impl Span {
    /// From its first packet. `ids` are what the viewer must see there, where it saw any before.
    pub(super) fn new(
        source: Source,
        first: Frame,
        sequence: u64,
        timestamp: u32,
        ids: Vp8Ids,
    ) -> Self {
        let ids = Vp8Ids {
            picture_id: ids.picture_id.or(first.ids.picture_id),
            tl0_pic_idx: ids.tl0_pic_idx.or(first.ids.tl0_pic_idx),
        };
        Self {
            source,
            first,
            start: Frame {
                sequence,
                timestamp,
                ids,
            },
        }
    }

    /// A source packet in the viewer's numbers; none if it came before the span.
    pub(crate) fn rewrite(&self, frame: Frame) -> Option<Rewritten> {
        let sequence = self.start.sequence + frame.sequence.checked_sub(self.first.sequence)?;
        Some(Rewritten {
            sequence,
            timestamp: self.timestamp(frame.timestamp),
            ids: self.ids(frame.ids),
        })
    }

    /// A source timestamp in the viewer's.
    pub(crate) fn timestamp(&self, timestamp: u32) -> u32 {
        timestamp
            .wrapping_sub(self.first.timestamp)
            .wrapping_add(self.start.timestamp)
    }

    fn ids(&self, ids: Vp8Ids) -> Vp8Ids {
        let picture_id = ids.picture_id.map(|id| {
            let (first, start) = (self.first.ids.picture_id, self.start.ids.picture_id);
            id.wrapping_sub(first.unwrap_or(0))
                .wrapping_add(start.unwrap_or(0))
                & PICTURE_ID_MASK
        });
        let tl0_pic_idx = ids.tl0_pic_idx.map(|idx| {
            let (first, start) = (self.first.ids.tl0_pic_idx, self.start.ids.tl0_pic_idx);
            idx.wrapping_sub(first.unwrap_or(0))
                .wrapping_add(start.unwrap_or(0))
        });
        Vp8Ids {
            picture_id,
            tl0_pic_idx,
        }
    }

    /// Whether a viewer's sequence number is of this span or later.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        sequence >= self.start.sequence
    }

    /// A viewer's sequence number in the source's.
    pub(super) fn source_sequence(&self, sequence: u64) -> u64 {
        sequence - self.start.sequence + self.first.sequence
    }
}
