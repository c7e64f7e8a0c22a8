//! Maps values to places on an axis, and places its marks.

/// Marks an axis has at least room for; there may be up to twice as many.
const MARKS: f64 = 5.0;

/// Steps of a clock, in seconds, that people count in.
const CLOCK_STEPS: [f64; 15] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
    14_400.0,
];

/// An axis from `low` to `high`, which are marks themselves unless it is a clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Linear { step: f64 },
    Log,
}

impl Scale {
    /// A scale from 0, or from below it for negative values, to the next mark above all values.
    pub(crate) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values.chain([0.0])).unwrap_or((0.0, 1.0));
        let high = if high > low { high } else { low + 1.0 };
        let step = nice_step((high - low) / MARKS);
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step,
            kind: Kind::Linear { step },
        }
    }

    /// Powers of ten around all values above 0; the others cannot be shown.
    pub(crate) fn log(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values.filter(|value| *value > 0.0)).unwrap_or((0.1, 1.0));
        // No measurement lies beyond these.
        let (low, high) = (low.clamp(1e-12, 1e15), high.clamp(1e-12, 1e15));
        let below = 10_f64.powf(low.log10().floor());
        let mut above = 10_f64.powf(high.log10().ceil());
        if above <= below * 1.000_001 {
            above = below * 10.0;
        }
        Self {
            low: below,
            high: above,
            kind: Kind::Log,
        }
    }

    /// Time from 0 (or the first second there is) to exactly the last.
    pub(crate) fn clock(seconds: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(seconds).unwrap_or((0.0, 1.0));
        let high = if high > low { high } else { low + 1.0 };
        let wanted = (high - low) / MARKS;
        let step = CLOCK_STEPS.into_iter().find(|step| *step >= wanted);
        Self {
            low,
            high,
            kind: Kind::Linear {
                step: step.unwrap_or_else(|| nice_step(wanted / 86_400.0) * 86_400.0),
            },
        }
    }

    /// The place of a value, 0 at the low end and 1 at the high one; values beyond them lie at
    /// them. None if it has no place.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let share = match self.kind {
            Kind::Linear { .. } => (value - self.low) / (self.high - self.low),
            Kind::Log if value > 0.0 => (value / self.low).ln() / (self.high / self.low).ln(),
            Kind::Log => return None,
        };
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }

    /// The high end.
    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    /// The values to be marked, ascending.
    pub(crate) fn marks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Linear { step } => {
                let first = (self.low / step).ceil();
                let count = ((self.high / step + 1e-9).floor() - first).clamp(0.0, 50.0) as u32;
                (0..=count)
                    .map(|index| (first + f64::from(index)) * step)
                    .collect()
            }
            Kind::Log => {
                let decades = (self.high / self.low).log10().round().max(1.0) as i32;
                let within: &[f64] = match decades {
                    1 => &[1.0, 2.0, 5.0],
                    2 => &[1.0, 3.0],
                    _ => &[1.0],
                };
                let every = (decades + 7) / 8;
                let mut marks: Vec<f64> = (0..decades)
                    .step_by(every.max(1) as usize)
                    .flat_map(|decade| within.iter().map(move |part| (decade, part)))
                    .map(|(decade, part)| self.low * 10_f64.powi(decade) * part)
                    .collect();
                marks.push(self.high);
                marks
            }
        }
    }
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|value| value.is_finite())
        .fold(None, |extent, value| {
            let (low, high) = extent.unwrap_or((value, value));
            Some((value.min(low), value.max(high)))
        })
}

/// 1, 2 or 5 times a power of ten, at least `wanted`.
fn nice_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.max(1e-12).log10().floor());
    let nice = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|nice| nice * power >= wanted);
    nice.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_round() {
        let linear = |values: &[f64]| Scale::linear(values.iter().copied()).marks();
        assert_eq!(
            linear(&[]),
            [0.0, 0.2, 0.4, 0.600_000_000_000_000_1, 0.8, 1.0]
        );
        assert_eq!(linear(&[3.0, 97.0]), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(linear(&[-4.0, 4.0]), [-4.0, -2.0, 0.0, 2.0, 4.0]);
        let log = |values: &[f64]| Scale::log(values.iter().copied()).marks();
        assert_eq!(log(&[2.0, 7.0]), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(log(&[0.5, 120.0])[..3], [0.1, 1.0, 10.0]);
        assert_eq!(log(&[0.0, f64::NAN]), [0.1, 0.2, 0.5, 1.0]);
        let clock = |seconds: &[f64]| Scale::clock(seconds.iter().copied()).marks();
        assert_eq!(clock(&[0.0, 62.0]), [0.0, 15.0, 30.0, 45.0, 60.0]);
        assert_eq!(clock(&[0.0, 3_599.0]), [0.0, 900.0, 1_800.0, 2_700.0]);
    }

    proptest! {
        #[test]
        fn every_value_is_within_and_in_order(
            mut values in proptest::collection::vec(-1e9..1e9_f64, 1..50),
        ) {
            values.sort_by(f64::total_cmp);
            for scale in [
                Scale::linear(values.iter().copied()),
                Scale::log(values.iter().copied()),
                Scale::clock(values.iter().copied()),
            ] {
                let places: Vec<f64> = values.iter().filter_map(|value| scale.place(*value)).collect();
                prop_assert!(places.iter().all(|place| (0.0..=1.0).contains(place)));
                prop_assert!(places.windows(2).all(|pair| pair[0] <= pair[1]));
                let marks = scale.marks();
                prop_assert!((1..=14).contains(&marks.len()), "{marks:?}");
                prop_assert!(marks.windows(2).all(|pair| pair[0] < pair[1]), "{marks:?}");
            }
        }

        #[test]
        fn linear_and_log_ends_are_marked(
            values in proptest::collection::vec(1e-3..1e9_f64, 1..50),
        ) {
            for scale in [Scale::linear(values.iter().copied()), Scale::log(values.iter().copied())] {
                let marks = scale.marks();
                prop_assert!(scale.place(marks[0]).unwrap() < 1e-9);
                prop_assert!(scale.place(*marks.last().unwrap()).unwrap() > 1.0 - 1e-9);
                let most = values.iter().copied().fold(0.0, f64::max);
                prop_assert!(scale.high() >= most * 0.999_999);
            }
        }

        #[test]
        fn a_step_is_one_two_or_five(wanted in 1e-6..1e9_f64) {
            let step = nice_step(wanted);
            prop_assert!(step >= wanted * 0.999_999 && step < wanted * 5.001);
            let lead = step / 10_f64.powf(step.log10().floor());
            prop_assert!([1.0, 2.0, 5.0, 10.0].iter().any(|nice| (lead - nice).abs() < 1e-6), "{step}");
        }
    }
}
