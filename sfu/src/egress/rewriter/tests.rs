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
        ids: Ids::new(Some(picture_id), Some(tl0), None),
    }
}

#[test]
fn a_switch_continues_every_number() {
    let start = Instant::now();
    let mut rewriter = Rewriter::new(90_000, 65_534, u32::MAX - 1_000);
    rewriter.switch(
        start,
        &source(0),
        &frame(0x1_0100, 5_000, 0x7fff, 255),
        None,
    );
    let first = rewriter
        .rewrite(start, &source(0), &frame(0x1_0100, 5_000, 0x7fff, 255))
        .unwrap();
    assert_eq!(
        (first.sequence as u16, first.timestamp),
        (65_535, u32::MAX - 1_000)
    );
    assert_eq!(first.ids, Ids::new(Some(0x7fff), Some(255), None));
    let second = rewriter
        .rewrite(start, &source(0), &frame(0x1_0101, 8_000, 0, 0))
        .unwrap();
    assert_eq!(
        (second.sequence as u16, second.timestamp),
        (0, (u32::MAX - 1_000).wrapping_add(3_000))
    );
    assert_eq!(second.ids, Ids::new(Some(0), Some(0), None));

    // Another layer's clock, 33 ms later; no sender reports yet.
    let later = start + Duration::from_micros(33_333);
    rewriter.switch(later, &source(1), &frame(0x5_0000, 777, 9, 9), None);
    let third = rewriter
        .rewrite(later, &source(1), &frame(0x5_0000, 777, 9, 9))
        .unwrap();
    assert_eq!(
        (third.sequence as u16, third.timestamp),
        (1, second.timestamp.wrapping_add(2_999))
    );
    assert_eq!(third.ids, Ids::new(Some(1), Some(1), None));

    // Late packets of the old layer are not part of this stream any more.
    assert_eq!(
        rewriter.rewrite(later, &source(0), &frame(0x1_0102, 8_000, 0, 0)),
        None
    );
    assert_eq!(
        rewriter.rewrite(later, &source(1), &frame(0x4_ffff, 777, 8, 8)),
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
        rewriter.switch(start, &source(0), &frame(10, 0, 0, 0), None);
        rewriter
            .rewrite(start, &source(0), &frame(10, 0, 0, 0))
            .unwrap();
        rewriter.switch(start + passed, &source(1), &frame(10, 0, 0, 0), advance);
        let out = rewriter
            .rewrite(start + passed, &source(1), &frame(10, 0, 0, 0))
            .unwrap();
        assert_eq!(out.timestamp, expected, "{advance:?}");
    }
}

#[test]
fn a_frame_without_an_end_leaves_a_number_out() {
    let start = Instant::now();
    let mut rewriter = Rewriter::new(90_000, 9, 0);
    rewriter.switch(start, &source(0), &frame(100, 0, 0, 0), None);
    for (sequence, ends) in [(100, false), (101, true), (102, false)] {
        let timestamp = if sequence == 102 { 3_000 } else { 0 };
        let out = rewriter
            .rewrite(start, &source(0), &frame(sequence, timestamp, 0, 0))
            .unwrap();
        rewriter.note_end(out.sequence, ends);
        assert_eq!(rewriter.is_torn(), !ends);
    }
    // Reordered behind the end of its frame, a packet does not open the frame again.
    rewriter.note_end(0x1_0000 + 11, true);
    assert!(rewriter.is_torn());

    // The last one sent was 12; the end of its frame would be 13.
    let next = start + Duration::from_millis(30);
    rewriter.switch(next, &source(1), &frame(500, 0, 0, 0), None);
    let out = rewriter.rewrite(next, &source(1), &frame(500, 0, 0, 0));
    assert_eq!(out.unwrap().sequence as u16, 14);
    // One packet more might not be the end, so that the frame stays incomplete.
    assert!(rewriter.locate(13).is_none());
    let (span, sequence) = rewriter.locate(12).unwrap();
    assert_eq!((span.source, sequence), (source(0), 102));
}

