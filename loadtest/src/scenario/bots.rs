//! The bots of a scenario, and letting them in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Fleet, Scenario};
use crate::bot::media_path::MediaPath;
use crate::bot::signaling::ServerUrl;
use crate::bot::state::{BotState, Part};
use crate::bot::{BotConfig, Phase};

/// All bots in the order they join: the rooms fill evenly, publishers first; then those of the
/// storm, then those who come and go.
pub(super) fn all(scenario: &Scenario) -> Vec<Arc<BotState>> {
    let mut bots = Vec::new();
    let mut add = |name: String, (seat, room): (usize, usize), talks: bool, part: Part| {
        let publishes = seat < scenario.publishers;
        let room = match scenario.rooms {
            1 => scenario.room.clone(),
            _ => format!("{}-{}", scenario.room, room + 1),
        };
        let mut bot = BotState::new(name, room, publishes);
        (bot.talks, bot.part) = (talks, part);
        bot.place = match part {
            Part::Resident => seat.checked_sub(scenario.publishers),
            Part::Storm | Part::Passing => None,
        };
        bot.stream = scenario.protocol.stream(seat, scenario.publishers);
        bots.push(Arc::new(bot));
    };
    for seat in 0..scenario.publishers + scenario.subscribers {
        for room in 0..scenario.rooms {
            let name = match seat < scenario.publishers {
                true => format!("publisher-{}", seat + 1),
                false => format!("subscriber-{}", seat + 1 - scenario.publishers),
            };
            let talks = seat < scenario.talking();
            add(name, (seat, room), talks, Part::Resident);
        }
    }
    let storm = scenario.phases.storm.as_ref();
    for seat in 0..storm.map_or(0, |storm| storm.participants) {
        for room in 0..scenario.rooms {
            let name = format!("storm-{}", seat + 1);
            let seat = scenario.publishers + seat;
            add(name, (seat, room), false, Part::Storm);
        }
    }
    let churn = scenario.phases.churn.as_ref();
    for index in 0..churn.map_or(0, |churn| churn.joins) {
        let name = format!("passing-{}", index + 1);
        let seat = scenario.publishers + index / scenario.rooms;
        add(name, (seat, index % scenario.rooms), false, Part::Passing);
    }
    bots
}

/// The door.
pub(super) struct Admission<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) fleet: &'a Fleet,
    pub(super) url: ServerUrl,
    pub(super) address: IpAddr,
    pub(super) phases: watch::Receiver<Phase>,
    /// Joins under way at a time.
    pub(super) seats: Arc<Semaphore>,
    pub(super) admitted: usize,
}

/// A bot that will be told apart from the others when to leave.
pub(super) struct Guest {
    phase: watch::Sender<Phase>,
    settled: oneshot::Receiver<()>,
}

impl Guest {
    /// Lets it finish joining, then tells it to leave.
    pub(super) async fn send_away(self) {
        // An error means that it has ended already.
        let _ = self.settled.await;
        self.phase.send_replace(Phase::Leave);
    }
}

impl Admission<'_> {
    /// Starts every bot, `rate` of them a second; ends when each has joined or will not.
    pub(super) async fn admit(
        &mut self,
        bots: &[Arc<BotState>],
        rate: f64,
        tasks: &mut JoinSet<()>,
    ) {
        // Every unsettled bot holds a sender; when all are dropped, receiving ends.
        let (unsettled, mut all_settled) = mpsc::channel::<()>(1);
        let started = Instant::now();
        for (index, bot) in bots.iter().enumerate() {
            wait_for_turn(started, index, rate).await;
            let Ok(seat) = Arc::clone(&self.seats).acquire_owned().await else {
                return;
            };
            let held = (seat, unsettled.clone());
            let settled = Box::new(move || drop(held));
            let config = self.config(bot);
            let bot = self
                .fleet
                .run(config, Arc::clone(bot), self.phases.clone(), settled);
            tasks.spawn(bot);
        }
        drop(unsettled);
        let _ = all_settled.recv().await;
    }

    /// Starts one that is told by itself when to leave.
    pub(super) fn admit_guest(&mut self, bot: &Arc<BotState>, tasks: &mut JoinSet<()>) -> Guest {
        let (phase, phases) = watch::channel(Phase::Call);
        let (settle, settled) = oneshot::channel();
        // Whether anybody waits for it is not the bot's business.
        let settle = Box::new(move || settle.send(()).unwrap_or_default());
        let config = self.config(bot);
        let bot = self.fleet.run(config, Arc::clone(bot), phases, settle);
        tasks.spawn(bot);
        Guest { phase, settled }
    }

    fn config(&mut self, bot: &BotState) -> BotConfig {
        /// A fraction of the golden ratio: its multiples spread evenly, however many there are.
        const SPREAD: f64 = 0.618_033_988_75;
        /// Time of two video frames.
        const WINDOW: Duration = Duration::from_millis(67);
        let stagger = WINDOW.mul_f64((self.admitted as f64 * SPREAD).fract());
        self.admitted += 1;
        let way = bot.place.map(|place| self.scenario.path_of(place));
        let (path, stalls) = way.unwrap_or_default();
        let is_timed = !self.scenario.is_mixed() || path == MediaPath::Udp;
        BotConfig {
            url: self.url.clone(),
            token: self.scenario.token.clone(),
            address: self.address,
            video: self.scenario.video,
            audio: self.scenario.audio,
            talks: bot.talks,
            tiles: self.scenario.tiles,
            join_timeout: self.scenario.join_timeout,
            stagger,
            path,
            stalls,
            is_timed,
        }
    }
}

/// The `index`-th of `rate` a second.
pub(super) async fn wait_for_turn(started: Instant, index: usize, rate: f64) {
    // An infinite rate makes it 0.
    let turn = Duration::from_secs_f64(index as f64 / rate);
    tokio::time::sleep_until(started + turn).await;
}
