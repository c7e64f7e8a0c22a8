//! The protocols of bots: our own, or WHIP and WHEP to drive any server that has them.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Deserialize;

use crate::bot::signaling::ServerUrl;
use crate::whip::Whip;

/// The protocol of a scenario's bots.
#[derive(Clone, Debug, Default)]
pub enum Protocol {
    /// Tertulia's own: everybody in a room receives everybody else.
    #[default]
    Native,
    /// Publishers only publish, each a stream of its own; the others watch one stream each, in turn.
    Whip(Arc<Whip>),
}

impl Protocol {
    /// The stream that the bot in a room's seat publishes or watches, from 1.
    pub(crate) fn stream(&self, seat: usize, publishers: usize) -> Option<usize> {
        match self {
            Self::Native => None,
            Self::Whip(_) if seat < publishers => Some(seat + 1),
            Self::Whip(_) => Some((seat - publishers) % publishers.max(1) + 1),
        }
    }

    /// The server's name in the report.
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
}

/// The name of a protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolName {
    /// Tertulia's own, over a WebSocket.
    #[default]
    Native,
    /// WHIP (RFC 9725) to publish and WHEP to watch.
    Whip,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::settings::Settings;

    fn check(file: &str) -> Result<(), String> {
        Settings::parse(file)?.scenario("test").map(drop)
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_said() {
        let both = "whip_url = 'http://a/i/{room}'\nwhep_url = 'http://a/e/{room}'\n";
        let (whip, one) = ("protocol = 'whip'\n", "publishers = 1\n");
        for (parts, complaint) in [
            (&["protocol = 'native'"][..], ""),
            (&["protocol = 'srt'"], "`native` or `whip`"),
            (&["token = 'x'"], ""),
            (&["ca_file = 'x'"], "--ca-file is for an https address"),
            (
                &["ca_file = '/dev/null'\n", "url = 'https://a'"],
                "it has no certificate",
            ),
            (&["admin_url = 'https://a'"], "speaks plain http"),
            (&["url = 'https://a'"], ""),
            (&[whip, both, one], ""),
            (&[whip, both, "publishers = 0"], ""),
            (&[whip, both], "--whip-url needs {publisher}"),
            (
                &[whip, "publishers = 0\nwhip_url = 'http://a/'"],
                "subscribers need --whep-url",
            ),
            (
                &[
                    whip,
                    "subscribers = 0\nchurn = 5\nwhip_url = 'http://a/{publisher}'",
                ],
                "--whep-url",
            ),
            (
                &[whip, one, "whep_url = 'http://a/'"],
                "publishers need --whip-url",
            ),
            (
                &[
                    whip,
                    "whip_url = 'http://a/{publisher}'\nwhep_url = 'http://a/'",
                ],
                "--whep-url needs {publisher}",
            ),
            (&[whip, one, "whip_url = 'https://a/{room}'"], "--whep-url"),
            (&[whip, "whip_url = 'ftp://a/{room}'"], "no http URL"),
            (&[whip, both, one, "bot = 'wire'"], "--bot webrtc"),
            (&[whip, both, one, "spawn = true"], "no --url"),
        ] {
            match (check(&parts.concat()), complaint) {
                (Ok(()), "") => {}
                (Err(said), complaint) if !complaint.is_empty() => {
                    assert!(said.contains(complaint), "{parts:?}: {said}");
                }
                (said, _) => panic!("{parts:?}: {said:?}"),
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
