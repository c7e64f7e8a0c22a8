//! Line charts: inline SVG, a legend, and the data as a table underneath. The page's few lines of
//! script also read that table when a pointer moves over the chart.

use std::fmt::Write;

use super::markup::Markup;
use super::path::{area, coordinate, path};
use super::scale::Scale;
use crate::report::number::{clock, compact, readable};

/// The drawing's own units; it scales to its column.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 546.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 210.0;

/// Marks are numbered; beyond this many they would cover the curve.
const MAX_MARKS: usize = 12;

/// A chart of values over time or over load.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'a> {
    /// Unique in the page.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// The unit of the values, shown after the title.
    pub(crate) unit: &'static str,
    /// The figures that it shows, and their measurement.
    pub(crate) about: &'a str,
    pub(crate) x: Axis<'a>,
    /// Marks at powers of ten instead of equal steps.
    pub(crate) log: bool,
    pub(crate) xs: &'a [f64],
    pub(crate) series: Vec<Series<'a>>,
    pub(crate) marks: Vec<Mark<'a>>,
}

/// The values along the bottom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Axis<'a> {
    /// Seconds since the run began.
    Time,
    /// Something else, from 0.
    Load(&'a str),
}

/// One curve. Its place in the chart is its colour.
#[derive(Clone, Debug)]
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    /// One value for each x; None leaves a gap.
    pub(crate) values: Vec<Option<f64>>,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Line,
    /// A line with the area under it tinted.
    Area,
    /// Constant up to the next value.
    Step,
    /// A line with a dot at every value, for few of them.
    Dots,
}

/// A moment (or load) worth pointing at; numbered in the order given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark<'a> {
    pub(crate) at: f64,
    pub(crate) what: &'a str,
}

