//! The dependency descriptor, a header extension that tells which frames a frame refers to, and which decode targets
//! need it (appendix A of AOM's RTP payload specification for AV1, version 1.0.0; any codec may carry it).
//!
//! Most packets only name a template of the [`Structure`] that came with the last keyframe, so that it has to be kept
//! for each stream.

use super::frame::{FrameInfo, Targets};
use crate::rtp::RtpError;

/// The fields that every descriptor has (appendix A.8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DependencyDescriptor {
    /// The first packet of a frame.
    pub start_of_frame: bool,
    /// The last packet of a frame.
    pub end_of_frame: bool,
    /// The structure's template that describes the frame, 0 to 63.
    pub template_id: u8,
    /// Counts frames over all layers, wrapping. References are differences of frame numbers, so these
    /// may be shifted, but not closed up where frames were left out.
    pub frame_number: u16,
    /// A template dependency structure is attached: the frame begins a coded video sequence.
    pub has_structure: bool,
}

/// Bits of the mandatory fields.
const MANDATORY: usize = 24;
/// Bits of the flags behind them.
const FLAGS: usize = 5;
/// Templates at most (appendix A.8.2).
const TEMPLATES: usize = 64;
/// Decode targets at most.
const DECODE_TARGETS: usize = 32;
/// Spatial layers that are told apart, and temporal layers of each.
const SIDE: u8 = 4;

impl DependencyDescriptor {
    /// Parses an element's value.
    pub fn parse(value: &[u8]) -> Result<Self, RtpError> {
        let [first, high, low] = *value.first_chunk::<3>().ok_or(RtpError::Payload)?;
        Ok(Self {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template_id: first & 0x3f,
            frame_number: u16::from_be_bytes([high, low]),
            has_structure: value.get(3).is_some_and(|extended| extended & 0x80 != 0),
        })
    }

    /// Puts another frame number into an element's value, in place.
    pub fn rewrite_frame_number(value: &mut [u8], frame_number: u16) {
        if let Some(field) = value.get_mut(1..3) {
            field.copy_from_slice(&frame_number.to_be_bytes());
        }
    }
}

/// The facts of a frame that names this template.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Template {
    spatial: u8,
    temporal: u8,
    needed: Targets,
    switches: Targets,
    /// Bit i: refers to the frame i + 1 frames before.
    references: u16,
}

/// A template dependency structure (appendix A.8.2).
#[derive(Clone, Debug)]
pub struct Structure {
    id_offset: u8,
    templates: [Template; TEMPLATES],
    count: usize,
    decode_targets: usize,
    /// Spatial and temporal layer of each decode target.
    layers: [(u8, u8); DECODE_TARGETS],
    /// Picture sizes by spatial layer, as width and height; zeros where not told.
    pub resolutions: [(u16, u16); SIDE as usize],
    /// Spatial layers, 1 to 4.
    pub spatial_layers: u8,
    /// The end of the structure in the value it was read from, in bits.
    end: usize,
}

/// A frame as its descriptor tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The decode targets that need the frame.
    pub info: FrameInfo,
    /// Frames that it refers to: bit i stands for the frame i + 1 before.
    pub references: u64,
    /// The frame refers to one further back than that.
    pub refers_far_back: bool,
}

impl Structure {
    /// The structure attached to a descriptor.
    pub fn parse(value: &[u8]) -> Result<Self, RtpError> {
        if !DependencyDescriptor::parse(value)?.has_structure {
            return Err(RtpError::Payload);
        }
        let mut bits = Bits::new(value, MANDATORY + FLAGS);
        let mut structure = Self {
            id_offset: bits.read(6)? as u8,
            templates: [Template::default(); TEMPLATES],
            count: 0,
            decode_targets: bits.read(5)? as usize + 1,
            layers: [(0, 0); DECODE_TARGETS],
            resolutions: [(0, 0); SIDE as usize],
            spatial_layers: 1,
            end: 0,
        };
        structure.read_layers(&mut bits)?;
        let mut indications = [0; TEMPLATES];
        for indications in indications.iter_mut().take(structure.count) {
            *indications = structure.read_indications(&mut bits)?;
        }
        structure.derive_layers(&indications);
        for (index, indications) in indications.into_iter().enumerate().take(structure.count) {
            let (needed, switches) = structure.targets(indications);
            let template = &mut structure.templates[index];
            (template.needed, template.switches) = (needed, switches);
        }
        for template in &mut structure.templates[..structure.count] {
            while bits.read(1)? == 1 {
                template.references |= 1 << bits.read(4)?;
            }
        }
        structure.skip_chains(&mut bits)?;
        if bits.read(1)? == 1 {
            let highest = structure.templates[..structure.count].iter();
            let highest = highest.map(|template| template.spatial).max().unwrap_or(0);
            for spatial in 0..=highest {
                let (width, height) = (bits.read(16)?, bits.read(16)?);
                if let Some(size) = structure.resolutions.get_mut(usize::from(spatial)) {
                    let size_of = |less_one: u32| (less_one + 1).min(u32::from(u16::MAX)) as u16;
                    *size = (size_of(width), size_of(height));
                }
            }
        }
        structure.end = bits.at;
        Ok(structure)
    }

