//! `tertulia check`, against servers that are well, servers that people do not reach, and strangers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tertulia_signaling::access::{Claims, Keys, new_key_set};
use tertulia_signaling::check::{Options, Report, Row, Verdict, run};
use tertulia_signaling::hooks::Permissions;
use tertulia_signaling::{Config, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::client::DEADLINE;
use crate::process::{Process, tertulia};
use crate::tls::Pair;

/// A server with real media.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    node: Node,
}

impl Server {
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let mut config = Config {
            listen: addr,
            ice_tcp: true,
            media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            media_port: 0,
            workers: 1,
            ..Config::default()
        };
        change(&mut config);
        let node = Node::start(config).expect("node");
        let server = node.clone();
        tokio::spawn(async move { server.serve(listener).await });
        Self { addr, node }
    }

    /// Returns once nobody is left.
    pub(crate) async fn empties(&self) {
        let deadline = Instant::now() + DEADLINE;
        while self.node.counts().participants > 0 {
            assert!(Instant::now() < deadline, "somebody stays");
            tokio::task::yield_now().await;
        }
    }
}

/// Checks by the options that `change` makes.
pub(crate) async fn checked(url: &str, change: impl FnOnce(&mut Options)) -> Report {
    let mut options = Options::default();
    change(&mut options);
    let target = url.parse().expect("a target");
    let report = timeout(DEADLINE * 2, run(&target, &options)).await;
    report.expect("in time").expect("a report")
}

pub(crate) async fn checked_plainly(addr: SocketAddr) -> Report {
    checked(&format!("http://{addr}"), |_| {}).await
}

/// The rows, as `step code`.
fn codes(report: &Report) -> Vec<String> {
    let rows = report.rows.iter();
    rows.map(|row| format!("{} {}", row.step.as_str(), row.code))
        .collect()
}

/// The one row about a step.
pub(crate) fn row<'a>(report: &'a Report, step: &str) -> &'a Row {
    let mut rows = report.rows.iter().filter(|row| row.step.as_str() == step);
    let found = rows.next().unwrap_or_else(|| panic!("no {step}: {report}"));
    assert_eq!(found.verdict == Verdict::Ok, found.advice.is_none());
    found
}

/// Rows of steps that were not tried.
fn untried(steps: &[&str]) -> Vec<String> {
    steps
        .iter()
        .map(|step| format!("{step} not_tried"))
        .collect()
}

const AFTER_HEALTH: [&str; 11] = [
    "page",
    "websocket",
    "events",
    "polling",
    "join",
    "udp4",
    "udp6",
    "ice_tcp",
    "turn_udp",
    "turn_tcp",
    "turn_tls",
];

#[tokio::test]
async fn a_server_that_is_well_is_left_as_it_was() {
    let server = Server::with(|_| {}).await;
    let report = checked_plainly(server.addr).await;
    let expected = [
        "name ok",
        "tcp ok",
        "tls loopback",
        "health ok",
        "page ok",
        "websocket ok",
        "events ok",
        "polling ok",
        "join ok",
        "udp4 ok",
        "ice_tcp ok",
        "turn_tls turn_not_announced",
    ];
    assert_eq!(codes(&report), expected, "{report}");
    assert_eq!(report.outcome.status(), 0);
    for step in ["udp4", "ice_tcp"] {
        let seen = row(&report, step).seen.as_ref().expect("an answer");
        assert!(!seen.nat && seen.mapped == seen.local, "{seen:?}");
    }
    server.empties().await;
}

