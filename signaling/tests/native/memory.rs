//! Clients that would have the server hold more than it has, beside people who talk on.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tertulia_signaling::protocol::native::{ClientMessage, ServerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{Client, DEADLINE, chat, join};
use crate::http::get;
use crate::process::{Process, tertulia};

/// Bytes of an unfinished message. A message may have 1 MB, and the server puts it together in
/// twice that.
pub(crate) const UNFINISHED: usize = 900 << 10;

/// The beginning of a message that never ends.
pub(crate) fn beginning(bytes: usize) -> Message {
    let header = FrameHeader {
        is_final: false,
        opcode: OpCode::Data(Data::Text),
        ..FrameHeader::default()
    };
    Message::Frame(Frame::from_payload(header, vec![b' '; bytes].into()))
}

/// Ada says something, and Grace hears it.
pub(crate) async fn talk(ada: &mut Client, grace: &mut Client, text: &str) {
    ada.expect_ok(chat(text)).await;
    let heard = grace.find(|message| match message {
        ServerMessage::Chat { message } if message.text == text => Some(()),
        _ => None,
    });
    heard.await;
}

/// A socket of another address of this machine.
fn at(last: usize) -> impl FnOnce(&TcpSocket) {
    move |socket: &TcpSocket| {
        let address = SocketAddr::from(([127, 0, 0, last as u8], 0));
        socket.bind(address).expect("bind");
    }
}

