//! One m-line of an offer, read.

use crate::event::MediaKind;
use crate::rtp::extension::ExtensionKind;
use crate::rtp::parameters::{CodecFormat, SectionKind, SsrcPair};

use super::attribute::{self, MAX_MID_BYTES};
use super::codec::{explain_formats, parse_codecs};
use super::error::{SdpError, long_excerpt};
use super::text::{Attributes, MediaDescription, is_token};

/// One m-line of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OfferedMedia {
    /// `a=mid`, 1 to 255 token characters. One that is in use without a name is called by its place, from
    /// 0 on (RFC 8829 section 5.10); a stopped one may have none.
    pub(crate) mid: String,
    /// The offer has that `a=mid`.
    pub(super) named: bool,
    /// Kind of media it carries.
    pub(crate) kind: SectionKind,
    /// The first three fields of the m-line after `m=`, for a refusal to repeat.
    pub(super) line: MediaLine,
    /// The direction as the client sees it; `inactive` if it is [`forbidden`](Self::forbidden).
    pub(crate) direction: Direction,
    /// Port 0 and not bundle-only: the client has stopped it.
    pub(crate) stopped: bool,
    /// The reason that it is answered with port 0 though the client has not stopped it.
    pub(crate) refusal: Option<SdpError>,
    /// The reason that its track is not taken though the m-line itself could be.
    pub(crate) forbidden: Option<SdpError>,
    /// RTP and RTCP on one port (RFC 5761, RFC 8858).
    pub(super) rtcp_mux: bool,
    /// Codecs that the relay could forward, in the client's order of preference.
    pub(crate) codecs: Vec<CodecFormat>,
    /// The known header extensions, each id once.
    pub(crate) extensions: Vec<OfferedExtension>,
    /// RIDs of the simulcast encodings the client sends, in its order. Empty: no simulcast.
    pub(crate) rids: Vec<String>,
    /// The largest size of each of these, more is larger; empty: not told of all.
    pub(crate) rid_bounds: Vec<u32>,
    /// SSRCs the client announced; browsers announce none for simulcast.
    pub(crate) ssrcs: Vec<SsrcPair>,
    /// SSRCs of the simulcast encodings of a client that has no RIDs, the lowest first, at most 4.
    pub(crate) sim: Vec<u32>,
    /// Stream and track of `a=msid`.
    pub(crate) msid: Option<(String, String)>,
    /// One- and two-byte header extensions may be mixed on this m-line (RFC 8285 section 6).
    pub(super) extmap_allow_mixed: bool,
    /// Reduced-size RTCP (RFC 5506).
    pub(super) rtcp_rsize: bool,
    /// The SCTP port of a data m-line.
    pub(crate) sctp_port: u16,
    /// The largest message the client takes, in bytes (RFC 8841 section 6); 0 is any.
    pub(crate) max_message_size: u64,
}

/// `a=sendrecv` and its kin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// Both ways.
    SendRecv,
    /// The writer sends.
    SendOnly,
    /// The writer receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    const NAMES: [(&str, Self); 4] = [
        ("sendrecv", Self::SendRecv),
        ("sendonly", Self::SendOnly),
        ("recvonly", Self::RecvOnly),
        ("inactive", Self::Inactive),
    ];

    /// The direction with an attribute's name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.into_iter();
        names.find_map(|(known, direction)| (known == name).then_some(direction))
    }

    /// The attribute's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The writer may send.
    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// The writer may receive.
    pub(super) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The other side's view of it (RFC 3264 section 6.1).
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both_or_neither => both_or_neither,
        }
    }
}

/// A header extension of an m-line (RFC 8285 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OfferedExtension {
    /// 1 to [`MAX_ID`](crate::rtp::extension::ExtensionMap::MAX_ID).
    pub(crate) id: u8,
    /// Meaning of the id.
    pub(crate) kind: ExtensionKind,
    /// The client's packets that have it: `sendonly` those it sends, `recvonly` those it receives.
    pub(crate) direction: Direction,
}

/// The part of an m-line that a refusal repeats (RFC 8829 section 5.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct MediaLine {
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) format: String,
}

