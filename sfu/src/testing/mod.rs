//! For tests of this and dependent crates: where media comes from and what may come out.

pub mod media;
pub mod oracle;

use std::sync::OnceLock;
use std::time::Instant;

pub use media::{AudioConfig, LayerConfig, MediaSource, VideoConfig, Vp8Packetizer};
pub use oracle::{Oracle, OracleReport, Violation};

/// Where virtual time begins. The one moment the simulation takes from the system's clock, which
/// is the only way to come by an [`Instant`]; what is done with it never depends on which.
#[allow(clippy::disallowed_methods, reason = "an origin for virtual time")]
pub fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
