//! The opening handshake of a WebSocket (RFC 6455 section 4.2). axum's own hands out no connection whose frames could
//! be counted.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::refused;

/// A request to become a WebSocket, which may be accepted.
pub(crate) struct Handshake {
    accept: HeaderValue,
    pub(super) connection: OnUpgrade,
}

/// A request that is no handshake: the status of its answer, and a sentence.
pub(super) struct Lack(StatusCode, &'static str);

impl Handshake {
    /// # Errors
    ///
    /// The request lacks something; the error names it.
    pub(super) fn of(parts: &mut Parts) -> Result<Self, Lack> {
        let headers = &parts.headers;
        if !lists(headers, &header::CONNECTION, "upgrade")
            || !lists(headers, &header::UPGRADE, "websocket")
        {
            let message = "This is the address of a WebSocket: ask to upgrade to one.";
            return Err(Lack(StatusCode::UPGRADE_REQUIRED, message));
        }
        if !lists(headers, &header::SEC_WEBSOCKET_VERSION, "13") {
            let message = "`Sec-WebSocket-Version` must be 13.";
            return Err(Lack(StatusCode::UPGRADE_REQUIRED, message));
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
            let message = "`Sec-WebSocket-Key` is missing.";
            return Err(Lack(StatusCode::BAD_REQUEST, message));
        };
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::try_from(accept);
        let (Ok(accept), Some(connection)) = (accept, parts.extensions.remove::<OnUpgrade>())
        else {
            let message = "This connection cannot become a WebSocket: ask by HTTP/1.1.";
            return Err(Lack(StatusCode::UPGRADE_REQUIRED, message));
        };
        Ok(Self { accept, connection })
    }

    /// The response after which the connection is a WebSocket.
    pub(super) fn accepted(&self) -> Response {
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept.clone()),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

impl IntoResponse for Lack {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        let headers = [
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            ),
        ];
        let reason = refused(status, "bad_upgrade", message.to_owned());
        (headers, reason).into_response()
    }
}

/// Whether a header's list has a word, in whatever case.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(word))
}
