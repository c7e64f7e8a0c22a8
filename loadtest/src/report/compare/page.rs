//! A comparison as a page.

use super::text::side;
use super::{Change, Comparison, Row};
use crate::report::figures::Group;
use crate::report::html::document;
use crate::report::html::markup::Markup;

/// The comparison as one file, like a report's page.
pub fn page(comparison: &Comparison) -> String {
    document("Load test: comparison", |main| {
        main.element("header", &[], |header| {
            header.leaf("p", &[("class", "kind")], "Tertulia load test");
            header.leaf("h1", &[], "Comparison");
            header.element("dl", &[], |list| {
                for (name, files) in [("A", &comparison.a), ("B", &comparison.b)] {
                    list.element("div", &[], |fact| {
                        fact.leaf("dt", &[], name);
                        fact.leaf("dd", &[], &files.join(", "));
                    });
                }
            });
            if !comparison.warnings.is_empty() {
                header.element("div", &[("class", "verdict invalid")], |verdict| {
                    verdict.element("p", &[], |line| line.leaf("strong", &[], "Caution"));
                    verdict.element("ul", &[], |list| {
                        for warning in &comparison.warnings {
                            list.leaf("li", &[], warning);
                        }
                    });
                });
            }
        });
        main.element("section", &[], |section| {
            section.leaf("h2", &[], "In short");
            section.leaf("p", &[], &in_short(comparison));
        });
        main.element("section", &[], |section| {
            section.leaf("h2", &[], "Every figure");
            section.element("div", &[("class", "scroll")], |scroll| table(scroll, comparison));
            section.leaf(
                "p",
                &[("class", "about")],
                "Medians, and the range over the runs of a side if there are several. With several runs on both sides a figure \
                 differs if the ranges do not overlap and the medians are more than 3% apart; otherwise if they are more than 10% apart.",
            );
        });
    })
}

fn in_short(comparison: &Comparison) -> String {
    let of = |change| {
        let rows = comparison
            .rows
            .iter()
            .filter(move |row| row.change == change);
        rows.map(|row| row.figure.name).collect::<Vec<_>>()
    };
    let named = |names: Vec<&str>, what: &str| match names.is_empty() {
        true => format!("Nothing is {what}."),
        false => format!("{} {what}: {}.", names.len(), names.join(", ")),
    };
    format!(
        "{} {}",
        named(of(Change::Worse), "worse"),
        named(of(Change::Better), "better")
    )
}

fn table(scroll: &mut Markup, comparison: &Comparison) {
    scroll.element("table", &[("class", "figures")], |table| {
        table.element("thead", &[], |head| {
            head.element("tr", &[], |row| {
                row.leaf("td", &[], "");
                for name in ["A", "B", "B/A"] {
                    row.leaf("th", &[("scope", "col"), ("class", "value")], name);
                }
                row.leaf("th", &[("scope", "col")], "change");
            });
        });
        for group in Group::ALL {
            let rows: Vec<_> = comparison
                .rows
                .iter()
                .filter(|row| row.figure.group == group)
                .collect();
            if rows.is_empty() {
                continue;
            }
            table.element("tbody", &[], |body| {
                body.element("tr", &[("class", "group")], |row| {
                    row.leaf(
                        "th",
                        &[("colspan", "5"), ("scope", "rowgroup")],
                        group.name(),
                    );
                });
                for row in rows {
                    line(body, row);
                }
            });
        }
    });
}

fn line(body: &mut Markup, row: &Row) {
    let unit = row.figure.unit;
    let (class, sign) = match row.change {
        Change::Better => ("change better", "\u{2713} "),
        Change::Worse => ("change worse", "\u{2717} "),
        _ => ("change", ""),
    };
    body.element("tr", &[("data-figure", row.figure.key)], |line| {
        line.leaf(
            "th",
            &[("scope", "row"), ("title", row.figure.about)],
            row.figure.name,
        );
        line.leaf("td", &[("class", "value")], &side(unit, row.a));
        line.leaf("td", &[("class", "value")], &side(unit, row.b));
        let ratio = row.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        line.leaf("td", &[("class", "value")], &ratio);
        line.leaf("td", &[("class", class)], &format!("{sign}{}", row.change));
    });
}

#[cfg(test)]
mod tests {
    use super::super::{Named, compare};
    use super::*;
    use crate::report::sample;

    #[test]
    fn worse_is_marked_and_names_are_escaped() {
        let named = |name: &str, ns: f64| {
            let mut report = sample::report(60);
            report.server.cpu_ns_per_packet = Some(ns);
            report.machine = name.into();
            Named {
                name: name.into(),
                report,
            }
        };
        let comparison = compare(&[named("<a>", 2_500.0)], &[named("<b>", 3_200.0)], false);
        let html = page(&comparison.unwrap());
        for part in [
            "1 worse: CPU per packet. Nothing is better.",
            "<td class=\"value\">1.28</td><td class=\"change worse\">\u{2717} worse</td>",
            "<dd>&lt;a&gt;</dd>",
            "machine differs: &lt;a&gt; / &lt;b&gt;",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
    }
}
