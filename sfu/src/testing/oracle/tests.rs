use proptest::prelude::*;

use super::*;
use crate::rtp::extension::ExtensionMap;
use crate::rtp::{HeaderWriter, OutHeader};
use crate::testing::{AudioConfig, MediaSource, epoch};

pub(super) const SSRC: u32 = 1;

/// One packet of a hand-made VP8 stream.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) picture_id: u16,
    /// TL0PICIDX, TID and Y.
    pub(super) layer: Option<(u8, u8, bool)>,
    pub(super) start: bool,
    pub(super) key: bool,
    pub(super) at_ms: u64,
    /// Instead of a VP8 payload.
    pub(super) raw: Option<Vec<u8>>,
}

impl Step {
    pub(super) fn packet(&self) -> Vec<u8> {
        let payload = self.raw.clone().unwrap_or_else(|| {
            let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
            let mut payload = vec![0x80 | (self.start as u8) << 4, 0x80, high, low];
            if let Some((tl0_pic_idx, tid, sync)) = self.layer {
                payload[1] = 0xe0;
                payload.extend_from_slice(&[tl0_pic_idx, tid << 6 | (sync as u8) << 5]);
            }
            let header = [
                0x10 | !self.key as u8,
                0,
                0,
                0x9d,
                0x01,
                0x2a,
                0x40,
                1,
                180,
                0,
            ];
            payload.extend_from_slice(&header);
            payload
        });
        rtp(
            self.ssrc,
            self.payload_type,
            self.sequence,
            self.timestamp,
            self.marker,
            &payload,
        )
    }

    pub(super) fn at(&self) -> Instant {
        epoch() + Duration::from_millis(self.at_ms)
    }
}

pub(super) fn rtp(
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: &[u8],
) -> Vec<u8> {
    let header = OutHeader {
        marker,
        payload_type,
        sequence,
        timestamp,
        ssrc,
    };
    let mut packet = vec![0; 12];
    HeaderWriter::new(&mut packet, &header).finish();
    packet.extend_from_slice(payload);
    packet
}

/// Frames of two packets at 30 a second, numbers near their wraps; the first is a keyframe.
pub(super) fn clean(frames: u32) -> Vec<Step> {
    (0..frames * 2)
        .map(|index| {
            let frame = index / 2;
            Step {
                ssrc: SSRC,
                payload_type: 96,
                sequence: 65_530_u16.wrapping_add(index as u16),
                timestamp: 0xffff_f000_u32.wrapping_add(frame * 3_000),
                marker: index % 2 == 1,
                picture_id: (0x7ffc + frame as u16) & 0x7fff,
                layer: None,
                start: index % 2 == 0,
                key: frame == 0,
                at_ms: u64::from(frame) * 1_000 / 30,
                raw: None,
            }
        })
        .collect()
}

fn judge(steps: &[Step]) -> OracleReport {
    let mut oracle = Oracle::new(Codec::Vp8);
    for step in steps {
        oracle.observe(&step.packet(), step.at());
    }
    oracle.finish()
}

pub(super) fn renumber(steps: &mut [Step]) {
    for (index, step) in steps.iter_mut().enumerate() {
        step.sequence = 65_530_u16.wrapping_add(index as u16);
    }
}

#[test]
fn a_clean_stream_is_clean() {
    let report = judge(&clean(60));
    assert_eq!(report.violations, []);
    assert_eq!(
        (report.packets, report.lost, report.duplicates),
        (120, 0, 0)
    );
    assert_eq!((report.frames, report.decodable_frames), (60, 60));
    assert_eq!((report.keyframes, report.dimensions), (1, Some((320, 180))));
    assert_eq!(report.first_decodable, Some(epoch()));
    assert_eq!(report.longest_freeze, Duration::from_millis(34));
}

/// One packet for each frame, of the layers given.
fn layered(tids: &[(u8, bool)]) -> Vec<Step> {
    let mut tl0_pic_idx = 254_u8;
    let mut steps: Vec<_> = clean(tids.len() as u32).into_iter().step_by(2).collect();
    for (step, (tid, sync)) in steps.iter_mut().zip(tids) {
        tl0_pic_idx = tl0_pic_idx.wrapping_add((*tid == 0) as u8);
        step.layer = Some((tl0_pic_idx, *tid, *sync));
        step.marker = true;
    }
    renumber(&mut steps);
    steps
}

