//! One wire bot's control plane: joins by the native protocol, makes offers and reads answers, and
//! gives its I/O thread commands for them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::{
    CarriedTrack, ClientMessage, Join, LayerWanted, MediaKind, MediaState, Needs, Offer,
    ServerMessage, Track, VERSION,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::candidates;
use super::dtls::Identity;
use super::ice::Credentials;
use super::page::Page;
use super::publisher::{self, Plan};
use super::receiver::Shares;
use super::sdp::{Line, Offerer, read_answer, write_offer};
use super::session::{Event, Start};
use super::socket::Socket;
use super::thread::{Command, Handle};
use crate::bot::signaling::{Signaling, SignalingError};
use crate::bot::state::BotState;
use crate::bot::tap::lock;
use crate::bot::{BotConfig, Phase, Settled};

/// A bot's place in the fleet. Leaving it, in whatever way, ends the bot's media.
pub(super) struct Seat {
    pub(super) name: u64,
    pub(super) thread: Arc<Handle>,
    pub(super) identity: Arc<Identity>,
    pub(super) shares: Shares,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.thread.try_tell(Command::Leave(self.name, None));
    }
}

/// Events of a session, which are a few in its life.
const EVENTS: usize = 16;

#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the transport failed: {0}")]
    Transport(String),
    #[error("the run ended while it was joining")]
    Interrupted,
    #[error("not joined within {0:?}: {1}")]
    TooSlow(Duration, String),
}

/// Runs a bot until `phase` says to leave.
pub(super) async fn run(
    seat: Seat,
    config: BotConfig,
    state: Arc<BotState>,
    phase: watch::Receiver<Phase>,
    settled: Settled,
) {
    let mut settled = Some(settled);
    if let Err(error) = call(&seat, &config, &state, phase, &mut settled).await {
        state.call().failure.get_or_insert(error.to_string());
    }
    if let Some(settled) = settled {
        settled();
    }
}

async fn call(
    seat: &Seat,
    config: &BotConfig,
    state: &Arc<BotState>,
    mut phase: watch::Receiver<Phase>,
    settled: &mut Option<Settled>,
) -> Result<(), WireError> {
    let started = Instant::now();
    state.call().started = Some(started);
    let deadline = started + config.join_timeout;
    let opening = tokio::time::timeout_at(deadline, open(seat, config, state, started));
    let opened = tokio::select! {
        opened = opening => opened,
        _ = phase.wait_for(|phase| *phase > Phase::Call) => return Err(WireError::Interrupted),
    };
    let mut bot =
        opened.map_err(|_| WireError::TooSlow(config.join_timeout, "no welcome".into()))??;
    let joined = tokio::select! {
        joined = bot.until_connected(deadline) => joined,
        _ = phase.wait_for(|phase| *phase > Phase::Call) => Err(WireError::Interrupted),
    };
    match &joined {
        Ok(()) => {
            state.call().joined = Some(started.elapsed());
            if state.publishes && config.talks {
                let start = Instant::now() + config.stagger;
                bot.tell(Command::Publish(seat.name, start.into_std()))
                    .await;
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

async fn open<'a>(
    seat: &'a Seat,
    config: &BotConfig,
    state: &'a Arc<BotState>,
    started: Instant,
) -> Result<Bot<'a>, WireError> {
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
            let text = format!("expected a welcome, got {other:?}");
            return Err(WireError::Refused(text));
        }
    };
    let plans = match state.publishes {
        true => publisher::plan(config.video, config.audio),
        false => Vec::new(),
    };
    let socket = Socket::bind(SocketAddr::new(config.address, 0))?;
    let address = socket.address()?;
    lock(&state.ports).push(address.port());
    let mut bot = Bot {
        seat,
        state,
        signaling,
        started,
        ice: Credentials::random(),
        address,
        tried: Vec::new(),
        socket: Some(socket),
        lines: plans.iter().map(|plan| plan.line.clone()).collect(),
        plans,
        version: 0,
        offering: false,
        mids: HashMap::new(),
        page: config.tiles.map(Page::new),
        events: None,
    };
    let others = welcome.participants.iter().flat_map(|other| &other.tracks);
    bot.hear_of(others.clone()).await?;
    bot.offer(first_lines(others)).await?;
    Ok(bot)
}

/// Receiving m-lines of the first offer: one for each track there is, and as a webrtc bot does,
/// one for sound in any case.
fn first_lines<'a>(tracks: impl Iterator<Item = &'a Track>) -> Needs {
    let mut lines = Needs::default();
    for track in tracks {
        match track.kind {
            MediaKind::Audio => lines.audio += 1,
            MediaKind::Video => lines.video += 1,
        }
    }
    lines.audio = lines.audio.max(1);
    lines
}

