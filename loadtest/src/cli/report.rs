//! `tertulia-loadtest report`: a report's summary or page, from its JSON.

use std::path::{Path, PathBuf};

use crate::report::{self, Report};

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ReportArgs {
    /// What `run --json` wrote.
    #[arg(value_name = "FILE")]
    json: PathBuf,
    /// Write a page with charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ReportArgs {
    /// Returns the exit status.
    pub(super) fn run(&self) -> u8 {
        let report = match read(&self.json) {
            Ok(report) => report,
            Err(problem) => {
                eprintln!("error: {problem}");
                return 1;
            }
        };
        println!("{report}");
        match &self.html {
            Some(path) => save(path, &report::page(&report)),
            None => 0,
        }
    }
}

/// A report from its file.
pub(super) fn read(path: &Path) -> Result<Report, String> {
    let json =
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&json)
        .map_err(|error| format!("{} is no report: {error}", path.display()))
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
