//! Checks of the `Origin` header. A browser lets any site open a WebSocket to any server, with the user's network and
//! cookies. So the server checks the origin of the page.
//!
//! Behind a proxy that asks under another `Host`, the server's own page looks like one of another site. The page cannot
//! see why its WebSocket was refused. So the log says it, and so does the answer to a POST.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::refused::RequestsRefused;
use super::seldom::Seldom;
use crate::live::Live;
use crate::protocol::native::refused;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// A host name has at most 253 characters; strangers may send more.
const SHOWN: usize = 300;

pub(crate) struct Origins {
    /// Beside the server's own.
    allowed: Live<Arc<[String]>>,
    /// Whether a proxy gives by `X-Forwarded-Host` the name that the page was asked for by.
    trust_forwarded_host: bool,
    refused: RequestsRefused,
    /// A page that is refused tries again and again, and there may be many.
    seldom: Seldom,
}

/// The page's origin, and the name that the server was asked by.
#[derive(Debug)]
struct Stranger {
    origin: String,
    host: String,
}

impl Origins {
    pub(crate) fn new(
        allowed: Live<Arc<[String]>>,
        trust_forwarded_host: bool,
        refused: RequestsRefused,
    ) -> Self {
        Self {
            allowed,
            trust_forwarded_host,
            refused,
            seldom: Seldom::default(),
        }
    }

    /// No `Origin` means no browser, and no user to be tricked.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Stranger> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let host = self.host(headers);
        let origin = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
        if self.allows(&origin) || is_own(&origin, &host) {
            return Ok(());
        }
        Err(Stranger { origin, host })
    }

    /// `origin` in lower case.
    fn allows(&self, origin: &str) -> bool {
        let allowed = self.allowed.get();
        allowed.iter().any(|each| each.eq_ignore_ascii_case(origin))
    }

    fn host(&self, headers: &HeaderMap) -> String {
        let text = |name| {
            let value = headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if self.trust_forwarded_host
            && let Some(forwarded) = text(FORWARDED_HOST)
        {
            // Each proxy appends; the browser asked the first.
            let first = forwarded.split(',').next().unwrap_or_default();
            return first.trim().to_owned();
        }
        text(header::HOST).unwrap_or_default()
    }

    fn log(&self, Stranger { origin, host }: &Stranger) {
        let Some(passed_over) = self.seldom.admit() else {
            return;
        };
        let (origin, host) = (shown(origin), shown(host));
        warn!(
            ?origin,
            ?host,
            passed_over,
            "a page was refused by its origin: if it is yours, let the proxy before this server pass the \
             header Host on, or name the origin in allowed_origins"
        );
    }
}

fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    // The server may stand behind a proxy that ends TLS, so the scheme says nothing but which
    // port a browser leaves out.
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_port = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !host.is_empty() && without_port(host) == without_port(authority)
}

/// A stranger's text, short enough for a log.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

pub(super) async fn check(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match origins.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(stranger) => {
            origins.refused.origin(&request);
            // A client that asks for the reason was refused before, and one that asks whether it may ask is told in the log.
            let is_first = [Method::GET, Method::OPTIONS].contains(request.method());
            if is_first {
                origins.log(&stranger);
            }
            let Stranger { origin, host } = &stranger;
            let message = format!(
                "This server takes no calls from pages of {}; it was asked as {}. If the server is yours: let \
                 the proxy before it pass the header Host on, or name the page's origin in `allowed_origins`.",
                shown(origin),
                shown(host),
            );
            refused(StatusCode::FORBIDDEN, "origin_refused", message).into_response()
        }
    };
    // A page of another site may read why it is refused; there is nothing else here to read.
    let anybody = HeaderValue::from_static("*");
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(origins: &Origins, headers: &[(HeaderName, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, value.parse().expect("a value"));
        }
        origins.admit(&map).is_ok()
    }

    fn allowing(trust_forwarded_host: bool) -> Origins {
        let allowed = Arc::from(["https://App.example.org".to_owned()]);
        Origins::new(
            Live::new(allowed),
            trust_forwarded_host,
            RequestsRefused::default(),
        )
    }

    #[test]
    fn own_and_allowed_origins_may_connect() {
        let origins = allowing(false);
        assert!(admitted(&origins, &[(header::HOST, "call.example.org")]));
        for (origin, host) in [
            ("https://call.example.org", "call.example.org"),
            ("https://CALL.example.org", "call.example.org:443"),
            ("http://localhost:8080", "localhost:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("https://app.example.org", "call.example.org"),
        ] {
            let headers = [(header::ORIGIN, origin), (header::HOST, host)];
            assert!(admitted(&origins, &headers), "{origin:?} to {host}");
        }
    }

    #[test]
    fn other_origins_may_not() {
        let origins = allowing(true);
        for origin in [
            "https://evil.example.org",
            "https://call.example.org.evil.example",
            "https://call.example.org:8443",
            "http://app.example.org",
            "null",
            "",
            "https://",
            "file://",
            "chrome-extension://call.example.org",
        ] {
            for host in ["call.example.org", ""] {
                let headers = [(header::ORIGIN, origin), (header::HOST, host)];
                assert!(!admitted(&origins, &headers), "{origin} to {host}");
            }
        }
    }

    #[test]
    fn a_forwarded_host_counts_only_where_the_settings_trust_it() {
        for (trusted, forwarded, admits) in [
            (false, "call.example.org", false),
            (true, "call.example.org", true),
            (true, "call.example.org:443, 10.0.0.1:8080", true),
            (true, "10.0.0.1:8080, call.example.org", false),
            (true, "", false),
        ] {
            let headers = [
                (header::ORIGIN, "https://call.example.org"),
                (header::HOST, "10.0.0.1:8080"),
                (FORWARDED_HOST, forwarded),
            ];
            let origins = allowing(trusted);
            assert_eq!(
                admitted(&origins, &headers),
                admits,
                "{trusted} {forwarded}"
            );
        }
        // Without the header, Host counts as usual.
        let headers = [
            (header::ORIGIN, "https://call.example.org"),
            (header::HOST, "call.example.org"),
        ];
        assert!(admitted(&allowing(true), &headers));
    }
}
