//! Which layer an SSRC belongs to.
//!
//! Streams announced in the description are known by SSRC. Simulcast streams are not announced:
//! their first packets carry MID and RID, and their repair streams MID and repaired-RID
//! (RFC 8852). Only authenticated packets get here, so a binding costs a forger nothing less than
//! the peer's keys.

use std::collections::HashMap;

use super::track::Track;
use crate::rtp::RtpHeader;
use crate::rtp::extension::ExtensionKind;

/// Bindings kept of one peer: 8 tracks of 3 layers with repair streams are 48; beyond this the
/// oldest publisher behaviour is a client that changes SSRCs at will, and its new streams are dropped.
const BINDINGS: usize = 128;

/// Where a stream's packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Binding {
    /// Index into the publisher's tracks.
    pub(crate) track: usize,
    /// Index into the track's layers.
    pub(crate) layer: usize,
    /// It repairs the layer (RFC 4588).
    pub(crate) repair: bool,
}

/// The bindings of one peer.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    by_ssrc: HashMap<u32, Binding>,
}

impl Bindings {
    /// The known binding of an SSRC.
    pub(crate) fn get(&self, ssrc: u32) -> Option<Binding> {
        self.by_ssrc.get(&ssrc).copied()
    }

    /// Binds an SSRC; false if there are too many.
    pub(crate) fn insert(&mut self, ssrc: u32, binding: Binding) -> bool {
        if self.by_ssrc.len() >= BINDINGS && !self.by_ssrc.contains_key(&ssrc) {
            return false;
        }
        self.by_ssrc.insert(ssrc, binding);
        true
    }

    /// Forgets a track.
    pub(crate) fn remove_track(&mut self, track: usize) {
        self.by_ssrc.retain(|_, binding| binding.track != track);
    }

    /// Forgets the stream that was bound to the same place before.
    pub(crate) fn displace(&mut self, ssrc: u32, binding: Binding) {
        self.by_ssrc
            .retain(|other, bound| *other == ssrc || *bound != binding);
    }
}

/// Finds the place of a stream by what its packet says of itself.
pub(crate) fn identify<'a>(
    tracks: impl Iterator<Item = (usize, &'a Track)> + Clone,
    header: &RtpHeader,
    packet: &[u8],
) -> Option<Binding> {
    let carries = |track: &Track| {
        track.codec(header.payload_type).is_some() || track.repairs(header.payload_type).is_some()
    };
    let mut candidates = tracks.clone().filter(|(_, track)| carries(track));
    let by_mid = tracks.clone().find(|(_, track)| {
        text(track, header, packet, ExtensionKind::Mid) == Some(track.mid.as_bytes())
            && carries(track)
    });
    // Without a MID, a payload type used on one m-line only still tells (RFC 9143 section 9.2).
    let (index, track) = match (by_mid, candidates.next(), candidates.next()) {
        (Some(found), _, _) | (None, Some(found), None) => found,
        _ => return None,
    };
    let repair = track.codec(header.payload_type).is_none();
    if track.layers.len() == 1 && track.layers[0].rid.is_none() {
        return Some(Binding {
            track: index,
            layer: 0,
            repair,
        });
    }
    let kinds: &[ExtensionKind] = if repair {
        &[ExtensionKind::RepairedRid, ExtensionKind::Rid]
    } else {
        &[ExtensionKind::Rid]
    };
    let rid = kinds
        .iter()
        .find_map(|kind| text(track, header, packet, *kind))?;
    let layer = track.layer_of(std::str::from_utf8(rid).ok()?)?;
    Some(Binding {
        track: index,
        layer,
        repair,
    })
}

fn text<'p>(
    track: &Track,
    header: &RtpHeader,
    packet: &'p [u8],
    kind: ExtensionKind,
) -> Option<&'p [u8]> {
    header.extension(packet, track.extensions.id(kind)?)
}
