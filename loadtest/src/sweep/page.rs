//! A sweep as a page: curves of the figures that grow with load.

use super::{Ended, Point, SweepReport, Verdict};
use crate::report::figures::{Unit, figure};
use crate::report::html::document;
use crate::report::html::lines::{Axis, Lines, Mark, Series, Shape, legend_of_marks};
use crate::report::html::markup::Markup;
use crate::report::number::readable;

/// The sentence about the working point.
const WORKING: [&str; 9] = [
    "loss",
    "delivered",
    "delay_p50",
    "delay_p99",
    "delay_max",
    "packets_s",
    "server_cpu",
    "cpu_per_packet",
    "generator_cpu",
];

/// The sweep as one file, like a report's page.
pub fn page(sweep: &SweepReport) -> String {
    document(&format!("Load sweep: {}", sweep.scenario), |main| {
        header(main, sweep);
        if let Some(point) = &sweep.at_70 {
            working_point(main, point);
        }
        let over = sweep.over.map_or_else(String::new, |over| over.to_string());
        let marks = marks(sweep);
        main.element("section", &[("id", "curves")], |section| {
            section.leaf("h2", &[], "Against load");
            legend_of_marks(section, &marks, readable);
            section.element("div", &[("class", "charts")], |grid| {
                curves(grid, sweep, &over, &marks);
            });
        });

        points(main, sweep, &over);
    })
}

fn header(main: &mut Markup, sweep: &SweepReport) {
    let (class, word) = match sweep.ended {
        Some(Ended::Found | Ended::EverythingMeets) => ("passed", "Found"),
        Some(Ended::NothingMeets) => ("failed", "Too much"),
        _ => ("invalid", "Open"),
    };
    main.element("header", &[], |header| {
        header.leaf("p", &[("class", "kind")], "Tertulia load sweep");
        header.leaf("h1", &[], &sweep.scenario);
        header.leaf("p", &[("class", "what")], &sweep.circumstances);
        let class = format!("verdict {class}");
        header.element("div", &[("class", &class), ("role", "status")], |verdict| {
            verdict.element("p", &[], |line| {
                line.leaf("strong", &[], word);
                line.text(" ");
                line.text(&sweep.outcome());
            });
        });
        let runs = format!("{} of each load; medians", sweep.repeat);
        header.element("dl", &[], |list| {
            for (name, value) in [
                ("Objective", sweep.objective.as_str()),
                ("Runs", &runs),
                ("Machine", &sweep.machine),
                ("Load tester", &sweep.version),
            ] {
                list.element("div", &[], |fact| {
                    fact.leaf("dt", &[], name);
                    fact.leaf("dd", &[], value);
                });
            }
        });
    });
}

fn working_point(main: &mut Markup, point: &Point) {
    main.element("section", &[("id", "working-point")], |section| {
        let met = match point.verdict {
            Verdict::Meets => "objective met",
            Verdict::Misses => "objective NOT met",
            Verdict::GeneratorLimited => "the generator was full",
        };
        let title = format!("At 70% of it: {}, {met}", readable(point.load as f64));
        section.leaf("h2", &[], &title);
        section.element("div", &[("class", "tiles")], |grid| {
            for key in WORKING {
                let Some(figure) = figure(key) else { continue };
                let Some(spread) = point.figures.get(key) else {
                    continue;
                };
                let (number, unit) = figure.unit.parts(spread.median);
                grid.element("div", &[("class", "tile"), ("data-figure", key)], |tile| {
                    tile.leaf("h3", &[], figure.name);
                    tile.element("p", &[("class", "number")], |text| {
                        text.text(&number);
                        text.text(" ");
                        text.leaf("small", &[], unit);
                    });
                    if spread.low < spread.high {
                        let (low, high) =
                            (figure.unit.show(spread.low), figure.unit.show(spread.high));
                        tile.leaf("p", &[("class", "beside")], &format!("{low} to {high}"));
                    }
                    tile.leaf("p", &[("class", "about")], figure.about);
                });
            }
        });
    });
}

fn marks(sweep: &SweepReport) -> Vec<Mark<'static>> {
    let mut marks = Vec::new();
    let mut mark = |at: Option<u64>, what| {
        marks.extend(at.map(|at| Mark {
            at: at as f64,
            what,
        }));
    };
    mark(
        sweep.knee,
        "up to here delay p99 stays below twice that of the lightest load",
    );
    mark(
        sweep.at_70.as_ref().map(|point| point.load),
        "70% of the largest load",
    );
    mark(sweep.largest, "the largest load that meets the objective");
    marks
}

