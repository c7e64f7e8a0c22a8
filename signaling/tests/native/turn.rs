//! TURN on the listener of HTTP, with a client of another implementation: what is relayed, to whom, and for how long.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rtc_crypto::default_provider;
use rtc_shared::{TransportContext, TransportMessage, TransportProtocol};
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;
use rtc_turn::client::{ClientConfig, Event};
use sansio::Protocol;
use serde_json::Value;
use tertulia_signaling::protocol::native::{ClientMessage, IceServer, Offer, ServerMessage};
use tertulia_signaling::{Config, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::client::{Client, Connection};
use crate::http::get;
use crate::tls::Pair;

const CHROMIUM: &str = include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    addr: SocketAddr,
    admin: SocketAddr,
    _node: Node,
}

impl Server {
    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let mut config = Config {
            listen: addr,
            turn: true,
            media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            media_port: 0,
            workers: 2,
            ..Config::default()
        };
        change(&mut config);
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

    async fn stats(&self, path: &str) -> Value {
        serde_json::from_str(&get(self.admin, path).await.body).expect("JSON")
    }

    /// Waits until a counter has a value.
    async fn counts(&self, pointer: &str, value: impl Into<Value>) {
        let value = value.into();
        let seen = timeout(PATIENCE, async {
            while self.stats("/stats").await.pointer(pointer) != Some(&value) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        let in_time = seen.await.is_ok();
        assert!(in_time, "{pointer}: {}", self.stats("/stats").await["turn"]);
    }

    /// Sends bytes on a connection of its own, and waits until the server closes it; what it answered.
    async fn send_and_wait(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.addr).await.expect("connect");
        socket.write_all(bytes).await.expect("sent");
        let mut left = Vec::new();
        let closed = timeout(PATIENCE, socket.read_to_end(&mut left)).await;
        // A reset is as good: the server has not read everything.
        let _ = closed.expect("closed in time");
        left
    }
}

/// A participant, as its client needs it for ICE.
struct Ice {
    ufrag: String,
    pwd: String,
    peer: SocketAddr,
    turn: IceServer,
}

/// Joins and offers.
async fn join(client: &mut Client) -> Ice {
    let welcome = client.join("room", "Ana").await;
    let offer = ClientMessage::Offer(Offer {
        sdp: CHROMIUM.to_owned(),
        tracks: Vec::new(),
    });
    let ServerMessage::Answer(answer) = client.request(offer).await else {
        panic!("no answer");
    };
    let line = |name: &str| {
        let (_, after) = answer.sdp.split_once(name).expect("the line");
        after.split("\r\n").next().unwrap().to_owned()
    };
    let candidate = line("a=candidate:");
    let words: Vec<&str> = candidate.split(' ').collect();
    let [turn] = &welcome.ice_servers[..] else {
        panic!("{:?}", welcome.ice_servers);
    };
    Ice {
        ufrag: line("a=ice-ufrag:"),
        pwd: line("a=ice-pwd:"),
        peer: SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap()),
        turn: turn.clone(),
    }
}

/// A client of TURN by another implementation, which makes messages and reads them.
pub(crate) struct Turn {
    client: rtc_turn::client::Client,
    io: Box<dyn Connection>,
    read: Vec<u8>,
    server: SocketAddr,
}

impl Turn {
    pub(crate) fn over(
        io: impl Connection + 'static,
        server: SocketAddr,
        turn: &IceServer,
    ) -> Self {
        let config = ClientConfig {
            stun_serv_addr: String::new(),
            turn_serv_addr: server.to_string(),
            local_addr: local(),
            transport_protocol: TransportProtocol::TCP,
            username: turn.username.clone().expect("a name"),
            password: turn.credential.clone().expect("a password"),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            allocation_refresh_interval_cap: None,
        };
        let client = rtc_turn::client::Client::new(config, default_provider().unwrap());
        Self {
            client: client.expect("a client"),
            io: Box::new(io),
            read: Vec::new(),
            server,
        }
    }

    pub(crate) async fn connect(server: SocketAddr, turn: &IceServer) -> Self {
        let io = TcpStream::connect(server).await.expect("connect");
        Self::over(io, server, turn)
    }

