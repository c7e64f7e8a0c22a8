//! A packet between its publisher and its viewers: what ingress hands to the router and egress rewrites.

use crate::clock::SenderClock;
use crate::id::TrackId;
use crate::rtp::RtpHeader;
use crate::rtp::codec::Codec;
use crate::rtp::extension::ExtensionMap;

/// A decrypted packet of a published track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// All of it, as the publisher sent it; unwrapped if it came by retransmission.
    pub(crate) datagram: &'a [u8],
    pub(crate) header: RtpHeader,
    pub(crate) codec: Codec,
    /// The publisher's extension ids.
    pub(crate) extensions: &'a ExtensionMap,
    pub(crate) track: TrackId,
    /// Index among the track's layers, lowest first.
    pub(crate) layer: usize,
    /// Unwrapped within the layer's stream.
    pub(crate) sequence: u64,
    /// A decoder can begin here.
    pub(crate) switchable: bool,
    /// It is in its layer's cache.
    pub(crate) cached: bool,
    /// The layer's clock, once the publisher has reported it.
    pub(crate) sender: Option<SenderClock>,
}
