//! The requests of a browser: the headers that Chromium 156 sends from a page of the server's own.
//!
//! Headers are most of what a poll costs, so they are the real ones, by name and length.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST,
    HeaderName, HeaderValue, ORIGIN, PRAGMA, SEC_WEBSOCKET_EXTENSIONS, USER_AGENT,
};
use hyper::{Method, Request};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request as Handshake;
use url::Url;

use super::traffic::{Counted, Traffic};
use crate::bot::signaling::ServerUrl;

/// Headers of `fetch`, beside `Host` and `Origin`. `Content-Length` is that of the body.
const FETCH: [(HeaderName, &str); 14] = [
    (CONNECTION, "keep-alive"),
    (PRAGMA, "no-cache"),
    (CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("sec-ch-ua-platform"), "\"Linux\""),
    (USER_AGENT, AGENT),
    (
        HeaderName::from_static("sec-ch-ua"),
        "\"Not:A-Brand\";v=\"8\", \"Chromium\";v=\"156\"",
    ),
    (CONTENT_TYPE, "application/json"),
    (HeaderName::from_static("sec-ch-ua-mobile"), "?0"),
    (ACCEPT, "*/*"),
    (HeaderName::from_static("sec-fetch-site"), "same-origin"),
    (HeaderName::from_static("sec-fetch-mode"), "cors"),
    (HeaderName::from_static("sec-fetch-dest"), "empty"),
    (ACCEPT_ENCODING, ENCODINGS),
    (ACCEPT_LANGUAGE, LANGUAGES),
];

/// Headers of a WebSocket's handshake, beside those of RFC 6455 section 4.1 and `Origin`.
const HANDSHAKE: [(HeaderName, &str); 6] = [
    (PRAGMA, "no-cache"),
    (CACHE_CONTROL, "no-cache"),
    (USER_AGENT, AGENT),
    (ACCEPT_ENCODING, ENCODINGS),
    (ACCEPT_LANGUAGE, LANGUAGES),
    (
        SEC_WEBSOCKET_EXTENSIONS,
        "permessage-deflate; client_max_window_bits",
    ),
];

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
const ENCODINGS: &str = "gzip, deflate, br, zstd";
const LANGUAGES: &str = "en-US,en;q=0.9";

/// A page of a server.
#[derive(Debug)]
pub(super) struct Page {
    address: SocketAddr,
    host: HeaderValue,
    origin: HeaderValue,
    /// The path below which the server is mounted; empty: the root.
    path: String,
}

impl Page {
    /// The page of a server that speaks plain http.
    ///
    /// # Errors
    ///
    /// The server's name does not resolve.
    pub(super) async fn of(server: &ServerUrl) -> io::Result<Self> {
        let url = Url::parse(&server.to_string()).map_err(io::Error::other)?;
        let origin = url.origin().ascii_serialization();
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        Ok(Self {
            address: server.resolve().await?,
            host: HeaderValue::from_str(host).map_err(io::Error::other)?,
            origin: HeaderValue::from_str(&origin).map_err(io::Error::other)?,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Opens a TCP connection whose bytes are counted.
    ///
    /// # Errors
    ///
    /// Nobody listens.
    pub(super) async fn connect(&self, traffic: &Arc<Traffic>) -> io::Result<Counted<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        // As browsers do.
        stream.set_nodelay(true)?;
        Ok(Counted::new(stream, Arc::clone(traffic)))
    }

    /// A request to `/v1/http/NAME`.
    pub(super) fn post(&self, name: &str, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        // A path of a URL and a word of ours are a path.
        *request.uri_mut() = format!("{}/v1/http/{name}", self.path)
            .parse()
            .unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        for (name, value) in FETCH {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(ORIGIN, self.origin.clone());
        request
    }

    /// The handshake of a WebSocket.
    ///
    /// # Errors
    ///
    /// The address is none of a WebSocket; in words.
    pub(super) fn handshake(&self) -> Result<Handshake, String> {
        let host = self.host.to_str().unwrap_or_default();
        let address = format!("ws://{host}{}/v1/ws", self.path);
        let request = address.into_client_request();
        let mut request = request.map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        for (name, value) in HANDSHAKE {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(ORIGIN, self.origin.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_asks_its_own_server() {
        let server = "http://127.0.0.1:8080/call/".parse().unwrap();
        let page = Page::of(&server).await.unwrap();
        let request = page.post("poll", Bytes::from_static(b"{}"));
        assert_eq!(request.uri(), "/call/v1/http/poll");
        assert_eq!(request.headers()[HOST], "127.0.0.1:8080");
        assert_eq!(request.headers()[ORIGIN], "http://127.0.0.1:8080");
        // As Chromium sent it: 593 bytes with 20 of the host twice, and `Headless` in its name.
        let length =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let headers: usize = request.headers().iter().map(length).sum();
        let line = "POST /v1/http/poll HTTP/1.1\r\n".len() + "Content-Length: 55\r\n\r\n".len();
        assert_eq!(headers + line, 593 - "Headless".len() - 2);
        let handshake = page.handshake().unwrap();
        assert_eq!(handshake.uri(), "ws://127.0.0.1:8080/call/v1/ws");
        assert_eq!(handshake.headers()[ORIGIN], "http://127.0.0.1:8080");
    }
}
