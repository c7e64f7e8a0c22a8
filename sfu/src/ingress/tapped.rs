//! A publisher's packet as the taps of its track get it.

use bytes::Bytes;

use super::Media;
use crate::rtp::codec::{Codec, red};
use crate::tap::TapPacket;
use crate::track::Track;

impl Media {
    /// The packet for taps of its track.
    pub(crate) fn for_taps(&self, track: &Track, datagram: &[u8]) -> TapPacket {
        let (header, codec) = (&self.header, self.codec);
        let payload = header.payload(datagram);
        let (mut payload_type, mut start) = (header.payload_type, 0);
        let mut inside = codec;
        // The newest frame of redundant audio is given: the earlier ones came before.
        if codec == Codec::Red
            && let Some(primary) = red::Primary::find(payload)
            && let Some(found) = track.codec(primary.payload_type)
        {
            (inside, payload_type, start) = (found, primary.payload_type, primary.start);
        }
        let layer = track.layers.get(self.layer);
        let clock = layer.and_then(|layer| layer.sender);
        TapPacket {
            codec: inside,
            payload_type,
            clock_rate: codec.clock_rate(),
            layer: self.layer,
            keyframe: self.keyframe,
            sequence: self.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            ntp: clock.map(|clock| clock.ntp_of(header.timestamp, codec.clock_rate())),
            missed: 0,
            payload: Bytes::copy_from_slice(payload.get(start..).unwrap_or_default()),
        }
    }
}
