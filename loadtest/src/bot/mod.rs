//! One headless participant: joins by the native protocol, publishes clips, receives everything.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::{
    CarriedTrack, ClientMessage, Join, MediaKind, MediaState, Needs, Offer, ServerMessage, Track,
    VERSION,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use webrtc::peer_connection::RTCPeerConnectionState;

use peer::{Lines, Peer};
use publish::{Publisher, Video};
use signaling::{ServerUrl, Signaling, SignalingError};
use state::BotState;

use crate::measure::Sent;

pub mod peer;
pub mod publish;
pub mod receive;
pub mod signaling;
pub mod state;
pub mod tap;

pub(crate) mod codecs;
#[cfg(test)]
mod direct;
pub(crate) mod sdp;
mod socket;
#[cfg(test)]
pub(crate) mod testing;
mod video;
mod viewing;

/// A bot's settings.
#[derive(Clone, Debug)]
pub struct BotConfig {
    pub url: ServerUrl,
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

#[derive(Debug, thiserror::Error)]
enum BotError {
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    #[error("peer connection: {0}")]
    Peer(#[from] webrtc::error::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the transport {0}")]
    Transport(String),
    #[error("the run ended while it was joining")]
    Interrupted,
    #[error("not joined within {0:?}: {1}")]
    TooSlow(Duration, &'static str),
}

/// Runs a bot until `phase` says to leave. Everything worth knowing lands in `state`.
pub async fn run(
    config: BotConfig,
    state: Arc<BotState>,
    phase: watch::Receiver<Phase>,
    settled: Settled,
) {
    let mut settled = Some(settled);
    if let Err(error) = call(&config, &state, phase, &mut settled).await {
        state.call().failure.get_or_insert(error.to_string());
    }
    if let Some(settled) = settled {
        settled();
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
    observed.sent = Sent {
        packets: state.outgoing.packets(),
        bytes: state.outgoing.bytes(),
        retransmissions: state.outgoing.retransmissions(),
        keyframe_requests_received: state.outgoing.keyframe_requests(),
        late: state.outgoing.late(),
    };
    observed.packets = totals.packets;
    observed.bytes = totals.bytes;
    observed.retransmitted = totals.retransmitted;
    observed.keyframe_requests_sent = totals.keyframe_requests;
    observed.unknown = totals.unknown;
    // The crate decrypts every packet that it hands up.
    observed.decrypted = totals.packets;
    observed.streams = streams;
}

async fn call(
    config: &BotConfig,
    state: &Arc<BotState>,
    mut phase: watch::Receiver<Phase>,
    settled: &mut Option<Settled>,
) -> Result<(), BotError> {
    let started = Instant::now();
    state.call().started = Some(started);
    let deadline = started + config.join_timeout;
    let too_slow = |step| move |_| BotError::TooSlow(config.join_timeout, step);

    let opening = tokio::time::timeout_at(deadline, open(config, state));
    let mut session = opening.await.map_err(too_slow("no welcome"))??;
    let joined = tokio::select! {
        joined = session.until_connected(deadline) => joined,
        _ = phase.wait_for(|phase| *phase > Phase::Call) => Err(BotError::Interrupted),
    };
    match &joined {
        Ok(()) => {
            let took = started.elapsed();
            state.call().joined = Some(took);
            let ice = session.peer.ice().map(|at| at.duration_since(started));
            let mut observed = tap::lock(&state.observed);
            observed.phases.ice = ice;
            observed.phases.dtls = Some(took);
            drop(observed);
            if config.talks {
                session.publish(Instant::now() + config.stagger);
            }
        }
        // The failure is recorded before the scenario counts heads.
        Err(error) => state.call().failure = Some(error.to_string()),
    }
    if let Some(settled) = settled.take() {
        settled();
    }
    let outcome = match joined {
        Ok(()) => session.until_told_to_leave(&mut phase).await,
        Err(error) => Err(error),
    };
    session.leave().await;
    outcome
}

async fn open<'a>(
    config: &'a BotConfig,
    state: &'a Arc<BotState>,
) -> Result<Session<'a>, BotError> {
    let mut signaling = Signaling::connect(&config.url).await?;
    let join = ClientMessage::Join(Join {
        version: VERSION,
        room: state.room.clone(),
        name: state.name.clone(),
        metadata: None,
        auto_subscribe: true,
    });
    signaling.send(join).await?;
    let welcome = match signaling.next().await? {
        ServerMessage::Welcome(welcome) => welcome,
        ServerMessage::Error(refusal) => return Err(refused(&refusal.code, &refusal.message)),
        other => {
            return Err(BotError::Refused(format!(
                "expected a welcome, got {other:?}"
            )));
        }
    };
    let sources = if state.publishes {
        publish::sources(&state.name, config.video, config.audio)
    } else {
        Vec::new()
    };
    let peer = Peer::new(
        config.address,
        sources,
        Arc::clone(&state.receiver),
        Arc::clone(&state.outgoing),
        Arc::clone(&state.ports),
    )
    .await?;
    let mut session = Session {
        state,
        signaling,
        peer,
        offering: false,
        publishing: None,
    };
    let others = welcome.participants.iter().flat_map(|other| &other.tracks);
    session.offer(first_lines(others.clone())).await?;
    others.for_each(|track| state.call().announce(track));
    Ok(session)
}

/// Receiving m-lines of the first offer: one for each track there is. At least one, because an
/// offer without any m-line has no transport.
fn first_lines<'a>(tracks: impl Iterator<Item = &'a Track>) -> Lines {
    let mut lines = Lines::default();
    for track in tracks {
        match track.kind {
            MediaKind::Audio => lines.audio += 1,
            MediaKind::Video => lines.video += 1,
        }
    }
    lines.audio = lines.audio.max(1);
    lines
}

fn refused(code: &str, message: &str) -> BotError {
    BotError::Refused(format!("the server refused: {code}: {message}"))
}

struct Session<'a> {
    state: &'a BotState,
    signaling: Signaling,
    peer: Peer,
    /// An offer is under way; the next one waits for its answer.
    offering: bool,
    publishing: Option<JoinHandle<Result<(), webrtc::error::Error>>>,
}

