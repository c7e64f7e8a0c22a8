//! A WebSocket of somebody who need not follow the protocol.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::http::PATIENCE;
use crate::server::{Server, Stream};

pub(crate) struct Visitor(WebSocketStream<Box<dyn Stream>>);

impl Visitor {
    /// Opens one; the error is the code of the refusal.
    pub(crate) async fn open(server: &Server, from: Ipv4Addr) -> Result<Self, String> {
        Self::open_with(server, from, |_| {}).await
    }

    pub(crate) async fn open_with(
        server: &Server,
        from: Ipv4Addr,
        change: impl FnOnce(&TcpSocket),
    ) -> Result<Self, String> {
        let opening = server.upgrade(from, change);
        let opened = timeout(PATIENCE, opening).await.expect("an answer in time");
        opened.map(Self)
    }

    /// Joins; the error is the code of the refusal.
    pub(crate) async fn join(&mut self, room: &str) -> Result<(), String> {
        self.say(join(room, "Visitor")).await;
        loop {
            match self.next().await {
                Some(message) if message["type"] == "welcome" => return Ok(()),
                Some(message) if message["type"] == "error" => {
                    return Err(message["code"].as_str().unwrap_or_default().to_owned());
                }
                Some(_) => {}
                None => return Err("closed".into()),
            }
        }
    }

    /// Nothing, if it has been closed.
    pub(crate) async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        let _ = timeout(PATIENCE, self.0.send(message)).await;
    }

    /// Past the WebSocket. Whether it was taken: a server that has closed takes nothing, one that is slow not all.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(PATIENCE, self.0.get_mut().write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// The next message; none if it was closed, or nothing came.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.next_within(PATIENCE).await
    }

    pub(crate) async fn next_within(&mut self, patience: Duration) -> Option<Value> {
        loop {
            match timeout(patience, self.0.next()).await.ok()?? {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Reads to the end: the code of the last error, and that of the WebSocket's close frame, 0 without one.
    pub(crate) async fn end(mut self) -> (String, u16) {
        let (mut last, mut close) = (String::new(), 0);
        while let Ok(Some(Ok(message))) = timeout(PATIENCE, self.0.next()).await {
            match message {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap_or_default();
                    if let Some(code) = message["code"].as_str() {
                        last = code.to_owned();
                    }
                }
                Message::Close(frame) => {
                    close = frame.map_or(0, |frame| frame.code.into());
                    break;
                }
                _ => {}
            }
        }
        (last, close)
    }
}

pub(crate) fn join(room: &str, name: &str) -> Value {
    json!({"type": "join", "id": 1, "version": 1, "room": room, "name": name})
}

/// A frame as clients send it (RFC 6455 section 5.2), under a mask of zeroes.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[first, 0x80 | 126], &len[..], &[0; 4], payload].concat()
}
