//! `GET /v1/ws`: from HTTP to a session.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::info;

use super::convert::Greeting;
use super::handshake::Handshake;
use super::{DataChannels, IceServer, MessageLimits, session};
use crate::access::Access;
use crate::clients::{ClientAddress, Exceeded, Network, client_of};
use crate::config::Limits;
use crate::hooks::HttpRequest;
use crate::live::Live;
use crate::media::{self, SENDER_PROTOCOL};
use crate::memory::Unread;
use crate::room::{self, Rooms};

/// The state that all sessions of this protocol share.
pub(crate) struct Native {
    pub(super) rooms: Rooms,
    pub(super) limits: Limits,
    pub(super) greeting: Greeting,
    trusted_proxies: Vec<Network>,
    /// A permit for each WebSocket allowed.
    connections: Arc<Semaphore>,
}

impl Native {
    pub(crate) fn new(
        rooms: Rooms,
        limits: Limits,
        ice_servers: Live<Arc<[IceServer]>>,
        trusted_proxies: Vec<Network>,
    ) -> Self {
        let media = media::Limits::default();
        Self {
            greeting: Greeting {
                ice_servers,
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
            connections: Arc::new(Semaphore::new(limits.connections)),
            rooms,
            limits,
        }
    }
}

pub(crate) async fn upgrade(State(native): State<Arc<Native>>, mut parts: Parts) -> Response {
    let handshake = match Handshake::of(&mut parts) {
        Ok(handshake) => handshake,
        Err(lack) => return lack.into_response(),
    };
    let stop = native.rooms.stop_signal();
    if stop.is_stopped() {
        return stopping();
    }
    let client = client_of(&parts, &native.trusted_proxies);
    if native.rooms.memory().refuses(client) {
        return short();
    }
    let Ok(permit) = native.connections.clone().try_acquire_owned() else {
        return full();
    };
    let clients = native.rooms.clients();
    let held = match client.map(|address| clients.connect(address)).transpose() {
        Ok(held) => held,
        Err(exceeded) => return too_many(&native, client, exceeded),
    };
    let response = handshake.accepted();
    let unread = parts.extensions.remove::<Unread>().unwrap_or_default();
    let http = (native.rooms.access() == Access::Hooks).then(|| {
        Arc::new(HttpRequest {
            uri: parts.uri,
            headers: parts.headers,
            extensions: parts.extensions,
        })
    });
    let opened = session::Opened {
        client,
        http,
        unread,
    };
    tokio::spawn(async move {
        // A client that hangs up before has no session.
        if let Ok(connection) = handshake.connection.await {
            session::run(connection, native, opened, stop).await;
        }
        drop((permit, held));
    });
    response
}

/// `POST /v1/ws`: what an upgrade would be answered. A browser keeps that from a page whose WebSocket
/// was refused.
pub(crate) async fn ask(State(native): State<Arc<Native>>, parts: Parts) -> Response {
    let client = client_of(&parts, &native.trusted_proxies);
    let clients = native.rooms.clients();
    if native.rooms.is_stopping() {
        stopping()
    } else if native.rooms.memory().refuses(client) {
        short()
    } else if native.connections.available_permits() == 0 {
        full()
    } else if let Some(Err(exceeded)) = client.map(|address| clients.may_connect(address)) {
        too_many(&native, client, exceeded)
    } else {
        let message = "A WebSocket may be opened here.".to_owned();
        refused(StatusCode::OK, "ok", message).into_response()
    }
}

fn stopping() -> Response {
    let message = "The server is shutting down.".to_owned();
    refused(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message).into_response()
}

fn short() -> Response {
    let room::Refusal { code, message } = room::Refusal::server_memory();
    refused(StatusCode::SERVICE_UNAVAILABLE, code, message).into_response()
}

fn full() -> Response {
    let message = "The server has as many connections as it can take.".to_owned();
    refused(StatusCode::SERVICE_UNAVAILABLE, "server_full", message).into_response()
}

fn too_many(native: &Native, client: Option<ClientAddress>, exceeded: Exceeded) -> Response {
    let clients = native.rooms.clients();
    let address = client.as_ref().map(tracing::field::display);
    let code = exceeded.code();
    info!(address, code, "refused: its address has too many");
    let status = StatusCode::TOO_MANY_REQUESTS;
    refused(status, code, clients.sentence(exceeded)).into_response()
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
