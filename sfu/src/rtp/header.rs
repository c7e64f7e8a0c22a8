//! The RTP header as received (RFC 3550 section 5.1).

use super::Extensions;

/// The reason that bytes are not an RTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtpError {
    /// Fewer bytes than the fixed header and the CSRC list need.
    #[error("shorter than its RTP header")]
    Short,
    /// The version field is not 2.
    #[error("not RTP version 2")]
    Version,
    /// The header extension runs past the end.
    #[error("header extension runs past the end of the packet")]
    Extension,
    /// The padding bit is set and the count is 0 or more than the payload.
    #[error("padding count is zero or larger than the payload")]
    Padding,
    /// The payload is not what its format says.
    #[error("malformed payload descriptor")]
    Payload,
}

impl RtpError {
    /// A stable code, for counters.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Short => "rtp_short",
            Self::Version => "rtp_version",
            Self::Extension => "rtp_extension",
            Self::Padding => "rtp_padding",
            Self::Payload => "rtp_payload",
        }
    }
}

/// A parsed header. Offsets refer to the packet it was parsed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    /// The marker bit: the last packet of a video frame, the first of a talk spurt.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media clock, in ticks of the codec's clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Offset of the payload in bytes: the length of the whole header.
    pub payload_offset: usize,
    /// Bytes of padding at the end, its count byte included; 0 is none.
    pub padding: u8,
    csrcs: u8,
    /// "Defined by profile" (RFC 8285 section 4); 0 without an extension.
    profile: u16,
}

const FIXED: usize = 12;

