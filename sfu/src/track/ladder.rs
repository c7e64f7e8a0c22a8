//! The layers of a track that a viewer may be sent: ingress measures them, egress chooses among them.
//!
//! A simulcast encoding has two numbers. Its *index* is its place among the track's encodings in the order they were
//! named; it stays for as long as the encoding is published. Packets, caches, keyframe requests, demand and messages
//! between workers use the index. Its *rank* counts from the smallest picture on, and changes when the picture sizes
//! do. Allocations, and the `layer` that clients are told, use the rank. [`Ranks`] alone translates between the two, so
//! that an encoding being sent continues undisturbed when its rank changes.

/// Most spatial layers of a track: browsers send three, and one is to spare.
pub(crate) const SPATIAL: usize = 4;
/// Most temporal layers of each: every `scalabilityMode` has at most three, and one is to spare.
pub(crate) const TEMPORAL: usize = 4;

/// A layer: a simulcast encoding or an SVC step, at one of its frame rates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct LayerId {
    /// Counted from the smallest picture on. With simulcast, the encoding's rank.
    pub(crate) spatial: u8,
    /// Counted from the lowest frame rate on: this and the lower ones are sent.
    pub(crate) temporal: u8,
}

/// The encodings of a track at present, ordered by rank: the smallest picture first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ranks {
    /// Indexes by rank.
    encodings: [u8; SPATIAL],
    len: u8,
}

impl Default for Ranks {
    /// One encoding.
    fn default() -> Self {
        Self::of(&[0])
    }
}

impl Ranks {
    /// The order of these indexes, the smallest picture first; those beyond [`SPATIAL`] are left out.
    pub(crate) fn of(encodings: &[usize]) -> Self {
        let mut order = Self {
            encodings: [0; SPATIAL],
            len: encodings.len().min(SPATIAL) as u8,
        };
        for (place, encoding) in order.encodings.iter_mut().zip(encodings) {
            *place = *encoding as u8;
        }
        order
    }

    /// There is one encoding: the track's spatial layers, if any, are within one stream.
    pub(crate) fn is_single(self) -> bool {
        self.len <= 1
    }

    /// The indexes, that of the smallest picture first.
    pub(crate) fn encodings(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let Self { encodings, len } = *self;
        (0..usize::from(len)).map(move |rank| usize::from(encodings[rank]))
    }

    /// The encoding that carries a layer. Without simulcast the only one carries all layers.
    pub(crate) fn encoding_of(&self, layer: LayerId) -> Option<usize> {
        let rank = if self.is_single() { 0 } else { layer.spatial };
        let encodings = self.encodings.get(..self.len.into())?;
        encodings
            .get(usize::from(rank))
            .map(|index| (*index).into())
    }

    /// The rank of an encoding; none if it is not published any more.
    pub(crate) fn rank(&self, encoding: usize) -> Option<u8> {
        let ranks = self.encodings().position(|index| index == encoding);
        ranks.map(|rank| rank as u8)
    }

    /// The layer's number in the order `to`; unchanged if `to` lacks its encoding.
    pub(crate) fn translate(&self, layer: LayerId, to: &Self) -> LayerId {
        let encoding = self.encoding_of(layer).filter(|_| !to.is_single());
        let rank = encoding.and_then(|encoding| to.rank(encoding));
        LayerId {
            spatial: rank.unwrap_or(layer.spatial),
            ..layer
        }
    }
}

/// A set of a track's encodings, by index. Without simulcast it holds all or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LayerSet(u8);

impl LayerSet {
    /// The empty set.
    pub(crate) const NONE: Self = Self(0);
    /// The set of every encoding.
    pub(crate) const ALL: Self = Self(u8::MAX);

    /// Adds an encoding.
    pub(crate) fn insert(&mut self, layer: usize) {
        if layer < SPATIAL {
            self.0 |= 1 << layer;
        }
    }

    /// Whether an encoding is in the set.
    pub(crate) fn contains(self, layer: usize) -> bool {
        layer < SPATIAL && self.0 & 1 << layer != 0
    }

    /// Layers that are in either set.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Layers that are in both sets.
    pub(crate) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the set is empty.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One step of a ladder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rung {
    pub(crate) id: LayerId,
    /// Bits a second needed to show this layer: RTP with its headers, the lower layers it needs included. While nothing
    /// comes, the last known rate; 0 if nothing ever came.
    pub(crate) bitrate: u64,
    /// Height in pixels; 0 while unknown.
    pub(crate) height: u16,
    /// Packets arrive on it.
    pub(crate) alive: bool,
    /// Packets arrive, or would arrive if a viewer wanted them: its publisher was asked to pause it.
    pub(crate) available: bool,
    /// It has come for less than the window in which rates are measured, and never before that.
    pub(crate) begins: bool,
    /// It was asked for, and is overdue.
    pub(crate) late: bool,
}

/// The steps of a track, the smallest first: by spatial layer, then by temporal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ladder {
    rungs: [Rung; SPATIAL * TEMPORAL],
    len: usize,
}

