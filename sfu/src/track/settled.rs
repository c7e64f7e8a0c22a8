//! The settled rate of a layer: its cost when nothing disturbs it.
//!
//! An encoder that begins is below its rate for seconds, keyframes exceed it, and an encoder whose neighbour is
//! switched takes twice as much for a second. A choice based on the present rate would be undone a moment later. So
//! whole seconds are measured, and the middle half of the last eight counts. A settled rate stays known while its layer
//! is off.

use std::time::{Duration, Instant};

use super::ladder::{Rung, SPATIAL};

/// The ratio of bitrates between a browser's encoding and the next smaller one: it has four times the pixels.
pub(super) const LARGER: u64 = 3;
/// Seconds remembered: an encoder is disturbed for up to five of them.
const SECONDS: usize = 8;
/// Seconds needed to tell a rate: the middle half of fewer may be one odd second.
const ENOUGH: usize = 4;
const SECOND: Duration = Duration::from_secs(1);
/// Silence after which the current second starts anew.
const SILENCE: Duration = Duration::from_millis(500);

/// The settled rate of one layer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    /// Bytes of whole seconds; the oldest is overwritten first.
    seconds: [u32; SECONDS],
    count: usize,
    bytes: u32,
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Settled {
    /// Counts a packet.
    pub(crate) fn add(&mut self, now: Instant, bytes: usize) {
        let silent = self.last.is_none_or(|last| now >= last + SILENCE);
        self.last = Some(now);
        let since = *self.since.get_or_insert(now);
        if silent {
            (self.since, self.bytes) = (Some(now), 0);
        } else if now >= since + SECOND {
            let took = (now - since).as_millis().max(1) as u64;
            self.seconds[self.count % SECONDS] = (u64::from(self.bytes) * 1_000 / took) as u32;
            self.count += 1;
            (self.since, self.bytes) = (Some(now), 0);
        }
        self.bytes = self.bytes.saturating_add(bytes as u32);
    }

    /// Bits a second; none while too little of it has come.
    pub(crate) fn bitrate(&self) -> Option<u64> {
        let known = self.count.min(SECONDS);
        if known < ENOUGH {
            return None;
        }
        let mut seconds = self.seconds;
        let seconds = &mut seconds[..known];
        seconds.sort_unstable();
        let odd = known / 4;
        let calm = &seconds[odd..known - odd];
        let bytes: u64 = calm.iter().map(|bytes| u64::from(*bytes)).sum();
        Some(bytes * 8 / calm.len() as u64)
    }
}

/// Tolerance for a layer that did not settle, as a fraction: its measured rate counts up to the likely rate and a
/// third.
const OFF: u64 = 3;

