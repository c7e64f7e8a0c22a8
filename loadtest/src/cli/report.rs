//! `tertulia-loadtest report`: a report's summary or page, from its JSON.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Status, failed};
use crate::report::{self, Report};
use crate::sweep::{self, SweepReport};

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ReportArgs {
    /// File that `run --json` or `sweep --json` wrote.
    #[arg(value_name = "FILE")]
    json: PathBuf,
    /// Write a page with charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ReportArgs {
    pub(super) fn run(&self) -> Status {
        let (summary, page) = shown(&self.json).map_err(failed)?;
        print(&summary);
        save(&self.html, || page)
    }
}

/// Summary and page of a run's report, or of a sweep's.
fn shown(path: &Path) -> Result<(String, String), String> {
    let json = json(path)?;
    // Every sweep has points, and no run.
    if json.get("points").is_some() {
        let sweep: SweepReport = parsed(path, json)?;
        return Ok((sweep.to_string(), sweep::page(&sweep)));
    }
    let report: Report = parsed(path, json)?;
    Ok((report.to_string(), report::page(&report)))
}

/// A report from its file.
pub(super) fn read(path: &Path) -> Result<Report, String> {
    parsed(path, json(path)?)
}

fn json(path: &Path) -> Result<Value, String> {
    let text =
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{} is no JSON: {error}", path.display()))
}

fn parsed<T: DeserializeOwned>(path: &Path, json: Value) -> Result<T, String> {
    serde_json::from_value(json)
        .map_err(|error| format!("{} is no report: {error}", path.display()))
}

/// A line on the standard output, whose reader may have had enough (`| head`).
pub(super) fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes a text to a file or the standard output, if it is to go anywhere.
pub(super) fn save(path: &Option<PathBuf>, text: impl FnOnce() -> String) -> Status {
    use std::io::Write;
    let Some(path) = path else { return Ok(0) };
    let written = match path.as_os_str() == "-" {
        true => std::io::stdout().write_all(text().as_bytes()),
        false => std::fs::write(path, text()),
    };
    let wrong = |error| failed(format!("cannot write {}: {error}", path.display()));
    written.map_err(wrong)?;
    Ok(0)
}

/// Writes a report as JSON and as a page; a failure of one does not keep the other from being written.
pub(super) fn save_both<T: Serialize>(
    json: &Option<PathBuf>,
    html: &Option<PathBuf>,
    report: &T,
    page: impl FnOnce(&T) -> String,
) -> Status {
    let text = serde_json::to_string_pretty(report).map_err(failed)?;
    let written = save(json, || text + "\n");
    save(html, || page(report)).and(written)
}