    /// Sends what the client has to send, and waits for its next event; none at the end of the connection.
    async fn event(&mut self) -> Option<Event> {
        let waiting = timeout(PATIENCE, async {
            loop {
                if let Some(event) = self.client.poll_event() {
                    return Some(event);
                }
                while let Some(transmit) = self.client.poll_write() {
                    let mut bytes = transmit.message.to_vec();
                    // ChannelData is padded on a stream (RFC 8656 section 12.5).
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                    self.io.write_all(&bytes).await.ok()?;
                }
                if let Some(frame) = self.take_frame() {
                    let now = std::time::Instant::now();
                    let transport = TransportContext {
                        local_addr: local(),
                        peer_addr: self.server,
                        transport_protocol: TransportProtocol::TCP,
                        ecn: None,
                    };
                    let message = TransportMessage {
                        now,
                        transport,
                        message: frame[..].into(),
                    };
                    self.client.handle_read(message).expect("it is understood");
                    continue;
                }
                if self.io.read_buf(&mut self.read).await.ok()? == 0 {
                    return None;
                }
            }
        });
        waiting.await.expect("in time")
    }

    /// The next whole message or ChannelData, without padding.
    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let head = self.read.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (len, padded) = match head[0] & 0xc0 {
            0 => (20 + len, 20 + len),
            _ => (4 + len, 4 + len.next_multiple_of(4)),
        };
        let frame = self.read.get(..padded)?[..len].to_vec();
        self.read.drain(..padded);
        Some(frame)
    }

    pub(crate) async fn allocate(&mut self) -> Result<SocketAddr, String> {
        let now = std::time::Instant::now();
        self.client.allocate(now).expect("asked");
        match self.event().await {
            Some(Event::AllocateResponse(_, relayed)) => Ok(relayed),
            Some(Event::AllocateError(_, error)) => Err(error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    async fn permit(&mut self, relayed: SocketAddr, peer: SocketAddr) -> Result<(), String> {
        let now = std::time::Instant::now();
        let mut relay = self.client.relay(relayed).expect("allocated");
        relay.create_permission(now, peer).expect("asked");
        match self.event().await {
            Some(Event::CreatePermissionResponse(..)) => Ok(()),
            Some(Event::CreatePermissionError(_, error)) => Err(error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a datagram to a peer.
    fn send(&mut self, relayed: SocketAddr, peer: SocketAddr, datagram: &[u8]) {
        let now = std::time::Instant::now();
        let mut relay = self.client.relay(relayed).expect("allocated");
        relay.send_to(now, datagram, peer).expect("sent");
    }

    /// The next datagram of a peer, and whether it came over a channel.
    async fn datagram(&mut self) -> (bool, SocketAddr, Vec<u8>) {
        match self.event().await {
            Some(Event::DataIndicationOrChannelData(channel, from, bytes)) => {
                (channel.is_some(), from, bytes.to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The next answer to a check, whatever the server asks beside.
    async fn answer(&mut self) -> (bool, SocketAddr, Message) {
        loop {
            let (by_channel, from, bytes) = self.datagram().await;
            let mut message = Message::new();
            message.unmarshal_binary(&bytes).expect("a message");
            if message.typ == BINDING_SUCCESS {
                return (by_channel, from, message);
            }
        }
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 4_000))
}

/// A STUN check (RFC 8445 section 7.2.2).
fn check(ufrag: &str, pwd: &str) -> Vec<u8> {
    let provider = default_provider().unwrap();
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.transaction_id.0 = *b"transaction!";
    message.write_header();
    let (_, theirs) = CHROMIUM.split_once("a=ice-ufrag:").expect("the line");
    let theirs = theirs.lines().next().unwrap();
    message.add(ATTR_USERNAME, format!("{ufrag}:{theirs}").as_bytes());
    message.add(ATTR_PRIORITY, &[0x6e, 0x7f, 0x1e, 0xff]);
    message.add(ATTR_ICE_CONTROLLING, &[1, 2, 3, 4, 5, 6, 7, 8]);
    MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), provider.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

/// A client is relayed to its peer, first by indications, then by a channel; `path` is how the server names it.
async fn is_relayed(server: &Server, mut client: Client, over: Option<&Pair>, path: &str) {
    let ice = join(&mut client).await;
    let mut turn = match over {
        None => Turn::connect(server.addr, &ice.turn).await,
        Some(pair) => {
            let io = pair.trusting().connect(server.addr).await;
            Turn::over(io.expect("a handshake"), server.addr, &ice.turn)
        }
    };
    let relayed = turn.allocate().await.expect("allocated");
    assert!(!relayed.ip().is_loopback() && !relayed.ip().is_unspecified());
    turn.permit(relayed, ice.peer).await.expect("permitted");
    let foreign = SocketAddr::from(([127, 0, 0, 2], ice.peer.port()));
    let refused = turn.permit(relayed, foreign).await;
    assert!(
        refused.as_ref().is_err_and(|it| it.contains("403")),
        "{refused:?}"
    );

    // A check of nobody is dropped, and its connection goes on.
    turn.send(
        relayed,
        ice.peer,
        &check(&ice.ufrag, "another password 24 chars"),
    );
    for by_channel in [false, true] {
        turn.send(relayed, ice.peer, &check(&ice.ufrag, &ice.pwd));
        let (was_by_channel, from, answer) = turn.answer().await;
        assert_eq!(from, ice.peer);
        assert!(was_by_channel || !by_channel);
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&answer).expect("an address");
        assert_eq!(SocketAddr::new(mapped.ip, mapped.port), relayed);
    }
    server.counts("/turn/allocations", 1).await;
    server.counts("/turn/refused/unknown", 1).await;
    server.counts("/turn/refused/peer", 1).await;
    let room = server.stats("/stats?room=room").await;
    let peer = &room["participants"][0]["peer"];
    assert_eq!(peer["path"], path, "{room}");
    assert_eq!(peer["remote_addr"], relayed.to_string());

    client.send(ClientMessage::Leave).await;
    while turn.event().await.is_some() {}
    server.counts("/turn/open", 0).await;
    server.counts("/turn/allocations", 0).await;
    // The credentials ended with the stay.
    let mut turn = Turn::connect(server.addr, &ice.turn).await;
    let refused = turn.allocate().await;
    assert!(
        refused.as_ref().is_err_and(|it| it.contains("401")),
        "{refused:?}"
    );
    server.counts("/turn/refused/credentials", 1).await;
}

#[tokio::test]
async fn a_participant_is_relayed_to_the_media_over_tcp() {
    let server = Server::with(|_| {}).await;
    let url = format!("ws://{}/v1/ws", server.addr);
    let client = Client::connect(&url).await;
    is_relayed(&server, client, None, "turn_tcp").await;
}

#[tokio::test]
async fn a_participant_is_relayed_to_the_media_over_tls() {
    let pair = Pair::new();
    let server = Server::with(|config| {
        config.tls_cert = Some(pair.cert());
        config.tls_key = Some(pair.key());
        config.ice_tcp = true;
    })
    .await;
    let stream = pair.trusting().connect(server.addr).await;
    let url = format!("ws://localhost:{}/v1/ws", server.addr.port());
    let client = Client::over(stream.expect("a handshake"), url).await;
    is_relayed(&server, client.expect("upgrade"), Some(&pair), "turn_tls").await;
}

#[tokio::test]
async fn each_is_told_the_address_by_which_it_asked_and_its_own_password() {
    let server = Server::with(|_| {}).await;
    let url = format!("ws://{}/v1/ws", server.addr);
    let mut passwords = Vec::new();
    for name in ["Ana", "Ben"] {
        let mut client = Client::connect(&url).await;
        let welcome = client.join("room", name).await;
        let [turn] = &welcome.ice_servers[..] else {
            panic!("{:?}", welcome.ice_servers);
        };
        let url = format!("turn:{}?transport=tcp", server.addr);
        assert_eq!(turn.urls, [url]);
        assert_eq!(turn.username.as_deref(), Some(&*welcome.participant));
        passwords.push(turn.credential.clone().expect("a password"));
    }
    assert_ne!(passwords[0], passwords[1]);
}

#[tokio::test]
async fn strangers_leave_nothing_and_other_protocols_are_served_beside() {
    let server = Server::with(|config| config.ice_tcp = true).await;
    // A message that is not one, one too long, a request that ends, and one of ICE-TCP.
    let head = [0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    let request = [&head[..], &[7; 12]].concat();
    let challenged = server
        .send_and_wait(&[&request[..], &[0, 3, 0, 1, 0, 0, 0, 0]].concat())
        .await;
    assert_eq!(challenged.first_chunk(), Some(&[0x01, 0x13]));
    server.counts("/turn/refused/malformed", 1).await;
    let long = [&[0, 3, 0x10, 0][..], &head[4..]].concat();
    assert_eq!(server.send_and_wait(&long).await, b"");
    server.counts("/turn/refused/too_long", 1).await;
    let mut half = TcpStream::connect(server.addr).await.expect("connect");
    half.write_all(&request[..10]).await.expect("sent");
    drop(half);
    server.counts("/turn/refused/closed", 1).await;
    let guesses = request.repeat(20);
    server.send_and_wait(&guesses).await;
    server.counts("/turn/refused/too_many_attempts", 1).await;

    let check = check("zznobody", "password");
    let length = u16::try_from(check.len()).unwrap().to_be_bytes();
    server.send_and_wait(&[&length[..], &check].concat()).await;
    server.counts("/ice_tcp/refused/unknown", 1).await;
    assert_eq!(get(server.addr, "/healthz").await.status, 200);
    server.counts("/turn/open", 0).await;
    server.counts("/turn/allocated", 0).await;
}

/// Connects until no more than four may be open beside those that carry media.
async fn crowd(server: &Server) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..8 {
        crowd.push(TcpStream::connect(server.addr).await.expect("connect"));
    }
    crowd
}

#[tokio::test]
async fn an_allocation_without_media_gives_way_and_one_with_media_does_not() {
    let server = Server::with(|config| config.limits.http_connections = 4).await;
    let mut client = Client::connect(&format!("ws://{}/v1/ws", server.addr)).await;
    let ice = join(&mut client).await;
    let mut unused = Turn::connect(server.addr, &ice.turn).await;
    unused.allocate().await.expect("allocated");
    let mut used = Turn::connect(server.addr, &ice.turn).await;
    let relayed = used.allocate().await.expect("allocated");
    used.permit(relayed, ice.peer).await.expect("permitted");
    used.send(relayed, ice.peer, &check(&ice.ufrag, &ice.pwd));
    used.answer().await;
    server.counts("/turn/allocations", 2).await;
    let _crowd = crowd(&server).await;
    assert!(unused.event().await.is_none(), "it gave way");
    server.counts("/turn/allocations", 1).await;
    used.send(relayed, ice.peer, &check(&ice.ufrag, &ice.pwd));
    used.answer().await;
}

#[tokio::test]
async fn connections_with_media_have_a_bound_for_each_address() {
    let server = Server::with(|config| config.limits.media_connections_per_address = 1).await;
    let mut client = Client::connect(&format!("ws://{}/v1/ws", server.addr)).await;
    let ice = join(&mut client).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut turn = Turn::connect(server.addr, &ice.turn).await;
        let relayed = turn.allocate().await.expect("allocated");
        turn.permit(relayed, ice.peer).await.expect("permitted");
        turn.send(relayed, ice.peer, &check(&ice.ufrag, &ice.pwd));
        connections.push((turn, relayed));
        if let [(first, _)] = &mut connections[..] {
            first.answer().await;
        }
    }
    // What is asked behind it is answered after it.
    let (mut second, relayed) = connections.pop().expect("two");
    let foreign = SocketAddr::from(([127, 0, 0, 2], ice.peer.port()));
    let refused = second.permit(relayed, foreign).await;
    assert!(refused.is_err(), "{refused:?}");
    server.counts("/turn/refused/unavailable", 1).await;
    drop(connections);
    server.counts("/turn/allocations", 1).await;
    second.send(relayed, ice.peer, &check(&ice.ufrag, &ice.pwd));
    second.answer().await;
}

#[tokio::test]
async fn who_allocates_nothing_gives_way() {
    let server = Server::with(|_| {}).await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        let mut socket = TcpStream::connect(server.addr).await.expect("connect");
        socket.write_all(&[0]).await.expect("sent");
        silent.push(socket);
    }
    server.counts("/turn/refused/stalled", 5).await;
    for mut socket in silent {
        let end = timeout(PATIENCE, socket.read(&mut [0])).await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))));
    }
}
