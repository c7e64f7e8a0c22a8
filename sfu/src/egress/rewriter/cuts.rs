//! What was left out of a stream, so that the numbers behind it close up.
//!
//! Packets are left out in runs, mostly whole frames: one entry for each says where the run ends in
//! the source's numbers and what was left out up to there. A packet's number is its distance from the
//! span's first packet less what was left out before it; the other way round the entries are searched.
//!
//! Numbers are given in the source's order, not in the order of arrival. What has not come when a later
//! packet is sent or left out keeps a number of its own: it may be of a frame that is sent. If it turns
//! out that it is not, an empty packet is sent under that number. Only between two packets of one frame
//! that is left out nothing is kept.

use std::collections::VecDeque;

use super::span::{LeftOut, Span};

/// Runs remembered: of a stream at 30 frames a second of which every second is left out, 17 s.
const CUTS: usize = 256;
/// Empty packets remembered: they are needed when frames that are left out come late, a few a minute.
const FILLED: usize = 64;

/// A frame of the source: its timestamp and spatial layer.
pub(crate) type FrameKey = (u32, u8);

#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Its span.
    span: u32,
    /// Behind its last packet, in the source's numbers.
    end: u64,
    len: u64,
    /// Up to its end.
    total: LeftOut,
    /// The frame of its last packet.
    frame: Option<FrameKey>,
}

/// The latest runs, of any span.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    cuts: VecDeque<Cut>,
    /// Numbers of empty packets.
    filled: VecDeque<u64>,
    /// The latest frame that was left out.
    last_frame: Option<FrameKey>,
}

impl Cuts {
    /// What was left out before a source packet of a span; none if it is left out itself, or that is
    /// not known any more.
    pub(super) fn before(&self, span: &Span, sequence: u64) -> Option<LeftOut> {
        if sequence < span.known_from {
            return None;
        }
        for cut in self.of(span) {
            if sequence >= cut.end {
                return Some(cut.total);
            }
            if sequence >= cut.end - cut.len {
                return None;
            }
        }
        Some(span.left_out)
    }

    /// What was left out before the packet that a viewer knows by a number.
    pub(super) fn before_number(&self, span: &Span, number: u64) -> LeftOut {
        self.of(span)
            .find(|cut| number >= span.sequence(cut.end, cut.total))
            .map_or(span.left_out, |cut| cut.total)
    }

    /// Leaves out the newest packet of a span, `newest` being the one before. `frame` is none for a
    /// packet that is of none; `closes_up` if picture ids do.
    pub(super) fn cut(
        &mut self,
        span: &mut Span,
        newest: Option<u64>,
        sequence: u64,
        frame: Option<FrameKey>,
        closes_up: bool,
    ) {
        let begins = frame.is_some() && std::mem::replace(&mut self.last_frame, frame) != frame;
        let frames = u16::from(begins && closes_up);
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
        if self.cuts.len() == CUTS
            && let Some(cut) = self.cuts.pop_front()
            && cut.span == span.id
        {
            (span.left_out, span.known_from) = (cut.total, cut.end);
        }
        self.cuts.push_back(Cut {
            span: span.id,
            end: sequence + 1,
            len: 1,
            total,
            frame,
        });
    }

    /// Notes that an empty packet took a number.
    pub(super) fn fill(&mut self, number: u64) {
        if self.filled.len() == FILLED {
            self.filled.pop_front();
        }
        self.filled.push_back(number);
    }

    /// Whether an empty packet took it.
    pub(super) fn is_filled(&self, number: u64) -> bool {
        self.filled.contains(&number)
    }

    /// A span's, the latest first.
    fn of(&self, span: &Span) -> impl Iterator<Item = &Cut> {
        let id = span.id;
        let behind = self.cuts.iter().rev().skip_while(move |cut| cut.span > id);
        behind.take_while(move |cut| cut.span == id)
    }
}
