//! The oracle of received RTP streams: it checks, for every tier of test, whether a decoder may be shown them.
//!
//! The oracle is given every packet that a viewer received of one SSRC. It puts them in order as a jitter buffer would.
//! Then it checks whether the stream could have come from one encoder, whatever the server did: forward, switch layers,
//! point the slot at another track. Packets lost by the network are counted and never held against the server. Anything
//! else that would stop, corrupt or reset a decoder is a [`Violation`].
//!
//! Frames of [`MediaSource`](super::MediaSource) say which frames they refer to. That makes "decodable" exact, and
//! finds faults that descriptors do not show: a layer switched without a keyframe, a missing reference, changed bytes.
//! Streams of real encoders are checked by their descriptors.

mod layered;
mod order;
mod stream;
mod violation;
mod vp8;

use std::time::{Duration, Instant};

pub use violation::Violation;

use self::order::{Arrival, Order, Packet};
use self::stream::Stream;
use crate::rtp::RtpHeader;
use crate::rtp::codec::Codec;
use crate::rtp::extension::{ExtensionKind, ExtensionMap};

/// The verdict.
#[derive(Clone, Debug, Default)]
pub struct OracleReport {
    /// Packets received, duplicates not counted.
    pub packets: u64,
    /// Packets that did not come, or too late for a jitter buffer.
    pub lost: u64,
    /// Packets received again.
    pub duplicates: u64,
    /// Packets received behind one of a higher sequence number; retransmissions are.
    pub reordered: u64,
    /// Video frames, or audio packets, with at least one packet received.
    pub frames: u64,
    /// Complete frames whose references were decodable as well.
    pub decodable_frames: u64,
    /// Decodable keyframes.
    pub keyframes: u64,
    /// The time at which the first decodable frame was complete.
    pub first_decodable: Option<Instant>,
    /// The time at which the last decodable frame was complete.
    pub last_decodable: Option<Instant>,
    /// The longest time from one decodable frame to the next.
    pub longest_freeze: Duration,
    /// Width and height of the last decodable keyframe, where the codec tells.
    pub dimensions: Option<(u16, u16)>,
    /// The first violations, at most [`OracleReport::MAX_VIOLATIONS`].
    pub violations: Vec<Violation>,
    /// The number of all violations.
    pub violation_count: u64,
}

impl OracleReport {
    /// Violations kept; the first is the one to look at, and one cause may break every packet.
    pub const MAX_VIOLATIONS: usize = 64;

    fn violate(&mut self, violation: Violation) {
        self.violation_count += 1;
        if self.violations.len() < Self::MAX_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    fn decodable(&mut self, at: Instant) {
        self.decodable_frames += 1;
        self.first_decodable.get_or_insert(at);
        if let Some(last) = self.last_decodable.replace(at) {
            let pause = at.saturating_duration_since(last);
            self.longest_freeze = self.longest_freeze.max(pause);
        }
    }
}

/// Checks one received SSRC.
#[derive(Debug)]
pub struct Oracle {
    report: OracleReport,
    identity: Option<(u32, u8)>,
    /// The id of the dependency descriptor.
    dependencies: Option<u8>,
    order: Order,
    stream: Stream,
}

impl Oracle {
    /// An oracle for a stream of this codec.
    pub fn new(codec: Codec) -> Self {
        Self {
            report: OracleReport::default(),
            identity: None,
            dependencies: None,
            order: Order::default(),
            stream: Stream::new(codec),
        }
    }

    /// Accepts a stream that begins without a keyframe: the network may have lost the very first packets, and nothing
    /// shows whether a keyframe was among them.
    pub fn tolerate_lost_start(mut self) -> Self {
        self.stream.tolerate_lost_start();
        self
    }

    /// Adds the viewer's header extensions, so that dependency descriptors are judged too.
    pub fn with_extensions(mut self, extensions: &ExtensionMap) -> Self {
        self.dependencies = extensions.id(ExtensionKind::DependencyDescriptor);
        self
    }

    /// A received packet, decrypted and, if it came as RTX, unwrapped to the original. In any order;
    /// `at` never falls.
    pub fn observe(&mut self, packet: &[u8], at: Instant) {
        let header = match RtpHeader::parse(packet) {
            Ok(header) => header,
            Err(error) => return self.report.violate(Violation::Malformed { error }),
        };
        let identity = (header.ssrc, header.payload_type);
        let (ssrc, payload_type) = *self.identity.get_or_insert(identity);
        if header.ssrc != ssrc {
            return self.report.violate(Violation::SsrcChange {
                from: ssrc,
                to: header.ssrc,
            });
        }
        if header.payload_type != payload_type {
            self.identity = Some(identity);
            self.report.violate(Violation::PayloadTypeChange {
                sequence: header.sequence,
                from: payload_type,
                to: header.payload_type,
            });
        }
        match self.order.arrival(header.sequence) {
            Arrival::Duplicate => {
                self.report.duplicates += 1;
                return;
            }
            Arrival::Late => {
                self.report.packets += 1;
                self.report.reordered += 1;
                return;
            }
            Arrival::Reordered => self.report.reordered += 1,
            Arrival::Newest => {}
            Arrival::Jump { from } => {
                self.report.violate(Violation::SequenceJump {
                    from,
                    to: header.sequence,
                });
                self.drain(at, true);
                self.order = Order::default();
                self.stream.restart(&mut self.report);
            }
        }
        self.report.packets += 1;
        self.order.insert(Packet {
            sequence: header.sequence,
            marker: header.marker,
            timestamp: header.timestamp,
            payload: header.payload(packet).to_vec(),
            dependencies: self
                .dependencies
                .and_then(|id| header.extension(packet, id))
                .map(<[u8]>::to_vec),
            at,
        });
        self.drain(at, false);
    }

    /// The verdict so far: packets still waiting for earlier ones are in `packets` only.
    pub fn report(&self) -> &OracleReport {
        &self.report
    }

    /// The verdict, of everything received. A last frame without its end is no violation.
    pub fn finish(mut self) -> OracleReport {
        if let Some(at) = self.order.last_arrival() {
            self.drain(at, true);
        }
        self.stream.finish(&mut self.report);
        self.report
    }

    fn drain(&mut self, now: Instant, all: bool) {
        while let Some((packet, lost)) = self.order.pop(now, all) {
            self.report.lost += lost;
            self.stream.push(&packet, lost, &mut self.report);
        }
    }
}

#[cfg(test)]
mod synthetic_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod violation_tests;
