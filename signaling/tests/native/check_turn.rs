//! `tertulia check` by way of TURN: the server's own, coturn, and servers that refuse.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use tempfile::TempDir;
use tertulia_signaling::check::{Report, Verdict};
use tertulia_signaling::config::{IceSecret, IceServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::check::{Server, checked, checked_plainly, row};
use crate::client::DEADLINE;
use crate::tls::Pair;

/// Takes datagrams, and answers none.
async fn swallows() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = socket.local_addr().expect("address");
    (socket, addr)
}

/// The codes of the rows about TURN, each with its address.
fn turns(report: &Report) -> Vec<(&'static str, &str)> {
    let rows = report.rows.iter();
    let turns = rows.filter(|row| row.step.as_str().starts_with("turn_"));
    turns.map(|row| (row.code, row.found.as_str())).collect()
}

#[tokio::test]
async fn where_no_udp_gets_through_the_own_turn_lets_people_in() {
    let pair = Pair::new();
    let authority = std::fs::read(pair.cert()).expect("a file");
    let (_socket, closed) = swallows().await;
    let server = Server::with(|config| {
        config.tls_cert = Some(pair.cert());
        config.tls_key = Some(pair.key());
        config.media_announce = vec![closed];
        config.ice_tcp = false;
        config.turn = true;
    })
    .await;
    let url = format!("https://localhost:{}", server.addr.port());
    let report = checked(&url, |options| options.authorities = Some(authority)).await;
    let turn = row(&report, "turn_tls");
    assert_eq!(turn.code, "ok", "{report}");
    assert!(turn.found.starts_with("turns:localhost:"), "{}", turn.found);
    // The relayed address, which is nobody's.
    let seen = turn.seen.as_ref().expect("an answer");
    assert!(turn.found.ends_with(&seen.mapped.to_string()), "{report}");
    let udp = row(&report, "udp4");
    let advice = udp.advice.as_ref().expect("an advice");
    assert!(advice.contains("get in by TURN on TCP port"), "{advice}");
    assert_eq!(report.outcome.status(), 3);
    server.empties().await;
}

#[tokio::test]
async fn the_certificate_of_turn_is_judged_by_its_own_name() {
    let pair = Pair::new();
    let authority = std::fs::read(pair.cert()).expect("a file");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    let server = Server::with(|config| {
        config.tls_cert = Some(pair.cert());
        config.tls_key = Some(pair.key());
        config.turn = true;
        // The certificate is for localhost.
        config.turn_address = Some(addr.to_string());
    })
    .await;
    let to = server.addr;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.expect("connect");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let url = format!("https://localhost:{}", server.addr.port());
    let own = authority.clone();
    let report = checked(&url, |options| options.authorities = Some(own)).await;
    assert_eq!(row(&report, "tls").code, "ok", "{report}");
    let turn = row(&report, "turn_tls");
    assert_eq!(turn.code, "certificate_wrong_name", "{report}");
    assert_eq!(report.outcome.status(), 3);
    // It is reached so, and no browser would.
    let report = checked(&url, |options| {
        options.authorities = Some(authority);
        options.insecure = true;
    })
    .await;
    let turn = row(&report, "turn_tls");
    assert_eq!(turn.verdict, Verdict::Warning, "{report}");
    assert_eq!(turn.code, "certificate_wrong_name", "{report}");
    server.empties().await;
}

/// A TURN server of another operator, which takes users by the secret `north`. Killed when dropped.
struct Coturn {
    port: u16,
    _child: Child,
    _folder: TempDir,
}

impl Coturn {
    async fn start(more: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let port = free.expect("a port").local_addr().expect("a port").port();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let child = Command::new("turnserver")
            .args(["-n", "--no-tls", "--no-dtls", "--no-cli"])
            .args(["--use-auth-secret", "--static-auth-secret=north"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
            .arg("--realm=turn.example.org")
            .arg(format!("--listening-port={port}"))
            .arg(format!("--pidfile={}", place("pid")))
            .arg(format!("--userdb={}", place("db")))
            .arg(format!("--log-file={}", place("log")))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("turnserver, of Debian's package coturn");
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "it does not start");
            tokio::task::yield_now().await;
        }
        Self {
            port,
            _child: child,
            _folder: folder,
        }
    }

    fn url(&self, transport: &str) -> String {
        format!("turn:127.0.0.1:{}?transport={transport}", self.port)
    }
}

/// An entry of `ice_servers` by a secret.
fn by_secret(secret: &str, urls: impl IntoIterator<Item = String>) -> IceServer {
    IceServer {
        urls: urls.into_iter().collect(),
        secret: Some(IceSecret::from(secret)),
        ..IceServer::default()
    }
}

