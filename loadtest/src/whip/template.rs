//! Endpoint URLs with places to fill in.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// All but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

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
            .replace("{room}", &utf8_percent_encode(room, RESERVED).to_string())
            .replace("{publisher}", &n.to_string());
        let url = Url::parse(&text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(url),
            _ => Err(format!(
                "`{text}` is no http URL: it should look like https://host/whip/{{room}}"
            )),
        }
    }

    /// Whether streams are reached over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        let scheme = self.0.get(.."https:".len());
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
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
            ("https://h/{room}", "hall", 1, "https://h/hall"),
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
