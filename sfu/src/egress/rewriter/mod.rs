//! Makes the packets of changing sources look like one stream to a decoder.
//!
//! A viewer's slot has one SSRC for its life, while its source changes: layers of a track, then another track. Each
//! uninterrupted stay on one source is a *span*. Its offsets are constant, except for the runs of packets left out of
//! it. So a retransmission is rewritten from the publisher's cache by the same arithmetic as the first transmission,
//! and nothing is kept per packet.

mod cuts;
mod span;

use std::mem::offset_of;
use std::time::{Duration, Instant};

use cuts::Cuts;
pub(crate) use cuts::FrameKey;
pub(crate) use span::{Frame, Ids, Source, Span};

/// Spans remembered for retransmissions, the current one included. A viewer asks within seconds; a layer switch waits
/// for a keyframe, of which there are at most three a second.
const SPANS: usize = 8;

/// Distance behind the newest within which a packet counts as late: a publisher's cache holds and repairs no more. A
/// packet further behind was numbered anew.
const LATE: u64 = 512;

/// Numbers that may be left out between two packets sent. A receiver takes a number that is 2^15 or more ahead for an
/// earlier one (RFC 3711 appendix A), and so does the sender: the index under which a packet is sealed would be one that was
/// used. Half of that leaves room for what is left out elsewhere.
const FARTHEST: u64 = 1 << 14;

/// The outgoing side of a slot. The fields that every packet needs stand last, and the slot's others follow them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Rewriter {
    /// Earlier spans, oldest first.
    past: Vec<Span>,
    clock_rate: u32,
    /// The number of spans begun.
    begun: u32,
    cuts: Cuts,
    /// The current span; nearly every packet is of it.
    span: Option<Span>,
    /// The highest number taken.
    sequence: u64,
    /// The highest number of a packet sent with its payload.
    latest: u64,
    /// The highest number given to a packet, or that before the first.
    sent: u64,
    /// The highest number of the current span's source that was sent or left out.
    newest: Option<u64>,
    sent_at: Option<Instant>,
    ids: Ids,
    timestamp: u32,
    /// The last packet sent does not end its frame.
    torn: bool,
}

/// A source packet's place in the outgoing stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rewritten {
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// Frame counters, for packets that carry them.
    pub(crate) ids: Ids,
}

impl Rewriter {
    /// Bytes of it before those that every packet needs.
    pub(super) const COLD: usize = offset_of!(Self, cuts) + Cuts::COLD;

    /// Prefetches the memory that a packet needs: so many bytes, of what follows the rewriter too.
    pub(super) fn prefetch(&self, bytes: usize) {
        self.cuts.prefetch(bytes);
    }