impl RtpHeader {
    /// Parses the header of a plain packet; validates extension and padding against the length.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let mut header = Self::parse_sealed(packet)?;
        if packet[0] & 0x20 != 0 {
            // The last byte exists: the fixed header does.
            let padding = packet[packet.len() - 1];
            if padding == 0 || padding as usize > packet.len() - header.payload_offset {
                return Err(RtpError::Padding);
            }
            header.padding = padding;
        }
        Ok(header)
    }

    /// Parses the header of a packet whose payload is still encrypted (RFC 3711): the padding
    /// count is ciphertext then, so it is not looked at and `padding` is 0.
    pub fn parse_sealed(packet: &[u8]) -> Result<Self, RtpError> {
        let Some(fixed) = packet.first_chunk::<FIXED>() else {
            return Err(RtpError::Short);
        };
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let csrcs = fixed[0] & 0x0f;
        let mut payload_offset = FIXED + 4 * csrcs as usize;
        if packet.len() < payload_offset {
            return Err(RtpError::Short);
        }
        let mut profile = 0;
        if fixed[0] & 0x10 != 0 {
            let Some(word) = packet[payload_offset..].first_chunk::<4>() else {
                return Err(RtpError::Extension);
            };
            profile = u16::from_be_bytes([word[0], word[1]]);
            payload_offset += 4 + 4 * u16::from_be_bytes([word[2], word[3]]) as usize;
            if packet.len() < payload_offset {
                return Err(RtpError::Extension);
            }
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            payload_offset,
            padding: 0,
            csrcs,
            profile,
        })
    }

    /// The payload without padding; empty for a packet that is nothing but padding (and for one
    /// shorter than that the header was parsed from).
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let end = packet.len().saturating_sub(self.padding as usize);
        packet.get(self.payload_offset..end).unwrap_or_default()
    }

    /// The [`payload`](Self::payload), mutable, to rewrite a payload descriptor in place.
    pub fn payload_mut<'a>(&self, packet: &'a mut [u8]) -> &'a mut [u8] {
        let end = packet.len().saturating_sub(self.padding as usize);
        packet.get_mut(self.payload_offset..end).unwrap_or_default()
    }

    /// The header extension's elements (RFC 8285), in the order they stand.
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        Extensions::new(
            self.profile,
            packet.get(self.extension_range()).unwrap_or_default(),
        )
    }

    /// The [`extensions`](Self::extensions), with each value's place in the packet.
    pub fn extension_places<'a>(
        &self,
        packet: &'a [u8],
    ) -> impl Iterator<Item = (u8, std::ops::Range<usize>)> + use<'a> {
        let start = self.extension_range().start;
        let mut elements = self.extensions(packet);
        std::iter::from_fn(move || {
            let (id, _) = elements.next()?;
            let value = elements.last_value();
            Some((id, start + value.start..start + value.end))
        })
    }

    /// The value of one element, the first of that id.
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.extensions(packet)
            .find_map(|(found, value)| (found == id).then_some(value))
    }

    /// The value of an [`extension`](Self::extension), mutable, to overwrite it in place: some
    /// values are known only when the packet leaves, such as its send time.
    pub fn extension_mut<'a>(&self, packet: &'a mut [u8], id: u8) -> Option<&'a mut [u8]> {
        let range = self.extension_range();
        let mut elements = Extensions::new(self.profile, packet.get(range.clone())?);
        let value = loop {
            let (found, _) = elements.next()?;
            if found == id {
                break elements.last_value();
            }
        };
        packet.get_mut(range.start + value.start..range.start + value.end)
    }

    /// Empty without an extension: the payload then begins where the CSRCs end.
    fn extension_range(&self) -> std::ops::Range<usize> {
        let start = FIXED + 4 * self.csrcs as usize + 4;
        start..self.payload_offset.max(start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: [u8; 14] = [
        0x80, 0xe0, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe, 1, 2,
    ];

    fn with(first: u8, behind: &[u8]) -> Vec<u8> {
        let mut packet = PLAIN[..12].to_vec();
        packet[0] = first;
        packet.extend_from_slice(behind);
        packet
    }

    #[test]
    fn the_fixed_header_is_read() {
        let header = RtpHeader::parse(&PLAIN).unwrap();
        assert!(header.marker);
        assert_eq!(header.payload_type, 96);
        assert_eq!(header.sequence, 0x1234);
        assert_eq!(header.timestamp, 0xdead_beef);
        assert_eq!(header.ssrc, 0xcafe_babe);
        assert_eq!((header.payload_offset, header.padding), (12, 0));
        assert_eq!(header.payload(&PLAIN), [1, 2]);
        assert_eq!(header.extensions(&PLAIN).count(), 0);
    }

    #[test]
    fn csrcs_extension_and_padding_are_stepped_over() {
        // Two CSRCs, one extension word of the one-byte form, three payload and two padding bytes.
        let packet = with(
            0xb2,
            &[
                1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 1, 0x31, 7, 8, 0, 9, 9, 9, 0, 2,
            ],
        );
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.payload_offset, header.padding), (28, 2));
        assert_eq!(header.payload(&packet), [9, 9, 9]);
        let elements: Vec<_> = header.extensions(&packet).collect();
        assert_eq!(elements, [(3, [7, 8].as_slice())]);
    }

    #[test]
    fn malformed_headers_have_a_cause() {
        let cases: [(&str, Vec<u8>, RtpError); 10] = [
            ("empty", vec![], RtpError::Short),
            ("eleven bytes", PLAIN[..11].to_vec(), RtpError::Short),
            ("version 1", with(0x40, &[]), RtpError::Version),
            ("a CSRC missing", with(0x81, &[0; 3]), RtpError::Short),
            (
                "extension word cut",
                with(0x90, &[0xbe, 0xde, 0]),
                RtpError::Extension,
            ),
            (
                "extension cut",
                with(0x90, &[0xbe, 0xde, 0, 2, 0, 0, 0, 0]),
                RtpError::Extension,
            ),
            (
                "longest extension",
                with(0x90, &[0xbe, 0xde, 0xff, 0xff]),
                RtpError::Extension,
            ),
            ("padding without bytes", with(0xa0, &[]), RtpError::Padding),
            ("padding of zero", with(0xa0, &[1, 0]), RtpError::Padding),
            (
                "padding into the header",
                with(0xa0, &[1, 3]),
                RtpError::Padding,
            ),
        ];
        for (what, packet, error) in cases {
            assert_eq!(RtpHeader::parse(&packet), Err(error), "{what}");
        }
    }

    #[test]
    fn a_packet_may_be_padding_only() {
        let packet = with(0xa0, &[0, 0, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.padding, 3);
        assert!(header.payload(&packet).is_empty());
    }

    #[test]
    fn the_padding_of_a_sealed_packet_is_not_looked_at() {
        let packet = with(0xa0, &[1, 0]);
        let header = RtpHeader::parse_sealed(&packet).unwrap();
        assert_eq!((header.payload_offset, header.padding), (12, 0));
    }

    #[test]
    fn an_element_is_overwritten_in_place() {
        let mut packet = with(0x90, &[0xbe, 0xde, 0, 2, 0x10, 5, 0, 0x22, 1, 2, 3, 0, 42]);
        let header = RtpHeader::parse(&packet).unwrap();
        header
            .extension_mut(&mut packet, 2)
            .unwrap()
            .copy_from_slice(&[7, 8, 9]);
        assert!(header.extension_mut(&mut packet, 3).is_none());
        assert_eq!(header.extension(&packet, 1), Some([5].as_slice()));
        assert_eq!(header.extension(&packet, 2), Some([7, 8, 9].as_slice()));
        assert_eq!(header.payload(&packet), [42]);
    }

    #[test]
    fn a_shorter_packet_than_was_parsed_is_no_panic() {
        let packet = with(0x90, &[0xbe, 0xde, 0, 1, 0x10, 5, 0, 0, 1]);
        let header = RtpHeader::parse(&packet).unwrap();
        for len in 0..packet.len() {
            let mut cut = packet[..len].to_vec();
            header.payload(&cut);
            assert_eq!(header.extensions(&cut).count(), usize::from(len >= 20));
            header.extension_mut(&mut cut, 1);
            header.payload_mut(&mut cut);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn random_bytes_never_panic(mut packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            for first in [None, Some(0x80), Some(0x90), Some(0xb1)] {
                if let (Some(first), Some(byte)) = (first, packet.first_mut()) {
                    *byte = first;
                }
                let Ok(header) = RtpHeader::parse(&packet) else { continue };
                prop_assert!(header.payload_offset <= packet.len());
                prop_assert_eq!(
                    header.payload(&packet).len(),
                    packet.len() - header.payload_offset - header.padding as usize
                );
                let elements: Vec<u8> = header.extensions(&packet).map(|(id, _)| id).collect();
                prop_assert!(!elements.contains(&0));
                for id in elements {
                    prop_assert!(header.extension_mut(&mut packet, id).is_some());
                }
            }
        }
    }
}
