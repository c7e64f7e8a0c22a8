//! Checks of the `Host` header. A site may point its own name at any server (DNS rebinding): a browser, and
//! [`origin`](super::origin), then take its pages for that server's. But the pages ask for the server by the site's
//! name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::refused::RequestsRefused;
use super::seldom::Seldom;
use crate::protocol::native::refused;

/// Names that a server may be asked by. Addresses, `localhost` and names without a dot always are: no site of the
/// internet has those.
pub(crate) struct Hosts {
    names: Vec<String>,
    refused: RequestsRefused,
    seldom: Seldom,
}

/// Characters of a stranger's name in the log.
const SHOWN: usize = 200;

impl Hosts {
    pub(crate) fn new(names: &[String], refused: RequestsRefused) -> Self {
        Self {
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            refused,
            seldom: Seldom::default(),
        }
    }

    /// A request without the header does not come from a browser.
    fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST) else {
            return true;
        };
        let host = String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase();
        let name = without_port(&host);
        let name = name.strip_suffix('.').unwrap_or(name);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name.ends_with(".localhost")
            || self.names.iter().any(|allowed| allowed == name)
    }
}

impl Hosts {
    fn log(&self, headers: &HeaderMap) {
        let Some(passed_over) = self.seldom.admit() else {
            return;
        };
        let host = headers.get(header::HOST).map(|host| host.as_bytes());
        let host = String::from_utf8_lossy(host.unwrap_or_default());
        let host: String = host.chars().take(SHOWN).collect();
        warn!(
            ?host,
            passed_over,
            "a request was refused by the name it asks for: if it is yours, add it to allowed_hosts"
        );
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

pub(super) async fn check(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    if hosts.admit(request.headers()) {
        return next.run(request).await;
    }
    hosts.refused.host(&request);
    hosts.log(request.headers());
    let message = "This server was asked by a name that is not in its `allowed_hosts`. If it is yours, add it there.";
    let status = StatusCode::MISDIRECTED_REQUEST;
    refused(status, "host_refused", message.to_owned()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_names_are_those_of_sites() {
        let names = ["Call.example.org".to_owned()];
        let hosts = Hosts::new(&names, RequestsRefused::default());
        for (host, admitted) in [
            ("127.0.0.1:9090", true),
            ("192.0.2.1", true),
            ("[::1]:9090", true),
            ("[::1]", true),
            ("localhost:9090", true),
            ("LOCALHOST", true),
            ("call.localhost", true),
            ("tertulia:9090", true),
            ("call.example.org", true),
            ("CALL.example.org.:443", true),
            ("evil.example.org:9090", false),
            ("127.0.0.1.evil.example:9090", false),
            ("call.example.org.evil.example", false),
            ("localhost.evil.example", false),
            ("[::1].evil.example", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            assert_eq!(hosts.admit(&headers), admitted, "{host}");
        }
        assert!(hosts.admit(&HeaderMap::new()));
    }
}
