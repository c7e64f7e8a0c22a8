//! The VP8 payload descriptor (RFC 7741 section 4.2) and the part of the payload header that
//! tells a keyframe (section 4.3).

use super::frame::{FrameInfo, Targets};
use crate::rtp::RtpError;

/// A parsed payload descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Its length in bytes: where the VP8 data begins.
    pub descriptor_len: usize,
    /// The first packet of a frame: a partition starts (S) and it is partition 0.
    pub start_of_frame: bool,
    /// No other frame refers to this one (N).
    pub non_reference: bool,
    /// 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Whether the picture id has 15 bits (M).
    pub long_picture_id: bool,
    /// Counts frames of temporal layer 0.
    pub tl0_pic_idx: Option<u8>,
    /// Temporal layer, 0 to 3.
    pub tid: Option<u8>,
    /// Depends on nothing but layer 0 (Y): a place to switch up.
    pub layer_sync: bool,
    /// Counts keyframes of the temporal key, 0 to 31.
    pub key_idx: Option<u8>,
    /// The first packet of a keyframe.
    pub keyframe: bool,
    /// Width and height in pixels, in the first packet of a keyframe.
    pub dimensions: Option<(u16, u16)>,
}

/// Offset of the picture id, if there is one: after the two bytes that announce it.
const PICTURE_ID: usize = 2;

impl Descriptor {
    /// Parses the descriptor at the front of a payload. A payload without bytes after its descriptor is refused: it
    /// carries no part of a frame.
    pub fn parse(payload: &[u8]) -> Result<Self, RtpError> {
        let byte = |at: usize| payload.get(at).copied().ok_or(RtpError::Payload);
        let first = byte(0)?;
        let mut descriptor = Self {
            descriptor_len: 1,
            start_of_frame: first & 0x17 == 0x10,
            non_reference: first & 0x20 != 0,
            picture_id: None,
            long_picture_id: false,
            tl0_pic_idx: None,
            tid: None,
            layer_sync: false,
            key_idx: None,
            keyframe: false,
            dimensions: None,
        };
        if first & 0x80 != 0 {
            let flags = byte(1)?;
            let mut at = 2;
            if flags & 0x80 != 0 {
                let high = byte(at)?;
                at += 1;
                descriptor.picture_id = Some(u16::from(high));
                if high & 0x80 != 0 {
                    descriptor.picture_id = Some(u16::from_be_bytes([high & 0x7f, byte(at)?]));
                    descriptor.long_picture_id = true;
                    at += 1;
                }
            }
            if flags & 0x40 != 0 {
                descriptor.tl0_pic_idx = Some(byte(at)?);
                at += 1;
            }
            if flags & 0x30 != 0 {
                let layers = byte(at)?;
                at += 1;
                if flags & 0x20 != 0 {
                    descriptor.tid = Some(layers >> 6);
                    descriptor.layer_sync = layers & 0x20 != 0;
                }
                descriptor.key_idx = (flags & 0x10 != 0).then_some(layers & 0x1f);
            }
            descriptor.descriptor_len = at;
        }
        let header = byte(descriptor.descriptor_len)?;
        if descriptor.start_of_frame && header & 1 == 0 {
            descriptor.keyframe = true;
            descriptor.dimensions = dimensions(&payload[descriptor.descriptor_len..]);
        }
        Ok(descriptor)
    }

    /// The decode targets of the frame. A frame of temporal layer 0 allows a switch up too, but only the next frame of
    /// an upper layer tells that (Y).
    pub fn info(&self) -> FrameInfo {
        let temporal = self.tid.unwrap_or(0);
        let switches = match (self.keyframe, self.layer_sync && temporal > 0) {
            (true, _) => Targets::ALL,
            // Still higher layers may refer to frames that were left out.
            (_, true) => Targets::column(temporal),
            _ => Targets::NONE,
        };
        FrameInfo {
            spatial: 0,
            temporal,
            begins: self.start_of_frame,
            ends: false,
            key: self.keyframe,
            joins: self.layer_sync && temporal > 0,
            needed: Targets::from(0, temporal),
            switches,
        }
    }
}

/// Whether a payload begins a keyframe: [`Descriptor::keyframe`], without the rest.
pub fn is_keyframe(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_ok_and(|descriptor| descriptor.keyframe)
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
    if descriptor.tl0_pic_idx.is_some()
        && let Some(field) = payload.get_mut(at)
    {
        *field = tl0_pic_idx;
    }
}

