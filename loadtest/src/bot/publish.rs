//! The streams that a bot publishes, and sending them in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use tertulia_signaling::protocol::native::{self as protocol, MediaKind};
use tokio::time::Instant;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::codecs;
use super::tap::Outgoing;
pub use super::video::Video;
use crate::media::clip::{AUDIO, AudioClip, VideoClip, VideoLoop};
use crate::media::packetize::{OpusPacketizer, Stream, Vp8Packetizer};

/// Two keyframes of a stream are at least this far apart, as libwebrtc's encoder has it; a request
/// that comes earlier is answered when the time is up.
const KEYFRAME_SPACING: Duration = Duration::from_millis(300);

/// Packets sent without a pause. A 720p keyframe is some 36; in one go they would overrun default
/// socket buffers, which browsers avoid by pacing too.
const BURST: usize = 8;
const PAUSE: Duration = Duration::from_millis(1);

/// A track to be published.
pub(crate) struct Source {
    pub(crate) track: Arc<TrackLocalStaticRTP>,
    pub(crate) source: protocol::Source,
    pub(crate) encodings: Vec<Encoding>,
}

impl Source {
    /// Audio or video.
    pub(crate) fn kind(&self) -> MediaKind {
        match self.source {
            protocol::Source::Microphone => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }
}

/// One encoding of a track.
#[derive(Clone)]
pub(crate) struct Encoding {
    /// Empty without simulcast.
    pub(crate) rid: &'static str,
    pub(crate) ssrc: u32,
    /// The SSRC of its retransmissions.
    pub(crate) repair: Option<u32>,
    clip: Option<Arc<VideoClip>>,
}

/// The tracks of a publisher.
pub(crate) fn sources(name: &str, video: Video, audio: bool) -> Vec<Source> {
    let mut sources = Vec::new();
    if audio {
        let encoding = Encoding {
            rid: "",
            ssrc: ssrc(),
            repair: None,
            clip: None,
        };
        sources.push(source(
            name,
            protocol::Source::Microphone,
            codecs::OPUS,
            vec![encoding],
        ));
    }
    let encodings: Vec<_> = video
        .layers()
        .into_iter()
        .map(|(rid, clip)| Encoding {
            rid,
            ssrc: ssrc(),
            repair: Some(ssrc()),
            clip: Some(clip),
        })
        .collect();
    if !encodings.is_empty() {
        sources.push(source(
            name,
            protocol::Source::Camera,
            codecs::VP8,
            encodings,
        ));
    }
    sources
}

fn ssrc() -> u32 {
    // 0 is left out: the crate takes it for "none" in places.
    rand::random_range(1..=u32::MAX)
}

fn source(name: &str, source: protocol::Source, codec: u8, encodings: Vec<Encoding>) -> Source {
    let (kind, label) = match source {
        protocol::Source::Microphone => (RtpCodecKind::Audio, "microphone"),
        _ => (RtpCodecKind::Video, "camera"),
    };
    let described = encodings
        .iter()
        .map(|encoding| RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                rid: encoding.rid.to_owned(),
                ssrc: Some(encoding.ssrc),
                rtx: encoding.repair.map(|ssrc| RTCRtpRtxParameters { ssrc }),
                fec: None,
            },
            active: true,
            codec: codecs::described(codec),
            ..Default::default()
        })
        .collect();
    let track = MediaStreamTrack::new(
        name.to_owned(),
        format!("{name}-{label}"),
        label.to_owned(),
        kind,
        described,
    );
    Source {
        track: Arc::new(TrackLocalStaticRTP::new(track)),
        source,
        encodings,
    }
}

/// Sends everything a bot publishes until dropped.
pub(crate) struct Publisher {
    feeds: Vec<Feed>,
    outgoing: Arc<Outgoing>,
}

/// Time of a frame at 30 a second: a packet later than that is the generator's own fault.
const LATE: Duration = Duration::from_millis(33);

struct Feed {
    track: Arc<TrackLocalStaticRTP>,
    /// Since the publisher began.
    due: Duration,
    sent: u32,
    offset: Duration,
    media: Media,
}

enum Media {
    Video {
        clip: VideoLoop,
        packetizer: Vp8Packetizer,
        wanted: Arc<AtomicBool>,
        last_keyframe: Option<Instant>,
    },
    Audio {
        clip: Arc<AudioClip>,
        packetizer: OpusPacketizer,
    },
}

