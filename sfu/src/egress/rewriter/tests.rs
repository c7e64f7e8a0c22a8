use proptest::prelude::*;

use super::*;
use crate::id::TrackId;

fn source(layer: usize) -> Source {
    Source {
        track: TrackId::new(0, 1),
        layer,
        ssrc: layer as u32,
    }
}

fn frame(sequence: u64, timestamp: u32, picture_id: u16, tl0: u8) -> Frame {
    Frame {
        sequence,
        timestamp,
        ids: Ids {
            picture_id: Some(picture_id),
            tl0_pic_idx: Some(tl0),
            frame_number: None,
        },
    }
}

#[test]
fn a_switch_continues_every_number() {
    let start = Instant::now();
    let mut rewriter = Rewriter::new(90_000, 65_534, u32::MAX - 1_000);
    rewriter.switch(start, source(0), frame(0x1_0100, 5_000, 0x7fff, 255), None);
    let first = rewriter
        .rewrite(start, source(0), frame(0x1_0100, 5_000, 0x7fff, 255))
        .unwrap();
    assert_eq!(
        (first.sequence as u16, first.timestamp),
        (65_535, u32::MAX - 1_000)
    );
    assert_eq!(
        first.ids,
        Ids {
            picture_id: Some(0x7fff),
            tl0_pic_idx: Some(255),
            frame_number: None,
        }
    );
    let second = rewriter
        .rewrite(start, source(0), frame(0x1_0101, 8_000, 0, 0))
        .unwrap();
    assert_eq!(
        (second.sequence as u16, second.timestamp),
        (0, (u32::MAX - 1_000).wrapping_add(3_000))
    );
    assert_eq!(
        second.ids,
        Ids {
            picture_id: Some(0),
            tl0_pic_idx: Some(0),
            frame_number: None,
        }
    );

    // Another layer's clock, 33 ms later; no sender reports yet.
    let later = start + Duration::from_micros(33_333);
    rewriter.switch(later, source(1), frame(0x5_0000, 777, 9, 9), None);
    let third = rewriter
        .rewrite(later, source(1), frame(0x5_0000, 777, 9, 9))
        .unwrap();
    assert_eq!(
        (third.sequence as u16, third.timestamp),
        (1, second.timestamp.wrapping_add(2_999))
    );
    assert_eq!(
        third.ids,
        Ids {
            picture_id: Some(1),
            tl0_pic_idx: Some(1),
            frame_number: None,
        }
    );

    // Latecomers of the old layer are not of this stream any more.
    assert_eq!(
        rewriter.rewrite(later, source(0), frame(0x1_0102, 8_000, 0, 0)),
        None
    );
    assert_eq!(
        rewriter.rewrite(later, source(1), frame(0x4_ffff, 777, 8, 8)),
        None
    );
}

#[test]
fn the_sources_clocks_decide_how_far_a_switch_advances_unless_absurd() {
    let start = Instant::now();
    let passed = Duration::from_millis(100);
    for (advance, expected) in [
        (Some(3_000), 3_000),
        (Some(-20), 1),
        (Some(900_000), 9_000),
        (None, 9_000),
    ] {
        let mut rewriter = Rewriter::new(90_000, 0, 0);
        rewriter.switch(start, source(0), frame(10, 0, 0, 0), None);
        rewriter
            .rewrite(start, source(0), frame(10, 0, 0, 0))
            .unwrap();
        rewriter.switch(start + passed, source(1), frame(10, 0, 0, 0), advance);
        let out = rewriter
            .rewrite(start + passed, source(1), frame(10, 0, 0, 0))
            .unwrap();
        assert_eq!(out.timestamp, expected, "{advance:?}");
    }
}

