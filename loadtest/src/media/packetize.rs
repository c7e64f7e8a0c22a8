//! Cuts VP8 frames into RTP packets (RFC 7741). An Opus frame is a packet as it is (RFC 7587).

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtp;

/// The largest RTP payload produced. With the RTP header, a few header extensions and the SRTP tag
/// the datagram stays under the 1,200 bytes that browsers keep to.
pub(super) const MAX_PAYLOAD: usize = 1_140;

/// RFC 7741 section 4.2 with everything a browser sends for one temporal layer: X; I, L and T;
/// a 15-bit picture id; TL0PICIDX; TID.
const DESCRIPTOR: usize = 6;

/// One outgoing RTP stream: its SSRC and its present numbers.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub ssrc: u32,
    pub payload_type: u8,
    pub sequence: u16,
    /// The timestamp of the next frame.
    pub timestamp: u32,
}

impl Stream {
    /// Random starts, as RFC 3550 section 5.1 asks.
    pub fn random(ssrc: u32, payload_type: u8) -> Self {
        Self {
            ssrc,
            payload_type,
            sequence: rand::random(),
            timestamp: rand::random(),
        }
    }

    pub(super) fn packet(&mut self, marker: bool, payload: Bytes) -> rtp::Packet {
        let sequence_number = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        rtp::Packet {
            header: rtp::Header {
                version: 2,
                marker,
                payload_type: self.payload_type,
                sequence_number,
                timestamp: self.timestamp,
                ssrc: self.ssrc,
                ..Default::default()
            },
            payload,
        }
    }
}

/// Packetizes one VP8 encoding. Picture ids and TL0PICIDX go up by one with every frame, even where
/// the clip jumps, so that a loop or a jump to a keyframe is invisible in the numbers.
#[derive(Clone, Debug)]
pub struct Vp8Packetizer {
    pub stream: Stream,
    picture_id: u16,
    tl0_pic_idx: u8,
}

impl Vp8Packetizer {
    /// Ticks of the RTP clock in a second.
    pub const CLOCK_RATE: u32 = 90_000;

    /// Random picture id and TL0PICIDX, as browsers start.
    pub fn new(stream: Stream) -> Self {
        Self::starting_at(stream, rand::random(), rand::random())
    }

    fn starting_at(stream: Stream, picture_id: u16, tl0_pic_idx: u8) -> Self {
        Self {
            stream,
            picture_id: picture_id & 0x7fff,
            tl0_pic_idx,
        }
    }

    /// Appends the packets of one frame and moves the timestamp on by `duration` ticks.
    ///
    /// The frame is split evenly, as in libwebrtc: a server's segmentation offload needs equal
    /// packets.
    pub fn packetize(&mut self, frame: &[u8], duration: u32, packets: &mut Vec<rtp::Packet>) {
        let count = frame.len().div_ceil(MAX_PAYLOAD - DESCRIPTOR).max(1);
        let mut rest = frame;
        for index in 0..count {
            let (part, after) = rest.split_at(rest.len().div_ceil(count - index));
            rest = after;
            let mut payload = BytesMut::with_capacity(DESCRIPTOR + part.len());
            let start_of_partition = if index == 0 { 0x10 } else { 0 };
            payload.put_u8(0x80 | start_of_partition);
            payload.put_u8(0xe0);
            payload.put_u16(0x8000 | self.picture_id);
            payload.put_u8(self.tl0_pic_idx);
            payload.put_u8(0);
            payload.put_slice(part);
            packets.push(self.stream.packet(index + 1 == count, payload.freeze()));
        }
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        self.stream.timestamp = self.stream.timestamp.wrapping_add(duration);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::media::clip::{VIDEO_360P, VideoLoop};
    use crate::media::source::Source;

    fn stream() -> Stream {
        Stream {
            ssrc: 7,
            payload_type: 96,
            sequence: 65_534,
            timestamp: u32::MAX - 1_000,
        }
    }

    #[test]
    fn frames_are_split_evenly_and_marked_at_the_end() {
        let most = MAX_PAYLOAD - DESCRIPTOR;
        for (length, sizes) in [
            (0, vec![0]),
            (1, vec![1]),
            (most, vec![most]),
            (most + 1, vec![most / 2 + 1, most / 2]),
            (3 * most - 1, vec![most, most, most - 1]),
        ] {
            let mut packets = Vec::new();
            Vp8Packetizer::new(stream()).packetize(&vec![9; length], 3_000, &mut packets);
            let lengths: Vec<_> = packets
                .iter()
                .map(|packet| packet.payload.len() - DESCRIPTOR)
                .collect();
            assert_eq!(lengths, sizes);
            let markers: Vec<_> = packets.iter().map(|packet| packet.header.marker).collect();
            assert_eq!(markers.iter().filter(|&&marker| marker).count(), 1);
            assert!(markers[markers.len() - 1]);
            let starts: Vec<_> = packets.iter().map(|p| p.payload[0] & 0x10 != 0).collect();
            assert!(starts[0] && !starts[1..].contains(&true));
        }
    }

    #[test]
    fn numbering_is_continuous_over_loops_jumps_and_wraps() {
        let mut frames = VideoLoop::new(VIDEO_360P.clone());
        let mut packetizer = Vp8Packetizer::starting_at(stream(), 0x7ff0, 0xf0);
        let mut last: Option<(u16, u32, u16, u8)> = None;
        for index in 0..400 {
            if index % 50 == 17 {
                frames.jump_to_keyframe();
            }
            let frame = frames.next_frame();
            if index % 50 == 17 {
                assert!(frame.keyframe);
            }
            let mut packets = Vec::new();
            packetizer.packetize(&frame.data, 3_000, &mut packets);
            let together: Vec<u8> = packets
                .iter()
                .flat_map(|packet| packet.payload[DESCRIPTOR..].to_vec())
                .collect();
            assert_eq!(together, frame.data);
            for (part, packet) in packets.iter().enumerate() {
                let payload = &packet.payload;
                assert!(payload.len() <= MAX_PAYLOAD);
                assert_eq!((payload[1], payload[5]), (0xe0, 0));
                let picture_id = u16::from_be_bytes([payload[2] & 0x7f, payload[3]]);
                let now = (
                    packet.header.sequence_number,
                    packet.header.timestamp,
                    picture_id,
                    payload[4],
                );
                if let Some((sequence, timestamp, picture, tl0)) = last {
                    let new = part == 0;
                    assert_eq!(now.0, sequence.wrapping_add(1));
                    assert_eq!(now.1, timestamp.wrapping_add(if new { 3_000 } else { 0 }));
                    assert_eq!(now.2, (picture + u16::from(new)) & 0x7fff);
                    assert_eq!(now.3, tl0.wrapping_add(u8::from(new)));
                }
                last = Some(now);
            }
        }
    }

    #[test]
    fn opus_timestamps_advance_by_twenty_milliseconds() {
        let (mut source, mut packets) = (Source::audio(stream()), Vec::new());
        for _ in 0..5 {
            source.next_frame(Instant::now(), &mut packets);
        }
        for pair in packets.windows(2) {
            assert_eq!(
                pair[1].header.timestamp,
                pair[0].header.timestamp.wrapping_add(960)
            );
            assert_eq!(
                pair[1].header.sequence_number,
                pair[0].header.sequence_number.wrapping_add(1)
            );
        }
        assert!(packets[0].header.marker && !packets[1].header.marker);
    }
}
