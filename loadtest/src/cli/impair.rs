//! `tertulia-loadtest impair`.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches, FromArgMatches};
use serde_json::json;
use tertulia_sfu::testing::network::{Models, PathStats, Script};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{Status, failed, usage};
use crate::impair::{ClientStats, Command, DirectionStats, Proxy, Settings};
use crate::scenario::settings::duration;

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ImpairArgs {
    /// Where clients send to: the address that the server announces to them
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The server's media address
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: SocketAddr,
    /// Changes over time (TOML), from the first datagram of a client on
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Seed of all random numbers [default: the script's, else 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Clients (source addresses) at a time; datagrams of more are dropped
    #[arg(long, value_name = "N", default_value_t = 64)]
    clients: usize,
    /// A silent client is forgotten after this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    idle: Duration,
    /// Time between statistics, 0 for only at the end
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    every: Duration,
    /// Where they go as JSON lines too; `-` is the standard output, and then nothing else is
    #[arg(long, value_name = "FILE")]
    json_stats: Option<PathBuf>,
    #[command(flatten)]
    paths: PathFlags,
}

/// `--rate-down 500k` and so on: each setting of a path, in both directions.
#[derive(Clone, Debug)]
struct PathFlags {
    start: Models,
}

/// Name, value and help of a flag, for each direction.
macro_rules! path_flags {
    ($($name:literal $value:literal $help:literal;)*) => {
        [$(
            ($name, true, concat!($name, "-down"), $value, $help),
            ($name, false, concat!($name, "-up"), $value, concat!("As --", $name, "-down")),
        )*]
    };
}

const PATH_FLAGS: [(&str, bool, &str, &str, &str); 22] = path_flags![
    "rate" "RATE" "Bits a second of UDP payload, such as 500k or 3M";
    "queue" "TIME" "What would wait longer for the rate is dropped [default: 200ms]";
    "queue-bytes" "N" "What would wait behind more bytes is dropped";
    "delay" "TIME" "Propagation, such as 30ms";
    "jitter" "TIME" "Up to this much is added to it at random";
    "overtake" "yes|no" "Whether jitter may reorder [default: no]";
    "loss" "SHARE" "Share lost at random, such as 5%";
    "burst" "SHARE/N" "Share lost in bursts, and how long these are on average, such as 5%/8";
    "reorder" "SHARE/TIME" "Share that is delayed alone, and by how much, such as 2%/20ms";
    "noise" "SHARE/TIME" "By how much the rate varies, and how often, such as 20%/500ms";
    "rival" "TIME" "A TCP-like flow of this round trip shares the rate, such as 60ms";
];

impl clap::Args for PathFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let mut command = command;
        for (_, down, flag, value, help) in PATH_FLAGS {
            let heading = if down {
                "Towards clients"
            } else {
                "From clients"
            };
            command = command.arg(
                Arg::new(flag)
                    .long(flag)
                    .value_name(value)
                    .help(help)
                    .help_heading(heading),
            );
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PathFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut start = Models::CLEAR;
        for (setting, down, flag, ..) in PATH_FLAGS {
            let Some(value) = matches.get_one::<String>(flag) else {
                continue;
            };
            let model = if down { &mut start.down } else { &mut start.up };
            model.set(setting, value).map_err(|error| {
                let kind = clap::error::ErrorKind::ValueValidation;
                clap::Error::raw(kind, format!("--{flag}: {error}\n"))
            })?;
        }
        Ok(Self { start })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl ImpairArgs {
    pub(super) async fn run(&self) -> Status {
        let settings = self.settings().map_err(usage)?;
        let json = self.json_stats.as_deref().map(open).transpose();
        let mut json = json.map_err(|error| failed(format!("--json-stats: {error}")))?;
        let started = Proxy::start(settings);
        let (proxy, notices) =
            started.map_err(|error| failed(format!("{}: {error}", self.listen)))?;
        let quiet = self.json_stats.as_deref() == Some(Path::new("-"));
        let say = |text: String| {
            if !quiet {
                println!("{text}");
            }
        };
        say(format!("impair: {} -> {}", proxy.addr(), self.to));
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return Err(failed("signals cannot be heard"));
        };
        let mut notices = forward(move || notices.recv().ok());
        let mut lines = forward({
            let mut lines = std::io::BufReader::new(std::io::stdin()).lines();
            move || lines.next()?.ok()
        });
        let period = Some(self.every).filter(|every| !every.is_zero());
        let mut ticks = interval(period.unwrap_or(FOREVER));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                Some(notice) = notices.recv() => {
                    say(format!("{:.2}s {}", notice.at.as_secs_f64(), notice.text));
                    let line = json!({ "at": notice.at.as_secs_f64(), "happened": notice.text });
                    write(&mut json, &line);
                }
                Some(line) = lines.recv() => match line.trim() {
                    "" => {}
                    "stats" => report(&proxy, &say, &mut json, self.every),
                    line => {
                        let done = line.parse().and_then(|command: Command| proxy.command(&command));
                        if let Err(error) = done {
                            eprintln!("error: {error}");
                        }
                    }
                },
                _ = ticks.tick() => report(&proxy, &say, &mut json, self.every),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        let (clients, up, down) = proxy.totals();
        say(format!(
            "{:.2}s ends; {clients} clients",
            proxy.elapsed().as_secs_f64()
        ));
        for (name, stats) in [("up", &up), ("down", &down)] {
            say(format!("  {name}: {}", in_all(stats)));
        }
        let line = json!({ "at": proxy.elapsed().as_secs_f64(), "clients": clients,
            "up": total(&up), "down": total(&down) });
        write(&mut json, &line);
        Ok(0)
    }

    fn settings(&self) -> Result<Settings, String> {
        if self.listen == self.to {
            return Err("--listen and --to are the same address".into());
        }
        if self.clients == 0 {
            return Err("--clients must not be 0".into());
        }
        let start = self.paths.start;
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
            let script = text
                .and_then(|text| Script::parse(&text, start).map_err(|error| error.to_string()));
            script.map_err(|error| format!("{}: {error}", path.display()))
        };
        let script = self.script.as_ref().map(read).transpose()?;
        let start = script.as_ref().map_or(start, |script| script.start);
        let scripted = script.as_ref().and_then(|script| script.seed);
        Ok(Settings {
            listen: self.listen,
            to: self.to,
            start,
            script,
            seed: self.seed.or(scripted).unwrap_or(1),
            clients: self.clients,
            idle: self.idle,
        })
    }
}

