//! Writes RTP headers in place, without allocating.

use super::extension::{ONE_BYTE, TWO_BYTE};

/// The fields of a header to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutHeader {
    /// Marker bit.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
}

/// Writes one header: the fixed part, then extension elements one by one. They stand in the
/// one-byte form of RFC 8285 until one does not fit it; all are then moved to the two-byte form.
#[derive(Debug)]
pub struct HeaderWriter<'a> {
    buf: &'a mut [u8],
    /// Bytes written; 0 if the buffer does not hold a fixed header.
    len: usize,
    elements: usize,
    two_byte: bool,
}

const FIXED: usize = 12;
/// Where the elements begin, behind the profile and length words.
const ELEMENTS: usize = FIXED + 4;

impl<'a> HeaderWriter<'a> {
    /// Writes the fixed part to the front of `buf`.
    pub fn new(buf: &'a mut [u8], header: &OutHeader) -> Self {
        let mut len = 0;
        if let Some(fixed) = buf.first_chunk_mut::<FIXED>() {
            fixed[0] = 0x80;
            fixed[1] = (header.marker as u8) << 7 | header.payload_type & 0x7f;
            fixed[2..4].copy_from_slice(&header.sequence.to_be_bytes());
            fixed[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
            fixed[8..12].copy_from_slice(&header.ssrc.to_be_bytes());
            len = FIXED;
        }
        Self {
            buf,
            len,
            elements: 0,
            two_byte: false,
        }
    }

    /// Adds an element. False, and nothing written, if the id is 0, the value is longer than 255
    /// bytes, or the buffer is full.
    pub fn extension(&mut self, id: u8, value: &[u8]) -> bool {
        if self.len == 0 || id == 0 || value.len() > 255 {
            return false;
        }
        let needs_two = id > 14 || value.is_empty() || value.len() > 16;
        let growth = if needs_two && !self.two_byte {
            self.elements
        } else {
            0
        };
        let start = self.len.max(ELEMENTS);
        let head = if needs_two || self.two_byte { 2 } else { 1 };
        let end = start + growth + head + value.len();
        // `finish` may pad to the next word.
        if end.next_multiple_of(4) > self.buf.len() {
            return false;
        }
        if needs_two && !self.two_byte {
            self.widen(start);
        }
        let at = start + growth;
        if self.two_byte {
            self.buf[at] = id;
            self.buf[at + 1] = value.len() as u8;
        } else {
            self.buf[at] = id << 4 | (value.len() - 1) as u8;
        }
        self.buf[at + head..end].copy_from_slice(value);
        self.len = end;
        self.elements += 1;
        true
    }

    /// Ends the header and returns its length: where the payload goes. 0 if the buffer was too
    /// short for a header at all.
    pub fn finish(self) -> usize {
        if self.elements == 0 {
            return self.len;
        }
        let end = self.len.next_multiple_of(4);
        self.buf[self.len..end].fill(0);
        let profile = if self.two_byte { TWO_BYTE } else { ONE_BYTE };
        self.buf[0] |= 0x10;
        self.buf[FIXED..FIXED + 2].copy_from_slice(&profile.to_be_bytes());
        let words = ((end - ELEMENTS) / 4) as u16;
        self.buf[FIXED + 2..ELEMENTS].copy_from_slice(&words.to_be_bytes());
        end
    }

    /// Rewrites the elements, which end at `end`, in the two-byte form. Each grows by one byte:
    /// they are moved up by their number, then read from there and written behind.
    fn widen(&mut self, end: usize) {
        self.two_byte = true;
        self.buf
            .copy_within(ELEMENTS..end, ELEMENTS + self.elements);
        let (mut from, mut to) = (ELEMENTS + self.elements, ELEMENTS);
        for _ in 0..self.elements {
            let (id, len) = (self.buf[from] >> 4, (self.buf[from] & 0x0f) as usize + 1);
            self.buf[to] = id;
            self.buf[to + 1] = len as u8;
            self.buf.copy_within(from + 1..from + 1 + len, to + 2);
            from += 1 + len;
            to += 2 + len;
        }
    }
}

/// Appends RTP padding (RFC 3550 section 5.1) behind `end`, the end of a packet at the front of
/// `buf`, and sets its padding bit. Returns the new end; `None`, and nothing written, if `padding`
/// is 0 or does not fit.
pub fn pad(buf: &mut [u8], end: usize, padding: u8) -> Option<usize> {
    let new_end = end.checked_add(padding as usize)?;
    if padding == 0 || end < FIXED || new_end > buf.len() {
        return None;
    }
    buf[end..new_end].fill(0);
    buf[new_end - 1] = padding;
    buf[0] |= 0x20;
    Some(new_end)
}
