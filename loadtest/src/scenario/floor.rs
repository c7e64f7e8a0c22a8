//! The cost of the kernel and the cipher by themselves, on the server's core.

mod streams;

use std::io;

use tertulia_sfu::testing::floor::{self, Method};

use super::Scenario;
use crate::bot::media_path::MediaPath;
use crate::report::Floor;
use crate::server::cores;
use crate::server::process::Process;
use streams::Streams;

/// Viewers, as many as a call that is worth measuring has.
const DESTINATIONS: usize = 100;
/// The size of a full video packet in UDP.
const PACKET_BYTES: usize = 1_200;
/// Their median is taken, for a machine is never quite still.
const ROUNDS: usize = 5;
const PACKETS: usize = 20_000;

/// Measures the floor, in a second or two. It must run before there is a server, which would have
/// to share the core.
pub(super) fn measure(scenario: &Scenario) -> io::Result<Floor> {
    let (core, path) = (server_core(scenario)?, scenario.path);
    let measuring = std::thread::spawn(move || {
        cores::pin_thread(&[core])?;
        let floor = floor::measure(DESTINATIONS, PACKET_BYTES, ROUNDS, PACKETS)?;
        let streams = |is_tls| measure_streams(is_tls).map(Some);
        io::Result::Ok(Floor {
            sendmmsg_ns: floor.cpu_ns(Method::Sendmmsg),
            gso10_ns: floor.cpu_ns(Method::Gso(10)),
            write10_ns: match path {
                MediaPath::Udp => None,
                _ => streams(false)?,
            },
            rustls10_ns: match path {
                MediaPath::TurnTls => streams(true)?,
                _ => None,
            },
            ..Floor::default()
        })
    });
    measuring
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the floor could not be measured")))
}

/// Nanoseconds of CPU for each packet in TCP connections: the median of the rounds, after one that warms the caches.
fn measure_streams(is_tls: bool) -> io::Result<f64> {
    let mut streams = Streams::connect(DESTINATIONS, PACKET_BYTES, is_tls)?;
    streams.round(PACKETS)?;
    let rounds = (0..ROUNDS).map(|_| streams.round(PACKETS));
    let mut costs = rounds.collect::<io::Result<Vec<_>>>()?;
    costs.sort_by(|one, other| one.cpu_ns().total_cmp(&other.cpu_ns()));
    Ok(costs[ROUNDS / 2].cpu_ns())
}

/// The first it may use.
fn server_core(scenario: &Scenario) -> io::Result<usize> {
    let named = match (&scenario.spawn, scenario.server_pid) {
        (Some(spawn), _) => spawn.cores.clone(),
        (None, Some(pid)) => Process::observe(pid)
            .map(|process| process.cores())
            .unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    match named.first() {
        Some(core) => Ok(*core),
        None => Ok(cores::allowed(0)?.first().copied().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Spawn;

    #[test]
    fn the_first_core_of_the_server() {
        let ours = cores::allowed(0).unwrap();
        let spawned = |cores| Scenario {
            spawn: Some(Spawn {
                cores,
                ..Spawn::default()
            }),
            ..Scenario::default()
        };
        assert_eq!(server_core(&spawned(vec![3, 4])).unwrap(), 3);
        assert_eq!(server_core(&spawned(vec![])).unwrap(), ours[0]);
        assert_eq!(server_core(&Scenario::default()).unwrap(), ours[0]);
        let running = Scenario {
            server_pid: Some(std::process::id()),
            ..Scenario::default()
        };
        assert_eq!(server_core(&running).unwrap(), ours[0]);
    }
}
