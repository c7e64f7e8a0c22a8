//! The elements of a header extension (RFC 8285 sections 4.2 and 4.3).

use std::ops::Range;

/// "Defined by profile" of the one-byte form.
pub(crate) const ONE_BYTE: u16 = 0xbede;
/// And of the two-byte form; its low four bits are the application's.
pub(crate) const TWO_BYTE: u16 = 0x1000;

/// Iterates over `(id, value)`. Stops silently where the elements stop making sense, as RFC 8285
/// asks; an extension of another profile has none.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
    at: usize,
    two_byte: bool,
    last: (usize, usize),
}

impl<'a> Extensions<'a> {
    pub(crate) fn new(profile: u16, bytes: &'a [u8]) -> Self {
        let two_byte = profile & 0xfff0 == TWO_BYTE;
        Self {
            bytes: if two_byte || profile == ONE_BYTE {
                bytes
            } else {
                &[]
            },
            at: 0,
            two_byte,
            last: (0, 0),
        }
    }

    /// Where the value last returned stands in the extension.
    pub(crate) fn last_value(&self) -> Range<usize> {
        self.last.0..self.last.1
    }

    fn end(&mut self) -> Option<(u8, &'a [u8])> {
        self.at = self.bytes.len();
        None
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // A lone zero is padding, in either form.
        while self.bytes.get(self.at) == Some(&0) {
            self.at += 1;
        }
        let first = *self.bytes.get(self.at)?;
        let (id, start, len) = if self.two_byte {
            let Some(len) = self.bytes.get(self.at + 1) else {
                return self.end();
            };
            (first, self.at + 2, *len as usize)
        } else {
            (first >> 4, self.at + 1, (first & 0x0f) as usize + 1)
        };
        // RFC 8285 section 4.2: id 15, and id 0 with a length, end the processing.
        if !self.two_byte && (id == 0 || id == 15) {
            return self.end();
        }
        let Some(value) = self.bytes.get(start..start + len) else {
            return self.end();
        };
        self.at = start + len;
        self.last = (start, start + len);
        Some((id, value))
    }
}
