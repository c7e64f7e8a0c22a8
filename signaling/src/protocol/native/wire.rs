//! One WebSocket, with a bound on the time that anything on it may take.

use std::io;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::ServerMessage;
use super::fragments::{FragmentWatch, TooManyFragments};
use crate::config::Limits;
use crate::memory::{Account, UNCOUNTED, Unread};
use crate::watched::Watched;

pub(super) struct Wire {
    socket: WebSocketStream<Watched<TokioIo<Upgraded>, FragmentWatch>>,
    /// Longest time of a write: beyond it the other end does not read.
    patience: Duration,
    /// Received bytes that are no whole message yet.
    unread: Unread,
    outbox: Outbox,
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
    /// The socket cannot be read on.
    TooLarge,
    /// Frames that are none by RFC 6455.
    Broken,
    /// A text frame that is not UTF-8.
    NotUtf8,
    /// A message in too many pieces.
    TooFast,
    Gone,
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
const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// Unread bytes reset the connection when it is closed, and a reset may overtake the last message:
/// the client has this long to read it.
const UNREADABLE_TIME: Duration = Duration::from_millis(500);

/// Bytes held for each byte of a message: once as it is, and once in frames.
const PER_BYTE: usize = 2;
/// Interval of the checks whether there is memory for a message to be sent.
const PAUSE: Duration = Duration::from_millis(50);

/// Messages are short except for offers; more memory is allocated as needed. tungstenite's default of 128 KiB for each
/// connection would be 2.5 GiB for a full server.
const READ_BUFFER: usize = 4 * 1024;

impl Wire {
    pub(super) async fn new(
        connection: Upgraded,
        limits: &Limits,
        unread: Unread,
        outbox: Outbox,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(limits.message_bytes))
            .max_frame_size(Some(limits.message_bytes));
        let (rate, burst) = (limits.messages_per_second, limits.message_burst);
        let watch = FragmentWatch::new(Instant::now(), rate, burst);
        let stream = Watched::new(TokioIo::new(connection), watch);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config));
        Self {
            socket: socket.await,
            patience: limits.write_timeout(),
            unread,
            outbox,
        }
    }

    /// Cancel-safe.
    pub(super) async fn receive(&mut self) -> Received {
        match self.socket.next().await {
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
            // Raw frames are none that are read.
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => Received::Gone,
            Some(Err(error)) => match error {
                Error::Capacity(_) => Received::TooLarge,
                Error::Utf8(_) => Received::NotUtf8,
                Error::Protocol(
                    ProtocolError::ResetWithoutClosingHandshake
                    | ProtocolError::ReceivedAfterClosing
                    | ProtocolError::SendAfterClosing,
                ) => Received::Gone,
                Error::Protocol(_) => Received::Broken,
                Error::Io(error) if is_too_fast(&error) => Received::TooFast,
                _ => Received::Gone,
            },
        }
    }

    /// Writes several messages at once. While there is no memory for one, it waits for as long as for a client that
    /// takes nothing; if too much waits already, it does not.
    pub(super) async fn send(
        &mut self,
        messages: impl IntoIterator<Item: Into<Utf8Bytes>>,
    ) -> Result<(), Unsent> {
        let written = self.write(messages).await;
        match written {
            Err(Unsent::NoMemory) => self.outbox.sent.end(),
            Ok(()) | Err(Unsent::Gone) => {
                self.outbox.sent.set(0);
            }
        }
        self.outbox.waiting.set(0);
        written
    }

    async fn write(
        &mut self,
        messages: impl IntoIterator<Item: Into<Utf8Bytes>>,
    ) -> Result<(), Unsent> {
        let (socket, patience) = (&mut self.socket, self.patience);
        let mut until = Instant::now() + patience;
        let mut bytes = 0;
        for message in messages {
            let text: Utf8Bytes = message.into();
            bytes += text.len();
            if bytes > UNCOUNTED && !self.outbox.sent.set(PER_BYTE * bytes) {
                // Others may wait for what this one holds: it holds no more than the message while it waits.
                bytes = text.len();
                if !self.outbox.waiting.set(bytes) {
                    return Err(Unsent::NoMemory);
                }
                within(until, socket.flush()).await?;
                self.outbox.sent.set(0);
                let room = room_for(&mut self.outbox.sent, PER_BYTE * bytes);
                timeout(patience, room)
                    .await
                    .map_err(|_| Unsent::NoMemory)?;
                self.outbox.waiting.set(0);
                until = Instant::now() + patience;
            }
            within(until, socket.feed(Message::Text(text))).await?;
        }
        within(until, socket.flush()).await
    }

    /// Stops reading, and gives back the bytes of an unfinished message before waiting for the client.
    async fn forget_received(self) -> Self {
        let mut socket = self.socket;
        // Half a frame not yet accepted must be finished.
        if !matches!(socket.flush().now_or_never(), Some(Ok(()))) {
            return Self { socket, ..self };
        }
        let stream = socket.into_inner();
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        self.unread.end();
        Self { socket, ..self }
    }

    pub(super) async fn ping(&mut self) -> Result<(), Unsent> {
        let until = Instant::now() + self.patience;
        let ping = self.socket.send(Message::Ping(Default::default()));
        within(until, ping).await
    }

    /// Says why the session ends, closes, and waits for the client to close as well.
    pub(super) async fn finish(mut self, farewell: Farewell) {
        if !farewell.readable {
            self = self.forget_received().await;
        }
        let close = Message::Close(Some(CloseFrame {
            code: farewell.code,
            reason: farewell.reason.into(),
        }));
        let goodbye = async {
            self.send([farewell.message]).await?;
            self.socket.send(close).await.map_err(|_| Unsent::Gone)?;
            if !farewell.readable {
                tokio::time::sleep(UNREADABLE_TIME).await;
                return Ok(());
            }
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<_, Unsent>(())
        };
        // A client that does not read this has had the time to.
        let _ = timeout(FAREWELL_TIME, goodbye).await;
    }
}

async fn within<T, E>(
    until: Instant,
    written: impl Future<Output = Result<T, E>>,
) -> Result<T, Unsent> {
    match timeout_at(until, written).await {
        Ok(Ok(written)) => Ok(written),
        Ok(Err(_)) | Err(_) => Err(Unsent::Gone),
    }
}

/// Returns once the account holds so many bytes. Cancel-safe.
async fn room_for(outbox: &mut Account, bytes: usize) {
    while !outbox.set(bytes) {
        sleep(PAUSE).await;
    }
}

fn is_too_fast(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|error| error.is::<TooManyFragments>())
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
                "left" | "kicked" | "banned" | "room_closed" => CloseCode::Normal,
                _ => CloseCode::Away,
            },
            reason,
            readable: true,
        }
    }
}
