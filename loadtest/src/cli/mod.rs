//! The command line. Kept stable.

use std::fmt::Display;

use clap::{Parser, Subcommand};

pub(crate) mod run;

mod compare;
mod crowd;
mod impair;
mod mesh;
mod report;
mod server;
mod sweep;
mod transports;

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
    /// Exit status: 0 when every bot joined, every track arrived and the decoder check found no fault; 1 when not; 2
    /// when the command line is wrong; 3 when all that is so, but the run is not valid: something other than the server
    /// may explain its figures (the report says what).
    Run(Box<run::Run>),
    /// List the scenarios that come with the program.
    Scenarios,
    /// Show a report again: its summary, or a page with charts.
    ///
    /// Exit status: 1 when it cannot be read or written.
    Report(report::ReportArgs),
    /// Two runs (or the medians of several) side by side, and what differs by more than noise.
    ///
    /// Exit status: 1 when a file cannot be read or written, or a run is not valid and `--force`
    /// was not given.
    Compare(compare::CompareArgs),
    /// Find the largest load that still meets an objective, and draw the curve on the way there.
    ///
    /// Each load is a run of its own, with a fresh server where `--spawn` is given. Exit status: 1
    /// when no load met the objective or a run could not begin; 2 when the command line is wrong.
    Sweep(Box<sweep::SweepArgs>),
    /// Compute a call without a relay: what each would send and receive, checked by a small mesh.
    ///
    /// Exit status: 1 when it could not be built, or did not behave as the arithmetic says.
    Mesh(mesh::MeshArgs),
    /// Fill one room with people without media, and count what it tells them.
    ///
    /// Exit status: 1 when somebody could not join, or was dropped.
    Crowd(Box<crowd::CrowdArgs>),
    /// Set polling, long polling, server-sent events and a WebSocket side by side: latency, bytes, requests, cost.
    ///
    /// Clients without media talk in small rooms, and are silent for a while, by each transport and in each number. Exit
    /// status: 1 when a message did not come once and in order at each client, or somebody could not join; 2 when the command
    /// line is wrong; 3 when all that is well, but something other than the server may explain the figures.
    Transports(Box<transports::TransportsArgs>),
    /// A UDP proxy that loses, delays and reorders, to stand between real clients and a server.
    ///
    /// Clients send to --listen; the server announces that address to them (`tertulia
    /// --announce-for NAME=ADDRESS:PORT`, or --media-announce for all). Each client has a path of its
    /// own in either direction. The standard input changes them while it runs, a line at a time:
    /// `down rate=500k loss=5%`, `up delay=30ms`, `both jitter=10ms`, `clear` (no impairment),
    /// `reset` (as the command line said), `start` (the script, again), `stats`. SIGINT and SIGTERM
    /// end it with a summary. Exit status: 1 when the address cannot be bound; 2 when the command
    /// line or the script is wrong.
    Impair(Box<impair::ImpairArgs>),
}

/// The exit status of a command.
type Status = Result<u8, Failed>;

/// An exit status and the reason for it.
struct Failed(u8, String);

/// The command line is wrong.
fn usage(error: impl Display) -> Failed {
    Failed(2, error.to_string())
}

fn failed(error: impl Display) -> Failed {
    Failed(1, error.to_string())
}

