//! `POST /v1/http/...`: sockets for networks that let no WebSocket through.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::body::{Asked, Text};
use super::connection::{Connection, Hold};
use super::emulated::{Accounts, Kind, Line, SocketId, Taken, Taker};
use super::unwritten::Unwritten;
use super::upgrade::{Native, NotServed, host_of, http_request, short};
use super::wire::Wire;
use super::{session, upgrade};
use crate::clients::{ClientAddress, client_of};
use crate::held_open::Place;
use crate::session::ResumeFault;

/// Longest wait of a poll: proxies end a request that is not answered for 30 s.
const LONGEST_WAIT_MS: u64 = 25_000;
/// `POST /v1/http/events`: makes a socket whose messages leave as a stream of events.
pub(crate) async fn events(
    State(native): State<Arc<Native>>,
    request: Request,
) -> Result<Response, NotServed> {
    let (mut parts, body) = request.into_parts();
    let client = client_of(&parts, &native.trusted_proxies);
    let hold = upgrade::admit(&native, client, Kind::Stream.into())?;
    let place = parts.extensions.get::<Place>().cloned();
    let aside = place.as_ref().map(Place::set_aside);
    let text = Text::read(&native, &mut parts, client, body).await?;
    let asked = text.asked()?;
    let messages = asked.messages.0.iter();
    let messages: Vec<Utf8Bytes> = messages.map(|message| message.get().into()).collect();
    let line = begin(&native, parts, client, hold, Kind::Stream);
    let taker = line.taker(Kind::Stream, aside);
    // Beside the stream: the owner may have to be rid of messages before it looks at the next of these. Those that the
    // client sends once it knows the socket's name come after them.
    let turn = line.turn.clone().lock_owned().await;
    let up = line.clone();
    tokio::spawn(async move {
        let bring = async {
            for message in messages {
                if !up.bring(message).await {
                    break;
                }
            }
        };
        tokio::select! {
            () = bring => {}
            () = text.evicted() => up.cut(),
        }
        drop((turn, text));
    });
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
    Ok((headers, Body::from_stream(event_stream(open, taker, place))).into_response())
}