fn refused(code: &str, message: &str) -> WireError {
    WireError::Refused(format!("the server refused: {code}: {message}"))
}

struct Bot<'a> {
    seat: &'a Seat,
    state: &'a Arc<BotState>,
    signaling: Signaling,
    started: Instant,
    ice: Credentials,
    address: SocketAddr,
    /// The server's candidates that fit.
    tried: Vec<SocketAddr>,
    /// The socket until the first answer, with which it goes to the I/O thread.
    socket: Option<Socket>,
    plans: Vec<Plan>,
    /// M-lines of all offers so far: those of the plans, then receiving ones.
    lines: Vec<Line>,
    version: u64,
    /// An offer is under way; the next one waits for its answer.
    offering: bool,
    /// The m-lines of its own tracks, by the server's names for these.
    mids: HashMap<String, String>,
    page: Option<Page>,
    /// Events of the session, once there is one.
    events: Option<mpsc::Receiver<Event>>,
}

impl Bot<'_> {
    async fn until_connected(&mut self, deadline: Instant) -> Result<(), WireError> {
        loop {
            tokio::select! {
                message = self.signaling.next() => self.handle(message?).await?,
                event = next_event(&mut self.events) => match event {
                    Event::Connected => return Ok(()),
                    Event::Failed(why) => return Err(WireError::Transport(why)),
                },
                () = tokio::time::sleep_until(deadline) => {
                    let step = match self.state.call().answered {
                        Some(_) => candidates::unanswered(&self.tried, self.address),
                        None => "no answer".into(),
                    };
                    return Err(WireError::TooSlow(deadline - self.started, step));
                }
            }
        }
    }

    async fn until_told_to_leave(
        &mut self,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<(), WireError> {
        loop {
            let now = *phase.borrow_and_update();
            if now > Phase::Call {
                self.tell(Command::Stop(self.seat.name)).await;
            }
            if now == Phase::Leave {
                return Ok(());
            }
            tokio::select! {
                message = self.signaling.next() => self.handle(message?).await?,
                event = next_event(&mut self.events) => {
                    if let Event::Failed(why) = event {
                        return Err(WireError::Transport(format!("{why}, during the call")));
                    }
                }
                changed = phase.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn handle(&mut self, message: ServerMessage) -> Result<(), WireError> {
        match message {
            ServerMessage::Answer(answer) => {
                let since_start = self.started.elapsed();
                {
                    let mut call = self.state.call();
                    call.answered.get_or_insert(since_start);
                    call.assign(&answer.slots);
                    for track in &answer.published {
                        let line = track
                            .mid
                            .parse()
                            .ok()
                            .and_then(|mid: usize| self.lines.get(mid));
                        if let Some(line) = line {
                            call.published.insert(track.track.clone(), line.kind);
                            self.mids.insert(track.track.clone(), track.mid.clone());
                        }
                    }
                }
                lock(&self.state.observed)
                    .phases
                    .signaling
                    .get_or_insert(since_start);
                self.accept(&answer.sdp).await?;
                self.offering = false;
                self.add_lines(answer.needs).await?;
            }
            // While an offer is on its way, its answer will contain the needs after it.
            ServerMessage::Needs(needs) if !self.offering => self.add_lines(needs).await?,
            ServerMessage::Slots { slots } => self.state.call().assign(&slots),
            ServerMessage::ParticipantJoined { participant } => {
                self.hear_of(&participant.tracks).await?;
            }
            ServerMessage::TrackPublished { track, .. } => self.hear_of([&track]).await?,
            ServerMessage::Speakers { speaking, .. } => self.state.call().speaking = speaking,
            ServerMessage::Layers { track, layers } => self.want_layers(&track, layers).await,
            ServerMessage::Media {
                state: MediaState::Failed,
                reason,
            } => {
                let reason = reason.unwrap_or_default();
                return Err(WireError::Transport(format!("{reason}, says the server")));
            }
            ServerMessage::Error(refusal) => return Err(refused(&refusal.code, &refusal.message)),
            ServerMessage::Bye {
                reason, message, ..
            } => {
                return Err(WireError::Refused(format!(
                    "the server said bye: {reason}: {message}"
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// Records tracks of others, and tells the server which of them it shows.
    async fn hear_of(&mut self, tracks: impl IntoIterator<Item = &Track>) -> Result<(), WireError> {
        let told = {
            let mut call = self.state.call();
            let tracks = tracks.into_iter();
            let new: Vec<&Track> = tracks
                .filter(|track| !call.announced.contains_key(&track.id))
                .collect();
            new.iter().for_each(|track| call.announce(track));
            let page = self.page.as_mut();
            page.map_or_else(Vec::new, |page| page.place(new, &mut call.hidden))
        };
        for message in told {
            self.signaling.send(message).await?;
            self.state.call().viewed = Some(Instant::now());
        }
        Ok(())
    }

    /// Publishes the encodings that the server wants, and no others.
    async fn want_layers(&mut self, track: &str, layers: Vec<LayerWanted>) {
        let Some(mid) = self.mids.get(track).cloned() else {
            return;
        };
        let layers = layers.into_iter();
        let wanted = layers.map(|layer| (layer.rid.unwrap_or_default(), layer.active));
        let command = Command::Encodings(self.seat.name, mid, wanted.collect());
        self.tell(command).await;
    }

    async fn accept(&mut self, sdp: &str) -> Result<(), WireError> {
        let answer = read_answer(sdp).map_err(WireError::Refused)?;
        for (mid, plan) in self.plans.iter().enumerate() {
            let format = plan
                .line
                .sending
                .as_ref()
                .map(|sending| sending.payload_type);
            let taken = answer.accepted.iter().any(|(name, formats)| {
                name.parse() == Ok(mid) && format.is_some_and(|format| formats.contains(&format))
            });
            if !taken {
                let text = format!("the answer does not take what m-line {mid} sends");
                return Err(WireError::Refused(text));
            }
        }
        let (name, answer) = (self.seat.name, Box::new(answer));
        let Some(socket) = self.socket.take() else {
            self.tell(Command::Learn(name, answer)).await;
            return Ok(());
        };
        let fitting = candidates::fitting(&answer.candidates, self.address.ip());
        self.tried = fitting.map_err(WireError::Refused)?;
        let (events, heard) = mpsc::channel(EVENTS);
        self.events = Some(heard);
        let start = Start {
            answer,
            candidates: self.tried.clone(),
            ours: self.ice.clone(),
            identity: Arc::clone(&self.seat.identity),
            shares: self.seat.shares,
            plans: self.plans.clone(),
            state: Arc::clone(self.state),
            opened: self.started.into_std(),
            events,
        };
        self.tell(Command::Connect(name, socket, Box::new(start)))
            .await;
        Ok(())
    }

    async fn add_lines(&mut self, needs: Needs) -> Result<(), WireError> {
        if needs == Needs::default() {
            return Ok(());
        }
        self.offer(needs).await
    }

    async fn offer(&mut self, add: Needs) -> Result<(), WireError> {
        let receiving = |kind, count| {
            let line = Line {
                kind,
                sending: None,
            };
            std::iter::repeat_n(line, usize::from(count))
        };
        self.lines.extend(receiving(MediaKind::Audio, add.audio));
        self.lines.extend(receiving(MediaKind::Video, add.video));
        self.version += 1;
        let offerer = Offerer {
            session: self.seat.name + 1,
            version: self.version,
            ice: &self.ice,
            fingerprint: self.seat.identity.fingerprint(),
            address: self.address,
            cname: &self.state.name,
        };
        let tracks = self
            .plans
            .iter()
            .enumerate()
            .map(|(mid, plan)| CarriedTrack {
                mid: mid.to_string(),
                source: plan.source,
                muted: false,
            });
        let offer = ClientMessage::Offer(Offer {
            sdp: write_offer(&offerer, &self.lines),
            tracks: tracks.collect(),
        });
        self.signaling.send(offer).await?;
        self.offering = true;
        Ok(())
    }

    async fn tell(&self, command: Command) {
        self.seat.thread.tell(command).await;
    }

    /// Leaves, and does not insist on an answer.
    async fn leave(mut self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        // First, so that the server hears why the media ends.
        let said = self.signaling.send(ClientMessage::Leave).await;
        let (done, gone) = oneshot::channel();
        self.tell(Command::Leave(self.seat.name, Some(done))).await;
        // It fails if the thread is gone, and then there is nothing to wait for.
        let _ = gone.await;
        if said.is_ok() {
            let bye = async { while self.signaling.next().await.is_ok() {} };
            let _ = tokio::time::timeout(PATIENCE, bye).await;
        }
    }
}

/// Never, before there is a session. Cancel safe.
async fn next_event(events: &mut Option<mpsc::Receiver<Event>>) -> Event {
    let ended = || Event::Failed("its I/O thread ended".into());
    match events {
        Some(events) => events.recv().await.unwrap_or_else(ended),
        None => std::future::pending().await,
    }
}
