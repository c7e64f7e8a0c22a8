//! Two sides, each one run or several: which figures differ by more than noise.

use std::fmt;

use super::figures::{Better, FIGURES, Figure, Spread};
use super::{Report, summary};

mod page;
mod text;

pub use page::page;

/// Single runs of the same server on the same machine differ by this much; measured on shared
/// machines, where the same build differs from itself by some 10% from run to run.
const NOISE_OF_ONE: f64 = 0.10;

/// Smallest difference that counts between several runs on each side. Their ranges must not overlap
/// either.
const NOISE_OF_SEVERAL: f64 = 0.03;

/// A report and where it came from.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub report: Report,
}

/// Both sides and what became of each figure.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub a: Vec<String>,
    pub b: Vec<String>,
    /// Reasons not to trust it.
    pub warnings: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One figure on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) figure: &'static Figure,
    pub(crate) a: Option<Spread>,
    pub(crate) b: Option<Spread>,
    /// The second through the first; None if that cannot be said.
    pub(crate) ratio: Option<f64>,
    pub(crate) change: Change,
}

/// The change of a figure from the first side to the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Better,
    Worse,
    /// The sides differ, and neither is better.
    Different,
    /// The sides differ by less than the noise.
    Same,
    /// One side did not measure it.
    Unknown,
}

/// The reason that two sides were not compared.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// These runs are not valid.
    #[error("not valid, so not compared (--force does it all the same):\n{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// A side without a run.
    #[error("each side needs a report")]
    Nothing,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Different => "different",
            Self::Same => "same",
            Self::Unknown => "",
        })
    }
}

/// Compares the medians of both sides. Refuses invalid runs unless forced.
pub fn compare(a: &[Named], b: &[Named], force: bool) -> Result<Comparison, Refusal> {
    if a.is_empty() || b.is_empty() {
        return Err(Refusal::Nothing);
    }
    let both = || a.iter().chain(b);
    let invalid: Vec<String> = both()
        .filter(|run| !run.report.valid)
        .map(|run| format!("  {}: {}", run.name, reasons(&run.report)))
        .collect();
    if !invalid.is_empty() && !force {
        return Err(Refusal::Invalid(invalid));
    }
    let mut warnings: Vec<String> = invalid
        .iter()
        .map(|run| format!("not valid: {}", run.trim_start()))
        .collect();
    warnings.extend(differences(both().map(|run| &run.report)));
    let names = |side: &[Named]| side.iter().map(|run| run.name.clone()).collect();
    Ok(Comparison {
        a: names(a),
        b: names(b),
        warnings,
        rows: FIGURES
            .iter()
            .map(|figure| row(figure, a, b))
            .filter(|row| row.a.is_some() || row.b.is_some())
            .collect(),
    })
}

fn reasons(report: &Report) -> String {
    match report.invalid_reasons.is_empty() {
        true => "it does not say that it is".into(),
        false => report.invalid_reasons.join("; "),
    }
}

/// The facts that the runs should have in common and do not.
fn differences<'a>(reports: impl Iterator<Item = &'a Report> + Clone) -> Vec<String> {
    type Said = fn(&Report) -> String;
    const SAME: [(&str, Said); 9] = [
        ("machine", |report| report.machine.clone()),
        ("scenario", summary::name),
        ("rooms", |report| report.rooms.to_string()),
        ("people in a room", |report| {
            let talkers = report.talkers;
            format!(
                "{} + {} ({talkers} sending)",
                report.publishers, report.subscribers
            )
        }),
        ("media", |report| {
            format!(
                "{} video{}",
                report.video,
                if report.audio { " and audio" } else { "" }
            )
        }),
        ("bots", |report| report.bot.clone()),
        ("duration", |report| format!("{:.0} s", report.duration_s)),
        ("server's cores", |report| {
            format!("{:?}", report.server.cores)
        }),
        ("bots' cores", |report| {
            format!("{:?}", report.generator.cores)
        }),
    ];
    let mut warnings = Vec::new();
    for (what, said) in SAME {
        let mut found: Vec<String> = Vec::new();
        for value in reports.clone().map(said) {
            if !found.contains(&value) {
                found.push(value);
            }
        }
        if found.len() > 1 {
            warnings.push(format!("{what} differs: {}", found.join(" / ")));
        }
    }
    warnings
}

fn row(figure: &'static Figure, a: &[Named], b: &[Named]) -> Row {
    let spread =
        |side: &[Named]| Spread::of(side.iter().filter_map(|run| (figure.value)(&run.report)));
    let (a, b) = (spread(a), spread(b));
    let (ratio, change) = match (a, b) {
        (Some(a), Some(b)) => (
            (a.median != 0.0).then(|| b.median / a.median),
            change(figure.better, &a, &b),
        ),
        _ => (None, Change::Unknown),
    };
    Row {
        figure,
        a,
        b,
        ratio,
        change,
    }
}

