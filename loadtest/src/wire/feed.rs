//! One RTP stream that a bot sends: its frames, their times, and the packets kept of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp;
use tertulia_signaling::protocol::native::MediaKind;

use super::publisher::{HEADER, Plan};
use super::schedule::Schedule;
use super::sdp::Encoding;
use crate::bot::publish::Video;
use crate::media::clip::{AUDIO, AudioClip, Frame, VIDEO_720P_H264, VideoClip, VideoLoop};
use crate::media::h264::H264Packetizer;
use crate::media::packetize::{OpusPacketizer, Stream, Vp8Packetizer};
use crate::media::trace::TraceSource;

const VIDEO_CLOCK: u32 = 90_000;
const AUDIO_CLOCK: u32 = 48_000;
/// Two keyframes of a stream are at least this far apart, as libwebrtc's encoder has it; a request
/// that comes earlier is answered when the time is up.
const KEYFRAME_SPACING: Duration = Duration::from_millis(300);
/// Packets of a stream kept to be sent again: a second of 1,000 packets a second.
const HISTORY: usize = 1_024;

/// One RTP stream.
pub(super) struct Feed {
    pub(super) mid: String,
    pub(super) rid: &'static str,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) repair: Option<u32>,
    pub(super) repair_sequence: u16,
    /// The server reported on the SSRC: it needs no names any more (RFC 8852 section 3.3).
    pub(super) confirmed: bool,
    pub(super) media: Media,
    pub(super) schedule: Schedule,
    /// Packets of the frame being sent.
    pub(super) queue: VecDeque<rtp::Packet>,
    pub(super) burst_due: Instant,
    pub(super) wanted: bool,
    /// The server wants the stream.
    active: bool,
    last_keyframe: Option<Instant>,
    /// Packets by sequence number, modulo its length.
    history: Vec<Option<Kept>>,
    /// RTP time and moment of the last frame.
    pub(super) clock: Option<(u32, Instant)>,
    pub(super) packets: u32,
    pub(super) octets: u32,
    /// RTP headers and payloads.
    pub(super) bytes: u64,
    /// The times of the first packet sent, and of the last.
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

pub(super) enum Media {
    Audio(OpusPacketizer, usize),
    Vp8(VideoLoop, Vp8Packetizer),
    H264(VideoLoop, H264Packetizer),
    Trace(TraceSource),
}

impl Media {
    fn stream(&mut self) -> &mut Stream {
        match self {
            Self::Audio(packetizer, _) => &mut packetizer.stream,
            Self::Vp8(_, packetizer) => &mut packetizer.stream,
            Self::H264(_, packetizer) => &mut packetizer.stream,
            Self::Trace(source) => &mut source.stream,
        }
    }
}

#[derive(Clone)]
pub(super) struct Kept {
    pub(super) sequence: u16,
    pub(super) marker: bool,
    pub(super) timestamp: u32,
    pub(super) payload: Bytes,
    pub(super) captured: u64,
}

impl Feed {
    pub(super) fn new(
        plan: &Plan,
        mid: usize,
        format: u8,
        encoding: &Encoding,
        start: Instant,
    ) -> Self {
        let mut stream = Stream::random(encoding.ssrc, format);
        // RFC 3711 section 3.3.1: so that losing the first packets cannot hide a rollover.
        stream.sequence &= 0x7fff;
        let ticks = |clip: &VideoClip| {
            (clip.frame_duration.as_secs_f64() * f64::from(VIDEO_CLOCK)).round() as u32
        };
        let video = |clip: &Arc<VideoClip>| (ticks(clip), VIDEO_CLOCK, 5);
        let (media, (ticks, clock, packets)) = match plan.video {
            _ if plan.line.kind == MediaKind::Audio => {
                let ticks = (AUDIO_CLOCK / 1_000) * AudioClip::PACKET_DURATION.as_millis() as u32;
                (
                    Media::Audio(OpusPacketizer::new(stream), 0),
                    (ticks, AUDIO_CLOCK, 1),
                )
            }
            Video::P720H264 => {
                let clip = VIDEO_720P_H264.clone();
                let facts = video(&clip);
                (
                    Media::H264(VideoLoop::new(clip), H264Packetizer::new(stream)),
                    facts,
                )
            }
            Video::Trace {
                packets_per_frame,
                frames_per_second,
                packet_bytes,
            } => {
                let payload = usize::from(packet_bytes).saturating_sub(HEADER);
                let source = TraceSource::new(stream, packets_per_frame, payload);
                let ticks = VIDEO_CLOCK / u32::from(frames_per_second.max(1));
                (
                    Media::Trace(source),
                    (ticks, VIDEO_CLOCK, packets_per_frame.into()),
                )
            }
            clips => {
                let layers = clips.layers();
                let own = layers.iter().find(|(rid, _)| *rid == encoding.rid);
                let clip = own.or(layers.first()).map(|(_, clip)| Arc::clone(clip));
                let clip = clip.unwrap_or_else(|| VIDEO_720P_H264.clone());
                let facts = video(&clip);
                (
                    Media::Vp8(VideoLoop::new(clip), Vp8Packetizer::new(stream)),
                    facts,
                )
            }
        };
        let schedule = Schedule::new(start, ticks, clock, packets);
        Self {
            mid: mid.to_string(),
            rid: encoding.rid,
            ssrc: encoding.ssrc,
            payload_type: format,
            repair: encoding.repair,
            repair_sequence: rand::random::<u16>() & 0x7fff,
            confirmed: false,
            media,
            schedule,
            queue: VecDeque::new(),
            burst_due: start,
            wanted: false,
            active: true,
            last_keyframe: None,
            history: vec![
                None;
                if encoding.repair.is_some() {
                    HISTORY
                } else {
                    0
                }
            ],
            clock: None,
            packets: 0,
            octets: 0,
            bytes: 0,
            first: None,
            last: None,
        }
    }

