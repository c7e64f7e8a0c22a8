//! One wire bot's media, from its control plane: makes offers and reads answers, and gives its I/O thread commands for
//! them.

use std::net::SocketAddr;
use std::sync::Arc;

use tertulia_signaling::protocol::native::{CarriedTrack, IceServer, MediaKind, Needs, Offer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::candidates;
use super::carrier::{self, Carrier};
use super::dtls::Identity;
use super::ice::Credentials;
use super::offer::{Answer, Line, Offerer};
use super::publisher::Publisher;
use super::receiver::Shares;
use super::session::{Session, Start};
use super::socket::Socket;
use super::thread::{Command, Handle};
use crate::bot::media_path::MediaPath;
use crate::bot::native::{Media, MediaEvent};
use crate::bot::plan::{Plan, plan};
use crate::bot::state::BotState;
use crate::bot::tap::lock;
use crate::bot::{BotConfig, BotError};

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

/// A bot's media.
pub(super) struct Wire {
    seat: Seat,
    state: Arc<BotState>,
    ice: Credentials,
    address: SocketAddr,
    config: BotConfig,
    ice_servers: Vec<IceServer>,
    /// The server's candidates that fit, or the address of the carrier.
    tried: Vec<SocketAddr>,
    carrier: Option<Carrier>,
    /// The socket until the first answer, with which it goes to the I/O thread.
    socket: Option<Socket>,
    plans: Vec<Plan>,
    /// M-lines of all offers so far: those of the plans, then receiving ones.
    lines: Vec<Line>,
    version: u64,
    /// Events of the session, once there is one.
    events: Option<mpsc::Receiver<MediaEvent>>,
}

impl Wire {
    pub(super) async fn open(
        seat: Seat,
        config: BotConfig,
        state: Arc<BotState>,
    ) -> Result<Self, BotError> {
        let line = |plan: &Plan| Line {
            kind: plan.kind(),
            sending: Some(plan.sending.clone()),
        };
        let plans = match state.publishes {
            true => plan(config.video, config.audio),
            false => Vec::new(),
        };
        let socket = Socket::bind(SocketAddr::new(config.address, 0))?;
        let address = socket.udp.local_addr()?;
        lock(&state.ports).push(address.port());
        Ok(Self {
            seat,
            state,
            ice: Credentials::random(),
            address,
            config,
            ice_servers: Vec::new(),
            tried: Vec::new(),
            carrier: None,
            socket: Some(socket),
            lines: plans.iter().map(line).collect(),
            plans,
            version: 0,
            events: None,
        })
    }

    /// Checks that the answer takes all that is sent.
    fn check(&self, answer: &Answer) -> Result<(), BotError> {
        for (mid, plan) in self.plans.iter().enumerate() {
            let taken = answer.sections.iter().any(|section| {
                let has = section.formats.contains(&plan.sending.payload_type);
                section.mid.parse() == Ok(mid) && section.accepted && has
            });
            if !taken {
                let text = format!("the answer does not take what m-line {mid} sends");
                return Err(BotError::Refused(text));
            }
        }
        Ok(())
    }

    async fn tell(&self, command: Command) {
        self.seat.thread.tell(command).await;
    }

    async fn with(&self, act: impl FnOnce(&mut Session) + Send + 'static) {
        self.tell(Command::With(self.seat.name, Box::new(act)))
            .await;
    }
}

impl Media for Wire {
    fn learn_servers(&mut self, ice_servers: &[IceServer]) {
        self.ice_servers = ice_servers.to_vec();
    }

    async fn offer(&mut self, add: Needs) -> Result<Offer, BotError> {
        let receiving = |kind, count: u16| {
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
        let plans = self.plans.iter().enumerate();
        let tracks = plans.map(|(mid, plan)| CarriedTrack {
            mid: mid.to_string(),
            source: plan.source,
            muted: false,
        });
        Ok(Offer {
            sdp: offerer.write(&self.lines),
            tracks: tracks.collect(),
        })
    }

    async fn accept(&mut self, sdp: &str) -> Result<(), BotError> {
        let answer = Box::new(Answer::read(sdp).map_err(BotError::Refused)?);
        self.check(&answer)?;
        let name = self.seat.name;
        let Some(socket) = self.socket.take() else {
            self.with(move |session| session.learn(answer)).await;
            return Ok(());
        };
        self.tried = match self.config.path {
            MediaPath::Udp => candidates::fitting(&answer.candidates, self.address.ip())
                .map_err(BotError::Refused)?,
            path => {
                let server = carrier::Server {
                    candidates: &answer.candidates,
                    ice_servers: &self.ice_servers,
                    tls: self.config.url.tls(),
                };
                let connecting = Carrier::connect(path, server, self.address, self.config.stalls);
                let carrier = self.carrier.insert(connecting.await?);
                vec![carrier.address]
            }
        };
        let (events, heard) = mpsc::channel(EVENTS);
        self.events = Some(heard);
        let opened = self.state.call().started.unwrap_or_else(Instant::now);
        let start = Start {
            answer,
            candidates: self.tried.clone(),
            ours: self.ice.clone(),
            identity: Arc::clone(&self.seat.identity),
            shares: self.seat.shares,
            plans: self.plans.clone(),
            state: Arc::clone(&self.state),
            opened: opened.into_std(),
            events,
        };
        self.tell(Command::Connect(name, socket, Box::new(start)))
            .await;
        Ok(())
    }

    async fn next(&mut self) -> MediaEvent {
        let ended = || MediaEvent::Failed("its I/O thread ended".into());
        match &mut self.events {
            Some(events) => events.recv().await.unwrap_or_else(ended),
            None => std::future::pending().await,
        }
    }

    fn awaits(&self) -> String {
        candidates::unanswered(&self.tried, self.address)
    }

    async fn want_encodings(&mut self, mid: &str, wanted: Vec<(String, bool)>) {
        let mid = mid.to_owned();
        self.with(move |session| {
            session.publisher(|publisher| publisher.want_encodings(&mid, &wanted))
        })
        .await;
    }

    async fn publish(&mut self, start: Instant) {
        self.with(move |session| session.publish(start.into_std()))
            .await;
    }

    async fn stop(&mut self) {
        self.with(|session| session.publisher(Publisher::stop))
            .await;
    }

    async fn leave(&mut self) {
        let (done, gone) = oneshot::channel();
        self.tell(Command::Leave(self.seat.name, Some(done))).await;
        // It fails if the thread is gone, and then there is nothing to wait for.
        let _ = gone.await;
    }
}
