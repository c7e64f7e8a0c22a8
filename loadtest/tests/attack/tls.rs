//! Attacks on a server that speaks TLS, beside a call that has joined over TLS.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::arena::{Arena, Attack, Said, said};
use crate::server::Start;
use crate::ws::Visitor;

pub(crate) const ATTACKS: [Attack; 1] =
    [Attack::new("idle connections and joins over TLS", |arena| {
        Box::pin(crowd(arena))
    })
    .on(Start {
        // One address may hold all of them, and none is closed as it does not join.
        limits: "connections_per_address = 6000\njoin_timeout_ms = 600000",
        tls: true,
        ..Start::PLAIN
    })];

/// From one address, which may join 6,000 times at once.
async fn crowd(arena: &Arena) -> Said {
    let from = arena.address();
    let mut idle = Vec::new();
    for _ in 0..arena.many(5_000, 200) {
        let opened = Visitor::open(&arena.server, from).await;
        idle.push(opened.expect("a connection"));
    }
    let (start, count) = (Instant::now(), arena.many(10_000, 200));
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..count {
        let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
        let joined = visitor.join(&format!("crowd-{}", number % 50)).await;
        let code = joined.err().unwrap_or_else(|| "welcome".into());
        *codes.entry(code).or_default() += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let codes: Vec<_> = codes
        .iter()
        .map(|(code, count)| format!("{count} {code}"))
        .collect();
    let said = said(
        format!(
            "{} idle WebSockets, {count} joins by a new connection each, {rate:.0} a second",
            idle.len()
        ),
        codes.join(", "),
    );
    match arena.long {
        true => said.naming("joins_per_address"),
        false => said,
    }
}