/// RFC 6386 section 9.1: behind the 3-byte frame tag, a start code, then 14 bits each of width and
/// height under 2 bits of scaling.
fn dimensions(frame: &[u8]) -> Option<(u16, u16)> {
    let header = frame.first_chunk::<10>()?;
    if header[3..6] != [0x9d, 0x01, 0x2a] {
        return None;
    }
    Some((
        u16::from_le_bytes([header[6], header[7]]) & 0x3fff,
        u16::from_le_bytes([header[8], header[9]]) & 0x3fff,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A 640x360 keyframe's first ten bytes.
    const KEY: [u8; 10] = [0x50, 0x2a, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];

    fn payload(descriptor: &[u8], frame: &[u8]) -> Vec<u8> {
        [descriptor, frame].concat()
    }

    #[test]
    fn descriptors_are_read() {
        // RFC 7741 section 4.6: first fragment of a key frame, later fragment, first of an
        // interframe, with a 7-bit and a 15-bit picture id; then what encoders for WebRTC send.
        type Ids = (Option<u16>, Option<u8>, Option<u8>, Option<u8>);
        type Case<'a> = (&'a str, Vec<u8>, usize, bool, bool, Ids);
        let cases: [Case; 9] = [
            (
                "bare key",
                payload(&[0x10], &KEY),
                1,
                true,
                true,
                (None, None, None, None),
            ),
            (
                "bare continuation",
                vec![0x00, 0xfe],
                1,
                false,
                false,
                (None, None, None, None),
            ),
            (
                "key, 7-bit id",
                payload(&[0x90, 0x80, 0x11], &KEY),
                3,
                true,
                true,
                (Some(17), None, None, None),
            ),
            (
                "15-bit id",
                vec![0x90, 0x80, 0x92, 0x34, 0x01],
                4,
                true,
                false,
                (Some(0x1234), None, None, None),
            ),
            (
                "everything",
                vec![0x90, 0xf0, 0xff, 0xff, 0x07, 0xa5, 0x01],
                6,
                true,
                false,
                (Some(0x7fff), Some(7), Some(2), Some(5)),
            ),
            (
                "a later partition",
                vec![0x91, 0x80, 0x11, 0x00],
                3,
                false,
                false,
                (Some(17), None, None, None),
            ),
            (
                "key index without tid",
                vec![0x90, 0x10, 0xff, 0x01],
                3,
                true,
                false,
                (None, None, None, Some(31)),
            ),
            (
                "tid without key index",
                vec![0x90, 0x20, 0xff, 0x01],
                3,
                true,
                false,
                (None, None, Some(3), None),
            ),
            (
                "no fields",
                vec![0x90, 0x00, 0x01],
                2,
                true,
                false,
                (None, None, None, None),
            ),
        ];
        for (what, payload, len, start, key, ids) in cases {
            let read = Descriptor::parse(&payload).expect(what);
            assert_eq!(read.descriptor_len, len, "{what}");
            assert_eq!((read.start_of_frame, read.keyframe), (start, key), "{what}");
            let found = (read.picture_id, read.tl0_pic_idx, read.tid, read.key_idx);
            assert_eq!(found, ids, "{what}");
            assert_eq!(read.dimensions, key.then_some((640, 360)), "{what}");
            assert_eq!(is_keyframe(&payload), key, "{what}");
            for cut in 0..=len {
                assert!(
                    Descriptor::parse(&payload[..cut]).is_err(),
                    "{what} cut to {cut}"
                );
            }
        }
    }

    #[test]
    fn flags_are_read() {
        let read = Descriptor::parse(&[0xb0, 0x20, 0x60, 0x01]).unwrap();
        assert!(read.non_reference && read.layer_sync);
        assert_eq!(read.tid, Some(1));
        let read = Descriptor::parse(&[0x90, 0x10, 0x60, 0x01]).unwrap();
        assert!(
            !read.non_reference && !read.layer_sync,
            "Y means nothing without T"
        );
    }

    #[test]
    fn scaling_bits_are_not_part_of_the_size() {
        let mut frame = KEY;
        frame[7] |= 0x40;
        frame[9] |= 0xc0;
        let read = Descriptor::parse(&payload(&[0x10], &frame)).unwrap();
        assert_eq!(read.dimensions, Some((640, 360)));
        frame[3] = 0;
        let read = Descriptor::parse(&payload(&[0x10], &frame)).unwrap();
        assert_eq!(
            (read.keyframe, read.dimensions),
            (true, None),
            "no start code"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_rewrite_changes_nothing_but_the_ids(
            mut payload in proptest::collection::vec(any::<u8>(), 0..16),
            extended: bool, picture_id: u16, tl0_pic_idx: u8,
        ) {
            if let (true, Some(first)) = (extended, payload.first_mut()) {
                *first |= 0x80;
            }
            let Ok(before) = Descriptor::parse(&payload) else { return Ok(()) };
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
            let len = before.descriptor_len;
            prop_assert_eq!(&rewritten[len..], &payload[len..]);
            // The way back restores the payload: only bits of the two fields were changed.
            rewrite(
                &mut rewritten,
                &after,
                before.picture_id.unwrap_or(0),
                before.tl0_pic_idx.unwrap_or(0),
            );
            prop_assert_eq!(rewritten, payload);
        }

        #[test]
        fn a_rewrite_of_a_shorter_payload_is_no_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..12), cut in 0usize..12,
        ) {
            if let Ok(read) = Descriptor::parse(&payload) {
                let mut short = payload[..cut.min(payload.len())].to_vec();
                rewrite(&mut short, &read, 1, 1);
            }
        }
    }
}