#[tokio::test]
async fn a_certificate_is_judged_as_browsers_do() {
    let pair = Pair::new();
    let server = Server::with(|config| {
        config.tls_cert = Some(pair.cert());
        config.tls_key = Some(pair.key());
    })
    .await;
    let authority = std::fs::read(pair.cert()).expect("a file");
    let port = server.addr.port();
    let by_name = format!("https://localhost:{port}");
    let by_address = format!("https://{}", server.addr);

    let report = checked(&by_name, |_| {}).await;
    assert_eq!(row(&report, "tls").code, "certificate_self_signed");
    assert_eq!(report.outcome.status(), 1);
    assert_eq!(row(&report, "health").code, "not_tried");
    // `localhost` may be an IPv6 address as well, on which this server does not listen.
    let report = checked(&by_name, |options| {
        options.authorities = Some(authority.clone())
    })
    .await;
    assert_eq!(row(&report, "tls").code, "ok", "{report}");
    assert_eq!(row(&report, "udp4").code, "ok", "{report}");

    let report = checked(&by_address, |options| options.authorities = Some(authority)).await;
    let tls = row(&report, "tls");
    assert_eq!(tls.code, "certificate_wrong_name");
    assert!(tls.found.contains("for localhost"), "{}", tls.found);
    let report = checked(&by_address, |options| options.insecure = true).await;
    assert_eq!(row(&report, "tls").verdict, Verdict::Warning);
    assert_eq!(report.outcome.status(), 0, "{report}");

    let report = checked(&format!("http://{}", server.addr), |_| {}).await;
    assert_eq!(row(&report, "health").code, "redirected", "{report}");
    let plain = Server::with(|_| {}).await;
    let report = checked(&format!("https://{}", plain.addr), |_| {}).await;
    assert_eq!(row(&report, "tls").code, "not_tls", "{report}");
    let target = by_address.parse().expect("a target");
    let mut options = Options::default();
    options.authorities = Some(b"nothing".to_vec());
    assert!(run(&target, &options).await.is_err());
}

#[tokio::test]
async fn a_port_without_a_server_or_with_a_silent_one_is_told() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    let secure = format!("https://{addr}");
    let (plain, secure) = tokio::join!(checked_plainly(addr), checked(&secure, |_| {}));
    let mut expected = ["name ok", "tcp ok", "tls loopback", "health http_silent"]
        .map(str::to_owned)
        .to_vec();
    expected.extend(untried(&AFTER_HEALTH));
    assert_eq!(codes(&plain), expected);
    assert_eq!(row(&secure, "tls").code, "tls_silent");

    drop(listener);
    let report = checked_plainly(addr).await;
    assert_eq!(row(&report, "tcp").code, "tcp_refused");
    assert_eq!(report.outcome.status(), 1);
    assert_eq!(row(&report, "tls").code, "not_tried");
}

#[tokio::test]
async fn closed_udp_is_named_with_its_port_and_whether_tcp_lets_people_in() {
    // Takes datagrams, and answers none.
    let swallows = UdpSocket::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = swallows.local_addr().expect("address");
    let announce = |config: &mut Config| config.media_announce = vec![addr];
    let with_tcp = Server::with(announce).await;
    let without = Server::with(|config| {
        announce(config);
        config.ice_tcp = false;
    })
    .await;
    let (with_tcp, without) = tokio::join!(
        checked_plainly(with_tcp.addr),
        checked_plainly(without.addr)
    );
    let udp = row(&with_tcp, "udp4");
    assert_eq!((udp.code, with_tcp.outcome.status()), ("udp_silent", 3));
    let advice = udp.advice.as_ref().expect("an advice");
    let port = format!("UDP port {} is closed on the way", addr.port());
    assert!(
        advice.contains(&port) && advice.contains("over TCP port"),
        "{advice}"
    );
    assert_eq!(row(&with_tcp, "ice_tcp").code, "ok");

    let udp = row(&without, "udp4");
    assert_eq!((udp.code, without.outcome.status()), ("udp_silent", 1));
    assert!(!udp.advice.as_ref().expect("an advice").contains("TCP"));
    assert_eq!(row(&without, "ice_tcp").code, "not_announced");

    // Nobody has the port.
    drop(swallows);
    let refuses = Server::with(|config| config.media_announce = vec![addr]).await;
    let report = checked_plainly(refuses.addr).await;
    assert_eq!(row(&report, "udp4").code, "udp_refused", "{report}");
}

