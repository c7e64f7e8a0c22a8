//! The native protocol over a WebSocket, from the client's side.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tertulia_signaling::access::Token;
use tertulia_signaling::protocol::native::{
    ClientFrame, ClientMessage, Join, ServerMessage, VERSION, Welcome,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use url::Url;

use crate::http::{self, Trust};

/// A server's address: an `http://` or `https://` URL.
#[derive(Clone)]
pub struct ServerUrl {
    url: Url,
    /// None: plain http, or [`trusting`](Self::trusting) was not called.
    tls: Option<Arc<ClientConfig>>,
}

impl Default for ServerUrl {
    /// The address where a server listens by default.
    fn default() -> Self {
        let url = Url::parse("http://127.0.0.1:8080");
        Self {
            url: url.expect("a constant"),
            tls: None,
        }
    }
}

/// Two are equal by their URLs, whatever certificates are trusted there.
impl PartialEq for ServerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for ServerUrl {}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "it should look like http://host:8080 or https://host:8443";
        let mut url =
            Url::parse(text).map_err(|error| format!("`{text}` is no URL ({error}): {form}"))?;
        let scheme = match url.scheme() {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            _ => "",
        };
        let is_bare =
            url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
        if scheme.is_empty() || !url.has_host() || !is_bare {
            return Err(format!("`{text}` is no URL of a server: {form}"));
        }
        // All have one form, so that it does not fail.
        let _ = url.set_scheme(scheme);
        Ok(Self { url, tls: None })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl ServerUrl {
    /// The address of its WebSocket.
    fn websocket(&self) -> String {
        format!("{self}/v1/ws").replacen("http", "ws", 1)
    }

    /// The server's address.
    ///
    /// # Errors
    ///
    /// The name does not resolve.
    pub async fn resolve(&self) -> std::io::Result<SocketAddr> {
        http::resolve(&self.url).await
    }

    /// Whether bots speak TLS to it.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The address with the certificates that bots trust there: those of a PEM file, or the system's.
    ///
    /// # Errors
    ///
    /// The certificates cannot be read; in words. No error for `http`, which has no certificate.
    pub fn trusting(mut self, ca_file: Option<&Path>) -> Result<Self, String> {
        if self.is_secure() {
            self.tls = Some(http::tls(ca_file.map_or(Trust::System, Trust::File))?);
        }
        Ok(self)
    }

    /// The certificates that bots trust there, if it is secure.
    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// Opens a WebSocket, over TLS where the address says so.
    pub(crate) async fn open(&self) -> Result<Socket, SignalingError> {
        let opened = client_async(self.websocket(), self.connect().await?).await;
        Ok(opened.map_err(Box::new)?.0)
    }

    /// Connects, with TLS where the address says so.
    async fn connect(&self) -> Result<Box<dyn Stream>, SignalingError> {
        let stream = TcpStream::connect(self.resolve().await?).await?;
        // Small messages that wait for each other: Nagle's algorithm would only add to join times.
        stream.set_nodelay(true)?;
        if !self.is_secure() {
            return Ok(Box::new(stream));
        }
        let config = self.tls.clone().ok_or(SignalingError::NoTrust)?;
        let host = self.url.host_str().unwrap_or_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(std::io::Error::other)?;
        Ok(Box::new(
            TlsConnector::from(config).connect(name, stream).await?,
        ))
    }
}

/// A WebSocket, with TLS or without.
pub(crate) type Socket = WebSocketStream<Box<dyn Stream>>;

/// A connection below a WebSocket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The reason that the conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum SignalingError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no certificates are named that the server's may be signed by")]
    NoTrust,
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
    socket: Socket,
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
        let socket = url.open().await?;
        let mut signaling = Self { socket, next_id: 0 };
        let join = ClientMessage::Join(Join {
            version: VERSION,
            room: room.to_owned(),
            name: name.to_owned(),
            metadata: None,
            auto_subscribe: true,
            token,
            batch: false,
            audience: None,
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
            ("https://calls.test", "wss://calls.test/v1/ws"),
            ("wss://[::1]:8443/sfu", "wss://[::1]:8443/sfu/v1/ws"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().websocket(), websocket);
        }
        for text in [
            "",
            "localhost:8080",
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
