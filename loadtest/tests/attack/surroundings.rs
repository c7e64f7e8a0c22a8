//! Attacks by the server's surroundings: its log, and people whose machines fail.

use std::process::Stdio;
use std::time::Instant;

use tokio::process::{Child, Command};

use crate::arena::{Arena, Attack, Said, said};
use crate::call::{PEOPLE, ROOM};
use crate::http::get;
use crate::server::{Log, Start};
use crate::ws::Visitor;

const TALKATIVE: Start = Start {
    before: "export RUST_LOG=debug",
    ..Start::PLAIN
};

pub(crate) const ATTACKS: [Attack; 1] = [Attack::new("bots killed and stopped", |arena| {
    Box::pin(bots(arena))
})];

/// Attacks that need servers of their own.
pub(crate) const OF_LOGS: [Attack; 3] = [
    Attack::new("a log device without room", |arena| Box::pin(full(arena))).on(Start {
        log: Log::Full,
        ..TALKATIVE
    }),
    Attack::new("a log disk that fills", |arena| Box::pin(disk(arena))).on(Start {
        log: Log::SmallDisk,
        ..TALKATIVE
    }),
    Attack::new("a log that nobody reads", |arena| Box::pin(unread(arena))).on(Start {
        log: Log::Unread,
        ..TALKATIVE
    }),
];

/// Every log line fails to be written, in every thread.
async fn full(arena: &Arena) -> Said {
    let joined = joins(arena).await;
    said(
        format!("{joined} joins with media, at level debug"),
        "no fault, /healthz 200",
    )
}

/// Six people join with media, and leave.
async fn joins(arena: &Arena) -> usize {
    let mut joined = Vec::new();
    for _ in 0..6 {
        joined.push(arena.hostile("elsewhere", |config| config.videos = 1).await);
    }
    assert_eq!(
        get(arena.server.addr, "/healthz")
            .await
            .expect("an answer")
            .status,
        200
    );
    joined.len()
}

/// It has room for 64 KiB.
async fn disk(arena: &Arena) -> Said {
    let mut count = 0;
    while arena.server.log_bytes() < 60 << 10 {
        count += visits(arena, 20).await;
        assert!(count < 10_000, "the log does not grow");
    }
    count += visits(arena, arena.many(2_000, 100)).await;
    joins(arena).await;
    let bytes = arena.server.log_bytes();
    said(
        format!("{count} joins, at level debug"),
        format!("no fault, {bytes} bytes of log"),
    )
}

/// A supervisor's pipe that nobody empties.
async fn unread(arena: &Arena) -> Said {
    let mut count = 0;
    while arena.count("/log_lines_lost").await == 0 {
        count += visits(arena, 100).await;
        assert!(count < 40_000, "no line is lost");
    }
    count += visits(arena, arena.many(5_000, 100)).await;
    joins(arena).await;
    let lost = arena.count("/log_lines_lost").await;
    said(
        format!("{count} joins, at level debug"),
        format!("{lost} log_lines_lost, /healthz 200"),
    )
}

/// Bots that come and go, `count` in all.
async fn visits(arena: &Arena, count: usize) -> usize {
    let mut from = arena.address();
    for number in 0..count {
        // No address joins more than it may.
        if number % 1_000 == 999 {
            from = arena.address();
        }
        let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
        // A line names the room, percent-encoded: nine bytes for each of these.
        let name = "\u{8a9e}".repeat(50);
        visitor
            .join(&format!("{name}-{}", number % 50))
            .await
            .expect("a join");
    }
    count
}

/// In the room of the call: some end without a word, others neither end nor say anything.
async fn bots(arena: &Arena) -> Said {
    let mut killed = start(arena).await;
    killed.kill().await.expect("it runs");
    until(arena, PEOPLE).await;
    let mut stopped = start(arena).await;
    let pid = stopped.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-STOP", &pid]).status().await;
    assert!(sent.expect("kill").success());
    let began = Instant::now();
    until(arena, PEOPLE).await;
    let gone = began.elapsed().as_secs_f64();
    stopped.kill().await.expect("it runs");
    said(
        format!("{BOTS} bots killed by SIGKILL, {BOTS} stopped by SIGSTOP"),
        format!("the stopped ones are given up after {gone:.1} s"),
    )
}

const BOTS: usize = 6;

/// Bots in a process of their own.
async fn start(arena: &Arena) -> Child {
    let (url, publishers, subscribers) = (arena.server.url().to_string(), 2, BOTS - 2);
    let child = Command::new(env!("CARGO_BIN_EXE_tertulia-loadtest"))
        .args([
            "run",
            "--bot",
            "wire",
            "--video",
            "180p",
            "--duration",
            "600",
            "--quiet",
        ])
        .args(["--url", &url, "--room", ROOM])
        .args([
            "--publishers",
            &publishers.to_string(),
            "--subscribers",
            &subscribers.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("bots");
    until(arena, PEOPLE + BOTS).await;
    child
}

async fn until(arena: &Arena, people: usize) {
    let people = people as u64;
    arena
        .until("people", "/participants", |count| count == people)
        .await;
    arena
        .until("transports", "/workers/0/peers", |count| count == people)
        .await;
}
