//! The course of a run: everybody in, the measured window with its stages, everybody quiet.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::account::{Account, Reading};
use super::bots::{Admission, Guest, wait_for_turn};
use super::{Churn, Scenario, Storm, Watched};
use crate::bot::state::{BotState, Part};
use crate::report::{ChurnOutcome, Event};

/// The span that is the window, and its stages by name.
pub(super) const WINDOW: &str = "window";
pub(super) const STAGES: [&str; 5] = ["before", "during", "after", "churn", "call"];

/// Bots that come and go before memory is measured for the first time: by then tables, caches and the allocator have
/// their lasting size.
const CHURN_WARM_UP: usize = 100;

/// A run under way.
pub(super) struct Course<'a> {
    scenario: &'a Scenario,
    watched: &'a Watched,
    account: &'a Account,
    admission: Admission<'a>,
    done: Done,
}

/// The remains of the course.
#[derive(Default)]
pub(super) struct Done {
    /// The time at which everybody was in.
    pub(super) talking: Option<Instant>,
    /// Readings at the beginning and the end of the window.
    pub(super) window: Option<(Reading, Reading)>,
    /// Seconds from `talking` to the end.
    pub(super) duration_s: f64,
    pub(super) churn: Option<ChurnOutcome>,
    pub(super) events: Vec<Event>,
    begin: Option<Reading>,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        watched: &'a Watched,
        account: &'a Account,
        admission: Admission<'a>,
    ) -> Self {
        Self {
            scenario,
            watched,
            account,
            admission,
            done: Done::default(),
        }
    }

    /// Goes through all phases. It may be dropped anywhere; [`end`](Self::end) puts it in order.
    pub(super) async fn go(&mut self, tasks: &mut JoinSet<()>) {
        self.event("bots begin to join");
        let residents = self.bots(Part::Resident);
        self.admission
            .admit(&residents, self.scenario.ramp, tasks)
            .await;
        self.done.talking = Some(Instant::now());
        self.event("everybody is in");
        let joined = |bot: &Arc<BotState>| bot.call().joined.is_some();
        if !residents.is_empty() && !residents.iter().any(joined) {
            return;
        }
        self.next_second().await;
        // The boundary counts, not the present time: timers are a little late, and the whole second would be lost.
        let from = self.boundary().into_std();
        self.watched.measure.begin(WINDOW, from);
        self.done.begin = Some(self.account.full_reading().await);
        if let Some(storm) = &self.scenario.phases.storm {
            self.storm(storm, tasks).await;
        }
        if let Some(churn) = &self.scenario.phases.churn {
            self.churn(churn).await;
            self.stage("call");
        }
        // The time counts from the window's beginning, as its reading took a moment.
        let passed = Instant::now() - self.boundary();
        tokio::time::sleep(self.scenario.duration.saturating_sub(passed)).await;
    }

    /// Ends the window, wherever the course was.
    pub(super) async fn end(mut self) -> Done {
        let now = Instant::now();
        for name in STAGES.into_iter().chain([WINDOW]) {
            self.watched.measure.end(name, now.into_std());
        }
        self.event("publishers stop");
        if let Some(talking) = self.done.talking {
            self.done.duration_s = (now - talking).as_secs_f64();
        }
        if let Some(begin) = self.done.begin.take() {
            self.done.window = Some((begin, self.account.full_reading().await));
        }
        self.done
    }

    async fn storm(&mut self, storm: &Storm, tasks: &mut JoinSet<()>) {
        self.stage("before");
        tokio::time::sleep_until(self.boundary() + storm.after).await;
        self.stage("during");
        self.event("the join storm begins");
        let bots = self.bots(Part::Storm);
        self.admission.admit(&bots, storm.rate, tasks).await;
        self.event("the join storm is over");
        // A storm of less than a second counts as the second it lay in.
        self.next_second().await;
        self.stage("after");
    }

    async fn churn(&mut self, churn: &Churn) {
        self.stage("churn");
        self.event("people come and go");
        let bots = self.bots(Part::Passing);
        let (first, rest) = bots.split_at(bots.len().min(CHURN_WARM_UP));
        let mut outcome = ChurnOutcome::default();
        self.come_and_go(first, churn).await;
        tokio::time::sleep(churn.idle).await;
        outcome.rss_after_first_bytes = self.account.server_rss();
        self.event("the first have gone");
        self.come_and_go(rest, churn).await;
        tokio::time::sleep(churn.idle).await;
        outcome.rss_at_end_bytes = self.account.server_rss();
        self.event("all have gone");
        outcome.joins = bots
            .iter()
            .filter(|bot| bot.call().joined.is_some())
            .count();
        let (first, end) = (outcome.rss_after_first_bytes, outcome.rss_at_end_bytes);
        outcome.ratio = first.zip(end).map(|(first, end)| end as f64 / first as f64);
        self.done.churn = Some(outcome);
    }

    /// Lets bots in at the churn's rate, and the first of them out when too many are there; ends
    /// when all have gone.
    async fn come_and_go(&mut self, bots: &[Arc<BotState>], churn: &Churn) {
        let mut tasks = JoinSet::new();
        let mut inside = VecDeque::<Guest>::new();
        let started = Instant::now();
        for (index, bot) in bots.iter().enumerate() {
            wait_for_turn(started, index, churn.rate).await;
            while inside.len() >= churn.alive {
                if let Some(guest) = inside.pop_front() {
                    guest.send_away().await;
                }
            }
            inside.push_back(self.admission.admit_guest(bot, &mut tasks));
            // These have left.
            while tasks.try_join_next().is_some() {
                self.watched.somebody_left();
            }
        }
        for guest in inside {
            guest.send_away().await;
        }
        while tasks.join_next().await.is_some() {
            self.watched.somebody_left();
        }
    }

    /// Begins a stage at the boundary of seconds that has just passed, and ends the stage before.
    fn stage(&mut self, name: &'static str) {
        let boundary = self.boundary().into_std();
        for other in STAGES {
            self.watched.measure.end(other, boundary);
        }
        self.watched.measure.begin(name, boundary);
    }

    fn bots(&self, part: Part) -> Vec<Arc<BotState>> {
        let bots = self.watched.bots.iter();
        bots.filter(|bot| bot.part == part).cloned().collect()
    }

    fn event(&mut self, what: &str) {
        let since = Instant::now().into_std() - self.watched.measure.started();
        self.done.events.push(Event {
            t_s: (since.as_secs_f64() * 1e3).round() / 1e3,
            what: what.to_owned(),
        });
    }

    /// The latest boundary of the measure's seconds.
    fn boundary(&self) -> Instant {
        let measure = &self.watched.measure;
        let second = measure.second_of(Instant::now().into_std());
        measure.instant_of(second).into()
    }

    /// Waits for the next one.
    async fn next_second(&self) {
        let next = self.boundary() + std::time::Duration::from_secs(1);
        tokio::time::sleep_until(next).await;
    }
}
