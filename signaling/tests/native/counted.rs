//! Refusals: each is counted under its code, and the log says whom it meets.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tertulia_signaling::protocol::native::{ClientMessage, Join, Moderate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, join};
use crate::http::{get, parse};
use crate::limits::entrant;
use crate::moderation::{House, admit, ban, deny, moderate};
use crate::reload::Told;
use crate::server::Server;
use crate::sessions::resume;

/// The counts of `/stats` under this name that are not 0.
pub(crate) async fn counted(admin: SocketAddr, name: &str) -> Value {
    let stats: Value = serde_json::from_str(&get(admin, "/stats").await.body).expect("JSON");
    let counts = stats[name].as_object().expect("counts").clone();
    Value::Object(counts.into_iter().filter(|(_, it)| *it != 0).collect())
}

/// A request without a body. Returns the status.
async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &str) -> u16 {
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("reply");
    parse(&text).status
}

#[tokio::test]
async fn each_refused_join_is_counted_under_its_code() {
    let server = Server::with(|config| {
        config.limits.rooms = 1;
        config.limits.participants_per_room = 1;
    })
    .await;
    let admin = server.admin().await;
    let _ada = server.join("Ada").await;
    let mut bob = server.connect().await;
    let old = Join {
        version: 0,
        ..join("room", "Bob")
    };
    for (wish, code) in [
        (join("room", "Bob"), "room_full"),
        (join("other", "Bob"), "server_full"),
        (join("no room", "Bob"), "bad_field"),
        (join("room", ""), "bad_field"),
        (old, "bad_version"),
    ] {
        assert_eq!(bob.refusal(ClientMessage::Join(wish)).await.code, code);
    }
    let mut expected = json!({"room_full": 1, "server_full": 1, "bad_field": 2, "bad_version": 1});
    assert_eq!(counted(admin, "joins_refused").await, expected);
    server.node.shutdown().await;
    let late = server.node.rooms().join("room", entrant("Late")).await;
    assert_eq!(late.err().map(|it| it.code), Some("shutting_down"));
    expected["shutting_down"] = 1.into();
    assert_eq!(counted(admin, "joins_refused").await, expected);
}

#[tokio::test]
async fn a_refused_socket_is_counted_as_a_refused_join_and_a_question_about_it_is_not() {
    let server = Server::with(|config| config.limits.connections = 1).await;
    let admin = server.admin().await;
    let mut ada = server.join("Ada").await;
    assert!(Client::try_connect(&server.url()).await.is_err());
    let json = "Content-Type: application/json\r\n";
    assert_eq!(ask(server.addr, "POST", "/v1/ws", json).await, 503);
    for path in ["/v1/http/events", "/v1/http/poll"] {
        ask(server.addr, "POST", path, json).await;
    }
    // The body of a poll is read before its socket is made, and is not as it should be.
    let expected = json!({"server_full": 2});
    assert_eq!(counted(admin, "joins_refused").await, expected);
    ada.expect_pong().await;
}

#[tokio::test]
async fn those_who_wait_are_counted_when_their_room_ends_or_they_are_refused() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let on = moderate(Moderate::WaitingRoom { on: true });
    boss.expect_ok(on).await;
    let (mut eve, waits) = house.waiter("Eve", &mut boss).await;
    boss.expect_ok(deny(&waits)).await;
    assert_eq!(eve.next_refusal().await.code, "denied");
    let (mut bob, _) = house.waiter("Bob", &mut boss).await;
    boss.send(moderate(Moderate::End)).await;
    assert_eq!(bob.next_refusal().await.code, "room_closed");
    let counts = house.server.node.rooms().joins_refused();
    let counts: BTreeMap<_, _> = counts.into_iter().filter(|(_, it)| *it > 0).collect();
    assert_eq!(counts, [("denied", 1), ("room_closed", 1)].into());
}

#[tokio::test]
async fn requests_by_a_strange_name_or_origin_are_counted() {
    let server =
        Server::with(|config| config.allowed_hosts = vec!["call.example.org".into()]).await;
    let admin = server.admin().await;
    assert_eq!(counted(admin, "requests_refused").await, json!({}));
    let host = "Host: evil.example.org\r\n";
    let origin = "Host: call.example.org\r\nOrigin: https://evil.example.org\r\n";
    for (addr, method, path, headers, status) in [
        (admin, "GET", "/stats", host, 421),
        (server.addr, "GET", "/v1/ws", host, 421),
        (server.addr, "GET", "/v1/ws", origin, 403),
        (server.addr, "OPTIONS", "/v1/http/poll", origin, 403),
        (server.addr, "POST", "/v1/http/events", origin, 403),
        // A page asks why.
        (server.addr, "POST", "/v1/ws", host, 421),
        (server.addr, "POST", "/v1/ws", origin, 403),
    ] {
        assert_eq!(
            ask(addr, method, path, headers).await,
            status,
            "{method} {path}"
        );
    }
    let expected = json!({"host_refused": 2, "origin_refused": 3});
    assert_eq!(counted(admin, "requests_refused").await, expected);
    assert_eq!(counted(admin, "joins_refused").await, json!({}));
}

#[tokio::test]
async fn the_log_says_whom_a_room_and_a_session_refuse() {
    let mut server = Told::start(&["--trusted-proxy", "127.0.0.1"]).await;
    let url = server.process.url();
    let from = async |address| {
        Client::connect_from(&url, address)
            .await
            .expect("connected")
    };
    let mut boss = server.process.join("Boss").await;
    let rule = async |boss: &mut Client, rule| boss.expect_ok(moderate(rule)).await;
    let wish = |name| ClientMessage::Join(join("room", name));

    rule(&mut boss, Moderate::Lock { on: true }).await;
    from("192.0.2.1").await.refusal(wish("Ada")).await;
    let line = server.line("join refused").await;
    let who = "join refused: The room is locked. room=room code=\"room_locked\" address=192.0.2.1";
    assert!(line.ends_with(who), "{line}");
    rule(&mut boss, Moderate::Lock { on: false }).await;

    rule(&mut boss, Moderate::WaitingRoom { on: true }).await;
    let mut ids = Vec::new();
    let mut waiters = Vec::new();
    for address in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        let mut waiter = from(address).await;
        waiter.send(wish("Eve")).await;
        ids.push(crate::moderation::waits(&mut boss).await);
        waiters.push(waiter);
    }
    boss.expect_ok(admit(&ids[0])).await;
    boss.expect_ok(ban(&ids[0])).await;
    from("192.0.2.2").await.refusal(wish("Eve")).await;
    boss.expect_ok(deny(&ids[1])).await;
    boss.send(moderate(Moderate::End)).await;
    for (code, address) in [
        ("banned", "192.0.2.2"),
        ("denied", "192.0.2.3"),
        ("room_closed", "192.0.2.4"),
    ] {
        let line = server.line("join refused: ").await;
        let who = format!("code=\"{code}\" address={address}");
        assert!(line.ends_with(&who), "{line}");
    }

    let resume = resume("AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA", 1);
    let mut late = from("192.0.2.5").await;
    late.refusal(ClientMessage::Resume(resume)).await;
    let line = server.line("session not resumed").await;
    let who = "session not resumed address=192.0.2.5 code=\"no_such_session\"";
    assert!(line.ends_with(who), "{line}");
}
