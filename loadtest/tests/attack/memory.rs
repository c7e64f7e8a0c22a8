//! Attacks on the server's memory.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::arena::{Arena, Attack, Said, said};
use crate::media::{Stream, keyframe};
use crate::server::Start;
use crate::ws::{Visitor, join};

/// Newcomers that come so often take less of the processor than the attack.
const BETWEEN_NEWCOMERS: Duration = Duration::from_millis(20);
/// Budgets of 20 MB for messages and for what is unread.
const SMALL: Start = Start {
    settings: "memory_mb = 200",
    limits: "messages_per_second = 1000000\nmessage_burst = 1000000\nchat_chars = 100000",
    ..Start::PLAIN
};

/// A budget of 26 MB for packets.
const LEAST: Start = Start {
    settings: "memory_mb = 64",
    ..Start::PLAIN
};

/// Half of what 400 messages want.
const HALF: Start = Start {
    before: "ulimit -v 360000",
    ..Start::PLAIN
};

pub(crate) const ATTACKS: [Attack; 4] = [
    Attack::new("caches of many publishers, under memory_mb", |arena| {
        Box::pin(caches(arena))
    })
    .on(LEAST),
    Attack::new("messages without end, under memory_mb", |arena| {
        Box::pin(unfinished(arena))
    })
    .on(SMALL),
    Attack::new("welcomes that nobody reads, under memory_mb", |arena| {
        Box::pin(unread(arena))
    })
    .on(SMALL),
    Attack::new("messages without end, under ulimit -v", |arena| {
        Box::pin(unfinished(arena))
    })
    .on(HALF),
];

/// Bytes sent of a message that is never finished. The server takes 1 MB at most, and puts it together in twice that.
const UNFINISHED: usize = 900 << 10;

/// The beginning of a message, whose end never comes.
fn beginning() -> Message {
    let header = FrameHeader {
        is_final: false,
        opcode: OpCode::Data(Data::Text),
        ..FrameHeader::default()
    };
    Message::Frame(Frame::from_payload(header, vec![b' '; UNFINISHED].into()))
}

