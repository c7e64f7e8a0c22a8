//! Looking on: a sample every second, for the terminal and for the report's timeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::account::{Account, Reading};
use crate::bot::state::BotState;
use crate::measure::Measure;
use crate::report::Moment;

/// The state of a scenario that can be watched while it runs.
#[derive(Clone, Debug)]
pub struct Watched {
    /// All there will be, in the order they join.
    pub bots: Vec<Arc<BotState>>,
    pub measure: Arc<Measure>,
    live: watch::Sender<Live>,
    left: Arc<AtomicUsize>,
}

/// The run at one moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Live {
    /// Since the run began.
    pub elapsed: Duration,
    pub bots: usize,
    pub failed: usize,
    /// The present, with the packets and the delay of the last second that everybody has reported.
    pub moment: Moment,
}

/// Takes the samples until it is dropped.
pub(super) struct Sampling {
    task: JoinHandle<()>,
    samples: watch::Receiver<Vec<Moment>>,
}

const PERIOD: Duration = Duration::from_secs(1);

impl Watched {
    pub(super) fn new(bots: Vec<Arc<BotState>>) -> Self {
        Self {
            bots,
            measure: Arc::new(Measure::start(Instant::now().into_std())),
            live: watch::Sender::new(Live::default()),
            left: Arc::default(),
        }
    }

    /// Changes every second, and ends with the run.
    pub fn live(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }

    /// Counts a bot that joined and has left as planned.
    pub(super) fn somebody_left(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of bots in the call, and of those that failed.
    fn heads(&self) -> (usize, usize) {
        let (mut joined, mut failed) = (0, 0);
        for bot in &self.bots {
            let call = bot.call();
            failed += usize::from(call.failure.is_some());
            joined += usize::from(call.joined.is_some() && call.failure.is_none());
        }
        let left = self.left.load(Ordering::Relaxed);
        (joined.saturating_sub(left), failed)
    }
}

impl Sampling {
    pub(super) fn start(watched: &Watched, account: &Arc<Account>) -> Self {
        let (sender, samples) = watch::channel(Vec::new());
        let sampler = Sampler {
            before: account.reading(),
            // Without all of `watched`: a receiver of the next moment must learn of the end.
            watched: watched.clone(),
            account: Arc::clone(account),
            samples: sender,
        };
        Self {
            task: tokio::spawn(sampler.run()),
            samples,
        }
    }

    pub(super) fn end(&self) -> Vec<Moment> {
        self.samples.borrow().clone()
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Sampler {
    watched: Watched,
    account: Arc<Account>,
    before: Reading,
    samples: watch::Sender<Vec<Moment>>,
}

impl Sampler {
    async fn run(mut self) {
        let started: Instant = self.watched.measure.started().into();
        let mut ticks = tokio::time::interval_at(started + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.sample(started);
        }
    }

    fn sample(&mut self, started: Instant) {
        let now = self.account.reading();
        let (inside, failed) = self.watched.heads();
        let measure = &self.watched.measure;
        let current = measure.second_of(now.at.into_std());
        let (server, generator) = (&self.account.server_cores, &self.account.generator_cores);
        let sample = Moment {
            // The second that it ends.
            t_s: current.saturating_sub(1) as f64,
            participants: inside,
            server_cpu_share: now.share(&self.before, server.len(), |r| r.server_cpu),
            generator_cpu_share: now.share(&self.before, generator.len(), |r| r.generator_cpu),
            server_rss_bytes: now.server_rss,
            ..Moment::default()
        };
        self.samples.send_modify(|samples| samples.push(sample));
        // Threads add their counts about once a second.
        let second = measure.second(current.saturating_sub(2));
        self.watched.live.send_replace(Live {
            elapsed: now.at - started,
            bots: self.watched.bots.len(),
            failed,
            moment: sample.with(&second.unwrap_or_default()),
        });
        self.before = now;
    }
}

impl Reading {
    /// The share of `cores` used between an earlier reading and this one.
    pub(super) fn share(
        &self,
        before: &Self,
        cores: usize,
        used: impl Fn(&Self) -> Option<f64>,
    ) -> Option<f64> {
        let time = (self.at - before.at).as_secs_f64() * cores as f64;
        let used = used(self)? - used(before)?;
        (time > 0.0).then(|| (used / time * 1e4).round() / 1e4)
    }
}
