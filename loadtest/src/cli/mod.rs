//! The command line. Kept stable.

use clap::{Parser, Subcommand};

pub(crate) mod run;

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
    /// may be shown had no objection; 1 when not; 2 when the command line is wrong; 3 when all that
    /// is so, but the figures are not valid: something other than the server may have made them
    /// (the report says what).
    Run(Box<run::Run>),
    /// List the scenarios that come with the program.
    Scenarios,
}

impl Cli {
    /// Does what was asked. Returns the exit status.
    pub async fn run(self) -> u8 {
        match self.command {
            Command::Run(run) => run.run().await,
            Command::Scenarios => run::list(),
        }
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
            Command::Scenarios => Err("no run".into()),
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
            "run --ramp 0",
            "run --url localhost",
            "run --url https://calls.test",
            "run --server-cores x",
            "run --bot human",
            "run --about x",
            "run --unknown",
        ] {
            let error = parse(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}: {error}");
        }
        for arguments in [
            "run --rooms 0",
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
