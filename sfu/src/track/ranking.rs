//! The order of a track's encodings, from measurements.
//!
//! Browsers and other clients list encodings in either order, and neither `a=rid` nor `a=simulcast` says which is the
//! largest. The order follows, strongest first:
//!
//! 1. The height of the picture, from the last keyframe.
//! 2. For equal heights, or a codec that tells none: the bitrate, if one is clearly higher.
//! 3. Before the first keyframe: the [hints](super::hint) in the description.
//!
//! Only encodings that arrive now are compared. One that is switched off keeps its rank: its last measurements do not
//! tell its present size. One that is measured for the first time takes its place at once. After that it changes its
//! rank only when the pictures have been in the other order for a while. When a window is resized or an encoder is
//! short of time, the encodings of a track change one after the other, and each change of rank would take viewers
//! along.

use std::time::{Duration, Instant};

use super::ladder::{LayerSet, Ranks, SPATIAL};

/// Time that another order must last before ranks change. The encodings of a picture change their sizes within a
/// keyframe's time.
const HOLD: Duration = Duration::from_secs(1);
/// Upper bound of that time; it doubles with each change soon after another.
const HOLD_MAX: Duration = Duration::from_secs(16);
/// Time without a change after which the doubling is taken back.
const FORGIVE: Duration = Duration::from_secs(60);
/// Ratio from which on a bitrate is clearly higher, in percent: those of equal encodings differ by less.
const CLEARLY_MORE: u64 = 125;

/// The present measurements of an encoding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Packets arrive.
    pub(super) alive: bool,
    /// Height of its picture in pixels, since it last began; 0 while unknown.
    pub(super) height: u16,
    /// Bits a second.
    pub(super) bitrate: u64,
}

/// The order of a track's encodings, and the measured order that may replace it.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    order: Ranks,
    /// Encodings ranked by a measured height.
    placed: LayerSet,
    /// Another order, and the time since which it is measured.
    other: Option<(Ranks, Instant)>,
    hold: Duration,
    changed_at: Option<Instant>,
}

impl Ranking {
    /// Begins with the order that a description hints at.
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

    /// Records the order that another worker has measured; true if it changed.
    pub(super) fn follow(&mut self, order: Ranks) -> bool {
        std::mem::replace(&mut self.order, order) != order
    }

    /// Applies a later description's encodings, in the order it hints at. Those in `kept` are unchanged, and keep their
    /// order.
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

    /// The time at which [`update`](Self::update) may change the order without new measurements.
    pub(super) fn due(&self) -> Option<Instant> {
        self.other.map(|(_, since)| since + self.hold)
    }

    /// Records measurements by index; true if the order changed.
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

    /// Encodings whose first measurement is in this update.
    fn first_measured(&self, sized: impl Fn(usize) -> bool) -> Option<LayerSet> {
        let mut first = LayerSet::NONE;
        let fresh = |index: &usize| sized(*index) && !self.placed.contains(*index);
        self.order
            .encodings()
            .filter(fresh)
            .for_each(|index| first.insert(index));
        (!first.is_empty()).then_some(first)
    }

    /// The order with the compared encodings sorted among the ranks they have.
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
        // Only neighbours are swapped, so that encodings that differ too little keep their order.
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

    /// Each encoding's height and kilobits a second; a height below 0 means that nothing comes.
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
            // The height decides, whatever the bitrate.
            (&[0, 1], &[(360, 100), (180, 900)], &[1, 0]),
            // Encodings of equal height keep the hinted order until their rates have been known for a while.
            (&[0, 1], &[(360, 900), (360, 100)], &[0, 1]),
            // Encodings that do not arrive, or tell no height, keep their ranks.
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
        // Each change back takes longer.
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
        /// With any measurements each encoding has one rank, and an order measured for long enough becomes the order.
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
