//! The elements of a header extension (RFC 8285 sections 4.2 and 4.3).

use std::ops::Range;

/// "Defined by profile" of the one-byte form.
pub(crate) const ONE_BYTE: u16 = 0xbede;
/// Profile of the two-byte form; its low four bits are the application's.
pub(crate) const TWO_BYTE: u16 = 0x1000;

/// Iterates over `(id, value)`. It stops silently at malformed elements, as RFC 8285 asks; an
/// extension of another profile has no elements.
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

    /// The place in the extension of the value last returned.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_rfc_8285_has_them() {
        type Elements<'a> = &'a [(u8, &'a [u8])];
        let cases: [(&str, u16, &[u8], Elements); 14] = [
            ("nothing", ONE_BYTE, &[], &[]),
            // RFC 8285 section 4.2: one byte of data, two of data, padding, four of data.
            (
                "the one-byte example",
                ONE_BYTE,
                &[0x10, 1, 0x21, 2, 3, 0, 0, 0x33, 4, 5, 6, 7],
                &[(1, &[1]), (2, &[2, 3]), (3, &[4, 5, 6, 7])],
            ),
            // Section 4.3: no data, one byte, padding, four bytes.
            (
                "the two-byte example",
                TWO_BYTE,
                &[1, 0, 2, 1, 9, 0, 3, 4, 1, 2, 3, 4],
                &[(1, &[]), (2, &[9]), (3, &[1, 2, 3, 4])],
            ),
            (
                "application bits",
                TWO_BYTE | 7,
                &[200, 1, 9, 0],
                &[(200, &[9])],
            ),
            (
                "id 15 ends",
                ONE_BYTE,
                &[0x10, 1, 0xf0, 2, 0x20, 3],
                &[(1, &[1])],
            ),
            (
                "id 15 of two bytes",
                TWO_BYTE,
                &[15, 1, 2, 0],
                &[(15, &[2])],
            ),
            (
                "id 0 with a length ends",
                ONE_BYTE,
                &[0x10, 1, 0x01, 2, 0x20, 3],
                &[(1, &[1])],
            ),
            ("padding only", ONE_BYTE, &[0, 0, 0, 0], &[]),
            ("padding ahead", ONE_BYTE, &[0, 0, 0x10, 1], &[(1, &[1])]),
            ("value cut", ONE_BYTE, &[0x10, 1, 0x2f, 1], &[(1, &[1])]),
            (
                "two-byte value cut",
                TWO_BYTE,
                &[1, 1, 9, 2, 5, 0],
                &[(1, &[9])],
            ),
            ("length missing", TWO_BYTE, &[0, 0, 0, 2], &[]),
            (
                "an id twice",
                ONE_BYTE,
                &[0x10, 1, 0x10, 2],
                &[(1, &[1]), (1, &[2])],
            ),
            ("another profile", 0xbeef, &[0x10, 1, 0, 0], &[]),
        ];
        for (what, profile, bytes, expected) in cases {
            let mut elements = Extensions::new(profile, bytes);
            for (id, value) in expected {
                assert_eq!(elements.next(), Some((*id, *value)), "{what}");
                assert_eq!(&bytes[elements.last_value()], *value, "{what}");
            }
            assert_eq!(elements.next(), None, "{what}");
            assert_eq!(elements.next(), None, "{what}: stays ended");
        }
    }
}
