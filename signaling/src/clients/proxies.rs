//! Proxies, and their word for where a request comes from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use serde::Deserialize;

use super::ClientAddress;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// An address, or a network like `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is one of these.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let beyond = 32 - u32::from(self.bits);
                let different = network.to_bits() ^ address.to_bits();
                different.checked_shr(beyond).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let beyond = 128 - u32::from(self.bits);
                let different = network.to_bits() ^ Ipv6Addr::to_bits(address);
                different.checked_shr(beyond).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like 10.0.0.7 or 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.trim().parse().map_err(|_| wrong())?,
            None => most,
        };
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The address that a request comes from: that of its connection, or, while that is a proxy's whose word counts, the
/// last that it names in `X-Forwarded-For`. None: the server that the router is mounted in does not tell.
pub(crate) fn client_of(parts: &Parts, trusted: &[Network]) -> Option<ClientAddress> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    // Each proxy appends the address that asked it. Entries before the first non-proxy may be made up.
    // The made up ones may be no text, which does not make the proxy's own entry unreadable.
    let named = parts.headers.get_all(FORWARDED_FOR).iter().rev();
    let mut named = named.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer.ip();
    while trusted.iter().any(|network| network.holds(client)) {
        let Some(before) = named.next().and_then(address_in) else {
            break;
        };
        client = before;
    }
    Some(client.into())
}

/// Some proxies append the port.
fn address_in(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn networks_are_read_and_hold_what_is_theirs() {
        for (network, address, holds) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.6", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
        ] {
            let network: Network = network.parse().expect(network);
            let held = network.holds(address.parse().expect(address));
            assert_eq!(held, holds, "{network:?} {address}");
        }
        for wrong in [
            "",
            "proxy",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::/129",
            "10.0.0/8",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_proxys_word_counts_and_a_strangers_does_not() {
        let trusted = ["10.0.0.0/8", "::1"].map(|text| text.parse().expect("a network"));
        for (peer, forwarded, client) in [
            ("192.0.2.1:5", &[][..], "192.0.2.1"),
            ("192.0.2.1:5", &["198.51.100.1"], "192.0.2.1"),
            ("10.0.0.1:5", &[], "10.0.0.1"),
            ("10.0.0.1:5", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:5", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:5", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:5", &["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1:5", &["198.51.100.1:1234"], "198.51.100.1"),
            ("[::1]:5", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("[::1]:5", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1:5", &["10.0.0.3"], "10.0.0.3"),
            ("10.0.0.1:5", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1:5", &[""], "10.0.0.1"),
        ] {
            let mut request = Request::builder();
            for value in forwarded {
                request = request.header(FORWARDED_FOR, *value);
            }
            let peer: SocketAddr = peer.parse().expect("an address");
            let request = request.extension(ConnectInfo(peer)).body(());
            let (parts, ()) = request.expect("a request").into_parts();
            let client: IpAddr = client.parse().expect("an address");
            assert_eq!(
                client_of(&parts, &trusted),
                Some(client.into()),
                "{forwarded:?}"
            );
        }
        let (parts, ()) = Request::new(()).into_parts();
        assert_eq!(client_of(&parts, &trusted), None);
    }

    #[test]
    fn what_is_no_text_before_a_proxys_entry_does_not_hide_it() {
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        for (forwarded, client) in [
            (&[&b"\xff, 198.51.100.1"[..]][..], "198.51.100.1"),
            (&[b"\xff", b"198.51.100.1"], "198.51.100.1"),
            (&[b"6.6.6.6\xe9,198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            // An entry that cannot be read ends the walk at the last one before it.
            (&[b"198.51.100.1, \xff, 10.0.0.2"], "10.0.0.2"),
            (&[b"198.51.100.1, \xff"], "10.0.0.1"),
        ] {
            let mut request = Request::builder();
            for value in forwarded {
                let value = HeaderValue::from_bytes(value).expect("a value");
                request = request.header(FORWARDED_FOR, value);
            }
            let peer: SocketAddr = "10.0.0.1:5".parse().expect("an address");
            let request = request.extension(ConnectInfo(peer)).body(());
            let (parts, ()) = request.expect("a request").into_parts();
            let client: IpAddr = client.parse().expect("an address");
            let found = client_of(&parts, &trusted);
            assert_eq!(found, Some(client.into()), "{forwarded:?}");
        }
    }
}
