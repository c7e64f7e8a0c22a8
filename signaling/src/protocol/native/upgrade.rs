//! `GET /v1/ws`: from HTTP to a WebSocket, and the door that all sockets pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tracing::info;

use super::connection::{Connection, Hold};
use super::convert::Greeting;
use super::emulated::{Kind, Sockets};
use super::handshake::Handshake;
use super::session::{self, Knock};
use super::websocket::WebSocket;
use super::wire::{Outbox, Wire};
use super::{DataChannels, MessageLimits, TurnOffer};
use crate::access::Access;
use crate::clients::{ClientAddress, Exceeded, Network, client_of};
use crate::config::{IceServer, Limits};
use crate::hooks::HttpRequest;
use crate::live::Live;
use crate::media::{self, SENDER_PROTOCOL};
use crate::memory::{Budget, Unread};
use crate::room::{self, Rooms, SocketKind};
use crate::session::{SessionCounts, Sessions};

/// The state that all sessions of this protocol share.
pub(crate) struct Native {
    pub(super) rooms: Rooms,
    pub(super) limits: Limits,
    pub(super) greeting: Greeting,
    pub(super) sessions: Sessions<Knock>,
    pub(super) trusted_proxies: Vec<Network>,
    /// Sockets that are emulated over HTTP.
    pub(super) sockets: Sockets,
    /// A permit for each socket allowed.
    connections: Arc<Semaphore>,
    /// Sockets that there are, by their kind.
    open: [Arc<AtomicUsize>; SocketKind::ALL.len()],
}

impl From<Kind> for SocketKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Stream => Self::Sse,
            Kind::Poll => Self::Polling,
        }
    }
}

/// Counts one socket for as long as this lives.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Native {
    pub(crate) fn new(
        rooms: Rooms,
        limits: Limits,
        ice_servers: Live<Arc<[IceServer]>>,
        turn: Option<TurnOffer>,
        trusted_proxies: Vec<Network>,
    ) -> Self {
        let media = media::Limits::default();
        Self {
            greeting: Greeting {
                ice_servers,
                turn,
                limits: MessageLimits {
                    message_bytes: limits.message_bytes,
                    chat_chars: limits.chat_chars,
                    publisher_bitrate: limits.publisher_bitrate,
                },
                data: DataChannels {
                    protocol: SENDER_PROTOCOL.to_owned(),
                    message_bytes: media.data_message_bytes,
                    messages_per_second: media.data_messages_per_second,
                },
                access: rooms.access(),
            },
            trusted_proxies,
            sockets: Sockets::default(),
            open: Default::default(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            // As many as may have a connection.
            sessions: Sessions::new(limits.connections, limits.connections_per_address),
            rooms,
            limits,
        }
    }

    /// Sockets that there are, by their kind.
    pub(crate) fn open_sockets(&self) -> BTreeMap<&'static str, usize> {
        let counts = self.open.iter().map(|count| count.load(Ordering::Relaxed));
        let kinds = SocketKind::ALL.map(SocketKind::as_str);
        kinds.into_iter().zip(counts).collect()
    }

    /// The sessions of this server, by their numbers.
    pub(crate) fn session_counts(&self) -> SessionCounts {
        self.sessions.counts()
    }

    /// The accounts of what is meant for a client.
    pub(super) fn outbox(&self, client: Option<ClientAddress>, evicted: &Arc<Notify>) -> Outbox {
        let memory = self.rooms.memory();
        let open = |budget: &Budget| {
            let let_go = evicted.clone();
            budget.open(client, move || let_go.notify_one())
        };
        Outbox {
            sent: open(&memory.outboxes),
            waiting: open(&memory.waiting),
        }
    }
}

pub(crate) async fn upgrade(
    State(native): State<Arc<Native>>,
    mut parts: Parts,
) -> Result<Response, NotServed> {
    let handshake = match Handshake::of(&mut parts) {
        Ok(handshake) => handshake,
        Err(lack) => return Ok(lack.into_response()),
    };
    let client = client_of(&parts, &native.trusted_proxies);
    let hold = admit(&native, client, SocketKind::WebSocket)?;
    let response = handshake.accepted();
    let unread = parts.extensions.remove::<Unread>().unwrap_or_default();
    let host = host_of(&native, &parts);
    let http = http_request(&native, parts);
    tokio::spawn(async move {
        // A client that hangs up before has no session.
        let Ok(connection) = handshake.connection.await else {
            return;
        };
        let evicted = Arc::new(Notify::new());
        let outbox = native.outbox(client, &evicted);
        unread.begin(client, &evicted);
        let connection = Connection {
            wire: Wire::WebSocket(Box::new(
                WebSocket::new(connection, &native.limits, unread, outbox).await,
            )),
            heard: Instant::now(),
            client,
            evicted,
            host,
            http,
            hold,
        };
        session::run(connection, native).await;
    });
    Ok(response)
}

