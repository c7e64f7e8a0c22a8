//! `tertulia-loadtest report`: a report's summary or page, from its JSON.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

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
    /// Returns the exit status.
    pub(super) fn run(&self) -> u8 {
        let (summary, page) = match shown(&self.json) {
            Ok(shown) => shown,
            Err(problem) => {
                eprintln!("error: {problem}");
                return 1;
            }
        };
        print(&summary);
        match &self.html {
            Some(path) => save(path, &page),
            None => 0,
        }
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

/// Writes a file, or to the standard output; the exit status.
pub(super) fn save(path: &Path, text: &str) -> u8 {
    use std::io::Write;
    let written = if path.as_os_str() == "-" {
        std::io::stdout().write_all(text.as_bytes())
    } else {
        std::fs::write(path, text)
    };
    match written {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: cannot write {}: {error}", path.display());
            1
        }
    }
}

/// Writes a value as JSON; the exit status.
pub(super) fn save_json(path: &Path, value: &impl serde::Serialize) -> u8 {
    match serde_json::to_string_pretty(value) {
        Ok(json) => save(path, &(json + "\n")),
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}
