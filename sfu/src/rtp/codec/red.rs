//! Redundant audio (RFC 2198): a frame with copies of earlier ones before it.

/// A block of an earlier frame has four bytes of header, the newest frame's has one.
const EARLIER: usize = 4;

/// The newest frame of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Primary {
    /// The payload type of what is inside (7 bits).
    pub payload_type: u8,
    /// Where in the payload it begins; it goes to the end.
    pub start: usize,
}

impl Primary {
    /// Finds the newest frame; none if the headers or the blocks before it do not fit the payload.
    pub fn find(payload: &[u8]) -> Option<Self> {
        let (mut at, mut earlier) = (0, 0);
        loop {
            let first = *payload.get(at)?;
            if first & 0x80 == 0 {
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
            // As Chromium sends it: one earlier frame, 960 ticks before.
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
        }

        #[test]
        fn hostile_payloads_are_refused_or_read(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(primary) = Primary::find(&payload) {
                prop_assert!(primary.start <= payload.len() && primary.payload_type < 128);
            }
        }
    }
}
