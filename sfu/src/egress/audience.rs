//! Counts the viewers of a track by the codecs that they decode, and chooses the codec to ask its publisher for.

use super::codec_choice::{choose, count_able};
use super::waiting::Decoders;
use crate::event::MediaKind;
use crate::id::PeerId;
use crate::rtp::parameters::CodecFormat;
use crate::track::audience::{Audience, Unable};
use crate::view::Reason;

/// A viewer of a track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) id: PeerId,
    pub(crate) decoders: &'a Decoders,
    /// It is sent nothing of the track, as it lacks the codec.
    pub(crate) is_unable: bool,
}

impl Audience {
    /// The audience of these viewers of a track that comes, or may come, in `codecs`.
    pub(crate) fn of<'a>(
        codecs: &[CodecFormat],
        members: impl Iterator<Item = Member<'a>>,
    ) -> Self {
        let mut unable = Unable::default();
        let decoders = members.map(|member| {
            if member.is_unable {
                unable.add(member.id, Reason::Codec);
            }
            member.decoders
        });
        let (able, viewers) = count_able(codecs, decoders);
        let payload_types = codecs.iter().map(|codec| codec.payload_type);
        Self {
            viewers,
            able: payload_types.zip(able).collect(),
            unable,
        }
    }

    /// The codec to ask a publisher for: its place among those that the audience was counted for. `current` is the
    /// place of the codec in use.
    pub(crate) fn first_codec(&self, current: Option<usize>) -> usize {
        let able: Vec<u32> = self.able.iter().map(|(_, able)| *able).collect();
        choose(&able, self.viewers, current)
    }

    /// Whether a publisher is to be asked for another of its codecs than the one in use: some viewer cannot watch its
    /// video, and another codec serves more of them.
    pub(crate) fn wants_another_codec(
        &self,
        kind: MediaKind,
        codecs: &[CodecFormat],
        in_use: Option<&CodecFormat>,
    ) -> bool {
        if self.unable.count == 0 || kind == MediaKind::Audio {
            return false;
        }
        let in_use = in_use.map(|codec| codec.payload_type);
        let payload_types = codecs.iter().map(|codec| codec.payload_type);
        let current = payload_types
            .clone()
            .position(|codec| Some(codec) == in_use);
        let able: Vec<u32> = payload_types.map(|codec| self.able(codec)).collect();
        Some(choose(&able, self.viewers, current)) != current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::waiting::RefusedLines;
    use crate::rtp::codec::Codec;
    use crate::rtp::parameters::{CodecParameters, MediaRole, SectionKind, SectionParameters};

    fn codec(payload_type: u8, codec: Codec) -> CodecFormat {
        CodecFormat {
            payload_type,
            codec,
            parameters: match codec {
                Codec::Av1 => CodecParameters::Av1 {
                    profile: 0,
                    level_idx: 5,
                    tier: 0,
                },
                _ => CodecParameters::Vp8,
            },
            rtx: None,
            feedback: Default::default(),
        }
    }

    #[test]
    fn another_codec_is_asked_for_if_it_serves_who_cannot_watch() {
        use MediaKind::{Audio, Video};
        let codecs = [codec(96, Codec::Vp8), codec(98, Codec::Av1)];
        for (kind, able, unable, in_use, expected) in [
            (Video, [2, 3], 1, Some(0), true),
            (Video, [2, 3], 1, None, true),
            // The audience of audio is told, and no more.
            (Audio, [2, 3], 1, Some(0), false),
            // Everybody can watch.
            (Video, [2, 3], 0, Some(0), false),
            // The other codec serves no more of them.
            (Video, [2, 2], 1, Some(0), false),
            (Video, [3, 2], 0, Some(0), false),
            (Video, [2, 3], 0, Some(1), false),
        ] {
            let audience = Audience {
                viewers: 3,
                able: vec![(96, able[0]), (98, able[1])],
                unable: Unable {
                    named: Vec::new(),
                    count: unable,
                },
            };
            let in_use = in_use.map(|at: usize| &codecs[at]);
            let asks = audience.wants_another_codec(kind, &codecs, in_use);
            assert_eq!(asks, expected, "{kind:?} {able:?} {unable} {in_use:?}");
        }
    }

    #[test]
    fn viewers_are_counted_by_what_they_decode_and_named_if_they_cannot_watch() {
        let (vp8, av1) = (codec(96, Codec::Vp8), codec(98, Codec::Av1));
        let decoders = |codecs: &[CodecFormat]| {
            let (kind, role) = (SectionKind::Video, MediaRole::Slot);
            let section = SectionParameters::plain(kind, role, codecs.to_vec());
            Decoders::of(std::iter::once(&section), &RefusedLines::default())
        };
        let both = decoders(&[vp8.clone(), av1.clone()]);
        let one = decoders(std::slice::from_ref(&vp8));
        let member = |id, decoders, is_unable| Member {
            id: PeerId::new(0, id),
            decoders,
            is_unable,
        };
        let members = [
            member(1, &both, false),
            member(2, &one, true),
            member(3, &both, false),
        ];
        let audience = Audience::of(&[av1, vp8], members.into_iter());
        assert_eq!((audience.viewers, audience.unable.count), (3, 1));
        assert_eq!((audience.able(96), audience.able(98)), (3, 2));
        assert_eq!(audience.unable.named, [(PeerId::new(0, 2), Reason::Codec)]);
        for current in [None, Some(0), Some(1)] {
            assert_eq!(audience.first_codec(current), 1, "all decode VP8");
        }
    }
}