#[tokio::test]
async fn without_a_token_all_is_told_that_needs_none() {
    let set = new_key_set("1");
    let keys = Keys::from_json(&set).expect("keys");
    let server = Server::with(|config| config.keys = Some(keys.clone())).await;
    let report = checked_plainly(server.addr).await;
    let join = row(&report, "join");
    assert_eq!(
        (join.code, join.verdict),
        ("token_required", Verdict::Skipped)
    );
    assert!(
        join.advice
            .as_ref()
            .expect("an advice")
            .contains("tertulia token")
    );
    assert_eq!(row(&report, "websocket").code, "ok");
    assert_eq!(
        (row(&report, "udp4").code, report.outcome.status()),
        ("not_tried", 3)
    );

    let url = format!("http://{}", server.addr);
    let issue = |keys: &Keys| {
        let claims = Claims::join("hall", Permissions::listener());
        keys.issue(&claims, DEADLINE * 10, None).expect("a token")
    };
    let report = checked(&url, |options| options.token = Some(issue(&keys))).await;
    assert_eq!(report.outcome.status(), 0, "{report}");
    assert!(row(&report, "join").found.contains("room hall"));
    let others = Keys::from_json(&new_key_set("1")).expect("keys");
    for token in [issue(&others).as_str(), "x", "", "a.b.c"] {
        let report = checked(&url, |options| options.token = Some(token.into())).await;
        assert_eq!(row(&report, "join").code, "token_refused", "{report}");
        assert_eq!(report.outcome.status(), 1);
    }
    server.empties().await;
}

/// A proxy that takes the upgrade to a WebSocket away.
async fn without_upgrades(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = head(&mut client).await;
                let mut server = TcpStream::connect(server).await.expect("connect");
                let head = head.replace("Upgrade: websocket\r\n", "");
                let head = head.replace("Connection: Upgrade\r\n", "");
                server.write_all(head.as_bytes()).await.expect("write");
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    addr
}

/// Reads up to the end of a request's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("text")
}

#[tokio::test]
async fn where_no_websocket_gets_through_the_join_goes_over_polls() {
    let server = Server::with(|config| config.ice_tcp = false).await;
    let proxy = without_upgrades(server.addr).await;
    let report = checked_plainly(proxy).await;
    assert_eq!(row(&report, "websocket").code, "no_upgrade", "{report}");
    for step in ["events", "polling", "join", "udp4"] {
        assert_eq!(row(&report, step).code, "ok", "{report}");
    }
    assert_eq!(report.outcome.status(), 3);
    server.empties().await;
}

