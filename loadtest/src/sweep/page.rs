//! A sweep as a page: curves of the figures that grow with load.

use serde_json::{Map, Value, json};

use super::{Ended, Point, SweepReport};
use crate::report::figures::{FIGURES, Unit, figure};
use crate::report::html::{document, shown};

/// The sweep as one file, like a report's page.
pub fn page(sweep: &SweepReport) -> String {
    let (class, word) = match sweep.ended {
        Some(Ended::Found | Ended::EverythingMeets) => ("passed", "Found"),
        Some(Ended::NothingMeets) => ("failed", "Too much"),
        _ => ("invalid", "Open"),
    };
    let names: Map<_, _> = FIGURES
        .iter()
        .map(|figure| (figure.key.into(), figure.name.into()))
        .collect();
    let mut data = json!(sweep);
    data["points"] = sweep.points.iter().map(point).collect();
    data["at_70"] = sweep.at_70.as_ref().map_or(Value::Null, point);
    document(json!({
        "kind": "Tertulia load sweep",
        "title": sweep.scenario,
        "what": sweep.circumstances,
        "verdict": { "class": class, "word": word, "meaning": sweep.outcome(), "reasons": [], "details": [] },
        "facts": [
            ("Objective", sweep.objective.as_str()),
            ("Runs", &format!("{} of each load; medians", sweep.repeat)),
            ("Machine", &sweep.machine),
            ("Load tester", &sweep.version),
        ],
        "over": sweep.over.map_or_else(String::new, |over| over.to_string()),
        "names": names,
        "sweep": data,
    }))
}

/// A point whose figures say how they are shown and, as `drawn`, where they lie in charts.
fn point(point: &Point) -> Value {
    let figures = point.figures.iter().filter_map(|(key, spread)| {
        let figure = figure(key)?;
        let mut shown = shown(figure, spread.median);
        let scale = match figure.unit {
            Unit::Share => 100.0,
            Unit::Nanoseconds => 1e-3,
            _ => 1.0,
        };
        shown["drawn"] = json!(spread.median * scale);
        if spread.low < spread.high {
            let ends = [spread.low, spread.high].map(|end| figure.unit.show(end));
            shown["beside"] = ends.join(" to ").into();
        }
        Some((key.clone(), shown))
    });
    let mut data = json!(point);
    data["figures"] = figures.collect::<Map<_, _>>().into();
    data
}

#[cfg(test)]
mod tests {
    use super::super::tests::swept;
    use super::*;

    #[tokio::test]
    async fn every_point_has_the_figures_of_the_curves() {
        let sweep = swept(300.0, 10_000.0).await;
        for point in sweep.points.iter().map(super::point) {
            for key in [
                "delay_p50",
                "delay_p99",
                "loss",
                "server_cpu",
                "generator_cpu",
                "packets_s",
                "cpu_per_packet",
            ] {
                assert!(point["figures"][key]["drawn"].is_f64(), "{key}");
            }
        }
        assert!(page(&sweep).contains("is the largest load that meets the objective"));
    }

    #[test]
    fn an_empty_sweep_is_a_page_too() {
        assert!(page(&SweepReport::default()).contains("Interrupted"));
    }
}