/// Another client that leaves a message unfinished; none if it was refused.
async fn attack(url: &str, last: usize) -> Option<Client> {
    match Client::try_connect_with(url, at(last)).await {
        Ok(mut other) => {
            other.send_raw_unless_closed(beginning(UNFINISHED)).await;
            Some(other)
        }
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), 503);
            let body = response.body().as_deref().unwrap_or_default();
            assert!(String::from_utf8_lossy(body).contains("server_memory"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Ada, who has said 50 lines: a welcome to her room has 5 MB.
async fn long_chat(server: &Process) -> Client {
    let mut ada = server.join("Ada").await;
    let text = "x".repeat(100_000);
    for _ in 0..50 {
        ada.expect_ok(chat(&text)).await;
    }
    ada
}

/// The binary, for it is its memory that counts.
async fn start(settings: &str) -> Process {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let name = format!("tertulia-memory-{}-{number}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, settings).expect("a file");
    let path = file.to_str().expect("a path");
    let process = Process::start_with(&["--config", path, "--admin-listen", "127.0.0.1:0"]).await;
    std::fs::remove_file(&file).expect("it was there");
    process
}

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// Settings with budgets of 20 MB each.
const SMALL: &str = "memory_mb = 200
[limits]
messages_per_second = 1000000
message_burst = 1000000
chat_chars = 100000
join_timeout_ms = 3600000
# Nobody is ended for reading nothing.
write_timeout_ms = 3600000
silence_ms = 7200000
";

async fn counts(admin: std::net::SocketAddr) -> serde_json::Value {
    let stats = get(admin, "/stats").await.body;
    let mut stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    stats["memory"].take()
}

#[tokio::test]
async fn who_leaves_most_unfinished_is_told_so_and_the_others_talk_on() {
    // A tenth is for unfinished messages: of eleven such as these.
    let server = start(SMALL).await;
    let admin = server.admin();
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let mut others = Vec::new();
    for _ in 0..25 {
        others.push(Client::connect(&server.url()).await);
    }
    for (round, other) in others.iter_mut().enumerate() {
        other.send_raw_unless_closed(beginning(UNFINISHED)).await;
        talk(&mut ada, &mut grace, &round.to_string()).await;
    }
    // All but eleven are told, some of them after they answered first.
    let mut told = 0;
    for _ in 0..20 {
        let mut left = Vec::new();
        for mut other in others {
            match other.is_refused("server_memory", CloseCode::Again).await {
                true => told += 1,
                false => left.push(other),
            }
        }
        others = left;
        if told >= 14 {
            break;
        }
    }
    let memory = counts(admin).await;
    assert!(told >= 14, "{told}: {memory}");
    // An address that holds more than half of it gets no more connections; others are not kept out.
    assert!(attack(&server.url(), 1).await.is_none());
    let mut late = Client::connect_with(&server.url(), at(2)).await;
    late.join("room", "Late").await;
    assert!(memory["messages_ended"].as_u64() >= Some(told), "{memory}");
    talk(&mut ada, &mut grace, "still here").await;
}

#[tokio::test]
async fn an_attack_from_one_address_that_goes_on_keeps_nobody_else_out() {
    // The unfinished messages exceed the budget each time.
    const AT_A_TIME: usize = 15;
    let newcomers = 10 * times();
    let server = start(SMALL).await;
    let mut ada = server.join("Ada").await;
    let mut attackers = Vec::new();
    for _ in 0..AT_A_TIME * newcomers {
        attackers.push(Client::connect(&server.url()).await);
    }
    for (round, attackers) in attackers.chunks_mut(AT_A_TIME).enumerate() {
        let sent = attackers.iter_mut();
        let sent = sent.map(|attacker| attacker.send_raw_unless_closed(beginning(UNFINISHED)));
        join_all(sent).await;
        // She is served at once, while evicted clients are told why.
        let mut grace = Client::connect_with(&server.url(), at(2)).await;
        grace.join("room", "Grace").await;
        talk(&mut ada, &mut grace, &round.to_string()).await;
        assert!(attack(&server.url(), 1).await.is_none());
    }
    let memory = counts(server.admin()).await;
    println!("beside newcomers: {memory}");
    let ended = memory["messages_ended"].as_u64().expect("a number");
    assert!(
        ended as usize >= (AT_A_TIME - 1) * newcomers - 11,
        "{memory}"
    );
}

#[tokio::test]
async fn who_leaves_most_unread_is_ended_and_the_others_talk_on() {
    let server = start(SMALL).await;
    let admin = server.admin();
    let mut ada = long_chat(&server).await;
    let slow = |socket: &TcpSocket| {
        socket.set_recv_buffer_size(4_096).expect("buffer size");
    };
    let mut others = Vec::new();
    for _ in 0..6 {
        let mut other = Client::connect_with(&server.url(), slow).await;
        let welcomed = join("room", "Slow");
        other.send(ClientMessage::Join(welcomed)).await;
        others.push(other);
    }
    // A welcome of 5 MB takes 10, of 20.
    for _ in 0..3 {
        ada.find(|message| match message {
            ServerMessage::ParticipantLeft { .. } => Some(()),
            _ => None,
        })
        .await;
    }
    let memory = counts(admin).await;
    assert!(memory["outboxes_ended"].as_u64() >= Some(3), "{memory}");
    assert!(memory["outboxes"].as_u64() <= Some(30 << 20), "{memory}");
    ada.expect_ok(chat("still here")).await;
}

/// The answers of a stream or of a poll are written by an HTTP connection, which the end of a participant alone would
/// not reach.
#[tokio::test]
async fn answers_that_are_read_too_slowly_are_cut_off_and_the_others_talk_on() {
    for kind in ["events", "poll"] {
        let server = start(SMALL).await;
        let admin = server.admin();
        let _ada = long_chat(&server).await;
        let mut others = Vec::new();
        for last in 10..13 {
            others.push(slow_join(&server.url(), kind, last).await);
        }
        // A welcome of 5 MB takes 10, of 20: one of three is too much.
        let cut = async {
            loop {
                let memory = counts(admin).await;
                let ended = memory["outboxes_ended"].as_u64();
                if ended >= Some(1) && memory["outboxes"].as_u64() <= Some(20 << 20) {
                    break;
                }
            }
        };
        if timeout(DEADLINE, cut).await.is_err() {
            panic!("{kind}: their memory is not free: {}", counts(admin).await);
        }
        let mut grace = Client::connect_with(&server.url(), at(2)).await;
        assert_eq!(grace.join("room", "Grace").await.chat.len(), 50);
    }
}

/// Joins over HTTP, and reads nothing.
async fn slow_join(url: &str, kind: &str, last: usize) -> TcpStream {
    let join = r#"{"type":"join","version":1,"room":"room","name":"Slow","resumable":true}"#;
    let body = format!(r#"{{"messages":[{join}],"wait_ms":25000}}"#);
    post(url, kind, &body, last).await
}

/// Sends a request, and reads nothing.
async fn post(url: &str, path: &str, body: &str, last: usize) -> TcpStream {
    let server = url.split('/').nth(2).expect("an address");
    let head = format!(
        "POST /v1/http/{path} HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("buffer size");
    at(last)(&socket);
    let server = server.parse().expect("an address");
    let mut stream = socket.connect(server).await.expect("connect");
    // The server may have had enough before the end.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    stream
}

/// Waits until the memory for messages on their way up is as it should.
async fn memory_until(admin: SocketAddr, what: &str, is_so: impl Fn(u64) -> bool) {
    let so = async { while !is_so(counts(admin).await["messages"].as_u64().expect("bytes")) {} };
    if timeout(DEADLINE, so).await.is_err() {
        panic!("not so: {what}: {}", counts(admin).await);
    }
}

/// Messages that were read wait for their turn while the client of their socket takes none.
#[tokio::test]
async fn bodies_that_wait_for_their_turn_are_let_go_of() {
    let server = start(SMALL).await;
    let admin = server.admin();
    let (mut ada, mut grace) = (server.join("Ada").await, server.join("Grace").await);
    let url = server.url();
    let mut stream = slow_join(&url, "poll", 10).await;
    let mut answer = String::new();
    while !answer.contains("\"connection\":\"") {
        let mut bytes = [0; 4_096];
        let count = stream.read(&mut bytes).await.expect("an answer");
        answer += std::str::from_utf8(&bytes[..count]).expect("UTF-8");
    }
    let (_, name) = answer.split_once("\"connection\":\"").expect("a name");
    let (name, _) = name.split_once('"').expect("its end");
    // Nobody polls any more: two of these are all that the socket takes.
    for _ in 0..4 {
        ada.expect_ok(chat(&"x".repeat(90_000))).await;
    }
    let text = "x".repeat(UNFINISHED);
    let chat = format!(r#"{{"type":"chat","text":"{text}"}}"#);
    let body = format!(r#"{{"connection":"{name}","messages":[{chat}]}}"#);
    let mut waiting = Vec::new();
    // The first is answered, and counts once; each other takes twice its size, of 20 MB.
    for _ in 0..11 {
        waiting.push(post(&url, "send", &body, 10).await);
    }
    memory_until(admin, "they wait", |memory| memory > 19_000_000).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = Client::connect_with(&url, at(11)).await;
        other.send_raw_unless_closed(beginning(UNFINISHED)).await;
        others.push(other);
    }
    memory_until(admin, "their memory is free", |memory| memory < 10 << 20).await;
    talk(&mut ada, &mut grace, "still here").await;
}

#[tokio::test]
async fn who_finds_no_memory_for_a_welcome_is_welcomed_when_others_have_let_go() {
    let server = start(SMALL).await;
    let _ada = long_chat(&server).await;
    let mut others = Vec::new();
    // The third is too much, and all there may be until one of them has let go.
    for _ in 0..3 {
        let slow = |socket: &TcpSocket| {
            socket.set_recv_buffer_size(4_096).expect("buffer size");
        };
        let mut other = Client::connect_with(&server.url(), slow).await;
        other.send(ClientMessage::Join(join("room", "Slow"))).await;
        others.push(other);
    }
    let told = async {
        while counts(server.admin()).await["outboxes_ended"] == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, told).await.expect("one is told in time");
    let mut grace = Client::connect_with(&server.url(), at(2)).await;
    let welcome = grace.join("room", "Grace").await;
    assert_eq!(welcome.chat.len(), 50);
}

#[tokio::test]
async fn who_can_never_be_welcomed_is_told_why() {
    let settings = "write_timeout_ms = 300\nchat_chars = 100000\nmessages_per_second = 1000000";
    let server = start(&format!("memory_mb = 100\n[limits]\n{settings}")).await;
    let mut ada = server.join("Ada").await;
    let text = "x".repeat(100_000);
    // Twice that exceeds the tenth of the memory for welcomes by half.
    for _ in 0..80 {
        ada.expect_ok(chat(&text)).await;
    }
    let mut late = Client::connect(&server.url()).await;
    late.send(ClientMessage::Join(join("room", "Late"))).await;
    assert!(late.is_refused("server_memory", CloseCode::Again).await);
    let memory = counts(server.admin()).await;
    assert_eq!(
        (&memory["outboxes_ended"], &memory["outboxes"]),
        (&1.into(), &0.into())
    );
    ada.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn the_room_with_most_chat_keeps_less_of_it() {
    let server = start(SMALL).await;
    let admin = server.admin();
    let mut quiet = server.join("Quiet").await;
    quiet.expect_ok(chat("a word")).await;
    let mut rooms = Vec::new();
    for room in ["one", "two", "three"] {
        let mut loud = Client::connect(&server.url()).await;
        loud.join(room, "Loud").await;
        rooms.push(loud);
    }
    let text = "x".repeat(100_000);
    for _ in 0..100 {
        for loud in &mut rooms {
            loud.expect_ok(chat(&text)).await;
        }
    }
    let memory = counts(admin).await;
    assert!(memory["chats_shortened"].as_u64() > Some(0), "{memory}");
    assert!(memory["chat"].as_u64() <= Some(30 << 20), "{memory}");
    let mut late = Client::connect(&server.url()).await;
    assert_eq!(late.join("room", "Late").await.chat.len(), 1);
}

/// Attacks go on for ten times as long with `--extended` of the test command.
fn times() -> usize {
    match std::env::var_os("TERTULIA_LONG") {
        Some(_) => 10,
        None => 1,
    }
}

/// Half of what the attack needs: 400 messages of 900 kB, put together in twice that.
const ADDRESSES_MB: usize = 400 * 2 * UNFINISHED / (2 << 20);

#[tokio::test]
async fn with_half_of_the_memory_that_is_wanted_it_refuses_by_code_and_calls_go_on() {
    let limited = format!("ulimit -v {} && exec \"$0\" \"$@\"", ADDRESSES_MB << 10);
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--media-port",
        "0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let server = tertulia(&arguments);
    let mut command = tokio::process::Command::new("bash");
    command
        .args(["-c", &limited])
        .arg(server.as_std().get_program())
        .args(server.as_std().get_args())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let server = Process::spawn(command).await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let (mut others, mut refused) = (Vec::new(), 0);
    for round in 0..400 * times() {
        // The attack uses so many addresses that none is refused for the memory it holds.
        match attack(&server.url(), 2 + round % 200).await {
            Some(other) => others.push(other),
            None => refused += 1,
        }
        // They send as much as they may.
        if round % 8 == 0 {
            talk(&mut ada, &mut grace, &round.to_string()).await;
        }
    }
    for other in &mut others {
        refused += usize::from(other.is_refused("server_memory", CloseCode::Again).await);
    }
    let memory = counts(server.admin()).await;
    println!("{refused} of {} refused: {memory}", 400 * times());
    assert!(refused > 350 * times(), "{refused}: {memory}");
    drop(others);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while counts(server.admin()).await["messages"].as_u64() > Some(0) {
        assert!(tokio::time::Instant::now() < deadline, "memory comes back");
        tokio::task::yield_now().await;
    }
    let mut late = server.join("Late").await;
    talk(&mut ada, &mut late, "still here").await;
}