/// The profiles of RFC 8829 section 5.1.2, all of which mean DTLS-SRTP to an offerer with ICE and a certificate, and
/// two of its drafts.
const RTP_PROFILES: [&str; 10] = [
    "UDP/TLS/RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "TCP/DTLS/RTP/SAVPF",
    "TCP/DTLS/RTP/SAVP",
    "RTP/SAVPF",
    "RTP/SAVP",
    "RTP/AVPF",
    "RTP/AVP",
    "TCP/TLS/RTP/SAVPF",
    "TCP/TLS/RTP/SAVP",
];
/// Likewise; the last is from before RFC 8841.
const DATA_PROFILES: [&str; 3] = ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"];
const DATA_CHANNELS: &str = "webrtc-datachannel";

impl OfferedMedia {
    /// Its name in errors, for people. The first m-line is 1.
    pub(super) fn describe(&self, index: usize) -> String {
        let (number, media) = (index + 1, &self.line.media);
        if self.named {
            format!("m-line {number} ({media}, mid {})", self.mid)
        } else {
            format!("m-line {number} ({media})")
        }
    }

    /// Neither stopped nor refused.
    pub(crate) fn is_usable(&self) -> bool {
        !self.stopped && self.refusal.is_none()
    }

    /// Whether the client sends RTP on it: a track.
    pub(crate) fn publishes(&self) -> bool {
        let rtp = matches!(self.kind, SectionKind::Audio | SectionKind::Video);
        rtp && self.is_usable() && self.direction.sends()
    }

    /// Whether the client sends a video on it.
    pub(crate) fn publishes_video(&self) -> bool {
        self.kind == SectionKind::Video && self.publishes()
    }

    /// Refuses its track and keeps the m-line.
    ///
    /// Port 0 would end the m-line. Chromium loses all others with it if it is the first of the BUNDLE group, and no
    /// browser could send on it after its client was given the right.
    pub(super) fn forbid(&mut self, reason: SdpError) {
        self.direction = Direction::Inactive;
        self.forbidden = Some(reason);
    }

    /// The kind of media that the client would receive on it, were it not refused.
    pub(crate) fn receives_in_vain(&self) -> Option<MediaKind> {
        let receives = self.direction.receives() && !self.direction.sends();
        self.refusal.as_ref().filter(|_| receives)?;
        match self.line.media.as_str() {
            "audio" => Some(MediaKind::Audio),
            "video" => Some(MediaKind::Video),
            _ => None,
        }
    }

    /// Whether it was refused because the relay knows none of its codecs.
    pub(crate) fn lacks_codec(&self) -> bool {
        matches!(self.refusal, Some(SdpError::NoCommonCodec { .. }))
    }

    /// Data channels as they were described before RFC 8841: by SCTP port, with an `a=sctpmap`.
    pub(super) fn has_sctpmap(&self) -> bool {
        self.kind == SectionKind::Data && self.line.format != DATA_CHANNELS
    }
}

/// Reads an m-line, as far as that needs no other m-line.
///
/// # Errors
///
/// Its `a=mid` is no name. Any other fault becomes its [`refusal`](OfferedMedia::refusal).
pub(super) fn read_media(
    index: usize,
    description: &MediaDescription<'_>,
    session: &Attributes<'_>,
) -> Result<OfferedMedia, SdpError> {
    let attributes = &description.attributes;
    let (kind, reason) = match kind_of(description) {
        Ok(kind) => (kind, None),
        Err(reason) => (SectionKind::Other, Some(reason)),
    };
    let mut media = OfferedMedia {
        mid: String::new(),
        named: false,
        kind,
        line: MediaLine {
            media: description.media.into(),
            protocol: description.protocol.into(),
            format: description.formats.first().copied().unwrap_or("0").into(),
        },
        direction: direction_of(attributes, session),
        stopped: description.port == 0 && !attributes.has("bundle-only"),
        refusal: None,
        forbidden: None,
        rtcp_mux: attributes.has("rtcp-mux") || attributes.has("rtcp-mux-only"),
        codecs: Vec::new(),
        extensions: Vec::new(),
        rids: Vec::new(),
        rid_bounds: Vec::new(),
        ssrcs: Vec::new(),
        sim: Vec::new(),
        msid: None,
        extmap_allow_mixed: attributes.has("extmap-allow-mixed"),
        rtcp_rsize: attributes.has("rtcp-rsize"),
        sctp_port: 0,
        max_message_size: 0,
    };
    if let Some(mid) = attributes.value("mid") {
        if mid.len() > MAX_MID_BYTES || !is_token(mid) {
            return Err(SdpError::Syntax(format!(
                "{}: a=mid must be 1 to {MAX_MID_BYTES} token characters",
                media.describe(index)
            )));
        }
        (media.mid, media.named) = (mid.into(), true);
    }
    if media.stopped {
        return Ok(media);
    }
    match kind {
        SectionKind::Audio | SectionKind::Video => read_rtp(index, description, &mut media),
        SectionKind::Data => read_data(attributes, &mut media),
        SectionKind::Other => {
            media.refusal = reason.map(|reason| SdpError::UnknownMedia {
                media: media.describe(index),
                reason,
            });
        }
    }
    Ok(media)
}

