//! The client's offer, read: text into values that hold together.

use crate::client_offer::MayPublish;
use crate::event::MediaKind;
use crate::rtp::extension::ExtensionKind;
use crate::rtp::parameters::SectionKind;
use crate::transport::{Fingerprint, IceCredentials};

use super::bundle;
use super::error::SdpError;
use super::media::{OfferedMedia, read_media};
use super::text;

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
    /// Bounds for this many m-lines with room for what browsers write in them. A receiving video m-line of Chromium is
    /// 6 KiB and 190 lines, so these bounds hold 160 of them with as many of audio.
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
    /// The client's end of the one transport. None: no m-line is in use that the relay can use.
    pub(crate) remote: Option<RemoteDescription>,
    /// All m-lines, in order, stopped and refused ones too.
    pub(crate) media: Vec<OfferedMedia>,
    /// One- and two-byte header extensions may be mixed on each m-line (RFC 8285 section 6).
    pub(crate) extmap_allow_mixed: bool,
    /// The mids of the BUNDLE group, the one first whose m-line describes the transport. Without a group (a
    /// single m-line) the answer has none either.
    pub(crate) bundle: Option<Vec<String>>,
}

impl Offer {
    /// Refuses the tracks that the client may not publish. Their m-lines stay in use, without media.
    pub(crate) fn restrict(&mut self, may_publish: &MayPublish) {
        if may_publish.is_everything() {
            return;
        }
        for (index, media) in self.media.iter_mut().enumerate() {
            let kind = match media.kind {
                SectionKind::Audio => MediaKind::Audio,
                SectionKind::Video => MediaKind::Video,
                SectionKind::Data | SectionKind::Other => continue,
            };
            if media.publishes() && !may_publish.allows(&media.mid, kind) {
                let name = media.describe(index);
                media.forbid(SdpError::NotAllowed { media: name });
            }
        }
    }

    /// Whether a video that it publishes may carry a header extension.
    pub(crate) fn has_video_with(&self, kind: ExtensionKind) -> bool {
        let mut video = self.media.iter().filter(|media| media.publishes_video());
        video.any(|media| {
            let mut extensions = media.extensions.iter();
            extensions.any(|extension| extension.kind == kind)
        })
    }

    /// Removes a header extension from the videos that it publishes.
    pub(crate) fn leave_out_of_video(&mut self, kind: ExtensionKind) {
        for media in &mut self.media {
            if media.publishes_video() {
                media.extensions.retain(|extension| extension.kind != kind);
            }
        }
    }

    /// Mids of the m-lines that are refused, or their tracks, and why.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (String, SdpError)> {
        self.media.iter().filter_map(|media| {
            let reason = media.refusal.as_ref().or(media.forbidden.as_ref())?;
            Some((media.mid.clone(), reason.clone()))
        })
    }
}

/// The client's end of its transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RemoteDescription {
    /// Its credentials.
    pub(crate) ice: IceCredentials,
    /// Fingerprint of its certificate.
    pub(crate) fingerprint: Fingerprint,
}

/// Reads an offer. Everything that needs no knowledge of an earlier offer is checked here. An m-line that
/// cannot be used is marked so, and refuses nothing else.
pub(crate) fn parse_offer(text: &str, limits: &SdpLimits) -> Result<Offer, SdpError> {
    check_size(text, limits)?;
    let description = text::read(text)?;
    let mut media = description
        .media
        .iter()
        .enumerate()
        .map(|(index, media)| read_media(index, media, &description.session))
        .collect::<Result<Vec<_>, _>>()?;
    check_names(&media)?;
    name_by_place(&mut media);
    refuse_second_data(&mut media);
    let group = bundle::share_transport(&description, &mut media);
    let remote = bundle::transport(&description, &media, group.as_deref())?;
    Ok(Offer {
        remote,
        extmap_allow_mixed: description.session.has("extmap-allow-mixed"),
        bundle: group.map(|group| group.into_iter().map(str::to_owned).collect()),
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

fn check_names(media: &[OfferedMedia]) -> Result<(), SdpError> {
    for (index, later) in media.iter().enumerate() {
        let repeated = |other: &OfferedMedia| other.named && later.named && other.mid == later.mid;
        if media[..index].iter().any(repeated) {
            let name = later.describe(index);
            return Err(SdpError::Syntax(format!("{name} repeats another's a=mid")));
        }
    }
    Ok(())
}

/// RFC 8829 section 5.10: an m-line without `a=mid` is given a name, which stays on this side.
fn name_by_place(media: &mut [OfferedMedia]) {
    for index in 0..media.len() {
        if !media[index].mid.is_empty() || media[index].stopped {
            continue;
        }
        let mut name = index.to_string();
        while media.iter().any(|other| other.mid == name) {
            name.push('_');
        }
        media[index].mid = name;
    }
}

/// All data channels of a peer share one SCTP association (RFC 8831 section 6.1).
fn refuse_second_data(media: &mut [OfferedMedia]) {
    let data = media.iter_mut().enumerate();
    let data = data.filter(|(_, m)| m.kind == SectionKind::Data && m.is_usable());
    for (index, second) in data.skip(1) {
        second.refusal = Some(SdpError::UnknownMedia {
            media: second.describe(index),
            reason: "all data channels belong on one m-line".into(),
        });
    }
}
