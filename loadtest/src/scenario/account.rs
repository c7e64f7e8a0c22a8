//! The cost of the run: the server's processor time and memory, our own, and the machine's.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::Scenario;
use crate::bot::signaling::ServerUrl;
use crate::bot::tap::lock;
use crate::server::machine::Busy;
use crate::server::process::Process;
use crate::server::{Child, Stats, cores};

/// The books of a run.
pub(super) struct Account {
    child: Option<Child>,
    server: Option<Process>,
    generator: Option<Process>,
    admin: Option<ServerUrl>,
    /// Cores of the server, if it is known.
    pub(super) server_cores: Vec<usize>,
    pub(super) generator_cores: Vec<usize>,
    /// Resident memory of the server before the first join.
    pub(super) rss_idle: Option<u64>,
    began: Mutex<Option<f64>>,
}

/// All measurements at one moment.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    /// Processor seconds since each began.
    pub(super) server_cpu: Option<f64>,
    pub(super) generator_cpu: Option<f64>,
    pub(super) server_rss: Option<u64>,
    pub(super) busy: Option<Busy>,
    pub(super) stats: Option<Stats>,
}

const LOOK: Duration = Duration::from_millis(250);

impl Account {
    /// Starts the server, or finds it.
    pub(super) async fn open(scenario: &Scenario) -> io::Result<Self> {
        let child = match &scenario.spawn {
            Some(spawn) => Some(Child::start(spawn).await?),
            None => None,
        };
        let pid = child.as_ref().map(Child::pid).or(scenario.server_pid);
        let server = match pid {
            Some(pid) => Some(Process::observe(pid).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("there is no process {pid}"),
                )
            })?),
            None => None,
        };
        let admin = match &child {
            Some(child) => child.admin.clone(),
            None => scenario.admin_url.clone(),
        };
        Ok(Self {
            server_cores: server.as_ref().map(Process::cores).unwrap_or_default(),
            generator_cores: cores::allowed(0).unwrap_or_default(),
            rss_idle: server.as_ref().and_then(Process::rss),
            server,
            generator: Process::observe(std::process::id()),
            admin,
            child,
            began: Mutex::default(),
        })
    }

    /// The server that bots join.
    pub(super) fn url(&self, scenario: &Scenario) -> ServerUrl {
        let child = self.child.as_ref().map(|child| child.url.clone());
        child.unwrap_or_else(|| scenario.url.clone())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.pid)
    }

    pub(super) fn workers(&self) -> Option<usize> {
        self.child.as_ref().map(|child| child.workers)
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.child.as_ref().map(Child::log).unwrap_or_default()
    }

    /// From here on this program's processor time is the bots'.
    pub(super) fn begin(&self) {
        *lock(&self.began) = self.generator_cpu();
    }

    /// Ours since [`begin`](Self::begin).
    pub(super) fn generator_used(&self) -> Option<f64> {
        let began = *lock(&self.began);
        Some(self.generator_cpu()? - began?)
    }

    /// Whether the server is known to have ended.
    pub(super) fn ended(&self) -> bool {
        let server = self.server.as_ref();
        server.is_some_and(|server| !server.alive())
    }

    /// Returns when it has. Never, if the server is not known.
    pub(super) async fn server_ended(&self) {
        while !self.ended() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Resident memory of the server, exactly: the kernel walks its page tables for it.
    pub(super) fn server_rss(&self) -> Option<u64> {
        self.server.as_ref()?.rss()
    }

    /// A reading without the server's own counters, which cost it work.
    pub(super) fn reading(&self) -> Reading {
        let server = self.server.as_ref();
        Reading {
            at: Instant::now(),
            server_cpu: server.and_then(Process::cpu_seconds),
            generator_cpu: self.generator_cpu(),
            server_rss: server.and_then(Process::rss_quick),
            busy: Busy::now(),
            stats: None,
        }
    }

    /// A reading with the server's counters, which are taken as nearly at the same moment as
    /// possible.
    pub(super) async fn full_reading(&self) -> Reading {
        let stats = match &self.admin {
            Some(admin) => Stats::fetch(admin).await.ok(),
            None => None,
        };
        Reading {
            stats,
            server_rss: self.server_rss(),
            ..self.reading()
        }
    }

    fn generator_cpu(&self) -> Option<f64> {
        self.generator.as_ref()?.cpu_seconds()
    }
}
