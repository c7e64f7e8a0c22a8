//! The client's offer, read: text into values that hold together.

use std::io::Cursor;

use rtc_sdp::{MediaDescription, SessionDescription};

use crate::rtp::extension::ExtensionKind;
use crate::transport::{Fingerprint, IceCredentials};

use super::attribute::{self, MAX_TAG_BYTES, is_token};
use super::codec::{OfferedCodec, encoding_names, parse_codecs};
use super::error::{SdpError, excerpt};

/// Bounds of an offer, checked before it is taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SdpLimits {
    /// Bytes of the text.
    pub(crate) bytes: usize,
    /// Lines of the text.
    pub(crate) lines: usize,
    /// m-lines, stopped ones included.
    pub(crate) media: usize,
}

impl SdpLimits {
    /// With this many m-lines and room for what browsers write in them: a receiving video m-line of
    /// Chromium is 6 KiB and 190 lines, so these bounds hold 160 of them with as many of audio.
    pub(crate) const fn new(media: usize) -> Self {
        Self {
            bytes: 1024 * 1024,
            lines: 48 * 1024,
            media,
        }
    }
}

/// A client's offer, complete and without contradictions within itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    /// The client's credentials for the one transport.
    pub(crate) ice: IceCredentials,
    /// Of the client's certificate.
    pub(crate) fingerprint: Fingerprint,
    /// All m-lines, in order, stopped ones too.
    pub(crate) media: Vec<OfferedMedia>,
    /// One- and two-byte header extensions may be mixed on each m-line (RFC 8285 section 6).
    pub(crate) extmap_allow_mixed: bool,
    /// There is a BUNDLE group: without one (a single m-line) the answer has none either.
    pub(crate) bundled: bool,
}

/// One m-line of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OfferedMedia {
    /// `a=mid`, 1 to 16 token characters; empty only where the answer has port 0.
    pub(crate) mid: String,
    /// What it carries.
    pub(crate) kind: OfferedKind,
    /// The first three fields of the m-line after `m=`, for a refusal to repeat.
    pub(super) line: MediaLine,
    /// As the client sees it.
    pub(crate) direction: Direction,
    /// Port 0 and not bundle-only: the client has stopped it.
    pub(crate) stopped: bool,
    /// What the relay could forward of it, in the client's order of preference.
    pub(crate) codecs: Vec<OfferedCodec>,
    /// Encoding names, for the error that says none is known.
    pub(super) encodings: String,
    /// The known header extensions, each id once.
    pub(crate) extensions: Vec<OfferedExtension>,
    /// RIDs of the simulcast encodings the client sends, in its order. Empty: no simulcast.
    pub(crate) rids: Vec<String>,
    /// SSRCs the client announced; browsers announce none for simulcast.
    pub(crate) ssrcs: Vec<OfferedSsrc>,
    /// SSRCs of the simulcast encodings of a client that has no RIDs, the lowest first, at most 4.
    pub(crate) sim: Vec<u32>,
    /// Stream and track of `a=msid`.
    pub(crate) msid: Option<(String, String)>,
    /// One- and two-byte header extensions may be mixed on this m-line (RFC 8285 section 6).
    pub(super) extmap_allow_mixed: bool,
    /// Reduced-size RTCP (RFC 5506).
    pub(super) rtcp_rsize: bool,
    /// `a=sctp-port` of a data m-line.
    pub(crate) sctp_port: u16,
    /// The largest message the client takes, in bytes (RFC 8841 section 6); 0 is any.
    pub(crate) max_message_size: u64,
}

/// What an m-line carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OfferedKind {
    /// RTP over DTLS.
    Audio,
    /// RTP over DTLS.
    Video,
    /// SCTP over DTLS (RFC 8841).
    Data,
    /// Media or a protocol the relay does not know: answered with port 0.
    Other,
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

    /// From the attribute's name.
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
    /// What it means.
    pub(crate) kind: ExtensionKind,
    /// In which packets the client has it: `sendonly` in those it sends, `recvonly` in those it
    /// receives.
    pub(crate) direction: Direction,
}

/// An SSRC with that of its retransmissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OfferedSsrc {
    /// The media itself.
    pub(crate) ssrc: u32,
    /// Its retransmissions (RFC 4588).
    pub(crate) rtx: Option<u32>,
}

/// What a refused m-line repeats of the offer's (RFC 8829 section 5.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct MediaLine {
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) format: String,
}

impl OfferedMedia {
    /// How errors name it to people. The first m-line is 1.
    pub(super) fn describe(&self, index: usize) -> String {
        let (number, media) = (index + 1, &self.line.media);
        if self.mid.is_empty() {
            format!("m-line {number} ({media})")
        } else {
            format!("m-line {number} ({media}, mid {})", self.mid)
        }
    }

    fn is_live(&self) -> bool {
        !self.stopped && self.kind != OfferedKind::Other
    }
}

