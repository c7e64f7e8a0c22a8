use std::collections::BTreeMap;

use super::*;
use crate::rtp::codec::{Codec, vp8};
use crate::rtp::rtcp::{Rtcp, parse_compound};
use crate::testing::{Oracle, epoch};

fn extensions() -> ExtensionMap {
    let mut extensions = ExtensionMap::default();
    for (id, kind) in [
        (1, ExtensionKind::AudioLevel),
        (2, ExtensionKind::AbsSendTime),
        (3, ExtensionKind::TransportCc),
        (4, ExtensionKind::Mid),
        (10, ExtensionKind::Rid),
    ] {
        assert!(extensions.insert(id, kind));
    }
    extensions
}

fn video(seed: u64) -> MediaSource {
    MediaSource::vp8(
        epoch(),
        VideoConfig {
            layers: LayerConfig::simulcast(1_000),
            payload_type: 96,
            mid: "v".to_owned(),
            extensions: extensions(),
            frames_per_second: 30,
            temporal_layers: 3,
            seed,
        },
    )
}

fn run(
    source: &mut MediaSource,
    seconds: u64,
    mut each: impl FnMut(&mut MediaSource, Instant, Vec<u8>),
) {
    let end = epoch() + Duration::from_secs(seconds);
    while source.next_at() < end {
        let now = source.next_at();
        while let Some(packet) = source.poll_packet(now) {
            each(source, now, packet);
        }
    }
}

#[test]
fn video_is_what_a_browser_sends() {
    let mut source = video(1);
    let mut oracles: BTreeMap<u32, Oracle> = source
        .ssrcs()
        .map(|ssrc| (ssrc, Oracle::new(Codec::Vp8)))
        .collect();
    let mut octets: BTreeMap<u32, usize> = BTreeMap::new();
    let mut named: BTreeMap<u32, u32> = BTreeMap::new();
    let mut transport_cc = 0;
    run(&mut source, 10, |_, now, packet| {
        assert!(packet.len() <= 1_200);
        let header = RtpHeader::parse(&packet).unwrap();
        let value = |id| header.extension(&packet, id);
        assert_eq!(
            value(3),
            Some(TransportCc(transport_cc).to_bytes().as_slice())
        );
        transport_cc += 1;
        let sent = AbsSendTime::from_duration(now.duration_since(epoch()));
        assert_eq!(value(2), Some(sent.to_bytes().as_slice()));
        if let Some(mid) = value(4) {
            assert_eq!(mid, b"v");
            let rid = ["q", "h", "f"][(header.ssrc - 1_000) as usize];
            assert_eq!(value(10), Some(rid.as_bytes()));
            *named.entry(header.ssrc).or_default() += 1;
        }
        *octets.entry(header.ssrc).or_default() += header.payload(&packet).len();
        oracles.get_mut(&header.ssrc).unwrap().observe(&packet, now);
    });
    assert!(named.values().all(|packets| *packets == NAMED_PACKETS));
    for ((ssrc, oracle), (bitrate, size)) in oracles.into_iter().zip([
        (150_000, (320, 180)),
        (500_000, (640, 360)),
        (1_700_000, (1_280, 720)),
    ]) {
        let report = oracle.finish();
        assert_eq!(report.violations, [], "{ssrc}");
        assert_eq!((report.frames, report.decodable_frames), (300, 300));
        assert_eq!((report.keyframes, report.dimensions), (1, Some(size)));
        let sent = octets[&ssrc] as u64 * 8 / 10;
        let range = bitrate * 9 / 10..bitrate * 11 / 10;
        assert!(range.contains(&sent), "{ssrc}: {sent} of {bitrate}");
    }
}

#[test]
fn a_keyframe_comes_when_asked_for() {
    let mut source = video(2);
    let mut keyframes = Vec::new();
    let mut asked = false;
    run(&mut source, 3, |source, now, packet| {
        let header = RtpHeader::parse(&packet).unwrap();
        let since = now.duration_since(epoch());
        if !asked && since > Duration::from_secs(1) {
            asked = true;
            source.request_keyframe(1_001);
        }
        if vp8::is_keyframe(header.payload(&packet)) {
            keyframes.push((header.ssrc, since.as_millis() / 100));
        }
    });
    assert_eq!(keyframes, [(1_000, 0), (1_001, 0), (1_002, 0), (1_001, 10)]);
}

#[test]
fn a_layer_pauses_and_resumes_with_a_keyframe() {
    let mut source = video(3);
    source.set_enabled(1_002, false);
    let mut oracle = Oracle::new(Codec::Vp8);
    let mut resumed = None;
    run(&mut source, 4, |source, now, packet| {
        if now.duration_since(epoch()) > Duration::from_secs(2) && resumed.is_none() {
            resumed = Some(now);
            source.set_enabled(1_002, true);
        }
        if RtpHeader::parse(&packet).unwrap().ssrc == 1_002 {
            oracle.observe(&packet, now);
        }
    });
    let report = oracle.finish();
    assert_eq!(report.violations, []);
    assert!(report.first_decodable > resumed);
    assert_eq!(report.frames, 59);
}

#[test]
fn the_same_seed_makes_the_same_packets() {
    let packets = |seed| {
        let mut packets = Vec::new();
        run(&mut video(seed), 1, |_, _, packet| packets.push(packet));
        packets
    };
    assert_eq!(packets(4), packets(4));
    assert_ne!(packets(4), packets(5));
}

#[test]
fn audio_names_its_level() {
    let mut source = MediaSource::opus(
        epoch(),
        AudioConfig {
            ssrc: 7,
            payload_type: 111,
            mid: "a".to_owned(),
            extensions: extensions(),
            seed: 1,
        },
    );
    let mut levels = Vec::new();
    run(&mut source, 1, |source, _, packet| {
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.marker, levels.is_empty());
        levels.push(
            AudioLevel::parse(header.extension(&packet, 1).unwrap())
                .unwrap()
                .level,
        );
        source.set_level(AudioLevel {
            voice: false,
            level: 127,
        });
    });
    assert_eq!(levels.len(), 50);
    assert_eq!((levels[0], levels[1]), (30, 127));
}

#[test]
fn sender_reports_tell_the_media_clock() {
    let mut source = video(6);
    let mut last = BTreeMap::new();
    run(&mut source, 2, |_, _, packet| {
        let header = RtpHeader::parse(&packet).unwrap();
        last.insert(header.ssrc, header.timestamp);
    });
    let at = epoch() + Duration::from_millis(2_500);
    let compound = source.sender_reports(at, "cname");
    let mut reports = 0;
    for packet in parse_compound(&compound).map(Result::unwrap) {
        if let Rtcp::SenderReport { ssrc, ntp, rtp, .. } = packet {
            reports += 1;
            assert_eq!(ntp, 5 << 31);
            // The last frame was captured at 59/30 s.
            let since = rtp.wrapping_sub(last[&ssrc]);
            assert!(since.abs_diff(90_000 * 16 / 30) <= 1, "{since}");
        }
    }
    assert_eq!(reports, 3);
}
