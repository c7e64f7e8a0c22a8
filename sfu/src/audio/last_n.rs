//! Chooses the publishers whose cameras a room forwards: the last speakers.

use crate::id::PeerId;

/// The publishers whose cameras are sent, if not all are.
///
/// It holds one more than a viewer is sent, as nobody is sent their own camera.
#[derive(Debug, Default)]
pub(crate) struct LastN {
    /// The last speaker first.
    chosen: Vec<PeerId>,
}

impl LastN {
    /// Chooses `most` publishers and one more among those with a camera on. First come the last speakers (`recent`, the
    /// last one first), then those chosen before, then the others in the order of `cameras`, which names a publisher
    /// once for each of its cameras. True if the choice changed.
    pub(crate) fn choose(
        &mut self,
        most: usize,
        cameras: &[PeerId],
        recent: impl Iterator<Item = PeerId>,
    ) -> bool {
        let before = std::mem::take(&mut self.chosen);
        let known = recent.chain(before.iter().copied());
        let known = known.filter(|peer| cameras.contains(peer));
        for peer in known.chain(cameras.iter().copied()) {
            if self.chosen.len() <= most && !self.chosen.contains(&peer) {
                self.chosen.push(peer);
            }
        }
        self.chosen != before
    }

    /// Whether a viewer is sent a publisher's camera: the publisher is among the first `most` that are chosen, without
    /// the viewer.
    pub(crate) fn includes(&self, most: usize, viewer: PeerId, publisher: PeerId) -> bool {
        let others = self.chosen.iter().filter(|peer| **peer != viewer);
        others.take(most).any(|peer| *peer == publisher)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(number: u64) -> PeerId {
        PeerId::new(0, number)
    }

    fn peers(numbers: &[u64]) -> Vec<PeerId> {
        numbers.iter().copied().map(peer).collect()
    }

    #[test]
    fn speakers_come_first_then_the_chosen_then_the_others() {
        let mut last_n = LastN::default();
        for (most, cameras, recent, expected) in [
            // Nobody has spoken: those who published first.
            (2, &[1, 2, 3, 4][..], &[][..], &[1, 2, 3][..]),
            // The last speakers come first, the earlier choice stays behind them.
            (2, &[1, 2, 3, 4], &[4], &[4, 1, 2]),
            (2, &[1, 2, 3, 4], &[3, 4], &[3, 4, 1]),
            // A speaker without a camera takes no place.
            (2, &[1, 2, 4], &[3, 4], &[4, 1, 2]),
            // Two cameras of one publisher are one place.
            (2, &[1, 1, 2, 4], &[1], &[1, 4, 2]),
            (0, &[1, 2], &[2], &[2]),
            (5, &[1, 2], &[], &[2, 1]),
            (5, &[], &[1], &[]),
        ] {
            let before = last_n.chosen.clone();
            let recent = peers(recent).into_iter();
            let changed = last_n.choose(most, &peers(cameras), recent);
            assert_eq!(last_n.chosen, peers(expected), "{most} of {cameras:?}");
            assert_eq!(changed, before != last_n.chosen);
        }
    }

    #[test]
    fn a_viewer_who_is_chosen_is_sent_one_more_of_the_others() {
        let mut last_n = LastN::default();
        last_n.choose(2, &peers(&[1, 2, 3, 4]), std::iter::empty());
        let sent = |viewer: u64| -> Vec<u64> {
            let all = 1..=4;
            all.filter(|publisher| last_n.includes(2, peer(viewer), peer(*publisher)))
                .collect()
        };
        assert_eq!(sent(1), [2, 3]);
        assert_eq!(sent(3), [1, 2]);
        assert_eq!(sent(4), [1, 2]);
        assert_eq!(sent(9), [1, 2]);
    }

    proptest! {
        /// With any cameras and speakers: everybody is sent as many cameras as there are, up to the bound; the same
        /// facts change nothing; the last speaker with a camera is sent to everybody else.
        #[test]
        fn everybody_is_sent_so_many(
            most in 0usize..5,
            rounds in prop::collection::vec(
                (prop::collection::vec(0u64..8, 0..8), prop::collection::vec(0u64..8, 0..8)),
                1..8,
            ),
        ) {
            let mut last_n = LastN::default();
            for (cameras, recent) in rounds {
                let (cameras, recent) = (peers(&cameras), peers(&recent));
                last_n.choose(most, &cameras, recent.iter().copied());
                let again = last_n.choose(most, &cameras, recent.iter().copied());
                prop_assert!(!again, "the same facts, another choice");
                for viewer in (0..9).map(peer) {
                    let mut others = cameras.clone();
                    others.sort_unstable();
                    others.dedup();
                    others.retain(|other| *other != viewer);
                    let sent = others.iter().filter(|other| last_n.includes(most, viewer, **other));
                    prop_assert_eq!(sent.count(), others.len().min(most));
                    let speaker = recent.iter().find(|peer| **peer != viewer && cameras.contains(peer));
                    if let Some(speaker) = speaker.filter(|_| most > 0) {
                        prop_assert!(last_n.includes(most, viewer, *speaker));
                    }
                }
            }
        }
    }
}