impl Ladder {
    /// Adds the next higher step; one that does not fit is left out.
    pub(crate) fn push(&mut self, rung: Rung) {
        if let Some(place) = self.rungs.get_mut(self.len) {
            *place = rung;
            self.len += 1;
        }
    }

    /// The steps, mutable.
    pub(crate) fn rungs_mut(&mut self) -> &mut [Rung] {
        &mut self.rungs[..self.len]
    }

    /// The steps.
    pub(crate) fn rungs(&self) -> &[Rung] {
        &self.rungs[..self.len]
    }

    /// No packet ever came on any step.
    pub(crate) fn is_untouched(&self) -> bool {
        let mut rungs = self.rungs().iter();
        rungs.all(|rung| !rung.alive && rung.bitrate == 0 && rung.height == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_a_track_can_have_and_nothing_beyond() {
        let mut set = LayerSet::NONE;
        assert!(set.is_empty() && (0..9).all(|layer| !set.contains(layer)));
        for layer in [2, 0, 2, SPATIAL, 8, 64] {
            set.insert(layer);
        }
        let held = |set: LayerSet| (0..100).filter(|at| set.contains(*at)).collect::<Vec<_>>();
        assert_eq!(held(set), [0, 2]);
        let mut other = LayerSet::NONE;
        other.insert(3);
        assert_eq!(held(set.union(other)), [0, 2, 3]);
        assert_eq!(set.union(LayerSet::NONE), set);
        assert_eq!(held(set.intersection(LayerSet::ALL)), [0, 2]);
        assert!(held(set.intersection(other)).is_empty());
        assert_eq!(held(LayerSet::ALL), [0, 1, 2, 3]);
        let mut beyond = LayerSet::NONE;
        beyond.insert(SPATIAL);
        assert!(
            beyond.is_empty(),
            "what cannot be asked for is not wanted either"
        );
    }

    #[test]
    fn an_order_counts_from_the_smallest_and_leaves_the_encodings_their_indexes() {
        let layer = |spatial| LayerId {
            spatial,
            temporal: 1,
        };
        let order = Ranks::of(&[2, 0, 1]);
        assert_eq!(order.encodings().collect::<Vec<_>>(), [2, 0, 1]);
        for (rank, index) in [(0, Some(2)), (1, Some(0)), (2, Some(1)), (3, None)] {
            assert_eq!(order.encoding_of(layer(rank)), index);
            assert_eq!(
                index.and_then(|index| order.rank(index)),
                index.map(|_| rank)
            );
        }
        assert_eq!((order.rank(3), order.is_single()), (None, false));
        let single = Ranks::of(&[2]);
        let all = (0..SPATIAL as u8).map(|svc| single.encoding_of(layer(svc)));
        assert!(all.eq([Some(2); SPATIAL]), "steps within one stream");
        assert_eq!(Ranks::of(&[]).encoding_of(layer(0)), None);
        assert_eq!(Ranks::of(&[0, 1, 2, 3, 4]).encodings().count(), SPATIAL);
    }

    #[test]
    fn a_layer_keeps_its_encoding_from_one_order_to_another() {
        let order = |indexes: &[usize]| Ranks::of(indexes);
        for (from, rank, to, expected) in [
            (&[0, 1, 2][..], 2, &[2, 1, 0][..], 0),
            (&[0, 1, 2], 1, &[2, 1, 0], 1),
            (&[0, 1, 2], 2, &[0, 2], 1),
            (&[0, 1, 2], 1, &[0, 2], 1), // Gone: whoever decides next sees what there is.
            (&[1], 0, &[0, 1], 1),
            (&[1], 2, &[0, 1], 1),
            (&[0, 1], 1, &[1], 1),
        ] {
            let layer = LayerId {
                spatial: rank,
                temporal: 2,
            };
            let translated = order(from).translate(layer, &order(to));
            assert_eq!(
                (translated.spatial, translated.temporal),
                (expected, 2),
                "{from:?} {to:?}"
            );
        }
    }

    #[test]
    fn a_ladder_keeps_its_lowest_steps_when_there_are_too_many() {
        let mut ladder = Ladder::default();
        assert_eq!(ladder.rungs(), []);
        for spatial in 0..=SPATIAL as u8 {
            for temporal in 0..TEMPORAL as u8 {
                ladder.push(Rung {
                    id: LayerId { spatial, temporal },
                    ..Rung::default()
                });
            }
        }
        ladder.rungs_mut()[1].bitrate = 7;
        let rungs = ladder.rungs();
        assert_eq!((rungs.len(), rungs[1].bitrate), (SPATIAL * TEMPORAL, 7));
        assert!(
            rungs.is_sorted_by_key(|rung| rung.id),
            "as a viewer climbs them"
        );
        assert_eq!(usize::from(rungs[rungs.len() - 1].id.spatial), SPATIAL - 1);
    }
}
