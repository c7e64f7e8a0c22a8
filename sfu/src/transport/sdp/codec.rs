//! Codecs of an m-line: `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` read together (RFC 8866 section 6.6
//! and 6.15, RFC 4585 section 4.2), and which offered format can carry which published one.

use super::text::MediaDescription;
use crate::rtp::codec::Codec;
use crate::rtp::parameters::{CodecFormat, CodecParameters, Feedback};

impl CodecParameters {
    fn parse(codec: Codec, fmtp: Option<&str>) -> Option<Self> {
        let number = |name: &str, default: u8, max: u8| match parameter(fmtp, name) {
            None => Some(default),
            Some(value) => value.parse().ok().filter(|value| *value <= max),
        };
        Some(match codec {
            Codec::Vp8 => Self::Vp8,
            Codec::Opus => Self::Opus {
                stereo: ["stereo", "sprop-stereo"]
                    .iter()
                    .any(|name| parameter(fmtp, name) == Some("1")),
            },
            Codec::Red => Self::Red {
                primary: fmtp?.split('/').next()?.trim().parse().ok()?,
            },
            Codec::Vp9 => Self::Vp9 {
                profile: number("profile-id", 0, 3)?,
            },
            Codec::H264 => Self::H264 {
                profile_level_id: match parameter(fmtp, "profile-level-id") {
                    // RFC 6184 section 8.1: Baseline at level 1 when absent.
                    None => [0x42, 0x00, 0x0a],
                    Some(value) => {
                        let well_formed =
                            value.len() == 6 && value.bytes().all(|b| b.is_ascii_hexdigit());
                        let value = well_formed.then(|| u32::from_str_radix(value, 16).ok())??;
                        let [_, bytes @ ..] = value.to_be_bytes();
                        bytes
                    }
                },
                packetization_mode: number("packetization-mode", 0, 1)?,
            },
            Codec::Av1 => Self::Av1 {
                profile: number("profile", 0, 2)?,
                level_idx: number("level-idx", 5, 31)?,
                tier: number("tier", 0, 1)?,
            },
        })
    }
}

/// The formats of an m-line that the relay forwards, in the client's order of preference.
pub(super) fn parse_codecs(media: &MediaDescription<'_>, audio: bool) -> Vec<CodecFormat> {
    let (formats, for_all) = read_formats(media);
    let mut seen = [false; PAYLOAD_TYPES];
    let mut codecs: Vec<CodecFormat> = Vec::new();
    let mut retransmissions: Vec<(u8, u8)> = Vec::new();
    for payload_type in payload_types(media) {
        let index = usize::from(payload_type);
        if std::mem::replace(&mut seen[index], true) {
            continue;
        }
        let format = formats[index];
        let Some(encoding) = format.rtpmap.and_then(Encoding::parse) else {
            continue;
        };
        if encoding.name.eq_ignore_ascii_case("rtx") {
            let apt = parameter(format.fmtp, "apt").and_then(|apt| apt.parse().ok());
            retransmissions.extend(apt.map(|apt| (apt, payload_type)));
            continue;
        }
        let Some(codec) = encoding.codec().filter(|codec| codec.is_audio() == audio) else {
            continue;
        };
        let Some(parameters) = CodecParameters::parse(codec, format.fmtp) else {
            continue;
        };
        codecs.push(CodecFormat {
            payload_type,
            codec,
            parameters,
            rtx: None,
            feedback: format.feedback.or(for_all),
        });
    }
    for (apt, payload_type) in retransmissions {
        let primary = codecs
            .iter_mut()
            .find(|codec| codec.payload_type == apt && codec.rtx.is_none());
        if let Some(primary) = primary {
            primary.rtx = Some(payload_type);
        }
    }
    keep_red_after_opus(&mut codecs);
    codecs
}

