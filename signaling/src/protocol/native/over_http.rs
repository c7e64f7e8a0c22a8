//! `POST /v1/http/...`: sockets for networks that let no WebSocket through.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Hold};
use super::emulated::{Kind, Line, SocketId, Taken, Taker};
use super::upgrade::{Native, http_request, refused};
use super::wire::Wire;
use super::{session, upgrade};
use crate::clients::{ClientAddress, client_of};
use crate::held_open::{Aside, Place};
use crate::memory::Unread;
use crate::room;

/// Longest wait of a poll: proxies end a request that is not answered for 30 s.
const LONGEST_WAIT_MS: u64 = 25_000;
/// Bytes of a body beside its messages.
const ENVELOPE: usize = 4 << 10;
/// Messages of one body. Overflow: refused. A client may send 100 at once.
const MESSAGES: usize = 256;

/// The body of each request.
#[derive(serde::Deserialize)]
struct Asked<'a> {
    #[serde(default)]
    connection: Option<String>,
    #[serde(borrow, default)]
    messages: Messages<'a>,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    close: bool,
    /// Counts up with each body of a connection that has messages. A body whose number has come is not taken again.
    #[serde(default)]
    batch: Option<u64>,
}

#[derive(Default)]
struct Messages<'a>(Vec<&'a RawValue>);

/// `POST /v1/http/events`: makes a socket whose messages leave as a stream of events.
pub(crate) async fn events(State(native): State<Arc<Native>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let client = client_of(&parts, &native.trusted_proxies);
    let hold = match upgrade::admit(&native, client, Kind::Stream.into()) {
        Ok(hold) => hold,
        Err(response) => return *response,
    };
    let aside = set_aside(&parts);
    let text = match read(&native, &mut parts, client, body).await {
        Ok(text) => text,
        Err(response) => return *response,
    };
    let asked = match parse(&text.bytes) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let line = begin(&native, parts, client, hold, Kind::Stream);
    let taker = line.taker(Kind::Stream);
    if !bring(&line, &asked).await {
        return no_such_connection();
    }
    drop(text);
    let open = format!(
        "data: {{\"type\":\"open\",\"connection\":\"{}\"}}\n\n",
        line.id
    );
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would hold events back until it has some KiB of them.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, Body::from_stream(event_stream(open, taker, aside))).into_response()
}

fn event_stream(
    open: String,
    taker: Taker,
    aside: Option<Aside>,
) -> impl stream::Stream<Item = Result<Bytes, Infallible>> + Send {
    let state = (Some(open), Some(taker), aside);
    stream::unfold(state, |(open, taker, aside)| async move {
        if let Some(open) = open {
            return Some((Ok(open.into()), (None, taker, aside)));
        }
        let taken = taker.as_ref()?.take().await?;
        let taker = taker.filter(|_| !taken.is_last);
        let bytes = Counted::bytes(taken, |taken, body| {
            for text in &taken.texts {
                // A text has no line ends: JSON escapes them.
                body.extend_from_slice(b"data: ");
                body.extend_from_slice(text.as_bytes());
                body.extend_from_slice(b"\n\n");
            }
            if taken.texts.is_empty() && taken.beats {
                body.extend_from_slice(b":\n\n");
            }
        });
        Some((Ok(bytes), (None, taker, aside)))
    })
}

/// `POST /v1/http/poll`: makes a socket whose messages leave as answers, or asks one for them.
pub(crate) async fn poll(State(native): State<Arc<Native>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let client = client_of(&parts, &native.trusted_proxies);
    let text = match read(&native, &mut parts, client, body).await {
        Ok(text) => text,
        Err(response) => return *response,
    };
    let asked = match parse(&text.bytes) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let _aside;
    let line = match &asked.connection {
        Some(id) => {
            let Some(line) = find(&native, id) else {
                return no_such_connection();
            };
            _aside = set_aside(&parts);
            line
        }
        None => {
            let hold = match upgrade::admit(&native, client, Kind::Poll.into()) {
                Ok(hold) => hold,
                Err(response) => return *response,
            };
            _aside = set_aside(&parts);
            begin(&native, parts, client, hold, Kind::Poll)
        }
    };
    if asked.close {
        line.cut();
        return done();
    }
    let taker = line.taker(Kind::Poll);
    if !bring(&line, &asked).await {
        return no_such_connection();
    }
    let wait = Duration::from_millis(asked.wait_ms.min(LONGEST_WAIT_MS));
    drop(text);
    let taken = tokio::select! {
        biased;
        // None: another poll has begun.
        taken = taker.take() => taken.unwrap_or_else(|| taker.nothing()),
        () = sleep(wait) => taker.nothing(),
    };
    let id = line.id;
    let body = Counted::bytes(taken, |taken, body| {
        let head = format!(
            "{{\"connection\":\"{id}\",\"after\":{},\"messages\":[",
            taken.after
        );
        body.extend_from_slice(head.as_bytes());
        for (index, text) in taken.texts.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(text.as_bytes());
        }
        body.push(b']');
        if taken.is_last {
            body.extend_from_slice(b",\"closed\":true");
        }
        body.push(b'}');
    });
    json(body)
}

/// `POST /v1/http/send`: brings messages to a socket.
pub(crate) async fn send(State(native): State<Arc<Native>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let client = client_of(&parts, &native.trusted_proxies);
    let text = match read(&native, &mut parts, client, body).await {
        Ok(text) => text,
        Err(response) => return *response,
    };
    let asked = match parse(&text.bytes) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let line = asked.connection.as_deref().and_then(|id| find(&native, id));
    let Some(line) = line else {
        return no_such_connection();
    };
    if !bring(&line, &asked).await {
        return no_such_connection();
    }
    if asked.close {
        line.cut();
    }
    done()
}

