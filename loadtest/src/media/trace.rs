//! Video for measuring: frames of equal packets that look like VP8. All frames are equally large,
//! keyframes too, so that the load is exactly as specified.

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtp;

use super::packetize::Stream;

/// RFC 7741 section 4.2 with X, I and a 15-bit picture id.
const DESCRIPTOR: usize = 4;
/// RFC 6386 section 9.1: three bytes of frame tag, and in a keyframe start code and dimensions.
const FRAME_HEADER: usize = 10;
/// The smallest payload that holds both.
pub const MIN_PAYLOAD: usize = DESCRIPTOR + FRAME_HEADER;

/// Makes the frames of one encoding.
#[derive(Clone, Debug)]
pub struct TraceSource {
    pub stream: Stream,
    picture_id: u16,
    packets_per_frame: u16,
    payload_bytes: usize,
    /// The bytes behind the headers: not zeros, in case anything on the way would notice.
    filler: Bytes,
}

/// The keyframes' headers; the content is noise.
const WIDTH: u16 = 1280;
const HEIGHT: u16 = 720;

impl TraceSource {
    /// Frames of `packets_per_frame` payloads of `payload_bytes`, at least [`MIN_PAYLOAD`].
    pub fn new(stream: Stream, packets_per_frame: u16, payload_bytes: usize) -> Self {
        let payload_bytes = payload_bytes.max(MIN_PAYLOAD);
        let filler: Vec<u8> = (0..payload_bytes).map(|index| (index * 31) as u8).collect();
        Self {
            stream,
            picture_id: rand::random::<u16>() & 0x7fff,
            packets_per_frame: packets_per_frame.max(1),
            payload_bytes,
            filler: filler.into(),
        }
    }

    /// Appends the packets of one frame and moves the timestamp on by `duration` ticks.
    pub fn frame(&mut self, keyframe: bool, duration: u32, packets: &mut Vec<rtp::Packet>) {
        for index in 0..self.packets_per_frame {
            let first = index == 0;
            let mut payload = BytesMut::with_capacity(self.payload_bytes);
            payload.put_u8(0x80 | u8::from(first) << 4);
            payload.put_u8(0x80);
            payload.put_u16(0x8000 | self.picture_id);
            if first {
                // Shown (bit 4), and the lowest bit is clear in a keyframe.
                payload.put_slice(&[0x10 | u8::from(!keyframe), 0, 0]);
                if keyframe {
                    payload.put_slice(&[0x9d, 0x01, 0x2a]);
                    payload.put_u16_le(WIDTH);
                    payload.put_u16_le(HEIGHT);
                }
            }
            let filled = payload.len();
            payload.put_slice(&self.filler[filled..]);
            let marker = index + 1 == self.packets_per_frame;
            packets.push(self.stream.packet(marker, payload.freeze()));
        }
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.stream.timestamp = self.stream.timestamp.wrapping_add(duration);
    }
}

#[cfg(test)]
mod tests {
    use tertulia_sfu::rtp::codec::vp8::Descriptor;

    use super::*;

    #[test]
    fn packets_are_of_one_size_and_pass_for_vp8() {
        let mut source = TraceSource::new(Stream::random(1, 96), 3, 500);
        let mut packets = Vec::new();
        for index in 0..4 {
            source.frame(index == 0, 900, &mut packets);
        }
        assert_eq!(packets.len(), 12);
        for (index, packet) in packets.iter().enumerate() {
            assert_eq!(packet.payload.len(), 500);
            assert_eq!(packet.header.marker, index % 3 == 2);
            let read = Descriptor::parse(&packet.payload).unwrap();
            assert_eq!(read.start_of_frame, index % 3 == 0);
            assert_eq!(read.keyframe, index == 0);
            let expected = (index == 0).then_some((1280, 720));
            assert_eq!(read.dimensions, expected);
        }
    }
}
