//! Tests of each violation, by one change to a clean stream.

use super::tests::{SSRC, Step, clean, renumber};
use super::*;
use crate::rtp::RtpError;

/// The clean stream of 20 frames, changed in one respect, and the one violation that is.
#[test]
fn each_violation_is_detected() {
    type Change = fn(&mut Vec<Step>);
    // Packet 10 is the first of frame 5.
    const SEQUENCE: u16 = 4;
    const TIMESTAMP: u32 = 0xffff_f000_u32.wrapping_add(5 * 3_000);
    const BEFORE: u32 = TIMESTAMP - 3_000;
    const PICTURE_ID: u16 = 1;
    let cases: [(&str, Change, Violation); 19] = [
        (
            "not RTP",
            |steps| steps[10].raw = None,
            Violation::Malformed {
                error: RtpError::Short,
            },
        ),
        (
            "another SSRC",
            |steps| steps[10].ssrc = 2,
            Violation::SsrcChange { from: SSRC, to: 2 },
        ),
        (
            "another payload type",
            |steps| {
                steps[10..]
                    .iter_mut()
                    .for_each(|step| step.payload_type = 97)
            },
            Violation::PayloadTypeChange {
                sequence: SEQUENCE,
                from: 96,
                to: 97,
            },
        ),
        (
            "a jump ahead",
            |steps| {
                for step in &mut steps[10..] {
                    step.sequence += 3_001;
                }
            },
            Violation::SequenceJump {
                from: SEQUENCE - 1,
                to: SEQUENCE + 3_001,
            },
        ),
        (
            "a restart",
            |steps| {
                for step in &mut steps[10..] {
                    step.sequence = step.sequence.wrapping_sub(10_000);
                }
            },
            Violation::SequenceJump {
                from: SEQUENCE - 1,
                to: SEQUENCE.wrapping_sub(10_000),
            },
        ),
        (
            "time falls",
            |steps| {
                for step in &mut steps[10..] {
                    step.timestamp = step.timestamp.wrapping_sub(90_000);
                }
            },
            Violation::TimestampBackwards {
                sequence: SEQUENCE,
                from: BEFORE,
                to: TIMESTAMP.wrapping_sub(90_000),
            },
        ),
        (
            "time runs ahead",
            |steps| {
                for step in &mut steps[10..] {
                    step.timestamp += 11 * 90_000;
                }
            },
            Violation::TimestampJump {
                sequence: SEQUENCE,
                from: BEFORE,
                to: TIMESTAMP + 11 * 90_000,
                ahead_ms: 11_000,
            },
        ),
        (
            "time stands",
            |steps| steps[10..].iter_mut().for_each(|step| step.at_ms += 11_000),
            Violation::TimestampJump {
                sequence: SEQUENCE,
                from: BEFORE,
                to: TIMESTAMP,
                ahead_ms: -11_000,
            },
        ),
        (
            "a marker is missing",
            |steps| steps[9].marker = false,
            Violation::MarkerMisplaced {
                sequence: SEQUENCE,
                timestamp: TIMESTAMP,
            },
        ),
        (
            "a marker inside a frame",
            |steps| steps[10].marker = true,
            Violation::MarkerMisplaced {
                sequence: SEQUENCE + 1,
                timestamp: TIMESTAMP,
            },
        ),
        (
            "a frame without its start",
            |steps| {
                steps.remove(10);
                renumber(steps);
            },
            Violation::TornFrame {
                sequence: SEQUENCE,
                timestamp: TIMESTAMP,
            },
        ),
        (
            "a frame with two starts",
            |steps| steps[11].start = true,
            Violation::TornFrame {
                sequence: SEQUENCE + 1,
                timestamp: TIMESTAMP,
            },
        ),
        (
            "begins inside a frame",
            |steps| drop(steps.remove(0)),
            Violation::StartsInsideFrame { sequence: 65_531 },
        ),
        (
            "begins without a keyframe",
            |steps| drop(steps.drain(..2)),
            Violation::StartsWithoutKeyframe { sequence: 65_533 },
        ),
        (
            "no descriptor",
            |steps| steps[11].raw = Some(vec![0x80]),
            Violation::Descriptor {
                sequence: SEQUENCE + 1,
            },
        ),
        (
            "a picture id is skipped",
            |steps| steps[10..].iter_mut().for_each(|step| step.picture_id += 1),
            Violation::PictureId {
                sequence: SEQUENCE,
                from: Some(PICTURE_ID - 1),
                to: Some(PICTURE_ID + 1),
                lost: 0,
            },
        ),
        (
            "a picture id changes inside a frame",
            |steps| steps[11].picture_id += 1,
            Violation::PictureId {
                sequence: SEQUENCE + 1,
                from: Some(PICTURE_ID),
                to: Some(PICTURE_ID + 1),
                lost: 0,
            },
        ),
        (
            "more picture ids are missing than packets",
            |steps| {
                steps.drain(8..10);
                steps[8..].iter_mut().for_each(|step| step.picture_id += 2);
            },
            Violation::PictureId {
                sequence: SEQUENCE,
                from: Some(0x7fff),
                to: Some(PICTURE_ID + 2),
                lost: 2,
            },
        ),
        (
            "no picture ids any more",
            |steps| {
                for step in &mut steps[10..] {
                    step.raw = Some(vec![(step.start as u8) << 4, 1, 0, 0]);
                }
            },
            Violation::PictureId {
                sequence: SEQUENCE,
                from: Some(PICTURE_ID - 1),
                to: None,
                lost: 0,
            },
        ),
    ];
    for (what, change, violation) in cases {
        let mut steps = clean(20);
        change(&mut steps);
        let mut oracle = Oracle::new(Codec::Vp8);
        for (index, step) in steps.iter().enumerate() {
            if what == "not RTP" && index == 10 {
                oracle.observe(&[0x80; 11], step.at());
            }
            oracle.observe(&step.packet(), step.at());
        }
        let report = oracle.finish();
        assert_eq!(report.violations, [violation], "{what}");
        assert_eq!(report.violation_count, 1, "{what}");
    }
}