#[test]
fn a_lost_end_keeps_its_number() {
    let start = Instant::now();
    let mut rewriter = Rewriter::new(90_000, 9, 0);
    rewriter.switch(start, &source(0), &frame(100, 0, 0, 0), None);
    let out = rewriter
        .rewrite(start, &source(0), &frame(100, 0, 0, 0))
        .unwrap();
    rewriter.note_end(out.sequence, false);
    assert!(!rewriter.begins_frame(&frame(102, 0, 0, 0)));
    assert!(rewriter.begins_frame(&frame(103, 3_000, 1, 1)));
    // 101 and 102 were lost on the way here, and may still be repaired.
    rewriter.skip_to(&frame(103, 3_000, 1, 1), true, true);
    rewriter.switch(start, &source(1), &frame(500, 0, 0, 0), None);
    let out = rewriter.rewrite(start, &source(1), &frame(500, 0, 0, 0));
    assert_eq!(out.unwrap().sequence as u16, 13);
    for (number, original) in [(11, 101), (12, 102)] {
        let (span, sequence) = rewriter.locate(number).unwrap();
        assert_eq!((span.source, sequence), (source(0), original));
    }
}

fn skip(rewriter: &mut Rewriter, sequence: u64, timestamp: u32) -> Option<u16> {
    let frame = frame(sequence, timestamp, (timestamp / 3_000) as u16, 0);
    let empty = rewriter.skip(&source(0), &frame, Some((timestamp, 0)), true);
    empty.map(|empty| empty.sequence as u16)
}

fn send(rewriter: &mut Rewriter, sequence: u64, timestamp: u32) -> Option<(u16, u16)> {
    let frame = frame(sequence, timestamp, (timestamp / 3_000) as u16, 0);
    let out = rewriter.rewrite(Instant::now(), &source(0), &frame)?;
    Some((out.sequence as u16, out.ids.picture_id().unwrap()))
}

/// Every second frame is left out; packets of both kinds come late.
#[test]
fn numbers_close_up_behind_what_is_left_out() {
    let mut rewriter = Rewriter::new(90_000, 9, 0);
    rewriter.switch(Instant::now(), &source(0), &frame(100, 0, 0, 0), None);
    assert_eq!(send(&mut rewriter, 100, 0), Some((10, 0)));
    assert_eq!(skip(&mut rewriter, 101, 3_000), None);
    // 102 is between two packets of a left-out frame, so that no number is kept for it.
    assert_eq!(skip(&mut rewriter, 103, 3_000), None);
    assert_eq!(send(&mut rewriter, 104, 6_000), Some((11, 1)));
    // 105 and 107 are missing, and may be anything.
    assert_eq!(skip(&mut rewriter, 106, 9_000), None);
    assert_eq!(send(&mut rewriter, 108, 12_000), Some((14, 2)));
    assert_eq!(
        skip(&mut rewriter, 102, 3_000),
        None,
        "left out like the rest"
    );
    assert_eq!(send(&mut rewriter, 105, 6_000), Some((12, 1)), "late");
    assert_eq!(
        skip(&mut rewriter, 107, 9_000),
        Some(13),
        "its number is not missed"
    );
    assert_eq!(send(&mut rewriter, 101, 3_000), None);
    for (number, original) in [
        (10, Some(100)),
        (11, Some(104)),
        (12, Some(105)),
        // A number used for an empty packet is not sent again because of its frame.
        (13, Some(107)),
        (14, Some(108)),
    ] {
        let located = rewriter.locate(number).map(|(_, sequence)| sequence);
        assert_eq!(located, original, "{number}");
    }
    // Forgotten runs make everything before them unknown too.
    for turn in 0..1_000u32 {
        let (sequence, timestamp) = (109 + u64::from(turn) * 2, 15_000 + turn * 6_000);
        assert_eq!(skip(&mut rewriter, sequence, timestamp), None);
        let sent = send(&mut rewriter, sequence + 1, timestamp + 3_000);
        assert_eq!(sent, Some((15 + turn as u16, 3 + turn as u16)));
    }
    assert!(rewriter.locate(10).is_none() && send(&mut rewriter, 104, 6_000).is_none());
    assert_eq!(
        rewriter.locate(1_014).map(|(_, sequence)| sequence),
        Some(2_108)
    );
    assert_eq!(
        rewriter.locate(1_000).map(|(_, sequence)| sequence),
        Some(2_080)
    );
}

