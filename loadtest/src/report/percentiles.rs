//! Nearest-rank percentiles of durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds unless said otherwise; null when there is nothing to count.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// Milliseconds; null when there is nothing to count.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FirstFrame {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub max: Option<f64>,
}

impl Percentiles {
    /// Percentiles of `durations`.
    pub fn of(durations: &mut [Duration]) -> Self {
        let mut values: Vec<f64> = durations
            .iter()
            .map(|duration| duration.as_secs_f64() * 1e3)
            .collect();
        Self::of_values(&mut values)
    }

    /// Percentiles of `values` of any unit, which this sorts.
    pub fn of_values(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent| percentile(values, percent);
        Self {
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }
}

impl FirstFrame {
    /// Percentiles of `durations`.
    pub fn of(durations: &mut [Duration]) -> Self {
        let Percentiles { p50, p95, max, .. } = Percentiles::of(durations);
        Self { p50, p95, max }
    }
}

/// Nearest rank: the smallest value that `percent` of the values do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let value = sorted.get(rank - 1)?;
    Some((value * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |values: &[u64]| {
            let mut durations: Vec<_> =
                values.iter().map(|ms| Duration::from_millis(*ms)).collect();
            let Percentiles { p50, p95, p99, max } = Percentiles::of(&mut durations);
            [p50, p95, p99, max].map(|value| value.map(|value| value as u64))
        };
        let hundred: Vec<u64> = (1..=100).rev().collect();
        for (values, expected) in [
            (&[][..], [None; 4]),
            (&[7], [Some(7); 4]),
            (&[2, 1], [Some(1), Some(2), Some(2), Some(2)]),
            (&[3, 1, 2], [Some(2), Some(3), Some(3), Some(3)]),
            (&hundred, [Some(50), Some(95), Some(99), Some(100)]),
        ] {
            assert_eq!(of(values), expected, "{values:?}");
        }
    }

    #[test]
    fn milliseconds_keep_three_places() {
        let mut one = [Duration::from_nanos(1_234_567)];
        assert_eq!(Percentiles::of(&mut one).max, Some(1.235));
    }
}
