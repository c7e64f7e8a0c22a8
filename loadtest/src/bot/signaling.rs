//! The native protocol over a WebSocket, from the client's side.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use futures_util::{SinkExt, StreamExt};
use tertulia_signaling::access::Token;
use tertulia_signaling::protocol::native::{
    ClientFrame, ClientMessage, Join, ServerMessage, VERSION, Welcome,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use url::Url;

use crate::http;

/// A server's address: an `http://` URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerUrl(Url);

impl Default for ServerUrl {
    /// The address where a server listens by default.
    fn default() -> Self {
        let url = Url::parse("http://127.0.0.1:8080");
        Self(url.expect("a constant"))
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "it should look like http://host:8080";
        let mut url =
            Url::parse(text).map_err(|error| format!("`{text}` is no URL ({error}): {form}"))?;
        match url.scheme() {
            "http" | "ws"
                if url.has_host()
                    && url.username().is_empty()
                    && url.query().is_none()
                    && url.fragment().is_none() =>
            {
                // Both have the same form, so that it does not fail.
                let _ = url.set_scheme("http");
                Ok(Self(url))
            }
            "https" | "wss" => {
                Err("bots speak plain http only: name the server behind the TLS proxy, or one without TLS".into())
            }
            _ => Err(format!("`{text}` is no http URL: {form}")),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl ServerUrl {
    fn websocket(&self) -> String {
        format!("{self}/v1/ws").replacen("http", "ws", 1)
    }

    /// The server's address.
    ///
    /// # Errors
    ///
    /// The name does not resolve.
    pub async fn resolve(&self) -> std::io::Result<SocketAddr> {
        http::resolve(&self.0).await
    }
}

/// The reason that the conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum SignalingError {
    #[error("WebSocket: {0}")]
    Socket(#[from] Box<tungstenite::Error>),
    #[error("the server closed the WebSocket{0}")]
    Closed(String),
    #[error("the server sent what the protocol does not have: {0}")]
    Unreadable(String),
    #[error("the server {0}")]
    Refused(String),
}

/// A connection to the server.
pub struct Signaling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u32,
}

impl Signaling {
    /// Opens the WebSocket and joins a room.
    pub async fn join(
        url: &ServerUrl,
        room: &str,
        name: &str,
        token: Option<Token>,
    ) -> Result<(Self, Welcome), SignalingError> {
        // Small messages that wait for each other: Nagle's algorithm would only add to join times.
        let no_delay = true;
        let (socket, _) =
            tokio_tungstenite::connect_async_with_config(url.websocket(), None, no_delay)
                .await
                .map_err(Box::new)?;
        let mut signaling = Self { socket, next_id: 0 };
        let join = ClientMessage::Join(Join {
            version: VERSION,
            room: room.to_owned(),
            name: name.to_owned(),
            metadata: None,
            auto_subscribe: true,
            token,
            resumable: false,
            session: None,
            offer: None,
            views: Vec::new(),
        });
        signaling.send(join).await?;
        let mut answer = signaling.next_good().await?;
        // A moderator lets it in.
        while answer == ServerMessage::Wait {
            answer = signaling.next_good().await?;
        }
        match answer {
            ServerMessage::Welcome(welcome) => Ok((signaling, welcome)),
            other => Err(SignalingError::Refused(format!(
                "sent no welcome but {other:?}"
            ))),
        }
    }

    /// Sends a request.
    pub async fn send(&mut self, message: ClientMessage) -> Result<(), SignalingError> {
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

    /// The next message; a refusal or a goodbye is an error. Cancel safe.
    pub async fn next_good(&mut self) -> Result<ServerMessage, SignalingError> {
        Err(SignalingError::Refused(match self.next().await? {
            ServerMessage::Error(refusal) => {
                format!("refused: {}: {}", refusal.code, refusal.message)
            }
            ServerMessage::Bye {
                reason, message, ..
            } => format!("said bye: {reason}: {message}"),
            message => return Ok(message),
        }))
    }

    /// The next message. Pings are answered on the way. Cancel safe.
    pub async fn next(&mut self) -> Result<ServerMessage, SignalingError> {
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
            ("ws://calls.test/sfu/", "ws://calls.test/sfu/v1/ws"),
            ("http://[::1]:8080", "ws://[::1]:8080/v1/ws"),
            ("http://[::1]", "ws://[::1]/v1/ws"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().websocket(), websocket);
        }
        for text in [
            "",
            "localhost:8080",
            "https://a",
            "ftp://a",
            "http://",
            "http://a b",
            "http://a@b",
            "http://a?b",
        ] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }
}
