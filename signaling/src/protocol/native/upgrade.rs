//! `GET /v1/ws`: from HTTP to a session.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::convert::Greeting;
use super::{DataChannels, IceServer, MessageLimits, session};
use crate::config::Limits;
use crate::media::{self, SENDER_PROTOCOL};
use crate::room::Rooms;

/// What every session of this protocol shares.
pub(crate) struct Native {
    pub(super) rooms: Rooms,
    pub(super) limits: Limits,
    pub(super) greeting: Greeting,
    /// One for each WebSocket there may be.
    connections: Arc<Semaphore>,
}

/// Messages are short but for offers; what is needed beyond this is allocated as it comes.
/// tungstenite's default of 128 KiB for each connection would be 2.5 GiB for a full server.
const READ_BUFFER: usize = 4 * 1024;

impl Native {
    pub(crate) fn new(rooms: Rooms, limits: Limits, ice_servers: Vec<IceServer>) -> Self {
        let media = media::Limits::default();
        Self {
            greeting: Greeting {
                ice_servers,
                limits: MessageLimits {
                    message_bytes: limits.message_bytes,
                    chat_chars: limits.chat_chars,
                },
                data: DataChannels {
                    protocol: SENDER_PROTOCOL.to_owned(),
                    message_bytes: media.data_message_bytes,
                    messages_per_second: media.data_messages_per_second,
                },
            },
            connections: Arc::new(Semaphore::new(limits.connections)),
            rooms,
            limits,
        }
    }
}

pub(crate) async fn upgrade(
    State(native): State<Arc<Native>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let stop = native.rooms.stop_signal();
    if stop.is_stopped() {
        return refuse("The server is shutting down.");
    }
    let Ok(permit) = native.connections.clone().try_acquire_owned() else {
        return refuse("The server has as many connections as it can take.");
    };
    upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(native.limits.message_bytes)
        .max_frame_size(native.limits.message_bytes)
        .on_upgrade(async move |socket| {
            session::run(socket, native, stop).await;
            drop(permit);
        })
}

fn refuse(sentence: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response()
}
