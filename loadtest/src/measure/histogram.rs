//! Durations by the million: counted in buckets, a thousandth apart.

use std::time::Duration;

use hdrhistogram::Histogram as Buckets;

use crate::report::Percentiles;

/// A minute: whatever takes longer is lost, not late.
const MAX_MICROS: u64 = 60_000_000;

/// Durations in microseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Histogram {
    micros: Buckets<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        let micros = Buckets::new_with_bounds(1, MAX_MICROS, 3);
        Self {
            micros: micros.expect("the bounds are constants"),
        }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(MAX_MICROS);
        self.micros.saturating_record(micros);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing is out of range.
        let _ = self.micros.add(&other.micros);
    }

    /// The number of values counted.
    pub fn count(&self) -> u64 {
        self.micros.len()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.micros.reset();
    }

    /// Percentiles in milliseconds; none if nothing was counted.
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile: f64| {
            (!self.micros.is_empty()).then(|| self.micros.value_at_quantile(quantile) as f64 / 1e3)
        };
        Percentiles {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: (!self.micros.is_empty()).then(|| self.micros.max() as f64 / 1e3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), Percentiles::default());
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        let near = |value: Option<f64>, exact: f64| (value.unwrap() / exact - 1.0).abs() < 1.1e-3;
        let Percentiles { p50, p95, p99, max } = histogram.percentiles();
        assert!(near(p50, 50.0) && near(p95, 95.0) && near(p99, 99.0) && near(max, 100.0));
        let mut both = Histogram::default();
        both.record(Duration::from_secs(3_600));
        both.merge(&histogram);
        assert_eq!(both.count(), 100_001);
        assert!(near(both.percentiles().max, 60_000.0));
        both.clear();
        assert_eq!(both.count(), 0);
    }
}
