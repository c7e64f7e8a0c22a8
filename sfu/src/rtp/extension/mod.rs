//! RTP header extensions (RFC 8285): which the relay knows, and their negotiated ids; their
//! elements on the wire and what those carry.

mod elements;
mod values;

pub use elements::Extensions;
pub(crate) use elements::{ONE_BYTE, TWO_BYTE};
pub use values::{AbsSendTime, AudioLevel, PlayoutDelay, TransportCc, sdes_text};

/// A header extension the relay negotiates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ExtensionKind {
    /// RFC 9143.
    Mid,
    /// RFC 8852.
    Rid,
    /// RFC 8852.
    RepairedRid,
    /// <http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time>
    AbsSendTime,
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01
    TransportCc,
    /// RFC 6464.
    AudioLevel,
    /// 3GPP TS 26.114 (CVO).
    VideoOrientation,
    /// <http://www.webrtc.org/experiments/rtp-hdrext/playout-delay>
    PlayoutDelay,
    /// <http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time>
    AbsCaptureTime,
    /// AV1 RTP payload specification, appendix A.
    DependencyDescriptor,
}

impl ExtensionKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsSendTime,
        Self::TransportCc,
        Self::AudioLevel,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::AbsCaptureTime,
        Self::DependencyDescriptor,
    ];

    /// The URI of `a=extmap`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::TransportCc => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    /// The kind with a URI.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// The negotiated ids of one m-line. Ids of the one-byte form, 1 to 14, and of the two-byte form up
/// to 31: browsers number from 1 and never come near.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtensionMap {
    ids: ExtensionIds,
    /// Indexed by id.
    kinds: [Option<ExtensionKind>; ExtensionMap::MAX_ID as usize + 1],
}

/// The ids of an [`ExtensionMap`], without the way back: all that a sender needs, in ten bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ExtensionIds {
    /// Indexed by kind; 0 is "not negotiated".
    of: [u8; ExtensionKind::ALL.len()],
}

impl ExtensionIds {
    /// The id of a kind.
    pub(crate) fn id(&self, kind: ExtensionKind) -> Option<u8> {
        Some(self.of[kind as usize]).filter(|id| *id != 0)
    }
}

impl ExtensionMap {
    /// The largest id kept.
    pub const MAX_ID: u8 = 31;

    /// Adds a mapping; false if the id is out of range or either side is taken.
    pub fn insert(&mut self, id: u8, kind: ExtensionKind) -> bool {
        if id == 0
            || id > Self::MAX_ID
            || self.kinds[id as usize].is_some()
            || self.id(kind).is_some()
        {
            return false;
        }
        self.ids.of[kind as usize] = id;
        self.kinds[id as usize] = Some(kind);
        true
    }

    /// The id of a kind.
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        self.ids.id(kind)
    }

    /// The ids alone.
    pub(crate) fn ids(&self) -> ExtensionIds {
        self.ids
    }

    /// The kind of an id.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        self.kinds.get(id as usize).copied().flatten()
    }

    /// All pairs, by id.
    pub fn iter(&self) -> impl Iterator<Item = (u8, ExtensionKind)> + '_ {
        self.kinds
            .iter()
            .enumerate()
            .filter_map(|(id, kind)| Some((id as u8, (*kind)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_name_their_kind() {
        for kind in ExtensionKind::ALL {
            assert_eq!(ExtensionKind::from_uri(kind.uri()), Some(kind));
        }
        assert_eq!(
            ExtensionKind::from_uri("urn:ietf:params:rtp-hdrext:toffset"),
            None
        );
    }

    #[test]
    fn a_map_is_one_to_one() {
        let mut map = ExtensionMap::default();
        assert!(map.insert(3, ExtensionKind::Mid));
        assert!(!map.insert(3, ExtensionKind::Rid), "the id is taken");
        assert!(!map.insert(4, ExtensionKind::Mid), "the kind is taken");
        assert!(!map.insert(0, ExtensionKind::Rid));
        assert!(!map.insert(32, ExtensionKind::Rid));
        assert!(map.insert(31, ExtensionKind::Rid));
        assert_eq!(map.id(ExtensionKind::Mid), Some(3));
        assert_eq!(map.id(ExtensionKind::AudioLevel), None);
        assert_eq!(
            (map.kind(31), map.kind(200)),
            (Some(ExtensionKind::Rid), None)
        );
        let pairs: Vec<_> = map.iter().collect();
        assert_eq!(pairs, [(3, ExtensionKind::Mid), (31, ExtensionKind::Rid)]);
    }
}
