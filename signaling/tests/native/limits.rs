//! Too many, too much, too often, too slow.

use std::time::Duration;

use tertulia_signaling::access;
use tertulia_signaling::config::Limits;
use tertulia_signaling::hooks::Permissions;
use tertulia_signaling::protocol::native::{ClientMessage, Join, LeaveReason, ServerMessage};
use tertulia_signaling::room::LeaveReason as LeftBy;
use tertulia_signaling::room::{Action, Command, Ending, Entrant, Event, RoomSettings, Rooms};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{self, protocol::frame::coding::CloseCode};

use crate::client::{Client, DEADLINE, chat, join, left, offer};
use crate::fake_media::FakeMedia;
use crate::server::Server;
use crate::sessions::{presence, resumable, welcomed};

#[tokio::test]
async fn who_does_not_join_in_time_is_dropped() {
    let server = Server::with(|config| config.limits.join_timeout_ms = 50).await;
    let mut client = server.connect().await;
    let refusal = client.next_refusal().await;
    assert_eq!(
        (refusal.code.as_str(), refusal.fatal),
        ("join_timeout", true)
    );
    assert_eq!(client.closed().await, Some(CloseCode::Policy));
}

#[tokio::test]
async fn who_asks_for_nothing_is_disconnected() {
    let server = Server::with(|config| config.limits.join_timeout_ms = 50).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n";
    for (said, replies) in [("", 0), (&request[..9], 0), (request, 1)] {
        let mut stream = TcpStream::connect(server.addr).await.expect("connect");
        stream.write_all(said.as_bytes()).await.expect("write");
        let mut heard = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut heard)).await;
        read.expect("closed in time").expect("read");
        assert_eq!(heard.matches("HTTP/1.1 200").count(), replies, "{heard}");
    }
}

