//! A comparison in a terminal.

use std::fmt;

use super::{Comparison, Row};
use crate::report::figures::Spread;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "CAUTION  {warning}")?;
        }
        writeln!(f, "A: {}", self.a.join(", "))?;
        writeln!(f, "B: {}", self.b.join(", "))?;
        let cells: Vec<[String; 5]> = self.rows.iter().map(cells).collect();
        let heads = ["", "A", "B", "B/A", ""].map(str::to_owned);
        let width = |column: usize| {
            let all = cells.iter().chain([&heads]);
            all.map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..4).map(width).collect();
        let line = |row: &[String; 5]| {
            let mut text = format!("  {:<width$}", row[0], width = widths[0]);
            for (cell, &width) in row[1..4].iter().zip(&widths[1..]) {
                text += &format!("  {cell:>width$}");
            }
            let text = format!("{text}  {}", row[4]);
            text.trim_end().to_owned()
        };
        write!(f, "{}", line(&heads))?;
        let mut group = "";
        for (row, cells) in self.rows.iter().zip(&cells) {
            if row.figure.group != group {
                group = row.figure.group;
                write!(f, "\n{group}")?;
            }
            write!(f, "\n{}", line(cells))?;
        }
        Ok(())
    }
}

/// Name, both sides, ratio and change.
pub(super) fn cells(row: &Row) -> [String; 5] {
    let side = |spread: Option<Spread>| spread.map(|spread| spread.show(row.figure.unit));
    [
        row.figure.name.to_owned(),
        side(row.a).unwrap_or_else(|| "-".into()),
        side(row.b).unwrap_or_else(|| "-".into()),
        row.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")),
        row.change.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{Named, compare};
    use crate::report::sample;

    #[test]
    fn a_table_as_it_is_printed() {
        let named = |name: &str, ns: f64| {
            let mut report = sample::report(60);
            report.server.cpu_ns_per_packet = Some(ns);
            Named {
                name: name.into(),
                report,
            }
        };
        let a = [named("a1", 2_500.0), named("a2", 2_520.0)];
        let b = [named("b1", 3_100.0), named("b2", 3_120.0)];
        let text = compare(&a, &b, false).unwrap().to_string();
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "A: a1, a2",
            "A B B/A",
            "Server",
            "CPU per packet 2.51 \u{b5}s (2.50 \u{b5}s to 2.52 \u{b5}s) 3.11 \u{b5}s (3.10 \u{b5}s to 3.12 \u{b5}s) 1.24 worse",
            "Delivered 99.995% 99.995% 1.00 same",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}\n{text}");
        }
    }
}
