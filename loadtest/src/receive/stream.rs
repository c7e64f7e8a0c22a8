//! One received stream: its missing packets, its late ones, and the frames that a decoder could show.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tertulia_sfu::rtp::codec::{Codec, h264, vp8};
use tertulia_sfu::rtp::sequence::Extender;

/// The time that retransmissions may take before a gap counts as a lost picture: several NACK rounds.
const GAP_PATIENCE: Duration = Duration::from_millis(400);
/// Largest gap that is asked for: a larger one is a lost picture anyway.
const MAX_GAP: u64 = 512;
/// Packets held back behind a gap: 400 ms of 10,000 packets a second.
const MAX_HELD: usize = 4_096;
/// Packets given up whose late arrival is told from a duplicate's.
const MAX_GIVEN_UP: usize = 256;
/// Times a packet is asked for; libwebrtc has ten.
const MAX_TRIES: u8 = 10;
/// The time between two requests for a keyframe while none comes.
const KEYFRAME_RETRY: Duration = Duration::from_millis(500);
/// A picture standing still for this long is a freeze.
const FREEZE: Duration = Duration::from_millis(200);

/// Facts of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) at: Instant,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) content: Content,
}

/// Facts of a packet's payload, as far as it was decrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// The packet was not decrypted.
    Unread,
    /// The packet has padding only.
    Padding,
    Read {
        /// It may be the first of a frame.
        starts: bool,
        keyframe: bool,
        /// Height of the picture, where the codec tells: of most codecs in keyframes.
        height: Option<u16>,
    },
}

impl Content {
    /// Facts of a decrypted payload.
    pub(crate) fn read(codec: Codec, payload: &[u8]) -> Self {
        if payload.is_empty() {
            return Self::Padding;
        }
        let keyframe = tertulia_sfu::rtp::codec::is_keyframe(codec, payload);
        let (starts, height) = match codec {
            Codec::Vp8 => match vp8::Descriptor::parse(payload) {
                Ok(read) => (
                    read.start_of_frame,
                    read.dimensions.map(|(_, height)| height),
                ),
                Err(_) => (false, None),
            },
            Codec::H264 => (
                h264::nal_types(payload).next().is_some(),
                if keyframe {
                    h264::height(payload)
                } else {
                    None
                },
            ),
            _ => (true, None),
        };
        Self::Read {
            starts,
            keyframe,
            height,
        }
    }
}

/// The place of a packet among the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Newest,
    /// The packet fills a gap.
    Filling,
    /// The packet came after its gap was given up.
    Late,
    Duplicate,
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Missing {
        since: Instant,
        asked: Option<Instant>,
        tries: u8,
    },
    Here(Meta),
}

/// Order and pictures of one stream. Video frames count when they and all before them since a
/// keyframe are whole.
#[derive(Debug)]
pub(crate) struct Stream {
    codec: Codec,
    extender: Extender,
    /// The first packet not yet decided on; cells begin with it.
    next: Option<u64>,
    cells: VecDeque<Cell>,
    given_up: VecDeque<u64>,
    missing: usize,
    frame: Option<Frame>,
    /// Every frame since a keyframe was decodable.
    chain: bool,
    last_timestamp: Option<u32>,
    asked: Option<Instant>,
    height: Option<(u16, Instant)>,
    last_decodable: Option<Instant>,
    pub(crate) seen: Seen,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    timestamp: u32,
    keyframe: bool,
    broken: bool,
    height: Option<u16>,
    at: Instant,
}

/// The counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    pub(crate) decodable_frames: u64,
    pub(crate) keyframes: u64,
    pub(crate) first_decodable: Option<Instant>,
    pub(crate) freezes: u64,
    pub(crate) longest_freeze: Duration,
    pub(crate) frozen: Duration,
    pub(crate) residency: Vec<(u16, Duration)>,
}

