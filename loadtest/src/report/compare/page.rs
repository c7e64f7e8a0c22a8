//! A comparison as a page.

use serde_json::{Value, json};

use super::text::cells;
use super::{Change, Comparison, Row};
use crate::report::html::document;

const NOTE: &str = "Medians, and the range over the runs of a side if there are several. With several runs on both sides a figure \
     differs if the ranges do not overlap and the medians are more than 3% apart; otherwise if they are more than 10% apart.";

/// The comparison as one file, like a report's page.
pub fn page(comparison: &Comparison) -> String {
    let caution = (!comparison.warnings.is_empty()).then(|| {
        json!({ "class": "invalid", "word": "Caution", "meaning": "", "reasons": comparison.warnings, "details": [] })
    });
    document(json!({
        "kind": "Tertulia load test",
        "title": "Comparison",
        "verdict": caution,
        "facts": [("A", comparison.a.join(", ")), ("B", comparison.b.join(", "))],
        "comparison": {
            "short": in_short(comparison),
            "note": NOTE,
            "rows": comparison.rows.iter().map(row).collect::<Vec<_>>(),
        },
    }))
}

fn row(row: &Row) -> Value {
    let [name, a, b, ratio, change] = cells(row);
    let (key, group) = (row.figure.key, row.figure.group);
    json!({ "key": key, "group": group, "title": row.figure.about, "name": name, "a": a, "b": b, "ratio": ratio, "change": change })
}

fn in_short(comparison: &Comparison) -> String {
    let named = |change: Change| {
        let rows = comparison.rows.iter().filter(|row| row.change == change);
        let names: Vec<_> = rows.map(|row| row.figure.name).collect();
        match names.is_empty() {
            true => format!("Nothing is {change}."),
            false => format!("{} {change}: {}.", names.len(), names.join(", ")),
        }
    };
    format!("{} {}", named(Change::Worse), named(Change::Better))
}

#[cfg(test)]
mod tests {
    use super::super::{Named, compare};
    use super::*;
    use crate::report::html::tests::data;
    use crate::report::sample;

    #[test]
    fn worse_is_marked_and_differences_are_a_caution() {
        let named = |name: &str, ns: f64| {
            let mut report = sample::report(60);
            report.server.cpu_ns_per_packet = Some(ns);
            report.machine = name.into();
            Named {
                name: name.into(),
                report,
            }
        };
        let comparison = compare(&[named("one", 2_500.0)], &[named("other", 3_200.0)], false);
        let data = data(&page(&comparison.unwrap()));
        assert_eq!(
            data["comparison"]["short"],
            "1 worse: CPU per packet. Nothing is better."
        );
        let rows = data["comparison"]["rows"].as_array().unwrap();
        let cost = rows
            .iter()
            .find(|row| row["key"] == "cpu_per_packet")
            .unwrap();
        assert_eq!(
            (&cost["ratio"], &cost["change"]),
            (&"1.28".into(), &"worse".into())
        );
        assert_eq!(
            data["verdict"]["reasons"][0],
            "machine differs: one / other"
        );
    }
}
