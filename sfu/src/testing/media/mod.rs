//! A simulated publisher's packets: RTP of plausible timing and size, in virtual time, without an encoder.

mod encoder;
mod layered;
mod mark;
mod vp8;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use layered::Scalability;
pub use mark::Mark;
pub use vp8::{MAX_PAYLOAD, Vp8Layer, Vp8Packetizer};

use self::encoder::Encoder;
use self::layered::{Layered, Payload};
use crate::rtp::extension::{AbsSendTime, AudioLevel, ExtensionKind, ExtensionMap, TransportCc};
use crate::rtp::{HeaderWriter, OutHeader, RtpHeader, rtcp};

/// A VP8 track.
#[derive(Clone, Debug)]
pub struct VideoConfig {
    /// The simulcast layers, or one.
    pub layers: Vec<LayerConfig>,
    /// Payload type.
    pub payload_type: u8,
    /// The MID to name, if negotiated.
    pub mid: String,
    /// Negotiated header extensions.
    pub extensions: ExtensionMap,
    /// Frames a second of all layers.
    pub frames_per_second: u32,
    /// 1 to 3; with 1 the descriptor has picture ids only.
    pub temporal_layers: u8,
    /// Seed of everything random: sizes, first sequence numbers, timestamps and picture ids.
    pub seed: u64,
}

/// One simulcast layer.
#[derive(Clone, Debug)]
pub struct LayerConfig {
    /// SSRC of its stream.
    pub ssrc: u32,
    /// The RID to name, if negotiated.
    pub rid: Option<String>,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Bits a second of payload, over time; a keyframe is five times the size of another frame.
    pub bitrate: u64,
}

impl LayerConfig {
    /// The three layers a browser makes of 1280x720, smallest first, with RIDs `q`, `h` and `f` and
    /// consecutive SSRCs from `ssrc` on.
    pub fn simulcast(ssrc: u32) -> Vec<Self> {
        [
            ("q", 320, 180, 150_000),
            ("h", 640, 360, 500_000),
            ("f", 1_280, 720, 1_700_000),
        ]
        .into_iter()
        .enumerate()
        .map(|(index, (rid, width, height, bitrate))| Self {
            ssrc: ssrc.wrapping_add(index as u32),
            rid: Some(rid.to_owned()),
            width,
            height,
            bitrate,
        })
        .collect()
    }
}

/// An Opus track.
#[derive(Clone, Debug)]
pub struct AudioConfig {
    /// Its stream.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// The MID to name, if negotiated.
    pub mid: String,
    /// Negotiated header extensions.
    pub extensions: ExtensionMap,
    /// Seed of everything random.
    pub seed: u64,
}

/// One published track. Drive it by [`next_at`](Self::next_at) and
/// [`poll_packet`](Self::poll_packet).
#[derive(Debug)]
pub struct MediaSource {
    start: Instant,
    /// Frames made, of each stream.
    frames: u64,
    frames_per_second: u32,
    payload_type: u8,
    mid: String,
    extensions: ExtensionMap,
    clock_rate: u32,
    transport_cc: u16,
    level: AudioLevel,
    streams: Vec<Stream>,
    /// Written up to when they are due; abs-send-time and transport-cc are put in then.
    pending: VecDeque<(Instant, Vec<u8>)>,
    rng: StdRng,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    rid: Option<String>,
    enabled: bool,
    sequence: u16,
    first_timestamp: u32,
    packets: u32,
    octets: u32,
    /// Encoders of video; none for audio.
    video: Option<Video>,
}

#[derive(Debug)]
enum Video {
    Vp8(Box<(Encoder, Vp8Packetizer)>),
    Layered(Box<Layered>),
}

impl Video {
    fn request_keyframe(&mut self) {
        match self {
            Self::Vp8(vp8) => vp8.0.request_keyframe(),
            Self::Layered(layered) => layered.request_keyframe(),
        }
    }