/// Answers a browser that asks whether a page of another site may ask. The page's origin was checked before.
pub(crate) async fn preflight() -> Response {
    let headers = [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST"),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type"),
        ),
        (
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("600"),
        ),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Makes a socket, and begins to attend it.
fn begin(
    native: &Arc<Native>,
    parts: Parts,
    client: Option<ClientAddress>,
    hold: Hold,
    kind: Kind,
) -> Arc<Line> {
    let evicted = Arc::new(Notify::new());
    let outboxes = native.rooms.memory().outboxes.clone();
    let let_go = evicted.clone();
    let open = move || {
        let let_go = let_go.clone();
        outboxes.open(client, move || let_go.notify_one())
    };
    let patience = match kind {
        Kind::Stream => native.limits.write_timeout(),
        Kind::Poll => native.limits.silence(),
    };
    let waiting = native.outbox(client, &evicted).waiting;
    let (wire, line) = native.sockets.make(kind, patience, waiting, open);
    let connection = Connection {
        wire: Wire::Emulated(Box::new(wire)),
        heard: Instant::now(),
        client,
        evicted,
        http: http_request(native, parts),
        hold,
    };
    tokio::spawn(session::run(connection, native.clone()));
    line
}

fn find(native: &Native, id: &str) -> Option<Arc<Line>> {
    native.sockets.find(&SocketId::parse(id)?)
}

/// Brings the messages of a body up, each once however often the body comes. False if the socket has ended.
async fn bring(line: &Line, asked: &Asked<'_>) -> bool {
    let messages = &asked.messages.0;
    if messages.is_empty() {
        return true;
    }
    let mut turn = line.turn.lock().await;
    if let Some(batch) = asked.batch {
        if batch < turn.batch {
            return true;
        }
        if batch > turn.batch {
            (turn.batch, turn.taken) = (batch, 0);
        }
    } else {
        turn.taken = 0;
    }
    for message in messages.iter().skip(turn.taken) {
        if !line.bring(message.get().into()).await {
            return false;
        }
        turn.taken += 1;
    }
    true
}

/// A body, counted until it is dropped.
struct Text {
    bytes: Bytes,
    unread: Unread,
}

impl Drop for Text {
    fn drop(&mut self) {
        self.unread.end();
    }
}

/// Reads a body, within the bounds of size, time and memory.
async fn read(
    native: &Native,
    parts: &mut Parts,
    client: Option<ClientAddress>,
    body: Body,
) -> Result<Text, Box<Response>> {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = "`Content-Type` must be application/json.".to_owned();
        let refusal = refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad_content_type",
            message,
        );
        return Err(Box::new(refusal.into_response()));
    }
    let evicted = Arc::new(Notify::new());
    let unread = parts.extensions.remove::<Unread>().unwrap_or_default();
    unread.begin(client, &evicted);
    let mut text = Text {
        bytes: Bytes::new(),
        unread,
    };
    let most = native.limits.message_bytes.saturating_add(ENVELOPE);
    let bytes = tokio::select! {
        bytes = timeout(native.limits.join_timeout(), to_bytes(body, most)) => bytes,
        () = evicted.notified() => {
            let room::Refusal { code, message } = room::Refusal::server_memory();
            let refusal = refused(StatusCode::SERVICE_UNAVAILABLE, code, message);
            return Err(Box::new(refusal.into_response()));
        }
    };
    match bytes {
        Ok(Ok(bytes)) => {
            text.bytes = bytes;
            Ok(text)
        }
        Ok(Err(_)) => {
            let limit = native.limits.message_bytes;
            let message = format!("The messages of a request may have at most {limit} bytes.");
            let refusal = refused(StatusCode::PAYLOAD_TOO_LARGE, "message_too_large", message);
            Err(Box::new(refusal.into_response()))
        }
        Err(_elapsed) => {
            let message = "The body did not come in time.".to_owned();
            let refusal = refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", message);
            Err(Box::new(refusal.into_response()))
        }
    }
}

fn parse(bytes: &Bytes) -> Result<Asked<'_>, Box<Response>> {
    let wrong = |message| {
        let refusal = refused(StatusCode::BAD_REQUEST, "bad_json", message);
        Box::new(refusal.into_response())
    };
    // serde would read a struct from an array, too.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("The body is not a JSON object.".to_owned()));
    }
    let asked = serde_json::from_slice(bytes);
    asked.map_err(|error| wrong(format!("The body is not as it should be: {error}.")))
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

/// Bytes of an answer, whose memory counts until they are written.
struct Counted {
    body: Vec<u8>,
    _account: Option<crate::memory::Account>,
}

impl Counted {
    fn bytes(mut taken: Taken, write: impl FnOnce(&Taken, &mut Vec<u8>)) -> Bytes {
        let mut body = Vec::new();
        write(&taken, &mut body);
        Bytes::from_owner(Self {
            body,
            _account: taken.account.take(),
        })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Says that the request's connection is one of a socket, for as long as the result lives.
fn set_aside(parts: &Parts) -> Option<Aside> {
    parts.extensions.get::<Place>().map(Place::set_aside)
}

fn json(body: Bytes) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}

fn done() -> Response {
    json(Bytes::from_static(b"{}"))
}

fn no_such_connection() -> Response {
    let message = "There is no such connection any more.".to_owned();
    refused(StatusCode::NOT_FOUND, "no_such_connection", message).into_response()
}
