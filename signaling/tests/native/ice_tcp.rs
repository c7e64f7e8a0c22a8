//! ICE-TCP on the listener of HTTP: what is taken, and what strangers send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tertulia_signaling::protocol::native::{ClientMessage, Offer, ServerMessage};
use tertulia_signaling::{Config, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::http::get;

const CHROMIUM: &str = include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    addr: SocketAddr,
    admin: SocketAddr,
    _node: Node,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let config = Config {
            listen: addr,
            ice_tcp: true,
            media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            media_port: 0,
            workers: 1,
            ..Config::default()
        };
        let node = Node::start(config).expect("node");
        let admins = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let admin = admins.local_addr().expect("address");
        let (server, operators) = (node.clone(), node.clone());
        tokio::spawn(async move { server.serve(listener).await });
        tokio::spawn(async move { operators.serve_admin(admins).await });
        Self {
            addr,
            admin,
            _node: node,
        }
    }

    async fn counts(&self) -> Value {
        let stats: Value = serde_json::from_str(&get(self.admin, "/stats").await.body).unwrap();
        stats["ice_tcp"].clone()
    }

    /// Waits until so many were refused for a reason.
    async fn refused(&self, code: &str, count: u64) {
        let seen = timeout(PATIENCE, async {
            while self.counts().await["refused"][code] != count {
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(seen.await.is_ok(), "{code}: {}", self.counts().await);
    }

    /// Sends bytes on a connection of its own, and waits until the server closes it.
    async fn send_and_wait(&self, bytes: &[u8]) {
        let mut socket = TcpStream::connect(self.addr).await.expect("connect");
        socket.write_all(bytes).await.expect("sent");
        let mut left = Vec::new();
        let closed = timeout(PATIENCE, socket.read_to_end(&mut left)).await;
        // A reset is as good: the server has not read everything.
        let _ = closed.expect("closed in time");
        assert!(left.is_empty(), "{left:?}");
    }
}

fn frame(datagram: &[u8]) -> Vec<u8> {
    let len = u16::try_from(datagram.len()).expect("short");
    [&len.to_be_bytes()[..], datagram].concat()
}

/// A STUN check (RFC 8489) of this user fragment, without integrity.
fn check(ufrag: &str) -> Vec<u8> {
    let username = format!("{ufrag}:clnt");
    let padded = username.len().next_multiple_of(4);
    let mut message = vec![0, 1];
    message.extend(u16::try_from(4 + padded).unwrap().to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.extend([7; 12]);
    message.extend([0, 6]);
    message.extend(u16::try_from(username.len()).unwrap().to_be_bytes());
    message.extend(username.as_bytes());
    message.resize(20 + 4 + padded, 0);
    message
}

#[tokio::test]
async fn clients_are_told_of_the_listener_and_strangers_leave_nothing() {
    let server = Server::start().await;
    let mut client = Client::connect(&format!("ws://{}/v1/ws", server.addr)).await;
    client.join("room", "Ana").await;
    let offer = ClientMessage::Offer(Offer {
        sdp: CHROMIUM.to_owned(),
        tracks: Vec::new(),
    });
    let ServerMessage::Answer(answer) = client.request(offer).await else {
        panic!("no answer");
    };
    let port = server.addr.port();
    let candidate = format!(" 127.0.0.1 {port} typ host tcptype passive");
    assert!(answer.sdp.contains(&candidate), "{}", answer.sdp);
    let ufrag = answer.sdp.split("a=ice-ufrag:").nth(1).unwrap();
    let ufrag = ufrag.split("\r\n").next().unwrap();

    // Nobody's check, one without the password, no check at all, and one cut short.
    server.send_and_wait(&frame(&check("AAsomebodyelse"))).await;
    server.send_and_wait(&frame(&check("zzotherworker"))).await;
    server.send_and_wait(&frame(&check(ufrag))).await;
    server.send_and_wait(&frame(b"hello")).await;
    server.send_and_wait(&frame(b"")).await;
    server.send_and_wait(&[0x02, 0x59]).await;
    server.refused("unknown", 5).await;
    server.refused("too_long", 1).await;
    let mut half = TcpStream::connect(server.addr).await.expect("connect");
    half.write_all(&[0, 100, 0, 1]).await.expect("sent");
    drop(half);
    server.refused("closed", 1).await;
    let counts = server.counts().await;
    assert_eq!((&counts["open"], &counts["opened"]), (&0.into(), &0.into()));
    // The page is served beside it.
    assert_eq!(get(server.addr, "/healthz").await.status, 200);
}

#[tokio::test]
async fn who_connects_and_says_nothing_gives_way() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(server.addr).await.expect("connect");
        socket.write_all(&[0]).await.expect("sent");
        silent.push(socket);
    }
    server.refused("stalled", 20).await;
    for mut socket in silent {
        let end = timeout(PATIENCE, socket.read(&mut [0])).await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))));
    }
}
