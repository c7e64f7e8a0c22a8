//! The path of a bot's media to the server.

use std::fmt;

use clap::ValueEnum;
use serde::Deserialize;

/// A transport, and whether a TURN server (RFC 8656) is between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaPath {
    /// UDP.
    #[default]
    Udp,
    /// ICE-TCP (RFC 6544).
    Tcp,
    /// TURN by TCP.
    TurnTcp,
    /// TURN by TLS.
    TurnTls,
}

impl fmt::Display for MediaPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::TurnTcp => "turn-tcp",
            Self::TurnTls => "turn-tls",
        })
    }
}
