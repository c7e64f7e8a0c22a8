//! In which order a track's encodings stand: by what is measured of them.
//!
//! Browsers, and whoever writes for them, list encodings in either order, and neither `a=rid` nor
//! `a=simulcast` says which is the largest. What decides, strongest first:
//!
//! 1. The height of the picture, as the last keyframe told it.
//! 2. Of equal heights, or where the codec has told none: the bitrate, if one is clearly more.
//! 3. Before the first keyframe: what the description [hints](super::hint) at.
//!
//! Only encodings that come now are compared; one that is switched off keeps its rank, for what it was when
//! it last came says nothing of what it would be. One that is measured for the first time takes its place at
//! once. One that has a place changes it only after the pictures have been in the other order for a while:
//! when a window is resized or an encoder is short of time, the encodings of a track change one after the
//! other, and a rank that flaps would take viewers along each time.

use std::time::{Duration, Instant};

use crate::ladder::{LayerSet, Ranks, SPATIAL};

/// Encodings that have their places change them after so long in another order. The encodings of a picture
/// change their sizes within a keyframe's time.
const HOLD: Duration = Duration::from_secs(1);
/// With each change soon after another it takes twice as long, up to this.
const HOLD_MAX: Duration = Duration::from_secs(16);
/// Without a change for so long, the past is forgotten.
const FORGIVE: Duration = Duration::from_secs(60);
/// A bitrate is clearly more from here on, in percent of the other: those of equal encodings differ by less.
const CLEARLY_MORE: u64 = 125;

/// An encoding as it is measured now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Packets come.
    pub(super) alive: bool,
    /// Height of its picture in pixels, as told since it last began; 0 while unknown.
    pub(super) height: u16,
    /// Bits a second.
    pub(super) bitrate: u64,
}

/// The order of a track's encodings, and what would change it.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    order: Ranks,
    /// Encodings that a measured height has put in their place.
    placed: LayerSet,
    /// Another order, and since when it is measured.
    other: Option<(Ranks, Instant)>,
    hold: Duration,
    changed_at: Option<Instant>,
}

impl Ranking {
    /// Begins with what a description hints at.
    pub(super) fn new(hinted: Ranks) -> Self {
        Self {
            order: hinted,
            hold: HOLD,
            ..Self::default()
        }
    }

    /// The order now.
    pub(super) fn order(&self) -> Ranks {
        self.order
    }

    /// Takes the order that another worker has measured; true if that is news.
    pub(super) fn follow(&mut self, order: Ranks) -> bool {
        std::mem::replace(&mut self.order, order) != order
    }

    /// Takes the encodings of a later description, in the order it hints at. Those of `kept` are the
    /// encodings they were, and stay in the order they were in.
    pub(super) fn renegotiate(&mut self, hinted: Ranks, kept: LayerSet) {
        let mut before = self.order.encodings().filter(|index| kept.contains(*index));
        let merged = hinted.encodings().map(|index| match kept.contains(index) {
            true => before.next().unwrap_or(index),
            false => index,
        });
        let (mut encodings, mut len) = ([0; SPATIAL], 0);
        for (place, index) in encodings.iter_mut().zip(merged) {
            (*place, len) = (index, len + 1);
        }
        self.order = Ranks::of(&encodings[..len]);
        self.placed = self.placed.intersection(kept);
        self.other = None;
    }

    /// The time at which [`update`](Self::update) may change the order though nothing else does.
    pub(super) fn due(&self) -> Option<Instant> {
        self.other.map(|(_, since)| since + self.hold)
    }

    /// Takes what is measured, by index; true if the order is another now.
    pub(super) fn update(&mut self, now: Instant, seen: &[Seen; SPATIAL]) -> bool {
        if self.order.is_single() {
            return false;
        }
        let sized = |index: usize| seen[index].alive && seen[index].height > 0;
        if let Some(first) = self.first_measured(sized) {
            self.placed = self.placed.union(first);
            let order = self.sorted(sized, |a, b| seen[a].height > seen[b].height);
            if order != self.order {
                self.other = None;
                self.order = order;
                return true;
            }
        }
        let tells = !self.placed.is_empty();
        let compared = |index: usize| sized(index) || (!tells && seen[index].alive);
        let measured = self.sorted(compared, |a, b| larger(&seen[a], &seen[b]));
        if measured == self.order {
            self.other = None;
            return false;
        }
        match self.other {
            Some((other, since)) if other == measured => {
                if now < since + self.hold {
                    return false;
                }
                let lately = self.changed_at.is_some_and(|at| now < at + FORGIVE);
                self.hold = if lately {
                    (self.hold * 2).min(HOLD_MAX)
                } else {
                    HOLD
                };
                (self.changed_at, self.other) = (Some(now), None);
                self.order = measured;
                true
            }
            _ => {
                self.other = Some((measured, now));
                false
            }
        }
    }

