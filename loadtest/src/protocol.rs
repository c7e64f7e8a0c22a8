//! What bots speak: our own protocol, or WHIP and WHEP to drive any server that has them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use clap::ValueEnum;
use tokio::sync::watch;

use crate::bot::signaling::ServerUrl;
use crate::bot::state::BotState;
use crate::bot::{self, BotConfig, Phase, Settled};
use crate::whip::{Template, Whip};

/// How a scenario's bots speak to the server.
#[derive(Clone, Debug, Default)]
pub enum Protocol {
    /// Tertulia's own: everybody in a room receives everybody else.
    #[default]
    Native,
    /// Publishers only publish, each a stream of its own; the others watch one stream each, in turn.
    Whip(Arc<Whip>),
}

impl Protocol {
    /// Which stream the bot in a room's seat publishes or watches, from 1.
    pub(crate) fn stream(&self, seat: usize, publishers: usize) -> Option<usize> {
        match self {
            Self::Native => None,
            Self::Whip(_) if seat < publishers => Some(seat + 1),
            Self::Whip(_) => Some((seat - publishers) % publishers.max(1) + 1),
        }
    }

    /// What the report calls the server.
    pub(crate) fn target(&self, native: &ServerUrl) -> String {
        match self {
            Self::Native => native.to_string(),
            Self::Whip(whip) => whip.to_string(),
        }
    }

    /// The server's address.
    pub(crate) async fn resolve(&self, native: &ServerUrl) -> std::io::Result<SocketAddr> {
        match self {
            Self::Native => native.resolve().await,
            Self::Whip(whip) => whip.resolve().await,
        }
    }

    /// Runs a bot until `phase` says to leave.
    pub(crate) fn run(
        &self,
        config: BotConfig,
        state: Arc<BotState>,
        phase: watch::Receiver<Phase>,
        settled: Settled,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self {
            Self::Native => Box::pin(bot::run(config, state, phase, settled)),
            Self::Whip(whip) => Box::pin(whip.run(config, state, phase, settled)),
        }
    }
}

/// The command line's choice.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ProtocolArgs {
    /// What bots speak to the server.
    #[arg(long, value_enum, default_value = "native")]
    protocol: Name,
    /// WHIP endpoint, such as `http://host/whip/{room}`; `{n}` is the publisher's number in its room.
    #[arg(long, value_name = "URL", help_heading = "WHIP and WHEP")]
    whip_url: Option<Template>,
    /// WHEP endpoint; `{n}` is the number of the publisher that is watched.
    #[arg(long, value_name = "URL", help_heading = "WHIP and WHEP")]
    whep_url: Option<Template>,
    /// Sent as `Authorization: Bearer` with every WHIP and WHEP request.
    #[arg(long, help_heading = "WHIP and WHEP")]
    token: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Name {
    /// Tertulia's own, over a WebSocket.
    #[default]
    Native,
    /// WHIP (RFC 9725) to publish and WHEP to watch, for servers of any make.
    Whip,
}

impl ProtocolArgs {
    pub(crate) fn check(&self, publishers: u16, subscribers: u16) -> Result<(), String> {
        let endpoints = [&self.whip_url, &self.whep_url];
        if self.protocol == Name::Native {
            return match endpoints.iter().any(|url| url.is_some()) || self.token.is_some() {
                true => Err("--whip-url, --whep-url and --token need --protocol whip".into()),
                false => Ok(()),
            };
        }
        if publishers > 0 && self.whip_url.is_none() {
            return Err("publishers need --whip-url".into());
        }
        if subscribers > 0 && self.whep_url.is_none() {
            return Err("subscribers need --whep-url".into());
        }
        for (flag, url) in ["--whip-url", "--whep-url"].iter().zip(endpoints) {
            if let Some(url) = url
                && publishers > 1
                && !url.is_numbered()
            {
                return Err(format!(
                    "{flag} needs {{n}}: with several publishers each is a stream of its own"
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match self.protocol {
            Name::Native => Protocol::Native,
            Name::Whip => Protocol::Whip(Arc::new(Whip::new(
                self.whip_url.clone(),
                self.whep_url.clone(),
                self.token.clone(),
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        protocol: ProtocolArgs,
    }

    fn check(arguments: &str, publishers: u16, subscribers: u16) -> Result<(), String> {
        let words = std::iter::once("x").chain(arguments.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.protocol.check(publishers, subscribers)
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_said() {
        let both = "--protocol whip --whip-url http://a/i/{room} --whep-url http://a/e/{room}";
        let numbered = "--protocol whip --whip-url http://a/{room}/{n} --whep-url http://a/{room}";
        for (arguments, publishers, subscribers, outcome) in [
            ("", 3, 3, ""),
            ("--token x", 3, 3, "need --protocol whip"),
            (both, 1, 5, ""),
            (both, 2, 0, "--whip-url needs {n}"),
            (numbered, 2, 5, "--whep-url needs {n}"),
            ("--protocol whip", 0, 1, "need --whep-url"),
            ("--protocol whip", 1, 0, "need --whip-url"),
            ("--whip-url https://a/{room}", 1, 0, "plain http"),
        ] {
            let said = check(arguments, publishers, subscribers);
            match outcome {
                "" => assert_eq!(said, Ok(()), "{arguments}"),
                part => assert!(said.clone().unwrap_err().contains(part), "{said:?}"),
            }
        }
    }

    #[test]
    fn viewers_take_the_streams_in_turn() {
        let whip = Protocol::Whip(Arc::new(Whip::new(None, None, None)));
        let streams: Vec<_> = (0..6).map(|seat| whip.stream(seat, 2).unwrap()).collect();
        assert_eq!(streams, [1, 2, 1, 2, 1, 2]);
        assert_eq!(whip.stream(4, 0), Some(1));
        assert_eq!(Protocol::Native.stream(0, 2), None);
    }
}
