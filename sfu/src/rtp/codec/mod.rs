//! The facts that the relay reads of each payload format.

pub mod av1;
pub mod dd;
mod frame;
pub mod h264;
pub mod red;
pub mod vp8;
pub mod vp9;

pub use frame::{FrameInfo, Targets};

/// A codec the relay forwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// Redundant audio (RFC 2198), in WebRTC always around Opus.
    Red,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// AV1 (AOM's RTP payload specification).
    Av1,
}

impl Codec {
    /// The encoding name of `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Red => "red",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }

    /// The codec of an encoding name, case-insensitively (RFC 4855 section 3).
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Opus,
            Self::Red,
            Self::Vp8,
            Self::Vp9,
            Self::H264,
            Self::Av1,
        ]
        .into_iter()
        .find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Whether it carries sound.
    pub const fn is_audio(self) -> bool {
        matches!(self, Self::Opus | Self::Red)
    }

    /// Ticks of the RTP timestamp a second.
    pub const fn clock_rate(self) -> u32 {
        if self.is_audio() { 48_000 } else { 90_000 }
    }
}

/// Whether a packet's payload begins a frame that decodes without any other. Always false for
/// audio, where every packet does and the answer is not needed.
pub fn is_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus | Codec::Red => false,
        Codec::Vp8 => vp8::is_keyframe(payload),
        Codec::Vp9 => vp9::is_keyframe(payload),
        Codec::H264 => h264::is_keyframe(payload),
        Codec::Av1 => av1::is_keyframe(payload),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Codec; 6] = [
        Codec::Opus,
        Codec::Red,
        Codec::Vp8,
        Codec::Vp9,
        Codec::H264,
        Codec::Av1,
    ];

    #[test]
    fn names_are_case_insensitive() {
        for codec in ALL {
            assert_eq!(Codec::from_name(&codec.name().to_lowercase()), Some(codec));
            assert_eq!(Codec::from_name(&codec.name().to_uppercase()), Some(codec));
        }
        assert_eq!(Codec::from_name("H265"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn random_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..48)) {
            for codec in ALL {
                let keyframe = is_keyframe(codec, &payload);
                prop_assert!(!(keyframe && codec.is_audio()));
            }
            let _ = dd::DependencyDescriptor::parse(&payload);
            if let Ok(structure) = dd::Structure::parse(&payload) {
                let _ = structure.frame(&payload);
                let _ = dd::restrict(&payload, 0, 0);
            }
        }
    }
}
