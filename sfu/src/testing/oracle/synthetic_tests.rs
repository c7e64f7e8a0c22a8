//! Tests of violations that only the marks of synthetic frames tell, and of bad networks.

use proptest::prelude::*;

use super::tests::{SSRC, rtp};
use super::*;
use crate::rtp::codec::vp8;
use crate::rtp::extension::ExtensionMap;
use crate::testing::{LayerConfig, MediaSource, VideoConfig, epoch};

/// Three simulcast layers over five seconds, each with its own numbers.
fn simulcast(seed: u64, temporal_layers: u8) -> Vec<(Instant, Vec<u8>)> {
    let mut source = MediaSource::vp8(
        epoch(),
        VideoConfig {
            layers: LayerConfig::simulcast(10),
            payload_type: 96,
            mid: "1".to_owned(),
            extensions: ExtensionMap::default(),
            frames_per_second: 30,
            temporal_layers,
            seed,
        },
    );
    let mut packets = Vec::new();
    let mut asked = false;
    while source.next_at() < epoch() + Duration::from_secs(5) {
        let now = source.next_at();
        if !asked && now > epoch() + Duration::from_secs(2) {
            asked = true;
            source.request_keyframe(11);
        }
        while let Some(packet) = source.poll_packet(now) {
            packets.push((now, packet));
        }
    }
    packets
}

/// The stream of a server that chooses by `choose` (frame index, SSRC, first byte of the descriptor and TID):
/// rewritten to one stream without a seam.
fn forward(
    packets: &[(Instant, Vec<u8>)],
    mut choose: impl FnMut(u32, u32, &vp8::Descriptor) -> bool,
) -> Vec<(Instant, Vec<u8>)> {
    let (mut sequence, mut picture_id, mut tl0_pic_idx) = (65_000_u16, 32_700_u16, 250_u8);
    let (mut frame, mut timestamp) = (None, 0);
    let mut out = Vec::new();
    for (at, packet) in packets {
        let header = RtpHeader::parse(packet).unwrap();
        let mut payload = header.payload(packet).to_vec();
        let read = vp8::Descriptor::parse(&payload).unwrap();
        let index = (at.duration_since(epoch()).as_millis() + 3) as u32 * 30 / 1_000;
        if !choose(index, header.ssrc, &read) {
            continue;
        }
        if frame.replace((header.ssrc, header.timestamp)) != Some((header.ssrc, header.timestamp)) {
            picture_id = (picture_id + 1) & 0x7fff;
            tl0_pic_idx = tl0_pic_idx.wrapping_add((read.tid.unwrap_or(0) == 0) as u8);
            // If two layers' frames were captured at once, the second becomes a frame of its own.
            timestamp = (index * 3_000).max(timestamp + 1);
        }
        vp8::rewrite(&mut payload, &read, picture_id, tl0_pic_idx);
        let written = rtp(SSRC, 96, sequence, timestamp, header.marker, &payload);
        out.push((*at, written));
        sequence = sequence.wrapping_add(1);
    }
    out
}

fn judge_packets(packets: &[(Instant, Vec<u8>)]) -> OracleReport {
    let mut oracle = Oracle::new(Codec::Vp8);
    for (at, packet) in packets {
        oracle.observe(packet, *at);
    }
    oracle.finish()
}

#[test]
fn a_layer_switch_is_seamless_at_a_keyframe_only() {
    for temporal_layers in [1, 2, 3] {
        let packets = simulcast(1, temporal_layers);
        let mut switched = false;
        let stream = forward(&packets, |index, ssrc, read| {
            switched |= index > 50 && ssrc == 11 && read.keyframe;
            ssrc == if switched { 11 } else { 10 }
        });
        let report = judge_packets(&stream);
        assert_eq!(report.violations, [], "{temporal_layers} temporal layers");
        assert_eq!((report.frames, report.decodable_frames), (151, 151));
        assert_eq!((report.keyframes, report.dimensions), (2, Some((640, 360))));

        let stream = forward(&packets, |index, ssrc, _| {
            ssrc == if index >= 50 { 11 } else { 10 }
        });
        let report = judge_packets(&stream);
        assert!(
            matches!(
                report.violations[0],
                Violation::ChangeWithoutKeyframe {
                    from: (320, 180),
                    to: (640, 360),
                    ..
                }
            ),
            "{:?}",
            report.violations[0]
        );
        // No frame decodes between the switch and the keyframe at two seconds.
        assert_eq!(report.decodable_frames, 50 + 150 - 61);
    }
}

