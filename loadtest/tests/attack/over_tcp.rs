//! Attacks by connections that say nothing, or half of something, where media is taken over TCP.

use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::arena::{Arena, Attack, Said, said};
use crate::http::{PATIENCE, connect};
use crate::server::Start;
use crate::turn_client::{ALLOCATE, message};

/// A server with everything that there is over TCP.
pub(crate) const EVERYTHING: Start = Start {
    settings: "turn = true\nice_tcp = true",
    ..Start::PLAIN
};

pub(crate) const ATTACKS: [Attack; 2] = [
    Attack::new("idle connections and half frames", |arena| {
        Box::pin(halves(arena))
    })
    .on(EVERYTHING),
    Attack::new("ICE-TCP with bad integrity", |arena| {
        Box::pin(bad_integrity(arena))
    })
    .on(EVERYTHING),
];

/// Each connection of an address of its own network of 250, so that many are open at once.
async fn halves(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let check = frame(&known.media.forged_check());
    let request = message(ALLOCATE, &[(0x0019, vec![17, 0, 0, 0])]);
    let beginnings: [&[u8]; 7] = [
        b"",
        b"\x00",
        &check[..7],
        &check[..check.len() - 1],
        &request[..7],
        &request[..request.len() - 1],
        b"GET / HTTP/1.1\r\nHost: a",
    ];
    let count = arena.many(5_000, 400);
    let began = Instant::now();
    let mut open: Vec<TcpStream> = Vec::new();
    let mut from = arena.address();
    let mut refused = 0;
    for number in 0..count {
        if number % 100 == 0 {
            from = arena.address();
        }
        match connect(from, arena.server.addr, |_| {}).await {
            Ok(mut stream) => {
                let _ = stream
                    .write_all(beginnings[number % beginnings.len()])
                    .await;
                open.push(stream);
            }
            Err(_) => refused += 1,
        }
    }
    let opened = began.elapsed().as_secs_f64();
    // The server ends all of them by itself.
    let ending = async {
        for stream in &mut open {
            while let Ok(1..) = stream.read(&mut [0; 512]).await {}
        }
    };
    timeout(PATIENCE, ending).await.expect("all are closed");
    assert_eq!(refused, 0, "not let in");
    let stats = arena.server.stats().await;
    let of = |path: &str| {
        stats
            .pointer(path)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    assert_eq!(of("/ice_tcp/open"), "0");
    assert_eq!(of("/turn/open"), "0");
    said(
        format!(
            "{count} connections in {opened:.1} s: silent, or with half a frame, message or head"
        ),
        format!(
            "all closed; stalled: {} of ICE-TCP, {} of TURN",
            of("/ice_tcp/refused/stalled"),
            of("/turn/refused/stalled")
        ),
    )
}

/// First frames that name a peer there is, signed with a password that it does not have, on a connection each.
async fn bad_integrity(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let check = frame(&known.media.forged_check());
    let before = arena.count("/ice_tcp/refused/unknown").await;
    let drops = arena.drops().await;
    let (count, began) = (arena.many(10_000, 300), Instant::now());
    let mut from = arena.address();
    for number in 0..count {
        if number % 1_000 == 999 {
            from = arena.address();
        }
        closes(from, arena, &check).await;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let refused = arena.count("/ice_tcp/refused/unknown").await - before;
    assert_eq!(refused, count as u64);
    let bad = |drops: &std::collections::BTreeMap<String, u64>| {
        drops.get("stun_bad_integrity").copied().unwrap_or_default()
    };
    let dropped = bad(&arena.drops().await) - bad(&drops);
    assert_eq!(dropped, count as u64);
    said(
        format!("{count} connections with a check each, {rate:.0} a second"),
        format!("{refused} unknown, {dropped} stun_bad_integrity"),
    )
}

/// Sends bytes, and waits until the server closes.
async fn closes(from: Ipv4Addr, arena: &Arena, bytes: &[u8]) {
    let mut stream = connect(from, arena.server.addr, |_| {})
        .await
        .expect("let in");
    stream.write_all(bytes).await.expect("taken");
    let ended = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
    assert!(matches!(ended.expect("closed in time"), Ok(0) | Err(_)));
}

fn frame(datagram: &[u8]) -> Vec<u8> {
    let len = (datagram.len() as u16).to_be_bytes();
    [&len[..], datagram].concat()
}
