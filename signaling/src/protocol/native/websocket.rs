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

use super::fragments::{FragmentWatch, TooManyFragments};
use super::wire::{FAREWELL_TIME, Farewell, Outbox, PAUSE, PER_BYTE, Received, Unsent};
use crate::config::Limits;
use crate::memory::{Account, UNCOUNTED, Unread};
use crate::watched::Watched;

pub(super) struct WebSocket {
    socket: WebSocketStream<Watched<TokioIo<Upgraded>, FragmentWatch>>,
    /// Longest time of a write: beyond it the other end does not read.
    patience: Duration,
    /// Received bytes that are no whole message yet.
    unread: Unread,
    outbox: Outbox,
}

/// Unread bytes reset the connection when it is closed, and a reset may overtake the last message:
/// the client has this long to read it.
const UNREADABLE_TIME: Duration = Duration::from_millis(500);

/// Messages are short except for offers; more memory is allocated as needed. tungstenite's default of 128 KiB for each
/// connection would be 2.5 GiB for a full server.
const READ_BUFFER: usize = 4 * 1024;

impl WebSocket {
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
            Some(Ok(Message::Close(frame))) => Received::Gone {
                is_page: frame.is_some_and(|frame| frame.code == CloseCode::Away),
            },
            // Raw frames are none that are read.
            Some(Ok(Message::Frame(_))) | None => Received::Gone { is_page: false },
            Some(Err(error)) => match error {
                Error::Capacity(_) => Received::TooLarge,
                Error::Utf8(_) => Received::NotUtf8,
                Error::Protocol(
                    ProtocolError::ResetWithoutClosingHandshake
                    | ProtocolError::ReceivedAfterClosing
                    | ProtocolError::SendAfterClosing,
                ) => Received::Gone { is_page: false },
                Error::Protocol(_) => Received::Broken,
                Error::Io(error) if is_too_fast(&error) => Received::TooFast,
                _ => Received::Gone { is_page: false },
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
