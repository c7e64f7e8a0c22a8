//! Finds the layer that an SSRC belongs to.
//!
//! Streams announced in the description are known by SSRC. Other streams name themselves: their packets
//! carry MID and RID, and those of their repair streams MID and repaired-RID (RFC 8852). Only authenticated
//! packets get here, so a binding costs a forger nothing less than the peer's keys.
//!
//! Rules for the stream that a layer carries:
//!
//! - A stream announced in the description takes its layer at once.
//! - Among streams that only name themselves, the first keeps the layer while packets of it arrive. Another replaces it
//!   once the first has been silent for a second, has sent a BYE (RFC 3550 section 6.6) or has moved to another
//!   m-line, and at least a second after the last replacement. So a sender that restarts under another SSRC is heard
//!   a second later, and a sender that uses two SSRCs at once is heard on one. Packets of the other one are dropped as
//!   `rtp_second_stream`.
//! - A stream whose packet names another m-line than before has moved there, and its repair stream with it: the latest
//!   MID counts (RFC 9143 section 9.2). There it waits like any stream while another is heard. A packet older than the
//!   newest of its stream moves nothing; nor does a MID that no m-line has.

use std::collections::HashMap;

use crate::index::TrackIx;
use crate::rtp::RtpHeader;
use crate::rtp::extension::ExtensionKind;
use crate::track::Track;

/// Bindings of one peer at most. 8 tracks of 3 layers with repair streams are 48. Only a client that changes SSRCs at
/// will needs more than this; its further streams are dropped.
const BINDINGS: usize = 128;

/// The place of a stream's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Binding {
    /// The track.
    pub(crate) track: TrackIx,
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

    /// Binds an SSRC in place of the one bound there before; false if there are too many.
    pub(crate) fn insert(&mut self, ssrc: u32, binding: Binding) -> bool {
        self.by_ssrc
            .retain(|other, bound| *other == ssrc || *bound != binding);
        if self.by_ssrc.len() >= BINDINGS && !self.by_ssrc.contains_key(&ssrc) {
            return false;
        }
        self.by_ssrc.insert(ssrc, binding);
        true
    }

    /// Forgets an SSRC.
    pub(crate) fn remove(&mut self, ssrc: u32) {
        self.by_ssrc.remove(&ssrc);
    }

    /// Forgets a track.
    pub(crate) fn remove_track(&mut self, track: TrackIx) {
        self.by_ssrc.retain(|_, binding| binding.track != track);
    }

    /// Forgets a layer.
    pub(crate) fn remove_layer(&mut self, track: TrackIx, layer: usize) {
        self.by_ssrc
            .retain(|_, binding| (binding.track, binding.layer) != (track, layer));
    }
}

/// Whether a packet names another m-line than that of a track.
pub(crate) fn names_another(track: &Track, header: &RtpHeader, packet: &[u8]) -> bool {
    text(track, header, packet, ExtensionKind::Mid).is_some_and(|mid| mid != track.mid.as_bytes())
}

/// Finds the layer of a stream from the names in its packet.
pub(crate) fn identify<'a>(
    tracks: impl Iterator<Item = (TrackIx, &'a Track)> + Clone,
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
    let kinds: &[ExtensionKind] = if repair {
        &[ExtensionKind::RepairedRid, ExtensionKind::Rid]
    } else {
        &[ExtensionKind::Rid]
    };
    let rid = kinds
        .iter()
        .find_map(|kind| text(track, header, packet, *kind));
    let (mut encodings, order) = (track.encodings(), track.order());
    let layer = match rid {
        Some(rid) if encodings.any(|(_, layer)| layer.name.rid.is_some()) => {
            track.layer_of(std::str::from_utf8(rid).ok()?)?
        }
        // A single encoding needs no name.
        _ if order.is_single() => order.encodings().next()?,
        _ => return None,
    };
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
