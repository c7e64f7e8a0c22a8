//! Proxies of TCP, which say by the PROXY protocol where their clients are, before anything else.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tertulia_signaling::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::client::{Client, DEADLINE, chat};
use crate::http::get;
use crate::server::Server;
use crate::tls::Pair;

/// Version 2 of the header, before the command.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header that names this client.
fn header(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let (family, addresses) = match client {
        SocketAddr::V4(it) => (0x11, [it.ip().octets(), [192, 0, 2, 1]].concat()),
        SocketAddr::V6(it) => (0x21, [it.ip().octets(), [0; 16]].concat()),
    };
    let ports = [client.port().to_be_bytes(), 443u16.to_be_bytes()].concat();
    // What AWS adds: the id of an endpoint.
    let more = b"\xea\x00\x05\x01vpce";
    let rest = [&addresses[..], &ports, more].concat();
    let len = (rest.len() as u16).to_be_bytes();
    [SIGNATURE, &[0x21, family], &len, &rest].concat()
}

/// A proxy that says of each connection that it is this client's.
async fn proxy(server: SocketAddr, client: &str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    let header = header(client);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let header = header.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.expect("connect");
                // In pieces, as a network may cut it.
                for piece in header.chunks(13) {
                    server.write_all(piece).await.expect("write");
                    server.flush().await.expect("flush");
                }
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    addr
}

async fn behind_proxies(change: impl FnOnce(&mut Config)) -> Server {
    Server::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
        config.proxy_protocol = true;
        change(config);
    })
    .await
}

async fn counts(admin: SocketAddr) -> Value {
    let stats: Value = serde_json::from_str(&get(admin, "/stats").await.body).expect("JSON");
    stats["proxy_protocol"].clone()
}

/// Waits until so many connections were refused for a reason.
async fn refused(admin: SocketAddr, code: &str, count: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let counts = counts(admin).await;
        if counts["refused"][code] == count {
            return;
        }
        assert!(Instant::now() < deadline, "{code}: {counts}");
    }
}

fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/v1/ws")
}

#[tokio::test]
async fn the_limits_of_an_address_count_clients_and_not_the_proxy() {
    let server = behind_proxies(|config| config.limits.connections_per_address = 1).await;
    let admin = server.admin().await;
    let mut people = Vec::new();
    for client in [
        "198.51.100.7:4000",
        "198.51.100.8:4000",
        "[2001:db8::7]:4000",
    ] {
        let proxy = proxy(server.addr, client).await;
        let mut person = Client::connect(&url(proxy)).await;
        person.join("room", client).await;
        let second = Client::try_connect(&url(proxy)).await;
        assert!(second.is_err(), "{client} has one already");
        people.push((proxy, person));
    }
    for (proxy, person) in &mut people {
        person.expect_ok(chat("hello")).await;
        assert_eq!(get(*proxy, "/healthz").await.status, 200);
    }
    assert_eq!(counts(admin).await["taken"], 9);
    // A proxy for HTTP behind one for TCP: the header of TCP names no proxy, so that what it passes on counts for nothing.
    let claims = Client::connect_from(&url(people[0].0), "203.0.113.9").await;
    assert!(claims.is_err());
    // A second proxy is one of those whose word counts.
    let second = proxy(server.addr, "127.0.0.1:4000").await;
    for client in ["203.0.113.9", "203.0.113.10"] {
        let connected = Client::connect_from(&url(second), client).await;
        let mut person = connected.expect("connected");
        person.join("room", client).await;
        people.push((second, person));
    }
}

