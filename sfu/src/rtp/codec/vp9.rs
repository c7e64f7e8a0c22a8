//! The VP9 payload descriptor (RFC 9628 section 4.2).

use super::frame::{FrameInfo, Targets};
use crate::rtp::RtpError;

/// A parsed payload descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Its length in bytes: where the VP9 data begins.
    pub descriptor_len: usize,
    /// The first packet of a layer frame (B).
    pub start_of_frame: bool,
    /// The last packet of a layer frame (E).
    pub end_of_frame: bool,
    /// Predicted from an earlier picture (P).
    pub inter_picture: bool,
    /// Flexible mode (F): references are listed, and there is no TL0PICIDX.
    pub flexible: bool,
    /// The frame is not a reference for upper spatial layers (Z).
    pub not_upper_reference: bool,
    /// The picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Whether the picture id has 15 bits (M).
    pub long_picture_id: bool,
    /// Temporal layer, 0 to 7.
    pub tid: Option<u8>,
    /// Switching up point (U).
    pub switching_up: bool,
    /// Spatial layer, 0 to 7.
    pub sid: Option<u8>,
    /// Predicted from the spatial layer below (D).
    pub inter_layer: bool,
    /// Counts pictures of temporal layer 0.
    pub tl0_pic_idx: Option<u8>,
    /// The scalability structure, where one is carried.
    pub structure: Option<Structure>,
    /// The first packet of a picture that needs no other: the lowest spatial layer of a keyframe.
    pub keyframe: bool,
}

/// Offset of the picture id, if there is one.
const PICTURE_ID: usize = 1;

impl Descriptor {
    /// Parses the descriptor at the front of a payload. A payload without bytes after its
    /// descriptor is refused: it carries no part of a frame.
    pub fn parse(payload: &[u8]) -> Result<Self, RtpError> {
        let byte = |at: usize| payload.get(at).copied().ok_or(RtpError::Payload);
        let first = byte(0)?;
        let flag = |bit: u8| first & bit != 0;
        let mut descriptor = Self {
            descriptor_len: 1,
            start_of_frame: flag(0x08),
            end_of_frame: flag(0x04),
            inter_picture: flag(0x40),
            flexible: flag(0x10),
            not_upper_reference: flag(0x01),
            picture_id: None,
            long_picture_id: false,
            tid: None,
            switching_up: false,
            sid: None,
            inter_layer: false,
            tl0_pic_idx: None,
            structure: None,
            keyframe: false,
        };
        let mut at = 1;
        if flag(0x80) {
            let high = byte(at)?;
            at += 1;
            descriptor.picture_id = Some(u16::from(high));
            if high & 0x80 != 0 {
                descriptor.picture_id = Some(u16::from_be_bytes([high & 0x7f, byte(at)?]));
                descriptor.long_picture_id = true;
                at += 1;
            }
        }
        if flag(0x20) {
            let layers = byte(at)?;
            at += 1;
            descriptor.tid = Some(layers >> 5);
            descriptor.switching_up = layers & 0x10 != 0;
            descriptor.sid = Some(layers >> 1 & 0x07);
            descriptor.inter_layer = layers & 0x01 != 0;
            if !descriptor.flexible {
                descriptor.tl0_pic_idx = Some(byte(at)?);
                at += 1;
            }
        }
        if descriptor.flexible && descriptor.inter_picture {
            at = skip_references(payload, at)?;
        }
        if flag(0x02) {
            let (end, structure) = Structure::parse(payload, at)?;
            (at, descriptor.structure) = (end, Some(structure));
        }
        byte(at)?;
        descriptor.descriptor_len = at;
        descriptor.keyframe = descriptor.start_of_frame
            && !descriptor.inter_picture
            && !descriptor.inter_layer
            && descriptor.sid.unwrap_or(0) == 0;
        Ok(descriptor)
    }

