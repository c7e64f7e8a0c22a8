//! The cost of the kernel and the cipher by themselves, on the server's core.

use std::io;

use tertulia_sfu::testing::floor::{self, Method};

use super::Scenario;
use crate::report::Floor;
use crate::server::cores;
use crate::server::process::Process;

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
    let core = server_core(scenario)?;
    let measuring = std::thread::spawn(move || {
        cores::pin_thread(&[core])?;
        floor::measure(DESTINATIONS, PACKET_BYTES, ROUNDS, PACKETS)
    });
    let floor = measuring
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the floor could not be measured")))?;
    Ok(Floor {
        sendmmsg_ns: floor.cpu_ns(Method::Sendmmsg),
        gso10_ns: floor.cpu_ns(Method::Gso(10)),
        ..Floor::default()
    })
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
