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
/// Offset of the elements, after the profile and length words.
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
    // Inlined, since most values are of a known length.
    #[inline]
    pub fn extension(&mut self, id: u8, value: &[u8]) -> bool {
        let fits_one_byte = matches!(id, 1..=14) && matches!(value.len(), 1..=16);
        if self.two_byte || !fits_one_byte {
            return self.add_two_byte(id, value);
        }
        let start = self.len.max(ELEMENTS);
        let end = start + 1 + value.len();
        // `finish` may pad to the next word.
        if self.len == 0 || end.next_multiple_of(4) > self.buf.len() {
            return false;
        }
        let element = &mut self.buf[start..end];
        element[0] = id << 4 | (value.len() - 1) as u8;
        element[1..].copy_from_slice(value);
        self.len = end;
        self.elements += 1;
        true
    }

    /// Adds an element in the two-byte form, which those before it take too.
    fn add_two_byte(&mut self, id: u8, value: &[u8]) -> bool {
        if self.len == 0 || id == 0 || value.len() > 255 {
            return false;
        }
        let growth = if self.two_byte { 0 } else { self.elements };
        let start = self.len.max(ELEMENTS);
        let at = start + growth;
        let end = at + 2 + value.len();
        // `finish` may pad to the next word.
        if end.next_multiple_of(4) > self.buf.len() {
            return false;
        }
        if !self.two_byte {
            self.widen(start);
        }
        self.buf[at] = id;
        self.buf[at + 1] = value.len() as u8;
        self.buf[at + 2..end].copy_from_slice(value);
        self.len = end;
        self.elements += 1;
        true
    }

    /// Ends the header and returns its length: where the payload goes. 0 if the buffer was too
    /// short for a header at all.
    #[inline]
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

/// The length of a header before it is written: [`HeaderWriter`]'s, given the same elements, if its
/// buffer is long enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderLen {
    elements: usize,
    values: usize,
    two_byte: bool,
}

impl HeaderLen {
    /// Adds an element, unless [`HeaderWriter::extension`] would refuse it.
    #[inline]
    pub fn extension(&mut self, id: u8, len: usize) {
        if id == 0 || len > 255 {
            return;
        }
        self.two_byte |= id > 14 || len == 0 || len > 16;
        self.elements += 1;
        self.values += len;
    }

    /// The length.
    pub fn finish(self) -> usize {
        if self.elements == 0 {
            return FIXED;
        }
        let head = if self.two_byte { 2 } else { 1 };
        (ELEMENTS + self.elements * head + self.values).next_multiple_of(4)
    }
}

