//! Attacks by HTTP.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::arena::{Arena, Attack, Said, said};
use crate::http::{PATIENCE, ask, connect, get};
use crate::server::Start;

pub(crate) const ATTACKS: [Attack; 6] = [
    Attack::new("connections that do not read", |arena| {
        Box::pin(unread(arena))
    }),
    Attack::new("pages of other sites", |arena| Box::pin(origins(arena))),
    Attack::new("foreign names of hosts", |arena| Box::pin(hosts(arena))),
    Attack::new("paths out of the page's folder", |arena| {
        Box::pin(paths(arena))
    }),
    Attack::new("idle connections", |arena| Box::pin(idle(arena))),
    Attack::new("heads that drip", |arena| Box::pin(drip(arena))),
];

/// Descriptors run out in mid-call: a server that may have few of them.
pub(crate) const FEW_DESCRIPTORS: [Attack; 1] = [Attack::new("all descriptors taken", |arena| {
    Box::pin(descriptors(arena))
})
.on(Start {
    before: "ulimit -n 300",
    ..Start::PLAIN
})];

/// Each asks for a file again and again, and reads no answer.
async fn unread(arena: &Arena) -> Said {
    let count = arena.many(1_100, 150);
    let request = "GET /client/transport.js HTTP/1.1\r\nHost: here\r\n\r\n".repeat(400);
    let from = arena.address();
    let small = |socket: &tokio::net::TcpSocket| {
        socket.set_recv_buffer_size(4_096).expect("buffer size");
    };
    let mut asking = Vec::new();
    for _ in 0..count {
        let stream = connect(from, arena.server.addr, small).await;
        let Ok(mut stream) = stream else { continue };
        let request = request.clone();
        asking.push(tokio::spawn(async move {
            while stream.write_all(request.as_bytes()).await.is_ok() {}
        }));
    }
    let opened = asking.len();
    let began = Instant::now();
    let ended = closed(asking).await;
    assert_eq!(ended, opened, "connections live on though nobody reads");
    said(
        format!("{opened} connections"),
        format!("all closed within {:.1} s", began.elapsed().as_secs_f64()),
    )
}

/// How many of these have ended, in time.
async fn closed(tasks: Vec<tokio::task::JoinHandle<()>>) -> usize {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut ended = 0;
    for mut task in tasks {
        match tokio::time::timeout_at(deadline, &mut task).await {
            Ok(_) => ended += 1,
            Err(_) => task.abort(),
        }
    }
    ended
}

/// An origin of 6 KB on each request of one connection.
async fn origins(arena: &Arena) -> Said {
    let stream = connect(arena.address(), arena.server.addr, |_| {}).await;
    let mut stream = stream.expect("a connection");
    let origin = "a".repeat(6_000);
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: here\r\nOrigin: http://{origin}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    let log = arena.server.log_bytes();
    let (start, mut count, mut buffer) = (Instant::now(), 0_u64, vec![0; 16_384]);
    while start.elapsed() < arena.during() {
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a connection");
        let mut answer = Vec::new();
        // The last word of the answer.
        while !answer.ends_with(b"}") {
            let read = timeout(PATIENCE, stream.read(&mut buffer)).await;
            let len = read.expect("in time").expect("a connection");
            assert!(len > 0, "closed");
            answer.extend_from_slice(&buffer[..len]);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.contains(" 403 ") && answer.contains("origin_refused"),
            "{answer}"
        );
        count += 1;
    }
    let log = arena.server.log_bytes() - log;
    assert!(log < 64 << 10, "{log} bytes of log");
    let rate = count as f64 / start.elapsed().as_secs_f64();
    said(
        format!("{rate:.0} requests a second with an origin of 6 KB"),
        format!("origin_refused, {log} bytes of log"),
    )
}

