//! Streams with layers inside, without the encoder, as encoders for VP9 (RFC 9628), AV1 (with the
//! dependency descriptor) and H.264 (RFC 6184) make them: frames that tell which frames they refer
//! to.

use rand::Rng;
use rand::rngs::StdRng;

use super::mark::Mark;
use super::vp8::MAX_PAYLOAD;
use crate::rtp::codec::Codec;

/// The coding of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scalability {
    /// VP9, AV1 or H.264.
    pub codec: Codec,
    /// 1 to 3 picture sizes within the stream, each twice the one below; 1 for H.264.
    pub spatial_layers: u8,
    /// 1 to 3.
    pub temporal_layers: u8,
    /// Upper picture sizes refer to lower ones in every picture (`L3T3`), not only in keyframes
    /// (`L3T3_KEY`).
    pub inter_layer: bool,
}

/// A payload with the dependency descriptor that goes with it.
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    pub(super) dependencies: Option<Vec<u8>>,
}

/// One stream's encoder and packetizer.
#[derive(Debug)]
pub(super) struct Layered {
    form: Scalability,
    source: u32,
    /// Size of the largest picture.
    size: (u16, u16),
    frame_bytes: u32,
    keyframe_wanted: bool,
    /// Pictures since the keyframe.
    since_keyframe: u32,
    frame: u32,
    picture_id: u16,
    tl0_pic_idx: u8,
    frame_number: u16,
    template_offset: u8,
    /// The latest frame of each temporal layer, by spatial layer.
    latest: [[u32; 3]; 3],
}

/// A frame about to be cut into packets.
struct Frame<'a> {
    spatial: u8,
    temporal: u8,
    /// The frame belongs to a key picture.
    key: bool,
    /// The frame refers to the spatial layer below.
    inter_layer: bool,
    bytes: &'a [u8],
}

/// Constrained Baseline at 640x360; only the presence of the set matters.
const SPS: [u8; 15] = [
    0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x17, 0xfc, 0xb0, 0x0f, 0x08, 0x84, 0x6a,
];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

impl Layered {
    pub(super) fn new(form: Scalability, size: (u16, u16), rng: &mut StdRng) -> Self {
        Self {
            form,
            source: rng.random(),
            size,
            frame_bytes: 0,
            keyframe_wanted: true,
            since_keyframe: 0,
            frame: 0,
            picture_id: rng.random::<u16>() & 0x7fff,
            tl0_pic_idx: rng.random(),
            frame_number: rng.random(),
            template_offset: rng.random_range(0..64),
            latest: [[0; 3]; 3],
        }
    }

    pub(super) fn set_bitrate(&mut self, bits_per_second: u64, frames_per_second: u32) {
        let bytes = bits_per_second / 8 / u64::from(frames_per_second.max(1));
        self.frame_bytes = bytes.min(1 << 20) as u32;
    }

    pub(super) fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// The packets of the next picture; the marker belongs on the last one.
    pub(super) fn encode(&mut self, rng: &mut StdRng) -> Vec<Payload> {
        let key = std::mem::take(&mut self.keyframe_wanted);
        if key {
            self.since_keyframe = 0;
        }
        let pattern: &[u8] = match self.form.temporal_layers {
            1 => &[0],
            2 => &[0, 1],
            _ => &[0, 2, 1, 2],
        };
        let temporal = pattern[self.since_keyframe as usize % pattern.len()];
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(u8::from(temporal == 0));
        let mut payloads = Vec::new();
        for spatial in 0..self.form.spatial_layers {
            let inter_layer = spatial > 0 && (key || self.form.inter_layer);
            let below = self.frame.wrapping_sub(1);
            let before = self.latest[usize::from(spatial)][..=usize::from(temporal)]
                .iter()
                .take(if temporal == 0 { 1 } else { temporal.into() })
                .max();
            let before = before.copied().filter(|_| !key);
            let references = match (before, inter_layer) {
                (Some(before), true) => [before, below],
                (Some(before), false) => [before, before],
                (None, true) => [below, below],
                (None, false) => [self.frame, self.frame],
            };
            let share = self.frame_bytes * (1 << spatial) / ((1 << self.form.spatial_layers) - 1);
            let mean = share * if key { 5 } else { 1 };
            let bytes = self.frame_bytes_of(key, spatial, references, mean, rng);
            let frame = Frame {
                spatial,
                temporal,
                key,
                inter_layer,
                bytes: &bytes,
            };
            self.packetize(&frame, &mut payloads);
            self.latest[usize::from(spatial)][usize::from(temporal)] = self.frame;
            self.frame = self.frame.wrapping_add(1);
            self.frame_number = self.frame_number.wrapping_add(1);
        }
        self.since_keyframe += 1;
        payloads
    }

