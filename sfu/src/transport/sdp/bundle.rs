//! The m-lines that share the transport (RFC 9143), and the section of the offer that describes it.

use crate::rtp::parameters::SectionKind;
use crate::transport::{Fingerprint, IceCredentials};

use super::attribute;
use super::error::SdpError;
use super::media::OfferedMedia;
use super::offer::RemoteDescription;
use super::text::{Attributes, Description};

/// Selects the m-lines on the peer's one transport, and refuses the others: m-lines outside the group of the first
/// m-line in use (RFC 8829 section 5.3.1, policy `max-bundle`), and those with a port of their own for RTCP. Returns
/// the mids of the group, first that of the m-line that describes the transport; none for a lone m-line outside any
/// group.
pub(super) fn share_transport<'a>(
    description: &Description<'a>,
    media: &mut [OfferedMedia],
) -> Option<Vec<&'a str>> {
    let first = media.iter().position(OfferedMedia::is_usable)?;
    let group = group_of(description, &media[first]);
    // Attributes common to the whole group may stand in one of its m-lines alone (RFC 9143 section 7.1.3, RFC 8859
    // section 4.2).
    let muxed = media
        .iter()
        .any(|m| m.rtcp_mux && !m.stopped && is_in(m, group.as_deref()));
    for (index, media) in media.iter_mut().enumerate() {
        if !media.is_usable() {
            continue;
        }
        let rtp = media.kind != SectionKind::Data;
        if index != first && !is_in(media, group.as_deref()) {
            media.refusal = Some(SdpError::NoBundle {
                media: media.describe(index),
            });
        } else if rtp && !media.rtcp_mux && !(muxed && is_in(media, group.as_deref())) {
            media.refusal = Some(SdpError::NoRtcpMux {
                media: media.describe(index),
            });
        }
    }
    let mut group = group?;
    let chosen = chosen(description, media, Some(&group));
    let chosen = chosen.and_then(|at| group.iter().position(|mid| *mid == media[at].mid));
    if let Some(listed) = group.get_mut(..=chosen?) {
        listed.rotate_right(1);
    }
    Some(group)
}

/// The client's end of the transport; none if no m-line is left to use it.
pub(super) fn transport(
    description: &Description<'_>,
    media: &[OfferedMedia],
    group: Option<&[&str]>,
) -> Result<Option<RemoteDescription>, SdpError> {
    let at = |index: usize| Some((index, &description.media.get(index)?.attributes));
    let Some((index, chosen)) = chosen(description, media, group).and_then(at) else {
        return Ok(None);
    };
    let mut described = group.unwrap_or_default().iter().filter_map(|mid| {
        let named = |m: &OfferedMedia| m.named && m.mid == *mid && !m.stopped;
        let (_, attributes) = at(media.iter().position(named)?)?;
        attributes.has("ice-ufrag").then_some(attributes)
    });
    let source = Source {
        sections: [Some(chosen), described.next(), Some(&description.session)],
        name: media[index].describe(index),
    };
    source.check_role()?;
    Ok(Some(RemoteDescription {
        ice: source.ice()?,
        fingerprint: source.fingerprint()?,
    }))
}

/// The mids of the BUNDLE group that an m-line is in (RFC 9143 section 5); there may be several groups.
fn group_of<'a>(description: &Description<'a>, media: &OfferedMedia) -> Option<Vec<&'a str>> {
    let groups = description.session.values("group").filter_map(|value| {
        let mut words = value.split_whitespace();
        (words.next() == Some("BUNDLE")).then(|| words.collect::<Vec<_>>())
    });
    let mut groups = groups.filter(|group| is_in(media, Some(group)));
    groups.next()
}

fn is_in(media: &OfferedMedia, group: Option<&[&str]>) -> bool {
    media.named && group.is_some_and(|group| group.contains(&media.mid.as_str()))
}

/// The m-line whose transport is used (RFC 9143 section 7.3.1): the first of the group's list that is accepted and has
/// a port. If only bundle-only ones are left, the first of them, described by another m-line even if that is refused.
fn chosen(
    description: &Description<'_>,
    media: &[OfferedMedia],
    group: Option<&[&str]>,
) -> Option<usize> {
    let listed = |mid: &&str| {
        let named = |media: &OfferedMedia| media.named && media.mid == *mid && media.is_usable();
        media.iter().position(named)
    };
    let mut in_group = group.unwrap_or_default().iter().filter_map(listed);
    let with_port = |index: &usize| description.media.get(*index).is_some_and(|m| m.port != 0);
    in_group
        .clone()
        .find(with_port)
        .or_else(|| in_group.next())
        .or_else(|| media.iter().position(OfferedMedia::is_usable))
}

/// The sections of an offer that describe its transport: the next one supplies what the first lacks.
struct Source<'a> {
    sections: [Option<&'a Attributes<'a>>; 3],
    name: String,
}

impl<'a> Source<'a> {
    fn values(&self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let sections = self.sections.into_iter().flatten();
        sections.flat_map(move |section| section.values(key).map(str::trim))
    }

    fn check_role(&self) -> Result<(), SdpError> {
        match self.values("setup").next() {
            None | Some("actpass" | "active") => Ok(()),
            Some(_) => Err(SdpError::Syntax(format!(
                "{}: a=setup must be actpass or active, for the relay waits for the DTLS handshake",
                self.name
            ))),
        }
    }

    fn ice(&self) -> Result<IceCredentials, SdpError> {
        let ufrag = self.values("ice-ufrag").next();
        ufrag
            .zip(self.values("ice-pwd").next())
            .and_then(|(ufrag, pwd)| attribute::ice_credentials(ufrag, pwd))
            .ok_or_else(|| SdpError::NoIce {
                media: self.name.clone(),
            })
    }

    fn fingerprint(&self) -> Result<Fingerprint, SdpError> {
        let reason = match self.values("fingerprint").next() {
            None => "there is none, and the relay takes nothing but DTLS",
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
