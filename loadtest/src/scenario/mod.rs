//! Rooms of bots: let them in, let them talk, take stock, let them out.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bot::state::BotState;
use crate::bot::tap::lock;
use crate::bot::{BotConfig, Phase};
use crate::generator;
use crate::report::Report;

pub use model::{BotKind, Churn, Phases, Scenario, Spawn, Storm};

pub mod catalog;
mod model;
pub mod settings;

/// Joins under way at a time. More would make them compete for this machine's processors (a DTLS
/// handshake is milliseconds of them) and measure that instead of the server.
const JOINS_AT_A_TIME: usize = 32;

/// For packets under way, and for two rounds of retransmission, after publishers have stopped.
const DRAIN: Duration = Duration::from_millis(500);

/// Bots wait a second for the server's goodbye.
const LEAVING: Duration = Duration::from_secs(5);

/// Runs a scenario, ended early by `stop`. `bots` is told of the bots before they join.
pub async fn run(
    scenario: &Scenario,
    stop: impl Future<Output = ()>,
    bots_made: impl FnOnce(&[Arc<BotState>]),
) -> std::io::Result<Report> {
    let address = match scenario.address {
        Some(address) => address,
        None => generator::address_towards(scenario.protocol.resolve(&scenario.url).await?),
    };
    let bots = scenario.bots();
    bots_made(&bots);
    let mut report = scenario.report();
    let machine_errors = generator::machine_buffer_errors();
    let cpu = generator::cpu_seconds();
    let (phase, phases) = watch::channel(Phase::Call);
    let mut tasks = JoinSet::new();

    tokio::pin!(stop);
    tokio::select! {
        () = scenario.admit(&bots, address, &phases, &mut tasks) => {}
        () = &mut stop => report.interrupted = true,
    }
    let talking = Instant::now();
    let anybody = bots.iter().any(|bot| bot.call().joined.is_some());
    if anybody && !report.interrupted {
        tokio::select! {
            () = tokio::time::sleep(scenario.duration) => {}
            () = &mut stop => report.interrupted = true,
        }
    }
    report.duration_s = talking.elapsed().as_secs_f64();

    phase.send_replace(Phase::Drain);
    tokio::time::sleep(DRAIN).await;
    let ports: Vec<u16> = bots
        .iter()
        .flat_map(|bot| lock(&bot.ports).clone())
        .collect();
    report.generator.socket_drops = generator::socket_drops(&ports);
    report.generator.machine_buffer_errors =
        generator::machine_buffer_errors().map(|now| now - machine_errors.unwrap_or(now));
    report.generator.cpu_s = generator::cpu_seconds().map(|now| now - cpu.unwrap_or(now));
    bots.iter().for_each(|bot| crate::bot::settle(bot));
    report.collect(&bots, scenario.tracks_per_publisher());

    phase.send_replace(Phase::Leave);
    let left = async { while tasks.join_next().await.is_some() {} };
    // Whoever is not out by then is dropped with the set.
    let _ = tokio::time::timeout(LEAVING, left).await;
    Ok(report)
}

