//! Finding the largest load that is still borne: geometric growth, then bisection. Pure: what to
//! measure next and what that showed, so that the same search runs on servers and in tests.

use serde::{Deserialize, Serialize};

/// The loads to try.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Range {
    pub from: u64,
    /// Never beyond it.
    pub to: u64,
    /// The number of points that the growth from `from` to `to` takes. None: each is twice the one before.
    pub steps: Option<u32>,
    /// Bisection ends when the bounds are this close, as a share of the lower one.
    pub precision: f64,
}

/// The outcome of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The objective was met.
    Meets,
    /// The objective was missed because of the server.
    Misses,
    /// The load generator could not keep up, so that the server's limit is unknown.
    GeneratorLimited,
}

/// The reason that a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The largest load is known to the precision asked for.
    Found,
    /// Even the first load was too much.
    NothingMeets,
    /// Even the last load was borne: the limit lies beyond the range.
    EverythingMeets,
    /// Above the largest load that was borne the generator gave up: the limit lies beyond it.
    GeneratorLimited,
    /// Stopped before it was known.
    Interrupted,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    range: Range,
    meets: Option<u64>,
    bound: Option<(u64, Verdict)>,
}

impl Range {
    /// Doubling, to within a twentieth.
    pub fn new(from: u64, to: u64) -> Self {
        Self {
            from,
            to,
            steps: None,
            precision: 0.05,
        }
    }

    /// The growth's next load after one that was borne.
    fn grown(&self, load: u64) -> u64 {
        let factor = match self.steps {
            Some(steps) if steps > 1 && self.from > 0 => {
                (self.to as f64 / self.from as f64).powf(1.0 / f64::from(steps - 1))
            }
            _ => 2.0,
        };
        // Always onward, however small the factor.
        let next = (load as f64 * factor).round() as u64;
        next.max(load.saturating_add(1)).min(self.to)
    }
}

impl Search {
    /// A search that has tried nothing.
    pub fn new(range: Range) -> Self {
        Self {
            range,
            meets: None,
            bound: None,
        }
    }

    /// The load to try next; none when the search is over.
    pub fn next(&self) -> Option<u64> {
        match (self.meets, self.bound) {
            (None, None) => Some(self.range.from),
            (None, Some(_)) => None,
            (Some(meets), None) => (meets < self.range.to).then(|| self.range.grown(meets)),
            (Some(meets), Some((bound, _))) => {
                let gap = (meets as f64 * self.range.precision).max(1.0);
                (bound > meets + 1 && (bound - meets) as f64 > gap)
                    .then(|| meets + (bound - meets) / 2)
            }
        }
    }

    /// Records the verdict on a load. Only loads between the bounds so far add knowledge.
    pub fn record(&mut self, load: u64, verdict: Verdict) {
        match verdict {
            Verdict::Meets => {
                if self.bound.is_none_or(|(bound, _)| load < bound) {
                    self.meets = self.meets.max(Some(load));
                }
            }
            _ => {
                let below = self.bound.is_none_or(|(bound, _)| load < bound);
                if below && self.meets.is_none_or(|meets| load > meets) {
                    self.bound = Some((load, verdict));
                }
            }
        }
    }

    /// The largest load that was borne, with nothing smaller that was not.
    pub fn largest(&self) -> Option<u64> {
        self.meets
    }

    /// The end of the search, or the end that it would have now.
    pub fn ended(&self) -> Ended {
        if self.next().is_some() {
            return Ended::Interrupted;
        }
        match (self.meets, self.bound) {
            (_, Some((_, Verdict::GeneratorLimited))) => Ended::GeneratorLimited,
            (None, _) => Ended::NothingMeets,
            (Some(_), None) => Ended::EverythingMeets,
            (Some(_), Some(_)) => Ended::Found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every load tried, and the search at its end.
    fn run(range: Range, mut oracle: impl FnMut(u64) -> Verdict) -> (Vec<u64>, Search) {
        let mut search = Search::new(range);
        let mut tried = Vec::new();
        while let Some(load) = search.next() {
            assert!(tried.len() < 200, "does not end: {tried:?}");
            tried.push(load);
            search.record(load, oracle(load));
        }
        (tried, search)
    }

    fn up_to(limit: u64) -> impl FnMut(u64) -> Verdict {
        move |load| match load <= limit {
            true => Verdict::Meets,
            false => Verdict::Misses,
        }
    }

    #[test]
    fn grows_then_bisects() {
        let range = Range::new(10, 1_000);
        let (tried, search) = run(range, up_to(100));
        assert_eq!(tried, [10, 20, 40, 80, 160, 120, 100, 110, 105]);
        assert_eq!(
            (search.largest(), search.ended()),
            (Some(100), Ended::Found)
        );
        let steps = Range {
            steps: Some(3),
            ..range
        };
        assert_eq!(run(steps, up_to(5_000)).0, [10, 100, 1_000]);
    }

    #[test]
    fn every_way_to_end() {
        let range = Range::new(4, 64);
        let (tried, search) = run(range, up_to(3));
        assert_eq!((tried, search.ended()), (vec![4], Ended::NothingMeets));
        assert_eq!(search.largest(), None);
        let (_, search) = run(range, up_to(64));
        assert_eq!(
            (search.largest(), search.ended()),
            (Some(64), Ended::EverythingMeets)
        );
        let (_, search) = run(range, |load| match load <= 20 {
            true => Verdict::Meets,
            false => Verdict::GeneratorLimited,
        });
        assert_eq!(
            (search.largest(), search.ended()),
            (Some(20), Ended::GeneratorLimited)
        );
        assert_eq!(Search::new(range).ended(), Ended::Interrupted);
    }

    proptest! {
        #[test]
        fn the_limit_is_found(
            from in 1..50_u64,
            width in 1..100_000_u64,
            at in 0.0..1.0_f64,
            steps in proptest::option::of(2..20_u32),
            precision in 0.005..0.2_f64,
        ) {
            let range = Range { from, to: from + width, steps, precision };
            let limit = from + (width as f64 * at) as u64;
            let (tried, search) = run(range, up_to(limit));
            prop_assert!(tried.len() <= 60, "{tried:?}");
            prop_assert!(tried.iter().all(|load| (range.from..=range.to).contains(load)));
            let largest = search.largest().unwrap();
            prop_assert!(largest <= limit);
            let gap = (largest as f64 * precision).max(1.0);
            prop_assert!((limit - largest) as f64 <= gap, "{limit} {largest}");
        }

        #[test]
        fn noise_near_the_limit_costs_no_more_than_the_noise(
            limit in 20..50_000_u64,
            noise in 0.0..0.3_f64,
            coins in proptest::collection::vec(any::<bool>(), 200),
        ) {
            let range = Range::new(10, 100_000);
            let band = limit as f64 * noise;
            let mut coins = coins.into_iter();
            let (_, search) = run(range, |load| {
                let far = (load as f64 - limit as f64).abs() > band;
                match if far { load <= limit } else { coins.next().unwrap() } {
                    true => Verdict::Meets,
                    false => Verdict::Misses,
                }
            });
            if let Some(largest) = search.largest() {
                let largest = largest as f64;
                prop_assert!(largest <= limit as f64 + band);
                prop_assert!(largest + (largest * range.precision).max(1.0) >= limit as f64 - band - 1.0);
            } else {
                prop_assert!(10.0 >= limit as f64 - band);
            }
        }
    }
}