fn event_stream(
    open: String,
    taker: Taker,
    place: Option<Place>,
) -> impl stream::Stream<Item = Result<Bytes, Infallible>> + Send {
    let state = (Some(open), Some(taker), place);
    stream::unfold(state, |(open, taker, place)| async move {
        if let Some(open) = open {
            return Some((Ok(open.into()), (None, taker, place)));
        }
        let taken = taker.as_ref()?.take().await?;
        let taker = taker.filter(|_| !taken.is_last);
        let bytes = Counted::bytes(taken, place.as_ref(), |taken, body| {
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
        Some((Ok(bytes), (None, taker, place)))
    })
}

/// `POST /v1/http/poll`: makes a socket whose messages leave as answers, or asks one for them.
pub(crate) async fn poll(
    State(native): State<Arc<Native>>,
    request: Request,
) -> Result<Response, NotServed> {
    let (mut parts, body) = request.into_parts();
    let client = client_of(&parts, &native.trusted_proxies);
    let text = Text::read(&native, &mut parts, client, body).await?;
    let asked = text.asked()?;
    let place = parts.extensions.get::<Place>().cloned();
    let line = match &asked.connection {
        Some(id) => find(&native, id).ok_or_else(no_such_connection)?,
        None => {
            let hold = upgrade::admit(&native, client, Kind::Poll.into())?;
            begin(&native, parts, client, hold, Kind::Poll)
        }
    };
    if asked.close {
        line.cut();
        return Ok(done());
    }
    let taker = line.taker(Kind::Poll, place.as_ref().map(Place::set_aside));
    let mut taken = taker.nothing();
    let is_brought = {
        let mut brought = pin!(bring(&line, &asked));
        loop {
            tokio::select! {
                biased;
                is_brought = &mut brought => break is_brought,
                () = text.evicted() => return Err(let_go(&line)),
                // The owner may have to be rid of messages before it looks at the next of these.
                Some(more) = taker.take(), if !taken.is_last => taken.append(more),
            }
        }
    };
    let wait = Duration::from_millis(asked.wait_ms.min(LONGEST_WAIT_MS));
    drop(text);
    if !is_brought && taken.texts.is_empty() {
        return Err(no_such_connection());
    }
    if taken.texts.is_empty() {
        tokio::select! {
            biased;
            // None: another poll has begun.
            more = taker.take() => taken.append(more.unwrap_or_else(|| taker.nothing())),
            () = sleep(wait) => {}
        }
    }
    let id = line.id;
    let body = Counted::bytes(taken, place.as_ref(), |taken, body| {
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
    Ok(json(body))
}

/// `POST /v1/http/send`: brings messages to a socket.
pub(crate) async fn send(
    State(native): State<Arc<Native>>,
    request: Request,
) -> Result<Response, NotServed> {
    let (mut parts, body) = request.into_parts();
    let client = client_of(&parts, &native.trusted_proxies);
    let text = Text::read(&native, &mut parts, client, body).await?;
    let asked = text.asked()?;
    if asked.closing {
        let token = asked.session.ok_or_else(|| lacks("session"))?;
        drop(text);
        let closed = session::close_page(&native, &token).await;
        return closed.map(|()| done()).map_err(no_such_session);
    }
    let id = asked.connection.as_deref();
    let id = id.ok_or_else(|| lacks("connection"))?;
    let line = find(&native, id).ok_or_else(no_such_connection)?;
    tokio::select! {
        biased;
        is_brought = bring(&line, &asked) => if !is_brought {
            return Err(no_such_connection());
        },
        () = text.evicted() => return Err(let_go(&line)),
    }
    if asked.close {
        line.cut();
    }
    Ok(done())
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
    let memory = native.rooms.memory();
    let accounts = Accounts {
        client,
        messages: memory.messages.clone(),
        outboxes: memory.outboxes.clone(),
        evicted: evicted.clone(),
    };
    let patience = match kind {
        Kind::Stream => native.limits.write_timeout(),
        Kind::Poll => native.limits.silence(),
    };
    let waiting = native.outbox(client, &evicted).waiting;
    let (wire, line) = native.sockets.make(kind, patience, waiting, accounts);
    let connection = Connection {
        wire: Wire::Emulated(Box::new(wire)),
        heard: Instant::now(),
        client,
        evicted,
        host: host_of(native, &parts),
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

/// Bytes of an answer, whose memory counts until the connection at `place` has written them.
struct Counted {
    body: Vec<u8>,
    _unwritten: Vec<Unwritten>,
}

impl Counted {
    fn bytes(
        taken: Taken,
        place: Option<&Place>,
        write: impl FnOnce(&Taken, &mut Vec<u8>),
    ) -> Bytes {
        let mut body = Vec::new();
        write(&taken, &mut body);
        if let Some(place) = place {
            taken.unwritten.iter().for_each(|it| it.leave_by(place));
        }
        Bytes::from_owner(Self {
            body,
            _unwritten: taken.unwritten,
        })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
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

/// Ends a socket whose messages have not come while they had memory.
fn let_go(line: &Line) -> NotServed {
    line.cut();
    short()
}

fn no_such_connection() -> NotServed {
    let message = "There is no such connection any more.".to_owned();
    NotServed::new(StatusCode::NOT_FOUND, "no_such_connection", message)
}

/// A session whose page is closed is not to be told so by this token.
fn no_such_session(fault: ResumeFault) -> NotServed {
    let status = match fault {
        ResumeFault::NoSuchSession => StatusCode::NOT_FOUND,
        ResumeFault::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    NotServed::new(status, fault.code(), fault.sentence().to_owned())
}

fn lacks(field: &str) -> NotServed {
    let message = format!("`{field}` is missing.");
    NotServed::new(StatusCode::BAD_REQUEST, "bad_json", message)
}
