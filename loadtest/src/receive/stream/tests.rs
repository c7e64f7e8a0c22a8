use super::*;

/// Three packets a frame, a keyframe every ten, 33 ms apart.
fn meta(start: Instant, number: u64) -> Meta {
    let frame = number / 3;
    Meta {
        at: start + Duration::from_millis(33) * frame as u32,
        timestamp: (frame * 3_000) as u32,
        marker: number % 3 == 2,
        content: Content::Read {
            starts: number.is_multiple_of(3),
            keyframe: number.is_multiple_of(30),
            height: number.is_multiple_of(30).then_some(720),
        },
    }
}

fn push(stream: &mut Stream, start: Instant, number: u64) -> Place {
    stream.push((65_500 + number) as u16, false, meta(start, number))
}

#[test]
fn a_stream_in_order_is_all_decodable() {
    let start = Instant::now();
    let mut stream = Stream::new(Codec::Vp8);
    for number in 0..300 {
        assert_eq!(push(&mut stream, start, number), Place::Newest);
    }
    let end = meta(start, 299).at;
    stream.finish(end);
    let seen = &stream.seen;
    assert_eq!((seen.decodable_frames, seen.keyframes), (100, 10));
    assert_eq!((seen.lost, seen.duplicates, seen.reordered), (0, 0, 0));
    assert_eq!(seen.freezes, 0);
    assert_eq!(seen.residency, [(720, end - start)]);
    assert_eq!(stream.highest(), 65_500 + 299);
}

#[test]
fn what_comes_late_is_told_from_what_is_lost_and_what_comes_twice() {
    let start = Instant::now();
    let mut stream = Stream::new(Codec::Vp8);
    let order = [0, 1, 3, 2, 3, 4, 5, 8, 7];
    let places: Vec<_> = order.iter().map(|n| push(&mut stream, start, *n)).collect();
    use Place::*;
    assert_eq!(
        places,
        [
            Newest, Newest, Newest, Filling, Duplicate, Newest, Newest, Newest, Filling
        ]
    );
    assert_eq!(stream.seen.decodable_frames, 2);
    let mut lost = Vec::new();
    let now = meta(start, 8).at;
    stream.nack(now, Duration::ZERO, &mut lost);
    assert_eq!(lost, [(65_500_u64 + 6) as u16]);
    lost.clear();
    stream.nack(now + Duration::from_millis(5), Duration::ZERO, &mut lost);
    assert!(lost.is_empty(), "asked for just now");
    stream.nack(now + Duration::from_millis(20), Duration::ZERO, &mut lost);
    assert_eq!(lost.len(), 1);

    assert_eq!(stream.expire(now + GAP_PATIENCE), 0);
    assert!(!stream.wants_keyframe(now), "it may still come");
    let later = now + GAP_PATIENCE + Duration::from_millis(1);
    assert_eq!(stream.expire(later), 1);
    assert!(stream.wants_keyframe(later) && !stream.wants_keyframe(later));
    assert_eq!(push(&mut stream, start, 6), Late);
    assert_eq!(push(&mut stream, start, 6), Duplicate);
    let seen = &stream.seen;
    assert_eq!((seen.lost, seen.duplicates, seen.reordered), (1, 2, 3));
    assert_eq!(seen.decodable_frames, 2);
    // No frame is shown until the next keyframe, and that ends a freeze.
    for number in 9..40 {
        push(&mut stream, start, number);
    }
    assert_eq!(stream.seen.decodable_frames, 2 + 3);
    assert_eq!(stream.seen.freezes, 1);
    assert_eq!(stream.seen.frozen, Duration::from_millis(33 * 9));
}

#[test]
fn a_jump_is_lost_at_once_and_memory_is_bounded() {
    let start = Instant::now();
    let mut stream = Stream::new(Codec::Vp8);
    push(&mut stream, start, 0);
    push(&mut stream, start, 1_000);
    assert_eq!(stream.seen.lost, 999);
    for number in 0..20_000 {
        push(&mut stream, start, 1_002 + 2 * number);
        assert!(stream.cells.len() <= MAX_HELD && stream.given_up.len() <= MAX_GIVEN_UP);
    }
    stream.finish(start);
    assert_eq!(stream.seen.lost, 999 + 20_000);
    assert!(!stream.has_gaps());
}

#[test]
fn headers_alone_are_enough_between_the_first_packets_of_frames() {
    let start = Instant::now();
    let mut stream = Stream::new(Codec::Vp8);
    let mut read = 0;
    for number in 0..90 {
        let mut meta = meta(start, number);
        if stream.wants_content(meta.timestamp) {
            read += 1;
        } else {
            meta.content = Content::Unread;
        }
        stream.push(number as u16, false, meta);
    }
    // The first frame whole, then one packet of each.
    assert_eq!(read, 3 + 29);
    assert_eq!(
        (stream.seen.decodable_frames, stream.seen.keyframes),
        (30, 3)
    );
}

#[test]
fn sound_has_no_pictures_and_asks_for_nothing() {
    let start = Instant::now();
    let mut stream = Stream::new(Codec::Opus);
    for number in [0, 1, 3] {
        push(&mut stream, start, number);
    }
    let mut lost = Vec::new();
    stream.nack(start, Duration::ZERO, &mut lost);
    assert!(lost.is_empty() && !stream.wants_keyframe(start) && !stream.wants_content(9));
    stream.finish(start);
    let seen = &stream.seen;
    assert_eq!((seen.decodable_frames, seen.lost, seen.freezes), (3, 1, 0));
}