impl Lines<'_> {
    /// Writes the figure; nothing if there is no value at all.
    pub(crate) fn write(&self, page: &mut Markup) {
        let values = || {
            self.series
                .iter()
                .flat_map(|series| series.values.iter().flatten())
        };
        if !values().any(|value| value.is_finite()) {
            return;
        }
        let x = match self.x {
            Axis::Time => Scale::clock(self.xs.iter().copied()),
            Axis::Load(_) => Scale::linear(self.xs.iter().copied()),
        };
        let y = match self.log {
            true => Scale::log(values().copied()),
            false => Scale::linear(values().copied()),
        };
        page.element(
            "figure",
            &[("class", "chart lines"), ("id", self.id)],
            |figure| {
                figure.element("figcaption", &[], |caption| {
                    caption.element("h3", &[], |title| {
                        title.text(self.title);
                        title.text(" ");
                        title.leaf("small", &[], self.unit);
                    });
                    self.legend(caption);
                });
                self.drawing(figure, &x, &y);

                figure.leaf("p", &[("class", "about")], self.about);
                self.table(figure, &x);
            },
        );
    }

    fn legend(&self, caption: &mut Markup) {
        // A single curve is named by the title.
        if self.series.len() < 2 {
            return;
        }

        caption.element("ul", &[("class", "legend")], |list| {
            for (index, series) in self.series.iter().enumerate() {
                list.element("li", &[], |item| {
                    let class = format!("key k{}", index + 1);
                    item.leaf("span", &[("class", &class)], "");
                    item.text(series.name);
                });
            }
        });
    }

    fn drawing(&self, figure: &mut Markup, x: &Scale, y: &Scale) {
        let title_id = format!("{}-title", self.id);
        let about_id = format!("{}-about", self.id);
        let labels = format!("{title_id} {about_id}");
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        let attributes = [
            ("viewBox", view.as_str()),
            ("role", "img"),
            ("aria-labelledby", labels.as_str()),
        ];
        figure.element("svg", &attributes, |svg| {
            svg.leaf("title", &[("id", &title_id)], self.title);
            svg.leaf("desc", &[("id", &about_id)], &self.in_words());
            self.grid(svg, x, y);
            for (index, mark) in self.marks.iter().take(MAX_MARKS).enumerate() {
                if let Some(at) = x.place(mark.at) {
                    draw_mark(svg, across(at), index + 1);
                }
            }
            for (index, series) in self.series.iter().enumerate() {
                self.curve(svg, series, index + 1, x, y);
            }
            svg.leaf(
                "line",
                &[("class", "hover"), ("y1", "17"), ("y2", "210")],
                "",
            );
        });
    }

    fn grid(&self, svg: &mut Markup, x: &Scale, y: &Scale) {
        let (left, right) = (coordinate(LEFT), coordinate(RIGHT));
        for value in y.marks() {
            let Some(at) = y.place(value) else { continue };
            let height = coordinate(up(at));
            let class = if at == 0.0 { "axis" } else { "grid" };
            svg.leaf(
                "line",
                &[
                    ("class", class),
                    ("x1", &left),
                    ("x2", &right),
                    ("y1", &height),
                    ("y2", &height),
                ],
                "",
            );
            let (label_x, label_y) = (coordinate(LEFT - 6.0), coordinate(up(at) + 4.0));
            svg.leaf(
                "text",
                &[("class", "y"), ("x", &label_x), ("y", &label_y)],
                &compact(value),
            );
        }
        let label_y = coordinate(BOTTOM + 18.0);
        for value in x.marks() {
            let Some(at) = x.place(value) else { continue };
            let place = coordinate(across(at));
            let (top, bottom) = (coordinate(BOTTOM), coordinate(BOTTOM + 4.0));
            svg.leaf(
                "line",
                &[
                    ("class", "axis"),
                    ("x1", &place),
                    ("x2", &place),
                    ("y1", &top),
                    ("y2", &bottom),
                ],
                "",
            );
            let label = match self.x {
                Axis::Time => clock(value, x.high()),
                Axis::Load(_) => compact(value),
            };
            // The last label may not hang over the edge.
            let class = if at > 0.96 { "x end" } else { "x" };
            svg.leaf(
                "text",
                &[("class", class), ("x", &place), ("y", &label_y)],
                &label,
            );
        }
        let middle = coordinate((LEFT + RIGHT) / 2.0);
        let name = match self.x {
            Axis::Time => "time since the run began",
            Axis::Load(name) => name,
        };
        let name_y = coordinate(HEIGHT - 3.0);
        svg.leaf(
            "text",
            &[("class", "x name"), ("x", &middle), ("y", &name_y)],
            name,
        );
    }

    fn curve(&self, svg: &mut Markup, series: &Series<'_>, number: usize, x: &Scale, y: &Scale) {
        let points = self.xs.iter().zip(&series.values).map(|(at, value)| {
            let value = (*value)?;
            Some((across(x.place(*at)?), up(y.place(value)?)))
        });
        let points: Vec<Option<(f64, f64)>> = points.collect();
        let stepped = series.shape == Shape::Step;
        let path = path(&points, stepped);
        if matches!(series.shape, Shape::Area | Shape::Step) {
            let class = format!("area a{number}");
            svg.leaf(
                "path",
                &[("class", &class), ("d", &area(&points, BOTTOM, stepped))],
                "",
            );
        }
        let class = format!("line l{number}");
        svg.leaf("path", &[("class", &class), ("d", &path)], "");
        if series.shape == Shape::Dots {
            let class = format!("dot d{number}");
            for (x, y) in points.into_iter().flatten() {
                let (x, y) = (coordinate(x), coordinate(y));
                svg.leaf(
                    "circle",
                    &[("class", &class), ("cx", &x), ("cy", &y), ("r", "3.5")],
                    "",
                );
            }
        }
    }

    fn place_in_words(&self, x: f64) -> String {
        match self.x {
            Axis::Time => clock(x, self.xs.iter().copied().fold(0.0, f64::max)),
            Axis::Load(_) => readable(x),
        }
    }

    /// The picture in words, for readers who cannot see it.
    fn in_words(&self) -> String {
        let mut words = format!("{}, {}.", self.title, self.unit);
        for series in &self.series {
            let known = series
                .values
                .iter()
                .flatten()
                .copied()
                .filter(|value| value.is_finite());
            let (low, high) = known
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (value.min(low), value.max(high))
                });
            if low <= high {
                // Writing to a String cannot fail.
                let _ = write!(
                    words,
                    " {}: {} to {}.",
                    series.name,
                    readable(low),
                    readable(high)
                );
            }
        }
        words
    }

    fn table(&self, figure: &mut Markup, x: &Scale) {
        figure.element("details", &[], |details| {
            details.leaf("summary", &[], "Data");
            details.element("div", &[("class", "scroll")], |scroll| {
                scroll.element("table", &[("class", "data")], |table| {
                    table.element("thead", &[], |head| {
                        head.element("tr", &[], |row| {
                            let of = match self.x {
                                Axis::Time => "time",
                                Axis::Load(name) => name,
                            };
                            row.leaf("th", &[("scope", "col")], of);
                            for series in &self.series {
                                row.leaf("th", &[("scope", "col")], series.name);
                            }
                        });
                    });
                    table.element("tbody", &[], |body| {
                        for (index, at) in self.xs.iter().enumerate() {
                            let place = coordinate(x.place(*at).map_or(LEFT, across));
                            body.element("tr", &[("data-x", &place)], |row| {
                                row.leaf("th", &[("scope", "row")], &self.place_in_words(*at));
                                for series in &self.series {
                                    let value = series.values.get(index).copied().flatten();
                                    row.leaf("td", &[], &value.map_or("-".into(), readable));
                                }
                            });
                        }
                    });
                });
            });
        });
    }
}

