//! Redundant audio (RFC 2198): a frame with copies of earlier ones before it.

/// A block of an earlier frame has four bytes of header, the newest frame's has one.
const EARLIER: usize = 4;
/// The bit that says that another header follows.
const FOLLOWS: u8 = 0x80;

/// The newest frame of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Primary {
    /// The payload type of the frame inside (7 bits).
    pub payload_type: u8,
    /// The frame's first byte in the payload; it goes to the end.
    pub start: usize,
}

impl Primary {
    /// Finds the newest frame; none if the headers or the blocks before it do not fit the payload.
    pub fn find(payload: &[u8]) -> Option<Self> {
        let (mut at, mut earlier) = (0, 0);
        loop {
            let first = *payload.get(at)?;
            if first & FOLLOWS == 0 {
                let start = at + 1 + earlier;
                return (start <= payload.len()).then_some(Self {
                    payload_type: first,
                    start,
                });
            }
            let header = payload.get(at..at + EARLIER)?;
            earlier += usize::from(header[2] & 0x03) << 8 | usize::from(header[3]);
            at += EARLIER;
        }
    }
}

/// A copy of an earlier frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Earlier<'a> {
    /// Ticks of the media clock from it to the newest frame.
    pub distance: u32,
    /// Its payload.
    pub frame: &'a [u8],
}

impl<'a> Earlier<'a> {
    /// The longest frame that can be repeated, in bytes: its length is a field of 10 bits.
    pub const MAX_FRAME: usize = (1 << 10) - 1;
    /// The greatest distance that can be told, in ticks: a field of 14 bits, at 48 kHz 341 ms.
    pub const MAX_DISTANCE: u32 = (1 << 14) - 1;

    /// The copies in a payload, in its order; none if it is not redundant audio.
    ///
    /// Copies with a distance of 0, which say nothing, are included.
    pub fn all(payload: &'a [u8]) -> impl Iterator<Item = Self> {
        let whole = Primary::find(payload).is_some();
        let headers = payload.chunks(EARLIER).filter(move |_| whole);
        let headers = headers.take_while(|header| header[0] & FOLLOWS != 0);
        let count = headers.clone().count();
        let mut at = count * EARLIER + 1;
        headers.filter_map(move |header| {
            let header: [u8; EARLIER] = header.try_into().ok()?;
            let fields = u32::from_be_bytes(header);
            let len = fields as usize & Self::MAX_FRAME;
            let frame = payload.get(at..at + len)?;
            at += len;
            Some(Self {
                distance: fields >> 10 & Self::MAX_DISTANCE,
                frame,
            })
        })
    }

    /// Bytes that a payload with a copy of `len` bytes has before its newest frame.
    pub fn room(len: usize) -> usize {
        EARLIER + 1 + len
    }

    /// Whether it can be written.
    pub fn fits(&self) -> bool {
        self.frame.len() <= Self::MAX_FRAME && (1..=Self::MAX_DISTANCE).contains(&self.distance)
    }
}

