//! Bars: a table whose rows draw themselves, so that names and values stay text at any width.

use super::markup::Markup;

/// A chart of few values with names.
#[derive(Clone, Debug)]
pub(crate) struct Bars<'a> {
    /// Unique in the page.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) about: &'a str,
    /// Names of a row's parts; empty or one if a row is one bar.
    pub(crate) parts: &'a [&'a str],
    /// Heads of the columns of text.
    pub(crate) columns: &'a [&'a str],
    pub(crate) rows: Vec<Row>,
}

/// One bar, of several parts laid end to end.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) parts: Vec<f64>,
    /// The text beside it.
    pub(crate) texts: Vec<String>,
}

impl Bars<'_> {
    /// Writes the figure; nothing if there is no row.
    pub(crate) fn write(&self, page: &mut Markup) {
        if self.rows.is_empty() {
            return;
        }
        page.element(
            "figure",
            &[("class", "chart bars"), ("id", self.id)],
            |figure| {
                figure.element("figcaption", &[], |caption| {
                    caption.element("h3", &[], |title| {
                        title.text(self.title);
                        title.text(" ");
                        title.leaf("small", &[], self.unit);
                    });
                    if self.parts.len() > 1 {
                        caption.element("ul", &[("class", "legend")], |list| {
                            for (index, part) in self.parts.iter().enumerate() {
                                list.element("li", &[], |item| {
                                    let class = format!("key block b{}", index + 1);
                                    item.leaf("span", &[("class", &class)], "");
                                    item.text(part);
                                });
                            }
                        });
                    }
                });
                self.table(figure);
                figure.leaf("p", &[("class", "about")], self.about);
            },
        );
    }

    fn table(&self, figure: &mut Markup) {
        let total = |row: &Row| row.parts.iter().copied().map(known).sum::<f64>();
        let longest = self.rows.iter().map(total).fold(0.0, f64::max);
        figure.element("table", &[], |table| {
            if !self.columns.is_empty() {
                table.element("thead", &[], |head| {
                    head.element("tr", &[], |row| {
                        row.leaf("td", &[], "");
                        row.leaf("td", &[], "");
                        for column in self.columns {
                            row.leaf("th", &[("scope", "col")], column);
                        }
                    });
                });
            }
            table.element("tbody", &[], |body| {
                for row in &self.rows {
                    body.element("tr", &[], |line| {
                        line.leaf("th", &[("scope", "row")], &row.name);
                        line.element("td", &[("class", "bar")], |cell| {
                            draw(cell, &row.parts, longest);
                        });
                        for text in &row.texts {
                            line.leaf("td", &[("class", "value")], text);
                        }
                    });
                }
            });
        });
    }
}

/// Stretched to its cell, which is why it holds no text.
fn draw(cell: &mut Markup, parts: &[f64], longest: f64) {
    let attributes = [
        ("viewBox", "0 0 1000 10"),
        ("preserveAspectRatio", "none"),
        ("aria-hidden", "true"),
    ];
    cell.element("svg", &attributes, |svg| {
        let mut from = 0.0;
        for (index, part) in parts.iter().copied().enumerate() {
            let share = if longest > 0.0 {
                known(part) / longest
            } else {
                0.0
            };
            let (left, width) = (from * 1_000.0, share * 1_000.0);
            from += share;
            if width <= 0.0 {
                continue;
            }
            // However small, not nothing.
            let d = format!(
                "M{left:.1} 0h{:.1}v10h-{:.1}z",
                width.max(2.0),
                width.max(2.0)
            );
            let class = format!("bar b{}", index + 1);
            svg.leaf("path", &[("class", &class), ("d", &d)], "");
        }
    });
}

fn known(part: f64) -> f64 {
    if part.is_finite() { part.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, parts: &[f64]) -> Row {
        Row {
            name: name.into(),
            parts: parts.to_vec(),
            texts: vec![format!("{} <ms>", parts.iter().sum::<f64>())],
        }
    }

    #[test]
    fn bars_as_they_are_written() {
        let bars = Bars {
            id: "b",
            title: "Joining",
            unit: "ms",
            about: "Each.",
            parts: &["one", "two"],
            columns: &["sum"],
            rows: vec![
                row("p50", &[10.0, 15.0]),
                row("p<99>", &[20.0, 30.0]),
                row("0", &[0.0]),
            ],
        };
        let mut page = Markup::default();
        bars.write(&mut page);
        let html = page.finish();
        for part in [
            "<span class=\"key block b2\"></span>two",
            "<th scope=\"row\">p50</th>",
            "<path class=\"bar b1\" d=\"M0.0 0h200.0v10h-200.0z\"></path>\
             <path class=\"bar b2\" d=\"M200.0 0h300.0v10h-300.0z\"></path>",
            "<th scope=\"row\">p&lt;99&gt;</th>",
            "50 &lt;ms&gt;",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
        assert_eq!(html.matches("<path").count(), 4);
    }

    #[test]
    fn no_rows_no_chart_and_no_value_no_bar() {
        let mut page = Markup::default();
        draw(&mut page, &[f64::NAN, -1.0, 0.0], 0.0);
        let html = page.finish();
        assert!(!html.contains("<path") && !html.contains("NaN"), "{html}");
    }
}