/// The legend of the charts of a section; nothing without any.
pub(crate) fn legend_of_marks(
    section: &mut Markup,
    marks: &[Mark<'_>],
    place_in_words: impl Fn(f64) -> String,
) {
    if marks.is_empty() {
        return;
    }
    section.element("ol", &[("class", "marks")], |list| {
        for mark in marks.iter().take(MAX_MARKS) {
            list.element("li", &[], |item| {
                item.leaf("b", &[], &place_in_words(mark.at));
                item.text(" ");
                item.text(mark.what);
            });
        }
    });
    if marks.len() > MAX_MARKS {
        let more = format!("and {} more, in the JSON", marks.len() - MAX_MARKS);
        section.leaf("p", &[("class", "about")], &more);
    }
}

fn draw_mark(svg: &mut Markup, x: f64, number: usize) {
    let place = coordinate(x);
    svg.leaf(
        "line",
        &[
            ("class", "mark"),
            ("x1", &place),
            ("x2", &place),
            ("y1", "17"),
            ("y2", "210"),
        ],
        "",
    );
    svg.leaf(
        "circle",
        &[("class", "mark"), ("cx", &place), ("cy", "9"), ("r", "8")],
        "",
    );
    svg.leaf(
        "text",
        &[("class", "mark"), ("x", &place), ("y", "12.5")],
        &number.to_string(),
    );
}

fn across(place: f64) -> f64 {
    LEFT + place * (RIGHT - LEFT)
}

fn up(place: f64) -> f64 {
    BOTTOM - place * (BOTTOM - TOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart<'a>(series: Vec<Series<'a>>, xs: &'a [f64]) -> Lines<'a> {
        Lines {
            id: "speed",
            title: "Speed",
            unit: "packets/s",
            about: "How <fast> it went.",
            x: Axis::Time,
            log: false,
            xs,
            series,
            marks: Vec::new(),
        }
    }

    fn written(lines: &Lines<'_>) -> String {
        let mut page = Markup::default();
        lines.write(&mut page);
        page.finish()
    }

    #[test]
    fn a_chart_as_it_is_written() {
        let series = Series {
            name: "a <b>",
            values: vec![Some(0.0), Some(50.0), Some(100.0)],
            shape: Shape::Line,
        };
        let mut lines = chart(vec![series], &[0.0, 1.0, 2.0]);
        lines.marks.push(Mark {
            at: 1.0,
            what: "storm & rain",
        });
        let html = written(&lines);
        let mut list = Markup::default();
        legend_of_marks(&mut list, &lines.marks, |at| format!("{at} s"));
        assert_eq!(
            list.finish(),
            "<ol class=\"marks\"><li><b>1 s</b> storm &amp; rain</li></ol>"
        );

        for part in [
            "<figure class=\"chart lines\" id=\"speed\"><figcaption><h3>Speed <small>packets/s</small></h3>",
            "<svg viewBox=\"0 0 560 250\" role=\"img\" aria-labelledby=\"speed-title speed-about\">\
             <title id=\"speed-title\">Speed</title>\
             <desc id=\"speed-about\">Speed, packets/s. a &lt;b&gt;: 0 to 100.</desc>",
            "<path class=\"line l1\" d=\"M56 210L301 118L546 26\"></path>",
            "<text class=\"mark\" x=\"301\" y=\"12.5\">1</text>",
            "<tr data-x=\"301\"><th scope=\"row\">1 s</th><td>50</td></tr>",
            "How &lt;fast&gt; it went.",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
    }

    #[test]
    fn nothing_known_is_no_chart() {
        let series = |values| Series {
            name: "a",
            values,
            shape: Shape::Line,
        };
        assert_eq!(written(&chart(vec![], &[])), "");
        assert_eq!(
            written(&chart(
                vec![series(vec![None, Some(f64::NAN)])],
                &[0.0, 1.0]
            )),
            ""
        );
        let one = chart(vec![series(vec![Some(1.0)])], &[0.0]);
        assert!(!written(&one).contains("NaN"));
    }
}