/// Writes everything before the newest frame of a payload to the front of `buf`: the headers, and a copy of an earlier
/// frame if there is one that [fits](Earlier::fits). Both frames are of `payload_type`. Returns the length; `None`,
/// with nothing written, if `buf` is too short.
pub fn write(buf: &mut [u8], payload_type: u8, earlier: Option<Earlier<'_>>) -> Option<usize> {
    let payload_type = payload_type & !FOLLOWS;
    let Some(earlier) = earlier.filter(Earlier::fits) else {
        *buf.first_mut()? = payload_type;
        return Some(1);
    };
    let frame = earlier.frame;
    let room = buf.get_mut(..Earlier::room(frame.len()))?;
    let fields =
        u32::from(FOLLOWS | payload_type) << 24 | earlier.distance << 10 | frame.len() as u32;
    room[..EARLIER].copy_from_slice(&fields.to_be_bytes());
    room[EARLIER] = payload_type;
    room[EARLIER + 1..].copy_from_slice(frame);
    Some(room.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A payload of earlier frames, each with its distance in time, and the newest.
    fn payload(earlier: &[(u16, Vec<u8>)], newest: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        for (distance, frame) in earlier {
            let header = 0x80 << 24 | 111 << 24 | u32::from(*distance) << 10 | frame.len() as u32;
            payload.extend_from_slice(&header.to_be_bytes());
        }
        payload.push(111);
        for (_, frame) in earlier {
            payload.extend_from_slice(frame);
        }
        payload.extend_from_slice(newest);
        payload
    }

    #[test]
    fn the_newest_frame_is_the_last() {
        for (bytes, found) in [
            (vec![111, 1, 2, 3], Some((111, 1))),
            // Chromium sends it so: one earlier frame, 960 ticks before.
            (payload(&[(960, vec![9; 3])], &[7, 7]), Some((111, 8))),
            (vec![111], Some((111, 1))),
            (vec![], None),
            (vec![0xef, 0, 0, 3], None),
            (vec![0xef, 0, 0, 3, 111, 9, 9], None),
        ] {
            let primary = Primary::find(&bytes);
            let primary = primary.map(|primary| (primary.payload_type, primary.start));
            assert_eq!(primary, found, "{bytes:x?}");
        }
    }

    #[test]
    fn a_copy_is_written_as_browsers_read_it() {
        let copy = |distance, frame| Some(Earlier { distance, frame });
        let long = [9; Earlier::MAX_FRAME + 1];
        for (what, earlier, written) in [
            (
                "one",
                copy(960, &[9, 8][..]),
                &[0xef, 0x0f, 0, 2, 111, 9, 8][..],
            ),
            ("none", None, &[111]),
            ("no distance", copy(0, &[9]), &[111]),
            ("too far", copy(1 << 14, &[9]), &[111]),
            ("too long", copy(960, &long), &[111]),
            (
                "the farthest",
                copy(0x3fff, &[7]),
                &[0xef, 0xff, 0xfc, 1, 111, 7],
            ),
            ("an empty one", copy(1, &[]), &[0xef, 0, 4, 0, 111]),
        ] {
            let mut buf = [0xaa; 40];
            let len = write(&mut buf, 111, earlier).expect(what);
            assert_eq!(&buf[..len], written, "{what}");
            assert!(buf[len..].iter().all(|byte| *byte == 0xaa), "{what}");
        }
        assert_eq!(write(&mut [0; 6], 111, copy(960, &[9, 8])), None);
        assert_eq!(write(&mut [], 111, None), None);
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(
            earlier in prop::collection::vec(
                (0u16..1 << 14, prop::collection::vec(any::<u8>(), 0..300)), 0..4),
            newest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let payload = payload(&earlier, &newest);
            let primary = Primary::find(&payload).unwrap();
            prop_assert_eq!(primary.payload_type, 111);
            prop_assert_eq!(&payload[primary.start..], newest);
            let copies: Vec<_> = Earlier::all(&payload)
                .map(|copy| (copy.distance as u16, copy.frame.to_vec()))
                .collect();
            prop_assert_eq!(copies, earlier);
        }

        #[test]
        fn what_is_written_is_read_back(
            distance in 0u32..1 << 15,
            frame in prop::collection::vec(any::<u8>(), 0..1_100),
            newest in prop::collection::vec(any::<u8>(), 0..300),
            payload_type in 0u8..128,
            room in 0usize..1_200,
        ) {
            let earlier = Earlier { distance, frame: &frame };
            let mut payload = vec![0xaa; room];
            let Some(len) = write(&mut payload, payload_type, Some(earlier)) else {
                prop_assert!(room < Earlier::room(frame.len()));
                prop_assert!(payload.iter().all(|byte| *byte == 0xaa));
                return Ok(());
            };
            payload.truncate(len);
            payload.extend_from_slice(&newest);
            let primary = Primary::find(&payload).unwrap();
            prop_assert_eq!(primary, Primary { payload_type, start: len });
            let copies: Vec<_> = Earlier::all(&payload).collect();
            prop_assert_eq!(copies, if earlier.fits() { vec![earlier] } else { vec![] });
        }

        #[test]
        fn hostile_payloads_are_refused_or_read(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(primary) = Primary::find(&payload) {
                prop_assert!(primary.start <= payload.len() && primary.payload_type < 128);
            }
            let copied: usize = Earlier::all(&payload).map(|copy| copy.frame.len()).sum();
            prop_assert!(copied < payload.len().max(1));
        }
    }
}
