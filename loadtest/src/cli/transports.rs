//! `tertulia-loadtest transports`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::report::{save, save_both};
use super::server::ServerArgs;
use super::{Status, failed, usage};
use crate::bot::signaling::ServerUrl;
use crate::scenario::settings::duration;
use crate::server::cores::Cores;
use crate::transports::{Comparison, Transport, TransportName};

/// The time after which a server lets go of a client that does not poll.
const POLL_GAP: Duration = Duration::from_secs(15);
/// Shorter intervals than this are busy waiting.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct TransportsArgs {
    /// Numbers of clients that listen, one after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: Vec<u32>,
    /// The transports, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = TransportName::ALL)]
    transports: Vec<TransportName>,
    /// Intervals of plain polling, below 15 s; each is a column
    #[arg(long, value_name = "DURATION", value_delimiter = ',', default_values = ["1s", "5s"], value_parser = duration)]
    poll_interval: Vec<Duration>,
    /// Clients that listen in one room at most, beside one that speaks; a server holds news back in rooms of 100 or more
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    per_room: u32,
    /// Messages a second to each client
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    messages_per_second: f64,
    /// Time with messages
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    seconds: Duration,
    /// Time without messages; 50 s are two long polls and ten pings
    #[arg(long, value_name = "DURATION", default_value = "50s", value_parser = duration)]
    idle_seconds: Duration,
    /// The server, which speaks plain http
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: ServerUrl,
    #[command(flatten)]
    server: ServerArgs,
    /// Cores of the clients
    #[arg(long, value_name = "LIST")]
    bot_cores: Option<Cores>,
    /// Where the table goes, in Markdown [default: the standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the JSON report goes; `-` is the standard output, and the table goes to the standard error then
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// No progress lines
    #[arg(long)]
    quiet: bool,
}

impl TransportsArgs {
    pub(super) async fn run(&self) -> Status {
        let comparison = self.comparison().map_err(usage)?;
        let progress = |line| {
            if !self.quiet {
                eprintln!("{line}");
            }
        };
        let report = comparison.run(progress).await.map_err(failed)?;
        let is_standard = |path: &Path| path.as_os_str() == "-";
        match &self.out {
            None if self.json.as_deref().is_some_and(is_standard) => eprintln!("{report}"),
            out => {
                let out = out.clone().unwrap_or_else(|| "-".into());
                save(&Some(out), || format!("{report}\n"))?;
            }
        }
        save_both(&self.json, &None, &report, |_| String::new())?;
        Ok(report.exit_status())
    }

    fn comparison(&self) -> Result<Comparison, String> {
        if !(self.messages_per_second > 0.0 && self.messages_per_second <= 1_000.0) {
            return Err("--messages-per-second must be above 0, and at most 1000".into());
        }
        let intervals = SHORTEST_INTERVAL..POLL_GAP;
        if !self.poll_interval.iter().all(|it| intervals.contains(it)) {
            return Err(format!(
                "--poll-interval must be {SHORTEST_INTERVAL:?} or more, and less than {POLL_GAP:?}: the server lets go of a client then"
            ));
        }
        if self.url.is_secure() {
            return Err("--url must be http: bytes of TLS are not measured".into());
        }
        Ok(Comparison {
            clients: self.clients.iter().map(|it| *it as usize).collect(),
            transports: Transport::of(&self.transports, &self.poll_interval),
            per_room: self.per_room as usize,
            rate: self.messages_per_second,
            talk: self.seconds,
            idle: self.idle_seconds,
            url: self.url.clone(),
            spawn: self.server.spawn(),
            server_pid: self.server.server_pid,
            cores: self.bot_cores.clone().unwrap_or_default().0,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        arguments: TransportsArgs,
    }

    fn comparison(words: &str) -> Result<Comparison, String> {
        let words = std::iter::once("transports").chain(words.split_whitespace());
        Words::parse_from(words).arguments.comparison()
    }

    #[test]
    fn the_comparison_of_the_documentation_is_the_default() {
        let it = comparison("").unwrap();
        assert_eq!((it.clients, it.transports.len()), (vec![1, 1_000], 5));
        assert_eq!((it.per_room, it.rate), (10, 1.0));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (words, complaint) in [
            ("--messages-per-second 0", "above 0"),
            ("--messages-per-second NaN", "above 0"),
            ("--poll-interval 15s", "less than 15s"),
            ("--poll-interval 1s,0s", "50ms or more"),
            ("--url https://calls.test", "must be http"),
        ] {
            let error = comparison(words).unwrap_err();
            assert!(error.contains(complaint), "{words}: {error}");
        }
    }
}