impl Publisher {
    /// Maps the SSRCs of `sources`; keyframe requests come through `outgoing`.
    pub(crate) fn new<'a>(
        sources: impl IntoIterator<Item = &'a Source>,
        outgoing: &Arc<Outgoing>,
    ) -> Self {
        let mut feeds = Vec::new();
        for source in sources {
            for encoding in &source.encodings {
                let media = match &encoding.clip {
                    Some(clip) => Media::Video {
                        clip: VideoLoop::new(Arc::clone(clip)),
                        packetizer: Vp8Packetizer::new(Stream::random(encoding.ssrc, codecs::VP8)),
                        wanted: outgoing.keyframe_flag(encoding.ssrc),
                        last_keyframe: None,
                    },
                    None => Media::Audio {
                        clip: AUDIO.clone(),
                        packetizer: OpusPacketizer::new(Stream::random(
                            encoding.ssrc,
                            codecs::OPUS,
                        )),
                    },
                };
                feeds.push(Feed {
                    track: Arc::clone(&source.track),
                    due: Duration::ZERO,
                    sent: 0,
                    offset: Duration::ZERO,
                    media,
                });
            }
        }
        // The encodings of one camera take turns within a frame's time instead of bursting together.
        let count = feeds.len() as u32;
        for (index, feed) in feeds.iter_mut().enumerate() {
            feed.offset = feed.period(1) * index as u32 / count;
            feed.due = feed.offset;
        }
        Self {
            feeds,
            outgoing: Arc::clone(outgoing),
        }
    }

    /// Sends each frame when it is due, from `start` on. Ends when the connection does.
    pub(crate) async fn run(mut self, start: Instant) -> Result<(), rtc::shared::error::Error> {
        let mut packets = Vec::new();
        while let Some(feed) = self.feeds.iter_mut().min_by_key(|feed| feed.due) {
            let due = start + feed.due;
            tokio::time::sleep_until(due).await;
            feed.next(&mut packets);
            if due.elapsed() > LATE {
                self.outgoing.add_late(packets.len() as u64);
            }
            for (index, packet) in packets.drain(..).enumerate() {
                if index % BURST == BURST - 1 {
                    tokio::time::sleep(PAUSE).await;
                }
                feed.track.write_rtp(packet).await?;
            }
        }
        Ok(())
    }
}

impl Feed {
    /// The duration of `frames` frames. Computed from the count, so that rounding does not add up and
    /// the RTP clock stays with the wall clock.
    fn period(&self, frames: u32) -> Duration {
        match &self.media {
            Media::Video { clip, .. } => {
                let ticks = u64::from(frames) * u64::from(ticks(clip.clip()));
                Duration::from_nanos(ticks * 1_000_000_000 / u64::from(Vp8Packetizer::CLOCK_RATE))
            }
            Media::Audio { .. } => AudioClip::PACKET_DURATION * frames,
        }
    }

    fn next(&mut self, packets: &mut Vec<rtp::Packet>) {
        match &mut self.media {
            Media::Video {
                clip,
                packetizer,
                wanted,
                last_keyframe,
            } => {
                let now = Instant::now();
                let spaced = last_keyframe.is_none_or(|last| now - last >= KEYFRAME_SPACING);
                if spaced && wanted.swap(false, Ordering::Relaxed) {
                    clip.jump_to_keyframe();
                }
                let frame = clip.next_frame();
                if frame.keyframe {
                    *last_keyframe = Some(now);
                }
                packetizer.packetize(&frame.data, ticks(clip.clip()), packets);
            }
            Media::Audio { clip, packetizer } => {
                let frame = &clip.packets[self.sent as usize % clip.packets.len()];
                packets.push(packetizer.packetize(frame.clone()));
            }
        }
        self.sent += 1;
        self.due = self.offset + self.period(self.sent);
    }
}

fn ticks(clip: &VideoClip) -> u32 {
    let rate = f64::from(Vp8Packetizer::CLOCK_RATE);
    (clip.frame_duration.as_secs_f64() * rate).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_to_the_wall_clock() {
        let sources = sources("a", Video::P720Simulcast, true);
        let publisher = Publisher::new(&sources, &Arc::default());
        assert_eq!(publisher.feeds.len(), 4);
        for mut feed in publisher.feeds {
            let mut packets = Vec::new();
            let first = feed.due;
            let audio = matches!(feed.media, Media::Audio { .. });
            for _ in 0..(if audio { 50 * 60 } else { 30 * 60 }) {
                feed.next(&mut packets);
            }
            assert_eq!(feed.due - first, Duration::from_secs(60));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_keyframe_request_is_answered_but_not_in_a_row() {
        let outgoing = Arc::new(Outgoing::default());
        let sources = sources("a", Video::P180, false);
        let flag = outgoing.keyframe_flag(sources[0].encodings[0].ssrc);
        let mut feed = Publisher::new(&sources, &outgoing).feeds.remove(0);
        let mut keyframes = Vec::new();
        for index in 0..60 {
            if index == 5 || index == 40 {
                flag.store(true, Ordering::Relaxed);
            }
            let mut packets = Vec::new();
            feed.next(&mut packets);
            if packets[0].payload[6] & 1 == 0 {
                keyframes.push(index);
            }
            tokio::time::advance(Duration::from_nanos(33_333_334)).await;
        }
        // 0: the clip's own. 9: 300 ms after it. 40: at once; frame 60 of the clip, then on.
        assert_eq!(keyframes, [0, 9, 40]);
    }
}
