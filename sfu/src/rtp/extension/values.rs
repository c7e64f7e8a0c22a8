//! What the extensions carry.

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
    /// From an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let byte = *value.first()?;
        Some(Self {
            voice: byte & 0x80 != 0,
            level: byte & 0x7f,
        })
    }

    /// To an element's value; a level above 127 is written as 127.
    pub fn to_bytes(self) -> [u8; 1] {
        [(self.voice as u8) << 7 | self.level.min(127)]
    }
}

/// The send time of a packet: 24 bits, 6 of seconds and 18 of fraction, so it wraps every 64 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// From a time since any fixed epoch.
    pub fn from_duration(since_epoch: Duration) -> Self {
        let seconds = (since_epoch.as_secs() & 0x3f) as u32;
        // (2^18 * nanos) / 10^9 fits: nanos is under 2^30.
        let fraction = ((u64::from(since_epoch.subsec_nanos()) << 18) / 1_000_000_000) as u32;
        Self(seconds << 18 | fraction)
    }

    /// From an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value.first_chunk::<3>()?;
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// To an element's value.
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// The 24 bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// How long after `earlier`, in microseconds; negative if before. Right while the two are less
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
    /// From an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(Self(u16::from_be_bytes(*value.first_chunk::<2>()?)))
    }

    /// To an element's value.
    pub fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// How long a receiver should buffer, each in units of 10 ms, 0 to 4095.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlayoutDelay {
    /// At least.
    pub min: u16,
    /// At most.
    pub max: u16,
}

impl PlayoutDelay {
    /// From an element's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value.first_chunk::<3>()?;
        Some(Self {
            min: u16::from(a) << 4 | u16::from(b) >> 4,
            max: u16::from(b & 0x0f) << 8 | u16::from(c),
        })
    }

    /// To an element's value; values above 4095 are written as 4095.
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
