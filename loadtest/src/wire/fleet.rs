//! All wire bots of a run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{oneshot, watch};

use super::dtls::Identity;
use super::media::{Seat, Wire};
use super::receiver::Shares;
use super::thread::{self, Command, Handle};
use crate::bot::native::Native;
use crate::bot::state::BotState;
use crate::bot::{BotConfig, Phase, Settled, course};
use crate::measure::Measure;

/// The settings of a fleet.
#[derive(Clone, Debug)]
pub struct WireConfig {
    /// Processors to pin I/O threads to, one each; empty: one thread, not pinned.
    pub cores: Vec<usize>,
    /// Share of the streams to decrypt whole, 0 to 1; the module's documentation says how the
    /// others are checked.
    pub decrypt_share: f64,
    /// Share of the streams to show to the oracle, 0 to 1.
    pub oracle_share: f64,
    /// The measure that adds up every second.
    pub measure: Arc<Measure>,
}

/// The I/O threads that wire bots share. Dropping it ends them, once the last bot has left.
pub struct WireFleet {
    threads: Vec<Arc<Handle>>,
    identity: Arc<Identity>,
    shares: Shares,
    next: AtomicU64,
}

impl WireFleet {
    /// Starts the I/O threads.
    ///
    /// # Errors
    ///
    /// The system refuses a thread, or there is no such processor.
    pub fn start(config: WireConfig) -> io::Result<Self> {
        let cores = match &config.cores[..] {
            [] => vec![None],
            cores => cores.iter().copied().map(Some).collect(),
        };
        let threads = cores.into_iter().enumerate().map(|(index, core)| {
            let handle = thread::start(index, core, Arc::clone(&config.measure));
            handle.map(Arc::new)
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            identity: Arc::new(Identity::generate().map_err(io::Error::other)?),
            shares: Shares {
                decrypt: config.decrypt_share,
                oracle: config.oracle_share,
                is_timed: true,
            },
            next: AtomicU64::new(0),
        })
    }

    /// Runs a bot until `phase` says to leave. Everything worth knowing lands in `state`.
    pub fn run(
        &self,
        config: BotConfig,
        state: Arc<BotState>,
        phase: watch::Receiver<Phase>,
        settled: Settled,
    ) -> impl Future<Output = ()> + Send + use<> {
        let name = self.next.fetch_add(1, Ordering::Relaxed);
        let thread = &self.threads[name as usize % self.threads.len()];
        let seat = Seat {
            name,
            thread: Arc::clone(thread),
            identity: Arc::clone(&self.identity),
            shares: Shares {
                is_timed: config.is_timed,
                ..self.shares
            },
        };
        async move {
            let media = Wire::open(seat, config.clone(), Arc::clone(&state));
            let opening = Native::open(&config, &state, media);
            course(opening, &config, &state, phase, settled).await;
        }
    }

    /// Returns when every bot's `BotState::observed`, and the measure, have everything up to now.
    /// Gaps still open are lost then, and what comes later no oracle sees.
    pub async fn settle(&self) {
        for thread in &self.threads {
            let (done, settled) = oneshot::channel();
            thread.tell(Command::Settle(done)).await;
            // It fails if the thread is gone, and its bots' states with it.
            let _ = settled.await;
        }
    }
}
