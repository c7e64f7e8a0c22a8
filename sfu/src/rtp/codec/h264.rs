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

/// Types (1 to 23) of the NAL units that begin in a payload. A single NAL unit packet and the first
/// fragment of an FU-A have one, a later fragment none, a STAP-A several. Packets of the
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
    /// Units, each after two bytes of its length.
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

/// Picture height in pixels, where a payload carries a sequence parameter set (ITU-T H.264 section
/// 7.3.2.1.1): alone or in a STAP-A.
pub fn height(payload: &[u8]) -> Option<u16> {
    let (first, mut rest) = payload.split_first()?;
    match first & 0x1f {
        SPS => sps_height(rest),
        STAP_A => {
            while let Some((len, behind)) = rest.split_first_chunk::<2>() {
                let (unit, after) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
                if let Some((first, set)) = unit.split_first()
                    && first & 0x1f == SPS
                {
                    return sps_height(set);
                }
                rest = after;
            }
            None
        }
        _ => None,
    }
}

fn sps_height(set: &[u8]) -> Option<u16> {
    /// Profiles that tell the format of their colours.
    const HIGH: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
    let mut bits = Bits { bytes: set, at: 24 };
    bits.golomb()?;
    let (mut chroma, mut lists) = (1, 0);
    if HIGH.contains(set.first()?) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.bit()?;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.bit()?;
        if bits.bit()? == 1 {
            lists = if chroma == 3 { 12 } else { 8 };
        }
    }
    for list in 0..lists {
        if bits.bit()? == 1 {
            bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.bit()?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.bit()?;
    bits.golomb()?;
    let map_units = bits.golomb()?.checked_add(1)?;
    let frames_only = bits.bit()?;
    if frames_only == 0 {
        bits.bit()?;
    }
    bits.bit()?;
    let mut cropped = 0;
    if bits.bit()? == 1 {
        bits.golomb()?;
        bits.golomb()?;
        let unit = if chroma == 1 { 2 } else { 1 };
        cropped = bits.golomb()?.checked_add(bits.golomb()?)?;
        cropped = cropped.checked_mul(unit * (2 - frames_only))?;
    }
    let lines = map_units.checked_mul(16 * (2 - frames_only))?;
    u16::try_from(lines.checked_sub(cropped)?).ok()
}

/// Reads the bits of a parameter set, without the bytes that prevent start codes.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        if self.at.is_multiple_of(8) {
            let at = self.at / 8;
            // Section 7.4.1: a 3 behind two zeros is none of the data.
            if at >= 2 && self.bytes.get(at - 2..=at)? == [0, 0, 3] {
                self.at += 8;
            }
        }
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    /// `ue(v)`, section 9.1.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        let mut value = 1u32;
        for _ in 0..zeros {
            value = value << 1 | self.bit()?;
        }
        Some(value - 1)
    }

    /// Section 7.3.2.1.1.1.
    fn skip_scaling_list(&mut self, len: usize) -> Option<()> {
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..len {
            if next != 0 {
                let code = i64::from(self.golomb()?);
                let delta = if code % 2 == 1 {
                    (code + 1) / 2
                } else {
                    -code / 2
                };
                next = (last + delta).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
        Some(())
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

    #[test]
    fn the_parameter_set_tells_the_height() {
        // Constrained Baseline 3.1, 40 x 23 macroblocks with 8 lines cropped; then High with the
        // same, whose writer has to keep a start code from appearing.
        let baseline = [
            0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x17, 0xfc, 0xb0, 0x0f, 0x08, 0x84,
            0x6a,
        ];
        assert_eq!(height(&baseline), Some(360));
        let mut aggregate = vec![0x78, 0, 2, 0x68, 0xce, 0, baseline.len() as u8];
        aggregate.extend_from_slice(&baseline);
        assert_eq!(height(&aggregate), Some(360));
        for cut in 0..9 {
            assert_eq!(height(&baseline[..cut]), None, "cut to {cut}");
        }
        assert_eq!(height(&[0x65, 0x88]), None);
    }
}
