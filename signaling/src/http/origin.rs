//! A browser lets any site open a WebSocket to any server, with the user's network and cookies. So
//! the server looks where a page comes from.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::info;

pub(crate) struct Origins {
    /// Beside the server's own.
    allowed: Vec<String>,
}

impl Origins {
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self {
            allowed: allowed.iter().map(|o| o.to_ascii_lowercase()).collect(),
        }
    }

    /// No `Origin` means no browser, and no user to be tricked.
    fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else {
            return false;
        };
        if self.allowed.contains(&origin) {
            return true;
        }
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
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
        let without_port =
            |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
        host.is_some_and(|host| without_port(host) == without_port(authority))
    }
}

pub(super) async fn check(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Response {
    if origins.admit(request.headers()) {
        return next.run(request).await;
    }
    info!(origin = ?request.headers().get(header::ORIGIN), "cross-site connection refused");
    (StatusCode::FORBIDDEN, "This origin may not connect here.").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(origin: Option<&str>, host: &str) -> bool {
        let origins = Origins::new(&["https://App.example.org".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("host"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("origin"));
        }
        origins.admit(&headers)
    }

    #[test]
    fn own_and_allowed_origins_may_connect() {
        for (origin, host) in [
            (None, "call.example.org"),
            (Some("https://call.example.org"), "call.example.org"),
            (Some("https://CALL.example.org"), "call.example.org:443"),
            (Some("http://localhost:8080"), "localhost:8080"),
            (Some("http://[::1]:8080"), "[::1]:8080"),
            (Some("https://app.example.org"), "call.example.org"),
        ] {
            assert!(admitted(origin, host), "{origin:?} to {host}");
        }
    }

    #[test]
    fn other_origins_may_not() {
        for origin in [
            "https://evil.example.org",
            "https://call.example.org.evil.example",
            "https://call.example.org:8443",
            "http://app.example.org",
            "null",
            "",
            "file://",
            "chrome-extension://call.example.org",
        ] {
            assert!(!admitted(Some(origin), "call.example.org"), "{origin}");
        }
    }
}
