//! Sockets over HTTP: a stream of events, and polls.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tertulia_signaling::protocol::native::ServerMessage;
use tertulia_signaling::room::{Recipient, ServerSays};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Client, DEADLINE, chat};
use crate::http::{Reply, get, parse};
use crate::server::Server;

const JSON: &str = "Content-Type: application/json\r\n";

async fn request(addr: SocketAddr, path: &str, headers: &str, body: &str) -> TcpStream {
    let head = format!(
        "POST /v1/http/{path} HTTP/1.0\r\nHost: {addr}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    let request = [head.as_bytes(), body.as_bytes()].concat();
    // The server may refuse before it has read everything.
    let _ = stream.write_all(&request).await;
    stream
}

async fn post_with(addr: SocketAddr, path: &str, headers: &str, body: &str) -> Reply {
    let mut stream = request(addr, path, headers, body).await;
    let mut text = String::new();
    let read = timeout(DEADLINE, stream.read_to_string(&mut text)).await;
    read.expect("a reply in time").expect("a reply");
    parse(&text)
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let reply = post_with(server.addr, path, JSON, &body.to_string()).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    let body = serde_json::from_str(&reply.body).expect("JSON");
    (reply.status, body)
}

async fn good(server: &Server, path: &str, body: &Value) -> Value {
    let (status, reply) = post(server, path, body).await;
    assert_eq!(status, 200, "{reply}");
    reply
}

fn join(name: &str) -> Value {
    json!({"type": "join", "id": 1, "version": 1, "room": "room", "name": name, "resumable": true})
}

fn say(text: &str) -> Value {
    json!({"type": "chat", "text": text})
}

/// A stream of events.
struct Events {
    stream: TcpStream,
    text: String,
    head: String,
    connection: String,
}

impl Events {
    async fn open(server: &Server, messages: Value) -> Self {
        let body = json!({"messages": messages}).to_string();
        let stream = request(server.addr, "events", JSON, &body).await;
        let mut events = Self {
            stream,
            text: String::new(),
            head: String::new(),
            connection: String::new(),
        };
        events.head = events.until("\r\n\r\n").await.expect("a head");
        let open = events.next().await;
        assert_eq!(open["type"], "open");
        events.connection = open["connection"].as_str().expect("a name").to_owned();
        events
    }

    /// The text before the next `end`; none once the stream has ended.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((before, after)) = self.text.split_once(end) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.text = after;
                return Some(before);
            }
            let mut bytes = vec![0; 65_536];
            let read = timeout(DEADLINE, self.stream.read(&mut bytes)).await;
            match read.expect("an event in time").expect("read") {
                0 => return None,
                len => self.text += std::str::from_utf8(&bytes[..len]).expect("UTF-8"),
            }
        }
    }

    /// The next event that is no comment.
    async fn next(&mut self) -> Value {
        loop {
            let event = self.until("\n\n").await.expect("an event");
            if let Some(data) = event.strip_prefix("data: ") {
                return serde_json::from_str(data).expect("JSON");
            }
            assert_eq!(event, ":");
        }
    }

    async fn find(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    async fn send(&self, server: &Server, messages: Value) {
        let body = json!({"connection": self.connection, "messages": messages});
        assert_eq!(good(server, "send", &body).await, json!({}));
    }
}

/// Polls for messages.
struct Polls {
    connection: String,
    received: u64,
}

impl Polls {
    async fn open(server: &Server, messages: Value) -> (Self, Vec<Value>) {
        let body = json!({"messages": messages, "wait_ms": 25_000});
        let reply = good(server, "poll", &body).await;
        let mut polls = Self {
            connection: reply["connection"].as_str().expect("a name").to_owned(),
            received: 0,
        };
        let messages = polls.take(&reply);
        (polls, messages)
    }

    fn take(&mut self, reply: &Value) -> Vec<Value> {
        assert_eq!(reply["connection"], self.connection.as_str());
        assert_eq!(reply["after"], self.received);
        let messages = reply["messages"].as_array().expect("messages").clone();
        self.received += messages.len() as u64;
        messages
    }