impl Scenario {
    fn report(&self) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION").into(),
            scenario: self.name.clone(),
            bot: self.bot.to_string(),
            machine: generator::machine(),
            url: self.protocol.target(&self.url),
            rooms: self.rooms,
            publishers: self.publishers,
            subscribers: self.subscribers,
            talkers: self.talking(),
            video: self.video.to_string(),
            audio: self.audio,
            ..Default::default()
        }
    }

    /// All bots in the order they join: the rooms fill evenly, publishers first.
    fn bots(&self) -> Vec<Arc<BotState>> {
        let mut bots = Vec::new();
        for seat in 0..self.publishers + self.subscribers {
            for room in 1..=self.rooms {
                let room = match self.rooms {
                    1 => self.room.clone(),
                    _ => format!("{}-{room}", self.room),
                };
                let publishes = seat < self.publishers;
                let name = if publishes {
                    format!("publisher-{}", seat + 1)
                } else {
                    format!("subscriber-{}", seat + 1 - self.publishers)
                };
                let mut bot = BotState::new(name, room, publishes);
                bot.stream = self.protocol.stream(seat, self.publishers);
                bots.push(Arc::new(bot));
            }
        }
        bots
    }

    /// Starts every bot; ends when each has joined or will not.
    async fn admit(
        &self,
        bots: &[Arc<BotState>],
        address: IpAddr,
        phases: &watch::Receiver<Phase>,
        tasks: &mut JoinSet<()>,
    ) {
        /// Of the golden ratio: multiples of it spread evenly however many there are.
        const SPREAD: f64 = 0.618_033_988_75;
        /// Two video frames.
        const WINDOW: Duration = Duration::from_millis(67);
        let seats = Arc::new(Semaphore::new(JOINS_AT_A_TIME));
        // Every unsettled bot holds a sender; when all are dropped, receiving ends.
        let (unsettled, mut all_settled) = mpsc::channel::<()>(1);
        let started = Instant::now();
        for (index, bot) in bots.iter().enumerate() {
            let turn = Duration::from_secs_f64(index as f64 / self.ramp);
            tokio::time::sleep_until(started + turn).await;
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
                return;
            };
            let config = BotConfig {
                url: self.url.clone(),
                address,
                video: self.video,
                audio: self.audio,
                talks: true,
                join_timeout: self.join_timeout,
                stagger: WINDOW.mul_f64((index as f64 * SPREAD).fract()),
            };
            let held = (seat, unsettled.clone());
            let settled = Box::new(move || drop(held));
            let bot = Arc::clone(bot);
            tasks.spawn(self.protocol.run(config, bot, phases.clone(), settled));
        }
        drop(unsettled);
        let _ = all_settled.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::publish::Video;
    use crate::protocol::Protocol;

    fn scenario(rooms: usize) -> Scenario {
        Scenario {
            url: "http://127.0.0.1:1".parse().unwrap(),
            protocol: Protocol::Native,
            rooms,
            publishers: 2,
            subscribers: 1,
            video: Video::P180,
            audio: true,
            duration: Duration::from_secs(60),
            ramp: 1_000.0,
            join_timeout: Duration::from_secs(5),
            room: "hall".into(),
            ..Scenario::default()
        }
    }

    #[test]
    fn rooms_fill_evenly() {
        let names = |rooms| -> Vec<_> {
            let bots = scenario(rooms).bots();
            bots.iter()
                .map(|bot| format!("{} {}", bot.room, bot.name))
                .collect()
        };
        assert_eq!(
            names(1),
            ["hall publisher-1", "hall publisher-2", "hall subscriber-1"]
        );
        assert_eq!(
            names(2)[..4],
            [
                "hall-1 publisher-1",
                "hall-2 publisher-1",
                "hall-1 publisher-2",
                "hall-2 publisher-2"
            ]
        );
    }

    #[tokio::test]
    async fn nobody_home_is_a_report_of_failures_not_an_hour_of_waiting() {
        let report = run(&scenario(1), std::future::pending(), |_| {})
            .await
            .unwrap();
        assert_eq!((report.joined, report.join_failed), (0, 3));
        assert_eq!(
            (report.tracks_expected, report.tracks_receiving),
            (2 * 2 + 2 + 2 - 2 + 2, 0)
        );
        assert_eq!(report.failures.len(), 3);
        assert!(
            report.failures[0].reason.contains("WebSocket"),
            "{:?}",
            report.failures[0]
        );
        assert_eq!(report.exit_status(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_whole_call_with_a_server_of_one_participant() {
        let scenario = Scenario {
            url: crate::fake_server::start().await.parse().unwrap(),
            publishers: 1,
            subscribers: 0,
            duration: Duration::from_secs(2),
            ..scenario(1)
        };
        let report = run(&scenario, std::future::pending(), |_| {})
            .await
            .unwrap();
        assert!(report.passed, "{report:#?}");
        assert_eq!((report.joined, report.tracks_expected), (1, 0));
        assert_eq!(report.foreign_tracks_receiving, 2);
        assert!(report.join_ms.max > Some(0.0));
        assert!(report.packets_sent > 100 && report.packets_received > 100);
        assert_eq!(report.packets_lost, 0);
        assert!(report.frames_decodable > 30);
        assert_eq!(report.packets_unknown, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_interrupted_call_is_reported() {
        let scenario = Scenario {
            url: crate::fake_server::start().await.parse().unwrap(),
            publishers: 0,
            subscribers: 1,
            ..scenario(1)
        };
        let (joined, interrupt) = tokio::sync::oneshot::channel::<()>();
        let watch = |bots: &[Arc<BotState>]| {
            let bot = Arc::clone(&bots[0]);
            tokio::spawn(async move {
                let mut looks = tokio::time::interval(Duration::from_millis(5));
                while bot.call().joined.is_none() {
                    looks.tick().await;
                }
                let _ = joined.send(());
            });
        };
        let stop = async { interrupt.await.unwrap() };
        let report = run(&scenario, stop, watch).await.unwrap();
        assert!(report.interrupted);
        assert_eq!((report.joined, report.failures.len()), (1, 0));
        assert!(report.duration_s < 30.0);
    }
}