    fn frame_bytes_of(
        &self,
        key: bool,
        spatial: u8,
        references: [u32; 2],
        mean: u32,
        rng: &mut StdRng,
    ) -> Vec<u8> {
        let first = match self.form.codec {
            Codec::H264 if key => 0x65,
            Codec::H264 => 0x41,
            Codec::Av1 => 0x30,
            _ => 0x82,
        };
        let len = (mean * rng.random_range(60..=140) / 100).max(1 + Mark::LEN as u32 + 1);
        let (width, height) = self.size_of(spatial);
        let mark = Mark {
            source: self.source,
            frame: self.frame,
            references,
            width,
            height,
            len,
        };
        let mut bytes = [&[first][..], &mark.to_bytes()].concat();
        let filler = len as usize - bytes.len();
        bytes.extend((0..filler).map(|offset| mark.filler(offset)));
        bytes
    }

    fn size_of(&self, spatial: u8) -> (u16, u16) {
        let halvings = self.form.spatial_layers - 1 - spatial;
        (self.size.0 >> halvings, self.size.1 >> halvings)
    }

    fn packetize(&self, frame: &Frame<'_>, payloads: &mut Vec<Payload>) {
        if self.form.codec == Codec::H264 && frame.key {
            let sets: [&[u8]; 2] = [&SPS, &PPS];
            let mut bytes = vec![0x78];
            for set in sets {
                bytes.extend_from_slice(&(set.len() as u16).to_be_bytes());
                bytes.extend_from_slice(set);
            }
            let dependencies = self.dependencies(frame, true, false);
            payloads.push(Payload {
                bytes,
                dependencies,
            });
        }
        // An FU-A's headers stand for the unit's.
        let fragments = self.form.codec == Codec::H264 && frame.bytes.len() > MAX_PAYLOAD - 60;
        let data = if fragments {
            &frame.bytes[1..]
        } else {
            frame.bytes
        };
        let count = data.len().div_ceil(MAX_PAYLOAD - 60).max(1);
        let size = data.len().div_ceil(count);
        for (index, part) in data.chunks(size).enumerate() {
            let (first, last) = (index == 0, index + 1 == count);
            let mut bytes = match self.form.codec {
                Codec::Vp9 => self.vp9_descriptor(frame, first, last),
                Codec::Av1 => {
                    let begins = frame.key && frame.spatial == 0 && first;
                    let flags = u8::from(!first) << 7 | u8::from(!last) << 6;
                    vec![flags | 0x10 | u8::from(begins) << 3]
                }
                _ if fragments => {
                    let unit = frame.bytes[0];
                    let flags = u8::from(first) << 7 | u8::from(last) << 6;
                    vec![unit & 0x60 | 28, flags | unit & 0x1f]
                }
                _ => Vec::new(),
            };
            bytes.extend_from_slice(part);
            let starts = first && !(self.form.codec == Codec::H264 && frame.key);
            let dependencies = self.dependencies(frame, starts, last);
            payloads.push(Payload {
                bytes,
                dependencies,
            });
        }
    }

    fn vp9_descriptor(&self, frame: &Frame<'_>, first: bool, last: bool) -> Vec<u8> {
        let top = frame.spatial + 1 == self.form.spatial_layers;
        let unneeded = top || !(frame.key || self.form.inter_layer);
        let structure = frame.key && frame.spatial == 0 && first;
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        let up = frame.temporal < 2;
        let mut bytes = vec![
            0xa0 | u8::from(!frame.key) << 6
                | u8::from(first) << 3
                | u8::from(last) << 2
                | u8::from(structure) << 1
                | u8::from(unneeded),
            high,
            low,
            frame.temporal << 5
                | u8::from(up) << 4
                | frame.spatial << 1
                | u8::from(frame.inter_layer),
            self.tl0_pic_idx,
        ];
        if structure {
            bytes.push((self.form.spatial_layers - 1) << 5 | 0x10);
            for spatial in 0..self.form.spatial_layers {
                let (width, height) = self.size_of(spatial);
                bytes.extend_from_slice(&width.to_be_bytes());
                bytes.extend_from_slice(&height.to_be_bytes());
            }
        }
        bytes
    }