impl Stream {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            extender: Extender::default(),
            next: None,
            cells: VecDeque::new(),
            given_up: VecDeque::new(),
            missing: 0,
            frame: None,
            chain: false,
            last_timestamp: None,
            asked: None,
            height: None,
            last_decodable: None,
            seen: Seen::default(),
        }
    }

    /// Whether a packet's content decides anything: that of a frame's first packet, with the keyframe mark and the
    /// codec's own numbers, and everything while the picture is not decodable or incomplete. The rest is judged by
    /// header.
    pub(crate) fn wants_content(&self, timestamp: u32) -> bool {
        !self.codec.is_audio()
            && (!self.chain || self.missing > 0 || self.last_timestamp != Some(timestamp))
    }

    /// Whether packets are missing that may still come.
    pub(crate) fn has_gaps(&self) -> bool {
        self.missing > 0
    }

    /// Whether the picture cannot be shown before a keyframe comes.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.codec.is_audio() && !self.chain && self.next.is_some()
    }

    /// The highest sequence number, extended by the count of cycles (RFC 3550 section 6.4.1).
    pub(crate) fn highest(&self) -> u32 {
        // The first cycle is 1.
        (self.extender.highest().unwrap_or_default() as u32).wrapping_sub(1 << 16)
    }

    /// Handles a packet.
    pub(crate) fn push(&mut self, sequence: u16, retransmitted: bool, meta: Meta) -> Place {
        let sequence = self.extender.extend(sequence);
        let next = *self.next.get_or_insert(sequence);
        let place = self.place(sequence, next, meta);
        match place {
            Place::Newest => self.last_timestamp = Some(meta.timestamp),
            Place::Filling | Place::Late => self.seen.reordered += u64::from(!retransmitted),
            Place::Duplicate => self.seen.duplicates += 1,
        }
        if place != Place::Duplicate {
            self.drain();
        }
        place
    }

    fn place(&mut self, sequence: u64, next: u64, meta: Meta) -> Place {
        let Some(offset) = sequence.checked_sub(next) else {
            let known = self.given_up.iter().position(|given| *given == sequence);
            return match known {
                Some(index) => {
                    self.given_up.remove(index);
                    Place::Late
                }
                None => Place::Duplicate,
            };
        };
        let held = self.cells.len() as u64;
        if offset < held {
            let cell = &mut self.cells[offset as usize];
            if let Cell::Here(_) = cell {
                return Place::Duplicate;
            }
            *cell = Cell::Here(meta);
            self.missing -= 1;
            return Place::Filling;
        }
        let gap = offset - held;
        if gap > MAX_GAP {
            self.give_up_all();
            self.lose(gap);
            self.next = Some(sequence);
        } else {
            let missing = Cell::Missing {
                since: meta.at,
                asked: None,
                tries: 0,
            };
            self.cells.extend((0..gap).map(|_| missing));
            self.missing += gap as usize;
        }
        self.cells.push_back(Cell::Here(meta));
        while self.cells.len() > MAX_HELD {
            self.give_up_front();
        }
        Place::Newest
    }

    /// Gives up packets that have been missing for too long, and returns their number.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let before = self.seen.lost;
        while let Some(Cell::Missing { since, .. }) = self.cells.front()
            && now.saturating_duration_since(*since) > GAP_PATIENCE
        {
            self.give_up_front();
            self.drain();
        }
        self.seen.lost - before
    }

    /// Gives up everything: nothing more comes. How many packets.
    pub(crate) fn finish(&mut self, now: Instant) -> u64 {
        let before = self.seen.lost;
        self.give_up_all();
        if let Some((height, since)) = self.height {
            self.height = Some((height, now));
            self.stay(height, now.saturating_duration_since(since));
        }
        self.seen.lost - before
    }

    /// Appends what to ask for again, in ascending order.
    pub(crate) fn nack(&mut self, now: Instant, round_trip: Duration, lost: &mut Vec<u16>) {
        if self.codec.is_audio() || self.missing == 0 {
            return;
        }
        // An answer that is on its way is not asked for again.
        let patience = (round_trip * 3 / 2).max(Duration::from_millis(20));
        let next = self.next.unwrap_or_default();
        for (sequence, cell) in (next..).zip(&mut self.cells) {
            if let Cell::Missing { asked, tries, .. } = cell
                && *tries < MAX_TRIES
                && asked.is_none_or(|asked| now.saturating_duration_since(asked) >= patience)
            {
                *asked = Some(now);
                *tries += 1;
                lost.push(sequence as u16);
            }
        }
    }

    /// Whether to ask for a keyframe now.
    pub(crate) fn wants_keyframe(&mut self, now: Instant) -> bool {
        // A keyframe that is coming in needs no asking.
        let coming = self
            .frame
            .is_some_and(|frame| frame.keyframe && !frame.broken);
        let due = self
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= KEYFRAME_RETRY);
        if !self.is_waiting() || coming || !due || self.missing > 0 {
            return false;
        }
        self.asked = Some(now);
        true
    }

    fn drain(&mut self) {
        while let Some(Cell::Here(meta)) = self.cells.front().copied() {
            self.cells.pop_front();
            self.advance();
            self.consume(&meta);
        }
    }

    fn advance(&mut self) {
        self.next = self.next.map(|next| next + 1);
    }

    fn give_up_all(&mut self) {
        while !self.cells.is_empty() {
            self.give_up_front();
            self.drain();
        }
    }

    fn give_up_front(&mut self) {
        match self.cells.pop_front() {
            Some(Cell::Missing { .. }) => {
                self.missing -= 1;
                if self.given_up.len() == MAX_GIVEN_UP {
                    self.given_up.pop_front();
                }
                self.given_up.extend(self.next);
                self.lose(1);
                self.advance();
            }
            Some(Cell::Here(meta)) => {
                self.advance();
                self.consume(&meta);
            }
            None => {}
        }
    }

    fn lose(&mut self, packets: u64) {
        self.seen.lost += packets;
        self.chain = false;
        if let Some(frame) = &mut self.frame {
            frame.broken = true;
        }
    }

    /// A packet in its order.
    fn consume(&mut self, meta: &Meta) {
        if meta.content == Content::Padding {
            return;
        }
        if self.codec.is_audio() {
            self.seen.decodable_frames += 1;
            self.seen.first_decodable.get_or_insert(meta.at);
            return;
        }
        let (starts, keyframe, height) = match meta.content {
            Content::Read {
                starts,
                keyframe,
                height,
            } => (starts, keyframe, height),
            _ => (true, false, None),
        };
        match &mut self.frame {
            Some(frame) if frame.timestamp == meta.timestamp => {
                frame.keyframe |= keyframe;
                frame.height = frame.height.or(height);
                frame.at = frame.at.max(meta.at);
            }
            frame => {
                // The one before has no end.
                self.chain &= frame.is_none();
                *frame = Some(Frame {
                    timestamp: meta.timestamp,
                    keyframe,
                    broken: !starts,
                    height,
                    at: meta.at,
                });
            }
        }
        if meta.marker
            && let Some(frame) = self.frame.take()
        {
            self.end(frame);
        }
    }

    fn end(&mut self, frame: Frame) {
        self.chain = !frame.broken && (frame.keyframe || self.chain);
        if !self.chain {
            return;
        }
        let seen = &mut self.seen;
        seen.decodable_frames += 1;
        seen.first_decodable.get_or_insert(frame.at);
        let at = self
            .last_decodable
            .map_or(frame.at, |last| last.max(frame.at));
        if let Some(last) = self.last_decodable.replace(at) {
            let pause = at - last;
            if pause > FREEZE {
                seen.freezes += 1;
                seen.frozen += pause;
                seen.longest_freeze = seen.longest_freeze.max(pause);
            }
        }
        seen.keyframes += u64::from(frame.keyframe);
        if let Some(height) = frame.height
            && let Some((before, since)) = self.height.replace((height, at))
        {
            self.stay(before, at.saturating_duration_since(since));
        }
    }

    fn stay(&mut self, height: u16, time: Duration) {
        let known = self.seen.residency.iter_mut().find(|(h, _)| *h == height);
        match known {
            Some((_, total)) => *total += time,
            None => self.seen.residency.push((height, time)),
        }
    }
}

#[cfg(test)]
mod tests;
