//! RTP and RTCP wire formats: bytes to values and back, without state, sockets or time; and the parameters of streams
//! that both sides have agreed on.
//!
//! All parsers here read bytes of strangers: none panics on any input, and none allocates more
//! than its documented bound. The parsers of the packet path ([`RtpHeader`], [`Extensions`],
//! [`codec`]) do not allocate at all.

pub mod codec;
pub mod extension;
pub(crate) mod parameters;
pub mod rtcp;
pub mod sequence;

mod header;
mod writer;

pub use extension::Extensions;
pub use header::{RtpError, RtpHeader};
pub use writer::{HeaderLen, HeaderWriter, OutHeader, pad};

/// Whether a datagram of a muxed transport is RTCP (RFC 5761 section 4): its second byte, RTP's
/// marker and payload type, is one of the packet types 192 to 223.
pub fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet.get(1), Some(192..=223))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtcp_is_told_from_rtp_by_its_second_byte() {
        for (second, rtcp) in [
            (191, false),
            (192, true),
            (200, true),
            (206, true),
            (207, true),
            (223, true),
            (224, false),
            (96, false),
            (0x80 | 96, false),
            (0x80 | 111, false),
        ] {
            assert_eq!(is_rtcp(&[0x80, second, 0, 0]), rtcp, "{second}");
        }
        assert!(!is_rtcp(&[]) && !is_rtcp(&[0x80]));
    }
}
