//! A request over HTTP/1.1 and as much of its answer as is needed. A stranger may answer anything, for as long as it
//! likes: bytes and time are bounded.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, header};
use futures_util::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Way;

/// Bytes of a body that are read: far more than any of the answers that are wanted has.
const BODY_BYTES: usize = 64 << 10;
/// Bytes of a head that are read.
const HEAD_BYTES: usize = 32 << 10;

/// An answer, or its beginning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The fields `Server`, `Location` and `Content-Type`; empty if there are none.
    pub(super) server: String,
    pub(super) location: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

/// The reason that there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unanswered {
    /// No further connection.
    NoConnection,
    /// Nothing came in time.
    Silent,
    /// The connection ended before the answer.
    Closed,
    /// The answer is no HTTP. The text is the library's.
    NotHttp(String),
}

/// Asks, and reads the answer until `enough` says so of its body's beginning, to its end, or for `within`: then the
/// answer has what had come.
pub(super) async fn ask(
    way: &Way,
    path: &str,
    json: Option<String>,
    within: Duration,
    enough: fn(&[u8]) -> bool,
) -> Result<Answer, Unanswered> {
    let until = Instant::now() + within;
    let stream = way.open(within).await.ok_or(Unanswered::NoConnection)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES);
    let shaken = timeout(within, builder.handshake(TokioIo::new(stream))).await;
    let (mut sender, connection) = shaken
        .map_err(|_| Unanswered::Silent)?
        .map_err(|error| of(&error))?;
    let target = &way.target;
    let request = Request::builder()
        .method(if json.is_some() { "POST" } else { "GET" })
        .uri(target.path(path))
        .header(header::HOST, target.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close");
    let request = match &json {
        // As the page does.
        Some(_) => request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ORIGIN, target.origin()),
        None => request,
    };
    let request = request
        .body(Body::from(json.unwrap_or_default()))
        .map_err(|error| Unanswered::NotHttp(error.to_string()))?;
    let talk = async {
        let answer = timeout_at(until, sender.send_request(request)).await;
        let answer = answer
            .map_err(|_| Unanswered::Silent)?
            .map_err(|error| of(&error))?;
        let (head, body) = answer.into_parts();
        let mut read = Answer {
            status: head.status.as_u16(),
            server: field(&head.headers, header::SERVER),
            location: field(&head.headers, header::LOCATION),
            content_type: field(&head.headers, header::CONTENT_TYPE),
            body: Vec::new(),
        };
        let mut chunks = Body::new(body).into_data_stream();
        while read.body.len() < BODY_BYTES && !enough(&read.body) {
            match timeout_at(until, chunks.next()).await {
                Ok(Some(Ok(chunk))) => take(&mut read.body, &chunk),
                _ => break,
            }
        }
        Ok(read)
    };
    tokio::pin!(talk, connection);
    tokio::select! {
        read = &mut talk => read,
        // The answer may be there already.
        _ = &mut connection => talk.await,
    }
}

pub(super) const USER_AGENT: &str = concat!("tertulia-check/", env!("CARGO_PKG_VERSION"));

fn take(body: &mut Vec<u8>, chunk: &Bytes) {
    let room = BODY_BYTES.saturating_sub(body.len());
    body.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
}

fn field(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).map(|value| value.as_bytes());
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}

fn of(error: &hyper::Error) -> Unanswered {
    match error.is_parse() || error.is_parse_too_large() {
        true => Unanswered::NotHttp(error.to_string()),
        false => Unanswered::Closed,
    }
}