fn change(better: Better, a: &Spread, b: &Spread) -> Change {
    let size = a.median.abs().max(b.median.abs());
    let difference = (b.median - a.median).abs();
    let beyond = if a.runs > 1 && b.runs > 1 {
        (a.high < b.low || b.high < a.low) && difference > size * NOISE_OF_SEVERAL
    } else {
        difference > size * NOISE_OF_ONE
    };
    let grew = b.median > a.median;
    match (beyond, better) {
        (false, _) => Change::Same,
        (true, Better::Neither) => Change::Different,
        (true, Better::Higher) if grew => Change::Better,
        (true, Better::Lower) if !grew => Change::Better,
        (true, _) => Change::Worse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use proptest::prelude::*;

    fn named(name: &str, change: impl FnOnce(&mut Report)) -> Named {
        let mut report = sample::report(60);
        change(&mut report);
        Named {
            name: name.into(),
            report,
        }
    }

    fn cost(ns: f64) -> impl FnOnce(&mut Report) {
        move |report| report.server.cpu_ns_per_packet = Some(ns)
    }

    fn row_of<'a>(comparison: &'a Comparison, key: &str) -> &'a Row {
        let found = comparison.rows.iter().find(|row| row.figure.key == key);
        found.unwrap()
    }

    #[test]
    fn single_runs_differ_beyond_a_tenth() {
        for (ns, expected) in [
            (2_600.0, Change::Same),
            (3_000.0, Change::Worse),
            (2_000.0, Change::Better),
        ] {
            let comparison =
                compare(&[named("a", |_| {})], &[named("b", cost(ns))], false).unwrap();
            let row = row_of(&comparison, "cpu_per_packet");
            assert_eq!(row.change, expected, "{ns}");
            assert_eq!(row.ratio, Some(ns / 2_500.0));
            assert_eq!(row_of(&comparison, "delay_p99").change, Change::Same);
            assert!(comparison.warnings.is_empty());
        }
    }

    #[test]
    fn several_runs_differ_when_their_ranges_do() {
        let side = |name: &str, costs: [f64; 3]| costs.map(|ns| named(name, cost(ns))).to_vec();
        let a = side("a", [2_500.0, 2_600.0, 2_400.0]);
        for (costs, expected) in [
            ([2_250.0, 2_300.0, 2_350.0], Change::Better),
            ([2_350.0, 2_300.0, 2_450.0], Change::Same),
            ([2_700.0, 2_750.0, 2_610.0], Change::Worse),
        ] {
            let comparison = compare(&a, &side("b", costs), false).unwrap();
            assert_eq!(
                row_of(&comparison, "cpu_per_packet").change,
                expected,
                "{costs:?}"
            );
        }
    }

    #[test]
    fn invalid_runs_are_refused() {
        let invalid = named("b", |report| {
            report.valid = false;
            report.invalid_reasons = vec!["the generator was full".into()];
        });
        let (a, b) = ([named("a", |_| {})], [invalid]);
        let refusal = compare(&a, &b, false).unwrap_err();
        assert!(
            refusal.to_string().contains("b: the generator was full"),
            "{refusal}"
        );
        let forced = compare(&a, &b, true).unwrap();
        assert_eq!(forced.warnings, ["not valid: b: the generator was full"]);
        assert_eq!(compare(&a, &[], true).unwrap_err(), Refusal::Nothing);
    }

    #[test]
    fn other_circumstances_are_a_warning() {
        let other = named("b", |report| {
            report.machine = "another".into();
            report.subscribers = 50;
        });
        let comparison = compare(&[named("a", |_| {})], &[other], false).unwrap();
        assert_eq!(comparison.warnings.len(), 2, "{:?}", comparison.warnings);
        assert!(comparison.warnings[0].starts_with("machine differs: 2 x Processor"));
    }

    #[test]
    fn what_one_side_lacks_is_unknown() {
        let without = named("b", |report| report.floor = None);
        let comparison = compare(&[named("a", |_| {})], &[without], false).unwrap();
        let row = row_of(&comparison, "floor_ratio_gso");
        assert_eq!((row.change, row.ratio), (Change::Unknown, None));
    }

    proptest! {
        #[test]
        fn turned_around_better_is_worse(
            a in proptest::collection::vec(0.0..1e6_f64, 1..5),
            b in proptest::collection::vec(0.0..1e6_f64, 1..5),
        ) {
            let spread = |values: &[f64]| Spread::of(values.iter().copied()).unwrap();
            let (a, b) = (spread(&a), spread(&b));
            let turned = match change(Better::Lower, &a, &b) {
                Change::Better => Change::Worse,
                Change::Worse => Change::Better,
                other => other,
            };
            prop_assert_eq!(change(Better::Lower, &b, &a), turned);
            prop_assert_eq!(change(Better::Lower, &a, &a), Change::Same);
        }
    }
}
