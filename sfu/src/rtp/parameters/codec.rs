//! Codecs with the parameters that decide who can decode what, and which format can carry which published one.

use crate::rtp::codec::Codec;

/// One payload type of an m-line, with all of its attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CodecFormat {
    /// 0 to 127, without the 64 to 95 that RTCP needs (RFC 5761 section 4).
    pub(crate) payload_type: u8,
    /// The codec that it carries.
    pub(crate) codec: Codec,
    /// Its parameters by `a=fmtp`.
    pub(crate) parameters: CodecParameters,
    /// The payload type of its retransmissions (RFC 4588).
    pub(crate) rtx: Option<u8>,
    /// RTCP feedback of it.
    pub(crate) feedback: Feedback,
}

/// The parameters of a payload type by `a=fmtp`, as far as they decide who can decode what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CodecParameters {
    /// VP8 has none that matter.
    Vp8,
    /// RFC 7587 section 6.1.
    Opus {
        /// `stereo` or `sprop-stereo`.
        stereo: bool,
    },
    /// RFC 2198 section 5.
    Red {
        /// The payload type of the Opus inside.
        primary: u8,
    },
    /// RFC 9628 section 6.
    Vp9 {
        /// `profile-id`, 0 to 3.
        profile: u8,
    },
    /// RFC 6184 section 8.1.
    H264 {
        /// `profile-level-id`: profile_idc, profile-iop, level_idc.
        profile_level_id: [u8; 3],
        /// 0 (single NAL unit) or 1 (non-interleaved).
        packetization_mode: u8,
    },
    /// AV1 RTP payload specification, section 7.2.
    Av1 {
        /// `profile`, 0 to 2.
        profile: u8,
        /// `level-idx`, 0 to 31.
        level_idx: u8,
        /// `tier`, 0 or 1.
        tier: u8,
    },
}

/// RTCP feedback messages of a payload type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Feedback {
    /// Generic NACK (RFC 4585).
    pub(crate) nack: bool,
    /// Picture loss indication (RFC 4585).
    pub(crate) pli: bool,
    /// Full intra request (RFC 5104).
    pub(crate) fir: bool,
    /// Transport-wide congestion control.
    pub(crate) twcc: bool,
    /// Receiver estimated maximum bitrate.
    pub(crate) remb: bool,
}

impl CodecParameters {
    /// The rank of a format with these parameters for a stream made for `published`, both of one codec: 0 is
    /// exactly, more is worse, `None` is not at all.
    pub(crate) fn carries(&self, published: &Self) -> Option<u8> {
        match (*self, *published) {
            (
                Self::H264 {
                    profile_level_id: ours,
                    packetization_mode: our_mode,
                },
                Self::H264 {
                    profile_level_id: theirs,
                    packetization_mode: their_mode,
                },
            ) => {
                // Mode 1 receivers take single NAL units; mode 0 receivers take nothing else
                // (RFC 6184 section 6.2).
                let modes = our_mode.checked_sub(their_mode)?;
                Some(H264Profile::of(ours).carries(H264Profile::of(theirs))? * 2 + modes)
            }
            (Self::Vp9 { profile: ours }, Self::Vp9 { profile: theirs }) => {
                (ours == theirs).then_some(0)
            }
            // Each AV1 profile decodes the lower ones (AV1 specification, annex A.2).
            (
                Self::Av1 { profile: ours, .. },
                Self::Av1 {
                    profile: theirs, ..
                },
            ) => ours.checked_sub(theirs),
            (ours, theirs) => {
                (std::mem::discriminant(&ours) == std::mem::discriminant(&theirs)).then_some(0)
            }
        }
    }
}

/// Profiles as profile_idc and profile-iop name them (RFC 6184 section 8.1, table 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    Other(u8, u8),
}

impl H264Profile {
    fn of([idc, iop, _]: [u8; 3]) -> Self {
        match (idc, iop) {
            (0x42, _) if iop & 0x4f == 0x40 => Self::ConstrainedBaseline,
            (0x4d, _) if iop & 0x8f == 0x80 => Self::ConstrainedBaseline,
            (0x58, _) if iop & 0xcf == 0xc0 => Self::ConstrainedBaseline,
            (0x42, _) if iop & 0x4f == 0x00 => Self::Baseline,
            (0x58, _) if iop & 0xcf == 0x80 => Self::Baseline,
            (0x4d, _) if iop & 0xaf == 0x00 => Self::Main,
            (0x64, 0x0c) => Self::ConstrainedHigh,
            (0x64, 0x00) => Self::High,
            _ => Self::Other(idc, iop),
        }
    }

    /// The rank of a decoder of this profile for a stream of `published`.
    fn carries(self, published: Self) -> Option<u8> {
        use H264Profile::*;
        match (self, published) {
            (ours, theirs) if ours == theirs => Some(0),
            (Baseline | Main | ConstrainedHigh | High, ConstrainedBaseline) => Some(1),
            (High, Main | ConstrainedHigh) => Some(1),
            // Encoders that say Baseline do not use what Constrained Baseline takes away (FMO, ASO),
            // and some browsers offer the constrained one alone.
            (ConstrainedBaseline, Baseline) => Some(2),
            (Main | ConstrainedHigh | High, Baseline) => Some(3),
            _ => None,
        }
    }
}

/// H264 of a `profile-level-id` as SDP writes it, for tests.
#[cfg(test)]
pub(crate) fn h264(profile: u32, packetization_mode: u8) -> CodecParameters {
    let [_, profile_level_id @ ..] = profile.to_be_bytes();
    CodecParameters::H264 {
        profile_level_id,
        packetization_mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_carries_what_its_decoder_takes() {
        // (receiver's format, published stream, rank)
        for (ours, theirs, expected) in [
            (h264(0x42e01f, 1), h264(0x42e034, 1), Some(0)),
            (h264(0x42e01f, 1), h264(0x42e01f, 0), Some(1)),
            (h264(0x42e01f, 0), h264(0x42e01f, 1), None),
            (h264(0x42001f, 1), h264(0x42e01f, 1), Some(2)),
            (h264(0x42e01f, 1), h264(0x42001f, 1), Some(4)),
            (h264(0x64001f, 1), h264(0x4d001f, 1), Some(2)),
            (h264(0x4d001f, 1), h264(0x64001f, 1), None),
            (h264(0xf4001f, 1), h264(0xf4001f, 1), Some(0)),
            (h264(0x4d001f, 1), h264(0xf4001f, 1), None),
        ] {
            assert_eq!(ours.carries(&theirs), expected, "{ours:?} for {theirs:?}");
        }
        let vp9 = |profile| CodecParameters::Vp9 { profile };
        assert_eq!(vp9(0).carries(&vp9(0)), Some(0));
        assert_eq!(vp9(2).carries(&vp9(0)), None);
        assert_eq!(vp9(0).carries(&CodecParameters::Vp8), None);
    }
}