/// The formats of an m-line that offers nothing usable, and what each lacks, for the error.
pub(super) fn explain_formats(media: &MediaDescription<'_>, audio: bool) -> String {
    let (formats, _) = read_formats(media);
    let mut names: Vec<String> = Vec::new();
    for format in &media.formats {
        let payload_type = format.parse().ok();
        let said = payload_type.and_then(|at: usize| Some((at, formats.get(at)?)));
        let name = match said {
            None => format!("{format}, which is no payload type"),
            Some((64..=95, _)) => {
                format!("{format}, a number that RTCP needs (RFC 5761 section 4)")
            }
            Some((at, said)) => match (said.rtpmap.and_then(Encoding::parse), at) {
                (Some(encoding), _) => encoding.explain(said, audio),
                (None, 0) => "PCMU".into(),
                (None, 8) => "PCMA".into(),
                (None, _) => format!("{format}, which has no a=rtpmap"),
            },
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join("; ")
}

const PAYLOAD_TYPES: usize = 128;

#[derive(Clone, Copy, Default)]
struct Format<'a> {
    rtpmap: Option<&'a str>,
    fmtp: Option<&'a str>,
    feedback: Feedback,
}

/// The attributes of each payload type, and the feedback of `a=rtcp-fb:*`.
fn read_formats<'a>(media: &MediaDescription<'a>) -> ([Format<'a>; PAYLOAD_TYPES], Feedback) {
    let mut formats = [Format::default(); PAYLOAD_TYPES];
    let mut for_all = Feedback::default();
    for (name, value) in media.attributes.iter() {
        let Some((format, rest)) = value.and_then(|value| value.split_once(' ')) else {
            continue;
        };
        if name == "rtcp-fb" && format == "*" {
            for_all.add(rest);
            continue;
        }
        let Some(format) = format
            .parse::<usize>()
            .ok()
            .and_then(|index| formats.get_mut(index))
        else {
            continue;
        };
        match name {
            "rtpmap" => format.rtpmap = format.rtpmap.or(Some(rest)),
            "fmtp" => format.fmtp = format.fmtp.or(Some(rest)),
            "rtcp-fb" => format.feedback.add(rest),
            _ => {}
        }
    }
    (formats, for_all)
}

/// The m-line's payload types that may share a port with RTCP (RFC 5761 section 4).
fn payload_types(media: &MediaDescription<'_>) -> impl Iterator<Item = u8> {
    media
        .formats
        .iter()
        .filter_map(|format| format.parse::<u8>().ok())
        .filter(|payload_type| matches!(payload_type, 0..=63 | 96..=127))
}

impl Feedback {
    fn add(&mut self, value: &str) {
        match value.trim() {
            "nack" => self.nack = true,
            "nack pli" => self.pli = true,
            "ccm fir" => self.fir = true,
            "transport-cc" => self.twcc = true,
            "goog-remb" => self.remb = true,
            _ => {}
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            nack: self.nack || other.nack,
            pli: self.pli || other.pli,
            fir: self.fir || other.fir,
            twcc: self.twcc || other.twcc,
            remb: self.remb || other.remb,
        }
    }
}

/// The value of `a=rtpmap` behind the payload type: `name/clock[/channels]`.
struct Encoding<'a> {
    name: &'a str,
    clock_rate: u32,
    channels: Option<&'a str>,
}

impl<'a> Encoding<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut parts = value.trim().split('/');
        Some(Self {
            name: parts.next().filter(|name| !name.is_empty())?,
            clock_rate: parts.next()?.parse().ok()?,
            channels: parts.next(),
        })
    }

    /// The name, and what keeps it from being used if the relay knows the codec.
    fn explain(&self, said: &Format<'_>, audio: bool) -> String {
        let name = self.name;
        let Some(known) = Codec::from_name(name).filter(|codec| codec.is_audio() == audio) else {
            return name.into();
        };
        let written = self.channels.map_or_else(String::new, |n| format!("/{n}"));
        let written = format!("{name}/{}{written}", self.clock_rate);
        let channels = if known.is_audio() { "/2" } else { "" };
        match self.codec() {
            None => format!(
                "{written}, which must be {}/{}{channels}",
                known.name(),
                known.clock_rate()
            ),
            Some(codec) if CodecParameters::parse(codec, said.fmtp).is_none() => {
                format!("{written} with an a=fmtp that the relay cannot read")
            }
            Some(Codec::Red) => format!("{written} without the opus it repeats"),
            Some(_) => written,
        }
    }

    fn codec(&self) -> Option<Codec> {
        let codec = Codec::from_name(self.name)?;
        // Opus is always written 48000/2 (RFC 7587 section 7); `red/90000` is redundancy for video.
        let channels = if codec.is_audio() {
            self.channels == Some("2")
        } else {
            self.channels.is_none()
        };
        (channels && self.clock_rate == codec.clock_rate()).then_some(codec)
    }
}

