//! Packets of a track from its caches, as if they had just come.

use super::{StreamPacket, Track};
use crate::packet::{PacketInfo, PassedOn};
use crate::rtp::RtpHeader;
use crate::rtp::codec::is_keyframe;

impl Track {
    /// A packet that a layer's cache still has, with its info. None once another stream than `ssrc` has begun on the
    /// layer. `sequence` is the publisher's sequence number, unwrapped.
    pub(crate) fn cached(
        &self,
        layer: usize,
        ssrc: u32,
        sequence: u64,
    ) -> Option<(&[u8], PacketInfo)> {
        let found = self.layers.get(layer);
        let found = found.filter(|layer| layer.ssrc == Some(ssrc))?;
        let datagram = found.cache.as_ref()?.get(sequence)?;
        let info = self.cached_info(layer, sequence, datagram)?;
        Some((datagram, info))
    }

    /// The info of a packet from a layer's cache.
    pub(crate) fn cached_info(
        &self,
        layer: usize,
        sequence: u64,
        datagram: &[u8],
    ) -> Option<PacketInfo> {
        let header = RtpHeader::parse(datagram).ok()?;
        let codec = self.codec(header.payload_type)?;
        let passed_on = PassedOn::find(&header, datagram, &self.extensions);
        let described = self.layers.get(layer)?.frames.describe(StreamPacket {
            codec,
            sequence,
            datagram,
            payload: header.payload(datagram),
            passed_on: &passed_on,
        });
        Some(PacketInfo {
            header,
            codec,
            track: self.id,
            layer,
            sequence,
            switchable: is_keyframe(codec, header.payload(datagram)),
            cached: true,
            sender: self.layers.get(layer)?.sender,
            described,
            passed_on,
        })
    }
}
