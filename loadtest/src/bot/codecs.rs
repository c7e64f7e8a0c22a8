//! A bot's offer: payload types and header extensions, as Chromium numbers and spells them.
//!
//! A bot publishes Opus and VP8 and receives any codec that the relay passes through, so that it
//! can share a room with browsers.

use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc,
};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::shared::error::Error;
use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::rtp::extension::ExtensionKind;

/// The payload type of Opus.
pub(crate) const OPUS: u8 = 111;
/// The payload type of VP8.
pub(crate) const VP8: u8 = 96;
/// The payload type of VP9.
pub(crate) const VP9: u8 = 98;
/// The payload type of H.264.
pub(crate) const H264: u8 = 102;
/// The payload type of AV1.
pub(crate) const AV1: u8 = 45;

/// Payload type, codec, parameters. A video codec's repair stream has the next payload type.
const CODECS: [(u8, Codec, &str); 5] = [
    (OPUS, Codec::Opus, "minptime=10;useinbandfec=1;usedtx=1"),
    (VP8, Codec::Vp8, ""),
    (VP9, Codec::Vp9, "profile-id=0"),
    (
        H264,
        Codec::H264,
        // Constrained Baseline, which every browser has and our clip is.
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (AV1, Codec::Av1, ""),
];

/// The codec of a payload type we offered.
pub(crate) fn codec(payload_type: u8) -> Option<Codec> {
    let known = CODECS.iter().find(|(known, ..)| *known == payload_type)?;
    Some(known.1)
}

/// The payload type that retransmissions of type `payload_type` repair.
pub(crate) fn repaired(payload_type: u8) -> Option<u8> {
    let base = payload_type.checked_sub(1)?;
    codec(base)
        .is_some_and(|codec| !codec.is_audio())
        .then_some(base)
}

/// Whether this is the payload type of retransmissions.
pub(crate) fn is_repair(payload_type: u8) -> bool {
    codec(payload_type).is_none() && repaired(payload_type).is_some()
}

/// Our payload type of the codec that SDP calls `name`.
pub(crate) fn payload_type(name: &str) -> Option<u8> {
    let named = |codec: Codec| codec.name().eq_ignore_ascii_case(name);
    let (payload_type, ..) = CODECS.iter().find(|(_, codec, _)| named(*codec))?;
    Some(*payload_type)
}

/// The payload type of retransmissions of `payload_type`.
pub(crate) fn repair_of(payload_type: u8) -> u8 {
    payload_type.wrapping_add(1)
}

/// A codec of ours with its parameters; Opus for a payload type that is none.
pub(crate) fn known(payload_type: u8) -> (Codec, &'static str) {
    let known = CODECS.iter().find(|(known, ..)| *known == payload_type);
    let (_, codec, parameters) = known.unwrap_or(&CODECS[0]);
    (*codec, parameters)
}

/// The crate's description of one of our codecs.
pub(crate) fn described(payload_type: u8) -> RTCRtpCodec {
    let (codec, parameters) = known(payload_type);
    let kind = if codec.is_audio() { "audio" } else { "video" };
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    };
    RTCRtpCodec {
        mime_type: format!("{kind}/{}", codec.name()),
        clock_rate: codec.clock_rate(),
        channels: if codec.is_audio() { 2 } else { 0 },
        sdp_fmtp_line: parameters.to_owned(),
        rtcp_feedback: if codec.is_audio() {
            Vec::new()
        } else {
            vec![feedback("ccm", "fir")]
        },
    }
}

/// One of the bot's codecs as the crate negotiates it, with its retransmissions if it is video.
pub(crate) fn parameters(payload_type: u8) -> Vec<RTCRtpCodecParameters> {
    let rtp_codec = described(payload_type);
    let rtx = rtp_codec.channels == 0;
    let rtx = rtx.then(|| RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "video/rtx".to_owned(),
            clock_rate: rtp_codec.clock_rate,
            channels: 0,
            sdp_fmtp_line: format!("apt={payload_type}"),
            rtcp_feedback: Vec::new(),
        },
        payload_type: repair_of(payload_type),
    });
    let codec = RTCRtpCodecParameters {
        rtp_codec,
        payload_type,
    };
    std::iter::once(codec).chain(rtx).collect()
}

/// A media engine that knows our codecs and extensions, and the interceptors of a browser: NACK
/// both ways with RTX, transport-wide feedback both ways, sender and receiver reports.
pub(crate) fn engine() -> Result<(MediaEngine, Registry), Error> {
    let mut engine = MediaEngine::default();
    for (payload_type, codec, _) in CODECS {
        let kind = if codec.is_audio() {
            RtpCodecKind::Audio
        } else {
            RtpCodecKind::Video
        };
        for parameters in parameters(payload_type) {
            engine.register_codec(parameters, kind)?;
        }
    }
    for (kind, extension) in [
        (RtpCodecKind::Audio, ExtensionKind::Mid),
        (RtpCodecKind::Audio, ExtensionKind::AudioLevel),
        (RtpCodecKind::Audio, ExtensionKind::AbsCaptureTime),
        (RtpCodecKind::Video, ExtensionKind::AbsCaptureTime),
    ] {
        let uri = extension.uri().to_owned();
        engine.register_header_extension(RTCRtpHeaderExtensionCapability { uri }, kind, None)?;
    }
    configure_simulcast_extension_headers(&mut engine)?;
    let registry = configure_nack(Registry::new(), &mut engine);
    let registry = configure_twcc(registry, &mut engine)?;
    Ok((engine, configure_rtcp_reports(registry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_types_do_not_collide() {
        for (payload_type, codec, _) in CODECS {
            assert_eq!(super::codec(payload_type), Some(codec));
            assert!(!is_repair(payload_type));
            let repair = payload_type + 1;
            assert_eq!(is_repair(repair), !codec.is_audio());
            assert_eq!(
                repaired(repair),
                (!codec.is_audio()).then_some(payload_type)
            );
        }
    }
}