/// Somebody who answers every request with these bytes, and then says nothing. Counts its connections.
async fn stranger(bytes: impl Into<Vec<u8>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let bytes: Arc<[u8]> = bytes.into().into();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let bytes = bytes.clone();
            tokio::spawn(async move {
                if head(&mut client).await.is_empty() {
                    return;
                }
                let _ = client.write_all(&bytes).await;
                // Until the client goes.
                let _ = client.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    (addr, count)
}

#[tokio::test]
async fn strangers_are_named_and_asked_nothing_more() {
    let ok = "HTTP/1.1 200 OK\r\nServer: \u{202e}nginx\r\nContent-Type: text/html\r\n";
    let page = format!("{ok}Content-Length: 5\r\n\r\nhello");
    let endless = format!("{ok}\r\n{}", "x".repeat(4 << 20));
    let nested = format!("{ok}\r\n{}", "[".repeat(60 << 10));
    let long_head = format!("{ok}X: {}\r\n\r\n", "x".repeat(1 << 20));
    let moved =
        "HTTP/1.1 301 Moved\r\nLocation: https://other.example/\r\nContent-Length: 0\r\n\r\n";
    let gateway = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    for (bytes, code) in [
        (page.as_bytes(), "not_tertulia"),
        (endless.as_bytes(), "not_tertulia"),
        (nested.as_bytes(), "not_tertulia"),
        (moved.as_bytes(), "redirected"),
        (gateway.as_bytes(), "proxy_without_server"),
        (long_head.as_bytes(), "not_http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_http"),
        (b"\x15\x03\x01\0\x02\x02\x50", "not_http"),
    ] {
        let (addr, connections) = stranger(bytes).await;
        let report = checked_plainly(addr).await;
        let health = row(&report, "health");
        assert_eq!(health.code, code, "{report}");
        assert!(!report.to_string().contains('\u{202e}'));
        assert_eq!(report.outcome.status(), 1);
        assert_eq!(row(&report, "join").code, "not_tried");
        // One to see that it listens, one to ask.
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }
}

/// Somebody who passes for Tertulia, and says this in a WebSocket once a message has come.
async fn liar(messages: Vec<Message>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let messages = messages.clone();
            tokio::spawn(async move {
                let asked = head(&mut client).await;
                let key = asked
                    .lines()
                    .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
                if let Some(key) = key {
                    let accept = derive_accept_key(key.as_bytes());
                    let answer = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n\r\n"
                    );
                    let _ = client.write_all(answer.as_bytes()).await;
                    let mut socket =
                        WebSocketStream::from_raw_socket(client, Role::Server, None).await;
                    let _ = socket.next().await;
                    for message in messages {
                        let _ = socket.send(message).await;
                    }
                    while let Some(Ok(_)) = socket.next().await {}
                    return;
                }
                let health = json!({"status": "ok", "rooms": 0, "participants": 0, "version": "9\u{202e}\n"});
                let body = match asked.starts_with("GET /healthz") {
                    true => health.to_string(),
                    false => "{\"code\":7}".repeat(100_000),
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = client.write_all(answer.as_bytes()).await;
                let _ = client.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    addr
}

fn answer(sdp: &str) -> Message {
    let answer = json!({
        "type": "answer", "id": 1, "sdp": sdp, "published": [], "slots": [],
        "needs": {"audio": 0, "video": 0},
    });
    Message::text(answer.to_string())
}

#[tokio::test]
async fn a_liar_makes_it_neither_hang_nor_panic() {
    let error = json!({
        "type": "error", "code": "\x1b[2J".repeat(1_000), "message": "x".repeat(100_000), "fatal": true,
    });
    let ice = "a=ice-ufrag:u\r\na=ice-pwd:p\r\n";
    for (messages, code) in [
        (vec![Message::text("[".repeat(1 << 20))], "no_answer"),
        (vec![Message::text("x".repeat(5 << 20))], "no_answer"),
        (
            vec![Message::binary(vec![0; 1 << 20]), Message::Close(None)],
            "no_answer",
        ),
        (
            vec![Message::text("{\"type\":\"hologram\"}"); 2_000],
            "no_answer",
        ),
        (vec![Message::text(error.to_string())], "join_refused"),
        (vec![answer("")], "bad_answer"),
        (vec![answer(ice)], "no_candidates"),
        (
            vec![answer(&format!(
                "{ice}a=candidate:1 1 udp 1 ::g 1 typ host\r\n"
            ))],
            "no_candidates",
        ),
    ] {
        let addr = liar(messages).await;
        let report = checked_plainly(addr).await;
        assert_eq!(row(&report, "join").code, code, "{report}");
        let text = report.to_string() + &report.to_json();
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}') && text.len() < 10_000);
        assert_eq!(report.outcome.status(), 1);
    }
}

/// Somebody who answers checks without knowing the password is not the server.
#[tokio::test]
async fn another_programs_answers_are_no_way_in() {
    let udp = UdpSocket::bind(("127.0.0.1", 0)).await.expect("bind");
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let ports = [udp.local_addr(), tcp.local_addr()].map(|it| it.expect("address").port());
    tokio::spawn(async move {
        let mut bytes = [0; 2_048];
        while let Ok((len, from)) = udp.recv_from(&mut bytes).await {
            // The check itself as a success, without an address.
            bytes[0] = 1;
            bytes[1] = 1;
            let _ = udp.send_to(&bytes[..len], from).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let _ = stream.write_all(&[0xff; 4_096]).await;
        }
    });
    let sdp = format!(
        "a=ice-ufrag:u\r\na=ice-pwd:p\r\na=candidate:1 1 udp 1 127.0.0.1 {} typ host\r\n\
         a=candidate:2 1 tcp 1 127.0.0.1 {} typ host tcptype passive\r\n",
        ports[0], ports[1],
    );
    let report = checked_plainly(liar(vec![answer(&sdp)]).await).await;
    assert_eq!(row(&report, "udp4").code, "foreign_answer", "{report}");
    assert_eq!(
        row(&report, "ice_tcp").code,
        "tcp_not_passed_on",
        "{report}"
    );
    assert_eq!(report.outcome.status(), 1);
}

/// Runs the binary, and returns its exit status and what it printed.
async fn command(arguments: &[&str]) -> (Option<i32>, String, String) {
    command_with(arguments, &[]).await
}

async fn command_with(
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tertulia"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TERTULIA_") {
            command.env_remove(name);
        }
    }
    let run = command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE * 2, run)
        .await
        .expect("an end")
        .expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn the_command_prints_a_table_or_json_and_exits_by_the_outcome() {
    let folder = TempDir::new().expect("a folder");
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, new_key_set("1")).expect("a file");
    let keys = keys.to_str().expect("a path");
    let ports = [
        "--listen",
        "127.0.0.1:0",
        "--media-port",
        "0",
        "--keys",
        keys,
    ];
    let server = Process::spawn(tertulia(&ports)).await;
    let url = format!("http://{}", server.addr);

    let (status, out, err) = command(&["check", &url]).await;
    assert_eq!((status, &*err), (Some(3), ""));
    for words in ["udp4", "tertulia token", "not tried: udp4", "Some of it"] {
        assert!(out.contains(words), "{out}");
    }
    let (status, out, err) = command(&["check", &url, "--json", "--keys", keys]).await;
    assert_eq!((status, &*err), (Some(0), ""), "{out}");
    assert_eq!(out.matches('\n').count(), 1);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (&json["outcome"], &json["rows"][0]["code"]),
        (&"well".into(), &"ok".into())
    );
    let (status, out, _) = command(&["check", &url, "--token", "x"]).await;
    assert_eq!(status, Some(1), "{out}");

    // A token that others do not see among the arguments of the process.
    let set = Keys::from_file(keys.as_ref()).expect("keys");
    let claims = Claims::join("hall", Permissions::listener());
    let token = set.issue(&claims, DEADLINE * 10, None).expect("a token");
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", token.as_str())).expect("a file");
    let file = file.to_str().expect("a path");
    let (status, out, err) = command(&["check", &url, "--token-file", file]).await;
    assert_eq!((status, &*err), (Some(0), ""), "{out}");
    let variable = [("TERTULIA_CHECK_TOKEN", token.as_str())];
    let (status, out, err) = command_with(&["check", &url], &variable).await;
    assert_eq!((status, &*err), (Some(0), ""), "{out}");
    assert!(out.contains("room hall") && !out.contains(token.as_str()));
    let (status, _, err) = command_with(&["check", &url], &[("TERTULIA_CHECK_TOKEN", " ")]).await;
    assert_eq!(status, Some(1));
    assert!(err.contains("TERTULIA_CHECK_TOKEN"), "{err}");

    for (arguments, status, words) in [
        (&["check"][..], 2, "<URL>"),
        (&["check", "call.example.org"], 2, "https://"),
        (
            &["check", "https://call.example.org", "--ca", "/none"],
            1,
            "--ca /none",
        ),
        (
            &["check", "https://call.example.org", "--ca", keys],
            1,
            "certificate",
        ),
        (
            &["check", "https://call.example.org", "--keys", "/none"],
            1,
            "/none",
        ),
        (
            &["check", "https://a.b", "--token-file", "/none"],
            1,
            "--token-file /none",
        ),
        (
            &["check", "https://a.b", "--token", "x", "--token-file", keys],
            2,
            "--token",
        ),
    ] {
        let (code, out, err) = command(arguments).await;
        assert_eq!((code, &*out), (Some(status), ""), "{err}");
        assert!(err.contains(words), "{err}");
    }
}