#[test]
fn what_is_left_out_late_but_before_anything_behind_it_leaves_no_gap() {
    // Packets of left-out frames in the order they come, after 100, which is sent. Then the next packet sent, with its
    // number and picture id.
    type Case<'a> = (&'a str, &'a [(u64, u32)], u64, (u16, u16));
    let cases: [Case; 7] = [
        ("in order", &[(101, 1), (102, 1), (103, 2)], 104, (11, 1)),
        (
            "the first last",
            &[(102, 1), (103, 1), (101, 1)],
            104,
            (11, 1),
        ),
        (
            "the last frame first",
            &[(103, 2), (101, 1), (102, 1)],
            104,
            (11, 1),
        ),
        ("backwards", &[(103, 2), (102, 1), (101, 1)], 104, (11, 1)),
        (
            "with one still missing",
            &[(103, 2), (101, 1)],
            104,
            (12, 1),
        ),
        ("within a frame", &[(103, 1), (101, 1)], 104, (11, 1)),
        (
            "twice behind the other",
            &[(104, 3), (102, 2), (101, 1), (103, 2)],
            105,
            (11, 1),
        ),
    ];
    for (what, left_out, next, expected) in cases {
        let mut rewriter = Rewriter::new(90_000, 9, 0);
        rewriter.switch(Instant::now(), &source(0), &frame(100, 0, 0, 0), None);
        assert_eq!(send(&mut rewriter, 100, 0), Some((10, 0)), "{what}");
        let mut frames = 0;
        for &(sequence, frame) in left_out {
            frames = frames.max(frame);
            assert_eq!(skip(&mut rewriter, sequence, frame * 3_000), None, "{what}");
        }
        let timestamp = (frames + 1) * 3_000;
        assert_eq!(
            send(&mut rewriter, next, timestamp),
            Some(expected),
            "{what}"
        );
        assert_eq!(send(&mut rewriter, 101, 3_000), None, "{what}");
    }
}

#[test]
fn a_source_that_is_sent_again_does_not_begin_before_where_it_was() {
    let mut rewriter = Rewriter::new(90_000, 9, 0);
    let now = Instant::now();
    let at = |sequence| frame(sequence, 0, 0, 0);
    rewriter.switch(now, &source(0), &at(1_100), None);
    send(&mut rewriter, 1_100, 0);
    send(&mut rewriter, 1_102, 0);
    skip(&mut rewriter, 1_105, 3_000);
    for _ in 0..2 {
        // A packet far behind was numbered anew.
        for (sequence, past) in [
            (100, false),
            (1_099, true),
            (1_103, true),
            (1_105, true),
            (1_106, false),
        ] {
            assert_eq!(
                rewriter.is_past(&source(0), &at(sequence)),
                past,
                "{sequence}"
            );
            assert!(!rewriter.is_past(&source(2), &at(sequence)));
        }
        rewriter.switch(now, &source(1), &at(50), None);
        rewriter.rewrite(now, &source(1), &at(50));
    }
}

/// A receiver with new keys that misses the first packets assumes rollover zero for the number it sees.
/// SRTP would take a number that is far ahead for an earlier one, and seal it under an index that was used.
#[test]
fn a_gap_that_srtp_cannot_follow_is_closed_but_for_one_number() {
    let now = Instant::now();
    let source = source(0);
    for (missing, expected) in [
        (1, 1),
        (FARTHEST - 1, FARTHEST - 1),
        (FARTHEST, 1),
        (0x8000, 1),
        (60_000, 1),
        (1 << 40, 1),
    ] {
        let mut rewriter = Rewriter::new(90_000, 7, 0);
        rewriter.switch(now, &source, &frame(0x2_0000, 100, 0, 0), None);
        let mut send = |sequence, timestamp| {
            let frame = frame(sequence, timestamp, 0, 0);
            rewriter.rewrite(now, &source, &frame).expect("sent")
        };
        let first = send(0x2_0000, 100);
        let behind = send(0x2_0001 + missing, 3_100);
        assert_eq!(behind.sequence - first.sequence - 1, expected, "{missing}");
        assert_eq!(behind.timestamp.wrapping_sub(first.timestamp), 3_000);
        let next = send(0x2_0002 + missing, 6_100);
        assert_eq!(next.sequence, behind.sequence + 1);
        // Each is found by its number, the one before the gap as well.
        for (number, of) in [
            (first, 0x2_0000),
            (behind, 0x2_0001 + missing),
            (next, 0x2_0002 + missing),
        ] {
            let (_, source) = rewriter.locate(number.sequence as u16).expect("found");
            assert_eq!(source, of);
        }
    }
}

