//! Which layer an SSRC belongs to.
//!
//! Streams announced in the description are known by SSRC. Other streams name themselves: their packets
//! carry MID and RID, and those of their repair streams MID and repaired-RID (RFC 8852). Only authenticated
//! packets get here, so a binding costs a forger nothing less than the peer's keys.
//!
//! Which stream a layer carries:
//!
//! - What a description announces, it carries at once.
//! - Of streams that only name themselves the first stands, while it is heard. Another takes its place once
//!   the first has been silent for [`SILENT`], has said goodbye (RFC 3550 section 6.6) or has moved to another
//!   m-line; and not within [`SILENT`] of the last time. So a sender that begins anew under another SSRC is
//!   heard a second later, and one that sends on two at once is heard on one. What is passed over is dropped
//!   as `rtp_second_stream`.
//! - A stream whose packet names another m-line than before has moved there, and its repair stream with it:
//!   the latest MID counts (RFC 9143 section 9.2). There it is a stream like any, that waits where another
//!   is heard. A packet from before the newest of its stream moves nothing; nor does the name of no m-line.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::track::Track;
use crate::rtp::RtpHeader;
use crate::rtp::extension::ExtensionKind;

/// Bindings kept of one peer: 8 tracks of 3 layers with repair streams are 48; beyond this the
/// oldest publisher behaviour is a client that changes SSRCs at will, and its new streams are dropped.
const BINDINGS: usize = 128;
/// A stream unheard for so long gives way to another. Cameras in the dark send every 200 ms, and a sender
/// that begins anew shows nothing for this long.
const SILENT: Duration = Duration::from_secs(1);

/// A publisher's name for an encoding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EncodingName {
    /// Its RID; none without simulcast by RID.
    pub(crate) rid: Option<String>,
    /// Its SSRC in an `a=ssrc-group:SIM`; none without.
    pub(crate) ssrc: Option<u32>,
}

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

/// The firmness with which a stream has taken a layer's place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    /// The time at which a stream that only named itself took it last.
    taken_at: Option<Instant>,
    /// The time at which the stream in it was last heard; none if it is gone.
    heard_at: Option<Instant>,
}

impl Hold {
    /// Whether a stream that only names itself may take it.
    pub(super) fn yields(&self, now: Instant) -> bool {
        let long_ago = |at: Option<Instant>| at.is_none_or(|at| now >= at + SILENT);
        long_ago(self.heard_at) && long_ago(self.taken_at)
    }

    pub(super) fn take(&mut self, now: Instant) {
        (self.taken_at, self.heard_at) = (Some(now), Some(now));
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// The stream in it is gone.
    pub(super) fn leave(&mut self) {
        self.heard_at = None;
    }
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
    pub(crate) fn remove_track(&mut self, track: usize) {
        self.by_ssrc.retain(|_, binding| binding.track != track);
    }

    /// Forgets a layer.
    pub(crate) fn remove_layer(&mut self, track: usize, layer: usize) {
        self.by_ssrc
            .retain(|_, binding| (binding.track, binding.layer) != (track, layer));
    }
}

/// Whether a packet names another m-line than that of a track.
pub(crate) fn names_another(track: &Track, header: &RtpHeader, packet: &[u8]) -> bool {
    text(track, header, packet, ExtensionKind::Mid).is_some_and(|mid| mid != track.mid.as_bytes())
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
        // Of a single encoding there is nothing more to be told.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_away_when_its_stream_is_silent_or_gone_and_not_twice_at_once() {
        enum Happens {
            Taken,
            Heard,
            Gone,
        }
        use Happens::{Gone, Heard, Taken};
        for (what, history, yields_at) in [
            ("nobody was there", &[][..], 0),
            ("it speaks", &[(0, Taken), (4_900, Heard)], 5_900),
            ("it fell silent", &[(0, Taken), (500, Heard)], 1_500),
            (
                "it said goodbye",
                &[(0, Taken), (4_900, Heard), (4_950, Gone)],
                4_950,
            ),
            ("it came and went", &[(0, Taken), (10, Gone)], 1_000),
            ("it was announced and never came", &[(0, Gone)], 0),
            ("it was announced and speaks", &[(700, Heard)], 1_700),
            (
                "it speaks again",
                &[(0, Taken), (2_000, Gone), (2_100, Heard)],
                3_100,
            ),
        ] {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut hold = Hold::default();
            let mut last = 0;
            for (ms, happens) in history {
                last = *ms;
                match happens {
                    Taken => hold.take(at(*ms)),
                    Heard => hold.hear(at(*ms)),
                    Gone => hold.leave(),
                }
            }
            let mut times = last..10_000;
            assert_eq!(
                times.find(|ms| hold.yields(at(*ms))),
                Some(yields_at),
                "{what}"
            );
        }
    }
}
