//! H.264 payloads (RFC 6184 section 5): which NAL units a packet begins.

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Whether a payload begins a frame that needs no other: it starts an IDR slice or carries a
/// sequence parameter set, which encoders for WebRTC send ahead of every IDR picture.
pub fn is_keyframe(payload: &[u8]) -> bool {
    nal_types(payload).any(|nal| matches!(nal, IDR | SPS))
}

/// Whether a payload carries a sequence or picture parameter set.
pub fn has_parameter_sets(payload: &[u8]) -> bool {
    nal_types(payload).any(|nal| matches!(nal, SPS | PPS))
}

/// The types (1 to 23) of the NAL units that begin in a payload: one for a single NAL unit packet
/// and the first fragment of an FU-A, none for a later fragment, each of a STAP-A. Packets of the
/// interleaved mode have none: WebRTC does not use it (RFC 7742 section 6.2).
pub fn nal_types(payload: &[u8]) -> NalTypes<'_> {
    let state = match payload.split_first() {
        Some((first, rest)) => match first & 0x1f {
            STAP_A => State::Aggregate(rest),
            FU_A => match rest.first() {
                Some(header) if header & 0x80 != 0 => State::Single(header & 0x1f),
                _ => State::Done,
            },
            nal @ 1..=23 => State::Single(nal),
            _ => State::Done,
        },
        None => State::Done,
    };
    NalTypes { state }
}

/// Iterates over NAL unit types.
#[derive(Clone, Debug)]
pub struct NalTypes<'a> {
    state: State<'a>,
}

#[derive(Clone, Debug)]
enum State<'a> {
    Done,
    Single(u8),
    /// Each unit behind two bytes of its length.
    Aggregate(&'a [u8]),
}

impl Iterator for NalTypes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match self.state {
            State::Done => None,
            State::Single(nal) => {
                self.state = State::Done;
                Some(nal)
            }
            State::Aggregate(rest) => {
                self.state = State::Done;
                let (len, rest) = rest.split_first_chunk::<2>()?;
                let unit = rest.get(..u16::from_be_bytes(*len) as usize)?;
                let first = unit.first()?;
                self.state = State::Aggregate(&rest[unit.len()..]);
                Some(first & 0x1f)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_begin_where_their_units_say() {
        // Payload, types, keyframe, parameter sets.
        type Case<'a> = (&'a str, &'a [u8], &'a [u8], bool, bool);
        let cases: [Case; 14] = [
            ("empty", &[], &[], false, false),
            ("single IDR", &[0x65, 0x88], &[5], true, false),
            ("single SPS", &[0x67, 0x42], &[7], true, true),
            ("single PPS", &[0x68, 0xce], &[8], false, true),
            ("single slice", &[0x41, 0x9a], &[1], false, false),
            (
                "STAP-A of SPS, PPS and IDR",
                &[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68, 0, 2, 0x65, 0x88],
                &[7, 8, 5],
                true,
                true,
            ),
            (
                "STAP-A of slices",
                &[0x38, 0, 1, 0x41, 0, 1, 0x41],
                &[1, 1],
                false,
                false,
            ),
            (
                "STAP-A cut in a unit",
                &[0x78, 0, 1, 0x41, 0, 9, 0x65],
                &[1],
                false,
                false,
            ),
            (
                "STAP-A cut in a length",
                &[0x78, 0, 1, 0x41, 0],
                &[1],
                false,
                false,
            ),
            (
                "STAP-A with an empty unit",
                &[0x78, 0, 0, 0, 1, 0x65],
                &[],
                false,
                false,
            ),
            (
                "FU-A start of an IDR",
                &[0x7c, 0x85, 0x88],
                &[5],
                true,
                false,
            ),
            (
                "FU-A middle of an IDR",
                &[0x7c, 0x05, 0x88],
                &[],
                false,
                false,
            ),
            ("FU-A without its header", &[0x7c], &[], false, false),
            ("STAP-B", &[0x79, 0, 1, 0, 1, 0x65], &[], false, false),
        ];
        for (what, payload, types, key, sets) in cases {
            assert_eq!(nal_types(payload).collect::<Vec<_>>(), types, "{what}");
            assert_eq!(is_keyframe(payload), key, "{what}");
            assert_eq!(has_parameter_sets(payload), sets, "{what}");
        }
    }
}
