//! The body of a request for a socket that is emulated over HTTP: read within bounds, and JSON.

use std::fmt;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::upgrade::{Native, NotServed, short};
use crate::clients::ClientAddress;
use crate::memory::Unread;

/// Bytes of a body beside its messages.
const ENVELOPE: usize = 4 << 10;
/// Messages of one body. Overflow: refused. A client may send 100 at once.
const MESSAGES: usize = 256;

/// The body of each request.
#[derive(serde::Deserialize)]
pub(super) struct Asked<'a> {
    #[serde(default)]
    pub(super) connection: Option<String>,
    #[serde(borrow, default)]
    pub(super) messages: Messages<'a>,
    #[serde(default)]
    pub(super) wait_ms: u64,
    #[serde(default)]
    pub(super) close: bool,
    /// The page of `session` is closed.
    #[serde(default)]
    pub(super) closing: bool,
    /// The token of a session. No socket is needed.
    #[serde(default)]
    pub(super) session: Option<String>,
    /// Counts up with each body of a connection that has messages. A body whose number has come is not taken again.
    #[serde(default)]
    pub(super) batch: Option<u64>,
}

#[derive(Default)]
pub(super) struct Messages<'a>(pub(super) Vec<&'a RawValue>);

/// A body, counted until it is dropped.
pub(super) struct Text {
    bytes: Bytes,
    unread: Unread,
    evicted: Arc<Notify>,
}

impl Drop for Text {
    fn drop(&mut self) {
        self.unread.end();
    }
}

impl Text {
    /// Reads a body, within the bounds of size, time and memory.
    pub(super) async fn read(
        native: &Native,
        parts: &mut Parts,
        client: Option<ClientAddress>,
        body: Body,
    ) -> Result<Self, NotServed> {
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(NotServed::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "bad_content_type",
                "`Content-Type` must be application/json.".to_owned(),
            ));
        }
        let evicted = Arc::new(Notify::new());
        let unread = parts.extensions.remove::<Unread>().unwrap_or_default();
        unread.begin(client, &evicted);
        let mut text = Self {
            bytes: Bytes::new(),
            unread,
            evicted,
        };
        let most = native.limits.message_bytes.saturating_add(ENVELOPE);
        let bytes = tokio::select! {
            bytes = timeout(native.limits.join_timeout(), to_bytes(body, most)) => bytes,
            () = text.evicted.notified() => return Err(short()),
        };
        match bytes {
            Ok(Ok(bytes)) => {
                text.bytes = bytes;
                Ok(text)
            }
            Ok(Err(_)) => {
                let limit = native.limits.message_bytes;
                Err(NotServed::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "message_too_large",
                    format!("The messages of a request may have at most {limit} bytes."),
                ))
            }
            Err(_elapsed) => Err(NotServed::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "The body did not come in time.".to_owned(),
            )),
        }
    }

    /// Returns when the body is to be let go of: it waits for its turn, and others need the memory.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Parses the body.
    pub(super) fn asked(&self) -> Result<Asked<'_>, NotServed> {
        let asked = Asked::read(&self.bytes);
        asked.map_err(|message| NotServed::new(StatusCode::BAD_REQUEST, "bad_json", message))
    }
}

impl<'a> Asked<'a> {
    /// Parses a body. The error is a sentence.
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        // serde would read a struct from an array, too.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err("The body is not a JSON object.".to_owned());
        }
        let asked = serde_json::from_slice(bytes);
        asked.map_err(|error| format!("The body has another form than it should: {error}."))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Messages<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MESSAGES} messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = list.next_element()? {
                    if messages.len() == MESSAGES {
                        return Err(A::Error::invalid_length(MESSAGES + 1, &self));
                    }
                    messages.push(message);
                }
                Ok(messages)
            }
        }
        deserializer.deserialize_seq(Bounded).map(Messages)
    }
}

/// Reads any body. See [`testing`](crate::testing).
#[cfg(feature = "testing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(asked) = Asked::read(bytes) else {
        return;
    };
    assert!(asked.messages.0.len() <= MESSAGES);
    if asked.closing
        && let Some(text) = asked.session
        && let Ok(token) = text.parse::<crate::session::Token>()
    {
        assert_eq!(token.to_string(), text);
    }
}