#[tokio::test]
async fn it_comes_before_tls_and_before_ice_tcp() {
    let pair = Pair::new();
    let server = behind_proxies(|config| {
        config.tls_cert = Some(pair.cert());
        config.tls_key = Some(pair.key());
        config.ice_tcp = true;
        config.listen = ([127, 0, 0, 1], 8080).into();
    })
    .await;
    let proxy = proxy(server.addr, "198.51.100.7:4000").await;
    let mut ada = pair.trusting().join(proxy, "Ada").await;
    ada.expect_ok(chat("hello")).await;
    // A page in the clear is led to the one over TLS.
    assert_eq!(get(proxy, "/").await.status, 307);
    let mut stream = TcpStream::connect(proxy).await.expect("connect");
    stream.write_all(b"\0\x05hello").await.expect("write");
    let mut rest = Vec::new();
    let ended = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    let _ = ended.expect("closed in time");
    let streams = server.media.books().streams.clone();
    assert_eq!(streams, ["198.51.100.7:4000".parse().unwrap()]);
}

#[tokio::test]
async fn a_proxy_without_the_header_is_refused_and_its_own_checks_are_not() {
    let server = behind_proxies(|config| config.limits.join_timeout_ms = 1_000).await;
    let admin = server.admin().await;
    let local = [SIGNATURE, b"\x20\0\0\0"].concat();
    let too_long = [SIGNATURE, b"\x21\x11\xff\xff"].concat();
    let malformed = [SIGNATURE, b"\x21\x11\0\x01", b"x"].concat();
    let cases: [(&str, &[u8]); 7] = [
        ("missing", b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"),
        ("missing", b"\x16\x03\x01\x02\0\x01"),
        (
            "version_1",
            b"PROXY TCP4 198.51.100.7 192.0.2.1 4000 443\r\n",
        ),
        ("too_long", &too_long),
        ("malformed", &malformed),
        ("stalled", b"\r\n\r\n"),
        ("stalled", b""),
    ];
    for (code, said) in cases {
        let before = counts(admin).await["refused"][code]
            .as_u64()
            .expect("a count");
        let mut stream = TcpStream::connect(server.addr).await.expect("connect");
        stream.write_all(said).await.expect("write");
        let mut rest = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        // A reset is as good: not everything was read.
        let _ = ended.expect("closed in time");
        assert!(rest.is_empty(), "{code}: {rest:?}");
        refused(admin, code, before + 1).await;
    }
    drop(TcpStream::connect(server.addr).await.expect("connect"));
    refused(admin, "closed", 1).await;

    let mut check = TcpStream::connect(server.addr).await.expect("connect");
    let request = [&local[..], b"GET /healthz HTTP/1.0\r\n\r\n"].concat();
    check.write_all(&request).await.expect("write");
    let mut answer = String::new();
    check.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert_eq!(counts(admin).await["own"], 1);
}

#[tokio::test]
async fn strangers_name_nobody() {
    let server = behind_proxies(|_| {}).await;
    let admin = server.admin().await;
    let connect = async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Another address of this machine, which is no proxy's.
        socket.bind(([127, 0, 0, 2], 0).into()).expect("bind");
        socket.connect(server.addr).await.expect("connect")
    };
    let mut plain = connect().await;
    let request = b"GET /healthz HTTP/1.0\r\n\r\n";
    plain.write_all(request).await.expect("write");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let mut lies = connect().await;
    lies.write_all(&header("198.51.100.7:4000"))
        .await
        .expect("write");
    let mut rest = Vec::new();
    let ended = timeout(DEADLINE, lies.read_to_end(&mut rest)).await;
    let _ = ended.expect("closed in time");
    let counts = counts(admin).await;
    assert_eq!((&counts["taken"], &counts["own"]), (&0.into(), &0.into()));
}

/// A header takes no longer than a request may.
#[tokio::test]
async fn a_proxy_that_sends_a_byte_at_a_time_has_no_longer() {
    let server = behind_proxies(|config| config.limits.join_timeout_ms = 500).await;
    let admin = server.admin().await;
    let mut stream = TcpStream::connect(server.addr).await.expect("connect");
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let slow = [header("198.51.100.7:4000"), vec![0; 4_000]].concat();
    let mut slow = slow.chunks(1);
    let ended = timeout(DEADLINE, async {
        while stream.write_all(slow.next().expect("long")).await.is_ok() {
            every.tick().await;
        }
    });
    ended.await.expect("closed in time");
    refused(admin, "stalled", 1).await;
}
