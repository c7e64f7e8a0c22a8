//! A packet between its publisher and its viewers: ingress puts it into its track, and egress rewrites it.

use std::ops::Deref;

use crate::clock::SenderClock;
use crate::id::TrackId;
use crate::rtp::RtpHeader;
use crate::rtp::codec::dd::DependencyDescriptor;
use crate::rtp::codec::{Codec, FrameInfo, is_keyframe, vp8, vp9};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};

/// A decrypted packet of a published track: its bytes and the info found about them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// The whole RTP packet as the publisher sent it; unwrapped from RTX if it was retransmitted.
    pub(crate) datagram: &'a [u8],
    pub(crate) info: &'a PacketInfo,
}

impl<'a> Packet<'a> {
    /// The payload, without padding.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.info.header.payload(self.datagram)
    }
}

impl Deref for Packet<'_> {
    type Target = PacketInfo;

    fn deref(&self) -> &PacketInfo {
        self.info
    }
}

/// Facts of a packet that are the same for each of its viewers, found once. They hold no bytes, so that they can be
/// stored beside them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketInfo {
    pub(crate) header: RtpHeader,
    pub(crate) codec: Codec,
    pub(crate) track: TrackId,
    /// Index among the track's layers, lowest first.
    pub(crate) layer: usize,
    /// Sequence number, unwrapped within the layer's stream.
    pub(crate) sequence: u64,
    /// A decoder can begin here.
    pub(crate) switchable: bool,
    /// The packet is in its layer's cache.
    pub(crate) cached: bool,
    /// The layer's clock, once the publisher has reported it.
    pub(crate) sender: Option<SenderClock>,
    pub(crate) described: Described,
    /// The header extensions its viewers get.
    pub(crate) passed_on: PassedOn,
}

/// The publisher's header extensions that concern its viewers: properties of the media. The rest
/// concerns the publisher's own transport and ends here.
const PASSED_ON: [ExtensionKind; 5] = [
    ExtensionKind::AudioLevel,
    ExtensionKind::VideoOrientation,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::DependencyDescriptor,
];

/// The header extensions of a packet that its viewers get, in the order they stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PassedOn {
    /// Kind, and the value's place in the datagram.
    found: [Option<(ExtensionKind, u16, u8)>; PASSED_ON.len()],
}

impl PassedOn {
    /// The extensions of `datagram` that are passed on, recognised by `ids`. If a kind stands twice, the first counts.
    pub(crate) fn find(header: &RtpHeader, datagram: &[u8], ids: &ExtensionMap) -> Self {
        let mut passed = Self::default();
        let mut free = passed.found.iter_mut();
        let mut seen = 0u16;
        for (id, place) in header.extension_places(datagram) {
            let Some(kind) = ids.kind(id).filter(|kind| PASSED_ON.contains(kind)) else {
                continue;
            };
            let bit = 1 << kind as u16;
            if let (0, Ok(at), Ok(len)) =
                (seen & bit, place.start.try_into(), place.len().try_into())
                && let Some(free) = free.next()
            {
                *free = Some((kind, at, len));
                seen |= bit;
            }
        }
        passed
    }

    /// The value of one kind of extension.
    pub(crate) fn value<'a>(&self, datagram: &'a [u8], kind: ExtensionKind) -> Option<&'a [u8]> {
        let mut found = self.found.iter().map_while(|found| *found);
        let (_, at, len) = found.find(|(other, ..)| *other == kind)?;
        datagram.get(usize::from(at)..usize::from(at) + usize::from(len))
    }

    /// Whether the picture is to be turned when it is shown.
    pub(crate) fn is_turned(&self, datagram: &[u8]) -> bool {
        /// Bits for a quarter turn and half a turn; the other bits tell which camera it was, and mirroring.
        const TURN: u8 = 0b11;
        let value = self.value(datagram, ExtensionKind::VideoOrientation);
        value
            .and_then(<[u8]>::first)
            .is_some_and(|value| value & TURN != 0)
    }

    /// Each kind with its value.
    pub(crate) fn values<'a>(
        &'a self,
        datagram: &'a [u8],
    ) -> impl Iterator<Item = (ExtensionKind, &'a [u8])> + use<'a> {
        self.found.iter().map_while(move |found| {
            let (kind, at, len) = (*found)?;
            let at = usize::from(at);
            Some((kind, datagram.get(at..at + usize::from(len))?))
        })
    }
}