#[test]
fn under_other_keys_numbers_begin_below_half() {
    let now = Instant::now();
    for (sent, begins) in [
        (0_u16, 2),
        (0x7ffc, 0x7ffe),
        (0x7ffd, 0x7fff),
        (0x7ffe, 0),
        (0x7fff, 0),
        (0x8000, 0),
        (65_533, 0),
        (65_534, 0),
        // One number is always left out.
        (65_535, 1),
    ] {
        let mut rewriter = Rewriter::new(90_000, sent.wrapping_sub(1), 0);
        rewriter.switch(now, &source(0), &frame(100, 0, 0, 0), None);
        let before = rewriter.rewrite(now, &source(0), &frame(100, 0, 0, 0));
        let before = before.unwrap().sequence;
        assert_eq!(before as u16, sent);
        rewriter.begin_again();
        // No earlier packet is found or numbered any more.
        assert_eq!(rewriter.locate(sent), None, "{sent}");
        let late = frame(101, 0, 0, 0);
        assert_eq!(rewriter.rewrite(now, &source(0), &late), None, "{sent}");
        assert!(rewriter.span().is_none());

        rewriter.switch(now, &source(0), &frame(102, 3_000, 1, 1), None);
        let first = rewriter.rewrite(now, &source(0), &frame(102, 3_000, 1, 1));
        let first = first.unwrap();
        assert_eq!(
            (first.sequence as u16, first.ids.picture_id()),
            (begins, Some(1)),
            "{sent}"
        );
        assert!(first.sequence > before + 1, "{sent}: a number is missing");
        let (_, located) = rewriter.locate(begins).unwrap();
        assert_eq!(located, 102);
        assert_eq!(rewriter.rewrite(now, &source(0), &late), None, "{sent}");
    }
}

#[test]
fn a_switch_behind_a_frame_without_an_end_counts_pictures_right() {
    // Whether the next frame of the old layer, which is not sent, begins its picture; whether that is of temporal layer
    // 0; its TL0PICIDX; the TL0PICIDX of the new layer's first picture.
    for (begins, base, before, after) in
        [(true, true, 1, 1), (true, false, 0, 1), (false, true, 1, 2)]
    {
        let mut rewriter = Rewriter::new(90_000, 9, 0);
        rewriter.switch(Instant::now(), &source(0), &frame(100, 0, 0, 0), None);
        send(&mut rewriter, 100, 0);
        rewriter.skip_to(&frame(103, 3_000, 1, before), begins, base);
        rewriter.switch(Instant::now(), &source(1), &frame(500, 0, 70, 7), None);
        let out = rewriter.rewrite(Instant::now(), &source(1), &frame(500, 0, 70, 7));
        let ids = out.unwrap().ids;
        assert_eq!(ids.tl0_pic_idx(), Some(after), "{begins} {base}");
        assert_eq!(ids.picture_id(), Some(if begins { 1 } else { 2 }));
    }
}

