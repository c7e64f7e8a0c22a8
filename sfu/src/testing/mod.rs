//! Tools for tests of this and dependent crates: a simulated network, a worker in virtual time, a
//! media source, and one oracle that checks whether a decoder may be shown a stream.

pub mod floor;
pub mod fuzz;
pub mod media;
pub mod network;
pub mod oracle;
mod pipe;
mod relay;
mod turn;

use std::sync::OnceLock;
use std::time::Instant;

pub use media::{AudioConfig, LayerConfig, MediaSource, Scalability, VideoConfig, Vp8Packetizer};
pub use oracle::{Oracle, OracleReport, Violation};
#[cfg(test)]
pub(crate) use pipe::ScriptedEnd;
pub use pipe::SimPipe;
pub use relay::{SimRelay, SimSharing};
pub use turn::{Sent, TurnSocket};

/// The origin of virtual time. It is the one moment the simulation takes from the system's clock,
/// which is the only source of an [`Instant`]; no result depends on its value.
#[allow(clippy::disallowed_methods, reason = "an origin for virtual time")]
pub fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