/// Reads an offer. Everything that needs no knowledge of an earlier offer is checked here.
pub(crate) fn parse_offer(text: &str, limits: &SdpLimits) -> Result<Offer, SdpError> {
    check_size(text, limits)?;
    let session = SessionDescription::unmarshal(&mut Cursor::new(text))
        .map_err(|error| SdpError::Syntax(excerpt(&error.to_string())))?;
    let descriptions = &session.media_descriptions;
    let media = descriptions
        .iter()
        .enumerate()
        .map(|(index, description)| read_media(index, description, &session))
        .collect::<Result<Vec<_>, _>>()?;
    for (index, earlier) in media.iter().enumerate() {
        let repeated = media[..index]
            .iter()
            .any(|other| !other.mid.is_empty() && other.mid == earlier.mid);
        if repeated {
            let name = earlier.describe(index);
            return Err(SdpError::Syntax(format!("{name} repeats another's a=mid")));
        }
    }
    let group = bundle_group(&session);
    check_bundle(&media, group.as_deref())?;
    let transport = Transport::find(&session, &media, group.as_deref().unwrap_or_default());
    let extmap_allow_mixed = session.has_attribute("extmap-allow-mixed");
    Ok(Offer {
        ice: transport.ice()?,
        fingerprint: transport.fingerprint()?,
        extmap_allow_mixed,
        bundled: group.is_some(),
        media,
    })
}

fn check_size(text: &str, limits: &SdpLimits) -> Result<(), SdpError> {
    if text.len() > limits.bytes {
        return Err(SdpError::Syntax(format!(
            "{} bytes, the server takes {}",
            text.len(),
            limits.bytes
        )));
    }
    let (mut lines, mut media) = (0, 0);
    for line in text.lines() {
        lines += 1;
        media += usize::from(line.trim_start().starts_with("m="));
    }
    if media > limits.media {
        return Err(SdpError::TooManyMedia {
            offered: media,
            limit: limits.media,
        });
    }
    if lines > limits.lines {
        return Err(SdpError::Syntax(format!(
            "{lines} lines, the server takes {}",
            limits.lines
        )));
    }
    Ok(())
}

fn read_media(
    index: usize,
    description: &MediaDescription,
    session: &SessionDescription,
) -> Result<OfferedMedia, SdpError> {
    let line = MediaLine {
        media: description.media_name.media.clone(),
        protocol: description.media_name.protos.join("/"),
        format: description
            .media_name
            .formats
            .first()
            .cloned()
            .unwrap_or_default(),
    };
    let kind = kind_of(&line);
    let stopped =
        description.media_name.port.value == 0 && !description.has_attribute("bundle-only");
    let mut media = OfferedMedia {
        mid: String::new(),
        kind,
        line,
        direction: direction_of(description, session),
        stopped,
        codecs: Vec::new(),
        encodings: String::new(),
        extensions: Vec::new(),
        rids: Vec::new(),
        ssrcs: Vec::new(),
        sim: Vec::new(),
        msid: None,
        extmap_allow_mixed: description.has_attribute("extmap-allow-mixed"),
        rtcp_rsize: description.has_attribute("rtcp-rsize"),
        sctp_port: 0,
        max_message_size: 0,
    };
    let bad = |media: &OfferedMedia, what: &str| {
        SdpError::Syntax(format!("{}: {what}", media.describe(index)))
    };
    let echoed = media
        .line
        .protocol
        .split('/')
        .chain([media.line.format.as_str()]);
    if !echoed.into_iter().all(is_token) {
        return Err(bad(&media, "protocol and formats must be tokens"));
    }
    match attribute::values(description, "mid").next() {
        Some(mid) if mid.len() <= MAX_TAG_BYTES && is_token(mid) => media.mid = mid.into(),
        Some(_) => return Err(bad(&media, "a=mid must be 1 to 16 token characters")),
        None if !media.is_live() => {}
        None => return Err(bad(&media, "a=mid is missing")),
    }
    if !media.is_live() {
        return Ok(media);
    }
    match description
        .attribute("setup")
        .flatten()
        .or_else(|| session.attribute("setup").map(String::as_str))
    {
        None | Some("actpass" | "active") => {}
        Some(_) => {
            return Err(bad(
                &media,
                "a=setup must be actpass or active, for the relay waits for the DTLS handshake",
            ));
        }
    }
    if kind == OfferedKind::Data {
        read_data(description, &mut media);
    } else if description.has_attribute("rtcp-mux") {
        read_rtp(description, &mut media);
    } else {
        return Err(SdpError::NoRtcpMux {
            media: media.describe(index),
        });
    }
    Ok(media)
}

fn kind_of(line: &MediaLine) -> OfferedKind {
    match (line.media.as_str(), line.protocol.as_str()) {
        ("audio", "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF") => OfferedKind::Audio,
        ("video", "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF") => OfferedKind::Video,
        ("application", "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP")
            if line.format == "webrtc-datachannel" =>
        {
            OfferedKind::Data
        }
        _ => OfferedKind::Other,
    }
}

