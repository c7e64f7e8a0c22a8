//! The objective that a load must meet: `loss<0.1%,delay_p99<5ms`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::report::Spread;
use crate::report::figures::{FIGURES, Figure, Unit, figure};

/// Bounds that must all be kept.
#[derive(Clone, Debug)]
pub struct Objective(Vec<Bound>);

#[derive(Clone, Copy, Debug)]
struct Bound {
    figure: &'static Figure,
    side: Side,
    /// The limit in the figure's own unit.
    limit: f64,
}

/// The side of a limit on which a value keeps it: the sign, and the comparison of a value with the limit.
type Side = (&'static str, fn(&f64, &f64) -> bool);

/// Longer ones first, so that `<=` is not taken for `<`.
const SIDES: [Side; 4] = [
    ("<=", f64::le),
    (">=", f64::ge),
    ("<", f64::lt),
    (">", f64::gt),
];

impl Objective {
    /// The bounds that these figures do not keep, in words. A figure that was not measured does not
    /// keep its bound.
    pub fn unmet(&self, figures: &BTreeMap<String, Spread>) -> Vec<String> {
        let unmet = |bound: &Bound| match figures.get(bound.figure.key) {
            None => Some(format!("{} was not measured", bound.figure.key)),
            Some(found) if bound.side.1(&found.median, &bound.limit) => None,
            Some(found) => Some(format!(
                "{} is {}",
                bound.figure.key,
                bound.figure.unit.show(found.median)
            )),
        };
        self.0.iter().filter_map(unmet).collect()
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bound) in self.0.iter().enumerate() {
            let (sign, _) = bound.side;
            let limit = bound.figure.unit.show(bound.limit).replace(' ', "");
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} {sign} {limit}", bound.figure.key)?;
        }
        Ok(())
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bounds: Result<Vec<_>, _> = text.split(',').map(bound).collect();
        bounds.map(Self)
    }
}

fn bound(text: &str) -> Result<Bound, String> {
    let (key, side, limit) = SIDES
        .into_iter()
        .find_map(|side| {
            let (key, limit) = text.split_once(side.0)?;
            Some((key, side, limit))
        })
        .ok_or_else(|| format!("`{text}` is no bound: write loss<0.1% or delay_p99<5ms"))?;
    let key = key.trim();
    let figure = figure(key).ok_or_else(|| {
        let keys: Vec<_> = FIGURES.iter().map(|figure| figure.key).collect();
        format!("there is no figure `{key}`; there are {}", keys.join(", "))
    })?;
    let limit = limit.trim();
    let digits = limit
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-'))
        .unwrap_or(limit.len());
    let (number, unit) = limit.split_at(digits);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{limit}` is no number"))?;
    let scale = scale(figure.unit, unit.trim())
        .ok_or_else(|| format!("`{}` is no unit of {key}", unit.trim()))?;
    Ok(Bound {
        figure,
        side,
        limit: number * scale,
    })
}

fn scale(unit: Unit, written: &str) -> Option<f64> {
    let known: &[(&str, f64)] = match unit {
        Unit::Share => &[("%", 0.01), ("", 1.0)],
        Unit::Milliseconds => &[("ms", 1.0), ("us", 1e-3), ("\u{b5}s", 1e-3), ("s", 1e3)],
        Unit::Nanoseconds => &[("ns", 1.0), ("us", 1e3), ("\u{b5}s", 1e3), ("ms", 1e6)],
        Unit::Bytes => &[
            ("", 1.0),
            ("KiB", 1_024.0),
            ("MiB", 1_048_576.0),
            ("GiB", 1_073_741_824.0),
        ],
        Unit::Count => &[("", 1.0)],
        Unit::Times => &[("", 1.0), ("x", 1.0), ("\u{d7}", 1.0)],
        Unit::PerSecond => &[("", 1.0), ("/s", 1.0), ("k", 1e3), ("k/s", 1e3), ("M", 1e6)],
        Unit::MegabitsPerSecond => &[("", 1.0), ("Mbit/s", 1.0), ("Gbit/s", 1e3)],
        Unit::KilobitsPerSecond => &[("", 1.0), ("kbit/s", 1.0), ("Mbit/s", 1e3)],
    };
    known
        .iter()
        .find(|(name, _)| *name == written)
        .map(|(_, scale)| *scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(loss: f64, delay: f64) -> BTreeMap<String, Spread> {
        let spread = |value| Spread::of([value].into_iter()).unwrap();
        [("loss", loss), ("delay_p99", delay)]
            .map(|(key, value)| (key.to_owned(), spread(value)))
            .into()
    }

    #[test]
    fn bounds_are_kept_or_named() {
        let objective: Objective = "loss<0.1%, delay_p99<5ms".parse().unwrap();
        assert_eq!(objective.to_string(), "loss < 0.100%, delay_p99 < 5ms");
        assert!(objective.unmet(&figures(0.0009, 4.9)).is_empty());
        assert_eq!(objective.unmet(&figures(0.002, 4.9)), ["loss is 0.200%"]);
        assert_eq!(objective.unmet(&figures(0.0, 5.0)), ["delay_p99 is 5 ms"]);
        assert_eq!(
            objective.unmet(&BTreeMap::new()),
            ["loss was not measured", "delay_p99 was not measured"]
        );
    }

    #[test]
    fn units_and_signs() {
        for (text, limit) in [
            ("delay_p99<=500us", 0.5),
            ("delay_max<1s", 1_000.0),
            ("delivered>=99.9%", 0.999),
            ("cpu_per_packet<3us", 3_000.0),
            ("packets_s>300k", 300_000.0),
            ("rss<1GiB", 1_073_741_824.0),
            ("freezes<=0", 0.0),
        ] {
            let Objective(bounds) = text.parse().unwrap();
            assert!((bounds[0].limit - limit).abs() < 1e-9, "{text} {bounds:?}");
        }
        for text in [
            "",
            "loss",
            "los<1%",
            "loss<x",
            "delay_p99<5",
            "delay_p99<5%",
            "loss<1%,",
        ] {
            assert!(text.parse::<Objective>().is_err(), "{text}");
        }
    }
}
