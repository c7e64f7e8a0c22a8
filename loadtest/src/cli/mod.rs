//! The command line. Kept stable.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::sync::oneshot;

use crate::bot::publish::Video;
use crate::bot::signaling::ServerUrl;
use crate::progress;
use crate::protocol::{Protocol, ProtocolName};
use crate::report::Report;
use crate::scenario::settings::Settings;
use crate::scenario::{self, Scenario};
use crate::whip::Template;

/// Headless bots for a Tertulia server: they join, publish real media and check what they receive.
#[derive(Parser, Debug)]
#[command(name = "tertulia-loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Fill rooms with bots for a while and report how it went.
    ///
    /// Exit status: 0 when every bot joined, every track arrived and the oracle of what a decoder
    /// may be shown had no objection; 1 when not; 2 when the command line is wrong.
    Run(Run),
}

/// `tertulia-loadtest run`.
#[derive(clap::Args, Clone, Debug)]
struct Run {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: ServerUrl,
    /// What bots speak: native or whip
    #[arg(long, default_value = "native")]
    protocol: ProtocolName,
    /// WHIP endpoint, such as http://host/whip/{room}; {n} is the publisher's number in its room
    #[arg(long, value_name = "URL")]
    whip_url: Option<Template>,
    /// WHEP endpoint; {n} is the number of the publisher who is watched
    #[arg(long, value_name = "URL")]
    whep_url: Option<Template>,
    /// Sent as `Authorization: Bearer` with every request of WHIP and WHEP
    #[arg(long)]
    token: Option<String>,
    /// Rooms.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rooms: u16,
    /// Bots in each room that publish, and receive each other.
    #[arg(long, default_value_t = 3)]
    publishers: u16,
    /// Bots in each room that only receive.
    #[arg(long, default_value_t = 3)]
    subscribers: u16,
    #[arg(long, default_value = "720p", value_name = "KIND", help = format!("Video each publisher sends: {}", Video::NAMES))]
    video: Video,
    /// Publishers send audio too.
    #[arg(long)]
    audio: bool,
    /// How long the call lasts once everybody is in, such as `20s` or `5m`.
    #[arg(long, default_value = "20s", value_parser = duration)]
    duration: Duration,
    /// Where the JSON report goes; `-` is the standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Joins started in a second.
    #[arg(long, default_value_t = 50.0, value_parser = ramp, value_name = "PER_SECOND")]
    ramp: f64,
    /// How long one join may take.
    #[arg(long, default_value = "15s", value_parser = duration)]
    join_timeout: Duration,
    /// The room's name; with several rooms `-1`, `-2`... is appended.
    #[arg(long, default_value = "loadtest")]
    room: String,
    /// The address bots send from [default: the one that faces the server]
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,
    /// No progress lines.
    #[arg(long)]
    quiet: bool,
}

impl Cli {
    /// Does what was asked. Returns the exit status.
    pub async fn run(self) -> u8 {
        let Command::Run(run) = self.command;
        if let Err(problem) = run.check() {
            eprintln!("error: {problem}");
            return 2;
        }
        let quiet = run.quiet;
        let progress = |bots: &[Arc<_>]| {
            if !quiet {
                tokio::spawn(progress::watch(bots.to_vec(), |line| eprintln!("{line}")));
            }
        };
        let (interrupt, interrupted) = oneshot::channel();
        let interrupted = async {
            if interrupted.await.is_err() {
                std::future::pending().await
            }
        };
        let scenario = run.scenario();
        let report = tokio::select! {
            report = scenario::run(&scenario, interrupted, progress) => report,
            () = signals(interrupt) => return 130,
        };
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                eprintln!("error: {}: {error}", run.url);
                return 1;
            }
        };
        eprintln!("{report}");
        if let Some(path) = &run.json
            && let Err(error) = write(path, &report)
        {
            eprintln!("error: cannot write {}: {error}", path.display());
            return 1;
        }
        report.exit_status()
    }
}

impl Run {
    fn check(&self) -> Result<(), String> {
        if self.publishers == 0 && self.subscribers == 0 {
            return Err("a room needs --publishers or --subscribers".into());
        }
        if self.publishers > 0 && self.video == Video::None && !self.audio {
            return Err("publishers need --video or --audio; use --publishers 0 for none".into());
        }
        if let Protocol::Whip(whip) = self.settings().protocol()? {
            whip.check(self.publishers.into(), self.subscribers > 0)?;
        }
        Ok(())
    }

    fn settings(&self) -> Settings {
        Settings {
            protocol: Some(self.protocol),
            whip_url: self.whip_url.clone(),
            whep_url: self.whep_url.clone(),
            token: self.token.clone(),
            ..Settings::default()
        }
    }

    fn scenario(&self) -> Scenario {
        Scenario {
            url: self.url.clone(),
            protocol: self.settings().protocol().unwrap_or_default(),
            rooms: self.rooms.into(),
            publishers: self.publishers.into(),
            subscribers: self.subscribers.into(),
            video: self.video,
            audio: self.audio,
            duration: self.duration,
            ramp: self.ramp,
            join_timeout: self.join_timeout,
            room: self.room.clone(),
            address: self.bind,
            ..Scenario::default()
        }
    }
}

/// The first Ctrl-C (or SIGTERM) ends the call with a report; this ends with the second.
async fn signals(interrupt: oneshot::Sender<()>) {
    signal().await;
    eprintln!("interrupted: taking stock (again to quit at once)");
    let _ = interrupt.send(());
    signal().await;
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

fn write(path: &std::path::Path, report: &Report) -> std::io::Result<()> {
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    if path.as_os_str() == "-" {
        std::io::stdout().write_all(&json)
    } else {
        std::fs::write(path, json)
    }
}

/// `500ms`, `20s`, `5m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("`{unit}` is none of ms, s, m, h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no duration: write 20s or 5m"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

fn ramp(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate from 0.01 to 10000 joins a second".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Run, clap::Error> {
        let words = std::iter::once("tertulia-loadtest").chain(arguments.split_whitespace());
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Run(run) => run,
        })
    }

    #[test]
    fn the_documented_command_line_parses() {
        let run = parse(
            "run --url http://127.0.0.1:8080 --rooms 3 --publishers 4 --subscribers 4 \
             --video 720p-simulcast --audio --duration 20s --json -",
        );
        let scenario = run.unwrap().scenario();
        assert_eq!(
            (scenario.rooms, scenario.publishers, scenario.subscribers),
            (3, 4, 4)
        );
        assert_eq!(
            (scenario.video, scenario.audio),
            (Video::P720Simulcast, true)
        );
        assert_eq!(scenario.duration, Duration::from_secs(20));
        for video in ["none", "180p", "720p", "720p-simulcast"] {
            parse(&format!("run --video {video} --audio")).unwrap();
        }
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for arguments in [
            "",
            "walk",
            "run --rooms 0",
            "run --rooms x",
            "run --video 4k",
            "run --duration soon",
            "run --duration -1s",
            "run --ramp 0",
            "run --url localhost",
            "run --url https://calls.test",
            "run --unknown",
        ] {
            let error = parse(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}: {error}");
        }
        for arguments in ["run --publishers 0 --subscribers 0", "run --video none"] {
            assert!(parse(arguments).unwrap().check().is_err(), "{arguments}");
        }
        assert!(
            parse("run --video none --publishers 0")
                .unwrap()
                .check()
                .is_ok()
        );
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("20s", 20_000),
            ("1.5m", 90_000),
            ("1h", 3_600_000),
            ("7", 7_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1d", "1.2.3s", "-3s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
