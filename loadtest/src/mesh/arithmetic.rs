//! The load of each person of a call, sent and received.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bot::publish::Video;
use crate::media::clip::{AUDIO, AUDIO_PACKET, VIDEO_180P, VIDEO_720P, VideoClip};
use crate::media::packetize::{Stream, Vp8Packetizer};

/// One person's part.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Each {
    /// Copies of one's own media that leave.
    pub copies: usize,
    /// Times one's own picture is encoded: browsers encode anew for each connection.
    pub encoders: usize,
    pub upload_mbit_s: f64,
    pub download_mbit_s: f64,
}

impl Each {
    /// The load without a relay.
    pub(super) fn in_mesh(people: usize, bitrate: f64) -> Self {
        let others = people.saturating_sub(1);
        Self {
            copies: others,
            encoders: others,
            upload_mbit_s: others as f64 * bitrate,
            download_mbit_s: others as f64 * bitrate,
        }
    }

    /// The load with a relay that forwards all media to everybody.
    pub(super) fn with_relay(people: usize, bitrate: f64) -> Self {
        Self {
            copies: 1,
            encoders: 1,
            upload_mbit_s: bitrate,
            ..Self::in_mesh(people, bitrate)
        }
    }
}

/// Rate of one person's media in Mbit/s: RTP headers and payloads of one pass through the clips.
pub(super) fn bitrate(video: Video, audio: bool) -> f64 {
    let video = match video {
        Video::P180 => of_video(&VIDEO_180P),
        Video::P720 => of_video(&VIDEO_720P),
        _ => 0.0,
    };
    video + if audio { of_audio() } else { 0.0 }
}

fn of_video(clip: &VideoClip) -> f64 {
    let mut packets = Vec::new();
    let mut packetizer = Vp8Packetizer::new(Stream::random(1, 96));
    for frame in &clip.frames {
        packetizer.packetize(&frame.data, 3_000, &mut packets);
    }
    mbit_s(
        packets.iter().map(|packet| packet.payload.len()),
        clip.frame_duration * clip.frames.len() as u32,
    )
}

fn of_audio() -> f64 {
    mbit_s(
        AUDIO.iter().map(Bytes::len),
        AUDIO_PACKET * AUDIO.len() as u32,
    )
}

fn mbit_s(payloads: impl Iterator<Item = usize>, time: Duration) -> f64 {
    /// RFC 3550 section 5.1, without extensions.
    const HEADER: usize = 12;
    let bytes: usize = payloads.map(|payload| payload + HEADER).sum();
    bytes as f64 * 8e-6 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_spares_upload_and_nothing_else() {
        for people in 2..=20 {
            let (mesh, relay) = (Each::in_mesh(people, 1.5), Each::with_relay(people, 1.5));
            assert_eq!(mesh.upload_mbit_s, 1.5 * (people - 1) as f64);
            assert_eq!(
                (relay.upload_mbit_s, relay.copies, relay.encoders),
                (1.5, 1, 1)
            );
            assert_eq!(mesh.download_mbit_s, relay.download_mbit_s);
        }
        assert_eq!(Each::in_mesh(2, 1.0), Each::with_relay(2, 1.0));
    }

    #[test]
    fn clips_are_as_fast_as_they_say() {
        let within =
            |value: f64, low: f64, high: f64| assert!((low..high).contains(&value), "{value}");
        within(bitrate(Video::P720, false), 1.0, 1.6);
        within(bitrate(Video::P180, false), 0.1, 0.2);
        within(bitrate(Video::None, true), 0.025, 0.06);
    }
}
