//! Transports side by side: what polling, long polling, server-sent events and a WebSocket take for the same messages.
//!
//! Clients without media are in small rooms. In each room one speaks, at random times, and the others listen. All of them use
//! the transport that is measured, by requests with the headers of a browser, over plain HTTP/1.1. Bytes are counted at the
//! clients' TCP sockets: everything above TCP, and nothing of TCP and IP. For each transport and each number of clients there
//! is a phase of talk and one without a word, on a server of its own if it is [spawned](Comparison::spawn).
//!
//! The [`TransportsReport`] has a table, and the reasons for which it may be doubted: a line that did not come once and in
//! order at each client, and cores that were too busy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tertulia_signaling::Config;
use tertulia_signaling::protocol::native::{Chat, ClientFrame, ClientMessage};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::bot::signaling::ServerUrl;
use crate::generator;
use crate::scenario::Spawn;
use crate::server::process::Process;
use crate::server::{Child, cores};
use books::{Books, Part};
use browser::Page;
use client::{Client, LONGEST_WAIT, PING_EVERY, Seat};
use scene::Scene;
use traffic::Traffic;

mod books;
mod browser;
mod client;
mod line;
mod report;
mod requests;
mod scene;
mod table;
mod traffic;
mod transport;

pub use report::{Figures, Measured, Phase, TransportsReport};
pub use traffic::Tally;
pub use transport::{Transport, TransportName};

/// Clients who join at a time: enough to keep a server busy, few beside the connections that a kernel lets wait.
const JOINING: usize = 64;
/// The time over which clients join: pings go on from there at this interval, and are spread then as those of people who
/// came one after the other. Less, if the phase of talk is shorter.
const JOINS: Duration = PING_EVERY;
/// The time for which the server is observed before anybody joins. Less, if the idle phase is shorter.
const EMPTY: Duration = Duration::from_secs(5);
/// Time between phases, beside the interval of plain polls: news of joins and late replies are over by then.
const SETTLE: Duration = Duration::from_secs(1);
/// The longest wait for lines that were said, beside two intervals of plain polls. No server is so late.
const PATIENCE: Duration = Duration::from_secs(30);
/// Interval of the looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// Time for all clients to leave.
const LEAVE_TIME: Duration = Duration::from_secs(10);
/// Interval of progress lines within a phase.
const PROGRESS: Duration = Duration::from_secs(10);
/// Seed of the times at which speakers speak: the same in each run and for each transport.
const SEED: u64 = 1;

/// The comparison to make.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Numbers of listeners, one after the other.
    pub clients: Vec<usize>,
    /// The transports, one after the other.
    pub transports: Vec<Transport>,
    /// Listeners of one room at most, beside its speaker.
    pub per_room: usize,
    /// Lines a second of each speaker.
    pub rate: f64,
    /// The time for which speakers say something.
    pub talk: Duration,
    /// The time for which nobody says anything.
    pub idle: Duration,
    /// The server, which speaks plain http; without `spawn`.
    pub url: ServerUrl,
    /// Servers of our own, one for each measurement.
    pub spawn: Option<Spawn>,
    /// The server's process, to account for it, without `spawn`.
    pub server_pid: Option<u32>,
    /// Cores that the clients may use; empty: all.
    pub cores: Vec<usize>,
}

impl Comparison {
    /// Measures each transport with each number of clients. `progress` is handed a line now and then.
    ///
    /// # Errors
    ///
    /// A server cannot be started or observed.
    pub async fn run(&self, progress: impl Fn(String)) -> io::Result<TransportsReport> {
        if !self.cores.is_empty() {
            cores::pin_process(&self.cores)?;
        }
        // Settings of a server that is started here do not change it.
        let ping_interval = self.spawn.as_ref().map(|_| Config::default().limits);
        let mut report = TransportsReport {
            version: env!("CARGO_PKG_VERSION").into(),
            machine: generator::machine(),
            rate: self.rate,
            per_room: self.per_room,
            talk_s: self.talk.as_secs_f64(),
            idle_s: self.idle.as_secs_f64(),
            ping_interval_s: ping_interval.map(|limits| limits.ping_interval_ms as f64 / 1e3),
            sse_ping_s: PING_EVERY.as_secs_f64(),
            poll_wait_s: LONGEST_WAIT.as_secs_f64(),
            ..TransportsReport::default()
        };
        for clients in &self.clients {
            for transport in &self.transports {
                let number = report.measured.len();
                let measurement = Measurement {
                    plan: self,
                    transport: *transport,
                    clients: *clients,
                    number,
                    progress: &progress,
                };
                report.measured.push(measurement.run().await?);
            }
        }
        report.passed = report.measured.iter().all(|it| it.passed);
        report.valid = report.measured.iter().all(|it| it.valid);
        Ok(report)
    }
}

