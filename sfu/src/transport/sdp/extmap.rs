//! Header extensions of the m-lines that share a transport (RFC 8285, RFC 9143 section 9.2).
//!
//! An id has one meaning in the whole BUNDLE group. A client may limit an extension to a direction of an m-line:
//! Firefox sends RIDs but never takes them, and takes playout delays but never sends them. The answer mirrors the
//! direction. The relay reads an extension only where the client may send it, and writes it only where the client may
//! receive it.

use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::parameters::MediaRole;

use super::attribute::MAX_TAG_BYTES;
use super::media::{Direction, OfferedExtension, OfferedMedia};

/// The ids of one BUNDLE group.
#[derive(Default)]
pub(super) struct Extmap {
    /// The meaning of each id, in either direction.
    meanings: [Option<ExtensionKind>; ExtensionMap::MAX_ID as usize + 1],
    /// Extensions in clients' packets. A kind may have another id in each direction.
    sent: ExtensionMap,
    /// Extensions in packets to clients.
    received: ExtensionMap,
}

impl Extmap {
    /// Keeps the extensions of an m-line that agree with earlier m-lines. A client that numbers each m-line by itself
    /// can do without the others.
    pub(super) fn share(&mut self, offered: &[OfferedExtension]) -> Vec<OfferedExtension> {
        offered
            .iter()
            .copied()
            .filter(|extension| self.insert(extension))
            .collect()
    }

    fn insert(&mut self, extension: &OfferedExtension) -> bool {
        let OfferedExtension {
            id,
            kind,
            direction,
        } = *extension;
        let Some(meaning) = self.meanings.get_mut(usize::from(id)) else {
            return false;
        };
        let agrees = |map: &ExtensionMap| map.id(kind).is_none_or(|known| known == id);
        let keep = meaning.is_none_or(|known| known == kind)
            && (!direction.sends() || agrees(&self.sent))
            && (!direction.receives() || agrees(&self.received));
        if keep {
            *meaning = Some(kind);
            if direction.sends() {
                self.sent.insert(id, kind);
            }
            if direction.receives() {
                self.received.insert(id, kind);
            }
        }
        keep
    }
}

/// The extensions of an m-line. The one that carries its name is left out if the m-line has no `a=mid`, or a long one:
/// that needs the two-byte form, which a client may send but need not take (RFC 8285 section 4.1.2). Streams are then
/// known by their SSRCs.
pub(super) fn nameable(offered: &OfferedMedia) -> Vec<OfferedExtension> {
    let nameable = |mut extension: OfferedExtension| {
        if extension.kind != ExtensionKind::Mid {
            return Some(extension);
        }
        if !offered.named {
            return None;
        }
        if offered.mid.len() > MAX_TAG_BYTES {
            if !extension.direction.sends() {
                return None;
            }
            extension.direction = Direction::SendOnly;
        }
        Some(extension)
    };
    offered
        .extensions
        .iter()
        .copied()
        .filter_map(nameable)
        .collect()
}

/// The extensions of the packets that flow on an m-line of this role.
pub(super) fn in_use(extensions: &[OfferedExtension], role: MediaRole) -> ExtensionMap {
    let flows = |direction: Direction| match role {
        MediaRole::Publish => direction.sends(),
        MediaRole::Slot => direction.receives(),
        // No packets flow for now: extensions of either direction are kept.
        MediaRole::Inactive => direction.sends() || direction.receives(),
        MediaRole::Data | MediaRole::Rejected => false,
    };
    let mut map = ExtensionMap::default();
    for extension in extensions.iter().filter(|e| flows(e.direction)) {
        map.insert(extension.id, extension.kind);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    use ExtensionKind::{Mid, PlayoutDelay, Rid, TransportCc};

    fn extension((id, kind, direction): (u8, ExtensionKind, Direction)) -> OfferedExtension {
        OfferedExtension {
            id,
            kind,
            direction,
        }
    }

    type Listed<'a> = &'a [(u8, ExtensionKind, Direction)];

    #[test]
    fn an_id_has_one_meaning_and_a_kind_one_id_a_direction() {
        let cases: [(&str, Listed, Listed, Listed); 8] = [
            (
                "the same again, as bundled m-lines have it",
                &[(3, Mid, SendRecv)],
                &[(3, Mid, SendRecv)],
                &[(3, Mid, SendRecv)],
            ),
            (
                "another direction of the same id",
                &[(9, Rid, SendOnly)],
                &[(9, Rid, SendRecv)],
                &[(9, Rid, SendRecv)],
            ),
            (
                "the id of another kind",
                &[(1, Mid, SendRecv)],
                &[(1, TransportCc, SendRecv), (3, Rid, SendRecv)],
                &[(3, Rid, SendRecv)],
            ),
            (
                "the id of another kind, in the other direction",
                &[(1, Mid, SendOnly)],
                &[(1, TransportCc, RecvOnly)],
                &[],
            ),
            (
                "the id of another kind, though nobody uses it",
                &[(1, Mid, Inactive)],
                &[(1, TransportCc, SendRecv)],
                &[],
            ),
            (
                "another id of the same kind",
                &[(1, Mid, SendRecv)],
                &[(2, Mid, SendOnly)],
                &[],
            ),
            (
                "an id for each direction",
                &[(1, Mid, SendOnly)],
                &[(2, Mid, RecvOnly), (3, Mid, SendRecv)],
                &[(2, Mid, RecvOnly)],
            ),
            (
                "an id for each direction of one m-line",
                &[],
                &[(1, Mid, SendOnly), (2, Mid, RecvOnly)],
                &[(1, Mid, SendOnly), (2, Mid, RecvOnly)],
            ),
        ];
        for (what, before, offered, expected) in cases {
            let list = |listed: Listed| listed.iter().copied().map(extension).collect::<Vec<_>>();
            let mut extmap = Extmap::default();
            assert_eq!(extmap.share(&list(before)), list(before), "{what}");
            assert_eq!(extmap.share(&list(offered)), list(expected), "{what}");
        }
    }

    #[test]
    fn only_what_flows_is_in_use() {
        let extensions = [
            (1, Mid, SendOnly),
            (2, Mid, RecvOnly),
            (3, TransportCc, SendRecv),
            (6, PlayoutDelay, RecvOnly),
            (9, Rid, SendOnly),
            (10, ExtensionKind::RepairedRid, Inactive),
        ]
        .map(extension);
        for (role, expected) in [
            (
                MediaRole::Publish,
                &[(1, Mid), (3, TransportCc), (9, Rid)][..],
            ),
            (
                MediaRole::Slot,
                &[(2, Mid), (3, TransportCc), (6, PlayoutDelay)],
            ),
            (
                MediaRole::Inactive,
                &[(1, Mid), (3, TransportCc), (6, PlayoutDelay), (9, Rid)],
            ),
            (MediaRole::Data, &[]),
        ] {
            let map: Vec<_> = in_use(&extensions, role).iter().collect();
            assert_eq!(map, expected, "{role:?}");
        }
    }
}