    /// Encodings measured now that never were before.
    fn first_measured(&self, sized: impl Fn(usize) -> bool) -> Option<LayerSet> {
        let mut first = LayerSet::NONE;
        let fresh = |index: &usize| sized(*index) && !self.placed.contains(*index);
        self.order
            .encodings()
            .filter(fresh)
            .for_each(|index| first.insert(index));
        (!first.is_empty()).then_some(first)
    }

    /// The order with those that are compared sorted among the ranks they have.
    fn sorted(
        &self,
        compared: impl Fn(usize) -> bool,
        larger: impl Fn(usize, usize) -> bool,
    ) -> Ranks {
        let (mut encodings, mut ranks, mut count) = ([0; SPATIAL], [0; SPATIAL], 0);
        let mut len = 0;
        for (rank, index) in self.order.encodings().enumerate() {
            (encodings[rank], len) = (index, rank + 1);
            if compared(index) {
                (ranks[count], count) = (rank, count + 1);
            }
        }
        // By neighbours, so that those that differ too little stay as they are.
        let ranks = &ranks[..count];
        for _ in 1..count {
            for pair in ranks.windows(2) {
                if larger(encodings[pair[0]], encodings[pair[1]]) {
                    encodings.swap(pair[0], pair[1]);
                }
            }
        }
        Ranks::of(&encodings[..len])
    }
}