impl Session<'_> {
    async fn until_connected(&mut self, deadline: Instant) -> Result<(), BotError> {
        let mut transport = self.peer.state();
        loop {
            match *transport.borrow_and_update() {
                RTCPeerConnectionState::Connected => return Ok(()),
                RTCPeerConnectionState::Failed => {
                    return Err(BotError::Transport("failed to connect".into()));
                }
                _ => {}
            }
            tokio::select! {
                message = self.signaling.next() => {
                    self.handle(message?).await?;
                }
                _ = transport.changed() => {}
                () = tokio::time::sleep_until(deadline) => {
                    let step = match self.state.call().answered {
                        Some(_) => "no transport",
                        None => "no answer",
                    };
                    return Err(BotError::TooSlow(deadline - self.started(), step));
                }
            }
        }
    }

    async fn until_told_to_leave(
        &mut self,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<(), BotError> {
        let mut transport = self.peer.state();
        loop {
            let now = *phase.borrow_and_update();
            if now > Phase::Call {
                self.stop_publishing();
            }
            if now == Phase::Leave {
                return Ok(());
            }
            let failed = *transport.borrow_and_update();
            if matches!(
                failed,
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
            ) {
                return Err(BotError::Transport(format!("{failed} during the call")));
            }
            tokio::select! {
                message = self.signaling.next() => self.handle(message?).await?,
                _ = phase.changed() => {}
                _ = transport.changed() => {}
            }
        }
    }

    async fn handle(&mut self, message: ServerMessage) -> Result<(), BotError> {
        match message {
            ServerMessage::Answer(answer) => {
                let since_start = self.started().elapsed();
                {
                    let mut call = self.state.call();
                    call.answered.get_or_insert(since_start);
                    let mut observed = tap::lock(&self.state.observed);
                    observed.phases.signaling.get_or_insert(since_start);
                    drop(observed);
                    // The map comes before the media: packets may follow the description at once.
                    call.assign(&answer.slots);
                }
                let published = self.peer.kinds().await?;
                for track in &answer.published {
                    if let Some(kind) = published.get(&track.mid) {
                        self.state
                            .call()
                            .published
                            .insert(track.track.clone(), *kind);
                    }
                }
                self.peer.accept(&answer.sdp).await?;
                self.offering = false;
                self.add_lines(answer.needs).await?;
            }
            // While an offer is on its way, its answer will contain the needs after it.
            ServerMessage::Needs(needs) if !self.offering => self.add_lines(needs).await?,
            ServerMessage::Slots { slots } => self.state.call().assign(&slots),
            ServerMessage::ParticipantJoined { participant } => {
                let mut call = self.state.call();
                participant
                    .tracks
                    .iter()
                    .for_each(|track| call.announce(track));
            }
            ServerMessage::TrackPublished { track, .. } => self.state.call().announce(&track),
            ServerMessage::Media {
                state: MediaState::Failed,
                reason,
            } => {
                let reason = reason.unwrap_or_default();
                return Err(BotError::Transport(format!(
                    "failed, says the server: {reason}"
                )));
            }
            ServerMessage::Error(refusal) => return Err(refused(&refusal.code, &refusal.message)),
            ServerMessage::Bye {
                reason, message, ..
            } => {
                return Err(BotError::Refused(format!(
                    "the server said bye: {reason}: {message}"
                )));
            }
            _ => {}
        }
        Ok(())
    }

    async fn add_lines(&mut self, needs: Needs) -> Result<(), BotError> {
        if needs == Needs::default() {
            return Ok(());
        }
        let lines = Lines {
            audio: needs.audio.into(),
            video: needs.video.into(),
        };
        self.offer(lines).await
    }

    async fn offer(&mut self, add: Lines) -> Result<(), BotError> {
        let offer = self.peer.offer(add).await?;
        let tracks = offer.tracks.into_iter().map(|(mid, source)| CarriedTrack {
            mid,
            source,
            muted: false,
        });
        let offer = ClientMessage::Offer(Offer {
            sdp: offer.sdp,
            tracks: tracks.collect(),
        });
        self.signaling.send(offer).await?;
        self.offering = true;
        Ok(())
    }

    fn started(&self) -> Instant {
        self.state.call().started.unwrap_or_else(Instant::now)
    }

    fn publish(&mut self, start: Instant) {
        let publisher = Publisher::new(self.peer.sources(), &self.state.outgoing);
        self.publishing = Some(tokio::spawn(publisher.run(start)));
    }

    fn stop_publishing(&mut self) {
        if let Some(publishing) = self.publishing.take() {
            publishing.abort();
        }
    }

    /// Leaves, and does not insist on an answer.
    async fn leave(mut self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        self.stop_publishing();
        if self.signaling.send(ClientMessage::Leave).await.is_ok() {
            let bye = async { while self.signaling.next().await.is_ok() {} };
            let _ = tokio::time::timeout(PATIENCE, bye).await;
        }
        self.peer.close().await;
    }
}
