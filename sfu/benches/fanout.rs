//! The cost of forwarding a packet: the real worker with keys of real DTLS handshakes, sending to real sockets,
//! compared with the floor of the same round.
//!
//! `cargo bench -p tertulia-sfu --bench fanout [-- ROW.. --quick]`, for example `-- 1x100`. With
//! `--alone` the floor is hardly run: for profiles.

mod client;
mod machine;

use std::io;
use std::time::{Duration, Instant};

use client::Call;
use machine::Options;
use tertulia_sfu::testing::floor::{
    Cost, CountingAllocator, DRAINED_EVERY, Floor, Method, Stopwatch, bind_sinks,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// One row of the table.
struct Row {
    publishers: usize,
    viewers: usize,
    /// UDP payload of a packet.
    bytes: usize,
    /// Packets that come at a time.
    frame: usize,
    /// The floor that it is held against.
    floor: Method,
}

impl Row {
    fn name(&self) -> String {
        let kind = if self.bytes < 500 { "audio" } else { "video" };
        let frame = self.frame;
        format!("{}x{} {kind} frame{frame}", self.publishers, self.viewers)
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (publishers, viewers) in [(1, 10), (1, 100), (1, 1_000), (10, 10), (50, 50)] {
        for (bytes, frame, floor) in [
            (1_200, 10, Method::Gso(10)),
            (1_200, 1, Method::Sendmmsg),
            (100, 1, Method::Sendmmsg),
        ] {
            rows.push(Row {
                publishers,
                viewers,
                bytes,
                frame,
                floor,
            });
        }
    }
    rows
}

/// Figures of one round.
#[derive(Clone, Copy, Default)]
struct Round {
    cpu_ns: f64,
    wall_ns: f64,
    floor_ns: f64,
    ratio: f64,
    allocations: f64,
    run: f64,
}

fn main() -> io::Result<()> {
    let options = Options::read();
    machine::print(&options);
    println!("fanout: one turn of the worker for each frame, ns of CPU per packet sent\n");
    println!(
        "{:<22}{:>8}{:>8}  {:<9}{:>7}{:>7}{:>13}{:>10}",
        "row", "cpu ns", "wall ns", "floor", "ns", "ratio", "allocs/pkt", "pkts/msg"
    );
    let mut all = rows();
    all.retain(|row| options.wants(&row.name()));
    for (publishers, viewers) in [(1, 10), (1, 100), (1, 1_000), (10, 10), (50, 50)] {
        let rows: Vec<Row> = all
            .extract_if(.., |row| {
                (row.publishers, row.viewers) == (publishers, viewers)
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let mut call = Call::begin(publishers, viewers)?;
        for row in rows {
            measure(&mut call, &row, &options)?;
        }
    }
    Ok(())
}

fn measure(call: &mut Call, row: &Row, options: &Options) -> io::Result<()> {
    let sinks = bind_sinks(call.destinations())?;
    let mut floor = Floor::new(&sinks, row.bytes)?;
    let mut rounds = Vec::new();
    for round in 0..=options.rounds {
        let floor_packets = if options.alone { 1 } else { options.packets };
        let floor = floor.round(row.floor, floor_packets)?;
        let measured = forward(call, row, options.packets, floor.cpu_ns());
        // The first warms up what the others measure.
        if round > 0 || options.rounds == 1 {
            rounds.push(measured);
        }
    }
    let median = |figure: fn(&Round) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    println!(
        "{:<22}{:>8.0}{:>8.0}  {:<9}{:>7.0}{:>7.2}{:>13.4}{:>10.1}",
        row.name(),
        median(|round| round.cpu_ns),
        median(|round| round.wall_ns),
        row.floor.to_string(),
        median(|round| round.floor_ns),
        median(|round| round.ratio),
        median(|round| round.allocations),
        median(|round| round.run),
    );
    Ok(())
}

/// Forwards `packets` or somewhat more.
fn forward(call: &mut Call, row: &Row, packets: usize, floor_ns: f64) -> Round {
    let (mut cost, mut allocations, mut messages) = (Cost::default(), 0, 0);
    let turn = row.frame * call.destinations();
    let turns = DRAINED_EVERY.div_ceil(turn);
    while cost.packets < packets as u64 {
        // Sealing is the publisher's cost.
        let mut frames: Vec<_> = (0..turns)
            .map(|_| call.frame(row.bytes, row.frame))
            .collect();
        let watch = Stopwatch::start();
        let (mut sent, mut theirs) = (0, (Duration::ZERO, Duration::ZERO));
        for frame in &mut frames {
            let before = CountingAllocator::allocations();
            let turn = call.turn(frame);
            allocations += CountingAllocator::allocations() - before;
            assert_eq!(turn.lost, 0, "the kernel takes everything");
            sent += turn.packets;
            messages += turn.messages;
            // The viewers' work is their own cost.
            let viewers = Stopwatch::start();
            let feedback = call.feedback();
            let (cpu, wall) = viewers.stop();
            theirs = (theirs.0 + cpu, theirs.1 + wall);
            // This costs by time, not by packets: its allocations are not counted, its CPU time is.
            call.acknowledge(&feedback);
            call.timers();
        }
        let (cpu, wall) = watch.stop();
        let (cpu, wall) = (cpu.saturating_sub(theirs.0), wall.saturating_sub(theirs.1));
        assert!(sent as usize >= turns * turn, "{sent} of {}", turns * turn);
        cost.add(Cost {
            packets: sent,
            cpu,
            wall,
        });
        call.drain();
    }
    Round {
        cpu_ns: cost.cpu_ns(),
        wall_ns: cost.wall_ns(),
        floor_ns,
        ratio: cost.cpu_ns() / floor_ns,
        allocations: allocations as f64 / cost.packets as f64,
        run: cost.packets as f64 / messages.max(1) as f64,
    }
}

/// Virtual time between two turns: 1,000 packets a second at ten to a frame.
const TURN: Duration = Duration::from_millis(10);

/// The moment virtual time begins.
fn epoch() -> Instant {
    tertulia_sfu::testing::epoch()
}