fn larger(a: &Seen, b: &Seen) -> bool {
    if a.height != b.height {
        return a.height > b.height;
    }
    b.bitrate > 0 && a.bitrate * 100 > b.bitrate * CLEARLY_MORE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each encoding as it comes: height and kilobits a second; of a height below 0 nothing comes.
    fn seen(measured: &[(i32, u64)]) -> [Seen; SPATIAL] {
        let mut all = [Seen::default(); SPATIAL];
        for (seen, (height, kilobits)) in all.iter_mut().zip(measured) {
            *seen = Seen {
                alive: *height >= 0,
                height: (*height).max(0) as u16,
                bitrate: kilobits * 1_000,
            };
        }
        all
    }

    struct Sim {
        start: Instant,
        ranking: Ranking,
        changes: usize,
    }

    impl Sim {
        fn new(hinted: &[usize]) -> Self {
            Self {
                start: Instant::now(),
                ranking: Ranking::new(Ranks::of(hinted)),
                changes: 0,
            }
        }

        fn see(&mut self, ms: u64, measured: &[(i32, u64)]) -> Vec<usize> {
            let now = self.start + Duration::from_millis(ms);
            self.changes += usize::from(self.ranking.update(now, &seen(measured)));
            self.ranking.order().encodings().collect()
        }
    }

    #[test]
    fn a_first_measure_counts_at_once_and_by_the_height() {
        const OFF: i32 = -1;
        for (hinted, measured, expected) in [
            // Listed highest first.
            (
                &[0, 1, 2][..],
                &[(720, 1_500), (360, 500), (180, 150)][..],
                &[2, 1, 0][..],
            ),
            (
                &[0, 1, 2],
                &[(360, 500), (720, 1_500), (180, 150)],
                &[2, 0, 1],
            ),
            (&[2, 1, 0], &[(180, 0), (360, 0), (720, 0)], &[0, 1, 2]),
            // The height, whatever it costs.
            (&[0, 1], &[(360, 100), (180, 900)], &[1, 0]),
            // Equal ones stay as hinted until their rates are known for a while.
            (&[0, 1], &[(360, 900), (360, 100)], &[0, 1]),
            // Those that do not come, or not tell, keep their ranks.
            (
                &[0, 1, 2],
                &[(720, 1_500), (OFF, 0), (180, 150)],
                &[2, 1, 0],
            ),
            (&[0, 1, 2], &[(OFF, 0), (720, 0), (360, 0)], &[0, 2, 1]),
            (&[0, 1, 2], &[(0, 900), (720, 0), (360, 0)], &[0, 2, 1]),
            (&[0], &[(720, 1)], &[0]),
        ] {
            let mut sim = Sim::new(hinted);
            assert_eq!(sim.see(0, measured), expected, "{hinted:?} {measured:?}");
        }
    }

    #[test]
    fn one_that_comes_later_is_placed_when_it_comes() {
        let mut sim = Sim::new(&[0, 1, 2]);
        assert_eq!(sim.see(0, &[(720, 1_500), (-1, 0), (-1, 0)]), [0, 1, 2]);
        assert_eq!(sim.see(50, &[(720, 1_500), (-1, 0), (180, 10)]), [2, 1, 0]);
        assert_eq!(sim.see(99, &[(720, 1_500), (90, 9), (180, 10)]), [1, 2, 0]);
    }

    #[test]
    fn equal_heights_are_ordered_by_a_rate_that_is_clearly_more_for_a_while() {
        let mut sim = Sim::new(&[0, 1]);
        for (ms, rates, expected) in [
            (0, [900, 300], [0, 1]),
            (999, [900, 300], [0, 1]),
            (1_000, [900, 300], [1, 0]),
            (9_000, [340, 300], [1, 0]), // The rate of the one that was the larger has fallen.
            (9_100, [300, 370], [1, 0]),
            (20_000, [300, 370], [1, 0]),
        ] {
            let measured = rates.map(|rate| (360, rate));
            assert_eq!(sim.see(ms, &measured), expected, "{ms}");
        }
        // The codec tells no heights.
        let mut sim = Sim::new(&[0, 1, 2]);
        sim.see(0, &[(0, 1_500), (0, 500), (0, 150)]);
        assert_eq!(sim.see(1_000, &[(0, 1_500), (0, 500), (0, 150)]), [2, 1, 0]);
    }

    #[test]
    fn an_encoding_that_shrinks_for_a_moment_keeps_its_rank_and_one_that_stays_small_does_not() {
        let (usual, shrunk) = ([(180, 150), (360, 500)], [(180, 150), (90, 500)]);
        let mut sim = Sim::new(&[0, 1]);
        assert_eq!(sim.see(0, &usual), [0, 1]);
        assert_eq!(sim.see(10_000, &shrunk), [0, 1]);
        assert_eq!(sim.see(10_900, &shrunk), [0, 1]);
        assert_eq!(sim.see(11_500, &usual), [0, 1]);
        assert_eq!(sim.see(12_000, &shrunk), [0, 1]);
        assert_eq!(sim.ranking.due(), Some(sim.start + Duration::from_secs(13)));
        assert_eq!(sim.see(13_000, &shrunk), [1, 0]);
        // And back; then it takes longer and longer.
        assert_eq!(sim.see(20_000, &usual), [1, 0]);
        assert_eq!(sim.see(21_000, &usual), [0, 1]);
        assert_eq!(sim.see(22_000, &shrunk), [0, 1]);
        assert_eq!(sim.see(23_900, &shrunk), [0, 1]);
        assert_eq!(sim.see(24_000, &shrunk), [1, 0]);
        assert_eq!(sim.changes, 3);
    }

    #[test]
    fn one_that_flaps_for_ever_changes_places_less_and_less_often() {
        let mut sim = Sim::new(&[0, 1]);
        for ms in (0..600_000).step_by(100) {
            let small = ms / 3_000 % 2 == 0;
            sim.see(
                ms,
                &[(180, 150), if small { (90, 500) } else { (360, 500) }],
            );
        }
        assert!(sim.changes <= 4, "{}", sim.changes);
    }

    #[test]
    fn a_later_description_keeps_the_order_of_what_stays() {
        for (order, hinted, kept, expected) in [
            (
                &[0, 1, 2][..],
                &[2, 1, 0][..],
                &[0, 1, 2][..],
                &[0, 1, 2][..],
            ),
            (&[2, 1, 0], &[0, 1], &[0, 1], &[1, 0]),
            (&[1, 0], &[0, 1, 2], &[0, 1], &[1, 0, 2]),
            (&[1, 0], &[2, 0, 1], &[0, 1], &[2, 1, 0]),
            (&[0, 1, 2], &[1, 0], &[1], &[1, 0]), // The first is another one now.
            (&[0], &[0, 1], &[], &[0, 1]),
            (&[0, 1, 2], &[1], &[1], &[1]),
        ] {
            let mut ranking = Ranking::new(Ranks::of(order));
            let mut stays = LayerSet::NONE;
            kept.iter().for_each(|index| stays.insert(*index));
            ranking.renegotiate(Ranks::of(hinted), stays);
            let now: Vec<_> = ranking.order().encodings().collect();
            assert_eq!(now, expected, "{order:?} {hinted:?} {kept:?}");
        }
    }

    proptest! {
        /// Whatever is measured, each encoding has one rank; and what is measured for long enough is
        /// what the order is.
        #[test]
        fn the_order_is_that_of_the_heights_in_the_end(
            rows in proptest::collection::vec(
                proptest::collection::vec((-1..5i32, 0..3u64), 4), 1..40),
            hinted in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        ) {
            let mut sim = Sim::new(&hinted);
            for (at, row) in (0..).zip(&rows) {
                let row: Vec<_> = row.iter().map(|(h, r)| (h * 90, r * 1_000)).collect();
                let mut order = sim.see(at * 300, &row);
                order.sort_unstable();
                prop_assert_eq!(order, vec![0, 1, 2, 3]);
            }
            let last: Vec<_> = rows[rows.len() - 1].iter().map(|(h, _)| (h * 90, 0)).collect();
            let from = rows.len() as u64 * 300;
            let mut order = Vec::new();
            for ms in (from..from + 40_000).step_by(500) {
                order = sim.see(ms, &last);
            }
            let heights: Vec<_> = order.iter().map(|index| last[*index].0).filter(|h| *h > 0).collect();
            prop_assert!(heights.is_sorted(), "{order:?} {last:?}");
        }
    }
}
