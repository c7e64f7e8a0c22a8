//! The permitted peers: the media addresses of this server, and nothing else.

use std::net::{IpAddr, SocketAddr};

/// The addresses that clients are told for media over UDP, canonical and in order.
///
/// Public TURN servers were abused to reach what is behind them, also by writing an address in another way
/// (CVE-2020-26262, CVE-2026-27624). So this is a list of what is allowed, and an address is made canonical before it is
/// looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Peers(Vec<SocketAddr>);

impl Peers {
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut all: Vec<_> = addresses.into_iter().map(canonical).collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// Whether a canonical address is a peer.
    pub(super) fn has(&self, peer: SocketAddr) -> bool {
        self.0.binary_search(&peer).is_ok()
    }

    /// Whether a peer is at a canonical address, at whatever port.
    pub(super) fn has_ip(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|peer| peer.ip() == ip)
    }

    /// Whether any peer has an IPv4 address.
    pub(super) fn has_v4(&self) -> bool {
        self.0.iter().any(SocketAddr::is_ipv4)
    }

    /// Whether any peer has an IPv6 address.
    pub(super) fn has_v6(&self) -> bool {
        self.0.iter().any(SocketAddr::is_ipv6)
    }
}

/// An address in the one form in which it is compared: no IPv4 in IPv6, no zone, no flow.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_a_peer_but_what_was_named() {
        let own = ["192.0.2.1:10000", "[2001:db8::1]:10000", "192.0.2.1:10001"];
        let peers = Peers::new(own.map(|address| address.parse().unwrap()));
        let has = |text: &str| peers.has(canonical(text.parse().unwrap()));
        for address in own {
            assert!(has(address), "{address}");
        }
        assert!(has("[::ffff:192.0.2.1]:10000"), "another way to write it");
        for other in [
            "192.0.2.1:10002",
            "192.0.2.1:0",
            "192.0.2.2:10000",
            "127.0.0.1:10000",
            "[::ffff:127.0.0.1]:10000",
            "[::192.0.2.1]:10000",
            "[64:ff9b::192.0.2.1]:10000",
            "[2001:db8::1]:10001",
            "0.0.0.0:10000",
            "[::]:10000",
            "169.254.169.254:80",
        ] {
            assert!(!has(other), "{other}");
        }
        assert!(peers.has_ip("192.0.2.1".parse().unwrap()));
        assert!(!peers.has_ip("127.0.0.1".parse().unwrap()));
        assert!(peers.has_v4() && peers.has_v6());
        assert!(!Peers::default().has_v4() && !Peers::default().has_v6());
    }
}
