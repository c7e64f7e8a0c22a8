//! `tertulia-loadtest run` and `scenarios`.

use std::path::PathBuf;

use tokio::sync::watch;

use super::report::save_both;
use super::{Status, failed, usage};
use crate::progress;
use crate::scenario::settings::Settings;
use crate::scenario::{self, Scenario, Watched, catalog};

/// `tertulia-loadtest run`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) scenario: ScenarioArgs,
    /// Where the JSON report goes; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where a page with charts goes
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// No progress lines
    #[arg(long)]
    quiet: bool,
}

/// A scenario by name or file, and flags that win over it.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ScenarioArgs {
    /// One of `tertulia-loadtest scenarios`, or a TOML file; flags win over what it says
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    #[command(flatten)]
    flags: Settings,
}

impl ScenarioArgs {
    /// The scenario that the file and the flags describe.
    ///
    /// # Errors
    ///
    /// The fault of the file or the flags.
    pub(crate) fn scenario(&self) -> Result<Scenario, String> {
        let (name, file) = match &self.scenario {
            Some(scenario) => catalog::load(scenario)?,
            None => Default::default(),
        };
        self.flags.clone().over(file).scenario(&name)
    }
}

impl Run {
    pub(super) async fn run(self) -> Status {
        let scenario = self.scenario.scenario().map_err(usage)?;
        let quiet = self.quiet;
        let watching = |watched: &Watched| {
            if !quiet {
                tokio::spawn(progress::watch(watched.live(), |line| eprintln!("{line}")));
            }
        };
        let (interrupt, signal) = watch::channel(false);
        let report = tokio::select! {
            report = scenario::run(&scenario, interrupted(signal), watching) => report,
            () = signals(interrupt) => return Ok(130),
        };
        let report = report.map_err(failed)?;
        eprintln!("{report}");
        save_both(&self.json, &self.html, &report, crate::report::page)?;
        Ok(report.exit_status())
    }
}

/// `tertulia-loadtest scenarios`.
pub(super) fn list() -> u8 {
    for (name, about) in catalog::list() {
        println!("{name:<16} {about}");
    }
    0
}

/// The first Ctrl-C (or SIGTERM) ends the call with a report; this ends with the second.
pub(crate) async fn signals(interrupt: watch::Sender<bool>) {
    signal().await;
    eprintln!("interrupted: taking stock (again to quit at once)");
    interrupt.send_replace(true);
    signal().await;
}

/// Returns when the first signal has come.
pub(crate) async fn interrupted(mut signal: watch::Receiver<bool>) {
    if signal.wait_for(|came| *came).await.is_err() {
        std::future::pending().await
    }
}

/// Ctrl-C, SIGTERM, or the terminal being closed: a spawned server must survive none of them.
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let next = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            // The signal then has its default effect.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = next(SignalKind::interrupt()) => {}
        () = next(SignalKind::terminate()) => {}
        () = next(SignalKind::hangup()) => {}
    }
}