/// The counters are asked for by a name that leads here by DNS rebinding.
async fn hosts(arena: &Arena) -> Said {
    let (start, mut count) = (Instant::now(), 0_u64);
    let from = arena.address();
    while start.elapsed() < arena.during() / 2 {
        for path in ["/stats", "/stats?room=call", "/timeline?room=call"] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: evil.example.org\r\nConnection: close\r\n\r\n"
            );
            let answer = ask(from, arena.server.admin, &request)
                .await
                .expect("an answer");
            assert_eq!(answer.status, 421);
            assert!(answer.body.contains("host_refused"), "{}", answer.body);
            count += 1;
        }
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    said(
        format!("{rate:.0} requests a second to the admin listener"),
        "host_refused",
    )
}

async fn paths(arena: &Arena) -> Said {
    let from = arena.address();
    let mut count = 0;
    for path in [
        "/../../../../etc/passwd",
        "/client/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2f..%2fetc/passwd",
        "/client/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/....//....//....//etc/passwd",
        "//etc/passwd",
        "/etc/passwd%00.js",
        "/..\\..\\..\\etc\\passwd",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        let answer = ask(from, arena.server.addr, &request)
            .await
            .expect("an answer");
        assert!(!answer.body.contains("root:"), "{path}");
        assert_ne!(answer.status, 500, "{path}");
        count += 1;
    }
    said(format!("{count} paths"), "nothing of them")
}

/// They say nothing.
async fn idle(arena: &Arena) -> Said {
    let count = arena.many(5_000, 600);
    let streams = open(arena, count).await;
    until_closed(arena, streams, "").await
}

/// They send a head of a request, a byte at a time.
async fn drip(arena: &Arena) -> Said {
    let count = arena.many(3_000, 300);
    let streams = open(arena, count).await;
    until_closed(
        arena,
        streams,
        "GET / HTTP/1.1\r\nHost: here\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    )
    .await
}

async fn open(arena: &Arena, count: usize) -> Vec<TcpStream> {
    let from = arena.address();
    let mut streams = Vec::new();
    while streams.len() < count {
        let stream = connect(from, arena.server.addr, |_| {}).await;
        streams.push(stream.expect("a connection"));
    }
    streams
}

/// Waits until the server has closed all of them, while they send `said` drop by drop.
async fn until_closed(_arena: &Arena, mut streams: Vec<TcpStream>, drops: &str) -> Said {
    let (began, count) = (Instant::now(), streams.len());
    let mut drops = drops.bytes();
    let mut byte = [0];
    while !streams.is_empty() {
        assert!(
            began.elapsed() < PATIENCE,
            "{} connections live on",
            streams.len()
        );
        let drop = drops.next();
        streams.retain(|stream| match stream.try_read(&mut byte) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                // It fails where it was closed, which is seen in the next round.
                drop.is_none_or(|drop| stream.try_write(&[drop]).is_ok())
            }
            read => matches!(read, Ok(1..)),
        });
        sleep(Duration::from_millis(100)).await;
    }
    let what = if drops.len() > 0 || drops.next().is_some() {
        "drip"
    } else {
        "are open"
    };
    said(
        format!("{count} connections {what}"),
        format!("all closed within {:.1} s", began.elapsed().as_secs_f64()),
    )
}

/// More connections than there are descriptors, twice over.
async fn descriptors(arena: &Arena) -> Said {
    let from = arena.address();
    let mut streams = Vec::new();
    for _ in 0..600 {
        // A full backlog refuses nobody, and lets him wait.
        let connecting = connect(from, arena.server.addr, |_| {});
        if let Ok(Ok(stream)) = timeout(Duration::from_millis(50), connecting).await {
            streams.push(stream);
        }
    }
    let most = arena.server.descriptors();
    let health = get(arena.server.addr, "/healthz").await.expect("an answer");
    assert_eq!(health.status, 200);
    let count = streams.len();
    drop(streams);
    // People can come again.
    let mut late = crate::ws::Visitor::open(&arena.server, Ipv4Addr::LOCALHOST)
        .await
        .expect("let in");
    late.join("late").await.expect("let in");
    said(
        format!("{count} connections to a server with 300 descriptors"),
        format!("{most} of them in use, /healthz 200"),
    )
}
