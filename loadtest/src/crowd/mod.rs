//! A crowd: many people in one room without media, some of whom change something. What the room tells them is counted.
//!
//! Only the signaling is loaded. The [`CrowdReport`] gives messages and bytes for each join and each change, over all
//! who receive them, and the server's processor time and memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::bot::signaling::ServerUrl;
use crate::generator;
use crate::scenario::Spawn;
use crate::server::process::Process;
use crate::server::{Child, cores};
use books::Books;
use person::{Person, Seat};

mod books;
mod change;
mod person;
mod report;

pub use change::Change;
pub use report::{CrowdReport, Step};

/// People who join at a time: enough to keep a server busy, few beside the connections that a kernel lets wait.
const JOINING: usize = 64;
/// A step is over once nobody was told anything for this long. Longer than a server holds news back.
const QUIET: Duration = Duration::from_millis(1_500);
/// The longest wait for that.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval of the looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// The crowd to gather.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// The number of people.
    pub people: usize,
    /// Features of their clients.
    pub clients: Clients,
    /// Changes a second.
    pub rate: f64,
    /// The time for which each kind of change goes on.
    pub duration: Duration,
    /// The kinds, one after the other.
    pub changes: Vec<Change>,
    /// The server; without `spawn`.
    pub url: ServerUrl,
    /// A server of our own.
    pub spawn: Option<Spawn>,
    /// The server's process, to account for it, without `spawn`.
    pub server_pid: Option<u32>,
    /// Cores that the crowd may use; empty: all.
    pub cores: Vec<usize>,
}

/// The abilities that the crowd's clients claim in `join`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Clients {
    /// None: the messages of the first servers.
    Plain,
    /// They take the message `batch`.
    Batch,
    /// They also see a large room as its audience does.
    #[default]
    Audience,
}

impl Crowd {
    /// Gathers the crowd, lets it change things, and lets it go.
    ///
    /// # Errors
    ///
    /// The server cannot be started or observed, or nobody can join.
    pub async fn run(&self) -> io::Result<CrowdReport> {
        if !self.cores.is_empty() {
            cores::pin_process(&self.cores)?;
        }
        let child = match &self.spawn {
            Some(spawn) => Some(Child::start(spawn).await?),
            None => None,
        };
        let url = child.as_ref().map_or(&self.url, |child| &child.url);
        let server = match child.as_ref().map(Child::pid).or(self.server_pid) {
            Some(pid) => Some(Process::observe(pid).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("there is no process {pid}"),
                )
            })?),
            None => None,
        };
        let mut report = CrowdReport {
            version: env!("CARGO_PKG_VERSION").into(),
            machine: generator::machine(),
            people: self.people,
            clients: format!("{:?}", self.clients).to_lowercase(),
            rate: self.rate,
            rss_before: server.as_ref().and_then(Process::rss),
            ..CrowdReport::default()
        };
        let scene = Scene {
            books: Arc::new(Books::default()),
            server,
        };
        let seat = Seat {
            url: url.clone(),
            clients: self.clients,
            books: Arc::clone(&scene.books),
        };

        let before = scene.mark();
        let mut people = self.gather(&seat, &mut report).await;
        let joined = people.len() as u64;
        report.steps.push(scene.step("join", joined, before).await);
        report.join_ms = scene.books.joins();

        let before = scene.mark();
        sleep(self.duration).await;
        let idle = scene.step("idle", 0, before).await;
        let idle_share = idle.cpu_s.map_or(0.0, |used| used / idle.seconds);
        report.steps.push(idle);
        report.rss = scene.server.as_ref().and_then(Process::rss);
        for change in &self.changes {
            scene.books.forget_delays();
            let before = scene.mark();
            let count = self.make(*change, &mut people, &seat).await;
            let mut step = scene.step(change.name(), count, before).await;
            step.subtract_idle(idle_share);
            report.steps.push(step);
        }
        report.dropped = scene.books.dropped();
        report.first_error = scene.books.first_error();
        report.passed = report.joined == self.people && report.dropped == 0;
        Ok(report)
    }

    /// Lets everybody in.
    async fn gather(&self, seat: &Seat, report: &mut CrowdReport) -> Vec<Person> {
        let mut joining = JoinSet::new();
        let mut people = Vec::with_capacity(self.people);
        for number in 0..self.people {
            if joining.len() == JOINING
                && let Some(Ok(Some(person))) = joining.join_next().await
            {
                people.push(person);
            }
            let seat = seat.clone();
            joining.spawn(async move { seat.join(number).await });
        }
        while let Some(joined) = joining.join_next().await {
            people.extend(joined.ok().flatten());
        }
        report.joined = people.len();
        people
    }

    /// Makes changes, by one person after the other, and returns their number.
    async fn make(&self, change: Change, people: &mut [Person], seat: &Seat) -> u64 {
        let mut beat = interval(Duration::from_secs_f64(1.0 / self.rate));
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + self.duration;
        let mut made = 0;
        while Instant::now() < until && !people.is_empty() {
            beat.tick().await;
            let number = made as usize % people.len();
            let round = made as usize / people.len();
            let person = &mut people[number];
            if change == Change::ComeAndGo {
                person.leave().await;
                if let Some(next) = seat.join(self.people + made as usize).await {
                    *person = next;
                }
            } else {
                person.say(change.message(number, round, &seat.books)).await;
            }
            made += 1;
        }
        made
    }
}