#[test]
fn temporal_layers_are_checked() {
    let pattern = [(0, false), (2, true), (1, true), (2, false)];
    let steps = layered(&pattern.repeat(5));
    assert_eq!(judge(&steps).violations, []);

    let mut skipped = steps.clone();
    for step in &mut skipped[8..] {
        let (tl0_pic_idx, tid, sync) = step.layer.unwrap();
        step.layer = Some((tl0_pic_idx.wrapping_add(1), tid, sync));
    }
    let expected = Violation::Tl0PicIdx {
        sequence: 2,
        from: Some(0),
        to: Some(2),
        lost: 0,
    };
    assert_eq!(judge(&skipped).violations, [expected]);

    let mut up = vec![(0, false); 8];
    up.push((1, true));
    up.extend([(0, false), (1, false)]);
    assert_eq!(judge(&layered(&up)).violations, []);
    up[8].1 = false;
    let expected = Violation::TemporalLayerWithoutSync {
        sequence: 2,
        tid: 1,
    };
    assert_eq!(judge(&layered(&up)).violations, [expected]);
}

#[test]
fn losses_are_counted_and_forgiven() {
    // The second packet of frame 5, and all of frame 8.
    let mut steps = clean(20);
    steps.drain(16..18);
    steps.remove(11);
    for step in &mut steps[21..] {
        step.key = true;
    }
    let report = judge(&steps);
    assert_eq!(report.violations, []);
    assert_eq!((report.packets, report.lost), (37, 3));
    assert_eq!((report.frames, report.keyframes), (19, 9));
    // Frames 0 to 4, then from the keyframe 12 on.
    assert_eq!(report.decodable_frames, 5 + 8);
    assert_eq!(report.longest_freeze, Duration::from_millis(400 - 133));
}

#[test]
fn a_padding_packet_may_be_lost() {
    let mut steps = clean(10);
    for step in &mut steps[10..] {
        step.sequence = step.sequence.wrapping_add(1);
    }
    let report = judge(&steps);
    assert_eq!(report.violations, []);
    assert_eq!(
        (report.lost, report.decodable_frames),
        (1, 10),
        "no frame is missing"
    );

    let mut padding = rtp(SSRC, 96, 4, steps[9].timestamp, false, &[0, 0, 3]);
    padding[0] |= 0x20;
    let mut oracle = Oracle::new(Codec::Vp8);
    for (index, step) in steps.iter().enumerate() {
        if index == 10 {
            oracle.observe(&padding, step.at());
        }
        oracle.observe(&step.packet(), step.at());
    }
    let report = oracle.finish();
    assert_eq!(report.violations, []);
    assert_eq!((report.lost, report.packets, report.frames), (0, 21, 10));
}

#[test]
fn reordered_and_repeated_packets_are_sorted_out() {
    let mut steps = clean(20);
    // The first two swapped, one late by 10 packets, one twice at once and one twice much later.
    steps.swap(0, 1);
    let late = steps.remove(8);
    steps.insert(18, late);
    let twice = steps[30].clone();
    steps.insert(30, twice);
    let twice = steps[4].clone();
    steps.insert(36, twice);
    let mut at = 0;
    for step in &mut steps {
        at = step.at_ms.max(at);
        step.at_ms = at;
    }
    let report = judge(&steps);
    assert_eq!(report.violations, []);
    assert_eq!((report.packets, report.lost), (40, 0));
    assert_eq!((report.reordered, report.duplicates), (2, 2));
    assert_eq!(report.decodable_frames, 20);
}

#[test]
fn a_packet_may_come_too_late() {
    let mut steps = clean(120);
    let mut late = steps.remove(20);
    late.at_ms = 3_900;
    steps.push(late.clone());
    steps.push(late);
    let report = judge(&steps);
    assert_eq!(report.violations, []);
    assert_eq!((report.packets, report.lost), (240, 1));
    assert_eq!((report.reordered, report.duplicates), (1, 1));
    assert_eq!(report.decodable_frames, 10);
}

#[test]
fn a_lost_start_may_be_tolerated() {
    for from in [1, 2, 3] {
        let mut oracle = Oracle::new(Codec::Vp8).tolerate_lost_start();
        let mut steps = clean(20);
        steps[20..]
            .iter_mut()
            .for_each(|step| step.key = step.start || step.key);
        for step in &steps[from..] {
            oracle.observe(&step.packet(), step.at());
        }
        let report = oracle.finish();
        assert_eq!(report.violations, []);
        assert_eq!(report.decodable_frames, 10);
    }
}

