//! AV1 payloads (AOM's RTP payload specification, version 1.0.0): the aggregation header. Layers are
//! told by the dependency descriptor alone.

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// Whether a payload begins a coded video sequence (section 4.4): the N bit, or a sequence header
/// as the first OBU (a temporal delimiter before it does not count).
pub fn is_keyframe(payload: &[u8]) -> bool {
    let Some((aggregation, rest)) = payload.split_first() else {
        return false;
    };
    // Z: the first element continues an OBU of the packet before, so nothing begins here.
    if aggregation & 0x80 != 0 {
        return false;
    }
    aggregation & 0x08 != 0 || begins_with_sequence_header(aggregation >> 4 & 0x03, rest)
}

/// `elements` of the aggregation header (W): 0 means every element carries its length, else the
/// last of them does not.
fn begins_with_sequence_header(elements: u8, mut rest: &[u8]) -> bool {
    for index in 1..=2 {
        let mut element = rest;
        if elements != index {
            let Some((len, behind)) = leb128(rest) else {
                return false;
            };
            let Some((found, after)) = behind.split_at_checked(len) else {
                return false;
            };
            (element, rest) = (found, after);
        }
        match element.first().map(|header| header >> 3 & 0x0f) {
            Some(SEQUENCE_HEADER) => return true,
            Some(TEMPORAL_DELIMITER) if elements != index => {}
            _ => return false,
        }
    }
    false
}

/// AV1 section 4.10.5, at most 4 bytes: an RTP packet has no element that needs more.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_begin_where_the_header_says() {
        let cases: [(&str, &[u8], bool); 12] = [
            ("empty", &[], false),
            ("N", &[0x18, 0x0a], true),
            ("N of a continuation", &[0x98, 0x0a], false),
            ("one element, a sequence header", &[0x10, 0x08, 1, 2], true),
            ("one element, a frame", &[0x10, 0x30, 1, 2], false),
            (
                "two elements, the first a sequence header",
                &[0x20, 2, 0x08, 1, 0x30],
                true,
            ),
            ("lengths everywhere", &[0x00, 2, 0x08, 1, 1, 0x30], true),
            (
                "behind a temporal delimiter",
                &[0x20, 1, 0x10, 0x08, 1],
                true,
            ),
            ("a temporal delimiter alone", &[0x10, 0x10], false),
            ("length past the end", &[0x20, 9, 0x08, 1], false),
            (
                "length without end",
                &[0x20, 0xff, 0xff, 0xff, 0xff, 0x08],
                false,
            ),
            ("nothing behind", &[0x20], false),
        ];
        for (what, payload, key) in cases {
            assert_eq!(is_keyframe(payload), key, "{what}");
        }
    }
}
