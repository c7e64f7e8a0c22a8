//! Addresses of STUN and TURN servers (RFC 7064 section 3.1, RFC 7065 section 3.1), less what no browser takes. Each
//! fault says what to write instead.

use std::net::{Ipv4Addr, Ipv6Addr};

/// RFC 1035 section 2.3.4.
const NAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

/// The protocol of a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Scheme {
    Stun,
    Turn,
}

/// An address without what need not be written: two that are equal lead to one server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    is_tls: bool,
    host: String,
    port: u16,
    is_tcp: bool,
}

impl Url {
    /// # Errors
    ///
    /// A clause that follows the address.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (name, rest) = lower.split_once(':').unwrap_or((&lower, ""));
        let (scheme, is_tls) = match name {
            "stun" => (Scheme::Stun, false),
            "stuns" => (Scheme::Stun, true),
            "turn" => (Scheme::Turn, false),
            "turns" => (Scheme::Turn, true),
            _ => {
                return Err("does not begin with `stun:`, `stuns:`, `turn:` or `turns:`: write it like `stun:stun.example.org:3478`".into());
            }
        };
        if rest.starts_with("//") {
            return Err("has `//` after its scheme: leave it out".into());
        }
        if rest.contains('@') {
            return Err("has a user in it: name it as `username` and `credential`".into());
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let transport = transport(scheme, query, text)?;
        let (host, port) = split_port(place)?;
        check_host(host)?;
        let port = match port.map(str::parse::<u16>) {
            None if is_tls => 5349,
            None => 3478,
            Some(Ok(port @ 1..)) => port,
            Some(Ok(0) | Err(_)) => {
                return Err("has a port that is no number from 1 to 65535: write one, or leave out the `:` too".into());
            }
        };
        Ok(Self {
            scheme,
            is_tls,
            host: host.trim_end_matches('.').to_owned(),
            port,
            // TLS runs over TCP, unless it is DTLS.
            is_tcp: transport.map_or(is_tls, |transport| transport == "tcp"),
        })
    }
}

/// Host and port of a STUN server that is asked over UDP.
///
/// # Errors
///
/// A clause that follows the address.
pub(in crate::config) fn stun_server(text: &str) -> Result<(String, u16), String> {
    let url = Url::parse(text)?;
    if url.scheme != Scheme::Stun || url.is_tls {
        return Err(
            "is no STUN server over UDP: write it like `stun:stun.example.org:3478`".into(),
        );
    }
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), url.port))
}

/// A TURN server, as a client asks it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TurnAddress {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    /// Whether it is asked over TCP; with TLS over UDP it is DTLS.
    pub(crate) is_tcp: bool,
}

/// The TURN server at an address; none for STUN.
///
/// # Errors
///
/// A clause that follows the address.
pub(crate) fn turn_server(text: &str) -> Result<Option<TurnAddress>, String> {
    let url = Url::parse(text)?;
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    Ok((url.scheme == Scheme::Turn).then(|| TurnAddress {
        host: host.to_owned(),
        port: url.port,
        is_tls: url.is_tls,
        is_tcp: url.is_tcp,
    }))
}

fn transport<'a>(
    scheme: Scheme,
    query: Option<&'a str>,
    url: &str,
) -> Result<Option<&'a str>, String> {
    let Some(query) = query else {
        return Ok(None);
    };
    if scheme == Scheme::Stun {
        return Err("has a `?`, which only TURN knows: leave it out".into());
    }
    let transport = query.strip_prefix("transport=");
    let transport = transport.filter(|it| matches!(*it, "udp" | "tcp") && url.ends_with(query));
    match transport {
        Some(transport) => Ok(Some(transport)),
        None => Err("has something other than `?transport=udp` or `?transport=tcp`: write one of these, in small letters, or leave it out".into()),
    }
}

/// The host, without brackets kept apart from a port: `[::1]:3478` has both.
fn split_port(place: &str) -> Result<(&str, Option<&str>), String> {
    let end = match place.strip_prefix('[') {
        Some(rest) => {
            let inside = rest.find(']');
            inside.ok_or("has a `[` without `]`: write `[::1]`")? + 2
        }
        None => place.find(':').unwrap_or(place.len()),
    };
    let (host, port) = place.split_at(end);
    match port.strip_prefix(':') {
        // A sign would be read as part of the number.
        Some(port) if port.starts_with(['+', '-']) => Ok((host, Some(""))),
        Some(port) if port.contains(':') => {
            Err("has an IPv6 address without brackets: write `[::1]`".into())
        }
        Some(port) => Ok((host, Some(port))),
        None if port.is_empty() => Ok((host, None)),
        None => {
            Err("has something other than a port after `]`: write `:3478`, or leave it out".into())
        }
    }
}

/// RFC 3986 section 3.2.2: an address in brackets, or a name of unreserved, percent-encoded and
/// `sub-delims` characters.
fn check_host(host: &str) -> Result<(), String> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.trim_end_matches(']');
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("has brackets around something other than an IPv6 address: write names and IPv4 addresses without, and no `%`".into()),
        };
    }
    if host.is_empty() {
        return Err("names no host: write one, like `stun:stun.example.org`".into());
    }
    if !host.is_ascii() {
        return Err("has a host that is not ASCII: write it as `xn--...`".into());
    }
    let mut rest = host.bytes();
    while let Some(byte) = rest.next() {
        let good = match byte {
            b'%' => (0..2).all(|_| rest.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !good {
            return Err("has a host with characters that no host has: write a name or an IP address, without a path".into());
        }
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_numeric =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    if name.split('.').all(is_numeric) && name.parse::<Ipv4Addr>().is_err() {
        return Err(
            "has a host that looks like an IPv4 address and is none: write four numbers from 0 to 255"
                .into(),
        );
    }
    if name.len() > NAME_BYTES {
        return Err(format!(
            "has a host of more than {NAME_BYTES} characters, which no name has: write a shorter one"
        ));
    }
    let is_label = |label: &str| (1..=LABEL_BYTES).contains(&label.len());
    if !name.split('.').all(is_label) {
        return Err(format!(
            "has a host with a part of no or more than {LABEL_BYTES} characters between its dots: write a name like `stun.example.org`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_need_not_be_written_makes_no_other_server() {
        let url = |text| Url::parse(text).expect(text);
        for (one, other, is_same) in [
            ("stun:a.example", "STUN:A.example.:3478", true),
            ("stuns:a.example", "stuns:a.example:5349", true),
            ("turn:a.example", "turn:a.example:3478?transport=udp", true),
            ("turns:a.example", "turns:a.example?transport=tcp", true),
            ("turns:a.example", "turns:a.example?transport=udp", false),
            ("turn:a.example", "turn:a.example?transport=tcp", false),
            ("turn:a.example", "turns:a.example", false),
            ("turn:a.example", "stun:a.example", false),
            ("stun:a.example", "stun:a.example:1", false),
            ("stun:a.example", "stun:b.example", false),
        ] {
            assert_eq!(url(one) == url(other), is_same, "{one} {other}");
        }
    }
}