    fn set_bitrate(&mut self, bitrate: u64, frames_per_second: u32) {
        match self {
            Self::Vp8(vp8) => vp8.0.set_bitrate(bitrate, frames_per_second),
            Self::Layered(layered) => layered.set_bitrate(bitrate, frames_per_second),
        }
    }
}

/// Time between the packets of one frame, as with a pacer: 1,100 bytes at 44 Mbit/s.
const PACKET_SPACING: Duration = Duration::from_micros(200);

/// MID and RID are named in the first packets of a stream and then no more, as browsers do once
/// they have been understood.
const NAMED_PACKETS: u32 = 100;

impl MediaSource {
    /// A video track that begins at `start`.
    pub fn vp8(start: Instant, config: VideoConfig) -> Self {
        let mut rng = StdRng::seed_from_u64(config.seed);
        let frames_per_second = config.frames_per_second.max(1);
        let streams = config.layers.into_iter().map(|layer| {
            let size = (layer.width, layer.height);
            let mut encoder = Encoder::new(rng.random(), size, config.temporal_layers);
            encoder.set_bitrate(layer.bitrate, frames_per_second);
            let packetizer = Vp8Packetizer::new(rng.random(), rng.random());
            Stream {
                rid: layer.rid,
                video: Some(Video::Vp8(Box::new((encoder, packetizer)))),
                ..Stream::new(layer.ssrc, &mut rng)
            }
        });
        let streams = streams.collect();
        Self {
            frames_per_second,
            clock_rate: 90_000,
            streams,
            ..Self::new(
                start,
                config.payload_type,
                config.mid,
                config.extensions,
                rng,
            )
        }
    }

    /// A video track of another codec, or with picture sizes within a stream, that begins at `start`.
    /// The temporal layers are `form`'s.
    pub fn layered(start: Instant, config: VideoConfig, form: Scalability) -> Self {
        let mut rng = StdRng::seed_from_u64(config.seed);
        let frames_per_second = config.frames_per_second.max(1);
        let streams = config.layers.into_iter().map(|layer| {
            let mut layered = Layered::new(form, (layer.width, layer.height), &mut rng);
            layered.set_bitrate(layer.bitrate, frames_per_second);
            Stream {
                rid: layer.rid,
                video: Some(Video::Layered(Box::new(layered))),
                ..Stream::new(layer.ssrc, &mut rng)
            }
        });
        let streams = streams.collect();
        Self {
            frames_per_second,
            clock_rate: 90_000,
            streams,
            ..Self::new(
                start,
                config.payload_type,
                config.mid,
                config.extensions,
                rng,
            )
        }
    }

    /// An audio track that begins at `start`; its speaker speaks at -30 dBov.
    pub fn opus(start: Instant, config: AudioConfig) -> Self {
        let mut rng = StdRng::seed_from_u64(config.seed);
        Self {
            streams: vec![Stream::new(config.ssrc, &mut rng)],
            ..Self::new(
                start,
                config.payload_type,
                config.mid,
                config.extensions,
                rng,
            )
        }
    }

    /// The time at which [`poll_packet`](Self::poll_packet) has something next.
    pub fn next_at(&self) -> Instant {
        match self.pending.front() {
            Some((due, _)) => *due,
            None => self.start + self.captured(),
        }
    }

