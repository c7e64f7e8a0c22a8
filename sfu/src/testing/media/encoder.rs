//! A VP8 encoder's output without the encoder: frames of plausible sizes that tell which frames
//! they refer to.

use rand::Rng;
use rand::rngs::StdRng;

use super::mark::Mark;
use super::vp8::Vp8Layer;

/// One simulcast layer's encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    source: u32,
    width: u16,
    height: u16,
    temporal_layers: u8,
    /// Mean bytes of a frame.
    frame_bytes: u32,
    /// Number of the next frame.
    frame: u32,
    /// Frames since the keyframe.
    since_keyframe: u32,
    keyframe_wanted: bool,
    /// Size of a keyframe in frames, and whether the frames after it make up for it.
    keyframe_frames: u32,
    makes_up: bool,
    /// Bytes by which it has sent more than its rate.
    ahead: u32,
    /// The latest frame of each temporal layer since the keyframe.
    latest: [Option<u32>; 3],
}

pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) layer: Option<Vp8Layer>,
}

/// Every so many frames of an upper temporal layer one refers to layer 0 only, so that a viewer can
/// be switched up to it.
const SYNC_PERIOD: u32 = 8;

/// Size of a keyframe in frames, about that of libvpx for camera pictures.
const KEYFRAME_FRAMES: u32 = 5;
/// Share of a frame saved to make up for a keyframe, as a divisor: the rate is kept over a second
/// or two.
const MAKES_UP: u32 = 4;

impl Encoder {
    pub(super) fn new(source: u32, (width, height): (u16, u16), temporal_layers: u8) -> Self {
        Self {
            source,
            width,
            height,
            temporal_layers: temporal_layers.clamp(1, 3),
            frame_bytes: 0,
            frame: 0,
            since_keyframe: 0,
            keyframe_wanted: true,
            keyframe_frames: KEYFRAME_FRAMES,
            makes_up: false,
            ahead: 0,
            latest: [None; 3],
        }
    }

    pub(super) fn set_bitrate(&mut self, bits_per_second: u64, frames_per_second: u32) {
        let bytes = bits_per_second / 8 / u64::from(frames_per_second.max(1));
        self.frame_bytes = bytes.min(1 << 20) as u32;
    }

    pub(super) fn set_size(&mut self, (width, height): (u16, u16)) {
        (self.width, self.height) = (width, height);
        self.request_keyframe();
    }

    /// Keyframes are as large as so many frames, and the frames that follow make up for it.
    pub(super) fn set_keyframe_frames(&mut self, frames: u32) {
        (self.keyframe_frames, self.makes_up) = (frames, true);
    }

    pub(super) fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    pub(super) fn encode(&mut self, rng: &mut StdRng) -> Encoded {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        if keyframe {
            self.since_keyframe = 0;
            self.latest = [None; 3];
        }
        let layer = self.temporal_layer();
        let references = self.references(layer);
        let header: &[u8] = if keyframe {
            &self.key_header()
        } else {
            &[0x31, 0, 0]
        };

        let mean = self.mean(keyframe);
        let len = (mean * rng.random_range(60..=140) / 100) as usize;
        let len = len.max(header.len() + Mark::LEN + 1);
        let mark = Mark {
            source: self.source,
            frame: self.frame,
            references,
            width: self.width,
            height: self.height,
            len: len as u32,
        };
        let mut bytes = [header, &mark.to_bytes()].concat();
        let filler = len - bytes.len();
        bytes.extend((0..filler).map(|offset| mark.filler(offset)));

        self.latest[layer.tid as usize] = Some(self.frame);
        self.frame = self.frame.wrapping_add(1);
        self.since_keyframe += 1;
        Encoded {
            bytes,
            layer: (self.temporal_layers > 1).then_some(layer),
        }
    }

    /// Bytes of the next frame, on average.
    fn mean(&mut self, keyframe: bool) -> u32 {
        if keyframe {
            if self.makes_up {
                self.ahead += self.frame_bytes * (self.keyframe_frames - 1);
            }
            return self.frame_bytes * self.keyframe_frames;
        }
        let less = self.ahead.min(self.frame_bytes / MAKES_UP);
        self.ahead -= less;
        self.frame_bytes - less
    }

    /// The patterns of libwebrtc: 0, or 0 1, or 0 2 1 2.
    fn temporal_layer(&self) -> Vp8Layer {
        let pattern: &[u8] = match self.temporal_layers {
            1 => &[0],
            2 => &[0, 1],
            _ => &[0, 2, 1, 2],
        };
        let at = self.since_keyframe as usize % pattern.len();
        let cycle = self.since_keyframe / pattern.len() as u32;
        let tid = pattern[at];
        // The first of its layer in a cycle, not the second 2 of the last pattern.
        let first = pattern[..at].iter().all(|earlier| *earlier != tid);
        Vp8Layer {
            tid,
            sync: tid > 0 && first && cycle.is_multiple_of(SYNC_PERIOD),
        }
    }

    /// Layer 0 refers to layer 0, a sync frame as well, any other to the latest frame of the upper
    /// layers up to its own besides.
    fn references(&self, layer: Vp8Layer) -> [u32; 2] {
        let base = self.latest[0].unwrap_or(self.frame);
        let upper = self.latest[1..=layer.tid as usize].iter().flatten().max();
        let upper = upper.copied().filter(|_| !layer.sync);
        [base, upper.unwrap_or(base)]
    }

    /// RFC 6386 section 9.1.
    fn key_header(&self) -> [u8; 10] {
        let ([w0, w1], [h0, h1]) = (self.width.to_le_bytes(), self.height.to_le_bytes());
        [0x30, 0, 0, 0x9d, 0x01, 0x2a, w0, w1 & 0x3f, h0, h1 & 0x3f]
    }
}
