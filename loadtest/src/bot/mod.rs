//! One headless participant, and the course of its call: open, join, publish, attend, leave. `native` has Tertulia's
//! own protocol, on the `webrtc` crate or on the [`wire`](crate::wire); [`whip`](crate::whip) has WHIP and WHEP.

use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use media_path::MediaPath;
use native::Native;
use publish::Video;
use signaling::{ServerUrl, SignalingError};
use state::BotState;
use tertulia_signaling::access::Token;

pub mod media_path;
pub mod peer;
pub mod publish;
pub mod receive;
pub mod signaling;
pub mod state;
pub mod tap;

pub(crate) mod codecs;
#[cfg(test)]
mod direct;
pub(crate) mod native;
mod page;
pub(crate) mod plan;
mod socket;
#[cfg(test)]
pub(crate) mod testing;
mod video;

/// A bot's settings.
#[derive(Clone, Debug)]
pub struct BotConfig {
    pub url: ServerUrl,
    /// The access token with which it joins, where the server wants one.
    pub token: Option<Token>,
    /// The address its media leaves from.
    pub address: IpAddr,
    pub video: Video,
    pub audio: bool,
    /// A publisher that does not talk has its tracks, and sends nothing on them, like a muted one.
    pub talks: bool,
    /// The number of videos that it shows, one large and the others small; none: all, at any size. Wire bots
    /// only.
    pub tiles: Option<usize>,
    /// The time that joining may take.
    pub join_timeout: Duration,
    /// Delay of its first frame, so that the bots of a scenario do not send at the same instants.
    pub stagger: Duration,
    /// The path of its media. Other than UDP: wire bots only.
    pub path: MediaPath,
    /// Its connection is not read any more soon after it has joined. Not over UDP.
    pub stalls: bool,
    /// Its packets count in the delay of the run.
    pub is_timed: bool,
}

/// The phase of the scenario; bots follow it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Publish and receive.
    Call,
    /// Publish no more; packets on their way may still arrive.
    Drain,
    /// Leave.
    Leave,
}

/// Called once the bot has joined or will not.
pub type Settled = Box<dyn FnOnce() + Send>;

/// Goodbye is said, not insisted on.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);

/// The reason that a bot failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BotError {
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    #[error(transparent)]
    Http(#[from] crate::whip::HttpError),
    #[error("peer connection: {0}")]
    Peer(#[from] webrtc::error::Error),
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the transport {0}")]
    Transport(String),
    #[error("the run ended while it was joining")]
    Interrupted,
    #[error("not joined within {0:?}: {1}")]
    TooSlow(Duration, String),
}

/// Differences between protocols and stacks.
pub(crate) trait Client: Send {
    type Event: Send;

    /// Asks for the call, if opening has not; events tell of the answer.
    fn begin(&mut self) -> impl Future<Output = Result<(), BotError>> + Send {
        async { Ok(()) }
    }
    /// The next event. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Result<Self::Event, BotError>> + Send;
    /// Handles an event. Returns whether media is connected by it.
    fn handle(&mut self, event: Self::Event)
    -> impl Future<Output = Result<bool, BotError>> + Send;
    /// Steps that joining still waits for.
    fn awaits(&self) -> String;
    /// Publishes; the first frames are due at `start`.
    fn publish(&mut self, start: Instant) -> impl Future<Output = ()> + Send;
    /// Publishes no more.
    fn stop(&mut self) -> impl Future<Output = ()> + Send;
    fn leave(self) -> impl Future<Output = ()> + Send;
}

/// Runs a bot by the native protocol, on the `webrtc` crate, until `phase` says to leave. Everything worth knowing
/// lands in `state`.
pub async fn run(
    config: BotConfig,
    state: Arc<BotState>,
    phase: watch::Receiver<Phase>,
    settled: Settled,
) {
    let media = peer::Peer::of(&config, &state);
    let opening = Native::open(&config, &state, media);
    course(opening, &config, &state, phase, settled).await;
}

/// The course of any bot's call.
pub(crate) async fn course<C: Client>(
    opening: impl Future<Output = Result<C, BotError>> + Send,
    config: &BotConfig,
    state: &BotState,
    phase: watch::Receiver<Phase>,
    settled: Settled,
) {
    let mut settled = Some(settled);
    let call = call(opening, config, state, phase, &mut settled);
    // A server may be one that we know nothing about, and its descriptions are judged by a crate that is not ours.
    let failure = match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the peer connection panicked".to_owned()),
    };
    if let Some(failure) = failure {
        state.call().failure.get_or_insert(failure);
    }
    if let Some(settled) = settled {
        settled();
    }
}

async fn call<C: Client>(
    opening: impl Future<Output = Result<C, BotError>> + Send,
    config: &BotConfig,
    state: &BotState,
    mut phase: watch::Receiver<Phase>,
    settled: &mut Option<Settled>,
) -> Result<(), BotError> {
    let started = Instant::now();
    state.call().started = Some(started);
    let deadline = started + config.join_timeout;
    let too_slow = |awaits| BotError::TooSlow(config.join_timeout, awaits);
    let opened = tokio::select! {
        opened = timeout_at(deadline, opening) => opened,
        _ = phase.wait_for(|phase| *phase > Phase::Call) => return Err(BotError::Interrupted),
    };
    let mut client = opened.map_err(|_| too_slow("no welcome".into()))??;
    let joining = timeout_at(deadline, join(&mut client));
    let joined = tokio::select! {
        joined = joining => joined.ok(),
        _ = phase.wait_for(|phase| *phase > Phase::Call) => Some(Err(BotError::Interrupted)),
    };
    let joined = joined.unwrap_or_else(|| Err(too_slow(client.awaits())));
    match &joined {
        Ok(()) => {
            state.call().joined = Some(started.elapsed());
            if state.publishes && config.talks {
                client.publish(Instant::now() + config.stagger).await;
            }
        }
        // The failure is recorded before the scenario counts heads.
        Err(error) => state.call().failure = Some(error.to_string()),
    }
    if let Some(settled) = settled.take() {
        settled();
    }
    let outcome = match joined {
        Ok(()) => until_told_to_leave(&mut client, &mut phase).await,
        Err(error) => Err(error),
    };
    client.leave().await;
    outcome
}

async fn join(client: &mut impl Client) -> Result<(), BotError> {
    client.begin().await?;
    loop {
        let event = client.next().await?;
        if client.handle(event).await? {
            return Ok(());
        }
    }
}

async fn until_told_to_leave(
    client: &mut impl Client,
    phase: &mut watch::Receiver<Phase>,
) -> Result<(), BotError> {
    loop {
        let now = *phase.borrow_and_update();
        if now > Phase::Call {
            client.stop().await;
        }
        if now == Phase::Leave {
            return Ok(());
        }
        tokio::select! {
            event = client.next() => {
                client.handle(event?).await?;
            }
            // A scenario that is gone has no more to say.
            changed = phase.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// Ends the bot's counts and leaves them in [`BotState::observed`]. Call it once, when no more packets are to come.
pub fn settle(state: &BotState) {
    let (totals, first, streams) = {
        let mut receiver = tap::lock(&state.receiver);
        (
            receiver.totals(),
            receiver.first_packet(),
            receiver.finish(),
        )
    };
    let started = state.call().started;
    let mut observed = tap::lock(&state.observed);
    let first = first.zip(started);
    observed.phases.first_packet =
        first.map(|(first, started)| first.saturating_duration_since(started.into_std()));
    observed.sent = state.outgoing.sent();
    observed.totals = totals;
    observed.streams = streams;
}
