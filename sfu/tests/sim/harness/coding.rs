//! The codecs of a client: which it has, and which it sends. As browsers do, it sends what the answer
//! lists first.

use std::time::{Duration, Instant};

use str0m::change::{SdpOffer, SdpPendingOffer};
use str0m::format::Codec as Format;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::rtp::{Extension, ExtensionValues, VideoOrientation};
use str0m::{Candidate, RtcConfig};
use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::testing::{MediaSource, Scalability, VideoConfig};

use super::Client;

/// Ticks of a video clock in a millisecond.
const TICKS_PER_MS: u32 = 90;

/// The video that a client's camera sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Video {
    /// One stream.
    Single,
    /// Three layers by RID, lowest first.
    Simulcast,
}

/// The coding of a source.
pub(super) struct Coding {
    pub(super) codec: Format,
    config: Option<VideoConfig>,
    /// The last timestamp sent, and when.
    last: Option<(u32, Instant)>,
    /// Ticks added to the source's timestamps; none until its first packet tells.
    shift: Option<u32>,
}

impl Coding {
    pub(super) fn sound() -> Self {
        Self {
            codec: Format::Opus,
            config: None,
            last: None,
            shift: Some(0),
        }
    }

    pub(super) fn video(config: VideoConfig) -> Self {
        Self {
            codec: Format::Vp8,
            config: Some(config),
            last: None,
            shift: Some(0),
        }
    }

    /// The timestamp of a packet: another encoder goes on with the clock of the one before.
    pub(super) fn timestamp(&mut self, now: Instant, own: u32) -> u32 {
        let shift = *self.shift.get_or_insert_with(|| {
            let (last, at) = self.last.unwrap_or((own, now));
            let since = (now - at).as_millis() as u32 * TICKS_PER_MS;
            last.wrapping_add(since).wrapping_sub(own)
        });
        let timestamp = own.wrapping_add(shift);
        self.last = Some((timestamp, now));
        timestamp
    }

    /// Another encoder.
    fn encode(&mut self, now: Instant, codec: Format) -> Option<MediaSource> {
        let config = self.config.clone()?;
        (self.codec, self.shift) = (codec, None);
        let form = |codec| Scalability {
            codec,
            spatial_layers: 1,
            temporal_layers: 1,
            inter_layer: false,
        };
        let start = now + Duration::from_millis(10);
        Some(match codec {
            Format::Vp9 => MediaSource::layered(start, config, form(Codec::Vp9)),
            Format::H264 => MediaSource::layered(start, config, form(Codec::H264)),
            _ => MediaSource::vp8(start, config),
        })
    }
}

/// A camera on its side.
#[derive(Clone, Copy, Default)]
pub(crate) struct Turning {
    /// Its pictures are to be turned.
    pub(crate) is_turned: bool,
    /// It cannot turn them, and sends nothing if its viewers cannot either.
    pub(crate) drops: bool,
    /// Pictures that came with their orientation.
    pub(crate) seen: u64,
}

/// The extension as str0m writes it.
const ORIENTATION: &str = "a=extmap:13 urn:3gpp:video-orientation\r\n";

impl Turning {
    /// Browsers offer again what an answer has left out; str0m does not.
    pub(super) fn offer(self, sdp: String) -> String {
        match self.drops && !sdp.contains(ORIENTATION) {
            true => sdp.replace("a=sendonly\r\n", &format!("{ORIENTATION}a=sendonly\r\n")),
            false => sdp,
        }
    }

    pub(super) fn extension(self) -> ExtensionValues {
        ExtensionValues {
            video_orientation: self.is_turned.then_some(VideoOrientation::Deg90),
            ..ExtensionValues::default()
        }
    }
}

impl Client {
    /// Stops it from turning pictures. Call it before it joins.
    pub(crate) fn shows_as_they_come(&mut self) {
        let config = RtcConfig::new().set_rtp_mode(true).clear_extension_map();
        let known = [
            (1, Extension::AudioLevel),
            (3, Extension::TransportSequenceNumber),
            (4, Extension::RtpMid),
        ];
        let config = known.into_iter().fold(config, |config, (id, extension)| {
            config.set_extension(id, extension)
        });
        self.rtc = config.build(self.wake_at);
        let candidate = Candidate::host(self.addr, "udp").expect("a valid candidate");
        self.rtc.add_local_candidate(candidate);
    }