/// Participants of whom each leaves a message unfinished, and answers pings.
async fn unfinished(arena: &Arena) -> Said {
    let (count, from) = (arena.many(1_200, 400), arena.address());
    let (mut visitors, mut refused) = (Vec::new(), 0);
    for number in 0..count {
        match enter(arena, from, &format!("held-{}", number / 20)).await {
            Ok(mut visitor) => {
                visitor.send(beginning()).await;
                visitors.push(visitor);
            }
            Err(code) => {
                assert_eq!(code, "server_memory");
                refused += 1;
            }
        }
    }
    let (began, mut told) = (Instant::now(), 0);
    let (other, mut newcomers) = (arena.address(), [0, 0]);
    let mut ticks = interval(BETWEEN_NEWCOMERS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while began.elapsed() < arena.during() {
        ticks.tick().await;
        let mut held = Vec::new();
        for mut visitor in visitors {
            // Pings are answered by the way.
            match visitor.next_within(Duration::from_millis(1)).await {
                Some(message) if message["type"] == "error" => {
                    assert_eq!(message["code"], "server_memory");
                    told += 1;
                }
                _ => held.push(visitor),
            }
        }
        visitors = held;
        let let_in = enter(arena, other, "newcomers").await.is_ok();
        newcomers[0] += usize::from(let_in);
        newcomers[1] += 1;
    }
    let most = arena.count("/memory/messages").await;
    let ended = arena.count("/memory/messages_ended").await;
    assert!(refused + ended > 0, "nobody was refused");
    drop(visitors);
    assert!(newcomers[0] > 0, "nobody else was let in");
    arena
        .until("memory of messages", "/memory/messages", |bytes| bytes == 0)
        .await;
    said(
        format!("{count} messages of 900 kB without their ends"),
        format!(
            "server_memory: {refused} refused, {ended} ended, {told} of them told; {} MB held; {} of {} newcomers let in",
            most >> 20,
            newcomers[0],
            newcomers[1]
        ),
    )
}

/// Opens a WebSocket and joins; the error is the code of the refusal.
async fn enter(arena: &Arena, from: Ipv4Addr, room: &str) -> Result<Visitor, String> {
    let mut visitor = Visitor::open(&arena.server, from).await?;
    visitor.join(room).await?;
    Ok(visitor)
}

/// Each welcome has 5 MB of chat.
async fn unread(arena: &Arena) -> Said {
    let from = arena.address();
    let mut talker = Visitor::open(&arena.server, from).await.expect("let in");
    talker.join("loud").await.expect("a join");
    let text = "x".repeat(100_000);
    for _ in 0..50 {
        talker.say(json!({"type": "chat", "text": text})).await;
        while let Some(message) = talker.next().await {
            if message["type"] == "ok" || message["type"] == "error" {
                assert_eq!(message["type"], "ok", "{message}");
                break;
            }
        }
    }
    let small = |socket: &tokio::net::TcpSocket| {
        socket.set_recv_buffer_size(4_096).expect("buffer size");
    };
    let (count, mut slow, mut refused) = (arena.many(60, 12), Vec::new(), 0);
    for _ in 0..count {
        match Visitor::open_with(&arena.server, from, small).await {
            Ok(mut visitor) => {
                visitor.say(join("loud", "Slow")).await;
                slow.push(visitor);
            }
            Err(code) => {
                assert_eq!(code, "server_memory");
                refused += 1;
            }
        }
    }
    let ended = arena
        .until(
            "outboxes that are ended",
            "/memory/outboxes_ended",
            |count| count >= 3,
        )
        .await;
    let most = arena.count("/memory/outboxes").await;
    assert!(most <= 30 << 20, "{most} bytes");
    said(
        format!("{count} joins that do not read 5 MB"),
        format!(
            "{ended} outboxes_ended, {refused} upgrades refused, {} MB at most",
            most >> 20
        ),
    )
}

/// Each layer is filled, and held by a few small packets.
async fn caches(arena: &Arena) -> Said {
    let mut peers = Vec::new();
    for _ in 0..arena.many(8, 5) {
        let peer = arena.hostile("elsewhere", |config| {
            config.videos = 8;
            config.rids = vec!["a", "b", "c"];
        });
        let peer = peer.await;
        let streams: Vec<_> = peer.media.published.iter().map(Stream::of).collect();
        peers.push((peer, streams));
    }
    let (large, small) = (keyframe(1_150), keyframe(40));
    let mut turn = 0;
    // 24 MB of each, in as much time as the rate of a publisher allows.
    let rate = 9_000;
    let rounds = arena.many(2, 6);
    let mut sent = 0;
    let mut most = 0;
    for round in 0..rounds {
        let holding = round + 1 == rounds;
        let (payload, rate) = if holding {
            (&small, 64)
        } else {
            (&large, rate)
        };
        sent += arena
            .pace(rate, |count| {
                for _ in 0..count {
                    turn += 1;
                    let many = peers.len();
                    let (peer, streams) = &mut peers[turn % many];
                    let which = turn / many % streams.len();
                    let packet = streams[which].next(&mut peer.media, payload);
                    peer.media.send(&packet);
                }
                peers.iter_mut().for_each(|(peer, _)| peer.media.pump());
            })
            .await;
        most = most.max(arena.count("/cache_bytes").await);
    }
    let allowed = arena.count("/cache_bytes_most").await;
    assert!(most <= allowed, "{most} bytes of {allowed}");
    let refused = arena.count("/caches_refused").await;
    said(
        format!(
            "{sent} packets of {} publishers with 24 layers",
            peers.len()
        ),
        format!(
            "{} MB of {} MB in caches, {refused} caches_refused",
            most >> 20,
            allowed >> 20
        ),
    )
}
