//! `tertulia-loadtest sweep`.

use std::path::PathBuf;

use tokio::sync::watch;

use super::report::save_both;
use super::run::{ScenarioArgs, interrupted, signals};
use super::{Status, failed, usage};
use crate::scenario::{self, Scenario};
use crate::sweep::{self, Objective, OverRange, Point, Sweep};

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Parameter that grows: subscribers, publishers, rooms or rate (video packets a second from each
    /// publisher), as in subscribers=10..1000; doubled, or in STEPS steps with :STEPS after it
    #[arg(long, value_name = "WHAT=FROM..TO")]
    over: OverRange,
    /// Objective that a load must meet; figures are named as in reports' pages
    #[arg(long, default_value = "loss<0.1%,delay_p99<5ms")]
    objective: Objective,
    /// Runs of each load; their medians count
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=99))]
    repeat: u16,
    /// Bisect until the largest load is known to this share of it
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    precision: f64,
    /// Where the JSON report goes; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where a page with the curves goes
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl SweepArgs {
    pub(super) async fn run(&self) -> Status {
        let OverRange(over, mut range) = self.over;
        range.precision = self.precision.clamp(0.001, 1.0);
        let scenario = self.scenario(over, range.from).map_err(usage)?;
        let sweep = Sweep {
            over,
            range,
            objective: self.objective.clone(),
            repeat: self.repeat.into(),
        };
        let (interrupt, signal) = watch::channel(false);
        let measure = async |load| {
            let stop = interrupted(signal.clone());
            scenario::run(&over.apply(&scenario, load), stop, |_| {}).await
        };
        eprintln!("{}", Point::heads());
        let sweeping = sweep.run(measure, |point| eprintln!("{}", point.line()));
        let swept = tokio::select! {
            swept = sweeping => swept,
            () = signals(interrupt) => return Ok(130),
        };
        let report = swept.map_err(failed)?;
        eprintln!("\n{report}");
        save_both(&self.json, &self.html, &report, sweep::page)?;
        Ok(u8::from(report.largest.is_none()))
    }

    /// The scenario whose load grows. It must make sense at the lightest load.
    fn scenario(&self, over: sweep::Over, from: u64) -> Result<Scenario, String> {
        let scenario = self.scenario.scenario()?;
        over.apply(&scenario, from).check()?;
        Ok(scenario)
    }
}
