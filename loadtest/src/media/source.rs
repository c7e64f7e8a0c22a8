//! Everlasting media: the frames of one encoding as RTP packets, each when it is due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::rtp;

use super::clip::{AUDIO, AUDIO_PACKET, Frame, VideoClip, VideoLoop};
use super::h264::H264Packetizer;
use super::packetize::{Stream, Vp8Packetizer};
use super::schedule::Schedule;
use super::trace::TraceSource;

/// Two keyframes of a stream are at least this far apart, as libwebrtc's encoder has it; a request
/// that comes earlier is answered when the time is up.
const KEYFRAME_SPACING: Duration = Duration::from_millis(300);
const VIDEO_CLOCK: u32 = Vp8Packetizer::CLOCK_RATE;
const AUDIO_CLOCK: u32 = 48_000;
/// Packets of a frame of a clip, usually.
const CLIP_PACKETS: usize = 5;

/// One encoding.
pub(crate) struct Source {
    media: Media,
    pub(crate) schedule: Schedule,
    /// A keyframe is asked for.
    pub(crate) wanted: bool,
    last_keyframe: Option<Instant>,
}

enum Media {
    /// With the number of packets so far.
    Audio(Stream, usize),
    Vp8(VideoLoop, Vp8Packetizer),
    H264(VideoLoop, H264Packetizer),
    Trace(TraceSource),
}

impl Source {
    fn new(media: Media, ticks: u32, clock: u32, packets: usize) -> Self {
        Self {
            media,
            schedule: Schedule::new(ticks, clock, packets),
            wanted: false,
            last_keyframe: None,
        }
    }

    /// The sound of [`AUDIO`].
    pub(crate) fn audio(stream: Stream) -> Self {
        let ticks = AUDIO_CLOCK / 1_000 * AUDIO_PACKET.as_millis() as u32;
        Self::new(Media::Audio(stream, 0), ticks, AUDIO_CLOCK, 1)
    }

    /// A clip in VP8.
    pub(crate) fn vp8(stream: Stream, clip: Arc<VideoClip>) -> Self {
        let ticks = ticks(&clip);
        let media = Media::Vp8(VideoLoop::new(clip), Vp8Packetizer::new(stream));
        Self::new(media, ticks, VIDEO_CLOCK, CLIP_PACKETS)
    }

    /// A clip in H.264.
    pub(crate) fn h264(stream: Stream, clip: Arc<VideoClip>) -> Self {
        let ticks = ticks(&clip);
        let media = Media::H264(VideoLoop::new(clip), H264Packetizer::new(stream));
        Self::new(media, ticks, VIDEO_CLOCK, CLIP_PACKETS)
    }

    /// Frames of `packets` payloads of so many bytes.
    pub(crate) fn trace(
        stream: Stream,
        packets: u16,
        frames_per_second: u16,
        payload: usize,
    ) -> Self {
        let media = Media::Trace(TraceSource::new(stream, packets, payload));
        let ticks = VIDEO_CLOCK / u32::from(frames_per_second.max(1));
        Self::new(media, ticks, VIDEO_CLOCK, packets.into())
    }

    /// Whether it is sound.
    pub(crate) fn is_audio(&self) -> bool {
        matches!(self.media, Media::Audio(..))
    }

    /// Appends the packets of the next frame.
    pub(crate) fn next_frame(&mut self, now: Instant, packets: &mut Vec<rtp::Packet>) {
        self.schedule.advance();
        let ticks = self.schedule.ticks();
        let last = self.last_keyframe;
        let spaced =
            last.is_none_or(|last| now.saturating_duration_since(last) >= KEYFRAME_SPACING);
        let jump = spaced && std::mem::take(&mut self.wanted);
        let keyframe = match &mut self.media {
            Media::Audio(stream, next) => {
                // The marker tells the start of a talkspurt (RFC 3551 section 4.1); the clip never falls silent.
                packets.push(stream.packet(*next == 0, AUDIO[*next % AUDIO.len()].clone()));
                stream.timestamp = stream.timestamp.wrapping_add(ticks);
                *next = next.wrapping_add(1);
                false
            }
            Media::Vp8(clip, packetizer) => {
                let frame = next_of(clip, jump);
                packetizer.packetize(&frame.data, ticks, packets);
                frame.keyframe
            }
            Media::H264(clip, packetizer) => {
                let frame = next_of(clip, jump);
                packetizer.packetize(&frame.data, ticks, packets);
                frame.keyframe
            }
            Media::Trace(source) => {
                let keyframe = jump || last.is_none();
                source.frame(keyframe, ticks, packets);
                keyframe
            }
        };
        if keyframe {
            self.last_keyframe = Some(now);
        }
    }

    /// Leaves a frame out: neither it nor its numbers are missed, and time goes on.
    pub(crate) fn skip_frame(&mut self) {
        self.schedule.advance();
        let stream = match &mut self.media {
            Media::Audio(stream, _) => stream,
            Media::Vp8(_, packetizer) => &mut packetizer.stream,
            Media::H264(_, packetizer) => &mut packetizer.stream,
            Media::Trace(source) => &mut source.stream,
        };
        stream.timestamp = stream.timestamp.wrapping_add(self.schedule.ticks());
    }

    /// Goes on with a keyframe, like an encoder that was off.
    pub(crate) fn resume(&mut self) {
        (self.wanted, self.last_keyframe) = (true, None);
    }
}

fn ticks(clip: &VideoClip) -> u32 {
    (clip.frame_duration.as_secs_f64() * f64::from(VIDEO_CLOCK)).round() as u32
}

fn next_of(clip: &mut VideoLoop, jump: bool) -> Frame {
    if jump {
        clip.jump_to_keyframe();
    }
    clip.next_frame()
}
