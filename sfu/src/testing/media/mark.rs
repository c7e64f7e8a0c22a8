//! The marks in synthetic frames, with which the oracle finds faults that a real decoder would only show as a broken
//! picture.

/// Stands at the front of a synthetic VP8 frame, behind the payload header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The encoder: frames of different encoders (tracks or simulcast layers) cannot refer to one
    /// another.
    pub source: u32,
    /// Counts the encoder's frames.
    pub frame: u32,
    /// The frames it refers to; its own number in a keyframe.
    pub references: [u32; 2],
    /// Picture width in pixels.
    pub width: u16,
    /// Picture height in pixels.
    pub height: u16,
    /// Bytes of the whole frame.
    pub len: u32,
}

const MAGIC: [u8; 4] = *b"TeRt";

impl Mark {
    /// Bytes of a mark.
    pub const LEN: usize = 28;

    /// Parses the bytes after the payload header; `None` if it is no synthetic frame.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<{ Self::LEN }>()?;
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[..4] != MAGIC {
            return None;
        }
        Some(Self {
            source: word(4),
            frame: word(8),
            references: [word(12), word(16)],
            width: (word(20) >> 16) as u16,
            height: word(20) as u16,
            len: word(24),
        })
    }

    /// Writes the bytes.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let size = u32::from(self.width) << 16 | u32::from(self.height);
        let [first, second] = self.references;
        let words = [self.source, self.frame, first, second, size, self.len];
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        for (field, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// The byte of the frame at an offset behind the mark. A function of both, so that bytes that
    /// were lost, moved or changed are noticed.
    pub fn filler(&self, offset: usize) -> u8 {
        (self.frame.wrapping_mul(167) as usize).wrapping_add(offset.wrapping_mul(31)) as u8
    }
}
