//! The height of an H.264 picture, from its sequence parameter set (ITU-T H.264 section 7.3.2.1.1).

const SPS: u8 = 7;
const STAP_A: u8 = 24;

/// The height in an RTP payload with a whole sequence parameter set in it (RFC 6184 section 5).
pub(super) fn sps_height(payload: &[u8]) -> Option<u16> {
    let (first, mut rest) = payload.split_first()?;
    match first & 0x1f {
        SPS => height(rest),
        STAP_A => loop {
            let (len, more) = rest.split_first_chunk::<2>()?;
            let (unit, more) = more.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            rest = more;
            if let Some((first, unit)) = unit.split_first()
                && first & 0x1f == SPS
            {
                return height(unit);
            }
        },
        _ => None,
    }
}

/// Profiles whose sets have chroma formats and scaling lists.
const HIGH_PROFILES: [u32; 4] = [100, 110, 122, 244];

/// The height in the bytes after the NAL unit's header.
fn height(unit: &[u8]) -> Option<u16> {
    // Emulation prevention (section 7.4.1): 0, 0, 3 stands for 0, 0.
    let mut plain = Vec::with_capacity(unit.len());
    for byte in unit {
        if !(*byte == 3 && plain.ends_with(&[0, 0])) {
            plain.push(*byte);
        }
    }
    let mut bits = Bits {
        bytes: &plain,
        at: 0,
    };
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.exp()?;
    let mut chroma = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma = bits.exp()?;
        bits.exp()?;
        bits.exp()?;
        // Transform bypass; then scaling lists, which no encoder for calls writes.
        if bits.take(2)? & 1 != 0 {
            return None;
        }
    }
    bits.exp()?;
    match bits.exp()? {
        0 => _ = bits.exp()?,
        1 => return None,
        _ => {}
    }
    bits.exp()?;
    bits.take(1)?;
    bits.exp()?;
    let map_units = bits.exp()?.checked_add(1)?;
    let frames_only = bits.take(1)?;
    if frames_only == 0 {
        bits.take(1)?;
    }
    bits.take(1)?;
    let mut cropped = 0;
    if bits.take(1)? == 1 {
        bits.exp()?;
        bits.exp()?;
        cropped = bits.exp()?.checked_add(bits.exp()?)?;
    }
    let rows = map_units.checked_mul(16)?.checked_mul(2 - frames_only)?;
    let unit = if chroma == 1 { 2 } else { 1 } * (2 - frames_only);
    let height = rows.checked_sub(cropped.checked_mul(unit)?)?;
    u16::try_from(height).ok()
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    /// Exp-Golomb (section 9.1).
    fn exp(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1_u64 << zeros) as u32 - 1 + self.take(zeros)?)
    }
}
