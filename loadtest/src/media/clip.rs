//! The clips, and endless loops over them. `media/make.sh` regenerates the files.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use rtc::media::io::ivf_reader::IVFReader;

use super::{MediaError, h264, ogg};

/// 320x180, about 120 kbit/s.
pub static VIDEO_180P: LazyLock<Arc<VideoClip>> =
    LazyLock::new(|| built_in(include_bytes!("../../media/180p.ivf")));
/// 640x360, about 400 kbit/s.
pub static VIDEO_360P: LazyLock<Arc<VideoClip>> =
    LazyLock::new(|| built_in(include_bytes!("../../media/360p.ivf")));
/// 1280x720, about 1.2 Mbit/s.
pub static VIDEO_720P: LazyLock<Arc<VideoClip>> =
    LazyLock::new(|| built_in(include_bytes!("../../media/720p.ivf")));
/// 1280x720 in H.264, about 1.2 Mbit/s.
pub static VIDEO_720P_H264: LazyLock<Arc<VideoClip>> = LazyLock::new(|| {
    let file = include_bytes!("../../media/720p.h264");
    let clip = h264::parse(file, (1280, 720), Duration::from_secs(1) / 30);
    Arc::new(clip.expect("the clip is part of this program and tested"))
});
/// Packets of Opus, each of [`AUDIO_PACKET`], about 32 kbit/s.
pub static AUDIO: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let clip = ogg::parse(include_bytes!("../../media/tones.ogg"));
    clip.expect("the clip is part of this program and tested")
});
/// The duration of one packet of [`AUDIO`].
pub const AUDIO_PACKET: Duration = Duration::from_millis(20);

fn built_in(file: &[u8]) -> Arc<VideoClip> {
    Arc::new(VideoClip::from_ivf(file).expect("the clip is part of this program and tested"))
}

/// A clip that starts with a keyframe.
#[derive(Clone, Debug)]
pub struct VideoClip {
    pub width: u16,
    pub height: u16,
    pub frame_duration: Duration,
    pub frames: Vec<Frame>,
}

/// One encoded picture.
#[derive(Clone, Debug)]
pub struct Frame {
    pub data: Bytes,
    pub keyframe: bool,
}

impl VideoClip {
    /// Reads an IVF file.
    ///
    /// # Errors
    ///
    /// The file is not VP8 in IVF, or has no keyframe at the start.
    pub fn from_ivf(file: &[u8]) -> Result<Self, MediaError> {
        const CUT: MediaError = MediaError::Container("IVF");
        let (mut reader, header) = IVFReader::new(file).map_err(|_| CUT)?;
        if header.four_cc != *b"VP80" {
            return Err(MediaError::Codec {
                container: "IVF",
                expected: "VP8",
            });
        }
        let frames = std::iter::from_fn(|| reader.parse_next_frame().ok());
        let frames: Vec<_> = frames
            .map(|(data, _)| Frame {
                // RFC 6386 section 9.1: the lowest bit of a frame is 0 in a keyframe.
                keyframe: data.first().is_some_and(|byte| byte & 1 == 0),
                data: data.freeze(),
            })
            .collect();
        if header.timebase_denominator == 0 || frames.len() != header.num_frames as usize {
            return Err(CUT);
        }
        if !frames.first().is_some_and(|frame| frame.keyframe) {
            return Err(MediaError::NoKeyframe);
        }
        Ok(Self {
            width: header.width,
            height: header.height,
            frame_duration: Duration::from_secs(1) * header.timebase_numerator
                / header.timebase_denominator,
            frames,
        })
    }
}

/// An endless walk over a [`VideoClip`].
///
/// The first frame is a keyframe, so that a restart needs no care: no later frame refers to an
/// earlier one. A keyframe request is answered in the same way, by a jump forward to the clip's
/// next keyframe (at the end: to the first). The picture jumps; decoders accept that.
#[derive(Clone, Debug)]
pub struct VideoLoop {
    clip: Arc<VideoClip>,
    next: usize,
}

impl VideoLoop {
    /// Starts at the first frame.
    pub fn new(clip: Arc<VideoClip>) -> Self {
        Self { clip, next: 0 }
    }

    /// The clip being looped.
    pub fn clip(&self) -> &VideoClip {
        &self.clip
    }

    /// The next frame, forever.
    pub fn next_frame(&mut self) -> Frame {
        let frame = self.clip.frames[self.next].clone();
        self.next = (self.next + 1) % self.clip.frames.len();
        frame
    }

    /// Makes the next frame a keyframe.
    pub fn jump_to_keyframe(&mut self) {
        let ahead = self.clip.frames[self.next..]
            .iter()
            .position(|frame| frame.keyframe);
        self.next = ahead.map_or(0, |ahead| self.next + ahead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clips_are_what_they_claim() {
        for (clip, size, kbit) in [
            (&VIDEO_180P, (320, 180), 120.0),
            (&VIDEO_360P, (640, 360), 400.0),
            (&VIDEO_720P, (1280, 720), 1200.0),
        ] {
            assert_eq!((clip.width, clip.height), size);
            assert_eq!(clip.frames.len(), 120);
            assert_eq!(clip.frame_duration, Duration::from_secs(1) / 30);
            let keyframes: Vec<_> = (0..120).filter(|&i| clip.frames[i].keyframe).collect();
            assert_eq!(keyframes, [0, 60], "one keyframe every two seconds");
            let bytes: usize = clip.frames.iter().map(|frame| frame.data.len()).sum();
            let rate = bytes as f64 * 8.0 / 4.0 / 1000.0;
            assert!((rate / kbit - 1.0).abs() < 0.15, "{rate} kbit/s");
            // RFC 6386 section 9.1: start code, then 14 bits each of width and height.
            let head = &clip.frames[0].data;
            assert_eq!(head[3..6], [0x9d, 0x01, 0x2a]);
            let coded = (
                u16::from_le_bytes([head[6], head[7]]) & 0x3fff,
                u16::from_le_bytes([head[8], head[9]]) & 0x3fff,
            );
            assert_eq!(coded, size);
        }
        assert!((199..=202).contains(&AUDIO.len()));
        assert!(AUDIO.iter().all(|packet| !packet.is_empty()));
    }

    #[test]
    fn a_loop_never_ends_and_jumps_only_to_keyframes() {
        let clip = |pattern: &str| {
            Arc::new(VideoClip {
                width: 1,
                height: 1,
                frame_duration: Duration::from_millis(33),
                frames: pattern
                    .bytes()
                    .map(|byte| Frame {
                        data: Bytes::copy_from_slice(&[byte]),
                        keyframe: byte.is_ascii_uppercase(),
                    })
                    .collect(),
            })
        };
        // (clip, frames shown before the request, all frames shown)
        for (pattern, before, shown) in [
            ("AbcDe", 0, "AbcDeAb"),
            ("AbcDe", 1, "ADeAbcD"),
            ("AbcDe", 3, "AbcDeAb"),
            ("AbcDe", 4, "AbcDAbc"),
            ("Abc", 1, "AAbcAbc"),
        ] {
            let mut frames = VideoLoop::new(clip(pattern));
            let mut seen = String::new();
            for index in 0..shown.len() {
                if index == before {
                    frames.jump_to_keyframe();
                }
                seen.push(char::from(frames.next_frame().data[0]));
            }
            assert_eq!(seen, shown, "{pattern} asked after {before}");
        }
    }
}
