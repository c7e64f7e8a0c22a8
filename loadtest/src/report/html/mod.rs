//! Reports as one HTML file each: no external resources, drawn here and not in the browser.

use super::figures::{Figure, Group, Unit, distributions, figures_of};
use super::{Percentiles, Report};
use markup::Markup;

pub(crate) mod bars;
pub(crate) mod lines;
pub(crate) mod markup;

mod charts;
mod path;
mod scale;
mod thin;
mod verdict;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("hover.js");

/// A run as a page.
pub fn page(report: &Report) -> String {
    let name = super::summary::name(report);
    document(&format!("Load test: {name}"), |main| {
        verdict::write(main, report);
        key_figures(main, report);
        charts::over_time(main, report);
        section(main, "parts", "What it came to", |grid| {
            charts::distributions(grid, report)
        });
        percentile_table(main, report);
        all_figures(main, report);
    })
}

/// A whole document around `content`.
pub(crate) fn document(title: &str, content: impl FnOnce(&mut Markup)) -> String {
    let mut page = Markup::default();
    page.raw("<!doctype html>\n");
    page.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |head| {
            head.open("meta", &[("charset", "utf-8")]);
            head.open(
                "meta",
                &[
                    ("name", "viewport"),
                    ("content", "width=device-width, initial-scale=1"),
                ],
            );
            // Holds the page to its word: nothing from anywhere else.
            head.open(
                "meta",
                &[
                    ("http-equiv", "Content-Security-Policy"),
                    (
                        "content",
                        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
                    ),
                ],
            );
            head.leaf("title", &[], title);
            head.element("style", &[], |style| style.raw(STYLE));
        });
        html.element("body", &[], |body| {
            body.element("main", &[], content);
            body.element("script", &[], |script| script.raw(SCRIPT));
        });
    });
    page.raw("\n");
    page.finish()
}

/// A section whose figures lie in a grid; nothing if it stays empty.
fn section(main: &mut Markup, id: &'static str, title: &str, content: impl FnOnce(&mut Markup)) {
    main.element("section", &[("id", id)], |section| {
        section.leaf("h2", &[], title);
        section.element("div", &[("class", "charts")], content);
    });
}

/// The figures at the top, each with the smaller ones beside it.
const TILES: [(&str, &[&str]); 14] = [
    ("delivered", &["loss"]),
    ("packets_s", &["mbit_s"]),
    ("delay_p99", &["delay_p50", "delay_p95", "delay_max"]),
    ("jitter_p99", &["jitter_p50"]),
    ("freezes", &["longest_freeze"]),
    ("join_p99", &["join_p50", "join_max", "join_failed"]),
    ("first_frame_p95", &["first_frame_p50"]),
    ("server_cpu", &[]),
    ("cpu_per_packet", &["floor_ratio_gso"]),
    ("packets_per_core", &[]),
    ("packets_per_message", &[]),
    ("rss_per_participant", &["rss_per_subscription", "rss"]),
    ("generator_cpu", &["socket_drops"]),
    ("churn_ratio", &[]),
];

fn key_figures(main: &mut Markup, report: &Report) {
    let tiles: Vec<_> = TILES
        .iter()
        .filter_map(|(key, beside)| {
            let figure = super::figures::figure(key)?;
            Some((figure, (figure.value)(report)?, *beside))
        })
        .collect();
    if tiles.is_empty() {
        return;
    }
    main.element("section", &[("id", "figures")], |section| {
        section.leaf("h2", &[], "Key figures");
        if !report.valid {
            let marked = "The run is not valid: these figures are not to be quoted.";
            section.leaf("p", &[("class", "caution")], marked);
        }
        let class = if report.valid {
            "tiles"
        } else {
            "tiles doubtful"
        };
        section.element("div", &[("class", class)], |grid| {
            for (figure, value, beside) in tiles {
                tile(grid, figure, value, beside, report);
            }
        });
    });
}

fn tile(grid: &mut Markup, figure: &Figure, value: f64, beside: &[&str], report: &Report) {
    let (number, unit) = figure.unit.parts(value);
    grid.element(
        "div",
        &[("class", "tile"), ("data-figure", figure.key)],
        |tile| {
            tile.leaf("h3", &[], figure.name);
            tile.element("p", &[("class", "number")], |text| {
                text.text(&number);
                text.text(" ");
                text.leaf("small", &[], unit);
            });
            let beside: Vec<String> = beside
                .iter()
                .filter_map(|key| {
                    let other = super::figures::figure(key)?;
                    let value = other.unit.show((other.value)(report)?);
                    // "Delay p50" beside "Delay p99" needs no second "Delay".
                    let family = figure
                        .name
                        .rsplit_once(' ')
                        .map_or(figure.name, |(family, _)| family);
                    let name = other.name.strip_prefix(family).unwrap_or(other.name).trim();
                    Some(format!(
                        "{} {value}",
                        name.to_lowercase().replace("gso", "GSO")
                    ))
                })
                .collect();
            if !beside.is_empty() {
                tile.leaf("p", &[("class", "beside")], &beside.join(" \u{b7} "));
            }
            tile.leaf("p", &[("class", "about")], figure.about);
        },
    );
}

