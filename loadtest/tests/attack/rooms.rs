//! Attacks by people who come and go.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::arena::{Arena, Attack, Said, said};
use crate::call::ROOM;
use crate::server::Start;
use crate::ws::Visitor;

pub(crate) const ATTACKS: [Attack; 2] = [
    Attack::new("rooms made and left by one", |arena| Box::pin(one(arena))),
    Attack::new("peers who come and go", |arena| Box::pin(churn(arena))),
];

/// Attacks on a server that keeps empty rooms long enough for them to be many.
pub(crate) const OF_EMPTY_ROOMS: [Attack; 1] =
    [
        Attack::new("rooms made and left by many", |arena| Box::pin(many(arena))).on(Start {
            limits: "empty_room_ms = 3000",
            ..Start::PLAIN
        }),
    ];

/// From one address, which may join 6,000 times at once.
async fn one(arena: &Arena) -> Said {
    let count = arena.many(10_500, 400);
    let said = make_rooms(arena, count, &[arena.address()]).await;
    match arena.long {
        true => said.naming("joins_per_address"),
        false => said,
    }
}

/// From four addresses.
async fn many(arena: &Arena) -> Said {
    let from = [(); 4].map(|()| arena.address());
    make_rooms(arena, arena.many(10_500, 1_500), &from).await
}

/// Each leaves an empty room behind. Others can make rooms nevertheless, and there are not more than there may be.
async fn make_rooms(arena: &Arena, count: usize, from: &[Ipv4Addr]) -> Said {
    let start = Instant::now();
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..count {
        let from = from[number % from.len()];
        let joined = match Visitor::open(&arena.server, from).await {
            Ok(mut visitor) => visitor.join(&format!("empty-{number}")).await,
            Err(code) => Err(code),
        };
        let code = joined.err().unwrap_or_else(|| "welcome".into());
        *codes.entry(code).or_default() += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let rooms = arena.count("/rooms").await;
    assert!(rooms <= EMPTY + 1, "{rooms} rooms");
    for code in codes.keys() {
        assert!(
            ["welcome", "joins_per_address"].contains(&&**code),
            "{code}"
        );
    }
    let mut other = Visitor::open(&arena.server, arena.address())
        .await
        .expect("let in");
    other.join("another").await.expect("a room");
    let codes: Vec<_> = codes
        .iter()
        .map(|(code, count)| format!("{count} {code}"))
        .collect();
    said(
        format!("{count} joins, {rate:.0} a second"),
        format!(
            "{}; {rooms} rooms, and a new one for another",
            codes.join(", ")
        ),
    )
}

/// Empty rooms that there may be, by default.
const EMPTY: u64 = 1_000;

/// With media, in the call's own room, some without a goodbye.
async fn churn(arena: &Arena) -> Said {
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < arena.during() {
        let mut peer = arena.hostile(ROOM, |config| config.receives = [4, 4]).await;
        peer.media.pump();
        count += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    said(
        format!("{count} joins with media, {rate:.1} a second"),
        "each connected",
    )
}
