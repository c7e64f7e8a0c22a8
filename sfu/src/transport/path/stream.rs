//! A path over a stream: a connection that carries datagrams.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Path;

/// One stream of a worker. It is another one for each connection, also where addresses come again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct StreamPath {
    opened: u32,
    slot: u16,
    port: u16,
    /// IPv4 addresses as IPv4-mapped ones.
    ip: [u8; 16],
    kind: StreamKind,
}

/// The protocol of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum StreamKind {
    /// ICE-TCP (RFC 6544).
    IceTcp,
    /// A TURN allocation (RFC 8656) whose client is connected by TCP. The stream comes from its relayed address.
    TurnTcp,
    /// A TURN allocation whose client is connected by TLS.
    TurnTls,
}

/// The far end of a stream that is being opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StreamOrigin {
    /// The client's address, as the connection tells it; of a TURN allocation its relayed address.
    pub(crate) from: SocketAddr,
    pub(crate) kind: StreamKind,
}

impl StreamOrigin {
    /// Its path, as the `opened`th stream of a worker, in the worker's `slot`.
    pub(crate) fn path(self, slot: u16, opened: u32) -> Path {
        Path::Stream(StreamPath::new(slot, opened, self.kind, self.from))
    }
}

impl StreamPath {
    /// The stream in a worker's `slot`, the `opened`th of that worker, to a client at `from`.
    pub(crate) fn new(slot: u16, opened: u32, kind: StreamKind, from: SocketAddr) -> Self {
        let ip = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            opened,
            slot,
            port: from.port(),
            ip: ip.octets(),
            kind,
        }
    }

    /// Its place in the worker's table.
    pub(crate) const fn slot(self) -> u16 {
        self.slot
    }

    /// The address at which the client is told to be.
    pub(crate) const fn addr(self) -> SocketAddr {
        SocketAddr::new(
            IpAddr::V6(Ipv6Addr::from_octets(self.ip)).to_canonical(),
            self.port,
        )
    }

    /// A stable code of its protocol.
    pub(crate) const fn code(self) -> &'static str {
        match self.kind {
            StreamKind::IceTcp => "tcp",
            StreamKind::TurnTcp => "turn_tcp",
            StreamKind::TurnTls => "turn_tls",
        }
    }

    /// Whether its datagrams are wrapped by TURN: the longer way, and 4 to 36 bytes more in each.
    pub(crate) const fn is_relayed(self) -> bool {
        matches!(self.kind, StreamKind::TurnTcp | StreamKind::TurnTls)
    }
}

impl fmt::Display for StreamPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_clients() {
        use StreamKind::{IceTcp, TurnTcp, TurnTls};
        for (from, kind, shown) in [
            ("192.0.2.7:9", IceTcp, "tcp 192.0.2.7:9"),
            ("[::ffff:192.0.2.7]:9", IceTcp, "tcp 192.0.2.7:9"),
            ("[2001:db8::7]:65535", IceTcp, "tcp [2001:db8::7]:65535"),
            ("203.0.113.1:9", TurnTcp, "turn_tcp 203.0.113.1:9"),
            ("203.0.113.1:9", TurnTls, "turn_tls 203.0.113.1:9"),
        ] {
            let path = StreamPath::new(3, 1, kind, from.parse().unwrap());
            assert_eq!(path.to_string(), shown);
            assert_eq!(path.slot(), 3);
        }
    }
}
