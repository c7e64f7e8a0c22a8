//! STUN and TURN servers that clients are told of. A browser throws at a URL it does not like, or at
//! TURN without credentials, and the call ends there; so such an entry is refused at the start.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

/// An entry of `RTCConfiguration.iceServers`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// Its addresses: `stun:`, `turn:` or `turns:`.
    pub urls: Vec<String>,
    /// The user's name; TURN needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password; TURN needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// RFC 8489 section 14.3. Chromium throws at a longer one.
const USERNAME_BYTES: usize = 509;

impl IceServer {
    /// # Errors
    ///
    /// A clause that follows the entry's place: `[0]: ...` or `.urls[1]: ...`.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.urls.is_empty() {
            return Err(".urls: names no server".into());
        }
        for (index, url) in self.urls.iter().enumerate() {
            let wrong = |what: String| format!(".urls[{index}]: `{url}` {what}");
            if check_url(url).map_err(wrong)? == Scheme::Turn {
                self.check_credentials().map_err(wrong)?;
            }
        }
        Ok(())
    }

    fn check_credentials(&self) -> Result<(), String> {
        let given = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
        for (key, field) in [
            ("username", &self.username),
            ("credential", &self.credential),
        ] {
            if !given(field) {
                return Err(format!("needs a `{key}`: a TURN server asks for one"));
            }
        }
        match &self.username {
            Some(name) if name.len() > USERNAME_BYTES => Err(format!(
                "needs a `username` of at most {USERNAME_BYTES} bytes"
            )),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheme {
    Stun,
    Turn,
}

/// RFC 7064 section 3.1 and RFC 7065 section 3.1, less what no browser takes.
fn check_url(url: &str) -> Result<Scheme, String> {
    let lower = url.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once(':').unwrap_or((&lower, ""));
    let scheme = match scheme {
        "stun" | "stuns" => Scheme::Stun,
        "turn" | "turns" => Scheme::Turn,
        _ => return Err("does not begin with `stun:`, `stuns:`, `turn:` or `turns:`".into()),
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
    check_query(scheme, query, url)?;
    let (host, port) = split_port(place)?;
    check_host(host)?;
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(scheme),
        Some(Ok(0) | Err(_)) => Err("has a port that is no number from 1 to 65535".into()),
    }
}

fn check_query(scheme: Scheme, query: Option<&str>, url: &str) -> Result<(), String> {
    let Some(query) = query else {
        return Ok(());
    };
    if scheme == Scheme::Stun {
        return Err("has a `?`, which only TURN knows".into());
    }
    if !matches!(query, "transport=udp" | "transport=tcp") || !url.ends_with(query) {
        return Err("has something other than `?transport=udp` or `?transport=tcp`".into());
    }
    Ok(())
}

/// The host, without brackets kept apart from a port: `[::1]:3478` has both.
fn split_port(place: &str) -> Result<(&str, Option<&str>), String> {
    let end = match place.strip_prefix('[') {
        Some(rest) => {
            let inside = rest.find(']');
            inside.ok_or("has a `[` without `]`")? + 2
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
        None => Err("has something other than a port after `]`".into()),
    }
}

/// RFC 3986 section 3.2.2: an address in brackets, or a name of unreserved, percent-encoded and
/// `sub-delims` characters.
fn check_host(host: &str) -> Result<(), String> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.trim_end_matches(']');
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("has brackets around something other than an IPv6 address".into()),
        };
    }
    if host.is_empty() {
        return Err("names no host".into());
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
            return Err("has a host with characters that no host has".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case of the table that browsers are held to as well.
    #[derive(Deserialize)]
    struct Case {
        server: IceServer,
        /// A word of the refusal; none: the entry is good.
        refused: Option<String>,
    }

    #[test]
    fn every_form_of_a_url_is_taken_or_refused_for_its_reason() {
        let table = include_str!("../../golden/ice_servers.json");
        let cases: Vec<Case> = serde_json::from_str(table).expect("the table");
        for Case { server, refused } in cases {
            match (server.check(), refused) {
                (Ok(()), None) => {}
                (Err(said), Some(word)) => assert!(said.contains(&word), "{server:?}: {said}"),
                (said, refused) => panic!("{server:?}: {said:?} instead of {refused:?}"),
            }
        }
    }
}
