//! The values of the extensions.

use std::time::Duration;

/// RFC 6464: the loudness of an audio packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioLevel {
    /// The sender believes it is speech.
    pub voice: bool,
    /// 0 (loudest) to 127 (silence), in -dBov.
    pub level: u8,
}

impl AudioLevel {
    /// Parses an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let byte = *value.first()?;
        Some(Self {
            voice: byte & 0x80 != 0,
            level: byte & 0x7f,
        })
    }

    /// The loudness in dB above silence: 0 (silence) to 127.
    pub(crate) fn loudness(self) -> u8 {
        127_u8.saturating_sub(self.level)
    }

    /// Writes an element's value; a level above 127 is written as 127.
    pub fn to_bytes(self) -> [u8; 1] {
        [(self.voice as u8) << 7 | self.level.min(127)]
    }
}

/// The send time of a packet: 24 bits, 6 of seconds and 18 of fraction, so it wraps every 64 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// The send time for a duration since any fixed epoch.
    pub fn from_duration(since_epoch: Duration) -> Self {
        let seconds = (since_epoch.as_secs() & 0x3f) as u32;
        // (2^18 * nanos) / 10^9 fits: nanos is under 2^30.
        let fraction = ((u64::from(since_epoch.subsec_nanos()) << 18) / 1_000_000_000) as u32;
        Self(seconds << 18 | fraction)
    }

    /// Parses an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value.first_chunk::<3>()?;
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// Writes an element's value.
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// The 24 bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The time since `earlier`, in microseconds; negative if before. Right while the two are less
    /// than 32 s apart.
    pub fn micros_since(self, earlier: Self) -> i64 {
        // Sign-extends the 24-bit difference.
        let difference = (self.0.wrapping_sub(earlier.0) << 8) as i32 >> 8;
        (i64::from(difference) * 1_000_000) >> 18
    }
}

/// The transport-wide sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportCc(pub u16);

impl TransportCc {
    /// Parses an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(Self(u16::from_be_bytes(*value.first_chunk::<2>()?)))
    }

    /// Writes an element's value.
    pub fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// The bounds of a receiver's buffer, each in units of 10 ms, 0 to 4095.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlayoutDelay {
    /// Lower bound.
    pub min: u16,
    /// Upper bound.
    pub max: u16,
}

impl PlayoutDelay {
    /// Parses an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value.first_chunk::<3>()?;
        Some(Self {
            min: u16::from(a) << 4 | u16::from(b) >> 4,
            max: u16::from(b & 0x0f) << 8 | u16::from(c),
        })
    }

    /// Writes an element's value; values above 4095 are written as 4095.
    pub fn to_bytes(self) -> [u8; 3] {
        let (min, max) = (self.min.min(0xfff), self.max.min(0xfff));
        [
            (min >> 4) as u8,
            (min << 4) as u8 | (max >> 8) as u8,
            max as u8,
        ]
    }
}

/// The text of a MID or RID element: RFC 8852 and RFC 9143 allow printable ASCII only, and what
/// is none cannot have been negotiated.
pub fn sdes_text(value: &[u8]) -> Option<&str> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn audio_levels() {
        for (bytes, voice, level) in [([0x80], true, 0), ([0xff], true, 127), ([0x1e], false, 30)] {
            let expected = AudioLevel { voice, level };
            assert_eq!(AudioLevel::parse(&bytes), Some(expected));
            assert_eq!(expected.to_bytes(), bytes);
            assert_eq!(expected.loudness(), 127 - level);
        }
        let loudest = AudioLevel {
            voice: false,
            level: 255,
        };
        assert_eq!((loudest.to_bytes(), loudest.loudness()), ([127], 0));
        assert_eq!(AudioLevel::parse(&[]), None);
    }

    #[test]
    fn send_times_wrap_every_64_seconds() {
        let at = |millis| AbsSendTime::from_duration(Duration::from_millis(millis));
        assert_eq!(at(0).bits(), 0);
        assert_eq!(at(1_000).bits(), 1 << 18);
        assert_eq!(at(500).bits(), 1 << 17);
        assert_eq!(at(64_000), at(0));
        assert_eq!(at(63_999).bits(), (1 << 24) - 263);
        assert_eq!(at(1_500).micros_since(at(1_000)), 500_000);
        assert_eq!(at(64_250).micros_since(at(63_750)), 500_000);
        assert_eq!(at(63_750).micros_since(at(64_250)), -500_000);
        assert_eq!(AbsSendTime::parse(&[0, 1]), None);
    }

    #[test]
    fn playout_delays() {
        let delay = PlayoutDelay {
            min: 0x123,
            max: 0x456,
        };
        assert_eq!(delay.to_bytes(), [0x12, 0x34, 0x56]);
        assert_eq!(PlayoutDelay::parse(&[0x12, 0x34, 0x56]), Some(delay));
    }

    #[test]
    fn names_are_printable_ascii() {
        for (value, name) in [
            (b"0".as_slice(), Some("0")),
            (b"hi-res_1", Some("hi-res_1")),
            (b"", None),
            (b"a b", None),
            (b"a\0", None),
            (&[0xc3, 0xa9], None),
        ] {
            assert_eq!(sdes_text(value), name);
        }
    }

    proptest! {
        #[test]
        fn values_survive_the_wire(micros: u32, later in 0u32..31_000_000, number: u16, word: [u8; 3]) {
            let [a, b] = [micros.into(), u64::from(micros) + u64::from(later)]
                .map(|micros| AbsSendTime::from_duration(Duration::from_micros(micros)));
            prop_assert_eq!(AbsSendTime::parse(&a.to_bytes()), Some(a));
            // Two roundings of 3.8 us and one to a whole microsecond.
            prop_assert!((b.micros_since(a) - i64::from(later)).abs() <= 5);
            let number = TransportCc(number);
            prop_assert_eq!(TransportCc::parse(&number.to_bytes()), Some(number));
            let delay = PlayoutDelay::parse(&word).unwrap();
            prop_assert_eq!(delay.to_bytes(), word);
        }
    }
}
