//! The streams that a bot publishes, and sending them in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use tertulia_signaling::protocol::native::MediaKind;
use tokio::time::Instant;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::codecs;
use super::plan::{Plan, Sending, plan};
use super::tap::Outgoing;
pub use super::video::Video;
use crate::media;
use crate::media::packetize::Stream;

/// Packets sent without a pause. A 720p keyframe is some 36; in one go they would overrun default
/// socket buffers, which browsers avoid by pacing too.
const BURST: usize = 8;
const PAUSE: Duration = Duration::from_millis(1);

/// A track to be published.
pub(crate) struct Source {
    pub(crate) track: Arc<TrackLocalStaticRTP>,
    pub(crate) plan: Plan,
}

/// The tracks of a publisher.
pub(crate) fn sources(name: &str, video: Video, audio: bool) -> Vec<Source> {
    let plans = plan(video, audio).into_iter();
    plans.map(|plan| source(name, plan)).collect()
}

fn source(name: &str, plan: Plan) -> Source {
    let (kind, label) = match plan.kind() {
        MediaKind::Audio => (RtpCodecKind::Audio, "microphone"),
        MediaKind::Video => (RtpCodecKind::Video, "camera"),
    };
    let Sending {
        payload_type,
        encodings,
    } = &plan.sending;
    let described = encodings.iter().map(|encoding| RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            rid: encoding.rid.to_owned(),
            ssrc: Some(encoding.ssrc),
            rtx: encoding.repair.map(|ssrc| RTCRtpRtxParameters { ssrc }),
            fec: None,
        },
        active: true,
        codec: codecs::described(*payload_type),
        ..Default::default()
    });
    let track = MediaStreamTrack::new(
        name.to_owned(),
        format!("{name}-{label}"),
        label.to_owned(),
        kind,
        described.collect(),
    );
    Source {
        track: Arc::new(TrackLocalStaticRTP::new(track)),
        plan,
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
    source: media::source::Source,
    /// A keyframe is asked for.
    wanted: Arc<AtomicBool>,
    /// Its turn within a frame's time.
    offset: Duration,
}

impl Publisher {
    /// Maps the SSRCs of `sources`; keyframe requests come through `outgoing`.
    pub(crate) fn new<'a>(
        sources: impl IntoIterator<Item = &'a Source>,
        outgoing: &Arc<Outgoing>,
    ) -> Self {
        let mut feeds = Vec::new();
        for source in sources {
            let plan = &source.plan;
            for encoding in &plan.sending.encodings {
                let stream = Stream::random(encoding.ssrc, plan.sending.payload_type);
                feeds.push(Feed {
                    track: Arc::clone(&source.track),
                    source: plan.media(encoding, stream, 0),
                    wanted: outgoing.keyframe_flag(encoding.ssrc),
                    offset: Duration::ZERO,
                });
            }
        }
        // The encodings of one camera take turns within a frame's time instead of bursting together.
        let count = feeds.len() as u32;
        for (index, feed) in feeds.iter_mut().enumerate() {
            feed.offset = feed.source.schedule.period() * index as u32 / count;
        }
        Self {
            feeds,
            outgoing: Arc::clone(outgoing),
        }
    }

    /// Sends each frame when it is due, from `start` on. Ends when the connection does.
    pub(crate) async fn run(mut self, start: Instant) -> Result<(), rtc::shared::error::Error> {
        for feed in &mut self.feeds {
            feed.source.schedule.begin((start + feed.offset).into_std());
        }
        let mut packets = Vec::new();
        let due = |feed: &&mut Feed| feed.source.schedule.due();
        while let Some(feed) = self.feeds.iter_mut().min_by_key(due) {
            let due = Instant::from_std(feed.source.schedule.due());
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
    fn next(&mut self, packets: &mut Vec<rtp::Packet>) {
        self.source.wanted |= self.wanted.swap(false, Ordering::Relaxed);
        self.source.next_frame(Instant::now().into_std(), packets);
    }
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
            let first = feed.source.schedule.due();
            let audio = feed.source.is_audio();
            for _ in 0..(if audio { 50 * 60 } else { 30 * 60 }) {
                feed.next(&mut packets);
            }
            assert_eq!(feed.source.schedule.due() - first, Duration::from_secs(60));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_keyframe_request_is_answered_but_not_in_a_row() {
        let outgoing = Arc::new(Outgoing::default());
        let sources = sources("a", Video::P180, false);
        let flag = outgoing.keyframe_flag(sources[0].plan.sending.encodings[0].ssrc);
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
