//! One WebSocket, with a bound on how long anything on it may take.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::SinkExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error as TungsteniteError;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::{ServerMessage, encode};
use crate::memory::{Account, UNCOUNTED, Unread};

pub(super) struct Wire {
    socket: WebSocket,
    /// A write that takes longer than this has nobody at its other end.
    patience: Duration,
    /// The bytes received that are no whole message yet.
    unread: Unread,
    /// The bytes on their way to the client.
    outbox: Account,
}

pub(super) enum Received {
    Text(Utf8Bytes),
    Binary,
    /// Ping or pong: a sign of life. Pings are answered below.
    Control,
    /// The socket cannot be read on.
    TooLarge,
    /// Frames that are none by RFC 6455.
    Broken,
    /// A text frame that is not UTF-8.
    NotUtf8,
    Gone,
}

/// The socket is closed or as good as.
#[derive(Debug)]
pub(super) struct Gone;

/// The goodbye with which a socket is closed.
pub(super) struct Farewell {
    pub(super) message: ServerMessage,
    pub(super) code: u16,
    pub(super) reason: &'static str,
    /// Whether the rest of what the client sent can be read away.
    pub(super) readable: bool,
}

/// For the last message to leave, and for the client to answer the close.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// Unread bytes reset the connection when it is closed, and a reset may overtake the last message:
/// the client has this long to read it.
const UNREADABLE_TIME: Duration = Duration::from_millis(500);

impl Wire {
    pub(super) fn new(
        socket: WebSocket,
        patience: Duration,
        unread: Unread,
        outbox: Account,
    ) -> Self {
        Self {
            socket,
            patience,
            unread,
            outbox,
        }
    }

    /// Cancel-safe.
    pub(super) async fn receive(&mut self) -> Received {
        match self.socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                self.unread.message();
                Received::Text(text)
            }
            Some(Ok(Message::Binary(_))) => {
                self.unread.message();
                Received::Binary
            }
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                self.unread.control(payload.len());
                Received::Control
            }
            Some(Ok(Message::Close(_))) | None => Received::Gone,
            Some(Err(error)) => {
                let error = error.into_inner();
                match error.downcast_ref::<TungsteniteError>() {
                    Some(TungsteniteError::Capacity(_)) => Received::TooLarge,
                    Some(TungsteniteError::Utf8(_)) => Received::NotUtf8,
                    Some(TungsteniteError::Protocol(
                        ProtocolError::ResetWithoutClosingHandshake
                        | ProtocolError::ReceivedAfterClosing
                        | ProtocolError::SendAfterClosing,
                    )) => Received::Gone,
                    Some(TungsteniteError::Protocol(_)) => Received::Broken,
                    _ => Received::Gone,
                }
            }
        }
    }

    /// Writes several messages at once.
    pub(super) async fn send(
        &mut self,
        messages: impl IntoIterator<Item = ServerMessage>,
    ) -> Result<(), Gone> {
        let (socket, outbox) = (&mut self.socket, &mut self.outbox);
        let write = async {
            let mut bytes = 0;
            for message in messages {
                let text = encode(&message);
                bytes += text.len();
                // Once as it is, once in frames.
                if bytes > UNCOUNTED && !outbox.set(2 * bytes) {
                    outbox.end();
                    return Err(Gone);
                }
                socket
                    .feed(Message::Text(text.into()))
                    .await
                    .map_err(|_| Gone)?;
            }
            socket.flush().await.map_err(|_| Gone)
        };
        let written = timeout(self.patience, write).await;
        self.outbox.set(0);
        written.unwrap_or(Err(Gone))
    }

    pub(super) async fn ping(&mut self) -> Result<(), Gone> {
        let ping = self.socket.send(Message::Ping(Default::default()));
        match timeout(self.patience, ping).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Says why, closes, and waits for the client to close as well.
    pub(super) async fn finish(mut self, farewell: Farewell) {
        let close = Message::Close(Some(CloseFrame {
            code: farewell.code,
            reason: farewell.reason.into(),
        }));
        let goodbye = async {
            self.send([farewell.message]).await?;
            self.socket.send(close).await.map_err(|_| Gone)?;
            if !farewell.readable {
                tokio::time::sleep(UNREADABLE_TIME).await;
                return Ok(());
            }
            while let Some(Ok(_)) = self.socket.recv().await {}
            Ok::<_, Gone>(())
        };
        // One who does not take the news has had the time to.
        let _ = timeout(FAREWELL_TIME, goodbye).await;
    }
}

impl Farewell {
    /// `id`: of the request that this answers.
    pub(super) fn bye(id: Option<u32>, reason: &'static str, message: &str) -> Self {
        Self {
            message: ServerMessage::Bye {
                id,
                reason: reason.to_owned(),
                message: message.to_owned(),
            },
            code: match reason {
                "left" => close_code::NORMAL,
                _ => close_code::AWAY,
            },
            reason,
            readable: true,
        }
    }
}