/// The kind of media on an m-line, or the reason why the relay does not know it.
fn kind_of(description: &MediaDescription<'_>) -> Result<SectionKind, String> {
    let format = description.formats.first().copied().unwrap_or_default();
    let (kind, profiles) = match description.media {
        "audio" => (SectionKind::Audio, &RTP_PROFILES[..]),
        "video" => (SectionKind::Video, &RTP_PROFILES[..]),
        "application" => (SectionKind::Data, &DATA_PROFILES[..]),
        _ => return Err("the relay takes audio, video and data channels".into()),
    };
    if !profiles.contains(&description.protocol) {
        return Err(long_excerpt(&format!(
            "its profile {} is none that the relay knows; {} is the usual one",
            description.protocol, profiles[0]
        )));
    }
    let sctpmap = |map: &str| {
        let mut words = map.split_whitespace();
        words.next() == Some(format) && words.next() == Some(DATA_CHANNELS)
    };
    if kind == SectionKind::Data
        && format != DATA_CHANNELS
        && !description.attributes.values("sctpmap").any(sctpmap)
    {
        return Err(long_excerpt(&format!(
            "its format {format} is not {DATA_CHANNELS}"
        )));
    }
    Ok(kind)
}

/// RFC 8866 section 6.7: the m-line's, else the session's, else both ways.
fn direction_of(media: &Attributes<'_>, session: &Attributes<'_>) -> Direction {
    let find = |attributes: &Attributes<'_>| {
        attributes
            .iter()
            .find_map(|(name, _)| Direction::from_name(name))
    };
    find(media)
        .or_else(|| find(session))
        .unwrap_or(Direction::SendRecv)
}

fn read_rtp(index: usize, description: &MediaDescription<'_>, media: &mut OfferedMedia) {
    let audio = media.kind == SectionKind::Audio;
    let attributes = &description.attributes;
    media.codecs = parse_codecs(description, audio);
    if media.codecs.is_empty() {
        media.refusal = Some(SdpError::NoCommonCodec {
            media: media.describe(index),
            offered: long_excerpt(&explain_formats(description, audio)),
        });
        return;
    }
    media.extensions = attribute::extensions(attributes);
    media.rids = attribute::simulcast_rids(attributes);
    media.rid_bounds = attribute::rid_bounds(attributes, &media.rids);
    media.ssrcs = attribute::ssrcs(attributes);
    media.sim = attribute::simulcast_ssrcs(attributes);
    media.msid = attribute::msid(attributes);
}

fn read_data(attributes: &Attributes<'_>, media: &mut OfferedMedia) {
    /// RFC 8841 section 6.1, when the attribute is absent.
    const DEFAULT_MAX_MESSAGE: u64 = 64 * 1024;
    /// RFC 8831 section 6.1 and every browser.
    const DEFAULT_PORT: u16 = 5000;
    let port = match media.has_sctpmap() {
        true => Some(media.line.format.as_str()),
        false => attributes.value("sctp-port").map(str::trim),
    };
    media.sctp_port = port
        .and_then(|port| port.parse().ok())
        .unwrap_or(DEFAULT_PORT);
    media.max_message_size = attributes
        .value("max-message-size")
        .and_then(|size| size.trim().parse().ok())
        .unwrap_or(DEFAULT_MAX_MESSAGE);
}