    pub(super) fn start(&mut self, at: Instant) {
        self.schedule.begin(at);
        self.burst_due = at;
    }

    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Resumes, with a keyframe like an encoder that was off, or stops after the present frame.
    pub(super) fn set_active(&mut self, active: bool) {
        if active && !self.active {
            (self.wanted, self.last_keyframe) = (true, None);
        }
        self.active = active;
    }

    pub(super) fn due(&self) -> Instant {
        if self.queue.is_empty() {
            self.schedule.due()
        } else {
            self.burst_due
        }
    }

    pub(super) fn next_frame(&mut self, now: Instant) {
        let due = self.schedule.due();
        self.burst_due = due;
        self.schedule.advance();
        let ticks = self.schedule.ticks();
        let spaced = self
            .last_keyframe
            .is_none_or(|last| now.saturating_duration_since(last) >= KEYFRAME_SPACING);
        let jump = spaced && std::mem::take(&mut self.wanted);
        let first = self.last_keyframe.is_none();
        let mut packets = Vec::new();
        let keyframe = match &mut self.media {
            Media::Audio(packetizer, next) => {
                let clip = &AUDIO.packets;
                packets.push(packetizer.packetize(clip[*next % clip.len()].clone()));
                *next = next.wrapping_add(1);
                false
            }
            Media::Vp8(clip, packetizer) => {
                let frame = next_of(clip, jump);
                packetizer.packetize(&frame.data, ticks, &mut packets);
                frame.keyframe
            }
            Media::H264(clip, packetizer) => {
                let frame = next_of(clip, jump);
                packetizer.packetize(&frame.data, ticks, &mut packets);
                frame.keyframe
            }
            Media::Trace(source) => {
                source.frame(jump || first, ticks, &mut packets);
                jump || first
            }
        };
        if keyframe {
            self.last_keyframe = Some(now);
        }
        self.clock = packets.first().map(|packet| (packet.header.timestamp, due));
        self.queue.extend(packets);
    }

    /// Leaves a frame out: neither it nor its numbers are missed, and time goes on.
    pub(super) fn skip_frame(&mut self) {
        self.schedule.advance();
        let stream = self.media.stream();
        stream.timestamp = stream.timestamp.wrapping_add(self.schedule.ticks());
    }

    pub(super) fn keep(&mut self, packet: rtp::Packet, captured: u64) {
        if self.history.is_empty() {
            return;
        }
        let sequence = packet.header.sequence_number;
        self.history[usize::from(sequence) % HISTORY] = Some(Kept {
            sequence,
            marker: packet.header.marker,
            timestamp: packet.header.timestamp,
            payload: packet.payload,
            captured,
        });
    }

    /// A packet sent not long ago.
    pub(super) fn kept(&self, sequence: u16) -> Option<&Kept> {
        let place = usize::from(sequence) % HISTORY;
        let kept = self.history.get(place)?.as_ref();
        kept.filter(|kept| kept.sequence == sequence)
    }
}

fn next_of(clip: &mut VideoLoop, jump: bool) -> Frame {
    if jump {
        clip.jump_to_keyframe();
    }
    clip.next_frame()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::publisher::plan;

    #[test]
    fn an_encoding_that_was_off_goes_on_in_time_and_with_a_keyframe() {
        let start = Instant::now();
        let plans = plan(Video::P720Simulcast, false);
        let sending = plans[0].line.sending.as_ref().unwrap();
        let encoding = &sending.encodings[0];
        let mut feed = Feed::new(&plans[0], 0, sending.payload_type, encoding, start);
        let mut packets = Vec::new();
        for frame in 0..30 {
            let due = start + Duration::from_nanos(u64::from(frame) * 1_000_000_000 / 30);
            assert_eq!(feed.due(), due);
            match frame {
                10 => feed.set_active(false),
                20 => feed.set_active(true),
                _ => {}
            }
            if feed.is_active() {
                feed.next_frame(feed.due());
                packets.extend(feed.queue.drain(..).map(|packet| (frame, packet)));
            } else {
                feed.skip_frame();
            }
        }
        let (_, first) = packets[0].clone();
        for (index, (frame, packet)) in packets.iter().enumerate() {
            let since = packet.header.timestamp.wrapping_sub(first.header.timestamp);
            assert_eq!(since, frame * feed.schedule.ticks(), "frame {frame}");
            let number = first.header.sequence_number.wrapping_add(index as u16);
            assert_eq!(packet.header.sequence_number, number, "nothing is missing");
        }
        // The lowest bit of a VP8 frame's first byte is clear in a keyframe (RFC 6386 section 9.1).
        let is_key =
            |packet: &rtp::Packet| packet.payload[0] & 0x10 != 0 && packet.payload[6] & 1 == 0;
        let keys: Vec<_> = packets
            .iter()
            .filter(|(_, packet)| is_key(packet))
            .collect();
        let keys: Vec<_> = keys.into_iter().map(|(frame, _)| *frame).collect();
        assert_eq!(keys, [0, 20]);
    }
}