/// Facts of a packet's frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Described {
    pub(crate) frame: FrameInfo,
    pub(crate) payload: PayloadDescriptor,
    pub(crate) dependencies: Option<DependencyDescriptor>,
}

/// The descriptor at the front of a payload, where the codec has one and it is well-formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PayloadDescriptor {
    None,
    Vp8(vp8::Descriptor),
    Vp9(vp9::Descriptor),
}

impl PayloadDescriptor {
    /// Reads the descriptor of a payload.
    pub(crate) fn parse(codec: Codec, payload: &[u8]) -> Self {
        match codec {
            Codec::Vp8 => vp8::Descriptor::parse(payload).map_or(Self::None, Self::Vp8),
            Codec::Vp9 => vp9::Descriptor::parse(payload).map_or(Self::None, Self::Vp9),
            _ => Self::None,
        }
    }

    /// Picture id and TL0PICIDX.
    pub(crate) fn numbers(&self) -> (Option<u16>, Option<u8>) {
        match self {
            Self::None => (None, None),
            Self::Vp8(read) => (read.picture_id, read.tl0_pic_idx),
            Self::Vp9(read) => (read.picture_id, read.tl0_pic_idx),
        }
    }

    /// Writes other numbers into the payload it was parsed from.
    pub(crate) fn rewrite(&self, payload: &mut [u8], picture_id: u16, tl0_pic_idx: u8) {
        match self {
            Self::None => {}
            Self::Vp8(read) => vp8::rewrite(payload, read, picture_id, tl0_pic_idx),
            Self::Vp9(read) => vp9::rewrite(payload, read, picture_id, tl0_pic_idx),
        }
    }
}

impl Described {
    /// Facts of a packet whose stream describes no layers.
    pub(crate) fn plain(codec: Codec, payload: &[u8]) -> Self {
        Self {
            frame: FrameInfo::plain(is_keyframe(codec, payload)),
            payload: PayloadDescriptor::None,
            dependencies: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{HeaderWriter, OutHeader};

    #[test]
    fn extensions_about_the_media_are_found_and_others_are_not() {
        let mut ids = ExtensionMap::default();
        ids.insert(1, ExtensionKind::Mid);
        ids.insert(2, ExtensionKind::AudioLevel);
        ids.insert(3, ExtensionKind::AbsCaptureTime);
        ids.insert(4, ExtensionKind::TransportCc);
        let mut datagram = [0; 100];
        let mut writer = HeaderWriter::new(&mut datagram, &OutHeader::default());
        for (id, value) in [
            (1, &b"0"[..]),
            (3, &[9; 8]),
            (4, &[1, 2]),
            (2, &[0x85]),
            (2, &[0x86]),
            (5, &[7]),
        ] {
            assert!(writer.extension(id, value));
        }
        let len = writer.finish();
        let header = RtpHeader::parse(&datagram[..len]).unwrap();
        let passed = PassedOn::find(&header, &datagram[..len], &ids);
        let values: Vec<_> = passed.values(&datagram[..len]).collect();
        assert_eq!(
            values,
            [
                (ExtensionKind::AbsCaptureTime, &[9; 8][..]),
                (ExtensionKind::AudioLevel, &[0x85]),
            ]
        );
        assert_eq!(
            PassedOn::default().values(&datagram).count(),
            0,
            "nothing found is nothing passed on"
        );
    }
}
