//! Rooms of bots: let them in, let them talk, take stock, let them out.
//!
//! [`run`] reads from top to bottom like a run: the server is started or found, bots are made, the
//! `course` lets them in and goes through the scenario's phases. Then the measurements become a
//! [`Report`], and anything that may have spoilt them a reason to call it invalid.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::bot::Phase;
use crate::bot::state::BotState;
use crate::generator;
use crate::report::Report;

use account::Account;
use course::Course;
use fleet::Fleet;
pub use live::{Live, Watched};
pub use model::{BotKind, Churn, Phases, Scenario, Spawn, Storm};
pub use validity::generator_limited;

pub mod catalog;
pub mod settings;

mod account;
mod bots;
mod course;
mod fleet;
mod floor;
mod live;
mod model;
mod outcome;
#[cfg(test)]
mod tests;
mod validity;

/// Time for packets on their way, and for two rounds of retransmission, after publishers have
/// stopped.
const DRAIN: Duration = Duration::from_millis(500);

/// Bots wait a second for the server's goodbye.
const LEAVING: Duration = Duration::from_secs(5);

/// Runs a scenario; `stop` ends it early. `watching` gets the values to watch meanwhile, before the
/// first bot joins.
///
/// # Errors
///
/// The run could not begin: the scenario makes no sense, the server cannot be started or found, or
/// the system refuses what is needed.
pub async fn run(
    scenario: &Scenario,
    stop: impl Future<Output = ()>,
    watching: impl FnOnce(&Watched),
) -> io::Result<Report> {
    scenario.check().map_err(io::Error::other)?;
    let floor = match scenario.floor {
        true => Some(floor::measure(scenario)?),
        false => None,
    };
    if !scenario.bot_cores.is_empty() {
        crate::server::cores::pin_process(&scenario.bot_cores)?;
    }
    let account = Arc::new(Account::open(scenario).await?);
    let url = account.url(scenario);
    let address = match scenario.address {
        Some(address) => address,
        None => generator::address_towards(scenario.protocol.resolve(&url).await?),
    };
    let watched = Watched::new(bots::all(scenario));
    let fleet = Fleet::start(scenario, Arc::clone(&watched.measure))?;
    watching(&watched);
    let sampling = live::Sampling::start(&watched, &account);
    let machine_errors = generator::machine_buffer_errors();
    account.begin();

    let (phase, phases) = watch::channel(Phase::Call);
    let mut tasks = JoinSet::new();
    let admission = bots::Admission {
        scenario,
        fleet: &fleet,
        url,
        address,
        phases,
        seats: Arc::new(Semaphore::new(fleet.joins_at_a_time())),
        admitted: 0,
    };
    let mut course = Course::new(scenario, &watched, &account, admission);
    let mut interrupted = false;
    tokio::select! {
        () = course.go(&mut tasks) => {}
        () = stop => interrupted = true,
        () = account.server_ended() => {}
    }
    let course = course.end().await;

    phase.send_replace(Phase::Drain);
    tokio::time::sleep(DRAIN).await;
    // The drops are read before the bots leave: closed sockets lose their counts.
    let drops = generator::socket_drops(&ports(&watched.bots));
    let machine_errors =
        generator::machine_buffer_errors().map(|now| now - machine_errors.unwrap_or(now));
    let samples = sampling.end();
    fleet.settle(&watched.bots).await;

    let mut report = scenario.report(&account);
    report.interrupted = interrupted;
    report.generator.socket_drops = drops;
    report.generator.machine_buffer_errors = machine_errors;
    outcome::fill(&mut report, scenario, &watched, &account, course, &samples);
    outcome::hold_against(&mut report, floor);
    validity::judge(&mut report, scenario, &account);

    phase.send_replace(Phase::Leave);
    let left = async { while tasks.join_next().await.is_some() {} };
    // Bots that are not out by then are dropped with the set.
    let _ = tokio::time::timeout(LEAVING, left).await;
    Ok(report)
}

fn ports(bots: &[Arc<BotState>]) -> Vec<u16> {
    use crate::bot::tap::lock;
    bots.iter()
        .flat_map(|bot| lock(&bot.ports).clone())
        .collect()
}

impl Scenario {
    fn report(&self, account: &Account) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION").into(),
            scenario: self.name.clone(),
            bot: self.bot.to_string(),
            machine: generator::machine(),
            url: self.protocol.target(&account.url(self)),
            rooms: self.rooms,
            publishers: self.publishers,
            subscribers: self.subscribers,
            talkers: self.talking(),
            tiles: self.tiles,
            video: self.video.to_string(),
            audio: self.audio,
            oracle_share: match self.bot {
                BotKind::Webrtc => 1.0,
                BotKind::Wire => self.oracle_share,
            },
            ..Default::default()
        }
    }
}
