//! Answers to Chromium's offers, to the letter. Chromium took each of them, in this order for a call,
//! with the direction and the encodings one expects; only the numbers of the slots' SSRCs were others.

use super::*;
use crate::rtp::codec::Codec;
use crate::rtp::extension::ExtensionKind;
use crate::rtp::parameters::CodecParameters;

pub(super) const PUBLISH: (&str, &str) = fixture!("chromium-publish");
pub(super) const RECEIVE: (&str, &str) = fixture!("chromium-receive");
/// A simulcast publisher that then adds two receiving m-lines and a data channel, stops its video
/// and publishes it again in the vacant place.
pub(super) const CALL: [(&str, &str); 4] = [
    fixture!("chromium-call-1-simulcast"),
    fixture!("chromium-call-2-slots"),
    fixture!("chromium-call-3-stopped"),
    fixture!("chromium-call-4-recycled"),
];

#[test]
fn a_publisher_without_simulcast() {
    let [negotiated] = &assert_answers(&[PUBLISH])[..] else {
        panic!("one answer");
    };
    assert_eq!(
        roles(negotiated),
        [("0", MediaRole::Publish), ("1", MediaRole::Publish)]
    );
    let [audio, video] = &negotiated.media[..] else {
        panic!("two m-lines");
    };
    assert_eq!(audio.ssrcs.len(), 1);
    assert!(matches!(video.ssrcs[..], [SsrcPair { rtx: Some(_), .. }]));
    assert!(audio.rids.is_empty() && video.rids.is_empty());
    let codecs: Vec<Codec> = audio.codecs.iter().map(|codec| codec.codec).collect();
    assert_eq!(codecs, [Codec::Opus, Codec::Red]);
}

#[test]
fn a_viewer() {
    let [negotiated] = &assert_answers(&[RECEIVE])[..] else {
        panic!("one answer");
    };
    assert_eq!(
        roles(negotiated),
        [("0", MediaRole::Slot), ("1", MediaRole::Slot)]
    );
    let video = &negotiated.media[1];
    let h264 = |profile_level_id, packetization_mode| CodecParameters::H264 {
        profile_level_id,
        packetization_mode,
    };
    for (codec, parameters, expected) in [
        (Codec::Vp8, CodecParameters::Vp8, Some((96, Some(97)))),
        (
            Codec::Vp9,
            CodecParameters::Vp9 { profile: 0 },
            Some((98, Some(99))),
        ),
        (
            Codec::Vp9,
            CodecParameters::Vp9 { profile: 2 },
            Some((100, Some(101))),
        ),
        (
            Codec::H264,
            h264([0x42, 0xe0, 0x34], 1),
            Some((108, Some(109))),
        ),
        (
            Codec::H264,
            h264([0x42, 0xe0, 0x1f], 0),
            Some((114, Some(115))),
        ),
        (Codec::H264, h264([0x64, 0x00, 0x1f], 1), None),
        (Codec::Opus, CodecParameters::Opus { stereo: false }, None),
    ] {
        assert_eq!(
            video.payload_type_for(codec, &parameters),
            expected,
            "{parameters:?}"
        );
    }
}

#[test]
fn a_call_over_four_offers() {
    use MediaRole::{Data, Publish, Rejected, Slot};
    let call = assert_answers(&CALL);
    let expected: [&[(&str, MediaRole)]; 4] = [
        &[("0", Publish), ("1", Publish)],
        &[
            ("0", Publish),
            ("1", Publish),
            ("2", Slot),
            ("3", Slot),
            ("4", Data),
        ],
        &[
            ("0", Publish),
            ("1", Rejected),
            ("2", Slot),
            ("3", Slot),
            ("4", Data),
        ],
        &[
            ("0", Publish),
            ("5", Publish),
            ("2", Slot),
            ("3", Slot),
            ("4", Data),
        ],
    ];
    for (negotiated, expected) in call.iter().zip(expected) {
        assert_eq!(roles(negotiated), expected);
        assert!(!negotiated.ice_restarted);
    }
    assert_eq!(call[0].media[1].rids, ["q", "h", "f"]);
    assert!(call[0].media[1].ssrcs.is_empty());
    assert!(call[3].media[1].rids.is_empty());
    for kind in [
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::RepairedRid,
        ExtensionKind::AbsSendTime,
        ExtensionKind::TransportCc,
        ExtensionKind::AudioLevel,
        ExtensionKind::DependencyDescriptor,
    ] {
        let read = call[0]
            .media
            .iter()
            .filter_map(|media| media.extensions.id(kind));
        assert!(read.count() > 0, "{kind:?}");
    }
}

/// Candidates are not read: an ICE-lite server learns addresses from checks. Browsers without
/// permission for a device hide theirs behind names.
#[test]
fn hidden_candidates_change_nothing() {
    let (offer, expected) = RECEIVE;
    let hidden = offer.replace("192.0.2.2", "6b1a3b1e-7c0f-4b1c-9d6a-3f0a5d6b7c8d.local");
    let hidden: String = hidden
        .replace(
            "c=IN IP4 6b1a3b1e-7c0f-4b1c-9d6a-3f0a5d6b7c8d.local",
            "c=IN IP4 0.0.0.0",
        )
        .replace('\n', "\r\n");
    assert!(hidden.contains(".local"));
    let negotiated = answer_once(&hidden).expect("negotiates");
    assert_eq!(negotiated.sdp.replace("\r\n", "\n"), expected);
}
