//! One publisher or viewer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tertulia_sfu::rtp::codec::Codec;
use tertulia_signaling::protocol::native::{self as protocol, MediaKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use webrtc::peer_connection::RTCPeerConnectionState;

use super::client::{Endpoint, Session};
use super::description::{self, Line};
use super::fragment::fragment;
use super::http::HttpError;
use crate::bot::peer::{Lines, Peer};
use crate::bot::publish::{self, Publisher, Source, Video};
use crate::bot::state::{Announced, BotState};
use crate::bot::tap::lock;
use crate::bot::{BotConfig, Phase, Settled, codecs};

/// The time that candidates may take before the offer goes without the rest of them. Host candidates,
/// all that bots have, take milliseconds.
const GATHERING: Duration = Duration::from_secs(1);

/// A server that asks to come again but not when.
const RETRY: Duration = Duration::from_millis(500);

/// Goodbye is said, not insisted on.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum BotError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("peer connection: {0}")]
    Peer(#[from] webrtc::error::Error),
    #[error("{0}")]
    Url(String),
    #[error("the answer {0}")]
    Answer(String),
    #[error("the transport {0}")]
    Transport(String),
    #[error("the run ended while it was joining")]
    Interrupted,
    #[error("not joined within {0:?}: {1}")]
    TooSlow(Duration, String),
}

/// Runs a bot until `phase` says to leave; `watched` says when the publisher it watches is there.
pub(super) async fn run(
    endpoint: Result<Endpoint, String>,
    config: BotConfig,
    state: Arc<BotState>,
    watched: Option<watch::Receiver<bool>>,
    phase: watch::Receiver<Phase>,
    settled: Settled,
) {
    let mut settled = Some(settled);
    let call = call(endpoint, &config, &state, watched, phase, &mut settled);
    // The description is of a server we know nothing about, and judged by a crate that is not ours.
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

async fn call(
    endpoint: Result<Endpoint, String>,
    config: &BotConfig,
    state: &Arc<BotState>,
    watched: Option<watch::Receiver<bool>>,
    mut phase: watch::Receiver<Phase>,
    settled: &mut Option<Settled>,
) -> Result<(), BotError> {
    if let Some(mut watched) = watched {
        tokio::select! {
            _ = watched.wait_for(|there| *there) => {}
            _ = phase.wait_for(|phase| *phase > Phase::Call) => return Err(BotError::Interrupted),
        }
    }
    let started = Instant::now();
    state.call().started = Some(started);
    let deadline = started + config.join_timeout;
    let mut bot = Bot::new(endpoint.map_err(BotError::Url)?, config, state).await?;
    let joined = tokio::select! {
        joined = bot.join(deadline) => joined,
        _ = phase.wait_for(|phase| *phase > Phase::Call) => Err(BotError::Interrupted),
    };
    match &joined {
        Ok(()) => {
            let took = started.elapsed();
            state.call().joined = Some(took);
            let ice = bot.peer.ice().map(|at| at.duration_since(started));
            let mut observed = lock(&state.observed);
            observed.phases.ice = ice;
            observed.phases.dtls = Some(took);
            drop(observed);
            if config.talks {
                bot.publish(Instant::now() + config.stagger);
            }
        }
        // The failure is recorded before the scenario counts heads.
        Err(error) => state.call().failure = Some(error.to_string()),
    }
    if let Some(settled) = settled.take() {
        settled();
    }
    let outcome = match joined {
        Ok(()) => bot.until_told_to_leave(&mut phase).await,
        Err(error) => Err(error),
    };
    bot.leave().await;
    outcome
}

struct Bot<'a> {
    config: &'a BotConfig,
    state: &'a Arc<BotState>,
    endpoint: Endpoint,
    peer: Peer,
    session: Option<Session>,
    /// The streams that are sent, once an answer has said what may be.
    sources: Vec<Source>,
    publishing: Option<JoinHandle<Result<(), webrtc::error::Error>>>,
}

impl<'a> Bot<'a> {
    async fn new(
        endpoint: Endpoint,
        config: &'a BotConfig,
        state: &'a Arc<BotState>,
    ) -> Result<Self, BotError> {
        Ok(Self {
            config,
            state,
            endpoint,
            peer: peer(config, state).await?,
            session: None,
            sources: Vec::new(),
            publishing: None,
        })
    }

    async fn join(&mut self, deadline: Instant) -> Result<(), BotError> {
        let mut last = String::from("no answer");
        let negotiated = tokio::time::timeout_at(deadline, self.negotiate(&mut last)).await;
        let too_slow = |step| BotError::TooSlow(self.config.join_timeout, step);
        negotiated.map_err(|_| too_slow(last))??;
        let mut transport = self.peer.state();
        let connected = transport.wait_for(|state| {
            [
                RTCPeerConnectionState::Connected,
                RTCPeerConnectionState::Failed,
                RTCPeerConnectionState::Closed,
            ]
            .contains(state)
        });
        let connected = tokio::time::timeout_at(deadline, connected).await;
        match connected
            .map_err(|_| BotError::TooSlow(self.config.join_timeout, "no transport".into()))?
        {
            Ok(state) if *state == RTCPeerConnectionState::Connected => Ok(()),
            _ => Err(BotError::Transport("failed to connect".into())),
        }
    }

    /// Comes to a session, asking again for as long as the server says to; `refusal` is the last
    /// thing it said.
    async fn negotiate(&mut self, refusal: &mut String) -> Result<(), BotError> {
        let offer = self.offer().await?;
        let mut pause = Duration::ZERO;
        let negotiation = loop {
            match self.endpoint.offer(&offer, !self.state.publishes).await {
                Ok(negotiation) => break negotiation,
                Err(error) => {
                    let Some(wait) = error.retry_after() else {
                        return Err(error.into());
                    };
                    *refusal = error.to_string();
                    pause = (pause * 2).max(wait).max(RETRY);
                    tokio::time::sleep(pause).await;
                }
            }
        };
        // The session is stored before anything can fail: it has to be deleted.
        let session = self.session.insert(negotiation.session).clone();
        {
            let mut call = self.state.call();
            let since_start = call.started.map(|started| started.elapsed());
            call.answered = since_start;
            lock(&self.state.observed).phases.signaling = since_start;
        }
        if negotiation.counter_offer {
            return self.answer(&session, &negotiation.sdp).await;
        }
        self.accept(&negotiation.sdp).await?;
        // These candidates were gathered after the offer was sent.
        if session.trickles()
            && !offer.contains("a=end-of-candidates")
            && let Some(fragment) = self.peer.gathered().await.as_deref().and_then(fragment)
        {
            session.trickle(&fragment).await?;
        }
        Ok(())
    }

    /// The whole offer.
    async fn offer(&mut self) -> Result<String, BotError> {
        if self.state.publishes {
            self.offer_what_is_sent_only().await?;
        }
        let mut lines = Lines::default();
        if !self.state.publishes {
            lines.audio = u32::from(self.config.audio);
            lines.video = u32::from(self.config.video != Video::None);
        }
        let offer = self.peer.offer(lines).await?;
        Ok(self.described().await.unwrap_or(offer.sdp))
    }

    async fn described(&self) -> Option<String> {
        match tokio::time::timeout(GATHERING, self.peer.gathered()).await {
            Ok(gathered) => gathered,
            Err(_) => self.peer.described().await,
        }
    }

    /// A server may choose any codec it is offered (the first it likes is common), so that a
    /// publisher must offer none it has no clip in.
    async fn offer_what_is_sent_only(&self) -> Result<(), BotError> {
        for (source, transceiver) in self.peer.published() {
            let parameters = codecs::parameters(payload_type(source.kind()));
            transceiver.set_codec_preferences(parameters).await?;
        }
        Ok(())
    }

    async fn accept(&mut self, answer: &str) -> Result<(), BotError> {
        let lines = description::lines(answer);
        if self.state.publishes {
            self.agree_to_send(&lines).await?;
        } else {
            self.expect(&lines);
        }
        Ok(self.peer.accept(answer).await?)
    }

    /// Settles the layers to send: those of each track that the answer accepts.
    async fn agree_to_send(&mut self, lines: &[Line]) -> Result<(), BotError> {
        let kinds = self.peer.kinds().await?;
        for source in self.peer.sources() {
            let kind = source.kind();
            let line = lines.iter().find(|line| {
                line.kind == Some(kind) && kinds.get(&line.mid) == Some(&kind) && line.accepted
            });
            let name = name_of(kind);
            let line = line.ok_or_else(|| BotError::Answer(format!("rejects the {name}")))?;
            let codec = codecs::codec(payload_type(kind)).unwrap_or(Codec::Vp8);
            if !line.has(codec) {
                let codec = codec.name();
                return Err(BotError::Answer(format!("has no {codec} for the {name}")));
            }
            let mut encodings = source.encodings.clone();
            if encodings.len() > 1 {
                let accepted = |rid: &str| line.rids.iter().any(|known| known == rid);
                let largest = encodings.len() - 1;
                let any = encodings.iter().any(|encoding| accepted(encoding.rid));
                let mut index = 0;
                encodings.retain(|encoding| {
                    index += 1;
                    accepted(encoding.rid) || (!any && index > largest)
                });
            }
            self.sources.push(Source {
                track: Arc::clone(&source.track),
                source: source.source,
                encodings,
            });
            let track = self.track(kind);
            self.state.call().published.insert(track, kind);
        }
        Ok(())
    }

    /// Records the track of each m-line. All belong to the one publisher that is watched.
    fn expect(&self, lines: &[Line]) {
        let carries = |kind| {
            let mut lines = lines.iter();
            lines.find(|line| line.kind == Some(kind) && line.accepted && line.sends)
        };
        let [audio, video] = [MediaKind::Audio, MediaKind::Video].map(|kind| {
            let line = carries(kind)?;
            let track = self.track(kind);
            let at = Instant::now();
            let mut call = self.state.call();
            call.slots.insert(line.mid.clone(), track.clone());
            call.announced.insert(track, Announced { kind, at });
            Some(line.mid.clone())
        });
        lock(&self.state.receiver).learn_only_lines(audio, video);
    }

    /// Answers the offer that a WHEP endpoint prefers to ours, with a connection that has offered
    /// nothing.
    async fn answer(&mut self, session: &Session, offer: &str) -> Result<(), BotError> {
        let fresh = peer(self.config, self.state).await?;
        std::mem::replace(&mut self.peer, fresh).close().await;
        let lines = description::lines(offer);
        lock(&self.state.receiver).learn_payload_types(description::payload_types(&lines));
        self.expect(&lines);
        self.peer.answer(offer).await?;
        let answer = self.described().await.unwrap_or_default();
        Ok(session.answer(&answer).await?)
    }

    /// The name of a track in the report. The servers have no names for tracks.
    fn track(&self, kind: MediaKind) -> String {
        let n = self.state.stream.unwrap_or(1);
        format!("{}/{n}/{}", self.state.room, name_of(kind))
    }

    fn publish(&mut self, start: Instant) {
        let publisher = Publisher::new(&self.sources, &self.state.outgoing);
        self.publishing = Some(tokio::spawn(publisher.run(start)));
    }

    fn stop_publishing(&mut self) {
        if let Some(publishing) = self.publishing.take() {
            publishing.abort();
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
            let state = *transport.borrow_and_update();
            if matches!(
                state,
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
            ) {
                return Err(BotError::Transport(format!("{state} during the call")));
            }
            tokio::select! {
                _ = phase.changed() => {}
                _ = transport.changed() => {}
            }
        }
    }

    async fn leave(mut self) {
        self.stop_publishing();
        if let Some(session) = &self.session {
            let gone = tokio::time::timeout(GOODBYE, session.delete()).await;
            if let Ok(Err(error)) = gone {
                tracing::warn!(bot = %self.state.name, %error, "the session is left behind");
            }
        }
        self.peer.close().await;
    }
}

async fn peer(config: &BotConfig, state: &BotState) -> Result<Peer, BotError> {
    let sources = if state.publishes {
        publish::sources(&state.name, config.video, config.audio)
    } else {
        Vec::new()
    };
    Ok(Peer::new(
        config.address,
        sources,
        Arc::clone(&state.receiver),
        Arc::clone(&state.outgoing),
        Arc::clone(&state.ports),
    )
    .await?)
}

/// The codec of the clips.
fn payload_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => codecs::OPUS,
        MediaKind::Video => codecs::VP8,
    }
}

fn name_of(kind: MediaKind) -> &'static str {
    match kind {
        protocol::MediaKind::Audio => "audio",
        protocol::MediaKind::Video => "video",
    }
}