/// Puts the settled rates of simulcast encodings into their steps; `settled` is by rank. An encoding that has `begun`
/// and is not settled yet is assumed to cost what its neighbours make likely, or its present rate if that is higher.
pub(super) fn apply(rungs: &mut [Rung], settled: &[Option<u64>; SPATIAL], begun: &[bool; SPATIAL]) {
    // Cost of each whole encoding; the last known one if it does not arrive.
    let mut whole = [(0_u64, false); SPATIAL];
    for rung in rungs.iter() {
        if let Some((bitrate, comes)) = whole.get_mut(usize::from(rung.id.spatial)) {
            (*bitrate, *comes) = ((*bitrate).max(rung.bitrate), *comes | rung.alive);
        }
    }
    let known = |rank: usize| {
        let (bitrate, comes) = *whole.get(rank)?;
        let known = settled[rank].or((!comes && !begun[rank]).then_some(bitrate));
        known.filter(|bitrate| *bitrate > 0)
    };
    let mut below = 0_u64;
    for rank in 0..SPATIAL {
        let (bitrate, comes) = whole[rank];
        if bitrate == 0 || !(comes || begun[rank]) {
            below = below.max(bitrate);
            continue;
        }
        let cost = known(rank).unwrap_or_else(|| {
            let likely = match known(rank + 1) {
                Some(above) if below == 0 => above / LARGER,
                Some(above) if above > below => (below as f64 * above as f64).sqrt() as u64,
                _ => below.saturating_mul(LARGER),
            };
            if comes || likely == 0 {
                bitrate.max(likely)
            } else {
                // The layer was switched off before it settled. Its neighbours influenced its rate, and an encoder that
                // begins is below its rate for seconds. A layer that only seemed cheap would be begun in vain.
                bitrate.clamp(likely, likely.saturating_add(likely / OFF))
            }
        });
        below = cost;
        let rungs = rungs.iter_mut();
        for rung in rungs.filter(|rung| usize::from(rung.id.spatial) == rank) {
            let share = u128::from(rung.bitrate) * u128::from(cost) / u128::from(bitrate);
            rung.bitrate = share.min(u128::from(u64::MAX)) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::track::ladder::LayerId;

    /// Feeds seconds of so many kilobits, a packet each 20 ms. Returns the assumed cost after them, in kbit/s.
    fn settled(start: Instant, seconds: &[u64]) -> Option<u64> {
        let mut settled = Settled::default();
        for (second, kilobits) in (0..).zip(seconds) {
            for packet in 0..50 {
                let now = start + SECOND * second + Duration::from_millis(20) * packet;
                settled.add(now, (kilobits * 125 / 50) as usize);
            }
        }
        settled.add(start + SECOND * seconds.len() as u32, 1);
        settled.bitrate().map(|rate| rate.div_ceil(1_000))
    }

    #[test]
    fn courses_of_an_encoder_hardly_change_what_it_costs() {
        let start = Instant::now();
        for (what, seconds, expected) in [
            ("too little", &[160, 160, 160][..], None),
            ("calm", &[160; 8], Some(155..=165)),
            (
                "it begins",
                &[64, 105, 150, 170, 160, 160, 160, 160],
                Some(150..=165),
            ),
            (
                "a neighbour joins",
                &[160, 160, 378, 290, 125, 150, 160, 160],
                Some(150..=175),
            ),
            (
                "and goes",
                &[378, 391, 273, 73, 72, 96, 109, 115],
                Some(130..=170),
            ),
            (
                "it changes",
                &[160, 160, 160, 300, 300, 300, 300, 300, 300],
                Some(290..=310),
            ),
        ] {
            let found = settled(start, seconds);
            let right = match (&found, &expected) {
                (Some(found), Some(expected)) => expected.contains(found),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(right, "{what}: {found:?}");
        }
    }

    #[test]
    fn what_is_known_stays_known_while_it_is_off() {
        let start = Instant::now();
        let mut settled = Settled::default();
        let mut feed = |from: u64, to: u64, bytes| {
            for ms in (from..to).step_by(20) {
                settled.add(start + Duration::from_millis(ms), bytes);
            }
            settled.bitrate()
        };
        let known = feed(0, 9_000, 400);
        assert!(
            known.is_some_and(|rate| (155_000..165_000).contains(&rate)),
            "{known:?}"
        );
        // The layer returns after a minute, at a third of its rate, for less than a second: only whole seconds count.
        assert_eq!(feed(60_000, 60_900, 130), known);
    }

    /// Assumed costs by rank, in kbit/s. Each layer has its present rate, its settled rate, and whether it arrives.
    fn costs(layers: &[(u64, Option<u64>, bool)]) -> Vec<u64> {
        costs_of(layers, |_, comes| comes)
    }

    fn costs_of(
        layers: &[(u64, Option<u64>, bool)],
        has_begun: impl Fn(usize, bool) -> bool,
    ) -> Vec<u64> {
        let mut settled = [None; SPATIAL];
        let mut begun = [false; SPATIAL];
        let mut rungs = Vec::new();
        for (rank, (bitrate, settles, comes)) in layers.iter().enumerate() {
            settled[rank] = settles.map(|rate| rate * 1_000);
            begun[rank] = has_begun(rank, *comes);
            for temporal in 0..2 {
                rungs.push(Rung {
                    id: LayerId {
                        spatial: rank as u8,
                        temporal,
                    },
                    bitrate: bitrate * 1_000 / (2 - u64::from(temporal)),
                    alive: *comes,
                    available: true,
                    ..Rung::default()
                });
            }
        }
        apply(&mut rungs, &settled, &begun);
        rungs.iter().map(|rung| rung.bitrate / 1_000).collect()
    }

    #[test]
    fn what_begins_is_taken_to_cost_what_its_neighbours_make_likely() {
        for (what, layers, expected) in [
            (
                "all are known",
                &[(300, Some(160), true), (200, Some(500), true)][..],
                [80, 160, 250, 500],
            ),
            (
                "the larger begins",
                &[(160, Some(160), true), (90, None, true)],
                [80, 160, 240, 480],
            ),
            (
                "with more than is likely",
                &[(160, Some(160), true), (900, None, true)],
                [80, 160, 450, 900],
            ),
            (
                "the smaller begins",
                &[(30, None, true), (600, Some(600), true)],
                [100, 200, 300, 600],
            ),
            (
                "both begin",
                &[(100, None, true), (90, None, true)],
                [50, 100, 150, 300],
            ),
            (
                "what does not come is as it was",
                &[(160, Some(160), true), (400, None, false)],
                [80, 160, 200, 400],
            ),
        ] {
            assert_eq!(costs(layers), expected, "{what}");
        }
        // The middle layer is between two known ones.
        let three = costs(&[
            (160, Some(160), true),
            (90, None, true),
            (1_690, Some(1_690), true),
        ]);
        assert_eq!(three, [80, 160, 260, 520, 845, 1_690]);
    }

    #[test]
    fn what_was_switched_off_while_it_was_disturbed_is_taken_to_cost_what_is_likely() {
        let costs = |bitrate| {
            let layers = [
                (160, Some(160), true),
                (bitrate, None, false),
                (1_690, Some(1_690), true),
            ];
            costs_of(&layers, |_, _| true)[3]
        };
        assert_eq!([1_200, 600, 500, 90].map(costs), [693, 600, 520, 520]);
    }

    proptest! {
        #[test]
        fn a_rate_is_one_that_was_seen(seconds in prop::collection::vec(10u64..5_000, 4..30)) {
            let lately = &seconds[seconds.len().saturating_sub(SECONDS)..];
            let found = settled(Instant::now(), &seconds).unwrap();
            let (least, most) = (lately.iter().min().unwrap(), lately.iter().max().unwrap());
            prop_assert!((least - 2..=most + 2).contains(&found), "{} of {:?}", found, lately);
        }

        #[test]
        fn costs_never_overflow(rates in prop::collection::vec((any::<u64>(), prop::option::of(any::<u64>()), any::<bool>()), 0..=SPATIAL)) {
            let settled = std::array::from_fn(|rank| rates.get(rank).and_then(|(_, settled, _)| *settled));
            let begun = std::array::from_fn(|rank| rates.get(rank).is_some_and(|(_, _, begun)| *begun));
            let mut rungs: Vec<Rung> = (0..).zip(&rates).map(|(spatial, (bitrate, _, alive))| Rung {
                id: LayerId { spatial, temporal: 0 },
                bitrate: *bitrate,
                alive: *alive,
                ..Rung::default()
            }).collect();
            apply(&mut rungs, &settled, &begun);
        }
    }
}