    /// The SSRCs, in the configuration's order.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + '_ {
        self.streams.iter().map(|stream| stream.ssrc)
    }

    /// Asks for a keyframe of one stream, as a PLI does: it is the next frame.
    pub fn request_keyframe(&mut self, ssrc: u32) {
        for stream in self.streams.iter_mut().filter(|stream| stream.ssrc == ssrc) {
            if let Some(video) = &mut stream.video {
                video.request_keyframe();
            }
        }
    }

    /// Stops or resumes one stream, as a browser does with the upper layers when its uplink
    /// narrows. A stream resumes with a keyframe.
    pub fn set_enabled(&mut self, ssrc: u32, enabled: bool) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
            stream.enabled = enabled;
        }
        if enabled {
            self.request_keyframe(ssrc);
        }
    }

    /// Changes the bitrate of one stream, in bits a second.
    pub fn set_bitrate(&mut self, ssrc: u32, bitrate: u64) {
        for stream in self.streams.iter_mut().filter(|stream| stream.ssrc == ssrc) {
            if let Some(video) = &mut stream.video {
                video.set_bitrate(bitrate, self.frames_per_second);
            }
        }
    }

    /// Lets VP8 keyframes be as large as so many other frames, which then make up for them.
    pub fn set_keyframe_frames(&mut self, frames: u32) {
        for stream in &mut self.streams {
            if let Some(Video::Vp8(vp8)) = &mut stream.video {
                vp8.0.set_keyframe_frames(frames);
            }
        }
    }

    /// Changes the picture of one VP8 stream, in pixels, as when a window is resized: from a keyframe on.
    pub fn set_size(&mut self, ssrc: u32, size: (u16, u16)) {
        for stream in self.streams.iter_mut().filter(|stream| stream.ssrc == ssrc) {
            if let Some(Video::Vp8(vp8)) = &mut stream.video {
                vp8.0.set_size(size);
            }
        }
    }

    /// Sets the level that the audio level extension tells from now on.
    pub fn set_level(&mut self, level: AudioLevel) {
        self.level = level;
    }

    /// The next packet due at `now` or before; streams take turns by frame.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Vec<u8>> {
        while self.pending.is_empty() && self.start + self.captured() <= now {
            self.make_frames();
        }
        let (due, _) = self.pending.front()?;
        if *due > now {
            return None;
        }
        let (due, mut packet) = self.pending.pop_front()?;
        let since_start = due.saturating_duration_since(self.start);
        if let Some(id) = self.extensions.id(ExtensionKind::AbsSendTime) {
            let time = AbsSendTime::from_duration(since_start).to_bytes();
            overwrite(&mut packet, id, &time);
        }
        stamp_transport_cc(&mut packet, &self.extensions, self.transport_cc);
        self.transport_cc = self.transport_cc.wrapping_add(1);
        Some(packet)
    }

    /// A compound with a sender report and the CNAME of each stream that has sent. The NTP clock
    /// begins at `start`.
    pub fn sender_reports(&self, now: Instant, cname: &str) -> Vec<u8> {
        let since_start = now.saturating_duration_since(self.start);
        let fraction = (u64::from(since_start.subsec_nanos()) << 32) / 1_000_000_000;
        let ntp = since_start.as_secs() << 32 | fraction;
        let mut out = Vec::new();
        for stream in self.streams.iter().filter(|stream| stream.packets > 0) {
            let timestamp = stream.timestamp(since_start, self.clock_rate);
            let (packets, octets) = (stream.packets, stream.octets);
            rtcp::sender_report(&mut out, stream.ssrc, ntp, timestamp, packets, octets, &[]);
            rtcp::sdes_cname(&mut out, stream.ssrc, cname);
        }
        out
    }

    fn new(
        start: Instant,
        payload_type: u8,
        mid: String,
        extensions: ExtensionMap,
        rng: StdRng,
    ) -> Self {
        Self {
            start,
            frames: 0,
            // An Opus frame is 20 ms.
            frames_per_second: 50,
            payload_type,
            mid,
            extensions,
            clock_rate: 48_000,
            transport_cc: 0,
            level: AudioLevel {
                voice: true,
                level: 30,
            },
            streams: Vec::new(),
            pending: VecDeque::new(),
            rng,
        }
    }

    /// A frame of each stream; all were captured at the same moment.
    fn make_frames(&mut self) {
        let captured = self.captured();
        let mut due = self.start + captured;
        for index in 0..self.streams.len() {
            if !self.streams[index].enabled {
                continue;
            }
            let payloads = self.streams[index].encode(&mut self.rng);
            for (at, payload) in payloads.iter().enumerate() {
                let last = at + 1 == payloads.len();
                let packet = self.write(index, captured, last, payload);
                self.pending.push_back((due, packet));
                due += PACKET_SPACING;
            }
        }
        self.frames += 1;
    }

    /// The time of the next frame, since the start; without the drift of adding up thirds.
    fn captured(&self) -> Duration {
        let rate = u64::from(self.frames_per_second);
        let (seconds, rest) = (self.frames / rate, self.frames % rate);
        Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / rate)
    }

    fn write(
        &mut self,
        index: usize,
        captured: Duration,
        last: bool,
        payload: &Payload,
    ) -> Vec<u8> {
        let stream = &mut self.streams[index];
        let video = stream.video.is_some();
        let header = OutHeader {
            // The marker of audio is on the first packet of a talk spurt.
            marker: if video { last } else { stream.packets == 0 },
            payload_type: self.payload_type,
            sequence: stream.sequence,
            timestamp: stream.timestamp(captured, self.clock_rate),
            ssrc: stream.ssrc,
        };
        let mut packet = vec![0; 300 + payload.bytes.len()];
        let mut writer = HeaderWriter::new(&mut packet, &header);
        let mut put = |kind, value: &[u8]| {
            if let Some(id) = self.extensions.id(kind) {
                assert!(writer.extension(id, value), "{kind:?} does not fit");
            }
        };
        if stream.packets < NAMED_PACKETS {
            put(ExtensionKind::Mid, self.mid.as_bytes());
            if let Some(rid) = &stream.rid {
                put(ExtensionKind::Rid, rid.as_bytes());
            }
        }
        put(ExtensionKind::AbsSendTime, &[0; 3]);
        put(ExtensionKind::TransportCc, &[0; 2]);
        if !video {
            put(ExtensionKind::AudioLevel, &self.level.to_bytes());
        }
        if let Some(dependencies) = &payload.dependencies {
            put(ExtensionKind::DependencyDescriptor, dependencies);
        }
        let len = writer.finish();
        packet.truncate(len);
        packet.extend_from_slice(&payload.bytes);
        stream.sequence = stream.sequence.wrapping_add(1);
        stream.packets += 1;
        stream.octets = stream.octets.wrapping_add(payload.bytes.len() as u32);
        packet
    }
}

