//! Memory comes back: after a thousand people came and went, a worker holds as much as after the first few hundred. The
//! allocator counts it; the load tester measures resident memory.

#![expect(
    clippy::disallowed_methods,
    reason = "simulations need a beginning of time"
)]

#[allow(dead_code, unused_imports, reason = "shared with the simulations")]
#[path = "sim/harness/mod.rs"]
mod harness;

use std::time::Duration;

use harness::{Sim, Video};
use tertulia_sfu::testing::floor::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ROUND: usize = 10;
const MEDIA: Duration = Duration::from_millis(300);

/// Ten people meet, two of them seen by the others, and leave.
fn round(sim: &mut Sim) {
    sim.participant(Video::Simulcast);
    sim.participant(Video::Single);
    for _ in 2..ROUND {
        sim.viewer();
    }
    let connected = sim.run_until(Duration::from_secs(10), |sim| {
        sim.clients
            .iter()
            .all(|client| client.connected_at.is_some())
    });
    assert!(connected.is_some());
    sim.run(MEDIA);
    let peers: Vec<_> = sim
        .clients
        .iter()
        .filter_map(|client| client.peer)
        .collect();
    let before = CountingAllocator::held();
    for peer in &peers {
        let now = sim.now;
        sim.relay.close_peer(now, *peer);
    }
    // Their clients are still there: the memory freed was the relay's.
    let each = before.saturating_sub(CountingAllocator::held()) / peers.len() as u64;
    println!("{each} bytes a peer");
    assert!(each < PEER_BYTES, "a peer held {each} bytes");
    sim.run(Duration::from_millis(50));
    sim.clients.clear();
    sim.events.clear();
    assert_eq!(sim.relay.holdings(), 1, "the room alone");
}

/// Bytes of one peer, averaged over a round, with slots, subscriptions and the cached packets of four layers: 50 KiB
/// measured, twice that allowed.
const PEER_BYTES: u64 = 100 << 10;

#[test]
fn a_thousand_joins_and_leaves_leave_what_the_first_few_hundred_leave() {
    let mut sim = Sim::new(900);
    // Buffers that serve all peers grow to what the largest burst takes; probes make that a matter of chance.
    for _ in 0..300 / ROUND {
        round(&mut sim);
    }
    // One of these buffers may still double, as chance has it. A leak grows each time.
    let mut held = vec![CountingAllocator::held()];
    while held.len() <= 3 {
        for _ in 0..700 / ROUND {
            round(&mut sim);
        }
        let (before, after) = (held[held.len() - 1], CountingAllocator::held());
        held.push(after);
        if after <= before + before / 20 {
            return;
        }
    }
    panic!("bytes after 300 joins, and after each 700 more: {held:?}");
}
