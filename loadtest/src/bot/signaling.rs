//! The native protocol over a WebSocket, from the client's side.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use futures_util::{SinkExt, StreamExt};
use tertulia_signaling::protocol::native::{ClientFrame, ClientMessage, ServerMessage};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A server's address: an `http://` URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerUrl {
    /// Host and port.
    authority: String,
    /// The path under which a reverse proxy serves it; empty at the root.
    prefix: String,
}

impl Default for ServerUrl {
    /// The address where a server listens by default.
    fn default() -> Self {
        Self {
            authority: "127.0.0.1:8080".into(),
            prefix: String::new(),
        }
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| format!("`{text}` is no URL: it should look like http://host:8080"))?;
        match scheme {
            "http" | "ws" => {}
            "https" | "wss" => {
                return Err(
                    "bots speak plain http only: name the server behind the TLS proxy".into(),
                );
            }
            other => return Err(format!("`{other}` is not http")),
        }
        let (authority, prefix) = match rest.find('/') {
            Some(slash) => (&rest[..slash], rest[slash..].trim_end_matches('/')),
            None => (rest, ""),
        };
        // A colon inside brackets belongs to an IPv6 address.
        let named = authority
            .rsplit_once(']')
            .map_or(authority, |(_, rest)| rest);
        if authority.is_empty() || authority.contains(['@', '?', '#', ' ']) {
            return Err(format!("`{text}` names no host"));
        }
        let authority = if named.contains(':') {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        Ok(Self {
            authority,
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

impl ServerUrl {
    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The path under which it is served; empty at the root.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn websocket(&self) -> String {
        format!("ws://{}{}/v1/ws", self.authority, self.prefix)
    }

    /// The server's address.
    ///
    /// # Errors
    ///
    /// The name does not resolve.
    pub async fn resolve(&self) -> std::io::Result<SocketAddr> {
        let mut addresses = tokio::net::lookup_host(&self.authority).await?;
        addresses
            .next()
            .ok_or_else(|| std::io::Error::other("the name has no address"))
    }
}

/// The reason that the conversation ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignalingError {
    #[error("WebSocket: {0}")]
    Socket(#[from] Box<tungstenite::Error>),
    #[error("the server closed the WebSocket{0}")]
    Closed(String),
    #[error("the server sent what the protocol does not have: {0}")]
    Unreadable(String),
}

/// A connection to the server.
pub(crate) struct Signaling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u32,
}

impl Signaling {
    /// Opens the WebSocket.
    pub(crate) async fn connect(url: &ServerUrl) -> Result<Self, SignalingError> {
        // Small messages that wait for each other: Nagle's algorithm would only add to join times.
        let no_delay = true;
        let (socket, _) =
            tokio_tungstenite::connect_async_with_config(url.websocket(), None, no_delay)
                .await
                .map_err(Box::new)?;
        Ok(Self { socket, next_id: 0 })
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, message: ClientMessage) -> Result<(), SignalingError> {
        self.next_id = self.next_id.wrapping_add(1);
        let frame = ClientFrame {
            id: Some(self.next_id),
            message,
        };
        let json = serde_json::to_string(&frame)
            .map_err(|error| SignalingError::Unreadable(error.to_string()))?;
        let sent = self.socket.send(Message::text(json)).await;
        Ok(sent.map_err(Box::new)?)
    }

    /// The next message. Pings are answered on the way. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<ServerMessage, SignalingError> {
        loop {
            match self.socket.next().await.transpose().map_err(Box::new)? {
                Some(Message::Text(text)) => {
                    return serde_json::from_str(&text).map_err(|error| {
                        SignalingError::Unreadable(format!("{error}: {text:.200}"))
                    });
                }
                Some(Message::Close(frame)) => {
                    let why =
                        frame.map_or_else(String::new, |f| format!(" ({} {})", f.code, f.reason));
                    return Err(SignalingError::Closed(why));
                }
                None => return Err(SignalingError::Closed(String::new())),
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, websocket) in [
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/ws"),
            ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/ws"),
            ("ws://calls.test/sfu/", "ws://calls.test:80/sfu/v1/ws"),
            ("http://[::1]:8080", "ws://[::1]:8080/v1/ws"),
            ("http://[::1]", "ws://[::1]:80/v1/ws"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().websocket(), websocket);
        }
        for text in [
            "",
            "localhost:8080",
            "https://a",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a b",
        ] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }
}
