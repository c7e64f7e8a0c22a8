//! `tertulia-loadtest compare`.

use std::path::{Path, PathBuf};

use super::report::{print, read, save};
use super::{Failed, Status, failed};
use crate::report::compare::{self, Named};

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct CompareArgs {
    /// File that `run --json` wrote; several runs of the same as FILE,FILE,FILE.
    #[arg(required = true, value_name = "A", value_delimiter = ',', num_args = 1, action = clap::ArgAction::Set)]
    a: Vec<PathBuf>,
    /// The other side, likewise.
    #[arg(required = true, value_name = "B", value_delimiter = ',', num_args = 1, action = clap::ArgAction::Set)]
    b: Vec<PathBuf>,
    /// Write a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare runs that are not valid, too.
    #[arg(long)]
    force: bool,
}

impl CompareArgs {
    pub(super) fn run(&self) -> Status {
        let (a, b) = (named(&self.a)?, named(&self.b)?);
        let comparison = compare::compare(&a, &b, self.force).map_err(failed)?;
        print(&comparison.to_string());
        save(&self.html, || compare::page(&comparison))
    }
}

fn named(paths: &[PathBuf]) -> Result<Vec<Named>, Failed> {
    let one = |path: &PathBuf| {
        Ok(Named {
            name: short(path),
            report: read(path).map_err(failed)?,
        })
    };
    paths.iter().map(one).collect()
}

fn short(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
