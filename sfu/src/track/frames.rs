//! Reads frames and layers of a stream from its packets, and measures the rate of each layer.

use std::time::{Duration, Instant};

use super::ladder::{SPATIAL, TEMPORAL};
use crate::packet::{Described, PassedOn, PayloadDescriptor};
use crate::rate::RateMeter;
use crate::rtp::codec::dd::{DependencyDescriptor, Structure};
use crate::rtp::codec::{Codec, FrameInfo, Targets, h264};
use crate::rtp::extension::ExtensionKind;

/// Silence after which a layer within a stream counts as left out by its encoder.
const SILENCE: Duration = Duration::from_millis(1_500);

/// Reads one stream. Keeps structures that later packets refer to.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    structure: Option<Box<Structure>>,
    /// Sequence number of the packet that carried the structure.
    structure_sequence: u64,
    /// Spatial layers according to VP9's scalability structure, or to the highest layer received.
    spatial_layers: u8,
    /// Picture heights by spatial layer, 0 where unknown.
    heights: [u16; SPATIAL],
    /// Rates by layer; none until the stream has shown that it has layers.
    layers: Option<Box<[[Lane; TEMPORAL]; SPATIAL]>>,
    /// Layers that packets arrived on lately: bit `spatial * TEMPORAL + temporal`.
    alive: u16,
    /// Layers whose rates have been known, by the same bits.
    metered: u16,
}

/// One layer within the stream.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// Frames that the spatial layers above need.
    shared: RateMeter,
    /// Frames that no other spatial layer needs.
    own: RateMeter,
    last: Option<Instant>,
}

/// A packet of the stream.
#[derive(Clone, Copy)]
pub(crate) struct StreamPacket<'a> {
    pub(crate) codec: Codec,
    /// Unwrapped sequence number.
    pub(crate) sequence: u64,
    pub(crate) datagram: &'a [u8],
    /// Without padding.
    pub(crate) payload: &'a [u8],
    pub(crate) passed_on: &'a PassedOn,
}

impl FrameReader {
    /// Reads a packet that has just arrived, and returns its facts.
    pub(crate) fn receive(&mut self, now: Instant, packet: StreamPacket<'_>) -> Described {
        let payload = PayloadDescriptor::parse(packet.codec, packet.payload);
        self.learn(&packet, &payload);
        let described = self.say(packet, payload);
        self.count(now, &described.frame, &packet);
        described
    }

    /// Records a packet that another worker has received and described.
    pub(crate) fn follow(&mut self, now: Instant, packet: StreamPacket<'_>, said: &Described) {
        self.learn(&packet, &said.payload);
        self.count(now, &said.frame, &packet);
    }

    /// Returns the facts of a packet received not long ago.
    pub(crate) fn describe(&self, packet: StreamPacket<'_>) -> Described {
        self.say(
            packet,
            PayloadDescriptor::parse(packet.codec, packet.payload),
        )
    }

    fn say(&self, packet: StreamPacket<'_>, payload: PayloadDescriptor) -> Described {
        let value = packet
            .passed_on
            .value(packet.datagram, ExtensionKind::DependencyDescriptor);
        let dependencies = value.and_then(|value| DependencyDescriptor::parse(value).ok());
        let by_structure = || self.structure.as_ref()?.frame(value?).ok();
        let frame = match payload {
            PayloadDescriptor::Vp8(read) => read.info(),
            PayloadDescriptor::Vp9(read) => read.info(self.spatial_layers),
            PayloadDescriptor::None => match by_structure() {
                Some(frame) => frame.info,
                None => {
                    return Described {
                        dependencies,
                        ..Described::plain(packet.codec, packet.payload)
                    };
                }
            },
        };
        Described {
            frame,
            payload,
            dependencies,
        }
    }

    /// Spatial layers it has, at least 1.
    pub(crate) fn spatial_layers(&self) -> u8 {
        self.spatial_layers.max(1)
    }

    /// Picture height of a spatial layer; 0 while unknown.
    pub(crate) fn height(&self, spatial: u8) -> u16 {
        self.heights.get(usize::from(spatial)).map_or(0, |h| *h)
    }

    /// Records the heights that another worker reports.
    pub(crate) fn set_heights(&mut self, heights: [u16; SPATIAL]) {
        for (ours, theirs) in self.heights.iter_mut().zip(heights) {
            *ours = if theirs > 0 { theirs } else { *ours };
        }
    }

    /// Picture heights by spatial layer.
    pub(crate) fn heights(&self) -> [u16; SPATIAL] {
        self.heights
    }

    /// Whether it has more than one layer.
    pub(crate) fn has_layers(&self) -> bool {
        self.layers.is_some()
    }

    /// Layers that packets arrive on, as of the last [`update`](Self::update).
    pub(crate) fn alive(&self) -> u16 {
        self.alive
    }

    /// Records the live layers that another worker reports; true if they changed.
    pub(crate) fn set_alive(&mut self, alive: u16) -> bool {
        std::mem::replace(&mut self.alive, alive) != alive
    }

