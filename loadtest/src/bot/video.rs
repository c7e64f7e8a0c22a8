//! Kinds of video a publisher can send, and their names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::media::clip::{VIDEO_180P, VIDEO_360P, VIDEO_720P, VideoClip};

/// The video a publisher sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Video {
    /// No video track.
    None,
    /// One VP8 encoding, 320x180.
    P180,
    /// One VP8 encoding, 1280x720.
    #[default]
    P720,
    /// Three VP8 encodings: 320x180 (rid q), 640x360 (h), 1280x720 (f).
    P720Simulcast,
    /// One H.264 encoding, 1280x720. Wire bots only.
    P720H264,
    /// Packets of one size that look like VP8, for measuring. Wire bots only.
    Trace {
        /// Packets of a frame, 1 to 100.
        packets_per_frame: u16,
        /// Frames a second, 1 to 1000.
        frames_per_second: u16,
        /// Bytes of an RTP packet, header included, 64 to 1200.
        packet_bytes: u16,
    },
}

/// Videos with a plain name.
const NAMED: [(&str, Video); 5] = [
    ("none", Video::None),
    ("180p", Video::P180),
    ("720p", Video::P720),
    ("720p-simulcast", Video::P720Simulcast),
    ("720p-h264", Video::P720H264),
];

impl Video {
    /// The names, for help texts.
    pub const NAMES: &str =
        "none, 180p, 720p, 720p-simulcast, 720p-h264, trace:PACKETSxFRAMESxBYTES";

    /// The number of encodings of one picture.
    pub fn layers_count(self) -> usize {
        match self {
            Self::None => 0,
            Self::P720Simulcast => 3,
            _ => 1,
        }
    }

    /// Whether only wire bots can publish it.
    pub fn wire_only(self) -> bool {
        matches!(self, Self::P720H264 | Self::Trace { .. })
    }

    /// The VP8 encodings, lowest first, with their RIDs.
    pub(crate) fn layers(self) -> Vec<(&'static str, Arc<VideoClip>)> {
        match self {
            Self::P180 => vec![("", VIDEO_180P.clone())],
            Self::P720 => vec![("", VIDEO_720P.clone())],
            Self::P720Simulcast => vec![
                ("q", VIDEO_180P.clone()),
                ("h", VIDEO_360P.clone()),
                ("f", VIDEO_720P.clone()),
            ],
            Self::None | Self::P720H264 | Self::Trace { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Video {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Trace {
            packets_per_frame,
            frames_per_second,
            packet_bytes,
        } = self
        {
            return write!(
                f,
                "trace:{packets_per_frame}x{frames_per_second}x{packet_bytes}"
            );
        }
        let name = NAMED.iter().find(|(_, named)| named == self);
        f.write_str(name.map_or("none", |(name, _)| name))
    }
}

impl FromStr for Video {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, video)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*video);
        }
        let unknown = || format!("`{text}` is none of {}", Self::NAMES);
        let numbers = text.strip_prefix("trace:").ok_or_else(unknown)?;
        let numbers: Option<Vec<u16>> = numbers.split('x').map(|word| word.parse().ok()).collect();
        let [packets_per_frame, frames_per_second, packet_bytes] = numbers.unwrap_or_default()[..]
        else {
            return Err(unknown());
        };
        let bounds = [
            (packets_per_frame, 1..=100, "packets a frame"),
            (frames_per_second, 1..=1000, "frames a second"),
            (packet_bytes, 64..=1200, "bytes a packet"),
        ];
        for (number, range, what) in bounds {
            if !range.contains(&number) {
                let (low, high) = (range.start(), range.end());
                return Err(format!("`{text}`: from {low} to {high} {what}"));
            }
        }
        Ok(Self::Trace {
            packets_per_frame,
            frames_per_second,
            packet_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "none",
            "180p",
            "720p",
            "720p-simulcast",
            "720p-h264",
            "trace:10x100x1200",
            "trace:1x1x64",
        ] {
            assert_eq!(text.parse::<Video>().unwrap().to_string(), text);
        }
        for (text, complaint) in [
            ("4k", "is none of"),
            ("trace", "is none of"),
            ("trace:1x2", "is none of"),
            ("trace:1x2x3x4", "is none of"),
            ("trace:axbxc", "is none of"),
            ("trace:0x100x1200", "packets a frame"),
            ("trace:10x2000x1200", "frames a second"),
            ("trace:10x100x1500", "bytes a packet"),
        ] {
            let error = text.parse::<Video>().unwrap_err();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
