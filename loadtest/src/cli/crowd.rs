//! `tertulia-loadtest crowd`.

use std::path::PathBuf;
use std::time::Duration;

use super::report::save_both;
use super::server::ServerArgs;
use super::{Status, failed, usage};
use crate::bot::signaling::ServerUrl;
use crate::crowd::{Change, Clients, Crowd};
use crate::scenario::settings::duration;
use crate::server::cores::Cores;

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct CrowdArgs {
    /// Number of people in the room
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    people: u32,
    /// The abilities that their clients claim
    #[arg(long, value_enum, default_value_t)]
    clients: Clients,
    /// Changes a second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Time that each kind of change goes on
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Kinds of change, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Change::ALL)]
    changes: Vec<Change>,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: ServerUrl,
    #[command(flatten)]
    server: ServerArgs,
    /// Cores of the crowd
    #[arg(long, value_name = "LIST")]
    bot_cores: Option<Cores>,
    /// Where the JSON report goes; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CrowdArgs {
    pub(super) async fn run(&self) -> Status {
        if !(self.rate > 0.0 && self.rate <= 100_000.0) {
            return Err(usage("--rate must be above 0, and at most 100000"));
        }
        let spawn = self.server.spawn();
        let crowd = Crowd {
            people: self.people as usize,
            clients: self.clients,
            rate: self.rate,
            duration: self.duration,
            changes: self.changes.clone(),
            url: self.url.clone().trusting(None).map_err(failed)?,
            spawn,
            server_pid: self.server.server_pid,
            cores: self.bot_cores.clone().unwrap_or_default().0,
        };
        let report = crowd.run().await.map_err(failed)?;
        eprintln!("{report}");
        save_both(&self.json, &None, &report, |_| String::new())?;
        Ok(report.exit_status())
    }
}
