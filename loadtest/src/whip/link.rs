//! `Link` headers that name STUN and TURN servers (RFC 8288, RFC 9725 section 4.6).

use url::Url;

/// A STUN or TURN server that the endpoint recommends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceServer {
    /// Such as `turn:turn.example.net?transport=udp`.
    pub url: String,
    pub username: Option<String>,
    pub credential: Option<String>,
}

/// Most ICE servers read: more than any client would try.
const MAX_SERVERS: usize = 32;

/// The ICE servers among the links of all `Link` headers. Links that do not parse are skipped, with
/// the rest of their header: bots reach servers directly, so that nothing hangs on one.
pub(crate) fn ice_servers<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<IceServer> {
    let mut servers = Vec::new();
    for header in headers {
        let mut rest = Rest(header);
        while let Some(link) = rest.link() {
            let is_ice = |rel: &str| {
                rel.split_ascii_whitespace()
                    .any(|rel| rel.eq_ignore_ascii_case("ice-server"))
            };
            if link.value("rel").is_some_and(is_ice)
                && Url::parse(link.target).is_ok()
                && servers.len() < MAX_SERVERS
            {
                servers.push(IceServer {
                    url: link.target.to_owned(),
                    username: link.value("username").map(str::to_owned),
                    credential: link.value("credential").map(str::to_owned),
                });
            }
        }
    }
    servers
}

struct Link<'a> {
    target: &'a str,
    parameters: Vec<(&'a str, String)>,
}

impl Link<'_> {
    /// The first one counts (RFC 8288 section 3.3 says so of `rel`).
    fn value(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter();
        let (_, value) = named.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// The rest of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn link(&mut self) -> Option<Link<'a>> {
        self.0 = self.0.trim_start_matches([',', ' ', '\t']);
        let (target, rest) = self.0.strip_prefix('<')?.split_once('>')?;
        self.0 = rest;
        let mut parameters = Vec::new();
        while self.eat(';') {
            parameters.push(self.parameter());
        }
        Some(Link { target, parameters })
    }

    fn eat(&mut self, char: char) -> bool {
        let rest = self.0.trim_start().strip_prefix(char);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn parameter(&mut self) -> (&'a str, String) {
        let name = self.until(&['=', ';', ',']);
        if !self.eat('=') {
            return (name, String::new());
        }
        if !self.eat('"') {
            return (name, self.until(&[';', ',']).to_owned());
        }
        let mut value = String::new();
        let mut chars = self.0.chars();
        while let Some(char) = chars.next() {
            match char {
                '"' => break,
                '\\' => value.extend(chars.next()),
                _ => value.push(char),
            }
        }
        self.0 = chars.as_str();
        (name, value)
    }

    fn until(&mut self, ends: &[char]) -> &'a str {
        let end = self.0.find(ends).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.trim()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(headers: &[&str]) -> Vec<IceServer> {
        ice_servers(headers.iter().copied())
    }

    #[test]
    fn the_rfc_s_example() {
        let servers = servers(&[
            "<stun:stun.example.net>; rel=\"ice-server\"",
            "<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; username=\"user\"; \
             credential=\"myPassword\"; credential-type=\"password\", \
             <turns:turn.example.net?transport=tcp>; rel=ice-server; username=\"a\\\"b, <c>; d\"; \
             credential=x",
        ]);
        let turn = |url: &str, username: &str, credential: &str| IceServer {
            url: url.to_owned(),
            username: Some(username.to_owned()),
            credential: Some(credential.to_owned()),
        };
        assert_eq!(servers.len(), 3);
        assert_eq!(
            (servers[0].url.as_str(), &servers[0].username),
            ("stun:stun.example.net", &None)
        );
        assert_eq!(
            servers[1],
            turn("turn:turn.example.net?transport=udp", "user", "myPassword")
        );
        let other = turn("turns:turn.example.net?transport=tcp", "a\"b, <c>; d", "x");
        assert_eq!(servers[2], other);
    }

    #[test]
    fn other_links_are_none() {
        for (header, count) in [
            ("</style.css>; rel=preload; as=style", 0),
            ("<stun:a>", 0),
            ("<stun:a>; rel", 0),
            ("<stun:a>; rel=\"next ice-server\"", 1),
            ("<stun:a>; REL=ICE-SERVER;", 1),
            ("<stun:a>; rel=next; rel=ice-server", 0),
            ("<no url>; rel=ice-server, <stun:b>; rel=ice-server", 1),
            ("", 0),
            (",,", 0),
            ("stun:a; rel=ice-server", 0),
            ("<stun:a; rel=ice-server", 0),
        ] {
            assert_eq!(servers(&[header]).len(), count, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "[<>;,=\" \\\\a-z:é-]{0,200}") {
            servers(&[&header]);
        }
    }
}