    /// Starts at a random sequence number and timestamp (RFC 3550 section 5.1).
    pub(crate) fn new(clock_rate: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            span: None,
            past: Vec::new(),
            clock_rate,
            // Starts with a rollover count of one, so that packets from before the first are recognised.
            sequence: 0x1_0000 | u64::from(sequence),
            latest: 0,
            sent: 0x1_0000 | u64::from(sequence),
            timestamp,
            sent_at: None,
            ids: Ids::default(),
            torn: false,
            cuts: Cuts::default(),
            newest: None,
            begun: 0,
        }
    }

    /// Begins a span at the first packet of another source. `advance` is the time by which the picture moved on since
    /// the last packet sent, by the source's own clock, if known.
    ///
    /// If the last frame has no end and gets none, a number is left out: a receiver must see that packets are missing
    /// there, or it decodes half a frame.
    pub(crate) fn switch(
        &mut self,
        now: Instant,
        source: &Source,
        first: &Frame,
        advance: Option<i64>,
    ) {
        self.give_up_frame();
        let elapsed = self.sent_at.map(|at| now.saturating_duration_since(at));
        let advance = elapsed.map_or(0, |elapsed| self.plausible(advance, elapsed));
        self.begun += 1;
        let newest = self.newest.take();
        let span = Span::new(
            self.begun,
            *source,
            *first,
            self.sequence + 1,
            self.timestamp.wrapping_add(advance),
            self.ids.next(),
        );
        if let Some(mut before) = self.span.replace(span) {
            before.last = self.latest;
            before.newest = newest.unwrap_or(before.newest);
            if self.past.len() == SPANS - 1 {
                self.past.remove(0);
            }
            self.past.push(before);
        }
    }

    /// Whether the last packet sent is in the middle of a frame.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Records whether a packet just rewritten ends its frame.
    pub(crate) fn note_end(&mut self, sequence: u64, ends: bool) {
        if sequence == self.latest {
            self.torn = !ends;
        }
    }

    /// Whether a packet of the current source is of a later frame than the last one sent.
    pub(crate) fn begins_frame(&self, frame: &Frame) -> bool {
        self.place(frame)
            .is_some_and(|out| out.sequence > self.sequence && out.timestamp != self.timestamp)
    }

    /// Whether packets of the current source before this one have not come.
    pub(crate) fn is_behind_gap(&self, frame: &Frame) -> bool {
        self.newest
            .is_some_and(|newest| frame.sequence > newest + 1)
    }

    /// Whether a packet is older than others of its source that were handled in an earlier span: the frame it begins is
    /// over, and part of it may have been sent.
    pub(crate) fn is_past(&self, source: &Source, frame: &Frame) -> bool {
        let past = |newest: u64| (0..LATE).contains(&newest.wrapping_sub(frame.sequence));
        let current = self.span().is_some_and(|span| span.source == *source);
        let mut spans = self.spans().filter(|span| span.source == *source);
        current && self.newest.is_some_and(past) || spans.any(|span| past(span.newest))
    }

    /// Ends the last frame sent, of which no more packets come: the next span leaves a number out, and may begin at
    /// once.
    pub(crate) fn give_up_frame(&mut self) {
        if std::mem::take(&mut self.torn) {
            self.leave_out_number();
        }
    }

    /// Leaves room for packets missing before a packet that is not sent: they may still come, and are then sent again
    /// on request. If that packet `begins` its picture (of temporal layer 0 if `base`), the missing packets are of
    /// earlier pictures; otherwise some are of this picture, and the rest of it will always be missing.
    pub(crate) fn skip_to(&mut self, frame: &Frame, begins: bool, base: bool) {
        let Some(out) = self.place(frame) else {
            return;
        };
        self.torn = false;
        if out.sequence <= self.sequence + 1 || out.sequence > self.sent + FARTHEST {
            return;
        }
        self.sequence = out.sequence - 1;
        self.latest = self.sequence;
        if begins {
            self.timestamp = out.timestamp.wrapping_sub(1);
            self.ids.advance(out.ids.before(base));
        } else {
            self.timestamp = out.timestamp;
            self.ids.advance(out.ids);
            self.leave_out_number();
        }
    }

    /// Continues below number 2^15 for a receiver with new keys. It counts rollovers of the number from zero, whichever
    /// packet reaches it first (RFC 3711 section 3.3.1). No older number is used again: the packet asked for under it
    /// was lost with the old keys, and under the new ones its number would count for another rollover. One number is
    /// left out, as nobody knows which packets were lost.
    pub(crate) fn begin_again(&mut self) {
        self.span = None;
        self.past.clear();
        (self.newest, self.torn) = (None, false);
        self.leave_out_number();
        self.sequence = above(self.sequence + 1) - 1;
        self.sent = self.sequence;
    }

    /// Skips a number: a receiver that misses it knows that a packet is missing.
    fn leave_out_number(&mut self) {
        self.sequence += 1;
    }

    /// Ticks to advance at a switch: by the sources' clocks if that is credible, otherwise by the time that passed.
    /// Never zero: a decoder takes equal timestamps for one frame.
    fn plausible(&self, advance: Option<i64>, elapsed: Duration) -> u32 {
        /// Seconds by which sender reports and arrival times may disagree: a jitter buffer's worth.
        const DISAGREEMENT: i64 = 1;
        let passed =
            (elapsed.as_micros() as i64).saturating_mul(i64::from(self.clock_rate)) / 1_000_000;
        let ticks = advance
            .filter(|ticks| (ticks - passed).abs() < DISAGREEMENT * i64::from(self.clock_rate))
            .unwrap_or(passed);
        ticks.clamp(1, i64::from(i32::MAX)) as u32
    }

    /// Rewrites a packet of the current source; none before the first switch, or for a packet older than the current
    /// span.
    pub(crate) fn rewrite(
        &mut self,
        now: Instant,
        source: &Source,
        frame: &Frame,
    ) -> Option<Rewritten> {
        self.span.as_ref().filter(|span| span.source == *source)?;
        let mut rewritten = self.place(frame)?;
        if rewritten.sequence > self.sent + FARTHEST {
            rewritten = self.close_gap(now, source, frame, rewritten.timestamp)?;
        }
        self.newest = self.newest.max(Some(frame.sequence));
        self.sequence = self.sequence.max(rewritten.sequence);
        self.sent = self.sent.max(rewritten.sequence);
        if rewritten.sequence > self.latest {
            self.latest = rewritten.sequence;
            self.timestamp = rewritten.timestamp;
            self.sent_at = Some(now);
            self.ids.advance(rewritten.ids);
        }
        Some(rewritten)
    }

    /// Goes on behind a gap in the source's numbers that is too long, as behind a switch. One number is left out for all
    /// that are missing. `timestamp` is that of the packet without the gap.
    fn close_gap(
        &mut self,
        now: Instant,
        source: &Source,
        frame: &Frame,
        timestamp: u32,
    ) -> Option<Rewritten> {
        self.torn = true;
        let advance = timestamp.wrapping_sub(self.timestamp) as i32;
        self.switch(now, source, frame, Some(advance.into()));
        self.place(frame)
    }

    /// Leaves out a packet of the current source: the numbers after it close up. `frame_key` is none for a packet
    /// without a frame; `closes_up` says whether the codec's picture ids close up.
    ///
    /// A packet that comes after later ones were sent has a number already: the caller sends an empty packet under it.
    pub(crate) fn skip(
        &mut self,
        source: &Source,
        frame: &Frame,
        frame_key: Option<FrameKey>,
        closes_up: bool,
    ) -> Option<Rewritten> {
        let span = self.span.as_mut().filter(|span| span.source == *source)?;
        if frame.sequence < span.known_from {
            return None;
        }
        if self.newest.is_none_or(|newest| frame.sequence > newest) {
            self.cuts
                .cut(span, self.newest, frame.sequence, frame_key, closes_up);
            self.newest = Some(frame.sequence);
            return None;
        }
        let empty = span.rewrite(frame, self.cuts.before(span, frame.sequence)?);
        if empty.sequence > self.sequence {
            self.cuts
                .cut_late(span, frame.sequence, frame_key, closes_up);
            return None;
        }
        Some(empty)
    }

    /// A packet of the current source in the viewer's numbers; none if it is left out or forgotten.
    fn place(&self, frame: &Frame) -> Option<Rewritten> {
        let span = self.span.as_ref()?;
        let left_out = self.cuts.before(span, frame.sequence)?;
        Some(span.rewrite(frame, left_out))
    }

    /// The source packet that a viewer knows as `sequence`, for retransmission.
    pub(crate) fn locate(&self, sequence: u16) -> Option<(Span, u64)> {
        let back = (self.sequence as u16).wrapping_sub(sequence);
        if back >= 0x8000 {
            return None;
        }
        let sequence = self.sequence.checked_sub(u64::from(back))?;
        let span = self.spans().find(|span| span.covers(sequence))?;
        // A number of an earlier span whose packet never came may belong to a frame that was not sent. Nor is anything
        // sent again under a number left out after a frame without an end.
        if sequence > span.last.min(self.latest) {
            return None;
        }
        let left_out = self.cuts.before_number(span, sequence);
        let source = span.source_sequence(sequence, left_out);
        (source >= span.known_from).then_some((*span, source))
    }

    /// A packet that [`locate`](Self::locate) found, in the viewer's numbers.
    pub(crate) fn rewrite_again(&self, span: &Span, frame: &Frame) -> Option<Rewritten> {
        let left_out = self.cuts.before(span, frame.sequence)?;
        Some(span.rewrite(frame, left_out))
    }

    /// The highest sequence number sent.
    pub(crate) fn highest(&self) -> u16 {
        self.sequence as u16
    }

    /// The timestamp of the last packet sent.
    pub(crate) fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// The current span.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// All remembered spans, the latest first.
    fn spans(&self) -> impl Iterator<Item = &Span> {
        self.span.iter().chain(self.past.iter().rev())
    }
}

/// The first number from this one on that SRTP can begin with.
pub(crate) fn above(sequence: u64) -> u64 {
    match sequence & 0x8000 {
        0 => sequence,
        _ => (sequence | 0xffff) + 1,
    }
}

#[cfg(test)]
mod tests;
