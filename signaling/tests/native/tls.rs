//! TLS of the public listener: calls over it, and connections that are no handshake.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tertulia_signaling::protocol::native::ServerMessage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    self, ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};

use crate::client::{Client, DEADLINE, chat};
use crate::http::get;
use crate::server::Server;

/// A certificate for `localhost` and its key, in files of a folder that is removed again.
pub(crate) struct Pair {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let mut pair = Self {
            folder: TempDir::new().expect("a folder"),
            der: CertificateDer::from(Vec::new()),
        };
        pair.renew();
        pair
    }

    /// Replaces both files.
    pub(crate) fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        std::fs::write(self.cert(), made.cert.pem()).expect("a file");
        std::fs::write(self.key(), made.signing_key.serialize_pem()).expect("a file");
        self.der = made.cert.der().clone();
    }

    pub(crate) fn cert(&self) -> PathBuf {
        self.folder.path().join("chain.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// A client that trusts this certificate alone.
    pub(crate) fn trusting(&self) -> Trusting {
        Trusting::new(self.der.clone(), rustls::ALL_VERSIONS, "http/1.1")
    }
}

/// A client that trusts one certificate.
#[derive(Clone)]
pub(crate) struct Trusting(TlsConnector);

impl Trusting {
    fn new(
        certificate: CertificateDer<'static>,
        versions: &[&'static SupportedProtocolVersion],
        protocol: &str,
    ) -> Self {
        Self::of([certificate], versions, &[protocol])
    }

    /// A client that trusts these, and names these protocols.
    pub(crate) fn all(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
        protocols: &[&str],
    ) -> Self {
        Self::of(certificates, rustls::ALL_VERSIONS, protocols)
    }

    fn of(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).expect("a certificate");
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let protocols = protocols.iter();
        config.alpn_protocols = protocols.map(|it| it.as_bytes().to_vec()).collect();
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(addr).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connected = timeout(DEADLINE, self.0.connect(name, tcp)).await;
        connected.expect("in time")
    }

    /// Joins the room `room` over a WebSocket.
    pub(crate) async fn join(&self, addr: SocketAddr, name: &str) -> Client {
        let stream = self.connect(addr).await.expect("a handshake");
        let url = format!("ws://localhost:{}/v1/ws", addr.port());
        let mut client = Client::over(stream, url).await.expect("upgrade");
        client.join("room", name).await;
        client
    }

    /// The text of the answer to a GET.
    pub(crate) async fn get(&self, addr: SocketAddr, path: &str) -> String {
        let mut stream = self.connect(addr).await.expect("a handshake");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        text
    }
}

async fn secure(pair: &Pair, change: impl FnOnce(&mut tertulia_signaling::Config)) -> Server {
    Server::with(|config| {
        config.tls_cert = Some(pair.cert());
        config.tls_key = Some(pair.key());
        change(config);
    })
    .await
}

async fn handshakes(admin: SocketAddr) -> Value {
    let stats: Value = serde_json::from_str(&get(admin, "/stats").await.body).expect("JSON");
    stats["tls_handshakes"].clone()
}

/// Waits until as many handshakes have failed so.
async fn failed(admin: SocketAddr, code: &str, count: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let handshakes = handshakes(admin).await;
        if handshakes["failed"][code] == count {
            return;
        }
        assert!(Instant::now() < deadline, "{code}: {handshakes}");
    }
}

#[tokio::test]
async fn pages_and_calls_go_over_both_versions() {
    let pair = Pair::new();
    let server = secure(&pair, |_| {}).await;
    let admin = server.admin().await;
    let mut clients = Vec::new();
    for (version, named) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = Trusting::new(pair.der.clone(), &[version], "http/1.1");
        let stream = client.connect(server.addr).await.expect("a handshake");
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(named));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let page = client.get(server.addr, "/").await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page:.200}");
        // Longer than the buffers of one connection.
        let script = client.get(server.addr, "/client/transport.js").await;
        assert!(script.contains("export class Transport"), "{script:.200}");
        clients.push(client.join(server.addr, &format!("{named:?}")).await);
    }
    let mut ada = clients.pop().expect("a client");
    let mut grace = clients.pop().expect("a client");
    ada.expect_ok(chat("hello")).await;
    let text = grace.find(|message| match message {
        ServerMessage::Chat { message } => Some(message.text.clone()),
        _ => None,
    });
    assert_eq!(text.await, "hello");
    let counted = handshakes(admin).await;
    assert_eq!(counted["done"], 8);
    let none = json!({
        "stalled": 0, "closed": 0, "refused": 0, "unsuitable": 0, "no_certificate": 0, "malformed": 0, "plain_http": 0,
    });
    assert_eq!(counted["failed"], none);
}