/// RFC 8866 section 6.7: the m-line's, else the session's, else both ways.
fn direction_of(description: &MediaDescription, session: &SessionDescription) -> Direction {
    let find = |has: &dyn Fn(&str) -> bool| {
        let mut named = Direction::NAMES.into_iter();
        named.find_map(|(name, direction)| has(name).then_some(direction))
    };
    find(&|name| description.has_attribute(name))
        .or_else(|| find(&|name| session.has_attribute(name)))
        .unwrap_or(Direction::SendRecv)
}

fn read_rtp(description: &MediaDescription, media: &mut OfferedMedia) {
    media.codecs = parse_codecs(description, media.kind == OfferedKind::Audio);
    if media.codecs.is_empty() {
        media.encodings = excerpt(&encoding_names(description));
    }
    media.extensions = attribute::extensions(description);
    media.rids = attribute::simulcast_rids(description);
    media.ssrcs = attribute::ssrcs(description);
    media.sim = attribute::simulcast_ssrcs(description);
    media.msid = attribute::msid(description);
}

fn read_data(description: &MediaDescription, media: &mut OfferedMedia) {
    /// RFC 8841 section 6.1, when the attribute is absent.
    const DEFAULT_MAX_MESSAGE: u64 = 64 * 1024;
    /// RFC 8831 section 6.1 and every browser.
    const DEFAULT_PORT: u16 = 5000;
    let value = |key| attribute::values(description, key).next();
    media.sctp_port = value("sctp-port")
        .and_then(|port| port.trim().parse().ok())
        .unwrap_or(DEFAULT_PORT);
    media.max_message_size = value("max-message-size")
        .and_then(|size| size.trim().parse().ok())
        .unwrap_or(DEFAULT_MAX_MESSAGE);
}

/// The mids of the first BUNDLE group (RFC 9143 section 5).
fn bundle_group(session: &SessionDescription) -> Option<Vec<&str>> {
    session
        .attributes
        .iter()
        .filter(|attribute| attribute.key == "group")
        .filter_map(|attribute| attribute.value.as_deref())
        .find_map(|value| {
            let mut words = value.split_whitespace();
            (words.next() == Some("BUNDLE")).then(|| words.collect())
        })
}

/// One transport carries everything: a lone m-line, or all of them in one group.
fn check_bundle(media: &[OfferedMedia], group: Option<&[&str]>) -> Result<(), SdpError> {
    let mut live = media.iter().enumerate().filter(|(_, m)| m.is_live());
    let missing = match group {
        None => live.nth(1),
        Some(group) => live.find(|(_, m)| !group.contains(&m.mid.as_str())),
    };
    match missing {
        None => Ok(()),
        Some((index, media)) => Err(SdpError::NoBundle {
            media: media.describe(index),
        }),
    }
}

/// Where the offer describes its transport: one m-line, with the session for what that lacks.
struct Transport<'a> {
    session: &'a SessionDescription,
    media: Option<&'a MediaDescription>,
    name: String,
}

impl<'a> Transport<'a> {
    /// The tagged m-line of the group is its first (RFC 9143 section 7.2.1); bundle-only ones after
    /// it say nothing of the transport.
    fn find(session: &'a SessionDescription, media: &[OfferedMedia], group: &[&str]) -> Self {
        let live = || media.iter().enumerate().filter(|(_, m)| m.is_live());
        let tagged = group
            .iter()
            .find_map(|mid| live().find(|(_, m)| m.mid == *mid))
            .or_else(|| live().next());
        match tagged {
            Some((index, tagged)) => Self {
                session,
                media: session.media_descriptions.get(index),
                name: tagged.describe(index),
            },
            None => Self {
                session,
                media: None,
                name: "the offer, which has no m-line in use,".into(),
            },
        }
    }

    fn value(&self, key: &'a str) -> Option<&'a str> {
        self.values(key).next()
    }

    fn values(&self, key: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = self.media.into_iter().flat_map(|media| &media.attributes);
        own.chain(&self.session.attributes)
            .filter(move |attribute| attribute.key == key)
            .filter_map(|attribute| attribute.value.as_deref())
            .map(str::trim)
    }

    fn ice(&self) -> Result<IceCredentials, SdpError> {
        self.value("ice-ufrag")
            .zip(self.value("ice-pwd"))
            .and_then(|(ufrag, pwd)| attribute::ice_credentials(ufrag, pwd))
            .ok_or_else(|| SdpError::NoIce {
                media: self.name.clone(),
            })
    }

    fn fingerprint(&self) -> Result<Fingerprint, SdpError> {
        let reason = match self.value("fingerprint") {
            None => "there is none",
            Some(_) => "the relay takes sha-256, sha-384 and sha-512",
        };
        self.values("fingerprint")
            .find_map(attribute::fingerprint)
            .ok_or_else(|| SdpError::NoFingerprint {
                media: self.name.clone(),
                reason,
            })
    }
}
