//! The oracle of what a decoder may be shown: one checker of received RTP streams, for every tier of test.
//!
//! The oracle is told every packet a viewer received of one SSRC. It puts them in order as a jitter
//! buffer would and checks that what stands there could have come from one encoder, whatever the
//! server did in between: forwarded, switched layers, pointed the slot at another track. Packets
//! the network lost are counted and never held against the server; everything else that would stop,
//! corrupt or reset a decoder is a [`Violation`].
//!
//! Frames of [`MediaSource`](super::MediaSource) say what they refer to, which makes "decodable"
//! exact and finds what descriptors do not tell: a layer switched without a keyframe, a missing
//! reference, changed bytes. Real encoders' streams are held to their descriptors.

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
    /// Video frames, or audio packets, of which anything was received.
    pub frames: u64,
    /// Of these, the complete ones whose references were decodable as well.
    pub decodable_frames: u64,
    /// Of these, keyframes.
    pub keyframes: u64,
    /// The time at which the first decodable frame was complete.
    pub first_decodable: Option<Instant>,
    /// The time at which the last was.
    pub last_decodable: Option<Instant>,
    /// The longest time from one decodable frame to the next.
    pub longest_freeze: Duration,
    /// Width and height of the last decodable keyframe, where the codec tells.
    pub dimensions: Option<(u16, u16)>,
    /// The first violations, at most [`OracleReport::MAX_VIOLATIONS`].
    pub violations: Vec<Violation>,
    /// All of them.
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
    /// For a stream of this codec.
    pub fn new(codec: Codec) -> Self {
        Self {
            report: OracleReport::default(),
            identity: None,
            dependencies: None,
            order: Order::default(),
            stream: Stream::new(codec),
        }
    }

    /// For a network that may lose the very first packets: a stream that begins without a keyframe
    /// is not held against the server, for nothing tells whether there was one.
    pub fn tolerate_lost_start(mut self) -> Self {
        self.stream.tolerate_lost_start();
        self
    }

    /// With the viewer's header extensions: a dependency descriptor is judged as well.
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