proptest! {
    /// Whatever the source's numbers do, a receiver of SRTP follows those of what is sent.
    #[test]
    fn numbers_never_jump_farther_than_srtp_follows(
        steps in prop::collection::vec((0..4_u8, 0..0x8000_u64, any::<bool>()), 1..60),
    ) {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 1, 0);
        rewriter.switch(now, &source(0), &frame(0x9_0000, 0, 0, 0), None);
        let (mut sequence, mut newest) = (0x9_0000, None);
        for (at, (what, by, flag)) in steps.into_iter().enumerate() {
            sequence += 1 + if flag { by } else { 0 };
            let frame = frame(sequence, at as u32 * 3_000, at as u16, 0);
            match what {
                0 => rewriter.skip_to(&frame, flag, by % 2 == 0),
                1 => drop(rewriter.skip(&source(0), &frame, None, true)),
                _ => {
                    let sent = rewriter.rewrite(now, &source(0), &frame).expect("in order").sequence;
                    if let Some(before) = newest.replace(sent) {
                        prop_assert!((1..0x8000).contains(&(sent - before)), "{before} {sent}");
                    }
                }
            }
        }
    }

    /// With packets in any order: no two get one number, numbers rise in the source's order, and a number that leads
    /// back leads to its own packet.
    #[test]
    fn a_number_stands_for_one_packet(
        left_out in prop::collection::vec(any::<bool>(), 60),
        delays in prop::collection::vec(0u64..8, 180),
    ) {
        let mut rewriter = Rewriter::new(90_000, 9, 0);
        rewriter.switch(Instant::now(), &source(0), &frame(100, 0, 0, 0), None);
        prop_assert_eq!(send(&mut rewriter, 100, 0), Some((10, 0)));
        let mut order: Vec<u64> = (0..180).collect();
        order.sort_by_key(|at| at + delays[*at as usize]);
        let mut numbers = std::collections::BTreeMap::from([(100, 10)]);
        for at in order {
            let (picture, sequence) = (at / 3, 101 + at);
            let timestamp = (picture as u32 + 1) * 3_000;
            let number = if left_out[picture as usize] {
                skip(&mut rewriter, sequence, timestamp)
            } else {
                let sent = send(&mut rewriter, sequence, timestamp);
                prop_assert!(sent.is_some());
                sent.map(|(number, _)| number)
            };
            if let Some(number) = number {
                numbers.insert(sequence, number);
            }
        }
        let given: Vec<u16> = numbers.values().copied().collect();
        prop_assert!(given.is_sorted_by(|before, behind| before < behind));
        for (sequence, number) in numbers {
            let located = rewriter.locate(number).map(|(_, located)| located);
            prop_assert_eq!(located, Some(sequence));
        }
    }

    /// With any number of packets under each of some keys: no number comes twice, those of each key begin below 2^15,
    /// and a receiver that misses up to 2^15 of the first knows the rollover of the next (RFC 3711 section 3.3.1).
    #[test]
    fn a_receiver_with_other_keys_knows_where_it_is(
        first in any::<u16>(),
        keys in prop::collection::vec((1u64..200_000, 0u64..0x8000), 1..8),
    ) {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, first, 0);
        let (mut next, mut highest) = (0x1_0000u64, 0);
        for (sent, missed) in keys {
            rewriter.begin_again();
            rewriter.switch(now, &source(0), &frame(next, 0, 0, 0), None);
            let out = |rewriter: &mut Rewriter, at: u64| {
                rewriter.rewrite(now, &source(0), &frame(next + at, 0, 0, 0)).unwrap().sequence
            };
            let base = out(&mut rewriter, 0);
            prop_assert!(base > highest && base & 0xffff < 0x8000);
            // SRTP's index as the sender counts it, and as the receiver does.
            let index = |sequence: u64| sequence - (base & !0xffff);
            let reached = index(out(&mut rewriter, missed));
            prop_assert_eq!(reached, u64::from(reached as u16));
            highest = out(&mut rewriter, missed + sent);
            next += missed + sent + 1;
        }
    }

    /// Through any switches, the viewer's numbers rise by one a packet, and each number leads back to its source
    /// packet.
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
                    rewriter.switch(start, &source(layer), &numbers, None);
                }
                let out = rewriter.rewrite(start, &source(layer), &numbers).unwrap();
                prop_assert_eq!(out.sequence as u16, expected);
                let picture = out.ids.picture_id().unwrap();
                prop_assert!(expected_picture.is_none_or(|expected| expected == picture));
                expected_picture = Some((picture + 1) & 0x7fff);
                sent.push((expected, layer, sequence));
                expected = expected.wrapping_add(1);
            }
        }
        let spans = rewriter.spans().count();
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
