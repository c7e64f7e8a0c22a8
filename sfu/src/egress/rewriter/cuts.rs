//! Packets left out of a stream, so that the numbers after them close up.
//!
//! Packets are left out in runs, mostly whole frames. One entry for each run says where it ends in the source's
//! numbers, and how much was left out up to there. A packet's number is its distance from the span's first packet, less
//! the packets left out before it; the other way round the entries are searched.
//!
//! Numbers follow the source's order, not the order of arrival. A packet that has not come when a later one is sent
//! keeps a number of its own: it may belong to a frame that is sent. If it turns out not to, an empty packet is sent
//! under that number, for a number that a viewer may have missed stands for one packet for ever. As long as nothing was
//! sent after it, it is left out like any other.

use std::collections::VecDeque;
use std::mem::offset_of;

use super::span::{LeftOut, Span};
use crate::prefetch;

/// Runs remembered: 17 s of a stream at 30 frames a second of which every second one is left out.
const CUTS: usize = 256;

/// A frame of the source: its timestamp and spatial layer.
pub(crate) type FrameKey = (u32, u8);

#[derive(Clone, Copy, Debug)]
struct Cut {
    /// The span that it belongs to.
    span: u32,
    /// The source's number after its last packet.
    end: u64,
    len: u64,
    /// Everything left out up to its end.
    total: LeftOut,
    /// The frames of its first and its last packet.
    first: Option<FrameKey>,
    frame: Option<FrameKey>,
}

impl Cut {
    fn start(&self) -> u64 {
        self.end - self.len
    }
}

/// The latest runs, of any span. The field that every packet needs stands last.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Cuts {
    cuts: VecDeque<Cut>,
    /// The latest frame that was left out.
    last_frame: Option<FrameKey>,
    /// The latest span that packets were left out of; 0 for none.
    latest: u32,
}

impl Cuts {
    /// Bytes of it before those that every packet needs.
    pub(super) const COLD: usize = offset_of!(Self, latest);

    /// Prefetches so many bytes from the first one that every packet needs.
    pub(super) fn prefetch(&self, bytes: usize) {
        prefetch::stretch(&self.latest, bytes);
    }

    /// Packets left out before a source packet of a span; none if that packet is left out itself, or is no longer
    /// known.
    pub(super) fn before(&self, span: &Span, sequence: u64) -> Option<LeftOut> {
        if sequence < span.known_from {
            return None;
        }
        // Most streams have none, whose memory is not touched then.
        if self.latest < span.id {
            return Some(span.left_out);
        }
        for cut in self.of(span) {
            if sequence >= cut.end {
                return Some(cut.total);
            }
            if sequence >= cut.start() {
                return None;
            }
        }
        Some(span.left_out)
    }

    /// Packets left out before the packet that a viewer knows by a number.
    pub(super) fn before_number(&self, span: &Span, number: u64) -> LeftOut {
        self.of(span)
            .find(|cut| number >= span.sequence(cut.end, cut.total))
            .map_or(span.left_out, |cut| cut.total)
    }

    /// Leaves out the newest packet of a span; `newest` is the one before. `frame` is none for a packet without a
    /// frame; `closes_up` says whether picture ids close up.
    pub(super) fn cut(
        &mut self,
        span: &mut Span,
        newest: Option<u64>,
        sequence: u64,
        frame: Option<FrameKey>,
        closes_up: bool,
    ) {
        let begins = frame.is_some() && std::mem::replace(&mut self.last_frame, frame) != frame;
        let frames = u32::from(begins && closes_up);
        let last = self.cuts.back_mut().filter(|cut| cut.span == span.id);
        let mut total = last.as_ref().map_or(span.left_out, |cut| cut.total);
        if let Some(cut) = last
            && newest.is_some_and(|newest| cut.end == newest + 1)
            && (sequence == cut.end || (frame.is_some() && cut.frame == frame))
        {
            let more = sequence + 1 - cut.end;
            cut.len += more;
            cut.end += more;
            cut.total.packets += more;
            cut.total.frames = cut.total.frames.wrapping_add(frames);
            cut.frame = frame.or(cut.frame);
            return;
        }
        total.packets += 1;
        total.frames = total.frames.wrapping_add(frames);
        self.make_room(span);
        self.latest = span.id;
        self.cuts.push_back(Cut {
            span: span.id,
            end: sequence + 1,
            len: 1,
            total,
            first: frame,
            frame,
        });
    }

    /// Leaves out a packet that came late, before anything after it was sent. Between it and another left-out packet of
    /// its frame there are only packets of that frame.
    pub(super) fn cut_late(
        &mut self,
        span: &mut Span,
        sequence: u64,
        frame: Option<FrameKey>,
        closes_up: bool,
    ) {
        self.make_room(span);
        if sequence < span.known_from {
            return;
        }
        let behind = |cut: &&Cut| cut.span == span.id && cut.start() > sequence;
        let at = self.cuts.len() - self.cuts.iter().rev().take_while(behind).count();
        let before = at
            .checked_sub(1)
            .filter(|at| self.cuts[*at].span == span.id);
        let same = |of: Option<FrameKey>| frame.is_some() && of == frame;
        let mut frames = 0;
        let (changed, packets) = if let Some(cut) = self.cuts.get_mut(at)
            && same(cut.first)
        {
            let more = cut.start() - sequence;
            cut.len += more;
            (at, more)
        } else if let Some(before) = before
            && same(self.cuts[before].frame)
        {
            let cut = &mut self.cuts[before];
            let more = sequence + 1 - cut.end;
            cut.len += more;
            cut.end += more;
            (before, more)
        } else {
            frames = u32::from(frame.is_some() && closes_up);
            let total = before.map_or(span.left_out, |before| self.cuts[before].total);
            let cut = Cut {
                span: span.id,
                end: sequence + 1,
                len: 1,
                total,
                first: frame,
                frame,
            };
            self.cuts.insert(at, cut);
            self.latest = span.id;
            (at, 1)
        };
        for cut in self.cuts.range_mut(changed..) {
            cut.total.packets += packets;
            cut.total.frames = cut.total.frames.wrapping_add(frames);
        }
    }

    fn make_room(&mut self, span: &mut Span) {
        if self.cuts.len() == CUTS
            && let Some(cut) = self.cuts.pop_front()
            && cut.span == span.id
        {
            (span.left_out, span.known_from) = (cut.total, cut.end);
        }
    }

    /// Runs of a span, the latest first.
    fn of(&self, span: &Span) -> impl Iterator<Item = &Cut> {
        let id = span.id;
        let behind = self.cuts.iter().rev().skip_while(move |cut| cut.span > id);
        behind.take_while(move |cut| cut.span == id)
    }
}