    fn read_layers(&mut self, bits: &mut Bits<'_>) -> Result<(), RtpError> {
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            let template = self.templates.get_mut(self.count);
            let template = template.ok_or(RtpError::Payload)?;
            (template.spatial, template.temporal) = (spatial, temporal);
            self.count += 1;
            self.spatial_layers = (spatial + 1).min(SIDE);
            match bits.read(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Ok(()),
            }
        }
    }

    /// Two bits for each decode target, the first lowest.
    fn read_indications(&self, bits: &mut Bits<'_>) -> Result<u64, RtpError> {
        let mut indications = 0;
        for target in 0..self.decode_targets {
            indications |= u64::from(bits.read(2)?) << (2 * target);
        }
        Ok(indications)
    }

    /// A decode target is of the highest layers that it needs (appendix A.8.3).
    fn derive_layers(&mut self, indications: &[u64; TEMPLATES]) {
        for target in 0..self.decode_targets {
            let templates = self.templates[..self.count].iter().zip(indications);
            for (template, _) in templates.filter(|(_, of)| **of >> (2 * target) & 3 != 0) {
                let (spatial, temporal) = &mut self.layers[target];
                *spatial = template.spatial.max(*spatial);
                *temporal = template.temporal.max(*temporal);
            }
        }
    }

    /// The decode target of a place among the layers: the highest that is not above it.
    fn target_at(&self, spatial: u8, temporal: u8) -> Option<usize> {
        (0..self.decode_targets)
            .filter(|target| {
                let (s, t) = self.layers[*target];
                s <= spatial && t <= temporal
            })
            .max_by_key(|target| self.layers[*target])
    }

    /// The decode targets that need a frame, and those that decode from it on.
    fn targets(&self, indications: u64) -> (Targets, Targets) {
        let (mut needed, mut switches) = (Targets::NONE, Targets::NONE);
        for spatial in 0..SIDE {
            for temporal in 0..SIDE {
                let indication = self
                    .target_at(spatial, temporal)
                    .map_or(0, |target| indications >> (2 * target) & 3);
                let one = Targets::one(spatial, temporal);
                if indication != 0 {
                    needed = needed.with(one);
                }
                if indication == 2 {
                    switches = switches.with(one);
                }
            }
        }
        (needed, switches)
    }

    /// Skips the chains, which tell a receiver what it lost: a forwarder does not need them.
    fn skip_chains(&self, bits: &mut Bits<'_>) -> Result<(), RtpError> {
        let chains = bits.read_non_symmetric(self.decode_targets as u32 + 1)?;
        if chains == 0 {
            return Ok(());
        }
        for _ in 0..self.decode_targets {
            bits.read_non_symmetric(chains)?;
        }
        for _ in 0..self.count * chains as usize {
            bits.read(4)?;
        }
        Ok(())
    }

    /// The frame of a descriptor that names a template of this structure.
    pub fn frame(&self, value: &[u8]) -> Result<Frame, RtpError> {
        let head = DependencyDescriptor::parse(value)?;
        let index = usize::from(head.template_id.wrapping_sub(self.id_offset) & 0x3f);
        let template = self.templates[..self.count].get(index);
        let template = template.ok_or(RtpError::Payload)?;
        let mut bits = Bits::new(value, MANDATORY);
        let flags = if value.len() > 3 { bits.read(5)? } else { 0 };
        if head.has_structure {
            bits.at = self.end;
        }
        if flags & 0x08 != 0 {
            bits.read(self.decode_targets)?;
        }
        let (needed, switches) = if flags & 0x04 != 0 {
            self.targets(self.read_indications(&mut bits)?)
        } else {
            (template.needed, template.switches)
        };
        let (mut references, mut refers_far_back) = (u64::from(template.references), false);
        if flags & 0x02 != 0 {
            references = 0;
            loop {
                let size = bits.read(2)? as usize;
                if size == 0 {
                    break;
                }
                let before = bits.read(4 * size)?;
                match 1u64.checked_shl(before) {
                    Some(bit) => references |= bit,
                    None => refers_far_back = true,
                }
            }
        }
        Ok(Frame {
            info: FrameInfo {
                spatial: template.spatial.min(SIDE - 1),
                temporal: template.temporal.min(SIDE - 1),
                begins: head.start_of_frame,
                ends: head.end_of_frame,
                key: references == 0 && !refers_far_back,
                joins: false,
                needed,
                switches,
            },
            references,
            refers_far_back,
        })
    }

    /// The decode targets up to a spatial and a temporal layer, the first lowest.
    fn up_to(&self, spatial: u8, temporal: u8) -> u32 {
        let layers = self.layers[..self.decode_targets].iter().enumerate();
        layers
            .filter(|(_, (s, t))| *s <= spatial && *t <= temporal)
            .fold(0, |mask, (target, _)| mask | 1 << target)
    }
}

