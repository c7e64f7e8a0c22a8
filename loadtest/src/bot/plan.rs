//! The tracks that a bot is to publish, whatever stack it has.

use tertulia_signaling::protocol::native::{MediaKind, Source};

use super::codecs;
use super::native::kind_of;
use super::video::Video;
use crate::media;
use crate::media::clip::VIDEO_720P_H264;
use crate::media::packetize::Stream;

/// A track.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    pub(crate) sending: Sending,
    video: Video,
}

/// The streams that a sending m-line carries.
#[derive(Clone, Debug)]
pub struct Sending {
    pub payload_type: u8,
    pub encodings: Vec<Encoding>,
}

/// One encoding of a track.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// Empty without simulcast.
    pub rid: &'static str,
    pub ssrc: u32,
    /// The SSRC of its retransmissions.
    pub repair: Option<u32>,
}

/// The tracks of a publisher.
pub(crate) fn plan(video: Video, audio: bool) -> Vec<Plan> {
    let plan = |source, payload_type, rids: &[&'static str]| Plan {
        source,
        sending: Sending::new(payload_type, rids),
        video,
    };
    let mut plans = Vec::new();
    if audio {
        plans.push(plan(Source::Microphone, codecs::OPUS, &[""]));
    }
    let layers = video.layers().into_iter().map(|(rid, _)| rid);
    match video {
        Video::None => {}
        Video::P720H264 => plans.push(plan(Source::Camera, codecs::H264, &[""])),
        Video::Trace { .. } => plans.push(plan(Source::Camera, codecs::VP8, &[""])),
        _ => plans.push(plan(
            Source::Camera,
            codecs::VP8,
            &layers.collect::<Vec<_>>(),
        )),
    }
    plans
}

impl Sending {
    /// One encoding for each RID, with fresh SSRCs.
    pub fn new(payload_type: u8, rids: &[&'static str]) -> Self {
        // 0 is left out: the `webrtc` crate takes it for "none" in places.
        let ssrc = || rand::random_range(1..=u32::MAX);
        let video = !codecs::known(payload_type).0.is_audio();
        let encoding = |rid: &&'static str| Encoding {
            rid,
            ssrc: ssrc(),
            repair: video.then(ssrc),
        };
        Self {
            payload_type,
            encodings: rids.iter().map(encoding).collect(),
        }
    }
}

impl Plan {
    /// Audio or video.
    pub(crate) fn kind(&self) -> MediaKind {
        kind_of(self.source)
    }

    /// The media of one of its encodings. Packets of a trace have `header` bytes besides their payload.
    pub(crate) fn media(
        &self,
        encoding: &Encoding,
        stream: Stream,
        header: usize,
    ) -> media::source::Source {
        use media::source::Source;
        match self.video {
            _ if self.kind() == MediaKind::Audio => Source::audio(stream),
            Video::P720H264 => Source::h264(stream, VIDEO_720P_H264.clone()),
            Video::Trace {
                packets_per_frame,
                frames_per_second,
                packet_bytes,
            } => {
                let payload = usize::from(packet_bytes).saturating_sub(header);
                Source::trace(stream, packets_per_frame, frames_per_second, payload)
            }
            clips => {
                let mut layers = clips.layers();
                let own = layers.iter().position(|(rid, _)| *rid == encoding.rid);
                let (_, clip) = layers.swap_remove(own.unwrap_or_default());
                Source::vp8(stream, clip)
            }
        }
    }
}