/// One transport with one number of clients.
struct Measurement<'a, P> {
    plan: &'a Comparison,
    transport: Transport,
    clients: usize,
    /// Measurements before it: names of rooms are of one alone.
    number: usize,
    progress: &'a P,
}

/// People who have joined.
#[derive(Default)]
struct People {
    listeners: Vec<Client>,
    speakers: Vec<Client>,
}

impl<P: Fn(String)> Measurement<'_, P> {
    async fn run(&self) -> io::Result<Measured> {
        let child = match &self.plan.spawn {
            Some(spawn) => Some(Child::start(spawn).await?),
            None => None,
        };
        let url = child.as_ref().map_or(&self.plan.url, |child| &child.url);
        let page = Arc::new(Page::of(url).await?);
        let server = match child.as_ref().map(Child::pid).or(self.plan.server_pid) {
            Some(pid) => Some(Process::observe(pid).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("there is no process {pid}"),
                )
            })?),
            None => None,
        };
        let scene = Scene::new(server);
        let rooms = self.clients.div_ceil(self.plan.per_room);
        let mut measured = Measured {
            transport: self.transport.key().into(),
            title: self.transport.to_string(),
            poll_interval_s: match self.transport {
                Transport::Polling(interval) => Some(interval.as_secs_f64()),
                _ => None,
            },
            clients: self.clients,
            rooms,
            rss_before: scene.server.as_ref().and_then(Process::rss),
            ..Measured::default()
        };
        let before = scene.mark();
        self.pass(EMPTY.min(self.plan.idle), "empty server").await;
        measured.empty = scene.since(&before);
        let books = Arc::new(Books::default());
        let people = self.gather(&page, &books, &scene, rooms).await;
        measured.joined = people.listeners.len() + people.speakers.len();
        measured.joining = scene.listeners.tally();
        // Those who are missing would be taken for lines that are lost.
        if measured.joined == self.clients + rooms {
            self.observe(&scene, &books, &people, &mut measured).await;
        }
        (measured.faults, measured.first_fault) = books.faults();
        measured.passed = measured.faults == 0 && measured.joined == self.clients + rooms;
        measured.figures = measured.figures();
        measured.invalid_reasons = measured.invalid_reasons();
        measured.valid = measured.invalid_reasons.is_empty();
        part(people).await;
        Ok(measured)
    }

    /// Lets everybody in: one speaker and some listeners in each room.
    async fn gather(
        &self,
        page: &Arc<Page>,
        books: &Arc<Books>,
        scene: &Scene,
        rooms: usize,
    ) -> People {
        self.say(&format!("{} join", self.clients + rooms));
        let seat = |part, traffic: &Arc<Traffic>| Seat {
            page: Arc::clone(page),
            transport: self.transport,
            books: Arc::clone(books),
            traffic: Arc::clone(traffic),
            part,
        };
        let listener = seat(Part::Listener, &scene.listeners);
        let speaker = seat(Part::Speaker, &scene.speakers);
        let mut people = People::default();
        let mut joining = JoinSet::new();
        let all = self.clients + rooms;
        let (begin, over) = (Instant::now(), JOINS.min(self.plan.talk));
        for number in 0..all {
            sleep_until(begin + over.mul_f64(number as f64 / all as f64)).await;
            // The speakers come first.
            let (seat, room) = match number.checked_sub(rooms) {
                None => (speaker.clone(), number),
                Some(listener_number) => (listener.clone(), listener_number / self.plan.per_room),
            };
            let room = format!("transports-{}-{}-{room}", std::process::id(), self.number);
            if joining.len() == JOINING {
                people.add(joining.join_next().await);
            }
            joining.spawn(async move {
                let client = seat.join(&room, &format!("Person {number}")).await;
                (seat.part, client)
            });
        }
        while let Some(joined) = joining.join_next().await {
            people.add(Some(joined));
        }
        people
    }

    /// The phase of talk, and the one without.
    async fn observe(
        &self,
        scene: &Scene,
        books: &Arc<Books>,
        people: &People,
        measured: &mut Measured,
    ) {
        let interval = self.transport.interval();
        sleep(SETTLE + interval).await;
        let before = scene.mark();
        measured.said = self.talk(people, books).await;
        let lines = measured.said / people.speakers.len().max(1) as u64;
        let expected = (lines * self.clients as u64, measured.said);
        let deadline = Instant::now() + PATIENCE + 2 * interval;
        while books.heard() != expected && books.faults().0 == 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        measured.talk = scene.since(&before);
        (measured.heard, measured.echoed) = books.heard();
        if (measured.heard, measured.echoed) != expected && books.faults().0 == 0 {
            let (heard, all) = (measured.heard + measured.echoed, expected.0 + expected.1);
            books.fault(format!("{heard} lines were heard of {all} in time"));
        }
        measured.line_bytes = books.line_bytes();
        measured.delay_ms = books.delays();
        sleep(SETTLE + interval).await;
        let before = scene.mark();
        self.pass(self.plan.idle, "idle").await;
        measured.idle = scene.since(&before);
        measured.all = scene.listeners.tally();
        measured.rss = scene.server.as_ref().and_then(Process::rss);
    }

    /// Lets the speakers talk, and returns how many lines they said.
    async fn talk(&self, people: &People, books: &Arc<Books>) -> u64 {
        let period = Duration::from_secs_f64(1.0 / self.plan.rate);
        let count = (self.plan.talk.as_secs_f64() * self.plan.rate)
            .round()
            .max(1.0) as u64;
        let begin = Instant::now();
        let mut speaking = JoinSet::new();
        for (room, speaker) in people.speakers.iter().enumerate() {
            let (voice, books) = (speaker.voice(), Arc::clone(books));
            let mut random = StdRng::seed_from_u64(SEED + room as u64);
            speaking.spawn(async move {
                for number in 0..count {
                    // At a steady time a poll at a steady interval would always be as late.
                    let at = period.mul_f64(number as f64 + random.random::<f64>());
                    sleep_until(begin + at).await;
                    speak(&voice, number, &books).await;
                }
            });
        }
        self.pass(self.plan.talk, "talking").await;
        while speaking.join_next().await.is_some() {}
        count * people.speakers.len() as u64
    }

    /// Waits, and says how far it is.
    async fn pass(&self, duration: Duration, phase: &str) {
        let begin = Instant::now();
        loop {
            let gone = begin.elapsed();
            let Some(left) = duration.checked_sub(gone) else {
                return;
            };
            let (gone, all) = (gone.as_secs(), duration.as_secs_f64());
            self.say(&format!("{phase}, {gone} of {all} s"));
            sleep(left.min(PROGRESS)).await;
        }
    }

    fn say(&self, phase: &str) {
        let count = self.plan.clients.len() * self.plan.transports.len();
        let Self {
            number,
            clients,
            transport,
            ..
        } = self;
        let line = format!("{} of {count}: {transport}, {clients}: {phase}", number + 1);
        (self.progress)(line);
    }
}

impl People {
    fn add(&mut self, joined: Option<Result<(Part, Option<Client>), tokio::task::JoinError>>) {
        // Who did not join is in the books.
        let Some(Ok((part, Some(client)))) = joined else {
            return;
        };
        match part {
            Part::Listener => self.listeners.push(client),
            Part::Speaker => self.speakers.push(client),
        }
    }
}

async fn speak(voice: &mpsc::Sender<String>, number: u64, books: &Books) {
    let message = ClientMessage::Chat(Chat {
        text: books.line(number),
    });
    let id = u32::try_from(number).ok();
    // One who was dropped is in the books.
    let _ = voice.send(ClientFrame { id, message }.write()).await;
}

/// Lets everybody leave, for as long as that may take.
async fn part(people: People) {
    let clients = people.listeners.into_iter().chain(people.speakers);
    let mut leaving: Vec<_> = clients.map(Client::leave).collect();
    let all_gone = async {
        for client in &mut leaving {
            client.gone().await;
        }
    };
    // Those who are not gone by then are dropped.
    let _ = timeout(LEAVE_TIME, all_gone).await;
}