#[test]
fn a_frame_without_an_end_leaves_a_number_out() {
    let start = Instant::now();
    let mut rewriter = Rewriter::new(90_000, 9, 0);
    rewriter.switch(start, source(0), frame(100, 0, 0, 0), None);
    for (sequence, ends) in [(100, false), (101, true), (102, false)] {
        let timestamp = if sequence == 102 { 3_000 } else { 0 };
        let out = rewriter
            .rewrite(start, source(0), frame(sequence, timestamp, 0, 0))
            .unwrap();
        rewriter.note_end(out.sequence, ends);
        assert_eq!(rewriter.is_torn(), !ends);
    }
    // Reordered behind the end of its frame, a packet does not open the frame again.
    rewriter.note_end(0x1_0000 + 11, true);
    assert!(rewriter.is_torn());

    // The last one sent was 12; what ends its frame would be 13.
    let next = start + Duration::from_millis(30);
    rewriter.switch(next, source(1), frame(500, 0, 0, 0), None);
    let out = rewriter.rewrite(next, source(1), frame(500, 0, 0, 0));
    assert_eq!(out.unwrap().sequence as u16, 14);
    let (span, sequence) = rewriter.locate(13).unwrap();
    assert_eq!((span.source, sequence), (source(0), 103));
}

#[test]
fn a_lost_end_keeps_its_number() {
    let start = Instant::now();
    let mut rewriter = Rewriter::new(90_000, 9, 0);
    rewriter.switch(start, source(0), frame(100, 0, 0, 0), None);
    let out = rewriter
        .rewrite(start, source(0), frame(100, 0, 0, 0))
        .unwrap();
    rewriter.note_end(out.sequence, false);
    assert!(!rewriter.begins_frame(frame(102, 0, 0, 0)));
    assert!(rewriter.begins_frame(frame(103, 3_000, 1, 1)));
    // 101 and 102 were lost on the way here, and may still be repaired.
    rewriter.skip_to(frame(103, 3_000, 1, 1));
    rewriter.switch(start, source(1), frame(500, 0, 0, 0), None);
    let out = rewriter.rewrite(start, source(1), frame(500, 0, 0, 0));
    assert_eq!(out.unwrap().sequence as u16, 13);
    for (number, original) in [(11, 101), (12, 102)] {
        let (span, sequence) = rewriter.locate(number).unwrap();
        assert_eq!((span.source, sequence), (source(0), original));
    }
}

proptest! {
    /// Through any switches, what a viewer sees counts up by one a packet, and each number leads
    /// back to the source packet it was made of.
    #[test]
    fn numbers_are_continuous_and_lead_back(
        first in any::<u16>(),
        steps in prop::collection::vec((0usize..3, 1usize..40), 1..20),
    ) {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(90_000, first, 0);
        let mut next = [0x1_0000u64, 0x2_8000, 0x3_ffff];
        let mut expected = first.wrapping_add(1);
        let mut expected_picture = None;
        let mut sent = Vec::new();
        let mut current = None;
        for (layer, count) in steps {
            for _ in 0..count {
                let sequence = next[layer];
                next[layer] += 1;
                let numbers = frame(sequence, (sequence * 3_000) as u32, (sequence & 0x7fff) as u16, sequence as u8);
                if current != Some(layer) {
                    current = Some(layer);
                    rewriter.switch(start, source(layer), numbers, None);
                }
                let out = rewriter.rewrite(start, source(layer), numbers).unwrap();
                prop_assert_eq!(out.sequence as u16, expected);
                let picture = out.ids.picture_id.unwrap();
                prop_assert!(expected_picture.is_none_or(|expected| expected == picture));
                expected_picture = Some((picture + 1) & 0x7fff);
                sent.push((expected, layer, sequence));
                expected = expected.wrapping_add(1);
            }
        }
        let spans = rewriter.spans.len();
        prop_assert!(spans <= SPANS);
        for (number, layer, sequence) in sent {
            if let Some((span, located)) = rewriter.locate(number) {
                prop_assert_eq!((span.source.layer, located), (layer, sequence));
            } else {
                prop_assert_eq!(spans, SPANS);
            }
        }
        prop_assert_eq!(rewriter.locate(expected), None);
    }
}