    /// Sends its turned pictures only to those who turn them, if it is such a one.
    fn follow_orientation(&mut self, answer: &str) {
        let agreed = answer.contains("urn:3gpp:video-orientation");
        if self.turning.drops {
            for source in &mut self.sources {
                let ssrcs: Vec<u32> = source.media.ssrcs().collect();
                for ssrc in ssrcs {
                    source
                        .media
                        .set_enabled(ssrc, agreed || source.kind.is_audio());
                }
            }
        }
    }

    /// Makes it take redundant audio (RFC 2198). Call it before it joins.
    pub(crate) fn takes_redundancy(&mut self) {
        let config = RtcConfig::new().set_rtp_mode(true);
        self.rtc = config.enable_opus(true, true).build(self.wake_at);
        let candidate = Candidate::host(self.addr, "udp").expect("a valid candidate");
        self.rtc.add_local_candidate(candidate);
    }

    /// Gives it these video codecs and no others, the preferred first. Call it before it joins.
    pub(crate) fn has_codecs(&mut self, codecs: &[Format]) {
        let mut config = RtcConfig::new().set_rtp_mode(true).clear_codecs();
        config = config.enable_opus(true, false);
        for codec in codecs {
            config = match codec {
                Format::Vp9 => config.enable_vp9(true),
                Format::H264 => config.enable_h264(true),
                _ => config.enable_vp8(true),
            };
        }
        self.rtc = config.build(self.wake_at);
        let candidate = Candidate::host(self.addr, "udp").expect("a valid candidate");
        self.rtc.add_local_candidate(candidate);
    }

    /// Sends its video in another of the negotiated codecs, of its own accord.
    pub(crate) fn encode_in(&mut self, now: Instant, codec: Format) {
        let video = self.sources.iter_mut();
        for source in video.filter(|source| source.kind == MediaKind::Video) {
            if let Some(media) = source.coding.encode(now, codec) {
                source.media = media;
            }
        }
    }

    /// The codec its video is sent in.
    pub(crate) fn encodes(&self) -> Option<Format> {
        let mut sources = self.sources.iter();
        let video = sources.find(|source| source.kind == MediaKind::Video);
        video.map(|source| source.coding.codec)
    }

    /// Sends what an answer lists first.
    pub(super) fn follow_codecs(&mut self, answer: &str) {
        self.follow_orientation(answer);
        for at in 0..self.sources.len() {
            let source = &self.sources[at];
            let listed = source.mid.and_then(|mid| first_listed(answer, mid));
            let params = self.rtc.codec_config().params().iter();
            let mut params = params.filter(|params| Some(params.pt()) == listed);
            let first = params.next().map(|params| params.spec().codec);
            let source = &mut self.sources[at];
            if source.kind == MediaKind::Video
                && let Some(first) = first.filter(|first| *first != source.coding.codec)
                && let Some(media) = source.coding.encode(self.wake_at, first)
            {
                source.media = media;
            }
        }
    }

    /// An offer of the same m-lines.
    pub(super) fn offer_again(&mut self) -> (SdpOffer, SdpPendingOffer) {
        let source = self.sources.iter().find_map(|source| source.mid);
        let mut api = self.rtc.sdp_api();
        // str0m offers only changes, and this counts as one.
        if let Some(mid) = source {
            api.set_direction(mid, Direction::Inactive);
            api.set_direction(mid, Direction::SendOnly);
        }
        api.apply().expect("something to offer")
    }

    /// The codec of a received packet.
    pub(super) fn codec_of(&self, payload_type: Pt) -> Codec {
        let params = self.rtc.codec_config().params();
        let params = params.iter().find(|params| params.pt() == payload_type);
        match params.map(|params| params.spec().codec) {
            Some(Format::Vp9) => Codec::Vp9,
            Some(Format::H264) => Codec::H264,
            _ => Codec::Vp8,
        }
    }
}

/// The payload type that stands first in a description's m-line.
fn first_listed(sdp: &str, mid: Mid) -> Option<Pt> {
    let mut media = sdp.split("m=").skip(1);
    let named = format!("a=mid:{mid}");
    let media = media.find(|media| media.lines().any(|line| line == named))?;
    let first = media.lines().next()?.split(' ').nth(3)?;
    Some(first.parse::<u8>().ok()?.into())
}
