//! Endpoint URLs with places to fill in.

use std::fmt::{self, Write};
use std::str::FromStr;

use url::Url;

/// A URL in which `{room}` stands for a room's name and `{publisher}` for a publisher's number in its room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(String);

impl Template {
    /// The URL for a stream.
    ///
    /// # Errors
    ///
    /// It is no URL when it is filled in: a placeholder stands in the host's name.
    pub fn url(&self, room: &str, n: usize) -> Result<Url, String> {
        let text = self
            .0
            .replace("{room}", &escaped(room))
            .replace("{publisher}", &n.to_string());
        let url = Url::parse(&text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
        match url.scheme() {
            "http" if url.has_host() => Ok(url),
            "https" => {
                Err("bots speak plain http only: name the server behind the TLS proxy".into())
            }
            _ => Err(format!(
                "`{text}` is no http URL: it should look like http://host/whip/{{room}}"
            )),
        }
    }

    /// Whether streams of one room have URLs of their own.
    pub fn is_numbered(&self) -> bool {
        self.0.contains("{publisher}")
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.replace("{room}", "").replace("{publisher}", "");
        if rest.contains(['{', '}']) {
            return Err(format!(
                "`{text}` has other places than {{room}} and {{publisher}}"
            ));
        }
        let template = Self(text.to_owned());
        template.url("room", 1)?;
        Ok(template)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in() {
        for (template, room, n, url) in [
            ("http://h/whip/{room}", "hall", 1, "http://h/whip/hall"),
            (
                "http://h:81/{room}/{publisher}",
                "hall-2",
                3,
                "http://h:81/hall-2/3",
            ),
            (
                "http://[::1]/{room}",
                "a/b ?",
                1,
                "http://[::1]/a%2Fb%20%3F",
            ),
            (
                "http://h/w?s={room}-{publisher}",
                "é",
                7,
                "http://h/w?s=%C3%A9-7",
            ),
            ("http://h/live", "hall", 1, "http://h/live"),
            ("http://h", "hall", 1, "http://h/"),
        ] {
            let parsed: Template = template.parse().unwrap();
            assert_eq!(parsed.url(room, n).unwrap().as_str(), url);
            assert_eq!(parsed.to_string(), template);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "h/whip",
            "ftp://h/{room}",
            "https://h/{room}",
            "http://",
            "http://h/{stream}",
            "http://h/{room",
            "mailto:{room}",
        ] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
        let in_host: Template = "http://{room}/x".parse().unwrap();
        assert!(in_host.url("a b", 1).is_err());
    }
}
