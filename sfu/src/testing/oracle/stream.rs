//! The rules for packets in order, of any codec.

use std::time::{Duration, Instant};

use super::layered::Layered;
use super::order::Packet;
use super::vp8::Vp8;
use super::{OracleReport, Violation};
use crate::rtp::codec::{Codec, is_keyframe, vp9};
use crate::rtp::sequence::newer_timestamp;

#[derive(Debug)]
pub(super) struct Stream {
    codec: Codec,
    vp8: Vp8,
    layered: Layered,
    last: Option<Last>,
    frame: Option<Frame>,
    /// Lost since the last packet with a payload: padding packets carry this on.
    lost: u64,
    start: Start,
    /// Every frame since a keyframe was decodable.
    chain: bool,
    /// A whole frame may be missing ahead of the one in progress.
    skipped: bool,
}

/// The beginning of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// No whole frame has come yet, and nothing has been lost.
    Unknown,
    /// The start was right, its fault was reported, or it may be the network's fault.
    Judged,
}

/// The last packet with a payload.
#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u32,
    marker: bool,
    at: Instant,
}

/// The frame in progress.
#[derive(Debug)]
struct Frame {
    keyframe: bool,
    /// A part of it is missing.
    broken: bool,
}

const MAX_DRIFT: Duration = Duration::from_secs(10);

impl Stream {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            vp8: Vp8::default(),
            layered: Layered::new(codec),
            last: None,
            frame: None,
            lost: 0,
            start: Start::Unknown,
            chain: false,
            skipped: false,
        }
    }

    pub(super) fn tolerate_lost_start(&mut self) {
        self.start = Start::Judged;
    }

    /// Starts anew after a jump: later packets are not compared with earlier ones.
    pub(super) fn restart(&mut self, report: &mut OracleReport) {
        self.finish(report);
        *self = Self {
            start: Start::Judged,
            ..Self::new(self.codec)
        };
    }

    pub(super) fn push(&mut self, packet: &Packet, lost: u64, report: &mut OracleReport) {
        self.lost += lost;
        if packet.payload.is_empty() {
            // The packet replaces one of a left-out frame that came late.
            self.lost += u64::from(!self.codec.is_audio());
            return;
        }
        let lost = std::mem::take(&mut self.lost);
        // A packet that was waited for is there when the ones behind it can be used.
        let at = self.last.map_or(packet.at, |last| last.at.max(packet.at));
        if let Some(last) = self.last {
            self.check_time(packet, at, last, report);
        }
        if self.codec.is_audio() {
            report.frames += 1;
            report.decodable(at);
        } else {
            self.video(packet, lost, at, report);
        }
        self.last = Some(Last {
            timestamp: packet.timestamp,
            marker: packet.marker,
            at,
        });
    }

    pub(super) fn finish(&mut self, report: &mut OracleReport) {
        if self.frame.take().is_some() {
            report.frames += 1;
        }
    }

    fn check_time(&self, packet: &Packet, at: Instant, last: Last, report: &mut OracleReport) {
        let (from, to, sequence) = (last.timestamp, packet.timestamp, packet.sequence);
        if to == from && !self.codec.is_audio() {
            return;
        }
        if !newer_timestamp(to, from) {
            report.violate(Violation::TimestampBackwards { sequence, from, to });
            return;
        }
        let ticks = i64::from(to.wrapping_sub(from));
        let media_ms = ticks * 1_000 / i64::from(self.codec.clock_rate());
        let ahead_ms = media_ms - at.duration_since(last.at).as_millis() as i64;
        if ahead_ms.unsigned_abs() > MAX_DRIFT.as_millis() as u64 {
            report.violate(Violation::TimestampJump {
                sequence,
                from,
                to,
                ahead_ms,
            });
        }
    }

    fn video(&mut self, packet: &Packet, lost: u64, at: Instant, report: &mut OracleReport) {
        let (sequence, timestamp) = (packet.sequence, packet.timestamp);
        let starts = starts_frame(self.codec, &packet.payload);
        let torn = Violation::TornFrame {
            sequence,
            timestamp,
        };
        let misplaced = Violation::MarkerMisplaced {
            sequence,
            timestamp,
        };
        match self.last {
            Some(last) if last.timestamp == timestamp => {
                if last.marker {
                    report.violate(misplaced);
                } else if self.codec == Codec::Vp8 && starts {
                    report.violate(torn);
                }
                if let Some(frame) = &mut self.frame {
                    frame.broken |= lost > 0;
                }
            }
            last => {
                if let Some(last) = last
                    && lost == 0
                {
                    if !last.marker {
                        report.violate(misplaced);
                    }
                    if !starts {
                        report.violate(torn);
                    }
                }
                if last.is_none() && !starts && self.start == Start::Unknown {
                    report.violate(Violation::StartsInsideFrame { sequence });
                    self.start = Start::Judged;
                }
                self.end_frame(sequence, at, false, report);
                self.skipped = lost > 0;
                self.frame = Some(Frame {
                    keyframe: false,
                    broken: !starts,
                });
            }
        }
        if lost > 0 {
            self.start = Start::Judged;
        }
        if self.codec == Codec::Vp8 {
            let first = self.last.is_none_or(|last| last.timestamp != timestamp);
            let follows = self.vp8.packet(packet, first, lost, report);
            self.skipped &= !follows;
        } else {
            let first = self.last.is_none_or(|last| last.timestamp != timestamp);
            self.layered.packet(packet, first, lost, report);
        }
        let Some(frame) = &mut self.frame else { return };
        frame.keyframe |= is_keyframe(self.codec, &packet.payload);
        if packet.marker {
            self.end_frame(sequence, at, true, report);
        }
    }

    /// Judges the frame in progress; without `marker` its end is missing.
    fn end_frame(&mut self, sequence: u16, at: Instant, marker: bool, report: &mut OracleReport) {
        let Some(frame) = self.frame.take() else {
            return;
        };
        report.frames += 1;
        let complete = marker && !frame.broken;
        if complete && self.start == Start::Unknown {
            self.start = Start::Judged;
            if !frame.keyframe {
                report.violate(Violation::StartsWithoutKeyframe { sequence });
            }
        }
        let by_descriptor = complete && (frame.keyframe || (self.chain && !self.skipped));
        self.chain = by_descriptor;
        let intact = !self.skipped;
        let decodable = if self.codec == Codec::Vp8 {
            let by_mark = self
                .vp8
                .end_frame(sequence, complete, intact, frame.keyframe, report);
            by_mark.unwrap_or(by_descriptor)
        } else {
            let by_mark = self.layered.end_picture(sequence, complete, report);
            by_mark.unwrap_or(by_descriptor)
        };
        if decodable {
            report.decodable(at);
            report.dimensions = self.layered.dimensions().or(report.dimensions);
            if frame.keyframe {
                report.keyframes += 1;
                if self.codec == Codec::Vp8 {
                    report.dimensions = self.vp8.dimensions();
                }
            }
        }
    }
}

/// Whether a payload may be the first of a frame.
fn starts_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => super::vp8::starts_frame(payload),
        Codec::Vp9 => vp9::Descriptor::parse(payload).is_ok_and(|read| read.start_of_frame),
        // Anything but a later fragment of an FU-A (RFC 6184 section 5.8).
        Codec::H264 => {
            payload[0] & 0x1f != 28 || payload.get(1).is_some_and(|header| header & 0x80 != 0)
        }
        // Z: continues an OBU of the packet before.
        Codec::Av1 => payload[0] & 0x80 == 0,
        Codec::Opus | Codec::Red => true,
    }
}