/// Appends RTP padding (RFC 3550 section 5.1) after `end`, the end of a packet at the front of
/// `buf`, and sets its padding bit. Returns the new end; `None`, with nothing written, if `padding`
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::RtpHeader;

    const HEADER: OutHeader = OutHeader {
        marker: true,
        payload_type: 96,
        sequence: 0x1234,
        timestamp: 0xdead_beef,
        ssrc: 0xcafe_babe,
    };

    fn write(elements: &[(u8, &[u8])]) -> Vec<u8> {
        let mut buf = vec![0xaa; 600];
        let mut writer = HeaderWriter::new(&mut buf, &HEADER);
        for (id, value) in elements {
            assert!(writer.extension(*id, value));
        }
        let len = writer.finish();
        buf.truncate(len);
        buf
    }

    #[test]
    fn without_elements_there_is_no_extension() {
        let expected = [
            0x80, 0xe0, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe,
        ];
        assert_eq!(write(&[]), expected);
    }

    #[test]
    fn elements_take_the_shorter_form_that_holds_all() {
        type Case<'a> = (&'a str, &'a [(u8, &'a [u8])], &'a [u8]);
        let cases: [Case; 6] = [
            ("one byte", &[(1, &[7])], &[0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]),
            (
                "a full word",
                &[(14, &[1, 2, 3])],
                &[0xbe, 0xde, 0, 1, 0xe2, 1, 2, 3],
            ),
            ("a high id", &[(15, &[7])], &[0x10, 0, 0, 1, 15, 1, 7, 0]),
            ("no value", &[(1, &[])], &[0x10, 0, 0, 1, 1, 0, 0, 0]),
            (
                "widened late",
                &[(1, &[7]), (2, &[8, 9]), (3, &[])],
                &[0x10, 0, 0, 3, 1, 1, 7, 2, 2, 8, 9, 3, 0, 0, 0, 0],
            ),
            (
                "narrow behind wide",
                &[(16, &[7]), (2, &[8])],
                &[0x10, 0, 0, 2, 16, 1, 7, 2, 1, 8, 0, 0],
            ),
        ];
        for (what, elements, expected) in cases {
            let packet = write(elements);
            assert_eq!(packet[0], 0x90, "{what}");
            assert_eq!(&packet[12..], expected, "{what}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut buf = [0; 20];
        let mut writer = HeaderWriter::new(&mut buf, &HEADER);
        assert!(!writer.extension(0, &[1]), "id 0 is padding");
        assert!(!writer.extension(1, &[0; 256]));
        assert!(!writer.extension(1, &[0; 4]), "five bytes of four");
        assert!(writer.extension(1, &[5]));
        assert!(
            !writer.extension(15, &[1]),
            "widened it would be five bytes"
        );
        assert!(writer.extension(2, &[6]));
        assert_eq!(writer.finish(), 20);
        assert_eq!(buf[12..], [0xbe, 0xde, 0, 1, 0x10, 5, 0x20, 6]);

        let mut short = [0; 11];
        let mut writer = HeaderWriter::new(&mut short, &HEADER);
        assert!(!writer.extension(1, &[5]));
        assert_eq!(writer.finish(), 0);
    }

    #[test]
    fn padding_is_what_the_parser_strips() {
        let mut buf = [7; 40];
        let len = HeaderWriter::new(&mut buf, &HEADER).finish() + 3;
        assert_eq!(pad(&mut buf, len, 0), None);
        assert_eq!(pad(&mut buf, len, 26), None);
        assert_eq!(pad(&mut buf, len, 25), Some(40));
        let header = RtpHeader::parse(&buf).unwrap();
        assert_eq!(header.padding, 25);
        assert_eq!(header.payload(&buf), [7; 3]);
    }

    fn elements() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        let value = |max| proptest::collection::vec(any::<u8>(), 0..max);
        let narrow = (1u8..15, proptest::collection::vec(any::<u8>(), 1..17));
        let any_form = prop_oneof![6 => narrow, 1 => (1u8..=255, value(40))];
        proptest::collection::vec(any_form, 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn lengths_are_known_before(
            elements in prop::collection::vec((0u8..32, prop::collection::vec(any::<u8>(), 0..24)), 0..8),
        ) {
            let mut buf = [0; 600];
            let mut writer = HeaderWriter::new(&mut buf, &HEADER);
            let mut len = HeaderLen::default();
            for (id, value) in &elements {
                writer.extension(*id, value);
                len.extension(*id, value.len());
            }
            prop_assert_eq!(len.finish(), writer.finish());
        }

        #[test]
        fn what_is_written_is_read_back(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            elements in elements(), payload in proptest::collection::vec(any::<u8>(), 0..20),
            room in 12usize..400,
        ) {
            let out = OutHeader { marker, payload_type, sequence, timestamp, ssrc };
            let mut packet = vec![0xaa; room];
            let mut writer = HeaderWriter::new(&mut packet, &out);
            // A short buffer refuses some elements; the others must survive that.
            let written: Vec<_> = elements
                .iter()
                .filter(|(id, value)| writer.extension(*id, value))
                .map(|(id, value)| (*id, value.as_slice()))
                .collect();
            let len = writer.finish();
            packet.truncate(len);
            packet.extend_from_slice(&payload);

            let header = RtpHeader::parse(&packet).unwrap();
            prop_assert_eq!(
                OutHeader {
                    marker: header.marker,
                    payload_type: header.payload_type,
                    sequence: header.sequence,
                    timestamp: header.timestamp,
                    ssrc: header.ssrc,
                },
                out
            );
            prop_assert_eq!(header.payload_offset, len);
            prop_assert_eq!(header.payload(&packet), payload);
            let read: Vec<_> = header.extensions(&packet).collect();
            prop_assert_eq!(read, written);
            if room == 399 {
                prop_assert_eq!(header.extensions(&packet).count(), elements.len());
            }
        }
    }
}
