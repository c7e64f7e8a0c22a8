//! The layers of a track that its viewers on one worker want, from the layer that each is sent and the one that it is
//! to be sent.

use std::time::{Duration, Instant};

use super::Track;
use super::ladder::{LayerSet, Ranks};
use crate::event::MediaKind;

/// Interval of updates while a viewer is sent one layer and waits for another: no event tells when the wait is over.
const SETTLES: Duration = Duration::from_millis(200);

/// The layers that the viewers of a track on one worker want.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) layers: LayerSet,
    /// No viewer is sent one layer and waits for another.
    settled: bool,
}

impl Wanted {
    const NOTHING: Self = Self {
        layers: LayerSet::NONE,
        settled: true,
    };
    const EVERYTHING: Self = Self {
        layers: LayerSet::ALL,
        settled: true,
    };

    /// Adds up the viewers of a video: the encoding that each is sent, and the one that it is to be sent. `comes` tells
    /// whether an encoding arrives, or would if it were wanted.
    fn of(
        streams: impl Iterator<Item = (Option<usize>, Option<usize>)>,
        order: Ranks,
        comes: impl Fn(usize) -> bool,
    ) -> Self {
        let mut wanted = Self::NOTHING;
        for (current, target) in streams {
            for layer in [current, target].into_iter().flatten() {
                wanted.layers.insert(layer);
            }
            wanted.settled &= current.is_none() || current == target;
        }
        // The smallest layer is always wanted: a viewer of a large picture may have to fall back to it from one moment
        // to the next. Waiting until its encoder is on again would freeze the picture.
        if !wanted.layers.is_empty()
            && let (false, Some(smallest)) = (order.is_single(), order.encodings().next())
        {
            wanted.layers.insert(smallest);
        }
        // Nothing can be chosen yet: any layer that comes is wanted.
        if wanted.layers.is_empty() && !order.encodings().any(comes) {
            wanted.layers = LayerSet::ALL;
        }
        wanted
    }

    /// The time of the next update, if nothing happens before.
    pub(crate) fn again(&self, now: Instant) -> Option<Instant> {
        (!self.settled).then(|| now + SETTLES)
    }
}

impl Track {
    /// The layers that its viewers on this worker want. `streams` are the encoding that each is sent, and the one that
    /// it is to be sent.
    pub(crate) fn wanted_here(
        &self,
        streams: impl Iterator<Item = (Option<usize>, Option<usize>)>,
    ) -> Wanted {
        if self.sinks.viewers().is_empty() {
            return Wanted::NOTHING;
        }
        if self.kind == MediaKind::Audio {
            return Wanted::EVERYTHING;
        }
        if self.settings.muted {
            return Wanted::NOTHING;
        }
        Wanted::of(streams, self.order(), |index| {
            let layer = self.layers.get(index);
            layer.is_some_and(|layer| layer.is_alive() || self.demand.may_come(index))
        })
    }

    /// Whether its source is told which layers are wanted. A publisher is never asked to pause audio: it costs little,
    /// and tells who speaks.
    pub(crate) fn follows_demand(&self) -> bool {
        self.kind == MediaKind::Video || self.piped().is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(layers: &[usize]) -> LayerSet {
        let mut set = LayerSet::NONE;
        layers.iter().for_each(|layer| set.insert(*layer));
        set
    }

    fn wanted(
        streams: &[(Option<usize>, Option<usize>)],
        order: &[usize],
        comes: &[usize],
    ) -> Wanted {
        let order = Ranks::of(order);
        Wanted::of(streams.iter().copied(), order, |index| {
            comes.contains(&index)
        })
    }

    #[test]
    fn viewers_want_what_they_are_sent_and_wait_for_and_the_smallest() {
        let three = &[1, 0, 2][..];
        for (streams, order, comes, layers, settled) in [
            // Nobody is sent anything yet.
            (&[][..], three, &[][..], LayerSet::ALL, true),
            (&[(None, None)], three, &[], LayerSet::ALL, true),
            // Something could be sent, and nobody wants it.
            (&[(None, None)], three, &[0], LayerSet::NONE, true),
            (&[(None, None)], three, &[2], LayerSet::NONE, true),
            // The smallest picture is encoding 1.
            (&[(Some(1), Some(1))], three, &[0], set(&[1]), true),
            (&[(Some(2), Some(2))], three, &[0], set(&[1, 2]), true),
            // A viewer waits for another layer.
            (&[(None, Some(2))], three, &[0], set(&[1, 2]), true),
            (&[(Some(0), Some(2))], three, &[0], set(&[0, 1, 2]), false),
            (&[(Some(0), None)], three, &[0], set(&[0, 1]), false),
            // One of two viewers waits.
            (
                &[(Some(2), Some(0)), (Some(2), Some(2))],
                three,
                &[0],
                set(&[0, 1, 2]),
                false,
            ),
            // One encoding.
            (&[(Some(0), Some(0))], &[0], &[0], set(&[0]), true),
            (&[(None, None)], &[0], &[0], LayerSet::NONE, true),
            (&[(None, None)], &[0], &[], LayerSet::ALL, true),
        ] {
            let found = wanted(streams, order, comes);
            assert_eq!(found, Wanted { layers, settled }, "{streams:?} {comes:?}");
            let now = Instant::now();
            let again = found.again(now).map(|at| at - now);
            assert_eq!(again, (!settled).then_some(SETTLES));
        }
    }

    proptest! {
        /// The order of viewers does not matter, one more viewer takes nothing away from those who want something, and
        /// every layer sent is wanted.
        #[test]
        fn viewers_add_up(
            streams in prop::collection::vec((prop::option::of(0usize..3), prop::option::of(0usize..3)), 0..8),
            comes in prop::collection::vec(0usize..3, 0..3),
        ) {
            let order = [2, 0, 1];
            let all = wanted(&streams, &order, &comes);
            let mut back = streams.clone();
            back.reverse();
            prop_assert_eq!(wanted(&back, &order, &comes), all);
            for (current, target) in &streams {
                let mut layers = current.iter().chain(target);
                prop_assert!(layers.all(|layer| all.layers.contains(*layer)));
            }
            if let Some((_, fewer)) = streams.split_last() {
                let fewer = wanted(fewer, &order, &comes);
                let wants = streams[..streams.len() - 1].iter().any(|stream| *stream != (None, None));
                prop_assert!(!wants || fewer.layers.union(all.layers) == all.layers);
                prop_assert!(fewer.settled || !all.settled);
            }
            let wants = streams.iter().any(|stream| *stream != (None, None));
            prop_assert!(!wants || all.layers.contains(2), "the smallest");
        }
    }
}