    /// The decode targets of the frame, in a stream of so many spatial layers.
    pub fn info(&self, spatial_layers: u8) -> FrameInfo {
        let (spatial, temporal) = (self.sid.unwrap_or(0).min(3), self.tid.unwrap_or(0).min(3));
        // The highest layer has none above it that could refer to it.
        let own = if spatial + 1 >= spatial_layers {
            Targets::from(spatial, temporal)
        } else {
            Targets::row(spatial, temporal)
        };
        let needed = if self.not_upper_reference {
            own
        } else {
            Targets::from(spatial, temporal)
        };
        let key = !self.inter_picture && !self.inter_layer && spatial == 0;
        let switches = match (self.inter_picture, self.switching_up) {
            (false, _) if spatial == 0 => needed,
            (false, _) | (true, true) => own,
            (true, false) => Targets::NONE,
        };
        FrameInfo {
            spatial,
            temporal,
            begins: self.start_of_frame,
            ends: self.end_of_frame,
            key,
            joins: false,
            needed,
            switches,
        }
    }
}

/// A scalability structure (RFC 9628 section 4.2.1), without its pictures' references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Structure {
    /// 1 to 8.
    pub spatial_layers: u8,
    /// Sizes of the lowest four, as width and height; zeros where they are not told.
    pub resolutions: [(u16, u16); 4],
}

/// Whether a payload begins a keyframe: [`Descriptor::keyframe`], without the rest.
pub fn is_keyframe(payload: &[u8]) -> bool {
    // Most packets are told from their first byte: B without P.
    payload.first().is_some_and(|first| first & 0x48 == 0x08)
        && Descriptor::parse(payload).is_ok_and(|descriptor| descriptor.keyframe)
}

/// Puts new numbers into the descriptor of `payload`, which `descriptor` was parsed from. Fields
/// the descriptor lacks stay absent and its length stays; a 7-bit picture id takes the low 7 bits.
pub fn rewrite(payload: &mut [u8], descriptor: &Descriptor, picture_id: u16, tl0_pic_idx: u8) {
    let mut at = PICTURE_ID;
    if descriptor.picture_id.is_some() {
        if descriptor.long_picture_id {
            let bytes = (picture_id | 0x8000).to_be_bytes();
            if let Some(field) = payload.get_mut(at..at + 2) {
                field.copy_from_slice(&bytes);
            }
            at += 2;
        } else {
            if let Some(field) = payload.get_mut(at) {
                *field = picture_id as u8 & 0x7f;
            }
            at += 1;
        }
    }
    // TL0PICIDX stands after the layer indices, and never comes without them.
    if descriptor.tl0_pic_idx.is_some()
        && let Some(field) = payload.get_mut(at + 1)
    {
        *field = tl0_pic_idx;
    }
}

/// Skips up to three P_DIFF, each with a bit telling that another follows.
fn skip_references(payload: &[u8], mut at: usize) -> Result<usize, RtpError> {
    for _ in 0..3 {
        let reference = *payload.get(at).ok_or(RtpError::Payload)?;
        at += 1;
        if reference & 1 == 0 {
            return Ok(at);
        }
    }
    // RFC 9628 allows three at most; a third that announces a fourth is malformed.
    Err(RtpError::Payload)
}

