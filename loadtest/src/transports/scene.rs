//! The things that are measured, and the readings of a while.

use std::sync::Arc;

use tokio::time::Instant;

use super::report::Phase;
use super::traffic::{Tally, Traffic};
use crate::server::cores;
use crate::server::machine::Busy;
use crate::server::process::Process;

/// The clients, and the processes on both ends.
pub(super) struct Scene {
    pub(super) listeners: Arc<Traffic>,
    pub(super) speakers: Arc<Traffic>,
    pub(super) server: Option<Process>,
    server_cores: Vec<usize>,
    bots: Option<Process>,
    bot_cores: Vec<usize>,
}

/// The readings at one moment.
pub(super) struct Mark {
    at: Instant,
    listeners: Tally,
    speakers: Tally,
    server_cpu: Option<f64>,
    bots_cpu: Option<f64>,
    busy: Option<Busy>,
}

impl Scene {
    pub(super) fn new(server: Option<Process>) -> Self {
        Self {
            listeners: Arc::default(),
            speakers: Arc::default(),
            server_cores: server.as_ref().map(Process::cores).unwrap_or_default(),
            server,
            bots: Process::observe(std::process::id()),
            bot_cores: cores::allowed(0).unwrap_or_default(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            listeners: self.listeners.tally(),
            speakers: self.speakers.tally(),
            server_cpu: self.server.as_ref().and_then(Process::cpu_seconds),
            bots_cpu: self.bots.as_ref().and_then(Process::cpu_seconds),
            busy: Busy::now(),
        }
    }

    /// The readings since `before`.
    pub(super) fn since(&self, before: &Mark) -> Phase {
        let now = self.mark();
        let seconds = (now.at - before.at).as_secs_f64();
        let used = |now: Option<f64>, before: Option<f64>| Some(now? - before?);
        let share = |used: f64, cores: &[usize]| {
            (seconds > 0.0 && !cores.is_empty()).then(|| used / (seconds * cores.len() as f64))
        };
        let server = used(now.server_cpu, before.server_cpu);
        let bots = used(now.bots_cpu, before.bots_cpu);
        let others = || {
            let busy = now.busy.as_ref()?.of(&self.server_cores);
            let mut others = busy - before.busy.as_ref()?.of(&self.server_cores) - server?;
            let shares_cores = |core| self.server_cores.contains(core);
            if self.bot_cores.iter().any(shares_cores) {
                others -= bots?;
            }
            share(others.max(0.0), &self.server_cores)
        };
        Phase {
            seconds,
            listeners: now.listeners - before.listeners,
            speakers: now.speakers - before.speakers,
            server_cpu_s: server,
            bots_cpu_share: bots.and_then(|used| share(used, &self.bot_cores)),
            background_share: others(),
        }
    }
}