fn curves(grid: &mut Markup, sweep: &SweepReport, over: &str, marks: &[Mark<'static>]) {
    let mut points: Vec<&Point> = sweep.points.iter().chain(&sweep.at_70).collect();
    points.sort_by_key(|point| point.load);
    points.dedup_by_key(|point| point.load);
    let xs: Vec<f64> = points.iter().map(|point| point.load as f64).collect();
    let values = |key: &str| -> Vec<Option<f64>> {
        let scale = match figure(key).map(|figure| figure.unit) {
            Some(Unit::Share) => 100.0,
            Some(Unit::Nanoseconds) => 1e-3,
            _ => 1.0,
        };
        let value = |point: &&Point| {
            // A generator at its limit says nothing about the server.
            let known = point.verdict != Verdict::GeneratorLimited || key == "generator_cpu";
            let spread = point.figures.get(key).filter(|_| known)?;
            Some(spread.median * scale)
        };
        points.iter().map(value).collect()
    };
    let mut chart = |id, title, unit, about, log, curves: &[(&'static str, &str)]| {
        let series = curves.iter().map(|(name, key)| Series {
            name,
            values: values(key),
            shape: Shape::Dots,
        });
        let chart = Lines {
            id,
            title,
            unit,
            about,
            x: Axis::Load(over),
            log,
            xs: &xs,
            series: series.collect(),
            marks: marks.to_vec(),
        };
        chart.write(grid);
    };
    chart(
        "delay",
        "Forwarding delay",
        "ms, each step ten times the one below",
        "Medians over the runs of a load. Loads at which the generator was full are left out.",
        true,
        &[("p50", "delay_p50"), ("p99", "delay_p99")],
    );
    chart(
        "loss",
        "Lost",
        "% of the packets expected",
        "Gaps in sequence numbers that stayed.",
        false,
        &[("lost", "loss")],
    );
    chart(
        "cpu",
        "Processor time",
        "% of the cores each may use",
        "A server near 100% is saturated; a load generator near 100% measures itself.",
        false,
        &[
            ("server", "server_cpu"),
            ("load generator", "generator_cpu"),
        ],
    );
    chart(
        "packets",
        "Packets to viewers",
        "a second",
        "Delivered to all viewers together.",
        false,
        &[("delivered", "packets_s")],
    );
    chart(
        "cost",
        "CPU per packet",
        "\u{b5}s",
        "The server's processor time through the packets delivered: it falls while runs grow longer.",
        false,
        &[("server", "cpu_per_packet")],
    );
    chart(
        "runs",
        "Packets per message",
        "to the kernel",
        "The longer the runs (GSO), the cheaper each packet.",
        false,
        &[("mean run", "packets_per_message")],
    );
}

fn points(main: &mut Markup, sweep: &SweepReport, over: &str) {
    const COLUMNS: [&str; 6] = [
        "delay_p50",
        "delay_p99",
        "loss",
        "packets_s",
        "server_cpu",
        "generator_cpu",
    ];
    main.element("section", &[("id", "points")], |section| {
        section.leaf("h2", &[], "Every point");
        section.element("div", &[("class", "scroll")], |scroll| {
            scroll.element("table", &[("class", "figures")], |table| {
                table.element("thead", &[], |head| {
                    head.element("tr", &[], |row| {
                        row.leaf("th", &[("scope", "col")], over);
                        for key in COLUMNS {
                            let name = figure(key).map_or(key, |figure| figure.name);
                            row.leaf("th", &[("scope", "col"), ("class", "value")], name);
                        }
                        row.leaf("th", &[("scope", "col")], "objective");
                        row.leaf("th", &[("scope", "col")], "not valid because");
                    });
                });
                table.element("tbody", &[], |body| {
                    for point in &sweep.points {
                        body.element("tr", &[], |row| {
                            row.leaf("th", &[("scope", "row")], &readable(point.load as f64));
                            for key in COLUMNS {
                                row.leaf("td", &[("class", "value")], &point.show(key));
                            }
                            let (class, text) = match point.verdict {
                                Verdict::Meets => ("better", "\u{2713} met".to_owned()),
                                Verdict::Misses => {
                                    ("worse", format!("\u{2717} {}", point.unmet.join(", ")))
                                }
                                Verdict::GeneratorLimited => {
                                    ("", "the generator was full".to_owned())
                                }
                            };
                            row.leaf("td", &[("class", class)], &text);
                            row.leaf(
                                "td",
                                &[("class", "about")],
                                &point.invalid_reasons.join("; "),
                            );
                        });
                    }
                });
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::swept;
    use super::*;

    #[tokio::test]
    async fn every_curve_is_drawn() {
        let html = page(&swept(300.0, 10_000.0).await);
        for id in ["delay", "loss", "cpu", "packets", "cost", "runs"] {
            let start = html
                .find(&format!("id=\"{id}\""))
                .unwrap_or_else(|| panic!("no {id}"));
            let figure = &html[start..start + html[start..].find("</figure>").unwrap()];
            assert!(figure.contains("<circle class=\"dot d1\""), "{id}");
        }
        assert!(html.contains("the largest load that meets the objective"));
        assert!(html.contains("At 70% of it"));
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn an_empty_sweep_is_a_page_too() {
        assert!(page(&SweepReport::default()).contains("Interrupted"));
    }
}
