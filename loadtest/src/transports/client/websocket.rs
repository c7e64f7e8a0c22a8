//! A client by WebSocket.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::super::books::Ear;
use super::super::browser::Page;
use super::super::traffic::{Counted, Traffic};

/// Buffer for what is read: messages are short, and there are thousands of clients.
const READ_BUFFER: usize = 4 << 10;

/// A client by WebSocket, which is in a room. It answers the server's pings, and sends none itself.
pub(super) struct WebSocket {
    socket: WebSocketStream<Counted<TcpStream>>,
    ear: Ear,
}

impl WebSocket {
    /// Opens the WebSocket, and joins.
    ///
    /// # Errors
    ///
    /// The server refuses; in words.
    pub(super) async fn enter(
        page: &Page,
        traffic: &Arc<Traffic>,
        join: String,
        ear: Ear,
    ) -> Result<Self, String> {
        let stream = page.connect(traffic).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        traffic.request();
        let opened = client_async_with_config(page.handshake()?, stream, Some(config)).await;
        let (socket, _) = opened.map_err(|error| error.to_string())?;
        let mut client = Self { socket, ear };
        client.say(join).await?;
        loop {
            let message = client.next().await?;
            if client.ear.hear(&message)? {
                return Ok(client);
            }
        }
    }

    /// Hears and says, until there is nothing more to say.
    ///
    /// # Errors
    ///
    /// The connection ends; in words.
    pub(super) async fn stay(mut self, mut said: mpsc::Receiver<String>) -> Result<(), String> {
        loop {
            tokio::select! {
                message = self.next() => drop(self.ear.hear(&message?)?),
                message = said.recv() => match message {
                    Some(message) => self.say(message).await?,
                    None => {
                        // The server may have closed it before.
                        let _ = self.socket.close(None).await;
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn say(&mut self, message: String) -> Result<(), String> {
        let sent = self.socket.send(Message::text(message)).await;
        sent.map_err(|error| error.to_string())
    }

    /// The next message. Pings are answered on the way. Cancel-safe.
    async fn next(&mut self) -> Result<Utf8Bytes, String> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(_))) | None => return Err("the server closed it".into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
            }
        }
    }
}
