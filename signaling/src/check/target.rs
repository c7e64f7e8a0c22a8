//! The address that a check is given: that of the page.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::http::Uri;

/// The address of a server's page, `https://` or `http://`, perhaps below a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    secure: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Begins and ends with a slash.
    path: String,
}

impl Target {
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The address that stands in place of a name.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The field `Host` of requests, without the port that the scheme means anyway.
    pub(super) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let usual = if self.secure { 443 } else { 80 };
        match self.port == usual {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// The `Origin` of the page, as a browser sends it.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// The path of something beside the page.
    pub(super) fn path(&self, relative: &str) -> String {
        format!("{}{relative}", self.path)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "such as https://call.example.org";
        if !text.is_ascii() {
            return Err(format!(
                "not in ASCII; write the name in Punycode, {EXAMPLE}"
            ));
        }
        let uri: Uri = text
            .parse()
            .map_err(|_| format!("not the address of a page, {EXAMPLE}"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => {
                return Err(format!(
                    "neither https:// nor http:// at its beginning, {EXAMPLE}"
                ));
            }
        };
        let authority = uri.authority().map(|it| it.as_str()).unwrap_or_default();
        if authority.contains('@') {
            return Err(format!("a user's name before the host, {EXAMPLE}"));
        }
        let host = uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err(format!("without a host, {EXAMPLE}"));
        }
        let usual = if secure { 443 } else { 80 };
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None if authority.ends_with(host) || authority.ends_with(']') => usual,
            // Not a number, or none that a port can be.
            None => 0,
        };
        if port == 0 {
            return Err("the port is not between 1 and 65535".to_owned());
        }
        // A link to a room has a query. What is behind the last slash is a file, but for a prefix without a slash.
        let path = uri.path().strip_suffix("index.html").unwrap_or(uri.path());
        let path = match path.ends_with('/') {
            true => path.to_owned(),
            false => format!("{path}/"),
        };
        Ok(Self {
            secure,
            host: host.to_ascii_lowercase(),
            port,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pages_are_read() {
        for (text, expected, authority) in [
            (
                "https://call.example.org",
                "https://call.example.org/",
                "call.example.org",
            ),
            (
                "https://Call.example.org:443/",
                "https://call.example.org/",
                "call.example.org",
            ),
            (
                "http://localhost:8080",
                "http://localhost:8080/",
                "localhost:8080",
            ),
            ("http://[::1]:8080/", "http://[::1]:8080/", "[::1]:8080"),
            ("http://[::1]", "http://[::1]/", "[::1]"),
            ("https://a.b/call", "https://a.b/call/", "a.b"),
            ("https://a.b/call/?room=hall#x", "https://a.b/call/", "a.b"),
            ("https://a.b/index.html", "https://a.b/", "a.b"),
            ("https://a.b:80/", "https://a.b:80/", "a.b:80"),
        ] {
            let target: Target = text.parse().expect(text);
            assert_eq!(
                (&*target.to_string(), &*target.authority()),
                (expected, authority)
            );
        }
        let below: Target = "https://a.b/call".parse().expect("a target");
        assert_eq!(below.path("v1/ws"), "/call/v1/ws");
        assert_eq!(below.origin(), "https://a.b");
    }

    #[test]
    fn what_is_no_address_of_a_page_is_refused_with_a_reason() {
        for (text, named) in [
            ("call.example.org", "https://"),
            ("localhost:8080", "https://"),
            ("wss://a.b/v1/ws", "https://"),
            ("", "address of a page"),
            ("https://", "address of a page"),
            ("https://a b", "address of a page"),
            ("https://user:secret@a.b/", "user"),
            ("https://a.b:0/", "port"),
            ("https://a.b:70000/", "port"),
            ("https://bücher.example/", "Punycode"),
        ] {
            let said = text.parse::<Target>().expect_err(text);
            assert!(
                said.contains(named) && !said.contains("secret"),
                "{text}: {said}"
            );
        }
    }
}