/// The interval if nothing is to be repeated.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Carries the values of a blocking source to an async receiver. Its thread ends with the process.
fn forward<T: Send + 'static>(
    mut next: impl FnMut() -> Option<T> + Send + 'static,
) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Some(item) = next() {
            if sender.blocking_send(item).is_err() {
                return;
            }
        }
    });
    receiver
}

type Out = Box<dyn Write + Send>;

fn open(path: &Path) -> std::io::Result<Out> {
    Ok(match path.to_str() {
        Some("-") => Box::new(std::io::stdout()),
        _ => Box::new(std::fs::File::create(path)?),
    })
}

fn write(out: &mut Option<Out>, line: &serde_json::Value) {
    if let Some(out) = out
        && writeln!(out, "{line}").and_then(|()| out.flush()).is_err()
    {
        eprintln!("error: --json-stats cannot be written");
    }
}

fn report(proxy: &Proxy, say: &impl Fn(String), json: &mut Option<Out>, every: Duration) {
    let at = proxy.elapsed().as_secs_f64();
    for stats in proxy.stats() {
        let ClientStats { client, up, down } = &stats;
        say(format!(
            "{at:.2}s {client} up: {}; down: {}",
            lately(up, every),
            lately(down, every)
        ));
        write(
            json,
            &json!({ "at": at, "client": client, "up": up, "down": down }),
        );
    }
}

fn lately(stats: &DirectionStats, every: Duration) -> String {
    let seconds = every.as_secs_f64();
    let rate = match seconds > 0.0 {
        true => format!(
            "{:.0} kbit/s, ",
            stats.delivered_bytes as f64 * 8e-3 / seconds
        ),
        false => String::new(),
    };
    format!(
        "{rate}{} sent, {} lost, {} dropped, {:.0} ms queued (p95 {:.0})",
        stats.sent, stats.lost, stats.dropped, stats.queue_ms, stats.queue_p95_ms
    )
}

fn in_all(stats: &PathStats) -> String {
    format!(
        "{} sent, {} lost, {} dropped, {} bytes delivered, p95 {} ms queued",
        stats.sent,
        stats.lost,
        stats.dropped,
        stats.delivered_bytes,
        stats.queue_delay(0.95).as_millis()
    )
}

fn total(stats: &PathStats) -> serde_json::Value {
    json!({ "sent": stats.sent, "lost": stats.lost, "dropped": stats.dropped,
        "delivered": stats.delivered, "delivered_bytes": stats.delivered_bytes,
        "queue_p95_ms": stats.queue_delay(0.95).as_secs_f64() * 1e3 })
}