/// Descriptors would be gone for good.
#[tokio::test]
async fn who_does_not_take_the_answers_is_disconnected() {
    let server = Server::with(|config| config.limits.write_timeout_ms = 100).await;
    let socket = TcpSocket::new_v4().expect("socket");
    socket.set_recv_buffer_size(4_096).expect("buffer size");
    let mut stream = socket.connect(server.addr).await.expect("connect");
    let request = "GET /client/transport.js HTTP/1.1\r\nHost: here\r\n\r\n".repeat(1_000);
    let asks = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(DEADLINE, asks).await.expect("an end");
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let server = Server::with(|config| {
        config.limits.http_connections = 4;
        config.limits.connections = 4;
        config.limits.join_timeout_ms = 600_000;
    })
    .await;
    // WebSockets do not give way.
    let mut ada = server.join("Ada").await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(server.addr).await.expect("connect"));
    }
    assert_eq!(crate::http::get(server.addr, "/healthz").await.status, 200);
    let mut byte = [0];
    let closed = timeout(DEADLINE, idle[0].read(&mut byte)).await;
    assert!(matches!(closed.expect("in time"), Ok(0) | Err(_)));
    ada.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn whoever_opens_many_connections_closes_none_of_others() {
    let server = Server::with(|config| {
        config.limits.http_connections = 4;
        config.limits.join_timeout_ms = 600_000;
    })
    .await;
    let mut slow = TcpStream::connect(server.addr).await.expect("connect");
    let head = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n";
    slow.write_all(head).await.expect("half a request");
    let mut many = Vec::new();
    for _ in 0..9 {
        let socket = TcpSocket::new_v4().expect("socket");
        let address = "127.0.0.2:0".parse().expect("an address");
        socket.bind(address).expect("another loopback address");
        many.push(socket.connect(server.addr).await.expect("connect"));
    }
    let mut byte = [0];
    let closed = timeout(DEADLINE, many[0].read(&mut byte)).await;
    assert!(matches!(closed.expect("in time"), Ok(0) | Err(_)));
    slow.write_all(b"\r\n").await.expect("the other half");
    let mut answer = String::new();
    let read = timeout(DEADLINE, slow.read_to_string(&mut answer)).await;
    read.expect("in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn what_is_no_websocket_is_closed_with_its_code() {
    let server = Server::start().await;
    for (frame, code, close) in [
        // Not masked; reserved bits; no such opcode; not UTF-8.
        (&b"\x81\x02{}"[..], "bad_websocket", CloseCode::Protocol),
        (b"\xf1\x80\0\0\0\0", "bad_websocket", CloseCode::Protocol),
        (b"\x83\x80\0\0\0\0", "bad_websocket", CloseCode::Protocol),
        (b"\x80\x80\0\0\0\0", "bad_websocket", CloseCode::Protocol),
        (b"\x81\x82\0\0\0\0\xff\xff", "not_utf8", CloseCode::Invalid),
    ] {
        let mut client = server.join("Ada").await;
        client.send_bytes(frame).await;
        let refusal = client.next_refusal().await;
        assert_eq!((refusal.code.as_str(), refusal.fatal), (code, true));
        assert_eq!(client.closed().await, Some(close), "{frame:?}");
    }
}

#[tokio::test]
async fn an_oversized_message_closes_the_connection() {
    let server = Server::with(|config| config.limits.message_bytes = 10_000).await;
    for size in [10_001, 5_000_000] {
        let mut client = server.join("Ada").await;
        client.send_text_unless_closed(&"x".repeat(size)).await;
        let refusal = client.next_refusal().await;
        assert_eq!(
            (refusal.code.as_str(), refusal.fatal),
            ("message_too_large", true)
        );
        assert_eq!(client.closed().await, Some(CloseCode::Size));
    }
}

#[tokio::test]
async fn who_talks_too_fast_is_told_and_then_cut_off() {
    let server = Server::with(|config| {
        config.limits.messages_per_second = 1;
        config.limits.message_burst = 3;
    })
    .await;
    let mut client = server.join("Ada").await;
    for _ in 0..2 {
        client.expect_ok(chat("hello")).await;
    }
    let refusal = client.refusal(chat("hello")).await;
    assert_eq!(
        (refusal.code.as_str(), refusal.fatal),
        ("rate_limited", false)
    );
    for _ in 0..100 {
        client.send_text("{\"type\":\"ping\"}").await;
    }
    let fatal = client.find(|message| match message {
        ServerMessage::Error(refusal) if refusal.fatal => Some(refusal.code.clone()),
        _ => None,
    });
    assert_eq!(fatal.await, "rate_limited");
    assert_eq!(client.closed().await, Some(CloseCode::Policy));
}

/// A frame as a client sends it (RFC 6455 section 5.2), under a mask of zeroes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[first, 0x80 | 126], &len[..], &[0; 4], payload].concat()
}

#[tokio::test]
async fn a_message_may_come_in_pieces_but_not_without_end() {
    let server = Server::with(|config| {
        config.limits.messages_per_second = 1;
        config.limits.message_burst = 5;
    })
    .await;
    let mut client = server.join("Ada").await;
    let ping = br#"{"type":"ping","id":7}"#;
    let pieces = ping.iter().enumerate().map(|(at, byte)| {
        let last = if at == ping.len() - 1 { 0x80 } else { 0 };
        frame(last | u8::from(at == 0), &[*byte])
    });
    client
        .send_bytes(&pieces.collect::<Vec<_>>().concat())
        .await;
    let pong = client.find(|message| match message {
        ServerMessage::Pong { id } => Some(*id),
        _ => None,
    });
    assert_eq!(pong.await, Some(7));

    let mut flood = frame(1, b"");
    for _ in 0..100 {
        flood.extend(frame(0, b""));
    }
    client.send_bytes(&flood).await;
    let refusal = client.next_refusal().await;
    assert_eq!(
        (refusal.code.as_str(), refusal.fatal),
        ("rate_limited", true)
    );
    assert_eq!(client.closed().await, Some(CloseCode::Policy));
}