/// Lets a socket in, of whatever kind, or refuses it. Who is refused would have joined: that is counted as a refused join.
pub(super) fn admit(
    native: &Native,
    client: Option<ClientAddress>,
    socket: SocketKind,
) -> Result<Hold, NotServed> {
    let admitted = take_places(native, client, socket);
    admitted.inspect_err(|refused| native.rooms.count_refused(refused.code))
}

fn take_places(
    native: &Native,
    client: Option<ClientAddress>,
    socket: SocketKind,
) -> Result<Hold, NotServed> {
    let stop = native.rooms.stop_signal();
    if stop.is_stopped() {
        return Err(stopping());
    }
    if native.rooms.memory().refuses(client) {
        return Err(short());
    }
    let Ok(permit) = native.connections.clone().try_acquire_owned() else {
        return Err(full());
    };
    let clients = native.rooms.clients();
    let held = client.map(|address| clients.connect(address)).transpose();
    let held = held.map_err(|exceeded| too_many(native, client, exceeded))?;
    let open = &native.open[socket as usize];
    open.fetch_add(1, Ordering::Relaxed);
    Ok(Hold {
        _permit: permit,
        _held: held,
        _counted: Counted(open.clone()),
        socket,
        stop,
    })
}

/// The name and port by which a client asked for the server. Nobody needs them where TURN is off.
pub(super) fn host_of(native: &Native, parts: &Parts) -> Option<Arc<str>> {
    native.greeting.turn.as_ref()?;
    parts
        .headers
        .get(header::HOST)?
        .to_str()
        .ok()
        .map(Arc::from)
}

/// The request that a connection began with, for an embedder's hooks.
pub(super) fn http_request(native: &Native, parts: Parts) -> Option<Arc<HttpRequest>> {
    (native.rooms.access() == Access::Hooks).then(|| {
        Arc::new(HttpRequest {
            uri: parts.uri,
            headers: parts.headers,
            extensions: parts.extensions,
        })
    })
}

/// `POST /v1/ws`: what an upgrade would be answered. A browser keeps that from a page whose WebSocket
/// was refused.
pub(crate) async fn ask(
    State(native): State<Arc<Native>>,
    parts: Parts,
) -> Result<Response, NotServed> {
    let client = client_of(&parts, &native.trusted_proxies);
    let clients = native.rooms.clients();
    if native.rooms.is_stopping() {
        Err(stopping())
    } else if native.rooms.memory().refuses(client) {
        Err(short())
    } else if native.connections.available_permits() == 0 {
        Err(full())
    } else if let Some(Err(exceeded)) = client.map(|address| clients.may_connect(address)) {
        Err(too_many(&native, client, exceeded))
    } else {
        let message = "A WebSocket may be opened here.".to_owned();
        Ok(refused(StatusCode::OK, "ok", message).into_response())
    }
}

/// The answer to a request that is refused.
pub(crate) struct NotServed {
    code: &'static str,
    response: Box<Response>,
}

impl NotServed {
    pub(super) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            code,
            response: Box::new(refused(status, code, message).into_response()),
        }
    }
}

impl IntoResponse for NotServed {
    fn into_response(self) -> Response {
        *self.response
    }
}

fn stopping() -> NotServed {
    let message = "The server is shutting down.".to_owned();
    NotServed::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message)
}

pub(super) fn short() -> NotServed {
    let room::Refusal { code, message, .. } = room::Refusal::server_memory();
    NotServed::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
}

fn full() -> NotServed {
    let message = "The server has as many connections as it can take.".to_owned();
    NotServed::new(StatusCode::SERVICE_UNAVAILABLE, "server_full", message)
}

fn too_many(native: &Native, client: Option<ClientAddress>, exceeded: Exceeded) -> NotServed {
    let clients = native.rooms.clients();
    let address = client.as_ref().map(tracing::field::display);
    let code = exceeded.code();
    info!(address, code, "refused: its address has too many");
    let status = StatusCode::TOO_MANY_REQUESTS;
    NotServed::new(status, code, clients.sentence(exceeded))
}

/// A code as in [`Refusal`](super::Refusal), and a sentence.
#[derive(Serialize)]
pub(crate) struct Reason {
    code: &'static str,
    message: String,
}

pub(crate) fn refused(
    status: StatusCode,
    code: &'static str,
    message: String,
) -> impl IntoResponse {
    let uncached = [(header::CACHE_CONTROL, "no-store")];
    (status, uncached, Json(Reason { code, message }))
}