/// The longest value of an element.
pub const MAX_VALUE: usize = 255;

/// Rewrites a descriptor with a structure so that it lists the decode targets that go on: those up to a spatial and a
/// temporal layer (`active_decode_targets_bitmask`). Returns the new value and its length; none if there is no
/// structure, no change, or no room.
pub fn restrict(value: &[u8], spatial: u8, temporal: u8) -> Option<([u8; MAX_VALUE], usize)> {
    let structure = Structure::parse(value).ok()?;
    let count = structure.decode_targets;
    let all = u32::MAX >> (DECODE_TARGETS - count);
    let mut bits = Bits::new(value, MANDATORY);
    let flags = bits.read(FLAGS).ok()?;
    bits.at = structure.end;
    let before = if flags & 0x08 != 0 {
        bits.read(count).ok()?
    } else {
        all
    };
    let active = before & structure.up_to(spatial, temporal);
    if active == before {
        return None;
    }
    let mut out = [0; MAX_VALUE];
    let mut at = 0;
    let mut write = |value: u32, count: usize| {
        for bit in (0..count).rev() {
            let byte = out.get_mut(at / 8)?;
            *byte |= ((value >> bit & 1) as u8) << (7 - at % 8);
            at += 1;
        }
        Some(())
    };
    let mut copied = Bits::new(value, 0);
    write(copied.read(MANDATORY).ok()?, MANDATORY)?;
    copied.read(FLAGS).ok()?;
    write(flags | 0x08, FLAGS)?;
    while copied.at < structure.end {
        write(copied.read(1).ok()?, 1)?;
    }
    write(active, count)?;
    while let Ok(bit) = bits.read(1) {
        // A zero bit that does not fit any more can only be padding.
        if write(bit, 1).is_none() && bit != 0 {
            return None;
        }
    }
    Some((out, at.div_ceil(8)))
}

/// Reads bits, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Reads up to 32 bits.
    fn read(&mut self, count: usize) -> Result<u32, RtpError> {
        let mut value = 0;
        for at in self.at..self.at + count {
            let byte = self.bytes.get(at / 8).ok_or(RtpError::Payload)?;
            value = value << 1 | u32::from(byte >> (7 - at % 8) & 1);
        }
        self.at += count;
        Ok(value)
    }

    /// `ns(n)` of appendix A.8.1: a value below `n`.
    fn read_non_symmetric(&mut self, n: u32) -> Result<u32, RtpError> {
        let width = u32::BITS - n.leading_zeros();
        let short = (1 << width) - n;
        let value = self.read(width as usize - 1)?;
        if value < short {
            return Ok(value);
        }
        Ok((value << 1) - short + self.read(1)?)
    }
}

#[cfg(test)]
mod tests;
