//! Bots of either kind.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::{BotKind, Scenario};
use crate::bot::state::BotState;
use crate::bot::tap::lock;
use crate::bot::{self, BotConfig, Phase, Settled};
use crate::measure::Measure;
use crate::protocol::Protocol;
use crate::wire::{WireConfig, WireFleet};

pub(super) enum Fleet {
    Webrtc(Protocol, Arc<Measure>),
    Wire(WireFleet),
}

impl Fleet {
    pub(super) fn start(scenario: &Scenario, measure: Arc<Measure>) -> io::Result<Self> {
        Ok(match scenario.bot {
            BotKind::Webrtc => Self::Webrtc(scenario.protocol.clone(), measure),
            BotKind::Wire => Self::Wire(WireFleet::start(WireConfig {
                cores: scenario.bot_cores.clone(),
                decrypt_share: scenario.decrypt_share,
                oracle_share: scenario.oracle_share,
                measure,
            })?),
        })
    }

    /// Joins on their way at a time. More would compete for this machine's processors (a DTLS
    /// handshake of the `webrtc` crate takes milliseconds) and measure that instead of the server.
    /// Lean bots may storm.
    pub(super) fn joins_at_a_time(&self) -> usize {
        match self {
            Self::Webrtc(..) => 32,
            Self::Wire(_) => 1_000,
        }
    }

    pub(super) fn run(
        &self,
        config: BotConfig,
        state: Arc<BotState>,
        phase: watch::Receiver<Phase>,
        settled: Settled,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self {
            Self::Webrtc(protocol, measure) => {
                lock(&state.receiver).report_to(Arc::clone(measure));
                state.outgoing.report_to(Arc::clone(measure));
                match protocol {
                    Protocol::Native => Box::pin(bot::run(config, state, phase, settled)),
                    Protocol::Whip(whip) => Box::pin(whip.run(config, state, phase, settled)),
                }
            }
            Self::Wire(fleet) => Box::pin(fleet.run(config, state, phase, settled)),
        }
    }

    /// Makes every bot's `observed` complete.
    pub(super) async fn settle(&self, bots: &[Arc<BotState>]) {
        match self {
            Self::Webrtc(..) => bots.iter().for_each(|bot| bot::settle(bot)),
            Self::Wire(fleet) => fleet.settle().await,
        }
    }
}
