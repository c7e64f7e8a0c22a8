//! The layers of a track as a viewer may choose among them: what ingress measures and egress decides by.

/// Spatial layers of a track at most: what browsers make (three), and one to spare.
pub(crate) const SPATIAL: usize = 4;
/// Temporal layers of each at most: three in every `scalabilityMode`, and one to spare.
pub(crate) const TEMPORAL: usize = 4;

/// A layer: a simulcast encoding or an SVC step, and how much of its frame rate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct LayerId {
    /// From the smallest picture on. With simulcast, the index of the encoding among its track's.
    pub(crate) spatial: u8,
    /// From the lowest frame rate on: this and those below are sent.
    pub(crate) temporal: u8,
}

/// Some of a track's encodings: with simulcast any, without it all or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LayerSet(u8);

impl LayerSet {
    /// None of them.
    pub(crate) const NONE: Self = Self(0);
    /// All of them.
    pub(crate) const ALL: Self = Self(u8::MAX);

    /// Adds one.
    pub(crate) fn insert(&mut self, layer: usize) {
        if layer < SPATIAL {
            self.0 |= 1 << layer;
        }
    }

    /// Whether one is among them.
    pub(crate) fn contains(self, layer: usize) -> bool {
        layer < SPATIAL && self.0 & 1 << layer != 0
    }

    /// Those of either.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rung {
    pub(crate) id: LayerId,
    /// Of all that is sent to show it, lower layers it needs included; bits a second of RTP with its
    /// headers. While nothing comes, what it last was; 0 if nothing ever came.
    pub(crate) bitrate: u64,
    /// Height in pixels; 0 while unknown.
    pub(crate) height: u16,
    /// Packets come on it.
    pub(crate) alive: bool,
    /// Packets come, or would come if a viewer wanted them: its publisher was asked to pause it.
    pub(crate) available: bool,
}

/// The steps of a track, the smallest first: by spatial layer, then by temporal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ladder {
    rungs: [Rung; SPATIAL * TEMPORAL],
    len: usize,
}

impl Ladder {
    /// Adds the next higher step; what does not fit is left out.
    pub(crate) fn push(&mut self, rung: Rung) {
        if let Some(place) = self.rungs.get_mut(self.len) {
            *place = rung;
            self.len += 1;
        }
    }

    /// The steps, to change.
    pub(crate) fn rungs_mut(&mut self) -> &mut [Rung] {
        &mut self.rungs[..self.len]
    }

    /// The steps.
    pub(crate) fn rungs(&self) -> &[Rung] {
        &self.rungs[..self.len]
    }

    /// Nothing ever came on any of them.
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
        assert_eq!(held(LayerSet::ALL), [0, 1, 2, 3]);
        let mut beyond = LayerSet::NONE;
        beyond.insert(SPATIAL);
        assert!(
            beyond.is_empty(),
            "what cannot be asked for is not wanted either"
        );
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
