//! A sweep in a terminal.

use std::fmt;

use super::{Ended, Point, SweepReport, Verdict};
use crate::report::figures::figure;

/// The columns of the curve.
const COLUMNS: [(&str, &str); 7] = [
    ("delay_p50", "p50"),
    ("delay_p99", "p99"),
    ("loss", "loss"),
    ("packets_s", "packets"),
    ("server_cpu", "server"),
    ("cpu_per_packet", "a packet"),
    ("generator_cpu", "generator"),
];

impl Point {
    /// The point in one line.
    pub fn line(&self) -> String {
        let mut line = format!("{:>7}", self.load);
        for (key, _) in COLUMNS {
            line += &format!("  {:>12}", self.show(key));
        }
        line += match self.verdict {
            Verdict::Meets => "  meets it",
            Verdict::Misses => "  misses it",
            Verdict::GeneratorLimited => "  generator full",
        };
        line
    }

    /// The heads of the lines.
    pub fn heads() -> String {
        let heads = COLUMNS.map(|(_, head)| format!("  {head:>12}"));
        format!("{:>7}{}", "load", heads.concat())
    }

    /// A figure's median.
    pub(super) fn show(&self, key: &str) -> String {
        let shown = figure(key).and_then(|figure| {
            let spread = self.figures.get(key)?;
            Some(figure.unit.show(spread.median))
        });
        shown.unwrap_or_else(|| "-".into())
    }
}

impl SweepReport {
    /// The outcome in a sentence or two.
    pub fn outcome(&self) -> String {
        let over = self.over.map_or_else(String::new, |over| over.to_string());
        let largest = self
            .largest
            .map_or_else(|| "none".into(), |load| load.to_string());
        match self.ended {
            Some(Ended::Found) => {
                format!("{largest} {over} is the largest load that meets the objective.")
            }
            Some(Ended::EverythingMeets) => {
                format!(
                    "Every load meets the objective, up to {largest} {over}: the limit lies beyond."
                )
            }
            Some(Ended::NothingMeets) => {
                "Even the lightest load does not meet the objective.".into()
            }
            Some(Ended::GeneratorLimited) if self.largest.is_none() => {
                "The load generator is the bottleneck already at the lightest load.".into()
            }
            Some(Ended::GeneratorLimited) => format!(
                "At least {largest} {over}: beyond it the load generator is the bottleneck, and nothing is known of the server."
            ),
            Some(Ended::Interrupted) | None => {
                format!(
                    "Interrupted; the largest load so far that meets the objective is {largest}."
                )
            }
        }
    }
}

impl fmt::Display for SweepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.circumstances)?;
        writeln!(
            f,
            "objective: {} (medians of {})",
            self.objective, self.repeat
        )?;
        writeln!(f, "{}", Point::heads())?;
        for point in &self.points {
            writeln!(f, "{}", point.line())?;
        }
        if let Some(point) = &self.at_70 {
            writeln!(f, "at 70% of it:\n{}", point.line())?;
        }
        if let Some(knee) = self.knee {
            writeln!(
                f,
                "delay p99 stays below twice that of the lightest load up to {knee}"
            )?;
        }
        write!(f, "{}", self.outcome())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::swept;

    #[tokio::test]
    async fn a_sweep_in_words() {
        let text = swept(300.0, 10_000.0).await.to_string();
        assert!(
            text.contains("objective: loss < 0.100%, delay_p99 < 5ms (medians of 3)"),
            "{text}"
        );
        assert!(
            text.contains("misses it") && text.contains("at 70% of it:"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "subscribers in each room is the largest load that meets the objective."
            ),
            "{text}"
        );
        let text = swept(10_000.0, 200.0).await.to_string();
        assert!(text.contains("generator full"), "{text}");
        assert!(
            text.contains("the load generator is the bottleneck"),
            "{text}"
        );
    }
}
