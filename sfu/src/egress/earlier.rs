//! The last audio frames sent on a slot, to be sent once more beside the next ones (RFC 2198).
//!
//! Redundancy is made here, on the way to one viewer, from frames that the publisher sent once: it costs no other
//! viewer anything, and nothing is decoded. A frame is kept under the sequence number and timestamp that its viewer
//! knows. So it is the previous packet for the viewer, whatever its source was.

use crate::rtp::codec::red::Earlier;

/// Frames remembered. All frames of one turn are planned before the first is written; if one slot has more than this in
/// a turn, some leave without a copy.
const FRAMES: usize = 8;
/// Longest frame that is repeated, in bytes: 20 ms at 128 kbit/s. A longer one is music, which already takes much of a
/// lossy link.
const LONGEST: usize = 320;

/// The last frames sent on a slot. It has a fixed size, about 2.7 kB for each audio slot of a viewer whose link loses
/// packets.
#[derive(Debug)]
pub(super) struct EarlierFrames([Kept; FRAMES]);

#[derive(Clone, Copy, Debug)]
struct Kept {
    /// The viewer's sequence number and timestamp of it.
    sequence: u16,
    timestamp: u32,
    /// 0: nothing to repeat.
    len: u16,
    frame: [u8; LONGEST],
}

impl Default for EarlierFrames {
    fn default() -> Self {
        let nothing = Kept {
            sequence: 0,
            timestamp: 0,
            len: 0,
            frame: [0; LONGEST],
        };
        Self([nothing; FRAMES])
    }
}

impl EarlierFrames {
    /// Keeps a frame.
    pub(super) fn keep(&mut self, sequence: u16, timestamp: u32, frame: &[u8]) {
        let kept = &mut self.0[usize::from(sequence) % FRAMES];
        kept.len = 0;
        if let Some(room) = kept.frame.get_mut(..frame.len()) {
            room.copy_from_slice(frame);
            (kept.sequence, kept.timestamp) = (sequence, timestamp);
            kept.len = frame.len() as u16;
        }
    }

    /// The frame of the packet before this one; none if it is not kept, or from before a pause.
    pub(super) fn before(&self, sequence: u16, timestamp: u32) -> Option<Earlier<'_>> {
        let before = sequence.wrapping_sub(1);
        let kept = &self.0[usize::from(before) % FRAMES];
        let frame = kept.frame.get(..usize::from(kept.len))?;
        let earlier = Earlier {
            distance: timestamp.wrapping_sub(kept.timestamp),
            frame,
        };
        (kept.sequence == before && kept.len > 0 && earlier.fits()).then_some(earlier)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_packet_before_is_repeated_and_no_other() {
        let mut frames = EarlierFrames::default();
        assert_eq!(frames.before(0, 960), None, "nothing was sent yet");
        frames.keep(65_535, u32::MAX - 959, &[1, 2, 3]);
        for (what, sequence, timestamp, found) in [
            ("the next, across both wraps", 0, 0, Some(960)),
            ("longer frames", 0, 1_920, Some(2_880)),
            ("at the end of what can be told", 0, 15_423, Some(16_383)),
            ("after a pause", 0, 15_424, None),
            ("of the same time", 0, u32::MAX - 959, None),
            ("of an earlier time", 0, u32::MAX - 1_919, None),
            ("the one after the next", 1, 960, None),
            ("itself", 65_535, 0, None),
            ("one with its place", 8, 0, None),
        ] {
            let earlier = frames.before(sequence, timestamp);
            assert_eq!(earlier.map(|copy| copy.distance), found, "{what}");
            assert!(earlier.is_none_or(|copy| copy.frame == [1, 2, 3]), "{what}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_repeated_nor_what_had_its_place() {
        let mut frames = EarlierFrames::default();
        frames.keep(3, 960, &[1]);
        frames.keep(3 + FRAMES as u16, 9_600, &[2; LONGEST + 1]);
        assert_eq!(frames.before(4, 1_920), None);
        assert_eq!(frames.before(4 + FRAMES as u16, 10_560), None);
        frames.keep(5, 2_880, &[3; LONGEST]);
        assert_eq!(
            frames.before(6, 3_840).map(|copy| copy.frame.len()),
            Some(LONGEST)
        );
    }

    proptest! {
        /// With packets in any order, a copy is of the packet before.
        #[test]
        fn a_copy_is_the_frame_that_was_kept(
            packets in prop::collection::vec((any::<u8>(), 1usize..400), 1..200),
        ) {
            let mut frames = EarlierFrames::default();
            let mut lens = std::collections::HashMap::new();
            for (sequence, len) in packets {
                let (sequence, timestamp) = (u16::from(sequence), u32::from(sequence) * 960);
                if let Some(copy) = frames.before(sequence, timestamp) {
                    prop_assert_eq!(copy.distance, 960);
                    prop_assert_eq!(Some(&copy.frame.len()), lens.get(&(sequence - 1)));
                }
                frames.keep(sequence, timestamp, &vec![sequence as u8; len]);
                lens.insert(sequence, len);
            }
        }
    }
}
