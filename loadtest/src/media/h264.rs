//! H.264: an Annex B byte stream to frames, and frames to RTP packets (RFC 6184,
//! packetization-mode 1).

use std::time::Duration;

use bytes::Bytes;
use rtc::rtp;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::packetizer::Payloader;

use super::MediaError;
use super::clip::{Frame, VideoClip};
use super::packetize::{MAX_PAYLOAD, Stream};

const SLICE: u8 = 1;
const IDR: u8 = 5;

/// Reads a byte stream with one slice a picture (ITU-T H.264 annex B).
///
/// # Errors
///
/// The bytes are no byte stream, or have no keyframe at the start.
pub fn parse(
    stream: &'static [u8],
    size: (u16, u16),
    frame_duration: Duration,
) -> Result<VideoClip, MediaError> {
    if !stream.starts_with(&[0, 0, 1]) && !stream.starts_with(&[0, 0, 0, 1]) {
        return Err(MediaError::Container("H.264 byte stream"));
    }
    let mut frames: Vec<Frame> = Vec::new();
    let mut begin = 0;
    for (start, end) in units(stream) {
        let kind = stream[start] & 0x1f;
        if !matches!(kind, SLICE | IDR) {
            continue;
        }
        frames.push(Frame {
            data: Bytes::from_static(&stream[begin..end]),
            keyframe: kind == IDR,
        });
        begin = end;
    }
    if !frames.first().is_some_and(|frame| frame.keyframe) {
        return Err(MediaError::NoKeyframe);
    }
    Ok(VideoClip {
        width: size.0,
        height: size.1,
        frame_duration,
        frames,
    })
}

/// The beginning and the end of each NAL unit, without start codes and the zeros around them.
fn units(stream: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let next_code = |from: usize| {
        let found = stream.get(from..)?.windows(3).position(|w| w == [0, 0, 1]);
        found.map(|found| from + found)
    };
    let mut at = next_code(0);
    std::iter::from_fn(move || {
        let start = at? + 3;
        at = next_code(start);
        let mut end = at.unwrap_or(stream.len());
        while end > start && stream[end - 1] == 0 {
            end -= 1;
        }
        (end > start).then_some((start, end))
    })
}

/// Packetizes one encoding.
#[derive(Clone, Debug)]
pub struct H264Packetizer {
    pub stream: Stream,
    payloader: H264Payloader,
}

impl H264Packetizer {
    /// A packetizer that has sent nothing yet.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            payloader: H264Payloader::default(),
        }
    }

    /// Appends the packets of one frame and moves the timestamp on by `duration` ticks. Parameter
    /// sets share a packet, as browsers send them.
    pub fn packetize(&mut self, frame: &Bytes, duration: u32, packets: &mut Vec<rtp::Packet>) {
        // It fails only without room for a byte.
        let payloads = self
            .payloader
            .payload(MAX_PAYLOAD, frame)
            .unwrap_or_default();
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.into_iter().enumerate() {
            packets.push(self.stream.packet(index == last, payload));
        }
        self.stream.timestamp = self.stream.timestamp.wrapping_add(duration);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tertulia_sfu::rtp::codec::{Codec, h264};
    use tertulia_sfu::testing::oracle::Oracle;

    use super::*;
    use crate::media::clip::{VIDEO_720P_H264, VideoLoop};

    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;

    /// The frame that a receiver makes of the payloads of one frame.
    fn assemble(packets: &[rtp::Packet]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for packet in packets {
            let payload = &packet.payload[..];
            match payload[0] & 0x1f {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while let Some((len, more)) = rest.split_first_chunk::<2>() {
                        let (unit, more) = more.split_at(u16::from_be_bytes(*len).into());
                        units.push(unit.to_vec());
                        rest = more;
                    }
                }
                FU_A => {
                    if payload[1] & 0x80 != 0 {
                        units.push(vec![payload[0] & 0xe0 | payload[1] & 0x1f]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&payload[2..]);
                }
                _ => units.push(payload.to_vec()),
            }
        }
        units
    }

    #[test]
    fn the_clip_is_what_it_claims_and_survives_packetizing() {
        let clip = VIDEO_720P_H264.clone();
        assert_eq!(clip.frames.len(), 120);
        let keyframes: Vec<_> = (0..120).filter(|&i| clip.frames[i].keyframe).collect();
        assert_eq!(keyframes, [0, 60]);
        let mut oracle = Oracle::new(Codec::H264);
        let mut packetizer = H264Packetizer::new(Stream {
            ssrc: 7,
            payload_type: 102,
            sequence: 65_500,
            timestamp: u32::MAX - 9_000,
        });
        let mut frames = VideoLoop::new(clip);
        let start = Instant::now();
        for index in 0..200 {
            let frame = frames.next_frame();
            let mut packets = Vec::new();
            packetizer.packetize(&frame.data, 3_000, &mut packets);
            let sent: Vec<_> = units(&frame.data)
                .map(|(start, end)| frame.data[start..end].to_vec())
                .collect();
            assert_eq!(assemble(&packets), sent);
            let marks: Vec<_> = packets.iter().map(|packet| packet.header.marker).collect();
            assert!(marks[marks.len() - 1] && !marks[..marks.len() - 1].contains(&true));
            assert_eq!(h264::is_keyframe(&packets[0].payload), frame.keyframe);
            for packet in packets {
                assert!(packet.payload.len() <= MAX_PAYLOAD);
                let mut plain = vec![0x80, u8::from(packet.header.marker) << 7 | 102];
                plain.extend(packet.header.sequence_number.to_be_bytes());
                plain.extend(packet.header.timestamp.to_be_bytes());
                plain.extend(7_u32.to_be_bytes());
                plain.extend_from_slice(&packet.payload);
                oracle.observe(&plain, start + Duration::from_millis(33) * index);
            }
        }
        let verdict = oracle.finish();
        assert_eq!(verdict.violation_count, 0, "{:?}", verdict.violations);
        assert_eq!((verdict.decodable_frames, verdict.keyframes), (200, 4));
    }

    #[test]
    fn junk_is_refused() {
        let frame = Duration::from_millis(33);
        for junk in [&b""[..], b"junk", &[0, 0, 1], &[0, 0, 1, 0x41, 9]] {
            assert!(parse(junk, (1, 1), frame).is_err());
        }
    }
}
