//! The way to a client and back: a WebSocket, or one emulated over HTTP.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::ServerMessage;
use super::emulated::Emulated;
use super::websocket::WebSocket;
use crate::memory::Account;

/// A wire carries text messages both ways. Nothing on it may take longer than a bound.
pub(super) enum Wire {
    WebSocket(Box<WebSocket>),
    Emulated(Box<Emulated>),
}

/// The bytes meant for the client.
pub(super) struct Outbox {
    /// Bytes on their way.
    pub(super) sent: Account,
    /// Bytes of a message that waits until there is memory for it to be sent. Many that wait are as much memory as many
    /// that are sent.
    pub(super) waiting: Account,
}

pub(super) enum Received {
    Text(Utf8Bytes),
    Binary,
    /// Ping or pong: a sign of life. Pings are answered below.
    Control,
    /// A sign of life that no message is: the client asks for messages.
    Asked,
    /// The socket cannot be read on.
    TooLarge,
    /// Frames that are none by RFC 6455.
    Broken,
    /// A text frame that is not UTF-8.
    NotUtf8,
    /// A message in too many pieces.
    TooFast,
    /// `is_page`: the client is a page that was closed or loaded again (close code 1001).
    Gone {
        is_page: bool,
    },
}

/// The reason that a message was not sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsent {
    /// The socket is closed or as good as.
    Gone,
    /// All memory for messages on their way is held, and was for too long.
    NoMemory,
}

/// The goodbye with which a socket is closed.
pub(super) struct Farewell {
    pub(super) message: ServerMessage,
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
    /// Whether the rest of the client's bytes can be read away.
    pub(super) readable: bool,
}

/// Time for the last message to leave, and for the client to answer the close.
pub(super) const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// Bytes held for each byte of a message: once as it is, and once in frames.
pub(super) const PER_BYTE: usize = 2;
/// Interval of the checks whether there is memory for a message to be sent.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

impl Wire {
    /// Cancel-safe.
    pub(super) async fn receive(&mut self) -> Received {
        match self {
            Self::WebSocket(wire) => wire.receive().await,
            Self::Emulated(wire) => wire.receive().await,
        }
    }

    /// Writes several messages at once. While there is no memory for one, it waits for as long as for a client that
    /// takes nothing; if too much waits already, it does not.
    pub(super) async fn send(
        &mut self,
        messages: impl IntoIterator<Item: Into<Utf8Bytes>>,
    ) -> Result<(), Unsent> {
        match self {
            Self::WebSocket(wire) => wire.send(messages).await,
            Self::Emulated(wire) => wire.send(messages).await,
        }
    }

    /// Asks the other end for a sign of life. Returns whether there is one already.
    pub(super) async fn ping(&mut self) -> Result<bool, Unsent> {
        match self {
            Self::WebSocket(wire) => wire.ping().await.map(|()| false),
            Self::Emulated(wire) => Ok(wire.ping()),
        }
    }

    /// Says why the connection ends, closes, and waits for the client to take that.
    pub(super) async fn finish(self, farewell: Farewell) {
        match self {
            Self::WebSocket(wire) => wire.finish(farewell).await,
            Self::Emulated(wire) => wire.finish(farewell).await,
        }
    }
}

impl Farewell {
    /// `id`: of the request that this answers.
    pub(super) fn bye(
        id: Option<u32>,
        reason: &'static str,
        message: &str,
        by: Option<String>,
    ) -> Self {
        Self {
            message: ServerMessage::Bye {
                id,
                reason: reason.to_owned(),
                message: message.to_owned(),
                by,
            },
            code: match reason {
                "left" | "kicked" | "banned" | "room_closed" | "replaced" => CloseCode::Normal,
                _ => CloseCode::Away,
            },
            reason,
            readable: true,
        }
    }
}