fn percentile_table(main: &mut Markup, report: &Report) {
    let known: Vec<_> = distributions(report)
        .into_iter()
        .filter(|(_, _, percentiles)| *percentiles != Percentiles::default())
        .collect();
    if known.is_empty() {
        return;
    }
    main.element("section", &[("id", "percentiles")], |section| {
        section.leaf("h2", &[], "Distributions");
        section.element("div", &[("class", "scroll")], |scroll| {
            scroll.element("table", &[("class", "figures")], |table| {
                table.element("thead", &[], |head| {
                    head.element("tr", &[], |row| {
                        row.leaf("td", &[], "");
                        for name in ["p50", "p95", "p99", "max"] {
                            row.leaf("th", &[("scope", "col"), ("class", "value")], name);
                        }
                    });
                });
                table.element("tbody", &[], |body| {
                    for (name, unit, Percentiles { p50, p95, p99, max }) in known {
                        body.element("tr", &[], |row| {
                            row.leaf("th", &[("scope", "row")], name);
                            for value in [p50, p95, p99, max] {
                                row.leaf("td", &[("class", "value")], &shown(unit, value));
                            }
                        });
                    }
                });
            });
        });
    });
}

fn all_figures(main: &mut Markup, report: &Report) {
    main.element("section", &[("id", "all")], |section| {
        section.leaf("h2", &[], "Every figure");
        section.element("div", &[("class", "scroll")], |scroll| {
            scroll.element("table", &[("class", "figures")], |table| {
                for group in Group::ALL {
                    let known: Vec<_> = figures_of(group)
                        .filter_map(|figure| Some((figure, (figure.value)(report)?)))
                        .collect();
                    if known.is_empty() {
                        continue;
                    }
                    table.element("tbody", &[], |body| {
                        body.element("tr", &[("class", "group")], |row| {
                            row.leaf(
                                "th",
                                &[("colspan", "3"), ("scope", "rowgroup")],
                                group.name(),
                            );
                        });
                        for (figure, value) in known {
                            body.element("tr", &[], |row| {
                                row.leaf("th", &[("scope", "row")], figure.name);
                                row.leaf("td", &[("class", "value")], &figure.unit.show(value));
                                row.leaf("td", &[("class", "about")], figure.about);
                            });
                        }
                    });
                }
            });
        });
    });
}

/// A value or a dash.
pub(crate) fn shown(unit: Unit, value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| unit.show(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    const CHARTS: [&str; 14] = [
        "packets",
        "bitrate",
        "delay",
        "cpu",
        "memory",
        "lost",
        "participants",
        "sent",
        "phases",
        "stages",
        "runs",
        "floor",
        "layers",
        "drops",
    ];

    #[test]
    fn a_full_report_has_every_chart() {
        let html = page(&sample::report(120));
        for id in CHARTS {
            let start = html
                .find(&format!("id=\"{id}\""))
                .unwrap_or_else(|| panic!("no {id}"));
            let figure = &html[start..start + html[start..].find("</figure>").unwrap()];
            assert!(figure.contains("<path class="), "{id} is empty");
        }
        assert!(html.contains("everybody is in"));
        for absent in ["NaN", "inf ", "http://www", "src=", "@import", "url("] {
            assert!(!html.contains(absent), "{absent}");
        }
    }

    #[test]
    fn an_hour_fits_in_two_megabytes() {
        let size = page(&sample::report(3_600)).len();
        assert!(size < 500_000, "{size}");
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let html = page(&Report::default());
        assert!(
            html.contains("</html>") && !html.contains("<figure"),
            "{html}"
        );
    }

    #[test]
    fn whatever_a_report_says_is_text() {
        const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror='a'>\"";
        let mut report = sample::report(20);
        let evil = || EVIL.to_owned();
        for field in [
            &mut report.version,
            &mut report.scenario,
            &mut report.bot,
            &mut report.machine,
            &mut report.url,
            &mut report.video,
        ] {
            *field = evil();
        }
        report.valid = false;
        report.invalid_reasons = vec![evil()];
        report.events[0].what = evil();
        report.stages[0].name = evil();
        report.server.cipher = Some(evil());
        report.server.log = vec![evil()];
        report.server.drops.insert(evil(), 5);
        report.server.run_lengths.insert(evil(), 5);
        report.layer_residency.insert(evil(), 0.5);
        report.failures = vec![crate::report::Failure {
            bot: evil(),
            room: evil(),
            reason: evil(),
        }];
        report.missing_tracks = vec![crate::report::MissingTrack {
            bot: evil(),
            room: evil(),
            track: Some(evil()),
            reason: evil(),
        }];
        report.violation_samples = vec![crate::report::ViolationSample {
            bot: evil(),
            room: evil(),
            track: Some(evil()),
            ssrc: 1,
            violation: evil(),
        }];
        let html = page(&report);
        assert_eq!(html.matches("<script>").count(), 1);
        assert_eq!(html.matches("</script>").count(), 1);
        assert!(!html.contains("<img"));
        assert!(
            html.matches("&lt;img src=x onerror=&#39;a&#39;&gt;")
                .count()
                >= 15
        );
    }
}