#[tokio::test]
async fn another_operators_turn_is_tried_with_the_users_that_participants_get() {
    let coturn = Coturn::start(&["--allow-loopback-peers"]).await;
    let urls = ["udp", "tcp"].map(|transport| coturn.url(transport));
    let well = Server::with(|config| config.ice_servers = vec![by_secret("north", urls.clone())]);
    let well = well.await;
    let report = checked_plainly(well.addr).await;
    for (step, url) in ["turn_udp", "turn_tcp"].iter().zip(&urls) {
        let row = row(&report, step);
        assert!(row.code == "ok" && row.found.starts_with(url), "{report}");
        let seen = row.seen.as_ref().expect("an answer");
        assert!(
            seen.nat && row.found.ends_with(&seen.mapped.to_string()),
            "{report}"
        );
    }
    assert_eq!(report.outcome.status(), 0);
    well.empties().await;

    // Another secret than coturn's.
    let wrong = Server::with(|config| config.ice_servers = vec![by_secret("south", urls.clone())]);
    let wrong = wrong.await;
    let report = checked_plainly(wrong.addr).await;
    let codes = urls.iter().map(|url| ("turn_unauthorized", url.as_str()));
    assert_eq!(turns(&report), codes.collect::<Vec<_>>(), "{report}");

    // Media that the relay does not reach.
    let (_socket, closed) = swallows().await;
    let silent = Server::with(|config| {
        config.media_announce = vec![closed];
        config.ice_servers = vec![by_secret("north", urls.clone())];
    })
    .await;
    let report = checked_plainly(silent.addr).await;
    let codes = urls.iter().map(|url| ("turn_media_silent", url.as_str()));
    assert_eq!(turns(&report), codes.collect::<Vec<_>>(), "{report}");

    // coturn sends nothing to loopback addresses by default.
    let strict = Coturn::start(&[]).await;
    let forbidden = Server::with(|config| {
        config.ice_servers = vec![by_secret("north", [strict.url("tcp")])];
    })
    .await;
    let report = checked_plainly(forbidden.addr).await;
    let url = strict.url("tcp");
    assert_eq!(turns(&report), [("turn_peer_forbidden", &*url)], "{report}");
}

/// Answers each datagram as a request that is refused with this code.
async fn refuses(code: u16) -> String {
    let (socket, addr) = swallows().await;
    tokio::spawn(async move {
        let mut bytes = [0; 2_048];
        while let Ok((_, from)) = socket.recv_from(&mut bytes).await {
            let mut answer = vec![1, bytes[1] | 0x10, 0, 8];
            answer.extend(&bytes[4..20]);
            answer.extend([0, 9, 0, 4, 0, 0, (code / 100) as u8, (code % 100) as u8]);
            let _ = socket.send_to(&answer, from).await;
        }
    });
    format!("turn:{addr}?transport=udp")
}

/// Answers what comes first with these bytes.
async fn says(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = client.read_u8().await;
                let _ = client.write_all(bytes).await;
                let _ = client.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    addr
}

#[tokio::test]
async fn each_way_in_which_turn_fails_has_its_cause() {
    let (free, refused) = swallows().await;
    drop(free);
    let (_socket, silent) = swallows().await;
    let http = says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let hangs = says(b"").await;
    let mut expected = vec![
        (format!("turn:{refused}?transport=udp"), "turn_refused"),
        (format!("turn:{refused}?transport=tcp"), "turn_refused"),
        (format!("turn:{silent}?transport=udp"), "turn_timed_out"),
        (format!("turn:{http}?transport=tcp"), "turn_not_passed_on"),
        (format!("turn:{hangs}?transport=tcp"), "turn_not_passed_on"),
        (format!("turns:{http}?transport=tcp"), "turn_not_tls"),
        (format!("turns:{hangs}?transport=udp"), "turn_over_dtls"),
        (
            "turn:nobody.invalid?transport=tcp".to_owned(),
            "turn_name_unknown",
        ),
    ];
    let check = async |expected: Vec<(String, &'static str)>| {
        let urls = expected.iter().map(|(url, _)| url.clone());
        let server = by_secret("north", urls.collect::<Vec<_>>());
        let server = Server::with(|config| config.ice_servers = vec![server]).await;
        let report = checked_plainly(server.addr).await;
        let wanted = expected.iter().map(|(url, code)| (*code, url.as_str()));
        assert_eq!(turns(&report), wanted.collect::<Vec<_>>(), "{report}");
        assert_eq!(report.outcome.status(), 3);
        assert!(!report.to_json().contains("north"));
    };
    check(std::mem::take(&mut expected)).await;
    for (code, named) in [
        (403, "turn_forbidden"),
        (437, "turn_mismatch"),
        (486, "turn_quota"),
        (508, "turn_capacity"),
        (300, "turn_error"),
        (401, "turn_unauthorized"),
    ] {
        expected.push((refuses(code).await, named));
    }
    check(expected).await;
}