    /// Checks again which layers are alive. True if that changed, or if a layer's rate is known for the first time:
    /// only then can it be chosen.
    pub(crate) fn update(&mut self, now: Instant) -> bool {
        let alive = self.lanes().fold(0, |alive, (bit, lane)| {
            let lives = lane.last.is_some_and(|at| now < at + SILENCE);
            alive | u16::from(lives) << bit
        });
        self.set_alive(alive) | self.meters_tell(now)
    }

    fn meters_tell(&mut self, now: Instant) -> bool {
        let unknown = self.alive & !self.metered;
        if unknown == 0 {
            return false;
        }
        let rate = |lane: &Lane| lane.own.bitrate(now) + lane.shared.bitrate(now);
        let known = self
            .lanes()
            .filter(|(bit, lane)| unknown >> bit & 1 != 0 && rate(lane) > 0)
            .fold(0, |known, (bit, _)| known | 1 << bit);
        self.metered |= known;
        known != 0
    }

    /// The time at which [`update`](Self::update) may find a layer dead.
    pub(crate) fn dies_at(&self) -> Option<Instant> {
        let alive = self
            .lanes()
            .filter(|(bit, _)| self.alive >> bit & 1 != 0)
            .filter_map(|(_, lane)| lane.last);
        alive.min().map(|last| last + SILENCE)
    }

    /// Whether a layer is alive.
    pub(crate) fn is_alive(&self, spatial: u8, temporal: u8) -> bool {
        self.alive >> (usize::from(spatial) * TEMPORAL + usize::from(temporal)) & 1 != 0
    }

    /// Bits a second needed to show each layer, by spatial and temporal layer; none where nothing ever came.
    pub(crate) fn rates(&self, now: Instant) -> [[Option<u64>; TEMPORAL]; SPATIAL] {
        let mut rates = [[None; TEMPORAL]; SPATIAL];
        let Some(layers) = &self.layers else {
            return rates;
        };
        let mut below = [0; TEMPORAL];
        for (row, lanes) in rates.iter_mut().zip(layers.iter()) {
            let (mut sum, mut shared) = (0, 0);
            for ((rate, lane), below) in row.iter_mut().zip(lanes).zip(&mut below) {
                if lane.last.is_some() {
                    shared += lane.shared.bitrate(now);
                    sum += lane.own.bitrate(now);
                    *rate = Some(sum + shared + *below);
                }
                *below += shared;
            }
        }
        rates
    }

    fn lanes(&self) -> impl Iterator<Item = (usize, &Lane)> {
        let layers = self.layers.iter().flat_map(|layers| layers.iter());
        layers.flatten().enumerate()
    }

    fn learn(&mut self, packet: &StreamPacket<'_>, payload: &PayloadDescriptor) {
        match payload {
            PayloadDescriptor::Vp8(read) => {
                if let Some((_, height)) = read.dimensions {
                    self.heights[0] = height;
                }
            }
            PayloadDescriptor::Vp9(read) => {
                self.spatial_layers = self.spatial_layers.max(read.sid.unwrap_or(0) + 1);
                if let Some(structure) = read.structure {
                    self.spatial_layers = structure.spatial_layers;
                    self.set_heights(structure.resolutions.map(|(_, height)| height));
                }
            }
            PayloadDescriptor::None if packet.codec == Codec::H264 => {
                if let Some(height) = h264::height(packet.payload) {
                    self.heights[0] = height;
                }
            }
            PayloadDescriptor::None => {}
        }
        let value = packet
            .passed_on
            .value(packet.datagram, ExtensionKind::DependencyDescriptor);
        // A structure that comes late is not the newest.
        if let Some(value) = value
            && value.get(3).is_some_and(|flags| flags & 0x80 != 0)
            && packet.sequence >= self.structure_sequence
            && let Ok(structure) = Structure::parse(value)
        {
            self.structure_sequence = packet.sequence;
            if !matches!(packet.codec, Codec::Vp8 | Codec::Vp9) {
                self.spatial_layers = structure.spatial_layers;
                self.set_heights(structure.resolutions.map(|(_, height)| height));
            }
            match &mut self.structure {
                Some(kept) => **kept = structure,
                kept => *kept = Some(Box::new(structure)),
            }
        }
    }

    fn count(&mut self, now: Instant, frame: &FrameInfo, packet: &StreamPacket<'_>) {
        if packet.payload.is_empty() {
            return;
        }
        let bytes = packet.datagram.len();
        let (spatial, temporal) = (frame.spatial.min(3), frame.temporal.min(3));
        if self.layers.is_none() {
            if (spatial, temporal) == (0, 0) {
                return;
            }
            self.layers = Some(Box::default());
        }
        let Some(layers) = &mut self.layers else {
            return;
        };
        let lane = &mut layers[usize::from(spatial)][usize::from(temporal)];
        lane.last = Some(now);
        let above = Targets::from(spatial + 1, 0);
        let shared = spatial + 1 < SPATIAL as u8 && !frame.needed.and(above).is_empty();
        if shared {
            lane.shared.add(now, bytes);
        } else {
            lane.own.add(now, bytes);
        }
    }
}

#[cfg(test)]
mod tests;