#[test]
fn violations_are_bounded() {
    let mut steps = clean(500);
    steps.iter_mut().for_each(|step| step.marker = false);
    let report = judge(&steps);
    assert_eq!(report.violations.len(), OracleReport::MAX_VIOLATIONS);
    assert_eq!(report.violation_count, 499);
}

#[test]
fn other_codecs_start_at_a_keyframe_and_are_not_torn() {
    // First and second packet of a keyframe, and of another frame.
    let payloads: [(Codec, [&[u8]; 4]); 3] = [
        (
            Codec::Vp9,
            [&[0x88, 1, 1], &[0x84, 1, 1], &[0xc8, 2, 1], &[0xc4, 2, 1]],
        ),
        (
            Codec::H264,
            [&[0x67, 1], &[0x7c, 0x85], &[0x7c, 0x81], &[0x7c, 0x41]],
        ),
        (
            Codec::Av1,
            [&[0x18, 8], &[0x90, 8], &[0x10, 0x30], &[0x90, 1]],
        ),
    ];
    for (codec, [key, key_end, start, end]) in payloads {
        let judge = |payloads: &[&[u8]]| {
            let mut oracle = Oracle::new(codec);
            for (index, payload) in payloads.iter().enumerate() {
                let frame = index as u32 / 2;
                let at = epoch() + Duration::from_millis(u64::from(frame) * 33);
                let marker = index % 2 == 1;
                let mut payload = payload.to_vec();
                if codec == Codec::Vp9 {
                    payload[1] = frame as u8 + 1;
                }
                let packet = rtp(SSRC, 96, index as u16, frame * 3_000, marker, &payload);
                oracle.observe(&packet, at);
            }
            oracle.finish()
        };
        let report = judge(&[key, key_end, start, end, start, end]);
        assert_eq!(report.violations, [], "{codec:?}");
        assert_eq!(
            (report.decodable_frames, report.keyframes),
            (3, 1),
            "{codec:?}"
        );

        let report = judge(&[start, end, start, end]);
        let expected = Violation::StartsWithoutKeyframe { sequence: 1 };
        assert_eq!(report.violations, [expected], "{codec:?}");
        assert_eq!(report.decodable_frames, 0);

        let report = judge(&[key, key_end, end, end]);
        let expected = Violation::TornFrame {
            sequence: 2,
            timestamp: 3_000,
        };
        assert_eq!(report.violations, [expected], "{codec:?}");
    }
}

#[test]
fn audio_is_a_frame_in_each_packet() {
    let mut source = MediaSource::opus(
        epoch(),
        AudioConfig {
            ssrc: SSRC,
            payload_type: 111,
            mid: "0".to_owned(),
            extensions: ExtensionMap::default(),
            seed: 7,
        },
    );
    let (mut oracle, mut wrong) = (Oracle::new(Codec::Opus), Oracle::new(Codec::Opus));
    let mut last = Vec::new();
    for _ in 0..100 {
        let at = source.next_at();
        let packet = source.poll_packet(at).unwrap();
        oracle.observe(&packet, at);
        if last.is_empty() {
            last = packet.clone();
        }
        // Always the first timestamp.
        wrong.observe(&[&packet[..4], &last[4..8], &packet[8..]].concat(), at);
    }
    let report = oracle.finish();
    assert_eq!(report.violations, []);
    assert_eq!((report.packets, report.decodable_frames), (100, 100));
    let report = wrong.finish();
    assert_eq!(report.violation_count, 99);
    assert!(matches!(
        report.violations[0],
        Violation::TimestampBackwards { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_packets_never_panic(
        packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..24), any::<u16>(), any::<bool>()), 1..14,
        ),
        codec in proptest::sample::select(vec![
            Codec::Opus, Codec::Red, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1,
        ]),
    ) {
        let mut oracle = Oracle::new(codec);
        for (index, (payload, random, near)) in packets.iter().enumerate() {
            let at = epoch() + Duration::from_millis(index as u64 * 50);
            let sequence = if *near { random % 50 } else { *random };
            let timestamp = u32::from(random % 7) * 3_000;
            oracle.observe(&rtp(SSRC, 96, sequence, timestamp, random % 3 == 0, payload), at);
            oracle.observe(payload, at);
        }
        let report = oracle.finish();
        prop_assert!(report.decodable_frames <= report.frames);
        prop_assert!(report.violations.len() <= OracleReport::MAX_VIOLATIONS);
    }
}