/// The things to be measured.
struct Scene {
    books: Arc<Books>,
    server: Option<Process>,
}

/// A moment before a step.
struct Mark {
    at: Instant,
    messages: u64,
    bytes: u64,
    cpu: Option<f64>,
}

impl Scene {
    fn mark(&self) -> Mark {
        let (messages, bytes) = self.books.received();
        Mark {
            at: Instant::now(),
            messages,
            bytes,
            cpu: self.server.as_ref().and_then(Process::cpu_seconds),
        }
    }

    /// Waits until everybody was told, and takes stock.
    async fn step(&self, name: &str, count: u64, before: Mark) -> Step {
        let seconds = before.at.elapsed().as_secs_f64();
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (self.books.received(), Instant::now());
        while since.elapsed() < QUIET && Instant::now() < deadline {
            sleep(LOOK).await;
            let now = self.books.received();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        let after = self.mark();
        let mut step = Step {
            name: name.into(),
            count,
            seconds,
            measured_s: before.at.elapsed().as_secs_f64(),
            messages: after.messages - before.messages,
            bytes: after.bytes - before.bytes,
            cpu_s: after.cpu.and_then(|now| Some(now - before.cpu?)),
            cpu_ms_each: None,
            delay_ms: self.books.delays(),
        };
        step.subtract_idle(0.0);
        step
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tertulia_signaling::{Config, Node};

    use super::*;

    /// Four people in a small room: each join and change is told to each of the others, and nothing is lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn messages_of_a_small_room_are_counted() {
        let node = Node::start(Config {
            media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            media_port: 0,
            workers: 1,
            ..Config::default()
        })
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = node.clone();
        let serving = tokio::spawn(async move { server.serve(listener).await });
        let crowd = Crowd {
            people: 4,
            clients: Clients::Plain,
            rate: 20.0,
            duration: Duration::from_millis(500),
            changes: vec![
                Change::Update,
                Change::Hand,
                Change::Chat,
                Change::ComeAndGo,
            ],
            url: url.parse().unwrap(),
            spawn: None,
            server_pid: None,
            cores: Vec::new(),
        };
        let report = crowd.run().await.unwrap();
        node.shutdown().await;
        serving.abort();
        assert!(report.passed, "{report:#?}");
        let step = |name: &str| report.steps.iter().find(|step| step.name == name).unwrap();
        // A welcome for each, and three, two, one who hear of it.
        assert_eq!((step("join").count, step("join").messages), (4, 10));
        assert_eq!(report.join_ms.max.map(|most| most > 0.0), Some(true));
        for (name, told) in [("update", 4), ("hand", 5), ("chat", 5)] {
            let step = step(name);
            // The others, a reply, and of hands and chat the sender itself.
            assert!(step.count > 3, "{step:?}");
            assert_eq!(step.messages, told * step.count, "{step:?}");
        }
        assert!(step("chat").delay_ms.p50.is_some() && step("update").delay_ms.p50.is_some());
        let moves = step("come_and_go");
        // `bye` and `welcome`, three who hear of both, and perhaps one who moderates now, or who is gone a moment later.
        let each = moves.messages as f64 / moves.count as f64;
        assert!((7.5..=10.0).contains(&each), "{moves:?}");
        let text = report.to_string();
        assert!(
            text.contains("| come_and_go |") && text.ends_with("passed"),
            "{text}"
        );
    }
}