/// Keeps redundancy only around an Opus of the same m-line, and never ahead of it: browsers send the codec that the
/// answer lists first, and every receiver understands plain Opus.
fn keep_red_after_opus(codecs: &mut Vec<CodecFormat>) {
    let opus: Vec<u8> = codecs
        .iter()
        .filter(|codec| codec.codec == Codec::Opus)
        .map(|codec| codec.payload_type)
        .collect();
    codecs.retain(|codec| match codec.parameters {
        CodecParameters::Red { primary } => opus.contains(&primary),
        _ => true,
    });
    codecs.sort_by_key(|codec| codec.codec == Codec::Red);
}

/// One `name=value` of an `a=fmtp`.
fn parameter<'a>(fmtp: Option<&'a str>, name: &str) -> Option<&'a str> {
    fmtp?.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::parameters::h264;

    #[test]
    fn parameters_are_read_with_their_defaults() {
        for (codec, fmtp, expected) in [
            (Codec::H264, None, Some(h264(0x42000a, 0))),
            (
                Codec::H264,
                Some("level-asymmetry-allowed=1; Packetization-Mode=1;profile-level-id=42E01F"),
                Some(h264(0x42e01f, 1)),
            ),
            (Codec::H264, Some("packetization-mode=2"), None),
            (Codec::H264, Some("profile-level-id=42e0"), None),
            (Codec::H264, Some("profile-level-id=+2e01f"), None),
            (Codec::Vp9, None, Some(CodecParameters::Vp9 { profile: 0 })),
            (Codec::Vp9, Some("profile-id=4"), None),
            (Codec::Red, None, None),
            (
                Codec::Red,
                Some("111/111"),
                Some(CodecParameters::Red { primary: 111 }),
            ),
            (
                Codec::Opus,
                Some("minptime=10;sprop-stereo=1"),
                Some(CodecParameters::Opus { stereo: true }),
            ),
            (
                Codec::Av1,
                Some("level-idx=8;profile=1;tier=1"),
                Some(CodecParameters::Av1 {
                    profile: 1,
                    level_idx: 8,
                    tier: 1,
                }),
            ),
        ] {
            assert_eq!(
                CodecParameters::parse(codec, fmtp),
                expected,
                "{codec:?} {fmtp:?}"
            );
        }
    }

    #[test]
    fn formats_that_cannot_be_used_are_explained() {
        for (formats, attributes, audio, expected) in [
            (
                &["111"][..],
                &[("rtpmap", "111 OPUS/48000")][..],
                true,
                "OPUS/48000, which must be opus/48000/2",
            ),
            (
                &["111"],
                &[("rtpmap", "111 opus/16000/2")],
                true,
                "opus/16000/2, which must be opus/48000/2",
            ),
            (
                &["63"],
                &[("rtpmap", "63 red/48000/2"), ("fmtp", "63 111/111")],
                true,
                "red/48000/2 without the opus it repeats",
            ),
            (
                &["96"],
                &[("rtpmap", "96 VP8/48000")],
                false,
                "VP8/48000, which must be VP8/90000",
            ),
            (
                &["98"],
                &[("rtpmap", "98 VP9/90000"), ("fmtp", "98 profile-id=9")],
                false,
                "VP9/90000 with an a=fmtp that the relay cannot read",
            ),
            (&["96"], &[("rtpmap", "96 H265/90000")], false, "H265"),
            (&["96"], &[("rtpmap", "96 opus/48000/2")], false, "opus"),
            (
                &["72"],
                &[("rtpmap", "72 opus/48000/2")],
                true,
                "72, a number that RTCP needs (RFC 5761 section 4)",
            ),
            (
                &["0", "8", "0", "50"],
                &[],
                true,
                "PCMU; PCMA; 50, which has no a=rtpmap",
            ),
            (
                &["200", "x"],
                &[],
                true,
                "200, which is no payload type; x, which is no payload type",
            ),
        ] {
            let mut media = MediaDescription {
                formats: formats.to_vec(),
                ..MediaDescription::default()
            };
            for (name, value) in attributes {
                media.attributes.push(name, Some(value));
            }
            assert!(parse_codecs(&media, audio).is_empty(), "{expected}");
            assert_eq!(explain_formats(&media, audio), expected);
        }
    }
}
