//! Reports as one HTML file each: the data, the scripts that draw it, and nothing from anywhere else.

use serde_json::{Map, Value, json};

use super::figures::{FIGURES, Figure};
use super::{Report, summary};

/// Examples of each kind of failure that are shown; the JSON has more.
const EXAMPLES: usize = 10;

/// The frame of a page. Its policy holds it to its word: nothing comes from elsewhere.
const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\
    <title>Tertulia load test</title>";
const STYLE: &str = concat!(
    include_str!("../../../vendor/uplot/uPlot.min.css"),
    "\n",
    include_str!("style.css")
);
const SCRIPT: &str = concat!(
    "/*!\n",
    include_str!("../../../vendor/uplot/LICENSE"),
    "\n*/\n",
    include_str!("../../../vendor/uplot/uPlot.iife.min.js"),
    include_str!("draw.js"),
    include_str!("pages.js")
);

/// A run as a page.
pub fn page(report: &Report) -> String {
    let figure = |figure: &Figure| {
        let mut shown = shown(figure, (figure.value)(report)?);
        shown["group"] = figure.group.into();
        Some(shown)
    };
    let problems = summary::problems(report, EXAMPLES).into_iter();
    let problems = problems.map(|(kind, problem)| format!("{kind}: {problem}"));
    let mut data = json!(report);
    data["timeline"] = columns(
        &report
            .timeline
            .iter()
            .map(|moment| json!(moment))
            .collect::<Vec<_>>(),
    );
    document(json!({
        "kind": "Tertulia load test",
        "title": summary::name(report),
        "what": summary::circumstances(report),
        "problems": problems.collect::<Vec<_>>(),
        "figures": FIGURES.iter().filter_map(figure).collect::<Vec<_>>(),
        "report": data,
    }))
}

/// A whole document that draws `data`.
pub(crate) fn document(data: Value) -> String {
    // No text of a report ends the element that holds it.
    let data = data.to_string().replace('<', "\\u003c");
    format!(
        "{HEAD}<style>{STYLE}</style></head><body><main></main><noscript>Scripts draw this page.</noscript>\
         <script type=\"application/json\" id=\"data\">{data}</script><script>{SCRIPT}</script></body></html>\n"
    )
}

/// A figure's value as pages show it.
pub(crate) fn shown(figure: &Figure, value: f64) -> Value {
    let (number, unit) = figure.unit.parts(value);
    json!({
        "key": figure.key,
        "name": figure.name,
        "about": figure.about,
        "number": number,
        "unit": unit,
        "shown": figure.unit.show(value),
    })
}

/// Rows to columns, of four digits: an hour of seconds is many of them.
fn columns(rows: &[Value]) -> Value {
    let mut columns = Map::new();
    for (key, value) in rows.iter().filter_map(Value::as_object).flatten() {
        let value = match value.as_f64().filter(|_| value.is_f64()) {
            Some(value) => json!(format!("{value:.3e}").parse::<f64>().unwrap_or(value)),
            None => value.clone(),
        };
        if let Some(column) = columns
            .entry(key)
            .or_insert_with(|| json!([]))
            .as_array_mut()
        {
            column.push(value);
        }
    }
    columns.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::sample;

    /// The data in a page.
    pub(crate) fn data(html: &str) -> Value {
        let (_, rest) = html.split_once("id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn a_page_has_every_figure_and_every_second() {
        let report = sample::report(120);
        let data = data(&page(&report));
        assert_eq!(data["figures"].as_array().unwrap().len(), FIGURES.len());
        let columns = data["report"]["timeline"].as_object().unwrap();
        assert_eq!(
            columns.len(),
            json!(report.timeline[0]).as_object().unwrap().len()
        );
        assert!(
            columns
                .values()
                .all(|column| column.as_array().unwrap().len() == 120)
        );
        let near =
            data["report"]["timeline"]["mbit_s"][60].as_f64().unwrap() / report.timeline[60].mbit_s;
        assert!((near - 1.0).abs() < 1e-3, "{near}");
        assert!(data["report"]["stages"][1]["name"] == "during");
    }

    #[test]
    fn an_hour_is_half_a_megabyte() {
        let size = page(&sample::report(3_600)).len();
        assert!(size < 500_000, "{size}");
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let html = page(&Report::default());
        assert_eq!(data(&html)["report"]["timeline"], json!({}));
        assert!(html.ends_with("</html>\n"));
    }

    #[test]
    fn whatever_a_report_says_is_text() {
        const EVIL: &str = "</script><script>alert(1)</script><!--<img src=x onerror='a'>\"";
        let mut report = sample::report(20);
        report.scenario = EVIL.into();
        report.invalid_reasons = vec![EVIL.into()];
        report.server.drops.insert(EVIL.into(), 5);
        let html = page(&report);
        assert_eq!(
            (
                html.matches("<script").count(),
                html.matches("</script").count()
            ),
            (2, 2)
        );
        assert!(!html.contains("<img") && !html.contains("<!--"));
        assert_eq!(data(&html)["report"]["scenario"], EVIL);
    }

    #[test]
    fn nothing_is_fetched() {
        let html = page(&sample::report(20));
        for absent in [
            "src=",
            "href=",
            "@import",
            "url(",
            "fetch(",
            "XMLHttpRequest",
            "import(",
        ] {
            assert!(!html.contains(absent), "{absent}");
        }
    }
}