    fn body(&self, wait_ms: u64) -> Value {
        json!({"connection": self.connection, "wait_ms": wait_ms})
    }

    async fn find(&mut self, server: &Server, kind: &str) -> Value {
        loop {
            let reply = good(server, "poll", &self.body(25_000)).await;
            let messages = self.take(&reply);
            if let Some(found) = messages.into_iter().find(|it| it["type"] == kind) {
                return found;
            }
        }
    }
}

fn token(welcome: &Value) -> String {
    welcome["session"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

/// The sockets of everybody in the room `room`, as operators are told them.
async fn sockets(admin: SocketAddr) -> Vec<(String, String)> {
    let stats = get(admin, "/stats?room=room").await.body;
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    let people = stats["participants"].as_array().expect("people").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    people
        .map(|it| (text(&it["name"]), text(&it["socket"])))
        .collect()
}

async fn heard(client: &mut Client, text: &str) {
    client
        .find(|message| match message {
            ServerMessage::Chat { message } if message.text == text => Some(()),
            _ => None,
        })
        .await;
}

async fn away(client: &mut Client) {
    client
        .find(|message| match message {
            ServerMessage::Presence { connected, .. } => (!connected).then_some(()),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn a_session_moves_from_transport_to_transport() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut events = Events::open(&server, json!([join("Grace")])).await;
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
    ] {
        assert!(events.head.contains(line), "{}", events.head);
    }
    let welcome = events.next().await;
    assert_eq!(welcome["type"], "welcome");
    let admin = server.admin().await;
    let expected = |socket: &str| {
        [("Ada", "websocket"), ("Grace", socket)]
            .map(|(name, socket)| (name.to_owned(), socket.to_owned()))
    };
    assert_eq!(sockets(admin).await, expected("sse"));
    events
        .send(
            &server,
            json!([say("by stream"), {"type": "ping", "id": 7}]),
        )
        .await;
    heard(&mut ada, "by stream").await;
    assert_eq!(events.find("pong").await["id"], 7);
    ada.expect_ok(chat("to the stream")).await;
    while events.find("chat").await["message"]["text"] != "to the stream" {}
    // The stream is cut. The welcome was had, and nothing else.
    drop(events);
    away(&mut ada).await;
    assert_eq!(sockets(admin).await, expected("sse"), "the last one");
    let resume = json!({"type": "resume", "id": 2, "session": token(&welcome), "received": 1});
    let (mut polls, first) = Polls::open(&server, json!([resume])).await;
    assert_eq!(
        (&first[0]["type"], &first[0]["received"]),
        (&json!("resumed"), &json!(1))
    );
    assert_eq!(sockets(admin).await, expected("polling"));
    let token = first[0]["session"].as_str().expect("a token").to_owned();
    // Joined by `messages` of a poll.
    let body = json!({"connection": polls.connection, "wait_ms": 0, "messages": [say("by poll")]});
    let reply = good(&server, "poll", &body).await;
    polls.take(&reply);
    heard(&mut ada, "by poll").await;
    let mut client = server.connect().await;
    let resume = crate::sessions::resume(&token, 1);
    let message = tertulia_signaling::protocol::native::ClientMessage::Resume(resume);
    let ServerMessage::Resumed { received, .. } = client.request(message).await else {
        panic!("not resumed");
    };
    assert_eq!(received, 2);
    assert_eq!(sockets(admin).await, expected("websocket"));
    for text in ["by stream", "to the stream", "by poll"] {
        heard(&mut client, text).await;
    }
    // The older socket ended, if not at once.
    while post(&server, "poll", &polls.body(0)).await.0 != 404 {}
}

#[tokio::test]
async fn a_poll_waits_until_there_is_something() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let (mut polls, first) = Polls::open(&server, json!([join("Grace")])).await;
    assert_eq!(first[0]["type"], "welcome");
    let reply = good(&server, "poll", &polls.body(0)).await;
    assert_eq!(polls.take(&reply), Vec::<Value>::new());
    // One that waits is ended by the next.
    let body = polls.body(25_000).to_string();
    let mut waits = request(server.addr, "poll", JSON, &body).await;
    let next = json!({"connection": polls.connection, "wait_ms": 0, "messages": [say("two")]});
    let reply = loop {
        let reply = good(&server, "poll", &next).await;
        polls.take(&reply);
        let mut ended = String::new();
        match timeout(Duration::from_millis(50), waits.read_to_string(&mut ended)).await {
            Ok(read) => {
                read.expect("a reply");
                break parse(&ended);
            }
            // It had not begun to wait.
            Err(_) => continue,
        }
    };
    let reply: Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(reply["messages"], json!([]));
    heard(&mut ada, "two").await;
    let mut waits = request(server.addr, "poll", JSON, &polls.body(25_000).to_string()).await;
    ada.expect_ok(chat("wake up")).await;
    let mut text = String::new();
    let read = timeout(DEADLINE, waits.read_to_string(&mut text)).await;
    read.expect("in time").expect("a reply");
    let woken: Value = serde_json::from_str(&parse(&text).body).expect("JSON");
    let mut told = polls.take(&woken);
    while !told.iter().any(|it| it["message"]["text"] == "wake up") {
        let reply = good(&server, "poll", &polls.body(25_000)).await;
        told = polls.take(&reply);
    }
    // `close` ends the socket, and the session waits.
    let close = json!({"connection": polls.connection, "messages": [], "close": true});
    good(&server, "send", &close).await;
    away(&mut ada).await;
    let (status, reply) = post(&server, "poll", &polls.body(0)).await;
    assert_eq!(
        (status, &reply["code"]),
        (404, &json!("no_such_connection"))
    );
}

#[tokio::test]
async fn messages_go_up_while_many_wait_to_go_down() {
    const DOWN: usize = 300;
    const UP: usize = 60;
    let server = Server::start().await;
    let (mut polls, _) = Polls::open(&server, json!([join("Grace")])).await;
    // Far more than an emulated socket lets wait.
    let rooms = server.node.rooms();
    for number in 0..DOWN {
        let says = ServerSays::Chat {
            name: "Server".into(),
            text: format!("down {number} {}", "x".repeat(1_900)),
        };
        let told = rooms.tell("room", Recipient::Everyone, says).await;
        told.expect("told");
    }
    let messages: Vec<Value> = (0..UP).map(|number| say(&format!("up {number}"))).collect();
    let body = json!({"connection": polls.connection, "wait_ms": 25_000, "messages": messages, "batch": 1});
    let mut told = polls.take(&good(&server, "poll", &body).await);
    let (mut down, mut up) = (0, 0);
    loop {
        for message in told.iter().filter(|it| it["type"] == "chat") {
            let text = message["message"]["text"].as_str().expect("a text");
            let is_next = match text.starts_with("up") {
                true => text == format!("up {up}"),
                false => text.starts_with(&format!("down {down} ")),
            };
            assert!(is_next, "{text:.20} {down} {up}");
            match text.starts_with("up") {
                true => up += 1,
                false => down += 1,
            }
        }
        if (down, up) == (DOWN, UP) {
            return;
        }
        told = polls.take(&good(&server, "poll", &polls.body(25_000)).await);
    }
}

#[tokio::test]
async fn a_batch_that_comes_twice_is_taken_once() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let events = Events::open(&server, json!([join("Grace")])).await;
    for (batch, texts) in [
        (1, ["a", "b"]),
        (1, ["a", "b"]),
        (2, ["c", "d"]),
        (1, ["a", "b"]),
        (2, ["c", "d"]),
    ] {
        let messages = texts.map(say);
        let body = json!({"connection": events.connection, "messages": messages, "batch": batch});
        good(&server, "send", &body).await;
    }
    events.send(&server, json!([say("end")])).await;
    heard(&mut ada, "end").await;
    let history = server.connect().await.join("room", "Late").await.chat;
    let texts: Vec<_> = history.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c", "d", "end"]);
}

#[tokio::test]
async fn who_is_put_out_reads_the_reason_before_the_socket_ends() {
    let server = Server::start().await;
    let mut events = Events::open(&server, json!([join("Grace")])).await;
    let (mut polls, first) = Polls::open(&server, json!([join("Alan")])).await;
    let ids = [
        events.next().await["participant"].clone(),
        first[0]["participant"].clone(),
    ];
    for id in ids {
        let id = id.as_str().expect("an id");
        server
            .node
            .rooms()
            .kick("room", id, "Enough.")
            .await
            .expect("kicked");
    }
    assert_eq!(events.find("bye").await["reason"], "kicked");
    assert_eq!(events.until("\n\n").await, None, "the stream ends");
    let bye = polls.find(&server, "bye").await;
    assert_eq!(bye["message"], "Enough.");
    while post(&server, "poll", &polls.body(0)).await.0 != 404 {}
}

#[tokio::test]
async fn a_silent_client_is_gone_and_one_that_polls_is_not() {
    let server = Server::with(|config| {
        config.limits.ping_interval_ms = 50;
        config.limits.silence_ms = 400;
    })
    .await;
    let (mut polls, _) = Polls::open(&server, json!([join("Alan")])).await;
    let mut events = Events::open(&server, json!([join("Grace")])).await;
    let grace = events.next().await["participant"].clone();
    // Signs of life come, and none goes.
    let silent = async { while events.until("\n\n").await.is_some() {} };
    // This one says no more, but asks. The others hear after a second, for which a poll waits longer than a silence lasts.
    let (presence, ()) = tokio::join!(polls.find(&server, "presence"), silent);
    assert_eq!(
        (&presence["participant"], &presence["connected"]),
        (&grace, &json!(false))
    );
}

#[tokio::test]
async fn the_door_is_that_of_websockets() {
    let server = Server::with(|config| {
        config.limits.connections_per_address = 1;
        config.limits.message_bytes = 20_000;
        config.allowed_origins = vec!["https://app.example.org".into()];
    })
    .await;
    let addr = server.addr;
    let (polls, _) = Polls::open(&server, json!([join("Ada")])).await;
    let reply = post(&server, "events", &json!({"messages": []})).await;
    assert_eq!(
        (reply.0, &reply.1["code"]),
        (429, &json!("connections_per_address"))
    );
    let reply = post(&server, "poll", &json!({"messages": []})).await;
    assert_eq!(reply.0, 429);
    // And no WebSocket is left for it.
    assert!(Client::try_connect(&server.url()).await.is_err());
    let long = json!({"connection": polls.connection, "messages": [say(&"x".repeat(30_000))]});
    let many = json!({"connection": polls.connection, "messages": vec![1; 257]});
    let unknown = json!({"connection": "AAAAAAAAAAAAAAAAAAAAAA", "messages": []});
    for (headers, body, status, code) in [
        ("", "{}", 415, "bad_content_type"),
        (
            "Content-Type: text/plain\r\n",
            "{}",
            415,
            "bad_content_type",
        ),
        (JSON, "", 400, "bad_json"),
        (JSON, "[]", 400, "bad_json"),
        (JSON, r#"{"messages":5}"#, 400, "bad_json"),
        (JSON, r#"{"connection":"x","messages":[}"#, 400, "bad_json"),
        (
            JSON,
            r#"{"connection":"x","messages":[]}"#,
            404,
            "no_such_connection",
        ),
        (JSON, r#"{"messages":[]}"#, 400, "bad_json"),
        (JSON, &unknown.to_string(), 404, "no_such_connection"),
        (JSON, &long.to_string(), 413, "message_too_large"),
        (JSON, &many.to_string(), 400, "bad_json"),
        (
            "Content-Type: application/json; charset=utf-8\r\nOrigin: https://evil.example.org\r\n",
            "{}",
            403,
            "origin_refused",
        ),
    ] {
        let reply = post_with(addr, "send", headers, body).await;
        let answer: Value = serde_json::from_str(&reply.body).expect("JSON");
        assert_eq!(
            (reply.status, &answer["code"]),
            (status, &json!(code)),
            "{body:.60}"
        );
    }
    for (origin, status) in [
        ("https://app.example.org", 204),
        ("https://evil.example.org", 403),
    ] {
        let request = format!(
            "OPTIONS /v1/http/send HTTP/1.0\r\nHost: {addr}\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
        );
        let mut stream = TcpStream::connect(addr).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("request");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reply");
        let reply = parse(&text);
        assert_eq!(reply.status, status, "{origin}");
        assert_eq!(reply.headers["access-control-allow-origin"], "*");
        let allowed = reply.headers.get("access-control-allow-headers");
        assert_eq!(allowed.is_some(), status == 204);
    }
    let close = json!({"connection": polls.connection, "messages": [], "close": true});
    good(&server, "send", &close).await;
    // The place is free again.
    while post(
        &server,
        "poll",
        &json!({"messages": [join("Bob")], "wait_ms": 25_000}),
    )
    .await
    .0 == 429
    {}
    let stopped = server.node.clone();
    let stopped = tokio::spawn(async move { stopped.shutdown().await });
    stopped.await.expect("shutdown");
    let (status, reply) = post(&server, "events", &json!({"messages": []})).await;
    assert_eq!((status, &reply["code"]), (503, &json!("shutting_down")));
}

/// A client that polls is sent the head of an answer each time.
#[tokio::test]
async fn answers_have_no_headers_that_are_for_documents() {
    let server = Server::start().await;
    let (polls, _) = Polls::open(&server, json!([join("Ada")])).await;
    let body = polls.body(0).to_string();
    let unknown = json!({"connection": "AAAAAAAAAAAAAAAAAAAAAA"}).to_string();
    for (path, body, status) in [
        ("poll", &body, 200),
        ("send", &body, 200),
        ("poll", &unknown, 404),
    ] {
        let reply = post_with(server.addr, path, JSON, body).await;
        assert_eq!(reply.status, status, "{path}");
        let mut names: Vec<_> = reply.headers.keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected = [
            "access-control-allow-origin",
            "cache-control",
            "content-length",
            "content-type",
            "date",
            "x-content-type-options",
        ];
        assert_eq!(names, expected, "{path}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn operators_see_sockets_and_sessions() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mut ada = server.join("Ada").await;
    let mut events = Events::open(&server, json!([join("Grace")])).await;
    let welcome = events.next().await;
    let (_polls, _) = Polls::open(&server, json!([join("Alan")])).await;
    let stats = async || -> Value {
        let reply = get(admin, "/stats").await;
        serde_json::from_str(&reply.body).expect("JSON")
    };
    let seen = stats().await;
    assert_eq!(
        seen["sockets"],
        json!({"websocket": 1, "sse": 1, "polling": 1})
    );
    assert_eq!(
        (&seen["sessions"]["open"], &seen["sessions"]["away"]),
        (&json!(2), &json!(0))
    );
    drop(events);
    away(&mut ada).await;
    let seen = stats().await;
    assert_eq!(
        (&seen["sockets"]["sse"], &seen["sessions"]["away"]),
        (&json!(0), &json!(1))
    );
    let resume = json!({"type": "resume", "id": 2, "session": token(&welcome), "received": 1});
    let wrong = json!({"type": "resume", "id": 2, "session": "x", "received": 1});
    let mut events = Events::open(&server, json!([wrong, resume])).await;
    assert_eq!(events.next().await["code"], "no_such_session");
    assert_eq!(events.next().await["type"], "resumed");
    let seen = stats().await["sessions"].clone();
    assert_eq!((&seen["away"], &seen["resumed"]), (&json!(0), &json!(1)));
    assert_eq!(seen["refused"]["no_such_session"], 1);
}

#[tokio::test]
async fn one_request_resumes_a_session_and_leaves() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let reply = good(
        &server,
        "poll",
        &json!({"messages": [join("Grace")], "wait_ms": 5_000}),
    )
    .await;
    let session = &reply["messages"][0]["session"]["token"];
    let goodbye = json!([
        {"type": "resume", "id": 1, "session": session, "fresh": true},
        {"type": "leave", "id": 2},
    ]);
    let reply = good(
        &server,
        "poll",
        &json!({"messages": goodbye, "wait_ms": 5_000}),
    )
    .await;
    assert_eq!(reply["messages"][0]["type"], "resumed");
    let reason = ada.find(|message| match message {
        ServerMessage::ParticipantLeft { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(
        reason.await,
        tertulia_signaling::protocol::native::LeaveReason::Left
    );
    // Said again, it finds nobody.
    let reply = good(
        &server,
        "poll",
        &json!({"messages": goodbye, "wait_ms": 5_000}),
    )
    .await;
    assert_eq!(reply["messages"][0]["code"], "no_such_session");
}

/// A word without a socket: the page of the session with this token is closed.
async fn close_page(server: &Server, token: &str) -> (u16, Value) {
    post(server, "send", &json!({"session": token, "closing": true})).await
}

#[tokio::test]
async fn a_page_that_says_that_it_is_closed_is_waited_for_briefly() {
    const LONG: Duration = Duration::from_secs(600);
    let grace = u32::try_from(LONG.as_millis()).expect("a time");
    let server = Server::with(|config| config.limits.reconnect_grace_ms = grace.into()).await;
    let mut ada = server.join("Ada").await;
    let mut open = Events::open(&server, json!([join("Grace")])).await;
    let mut cut = Events::open(&server, json!([join("Edsger")])).await;
    let tokens = [
        token(&open.find("welcome").await),
        token(&cut.find("welcome").await),
    ];
    drop(cut);
    away(&mut ada).await;
    for token in &tokens {
        assert_eq!(close_page(&server, token).await, (200, json!({})));
    }
    // The socket ends with its page.
    while open.until("\n\n").await.is_some() {}
    let both_left = async {
        for _ in 0..2 {
            ada.find(|message| match message {
                ServerMessage::ParticipantLeft { reason, .. } => Some(*reason),
                _ => None,
            })
            .await;
        }
    };
    timeout(LONG / 2, both_left)
        .await
        .expect("long before the grace ends");
    for token in &tokens {
        let (status, reply) = close_page(&server, token).await;
        assert_eq!((status, &reply["code"]), (404, &json!("no_such_session")));
    }
}

#[tokio::test]
async fn a_late_or_foreign_word_that_a_page_is_closed_does_nothing() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut page = Events::open(&server, json!([join("Grace")])).await;
    let first = token(&page.find("welcome").await);
    // It is closed, and has come back before anybody has missed it.
    assert_eq!(close_page(&server, &first).await, (200, json!({})));
    let resume = json!({"type": "resume", "id": 2, "session": first, "fresh": true});
    let mut page = Events::open(&server, json!([resume])).await;
    let second = page.find("resumed").await["session"].clone();
    let second = second.as_str().expect("a token");
    let (secret, _) = second.split_once('.').expect("two halves");
    let (_, nonce) = first.split_once('.').expect("two halves");
    for (token, expected) in [
        (first.clone(), (409, "session_used")),
        (format!("{secret}.{secret}"), (409, "session_used")),
        (format!("{nonce}.{nonce}"), (404, "no_such_session")),
        ("nonsense".to_owned(), (404, "no_such_session")),
    ] {
        let (status, reply) = close_page(&server, &token).await;
        assert_eq!(
            (status, reply["code"].as_str()),
            (expected.0, Some(expected.1)),
            "{token}"
        );
    }
    page.send(&server, json!([say("still here")])).await;
    heard(&mut ada, "still here").await;
}

#[tokio::test]
async fn a_field_that_a_send_lacks_is_named() {
    let server = Server::start().await;
    for (body, field) in [
        (json!({"messages": []}), "connection"),
        (json!({"closing": true}), "session"),
    ] {
        let (status, reply) = post(&server, "send", &body).await;
        assert_eq!(
            (status, &reply["code"]),
            (400, &json!("bad_json")),
            "{body}"
        );
        assert_eq!(reply["message"], format!("`{field}` is missing."));
    }
}