impl Cli {
    /// Runs the command, and returns the exit status.
    pub async fn run(self) -> u8 {
        let status = match self.command {
            Command::Run(run) => run.run().await,
            Command::Scenarios => Ok(run::list()),
            Command::Report(report) => report.run(),
            Command::Compare(compare) => compare.run(),
            Command::Sweep(sweep) => sweep.run().await,
            Command::Mesh(mesh) => mesh.run().await,
            Command::Crowd(crowd) => crowd.run().await,
            Command::Transports(transports) => transports.run().await,
            Command::Impair(impair) => impair.run().await,
        };
        status.unwrap_or_else(|Failed(status, error)| {
            eprintln!("error: {error}");
            status
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bot::publish::Video;
    use crate::scenario::{BotKind, Scenario};

    fn parse(arguments: &str) -> Result<Result<Scenario, String>, clap::Error> {
        let words = std::iter::once("tertulia-loadtest").chain(arguments.split_whitespace());
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Run(run) => run.scenario.scenario(),
            _ => Err("no run".into()),
        })
    }

    #[test]
    fn the_documented_command_line_parses() {
        let run = parse(
            "run --url http://127.0.0.1:8080 --rooms 3 --publishers 4 --subscribers 4 \
             --video 720p-simulcast --audio --duration 20s --json -",
        );
        let scenario = run.unwrap().unwrap();
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
            parse(&format!("run --video {video} --audio"))
                .unwrap()
                .unwrap();
        }
        parse("run --scenario livestream --spawn --server-cores 0 --bot-cores 1 --json -")
            .unwrap()
            .unwrap();
        assert!(parse("scenarios").is_ok());
        for arguments in [
            "report a.json --html a.html",
            "compare a.json b.json --force",
            "compare a1.json,a2.json b1.json,b2.json --html c.html",
            "sweep --scenario livestream --spawn --over subscribers=10..1000 \
             --objective loss<0.1%,delay_p99<5ms --repeat 3 --json s.json --html s.html",
            "sweep --over rate=100..20000:8 --bot wire",
            "mesh --people 4 --video 720p --audio --duration 10s --json -",
            "crowd --people 2000 --clients plain --rate 20 --duration 5s --changes chat,come-and-go --spawn \
             --server-cores 0 --bot-cores 1 --json -",
            "transports --clients 1,1000 --transports websocket,polling --poll-interval 1s,5s --per-room 10 \
             --messages-per-second 2 --seconds 60 --idle-seconds 50 --spawn --server-cores 0 --bot-cores 1 --json t.json \
             --out t.md --quiet",
            "impair --listen 127.0.0.1:9000 --to 127.0.0.1:10000 --rate-down 500k --queue-down 200ms \
             --loss-down 5% --delay-down 30ms --jitter-down 5ms --burst-up 5%/8 --reorder-up 2%/20ms \
             --noise-up 20%/500ms --rival-down 60ms --overtake-up yes --queue-bytes-up 64000 --seed 7 \
             --script s.toml --json-stats - --every 1s --clients 8 --idle 10s",
        ] {
            assert!(parse(arguments).is_ok(), "{arguments}");
        }
    }

    #[test]
    fn flags_win_over_the_scenario() {
        let plain = parse("run --scenario small").unwrap().unwrap();
        assert_eq!(
            (
                plain.name.as_str(),
                plain.bot,
                plain.publishers,
                plain.audio
            ),
            ("small", BotKind::Webrtc, 3, true)
        );
        let changed = "run --scenario small --bot wire --publishers 7 --audio false --spawn";
        let changed = parse(changed).unwrap().unwrap();
        assert_eq!(
            (
                changed.name.as_str(),
                changed.bot,
                changed.publishers,
                changed.audio
            ),
            ("small", BotKind::Wire, 7, false)
        );
        assert_eq!(changed.subscribers, plain.subscribers);
        assert!(changed.spawn.is_some() && plain.spawn.is_none());
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for arguments in [
            "",
            "walk",
            "run --rooms x",
            "run --video 4k",
            "run --duration soon",
            "run --duration -1s",
            "run --url localhost",
            "run --url https://",
            "run --server-cores x",
            "run --bot human",
            "run --about x",
            "run --unknown",
            "report",
            "compare a.json",
            "sweep --scenario livestream",
            "sweep --over people=1..2",
            "sweep --over rooms=1..4 --objective speed<1",
            "mesh --people 1",
            "crowd --people 0",
            "crowd --changes weather",
            "crowd --spawn --server-pid 7",
            "mesh --video 720p-simulcast",
            "transports --clients 0",
            "transports --transports carrier-pigeon",
            "transports --spawn --url http://127.0.0.1:8080",
            "impair --listen 127.0.0.1:9000",
            "impair --listen 9000 --to 127.0.0.1:10000",
            "impair --listen 127.0.0.1:9000 --to 127.0.0.1:10000 --rate-down fast",
            "impair --listen 127.0.0.1:9000 --to 127.0.0.1:10000 --loss-up 200%",
        ] {
            let error = parse(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}: {error}");
        }
        for arguments in [
            "run --rooms 0",
            "run --ramp 0",
            "run --publishers 0 --subscribers 0",
            "run --video none",
            "run --scenario nonesuch",
            "run --server-cores 0",
        ] {
            assert!(parse(arguments).unwrap().is_err(), "{arguments}");
        }
        assert!(parse("run --video none --publishers 0").unwrap().is_ok());
    }
}
