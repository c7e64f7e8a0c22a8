//! All wire bots of a run.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::bot::state::BotState;
use crate::bot::{BotConfig, Phase, Settled};
use crate::measure::Measure;

/// What a fleet is told.
#[derive(Clone, Debug)]
pub struct WireConfig {
    /// Processors to pin I/O threads to, one each; empty: one thread, not pinned.
    pub cores: Vec<usize>,
    /// Share of the media packets to decrypt and check, 0 to 1. The others are counted by header.
    pub decrypt_share: f64,
    /// Share of the streams to show to the oracle, 0 to 1.
    pub oracle_share: f64,
    /// Where every second is added up.
    pub measure: Arc<Measure>,
}

/// The I/O threads that wire bots share.
#[derive(Debug)]
pub struct WireFleet {
    _config: WireConfig,
}

impl WireFleet {
    /// Starts the I/O threads.
    ///
    /// # Errors
    ///
    /// The system refuses a thread, or there is no such processor.
    pub fn start(config: WireConfig) -> io::Result<Self> {
        Ok(Self { _config: config })
    }

    /// Runs a bot until `phase` says to leave. Everything worth knowing lands in `state`.
    pub fn run(
        &self,
        _config: BotConfig,
        state: Arc<BotState>,
        _phase: watch::Receiver<Phase>,
        settled: Settled,
    ) -> impl Future<Output = ()> + Send + use<> {
        async move {
            state.call().failure = Some("wire bots cannot run yet".into());
            settled();
        }
    }

    /// Returns when every bot's `BotState::observed`, and the measure, have everything up to now.
    pub async fn settle(&self) {}

    /// Processor time the I/O threads have used, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        0.0
    }
}
