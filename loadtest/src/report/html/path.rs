//! Points to SVG paths.

use std::fmt::Write;

/// A tenth of a unit is less than a pixel.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// The stretches without gaps.
fn runs(points: &[Option<(f64, f64)>]) -> impl Iterator<Item = Vec<(f64, f64)>> {
    points
        .split(Option::is_none)
        .map(|run| run.iter().flatten().copied().collect::<Vec<_>>())
        .filter(|run| !run.is_empty())
}

/// A line through points, with a gap at each None; stepped: constant up to the next.
pub(super) fn path(points: &[Option<(f64, f64)>], stepped: bool) -> String {
    let mut path = String::new();
    for run in runs(points) {
        trace(&mut path, &run, stepped);
        // A value without neighbours: the round line cap makes it a dot.
        if run.len() == 1 {
            path.push_str("h0");
        }
    }
    path
}

/// The line's path, with the area under it filled, down to `bottom`.
pub(super) fn area(points: &[Option<(f64, f64)>], bottom: f64, stepped: bool) -> String {
    let mut path = String::new();
    for run in runs(points) {
        trace(&mut path, &run, stepped);
        let (first, last) = (run[0].0, run[run.len() - 1].0);
        let bottom = coordinate(bottom);
        let _ = write!(
            path,
            "L{} {bottom}L{} {bottom}Z",
            coordinate(last),
            coordinate(first)
        );
    }
    path
}

fn trace(path: &mut String, run: &[(f64, f64)], stepped: bool) {
    for (index, (x, y)) in run.iter().enumerate() {
        let (x, y) = (coordinate(*x), coordinate(*y));
        let _ = match (index, stepped) {
            (0, _) => write!(path, "M{x} {y}"),
            (_, true) => write!(path, "H{x}V{y}"),
            (_, false) => write!(path, "L{x} {y}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_gaps_and_steps() {
        let points = [Some((0.0, 5.0)), Some((1.0, 6.25)), None, Some((3.0, 7.0))];
        assert_eq!(path(&points, false), "M0 5L1 6.2M3 7h0");
        assert_eq!(path(&points, true), "M0 5H1V6.2M3 7h0");
        assert_eq!(area(&points[..2], 210.0, false), "M0 5L1 6.2L1 210L0 210Z");
        assert_eq!(path(&[None], false), "");
    }
}