impl Structure {
    /// Parses the one at `at`; where it ends.
    fn parse(payload: &[u8], mut at: usize) -> Result<(usize, Self), RtpError> {
        let byte = |at: usize| payload.get(at).copied().ok_or(RtpError::Payload);
        let first = byte(at)?;
        at += 1;
        let mut structure = Self {
            spatial_layers: (first >> 5) + 1,
            resolutions: [(0, 0); 4],
        };
        if first & 0x10 != 0 {
            for layer in 0..=usize::from(first >> 5) {
                let width = u16::from_be_bytes([byte(at)?, byte(at + 1)?]);
                let height = u16::from_be_bytes([byte(at + 2)?, byte(at + 3)?]);
                if let Some(resolution) = structure.resolutions.get_mut(layer) {
                    *resolution = (width, height);
                }
                at += 4;
            }
        }
        if first & 0x08 != 0 {
            let pictures = byte(at)?;
            at += 1;
            for _ in 0..pictures {
                at += 1 + usize::from(byte(at)? >> 2 & 0x03);
            }
        }
        Ok((at, structure))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn descriptors_are_read() {
        type Ids = (Option<u16>, Option<u8>, Option<u8>, Option<u8>);
        let cases: [(&str, &[u8], usize, bool, Ids); 12] = [
            ("bare key", &[0x08, 1], 1, true, (None, None, None, None)),
            (
                "bare continuation of a key",
                &[0x00, 1],
                1,
                false,
                (None, None, None, None),
            ),
            ("inter", &[0x48, 1], 1, false, (None, None, None, None)),
            (
                "7-bit id",
                &[0x88, 0x11, 1],
                2,
                true,
                (Some(17), None, None, None),
            ),
            (
                "15-bit id",
                &[0x88, 0x92, 0x34, 1],
                3,
                true,
                (Some(0x1234), None, None, None),
            ),
            (
                "layers, not flexible",
                &[0xa8, 0x91, 0x00, 0x00, 0x07, 1],
                5,
                true,
                (Some(0x1100), Some(0), Some(0), Some(7)),
            ),
            (
                "the upper layer of a key picture",
                &[0xa8, 0x11, 0x03, 0x07, 1],
                4,
                false,
                (Some(17), Some(0), Some(1), Some(7)),
            ),
            (
                "flexible key: no TL0PICIDX",
                &[0xb8, 0x11, 0x00, 1],
                3,
                true,
                (Some(17), Some(0), Some(0), None),
            ),
            (
                "flexible inter with three references",
                &[0xf8, 0x11, 0x42, 0x03, 0x05, 0x06, 1],
                6,
                false,
                (Some(17), Some(2), Some(1), None),
            ),
            (
                "structure of two sizes and two pictures",
                &[
                    0x8a, 0x11, 0x38, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 2, 0x04, 1,
                    0x28, 1, 2, 1,
                ],
                17,
                true,
                (Some(17), None, None, None),
            ),
            (
                "empty structure",
                &[0x0a, 0x00, 1],
                2,
                true,
                (None, None, None, None),
            ),
            (
                "structure without pictures",
                &[0x0a, 0x08, 0, 1],
                3,
                true,
                (None, None, None, None),
            ),
        ];
        for (what, payload, len, key, ids) in cases {
            let read = Descriptor::parse(payload).expect(what);
            assert_eq!(read.descriptor_len, len, "{what}");
            let found = (read.picture_id, read.tid, read.sid, read.tl0_pic_idx);
            assert_eq!(found, ids, "{what}");
            assert_eq!((read.keyframe, is_keyframe(payload)), (key, key), "{what}");
            for cut in 0..=len {
                assert!(
                    Descriptor::parse(&payload[..cut]).is_err(),
                    "{what} cut to {cut}"
                );
            }
        }
        let four_references = [0xd0, 0x11, 0x03, 0x03, 0x03, 0x02, 1];
        assert!(Descriptor::parse(&four_references).is_err());
    }

    #[test]
    fn flags_and_sizes_are_read() {
        let read = Descriptor::parse(&[
            0x2f, 0x31, 0x07, 0x30, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 1,
        ])
        .unwrap();
        assert!(read.start_of_frame && read.end_of_frame && read.not_upper_reference);
        assert!(read.switching_up && read.inter_layer && !read.flexible && !read.inter_picture);
        let structure = read.structure.unwrap();
        assert_eq!(structure.spatial_layers, 2);
        assert_eq!(structure.resolutions[..2], [(320, 180), (640, 360)]);
    }

    /// A descriptor of spatial and temporal layer, with the flags P, U, D and Z.
    fn layer(spatial: u8, temporal: u8, flags: &str) -> FrameInfo {
        let has = |flag| u8::from(flags.contains(flag));
        let first = 0x2c | has('P') << 6 | has('Z');
        let layers = temporal << 5 | has('U') << 4 | spatial << 1 | has('D');
        let read = Descriptor::parse(&[first, layers, 0, 1]).unwrap();
        assert!(read.start_of_frame && read.end_of_frame);
        read.info(3)
    }

    #[test]
    fn a_frame_is_for_those_who_build_on_it_and_those_begin_with_it_who_need_no_other() {
        let (none, from, row) = (Targets::NONE, Targets::from, Targets::row);
        for (what, (spatial, temporal, flags), needed, switches, key) in [
            (
                "the base of a keyframe",
                (0, 0, ""),
                from(0, 0),
                from(0, 0),
                true,
            ),
            ("its upper layer", (1, 0, "D"), from(1, 0), row(1, 0), false),
            (
                "an upper layer that needs none below",
                (1, 0, ""),
                from(1, 0),
                row(1, 0),
                false,
            ),
            ("a base picture", (0, 0, "P"), from(0, 0), none, false),
            ("one of a higher rate", (0, 1, "P"), from(0, 1), none, false),
            (
                "where the rate can go up",
                (0, 1, "PU"),
                from(0, 1),
                row(0, 1),
                false,
            ),
            (
                "one that upper layers pass over",
                (0, 2, "PZ"),
                row(0, 2),
                none,
                false,
            ),
            (
                "where only its own layer goes up",
                (1, 2, "PUZ"),
                row(1, 2),
                row(1, 2),
                false,
            ),
            // No layer above the highest could refer to it, whatever the flag says.
            ("the highest", (2, 1, "PUZD"), from(2, 1), from(2, 1), false),
            (
                "beyond what is told apart",
                (5, 6, "P"),
                from(3, 3),
                none,
                false,
            ),
        ] {
            let info = layer(spatial, temporal, flags);
            assert_eq!(info.needed, needed, "{what}");
            assert_eq!(info.switches, switches, "{what}");
            assert_eq!(
                (info.key, info.begins, info.ends),
                (key, true, true),
                "{what}"
            );
            assert_eq!(
                (info.spatial, info.temporal),
                (spatial.min(3), temporal.min(3))
            );
        }
        let plain = Descriptor::parse(&[0x08, 1]).unwrap().info(1);
        assert_eq!((plain.needed, plain.switches), (Targets::ALL, Targets::ALL));
        let inter = Descriptor::parse(&[0x48, 1]).unwrap().info(1);
        assert_eq!((inter.needed, inter.switches), (Targets::ALL, none));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_rewrite_changes_nothing_but_the_ids(
            payload in proptest::collection::vec(any::<u8>(), 0..40),
            picture_id: u16, tl0_pic_idx: u8,
        ) {
            let parsed = Descriptor::parse(&payload);
            let keyframe = parsed.is_ok_and(|read| read.keyframe);
            prop_assert_eq!(is_keyframe(&payload), keyframe);
            let Ok(before) = parsed else { return Ok(()) };
            let mut rewritten = payload.clone();
            rewrite(&mut rewritten, &before, picture_id, tl0_pic_idx);
            let after = Descriptor::parse(&rewritten).unwrap();
            let mask = if before.long_picture_id { 0x7fff } else { 0x7f };
            prop_assert_eq!(
                after,
                Descriptor {
                    picture_id: before.picture_id.map(|_| picture_id & mask),
                    tl0_pic_idx: before.tl0_pic_idx.map(|_| tl0_pic_idx),
                    ..before
                }
            );
            rewrite(
                &mut rewritten,
                &after,
                before.picture_id.unwrap_or(0),
                before.tl0_pic_idx.unwrap_or(0),
            );
            prop_assert_eq!(rewritten, payload);
        }
    }
}