/// Joins go on while strangers send what is no handshake, or nothing.
#[tokio::test]
async fn each_failed_handshake_ends_is_counted_and_disturbs_nobody() {
    let pair = Pair::new();
    let server = secure(&pair, |config| config.limits.join_timeout_ms = 1_000).await;
    let (addr, admin) = (server.addr, server.admin().await);
    // The beginning of a ClientHello: a record of 512 bytes, of which 6 come.
    let begun = b"\x16\x03\x01\x02\0\x01";
    let mut stalled = Vec::new();
    for said in [&begun[..], b""] {
        let mut stream = TcpStream::connect(addr).await.expect("connect");
        stream.write_all(said).await.expect("write");
        stalled.push(stream);
    }
    for junk in [
        &b"\0\0\0\0\0\0\0\0"[..],
        b"\x16\x03\x01\0\x04junk",
        &[0x80; 300],
    ] {
        let mut stream = TcpStream::connect(addr).await.expect("connect");
        stream.write_all(junk).await.expect("write");
        let mut rest = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        let _ = read.expect("closed in time");
    }
    failed(admin, "malformed", 3).await;
    let mut people = Vec::new();
    for name in ["Ada", "Barbara", "Grace", "Margaret", "Radia"] {
        let mut client = pair.trusting().join(addr, name).await;
        client.expect_ok(chat(name)).await;
        people.push(client);
    }
    for mut stream in stalled {
        let mut rest = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        assert!(matches!(read.expect("ended in time"), Ok(0)), "{rest:?}");
    }
    failed(admin, "stalled", 2).await;

    drop(TcpStream::connect(addr).await.expect("connect"));
    failed(admin, "closed", 1).await;
    let stranger = Pair::new().trusting().connect(addr).await;
    assert!(stranger.is_err(), "it does not know the certificate");
    failed(admin, "refused", 1).await;
    let other = Trusting::new(pair.der.clone(), rustls::ALL_VERSIONS, "h2");
    assert!(other.connect(addr).await.is_err(), "it speaks HTTP/2 alone");
    failed(admin, "unsuitable", 1).await;
    for mut client in people {
        client.expect_ok(chat("still here")).await;
    }
    assert_eq!(handshakes(admin).await["done"], 5);
}

#[tokio::test]
async fn plain_http_is_led_to_the_same_page_over_tls() {
    let pair = Pair::new();
    let server = secure(&pair, |_| {}).await;
    let admin = server.admin().await;
    let reply = get(server.addr, "/?room=hall").await;
    assert_eq!(reply.status, 307);
    let place = format!("https://{}/?room=hall", server.addr);
    assert_eq!(reply.headers["location"], place);
    assert!(reply.headers.contains_key("content-security-policy"));
    for request in [
        "POST /v1/ws HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: there@here\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ] {
        let status = crate::http::status(&server, request).await;
        assert_eq!(status, 400, "{request}");
    }
    assert!(Client::try_connect(&server.url()).await.is_err());
    failed(admin, "plain_http", 6).await;
}

/// A handshake is a connection from its beginning on.
#[tokio::test]
async fn handshakes_that_wait_give_way_to_new_connections() {
    let pair = Pair::new();
    let server = secure(&pair, |config| {
        config.limits.http_connections = 4;
        config.limits.connections = 4;
        config.limits.join_timeout_ms = 600_000;
    })
    .await;
    let mut ada = pair.trusting().join(server.addr, "Ada").await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(server.addr).await.expect("connect"));
    }
    let health = pair.trusting().get(server.addr, "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let mut byte = [0];
    let closed = timeout(DEADLINE, idle[0].read(&mut byte)).await;
    assert!(matches!(closed.expect("in time"), Ok(0) | Err(_)));
    ada.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn limits_of_an_address_hold_over_tls() {
    let pair = Pair::new();
    let server = secure(&pair, |config| config.limits.connections_per_address = 2).await;
    let _ada = pair.trusting().join(server.addr, "Ada").await;
    let _grace = pair.trusting().join(server.addr, "Grace").await;
    let stream = pair.trusting().connect(server.addr).await;
    let url = format!("ws://localhost:{}/v1/ws", server.addr.port());
    let third = Client::over(stream.expect("a handshake"), url).await;
    let refused = match third {
        Err(_) => true,
        Ok(mut client) => {
            let refusal = client.next_refusal().await;
            refusal.code == "connections_per_address"
        }
    };
    assert!(refused);
}

/// Neither the kernel nor the TLS library keeps without end what nobody reads.
#[tokio::test]
async fn who_does_not_take_the_answers_is_disconnected() {
    let pair = Pair::new();
    let server = secure(&pair, |config| config.limits.write_timeout_ms = 100).await;
    let mut stream = pair
        .trusting()
        .connect(server.addr)
        .await
        .expect("a handshake");
    let request = "GET /client/transport.js HTTP/1.1\r\nHost: here\r\n\r\n".repeat(1_000);
    let asks = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(DEADLINE, asks).await.expect("an end");
}