impl Stream {
    fn new(ssrc: u32, rng: &mut StdRng) -> Self {
        Self {
            ssrc,
            rid: None,
            enabled: true,
            sequence: rng.random(),
            first_timestamp: rng.random(),
            packets: 0,
            octets: 0,
            video: None,
        }
    }

    fn timestamp(&self, since_start: Duration, clock_rate: u32) -> u32 {
        let ticks = (since_start.as_nanos() * u128::from(clock_rate) + 500_000_000) / 1_000_000_000;
        self.first_timestamp.wrapping_add(ticks as u32)
    }

    fn encode(&mut self, rng: &mut StdRng) -> Vec<Payload> {
        let payloads = match &mut self.video {
            None => {
                // A TOC byte of one 20 ms fullband frame (RFC 6716 section 3.1), and as many bytes as
                // speech at 32 kbit/s has.
                let mut payload = vec![0; rng.random_range(50..110)];
                rng.fill(payload.as_mut_slice());
                payload[0] = 0xfc;
                vec![payload]
            }
            Some(Video::Vp8(vp8)) => {
                let (encoder, packetizer) = &mut **vp8;
                let encoded = encoder.encode(rng);
                packetizer.packetize(&encoded.bytes, encoded.layer)
            }
            Some(Video::Layered(layered)) => return layered.encode(rng),
        };
        let plain = payloads.into_iter().map(|bytes| Payload {
            bytes,
            dependencies: None,
        });
        plain.collect()
    }
}

/// Puts a transport-wide sequence number into a packet that has room for one: these count over all
/// tracks of a transport, and a source knows only its own.
pub fn stamp_transport_cc(packet: &mut [u8], extensions: &ExtensionMap, number: u16) {
    if let Some(id) = extensions.id(ExtensionKind::TransportCc) {
        overwrite(packet, id, &TransportCc(number).to_bytes());
    }
}

fn overwrite(packet: &mut [u8], id: u8, value: &[u8]) {
    if let Ok(header) = RtpHeader::parse(packet)
        && let Some(field) = header.extension_mut(packet, id)
    {
        field.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests;