#[tokio::test]
async fn a_full_room_takes_nobody_until_someone_leaves() {
    let server = Server::with(|config| config.limits.participants_per_room = 2).await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let mut late = server.connect().await;
    let ServerMessage::Error(refusal) = late.join_answer("room", "Late").await else {
        panic!("let in");
    };
    assert_eq!((refusal.code.as_str(), refusal.fatal), ("room_full", false));
    grace.send(ClientMessage::Leave).await;
    ada.find(|m| matches!(m, ServerMessage::ParticipantLeft { .. }).then_some(()))
        .await;
    late.join("room", "Late").await;
}

#[tokio::test]
async fn a_moderator_comes_into_a_full_room_by_a_small_reserve() {
    let set = access::new_key_set("1");
    let keys = access::Keys::from_json(&set).expect("keys");
    let issuing = keys.clone();
    let server = Server::with(|config| {
        config.limits.participants_per_room = 2;
        config.keys = Some(keys);
    })
    .await;
    let enter = async |moderate: bool| {
        let rights = Permissions::all().moderate(moderate);
        let claims = access::Claims::join("room", rights);
        let token = issuing.issue(&claims, Duration::from_secs(60), None);
        let mut client = server.connect().await;
        let join = Join {
            token: Some(token.expect("a token")),
            ..join("room", "Ada")
        };
        match client.request(ClientMessage::Join(join)).await {
            ServerMessage::Welcome(_) => Ok(client),
            ServerMessage::Error(refusal) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    };
    let mut inside = Vec::new();
    for moderate in [false, false] {
        inside.push(enter(moderate).await.expect("a place"));
    }
    assert_eq!(enter(false).await.err().as_deref(), Some("room_full"));
    for _ in 0..4 {
        inside.push(enter(true).await.expect("a place of the reserve"));
        assert_eq!(enter(false).await.err().as_deref(), Some("room_full"));
    }
    assert_eq!(enter(true).await.err().as_deref(), Some("room_full"));
}

/// A guest of one address cannot hold every place by sessions that have no connection.
#[tokio::test]
async fn in_a_full_room_sessions_without_a_connection_give_way() {
    let server = Server::behind_proxy(|config| config.limits.participants_per_room = 4).await;
    let mut ada = server.come_from("192.0.2.1").await;
    ada.join("room", "Ada").await;
    let mut ghosts = Vec::new();
    for number in 0..3 {
        let mut ghost = server.come_from("192.0.2.2").await;
        welcomed(&mut ghost, resumable("room", &format!("G{number}"))).await;
        let id = ghost.id.clone();
        drop(ghost);
        presence(&mut ada, false).await;
        ghosts.push(id);
    }
    let mut bob = server.come_from("192.0.2.3").await;
    bob.join("room", "Bob").await;
    // The one who came last gives way first.
    let gone = left(&mut ada).await;
    assert_eq!(gone, (ghosts[2].clone(), LeaveReason::Disconnected));
    // One session that is away for a moment is nobody's crowd.
    let mut cut = server.come_from("192.0.2.2").await;
    let answer = cut.join_answer("room", "Cut").await;
    assert!(matches!(answer, ServerMessage::Error(refusal) if refusal.code == "room_full"));
    let mut eve = server.come_from("192.0.2.4").await;
    eve.join("room", "Eve").await;
    assert_eq!(left(&mut ada).await.0, ghosts[1]);
    let mut late = server.come_from("192.0.2.5").await;
    let answer = late.join_answer("room", "Late").await;
    assert!(matches!(answer, ServerMessage::Error(refusal) if refusal.code == "room_full"));
}

#[tokio::test]
async fn a_full_server_opens_no_more_rooms() {
    let server = Server::with(|config| config.limits.rooms = 1).await;
    let _ada = server.join("Ada").await;
    let mut late = server.connect().await;
    let ServerMessage::Error(refusal) = late.join_answer("another", "Late").await else {
        panic!("let in");
    };
    assert_eq!(refusal.code, "server_full");
    late.join("room", "Late").await;
}

#[tokio::test]
async fn the_media_plane_may_refuse_a_room() {
    let server = Server::start().await;
    server.media.books().refuse_rooms = 1;
    let mut ada = server.connect().await;
    let ServerMessage::Error(refusal) = ada.join_answer("room", "Ada").await else {
        panic!("let in");
    };
    assert_eq!(refusal.code, "server_full");
    ada.join("room", "Ada").await;
}

#[tokio::test]
async fn connections_are_bounded_before_they_join() {
    let server = Server::with(|config| config.limits.connections = 1).await;
    let first = server.connect().await;
    assert!(
        tokio_tungstenite::connect_async(server.url())
            .await
            .is_err()
    );
    let health = crate::http::get(server.addr, "/healthz").await;
    assert_eq!(health.status, 200);
    drop(first);
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_the_others_go_on() {
    let server = Server::with(|config| {
        config.limits.outgoing_queue = 16;
        config.limits.messages_per_second = 1_000_000;
        config.limits.message_burst = 1_000_000;
        config.limits.chat_chars = 100_000;
    })
    .await;
    let slow = |socket: &tokio::net::TcpSocket| {
        socket.set_recv_buffer_size(4_096).expect("buffer size");
    };
    let mut slow = Client::connect_with(&server.url(), slow).await;
    slow.join("room", "Slow").await;
    let mut ada = server.join("Ada").await;
    let text = "x".repeat(100_000);
    let (participant, reason) = loop {
        ada.send(chat(&text)).await;
        // Reads what came, so that Ada herself keeps up.
        let left = ada.find(|message| match message {
            ServerMessage::ParticipantLeft {
                participant,
                reason,
            } => Some(Some((participant.clone(), *reason))),
            ServerMessage::Ok { .. } => Some(None),
            _ => None,
        });
        if let Some(left) = left.await {
            break left;
        }
    };
    assert_eq!((participant, reason), (slow.id, LeaveReason::Disconnected));
    ada.expect_ok(chat("still here")).await;
}

pub(crate) fn entrant(name: &str) -> Entrant {
    Entrant {
        name: name.to_owned(),
        metadata: Default::default(),
        auto_subscribe: true,
        request: None,
        client: None,
        socket: None,
        token: None,
        http: None,
        takes_batches: false,
        audience: None,
        session: None,
        views: Vec::new(),
    }
}

#[tokio::test]
async fn a_full_queue_ends_the_membership_with_its_reason() {
    let media = FakeMedia::new();
    let limits = Limits {
        outgoing_queue: 4,
        ..Limits::default()
    };
    let rooms = Rooms::start(
        std::sync::Arc::new(media),
        RoomSettings {
            limits,
            ..Default::default()
        },
    );
    let mut slow = rooms.join("room", entrant("Slow")).await.expect("joined");
    let mut ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    // Slow's queue holds the welcome and Ada's arrival: two more fit, the third does not.
    for said in 1..=3 {
        assert!(
            slow.ending.try_recv().is_err(),
            "ended after {said} messages"
        );
        let action = Action::Chat("hello".into());
        let request = None;
        assert!(ada.send(Command { request, action }).await);
        loop {
            let event = ada.events.recv().await.expect("an event");
            if matches!(*event, Event::Done { .. }) {
                break;
            }
        }
    }
    assert_eq!(slow.ending.await, Ok(Ending::TooSlow));
    let event = ada.events.recv().await.expect("an event");
    assert!(matches!(*event, Event::ParticipantLeft { .. }), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_media_plane_that_hangs_is_not_waited_for() {
    let media = FakeMedia::new();
    media.books().hang = true;
    let rooms = Rooms::start(std::sync::Arc::new(media), RoomSettings::default());
    let mut ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    let action = Action::Offer {
        sdp: "send 0 audio".into(),
        carries: Vec::new(),
    };
    let request = Some(1);
    assert!(ada.send(Command { request, action }).await);
    loop {
        let event = ada.events.recv().await.expect("an event");
        if let Event::Refused { refusal, .. } = &*event {
            assert_eq!(refusal.code, "overloaded");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_room_lives_for_a_minute() {
    let media = FakeMedia::new();
    let media = std::sync::Arc::new(media);
    let rooms = Rooms::start(media.clone(), RoomSettings::default());
    let ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    let left = Instant::now();
    ada.leave(LeftBy::Left).await;
    media.until(|books| books.rooms.is_empty()).await;
    assert_eq!(left.elapsed().as_secs(), 60);
    assert_eq!(rooms.counts().rooms, 0);
    rooms
        .join("room", entrant("Ada"))
        .await
        .expect("a new room");
}

#[tokio::test]
async fn rooms_that_are_left_at_once_lock_nobody_out() {
    let media = FakeMedia::new();
    let media = std::sync::Arc::new(media);
    let limits = Limits {
        rooms: 6,
        empty_rooms: 4,
        ..Limits::default()
    };
    let settings = RoomSettings {
        limits,
        ..Default::default()
    };
    let rooms = Rooms::start(media.clone(), settings);
    let mut ada = rooms.join("used", entrant("Ada")).await.expect("joined");
    let kept = rooms.join("kept", entrant("Grace")).await.expect("joined");
    for number in 0..100 {
        let name = format!("left-{number}");
        let left = rooms.join(&name, entrant("Mallory")).await.expect("joined");
        left.leave(LeftBy::Left).await;
    }
    assert!(rooms.counts().rooms <= 6, "{:?}", rooms.counts());
    kept.leave(LeftBy::Left).await;
    let mut held = Vec::new();
    for number in 0..5 {
        let name = format!("new-{number}");
        held.push(rooms.join(&name, entrant("Bob")).await.expect("joined"));
    }
    let refusal = rooms.join("one too many", entrant("Bob")).await.err();
    assert_eq!(refusal.map(|refusal| refusal.code), Some("bad_field"));
    let refusal = rooms.join("one-too-many", entrant("Bob")).await.err();
    assert_eq!(refusal.map(|refusal| refusal.code), Some("server_full"));
    // The call in the used room has not noticed.
    assert!(ada.ending.try_recv().is_err());
    let again = rooms.join("used", entrant("Zoe")).await;
    assert!(again.is_ok());
    media.until(|books| books.rooms.len() == 6).await;
}

/// The oldest goes first.
#[tokio::test]
async fn what_was_left_last_is_kept_longest() {
    let media = FakeMedia::new();
    let media = std::sync::Arc::new(media);
    let limits = Limits {
        empty_rooms: 2,
        ..Limits::default()
    };
    let settings = RoomSettings {
        limits,
        ..Default::default()
    };
    let rooms = Rooms::start(media.clone(), settings);
    let chat = async |room: &str| {
        let mut ada = rooms.join(room, entrant("Ada")).await.expect("joined");
        let first = ada.events.recv().await.expect("a welcome");
        let Event::Welcome(snapshot) = &*first else {
            panic!("{first:?}");
        };
        let before = snapshot.chat.len();
        let action = Action::Chat("hello".into());
        let request = None;
        assert!(ada.send(Command { request, action }).await);
        loop {
            let event = ada.events.recv().await.expect("an event");
            if matches!(*event, Event::Done { .. }) {
                break;
            }
        }
        ada.leave(LeftBy::Left).await;
        before
    };
    for room in ["first", "second", "third"] {
        assert_eq!(chat(room).await, 0);
    }
    media.until(|books| books.rooms.len() == 2).await;
    assert_eq!(chat("second").await, 1);
    assert_eq!(chat("third").await, 1);
    assert_eq!(chat("first").await, 0);
}

#[tokio::test]
async fn an_address_has_its_share_of_connections_joins_and_rooms() {
    let server = Server::behind_proxy(|config| {
        config.limits.connections_per_address = 3;
        config.limits.rooms_per_address = 2;
        config.limits.joins_per_minute_per_address = 6;
    })
    .await;
    let from = async |address: &str| Client::connect_from(&server.url(), address).await;
    let refused =
        async |client: &mut Client, room: &str| match client.join_answer(room, "Ada").await {
            ServerMessage::Error(refusal) => Some(refusal.code),
            _ => None,
        };
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(from("192.0.2.1").await.expect("upgrade"));
    }
    let Err(tungstenite::Error::Http(reply)) = from("192.0.2.1").await else {
        panic!("one too many");
    };
    assert_eq!(reply.status(), 429);
    let body = reply.into_body().expect("a body");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["code"], "connections_per_address");
    let refusals = |code: &str| server.node.rooms().joins_refused()[code];
    assert_eq!(refusals("connections_per_address"), 1);
    let mut other = from("192.0.2.2").await.expect("upgrade");

    assert_eq!(refused(&mut clients[0], "one").await, None);
    assert_eq!(refused(&mut clients[1], "two").await, None);
    let code = refused(&mut clients[2], "three").await;
    assert_eq!(code.as_deref(), Some("rooms_per_address"));
    assert_eq!(refusals("rooms_per_address"), 1);
    assert_eq!(refused(&mut other, "three").await, None);
    // Its own empty room gives way.
    drop(clients.remove(0));
    server.media.until(|books| books.peers.is_empty()).await;
    let admitted = async {
        // Waits until the room has noticed.
        while server.node.counts().participants > 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, admitted).await.expect("in time");
    assert_eq!(refused(&mut clients[1], "four").await, None);

    let mut late = from("192.0.2.1").await.expect("upgrade");
    assert_eq!(refused(&mut late, "two").await, None);
    drop(late);
    let full = async {
        loop {
            if let Ok(mut client) = from("192.0.2.1").await {
                match refused(&mut client, "two").await {
                    Some(code) => break code,
                    None => continue,
                }
            }
        }
    };
    let code = timeout(DEADLINE, full).await.expect("in time");
    assert_eq!(code, "joins_per_address");
    assert_eq!(refusals("joins_per_address"), 1);
    assert_eq!(
        refused(&mut from("2001:db8::1").await.expect("upgrade"), "two").await,
        None
    );
}

#[tokio::test]
async fn those_named_are_told_other_media_addresses() {
    let server = Server::with(|config| {
        config.announce_for = vec!["Ada=192.0.2.1:9000".parse().expect("a setting")];
    })
    .await;
    let mut announced = Vec::new();
    for name in ["Ada", "Bob"] {
        server.join(name).await.offer("recv 0 audio").await;
        let peer = server.last_peer();
        announced.push(server.media.books().peers[&peer].announced.clone());
    }
    let proxy = std::net::SocketAddr::from(([192, 0, 2, 1], 9000));
    assert_eq!(announced, [vec![proxy], vec![]]);
}

/// A room waits for its media plane for up to 5 s, with a full mailbox.
#[tokio::test]
async fn who_is_ended_does_not_wait_for_its_room() {
    let server = Server::with(|config| {
        config.limits.messages_per_second = 1_000_000;
        config.limits.message_burst = 1_000_000;
    })
    .await;
    let mut ada = server.join("Ada").await;
    let mut bob = server.join("Bob").await;
    let mut grace = server.join("Grace").await;
    server.media.books().hang = true;
    ada.send(offer("recv 0 audio")).await;
    // The client sends more than its mailbox takes.
    for _ in 0..300 {
        grace.send(ClientMessage::Stats).await;
    }
    // Time for the server to read them.
    let mut eve = server.connect().await;
    for _ in 0..300 {
        eve.request(ClientMessage::Ping { received: None }).await;
    }
    let asked = async {
        bob.send_text_unless_closed(&"x".repeat(2 << 20)).await;
        assert_eq!(bob.next_refusal().await.code, "message_too_large");
        assert_eq!(bob.closed().await, Some(CloseCode::Size));
    };
    tokio::select! {
        biased;
        () = asked => {}
        refusal = ada.next_refusal() => panic!("the room went on first: {refusal:?}"),
    }
}
