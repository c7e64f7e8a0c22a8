//! The protocols on one port, told apart by the first bytes of a connection.
//!
//! | first byte | protocol |
//! |---|---|
//! | 0 to 2 | media: ICE-TCP, by the high byte of a frame's length, or TURN, by the type of a message |
//! | 22 | TLS: the type of a record with a handshake |
//! | a capital | HTTP: a method (RFC 9110 section 9.3) |
//!
//! Nothing is told apart by ALPN or SNI, which many clients do not send.

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::ice_tcp::IceTcp;
use super::over_tcp::OverTcp;
use super::proxied::ProxyProtocol;
use super::tls::Tls;

/// The protocols of a listener beside HTTP.
#[derive(Clone, Default)]
pub(crate) struct Front {
    /// None: nothing is encrypted.
    pub(crate) tls: Option<Tls>,
    /// Media over TCP.
    pub(crate) over_tcp: OverTcp,
    /// None: no header of a proxy comes before anything else.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

/// The protocol that a client begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// Media: datagrams in frames (RFC 4571), or TURN.
    Media,
    /// A handshake of TLS (RFC 8446 section 5.1).
    Tls,
    /// A request in the clear.
    Http,
    /// Something else, which the server does not speak.
    Other,
}

/// Bytes of a client that are looked at: as many as it takes to tell STUN in a frame from STUN without one, whose magic cookie
/// is at the fifth (RFC 8489 section 5).
const LOOK: usize = 8;
/// The type of a TLS record with a handshake.
const HANDSHAKE: u8 = 22;

impl Front {
    /// The protocol of a client, whose bytes stay to be read. None if nothing came before `until`, where the protocol's own
    /// bound ends it, or if there is nothing but HTTP.
    pub(super) async fn protocol(&self, stream: &TcpStream, until: Instant) -> Option<Protocol> {
        if self.tls.is_none() && !self.over_tcp.is_any() {
            return None;
        }
        let mut first = [0; LOOK];
        let len = timeout_at(until, stream.peek(&mut first))
            .await
            .ok()?
            .ok()?;
        Protocol::of(&first[..len])
    }
}

impl Protocol {
    /// The protocol of these first bytes; none without any.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        Some(match *first.first()? {
            byte if IceTcp::begins_with(byte) => Self::Media,
            HANDSHAKE => Self::Tls,
            byte if byte.is_ascii_uppercase() => Self::Http,
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_differ_in_their_first_bytes() {
        for (first, expected) in [
            (&b""[..], None),
            // STUN checks of 108 and of 600 bytes in frames, and a frame of which one byte has come.
            (b"\x00\x6c\x00\x01\x00\x58\x21\x12", Some(Protocol::Media)),
            (b"\x02\x58\x00\x01\x02\x44\x21\x12", Some(Protocol::Media)),
            (b"\x00", Some(Protocol::Media)),
            // A ClientHello, and records of other types.
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", Some(Protocol::Tls)),
            (b"\x16", Some(Protocol::Tls)),
            (b"\x15\x03\x03\x00\x02\x02\x28", Some(Protocol::Other)),
            (b"\x17\x03\x03", Some(Protocol::Other)),
            (b"GET / HT", Some(Protocol::Http)),
            (b"POST /v1", Some(Protocol::Http)),
            (b"P", Some(Protocol::Http)),
            (b"get / ht", Some(Protocol::Other)),
            // A longer frame, a header of a proxy that is none of the listener's, SSH.
            (b"\x03\x00\x00\x01", Some(Protocol::Other)),
            (b"\r\n\r\n\0\r\nQ", Some(Protocol::Other)),
            (b"\x80\x2e\x01", Some(Protocol::Other)),
            (b"SSH-2.0-", Some(Protocol::Http)),
        ] {
            assert_eq!(Protocol::of(first), expected, "{first:?}");
        }
    }
}
