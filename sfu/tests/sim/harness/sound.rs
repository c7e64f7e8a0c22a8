//! Redundant audio (RFC 2198) as a client reads it, and the offer to have lost sound sent again.

use str0m::rtp::RtpHeader;
use tertulia_sfu::rtp::codec::red::{Earlier, Primary};

/// Redundant audio, as `str0m` offers it.
const RED: u8 = 63;
/// Opus, likewise.
const OPUS_FEEDBACK: &str = "a=rtcp-fb:111 transport-cc\r\n";

/// The audio in a packet, unwrapped.
pub(super) struct Sound<'a> {
    pub(super) payload_type: u8,
    pub(super) payload: &'a [u8],
    /// Timestamps of the frames that it repeats.
    pub(super) earlier: Vec<u32>,
}

impl<'a> Sound<'a> {
    pub(super) fn of(header: &RtpHeader, payload: &'a [u8]) -> Self {
        if *header.payload_type != RED {
            return Self {
                payload_type: *header.payload_type,
                payload,
                earlier: Vec::new(),
            };
        }
        let primary = Primary::find(payload).expect("redundant audio that can be read");
        let copies = Earlier::all(payload).map(|copy| copy.distance);
        Self {
            payload_type: primary.payload_type,
            payload: &payload[primary.start..],
            earlier: copies
                .map(|distance| header.timestamp.wrapping_sub(distance))
                .collect(),
        }
    }
}

/// An offer with NACK (RFC 4585) for sound.
pub(super) fn offer_repair(offer: &str) -> String {
    assert!(offer.contains(OPUS_FEEDBACK), "{offer}");
    let with = format!("{OPUS_FEEDBACK}a=rtcp-fb:111 nack\r\n");
    offer.replace(OPUS_FEEDBACK, &with)
}