    /// The dependency descriptor; none for VP9, where receivers rely on the payload descriptor.
    fn dependencies(&self, frame: &Frame<'_>, first: bool, last: bool) -> Option<Vec<u8>> {
        if self.form.codec == Codec::Vp9 {
            return None;
        }
        let of_spatial = 1 + usize::from(self.form.temporal_layers);
        let kind = match (frame.key, frame.temporal) {
            (true, _) => 0,
            (false, temporal) => 1 + usize::from(temporal),
        };
        let template = usize::from(frame.spatial) * of_spatial + kind;
        let mut bits = Writer::default();
        bits.write(u32::from(first), 1);
        bits.write(u32::from(last), 1);
        bits.write((template as u32 + u32::from(self.template_offset)) % 64, 6);
        bits.write(self.frame_number.into(), 16);
        if first && frame.key && frame.spatial == 0 {
            bits.write(0b10000, 5);
            self.write_structure(&mut bits);
        }
        Some(bits.bytes)
    }

    fn write_structure(&self, bits: &mut Writer) {
        let (spatial_layers, temporal_layers) =
            (self.form.spatial_layers, self.form.temporal_layers);
        bits.write(self.template_offset.into(), 6);
        bits.write(u32::from(spatial_layers * temporal_layers) - 1, 5);
        let mut templates = Vec::new();
        for spatial in 0..spatial_layers {
            templates.push((spatial, 0, true));
            templates.extend((0..temporal_layers).map(|temporal| (spatial, temporal, false)));
        }
        for pair in templates.windows(2) {
            let next = match (pair[0], pair[1]) {
                ((s, t, _), (other, u, _)) if (s, t) == (other, u) => 0,
                ((s, ..), (other, ..)) if s == other => 1,
                _ => 2,
            };
            bits.write(next, 2);
        }
        bits.write(3, 2);
        for (s, t, key) in &templates {
            for target in 0..spatial_layers {
                for rate in 0..temporal_layers {
                    bits.write(self.indication((*s, *t, *key), (target, rate)), 2);
                }
            }
        }
        let step = u32::from(spatial_layers);
        for (s, t, key) in &templates {
            let pictures = match (t, temporal_layers) {
                (0, 1) => 1,
                (0, 2) => 2,
                (0, _) => 4,
                (1, 3) => 2,
                _ => 1,
            };
            if !key {
                bits.write(1, 1);
                bits.write(pictures * step - 1, 4);
            }
            if *s > 0 && (*key || self.form.inter_layer) {
                bits.write(1, 1);
                bits.write(0, 4);
            }
            bits.write(0, 1);
        }
        // No chains: ns(n) of zero is one bit less than n has, or as many as that takes.
        let targets = u32::from(spatial_layers * temporal_layers) + 1;
        bits.write(0, (u32::BITS - targets.leading_zeros()) as usize - 1);
        bits.write(1, 1);
        for spatial in 0..spatial_layers {
            let (width, height) = self.size_of(spatial);
            bits.write(u32::from(width) - 1, 16);
            bits.write(u32::from(height) - 1, 16);
        }
    }

    /// 0: not present, 1: discardable, 2: switch, 3: required.
    fn indication(&self, (s, t, key): (u8, u8, bool), (target, rate): (u8, u8)) -> u32 {
        if target < s || rate < t {
            return 0;
        }
        match (key, target == s) {
            (true, _) => 2,
            (false, true) if rate == t && t > 0 => 1,
            (false, true) => 2,
            (false, false) if self.form.inter_layer => 3,
            (false, false) => 0,
        }
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    at: usize,
}

impl Writer {
    fn write(&mut self, value: u32, count: usize) {
        for bit in (0..count).rev() {
            if self.at.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let byte = self.at / 8;
            self.bytes[byte] |= ((value >> bit & 1) as u8) << (7 - self.at % 8);
            self.at += 1;
        }
    }
}