#[test]
fn temporal_layers_may_be_left_out_from_above_only() {
    let packets = simulcast(2, 3);
    let report = |choose: fn(u32, &vp8::Descriptor) -> bool| {
        judge_packets(&forward(&packets, |index, ssrc, read| {
            ssrc == 12 && choose(index, read)
        }))
    };
    for max in 0..3 {
        let report = match max {
            0 => report(|_, read| read.tid == Some(0)),
            1 => report(|_, read| read.tid <= Some(1)),
            _ => report(|_, _| true),
        };
        assert_eq!(report.violations, [], "up to {max}");
        assert_eq!(report.frames, report.decodable_frames);
        assert_eq!(report.frames, [38, 75, 150][max]);
    }
    for wrong in [
        report(|_, read| read.tid != Some(1)),
        report(|index, read| read.tid == Some(0) || index > 50),
        report(|index, _| index != 48),
    ] {
        assert!(
            matches!(wrong.violations[0], Violation::MissingReference { .. }),
            "{:?}",
            wrong.violations[0]
        );
    }
}

#[test]
fn changed_bytes_are_noticed() {
    let stream = forward(&simulcast(3, 1), |_, ssrc, _| ssrc == 12);
    assert_eq!(judge_packets(&stream).violations, []);
    for (what, change) in [
        (
            "a bit",
            (|packet| *packet.last_mut().unwrap() ^= 1) as fn(&mut Vec<u8>),
        ),
        ("an end", |packet| packet.truncate(packet.len() - 1)),
        ("one too many", |packet| packet.push(0)),
    ] {
        let mut stream = stream.clone();
        change(&mut stream[200].1);
        let violations = judge_packets(&stream).violations;
        assert!(
            matches!(violations[0], Violation::Corrupt { .. }),
            "{what}: {violations:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn a_bad_network_is_not_held_against_the_server(
        seed: u64, temporal_layers in 1u8..4,
        fates in proptest::collection::vec((0u8..100, 0u64..150), 600),
        loss in 0u8..20, duplication in 0u8..10,
    ) {
        let mut switched = false;
        let sent = forward(&simulcast(seed, temporal_layers), |index, ssrc, read| {
            switched |= index > 50 && ssrc == 11 && read.keyframe;
            ssrc == if switched { 11 } else { 10 }
        });
        let mut arrivals = Vec::new();
        let mut received = Vec::new();
        let mut duplicates = 0;
        for (index, (at, packet)) in sent.iter().enumerate() {
            let (fate, delay) = fates[index % fates.len()];
            // The first packets come, in order: a loss there could not be noticed.
            let early = *at < epoch() + Duration::from_millis(200);
            if !early && fate < loss {
                continue;
            }
            received.push(index);
            let delay = Duration::from_millis(if early { 0 } else { delay });
            arrivals.push((*at + delay, packet));
            if !early && fate >= 100 - duplication {
                duplicates += 1;
                arrivals.push((*at + 2 * delay, packet));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        let mut oracle = Oracle::new(Codec::Vp8);
        for (at, packet) in arrivals {
            oracle.observe(packet, at);
        }
        let report = oracle.finish();
        prop_assert_eq!(&report.violations, &[]);
        prop_assert_eq!(report.duplicates, duplicates);
        prop_assert_eq!(report.packets, received.len() as u64);
        let seen = received.last().unwrap() + 1;
        prop_assert_eq!(report.lost, (seen - received.len()) as u64);
        prop_assert!(report.decodable_frames >= 6);
        if loss == 0 {
            prop_assert_eq!(report.decodable_frames, report.frames);
        }
    }
}
