//! Every packet sent to a viewer, with the publisher's packet it comes from. It finds faults that the oracle cannot:
//! for the oracle a number that never comes is a loss, not a packet left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::packet::Packet;
use crate::rtp::RtpHeader;
use crate::rtp::sequence::{Extender, newer_timestamp};
use crate::testing::media::Mark;

/// Distance behind the newest number within which numbers are checked: less than half of all 16-bit numbers.
const NUMBERS: u64 = 20_000;
/// Bytes of a payload within which a mark is looked for: it stands behind any descriptor.
const MARK_WITHIN: usize = 64;

/// The packets sent, and the faults found in them.
#[derive(Debug, Default)]
pub(super) struct Truth {
    extender: Extender,
    numbers: BTreeMap<u64, Sent>,
    /// Frames by layer, timestamp and spatial layer.
    frames: BTreeMap<(usize, u32, u8), Frame>,
    /// The layer being sent, and the packet it began with.
    span: Option<(usize, u64)>,
    wrong: Vec<Wrong>,
}

/// The packet that one of the viewer's numbers stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sent {
    layer: usize,
    sequence: u64,
    timestamp: u32,
    empty: bool,
}

/// The fate of a frame.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    mark: Option<Mark>,
    sent: bool,
    left_out: bool,
}

/// A packet that no viewer may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// One number stands for two packets.
    Reused(u64),
    /// A timestamp falls while the numbers rise.
    Backwards(u64),
    /// Some packets of a frame were sent, and others left out.
    Halved(usize, u32, u8),
    /// A frame was sent that refers to one that was left out.
    Dangling(usize, u32, u8),
}

impl Truth {
    /// Records that a layer begins to be sent.
    pub(super) fn begin(&mut self, packet: &Packet<'_>) {
        self.span = Some((packet.layer, packet.sequence));
    }

    /// Records that no packet is sent for a packet of the layer being sent.
    pub(super) fn left_out(&mut self, packet: &Packet<'_>) {
        let (layer, first) = self.span.unwrap_or_default();
        // No frame refers to those before the keyframe that the layer began with.
        if layer == packet.layer && packet.sequence >= first && !packet.payload().is_empty() {
            self.frame(packet).left_out = true;
        }
    }

    /// Records that a packet is sent, or sent again, as `bytes`.
    pub(super) fn sent(&mut self, packet: &Packet<'_>, bytes: &[u8]) {
        let header = RtpHeader::parse(bytes).unwrap();
        let number = self.extender.extend(header.sequence);
        let sent = Sent {
            layer: packet.layer,
            sequence: packet.sequence,
            timestamp: header.timestamp,
            empty: header.payload(bytes).is_empty(),
        };
        if self
            .numbers
            .insert(number, sent)
            .is_some_and(|before| before != sent)
        {
            self.wrong.push(Wrong::Reused(number));
        }
        let before = self.numbers.range(..number).next_back();
        let behind = self.numbers.range(number + 1..).next();
        if before.is_some_and(|(_, before)| newer_timestamp(before.timestamp, sent.timestamp))
            || behind.is_some_and(|(_, behind)| newer_timestamp(sent.timestamp, behind.timestamp))
        {
            self.wrong.push(Wrong::Backwards(number));
        }
        while self
            .numbers
            .first_key_value()
            .is_some_and(|(first, _)| first + NUMBERS < number)
        {
            self.numbers.pop_first();
        }
        match sent.empty {
            true => self.left_out(packet),
            false => self.frame(packet).sent = true,
        }
    }

    /// All faults found.
    pub(super) fn finish(mut self) -> Vec<Wrong> {
        let id = |frame: &Frame| frame.mark.map(|mark| (mark.source, mark.frame));
        let left_out: BTreeSet<_> = (self.frames.values())
            .filter(|frame| frame.left_out && !frame.sent)
            .filter_map(id)
            .collect();
        for (&(layer, timestamp, spatial), frame) in &self.frames {
            if !frame.sent {
                continue;
            }
            if frame.left_out {
                self.wrong.push(Wrong::Halved(layer, timestamp, spatial));
            }
            if let Some(mark) = frame.mark
                && (mark.references.iter()).any(|of| left_out.contains(&(mark.source, *of)))
            {
                self.wrong.push(Wrong::Dangling(layer, timestamp, spatial));
            }
        }
        self.wrong
    }

    fn frame(&mut self, packet: &Packet<'_>) -> &mut Frame {
        let spatial = packet.described.frame.spatial;
        let key = (packet.layer, packet.header.timestamp, spatial);
        let frame = self.frames.entry(key).or_default();
        let payload = packet.payload();
        let mut places = 0..MARK_WITHIN.min(payload.len());
        frame.mark = frame
            .mark
            .or_else(|| places.find_map(|at| Mark::parse(&payload[at..])));
        frame
    }
}
