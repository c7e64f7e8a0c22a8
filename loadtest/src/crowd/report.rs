//! The outcome of a crowd. Field names are stable.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::Percentiles;
use crate::report::figures::Unit;
use crate::report::number::readable;

/// The outcome of a crowd.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CrowdReport {
    pub version: String,
    pub machine: String,
    /// Everybody joined, and stayed.
    pub passed: bool,
    pub people: usize,
    /// The abilities that they claimed.
    pub clients: String,
    /// Changes a second.
    pub rate: f64,
    pub joined: usize,
    /// People whom the server let go.
    pub dropped: usize,
    /// The first reason that somebody could not join, or was dropped.
    pub first_error: Option<String>,
    /// From the connection's beginning to the welcome.
    pub join_ms: Percentiles,
    /// Resident memory of the server in bytes, before the first join.
    pub rss_before: Option<u64>,
    /// Resident memory when all have joined, and nothing has changed for a while.
    pub rss: Option<u64>,
    pub steps: Vec<Step>,
}

/// One step: the joins, a pause, or one kind of change.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    pub name: String,
    /// The number of joins or changes.
    pub count: u64,
    /// The time in which they were made.
    pub seconds: f64,
    /// That, and the time until everybody was told.
    pub measured_s: f64,
    /// Messages that all people together received.
    pub messages: u64,
    /// Their bytes, without headers of the WebSocket.
    pub bytes: u64,
    /// Processor time of the server.
    pub cpu_s: Option<f64>,
    /// Processor time for each join or change, without that of an idle room.
    pub cpu_ms_each: Option<f64>,
    /// From a change to each who is told of it.
    pub delay_ms: Percentiles,
}

impl Step {
    /// Takes the processor time of an idle room, in cores, from that of the changes.
    pub(super) fn subtract_idle(&mut self, share: f64) {
        let used = self.cpu_s.map(|used| used - share * self.measured_s);
        self.cpu_ms_each = used
            .filter(|_| self.count > 0)
            .map(|used| used.max(0.0) * 1e3 / self.count as f64);
    }

    fn each(&self, total: u64) -> f64 {
        total as f64 / self.count.max(1) as f64
    }
}

impl CrowdReport {
    /// The exit status of a run.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.passed)
    }
}

impl fmt::Display for CrowdReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |value: Option<u64>| value.map_or("?".into(), |it| Unit::Bytes.show(it as f64));
        let ms = |value: Option<f64>| value.map_or("-".into(), readable);
        writeln!(
            f,
            "crowd of {} in one room, clients: {}, {} changes/s; {}",
            self.people,
            self.clients,
            readable(self.rate),
            self.machine
        )?;
        writeln!(
            f,
            "  joined   {} in {} s, {} dropped; join {} ms (p50), {} ms (p99)",
            self.joined,
            readable(self.steps.first().map_or(0.0, |step| step.seconds)),
            self.dropped,
            ms(self.join_ms.p50),
            ms(self.join_ms.p99)
        )?;
        writeln!(
            f,
            "  memory   {} before, {} with everybody",
            bytes(self.rss_before),
            bytes(self.rss)
        )?;
        if let Some(error) = &self.first_error {
            writeln!(f, "  error    {error}")?;
        }
        f.write_str(
            "\n| step | count | messages | messages each | bytes each | server CPU, s | CPU each, ms | delay p50 / p99, ms |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n",
        )?;
        for step in &self.steps {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} / {} |",
                step.name,
                readable(step.count as f64),
                readable(step.messages as f64),
                readable(step.each(step.messages)),
                readable(step.each(step.bytes)),
                step.cpu_s.map_or("?".into(), readable),
                step.cpu_ms_each.map_or("-".into(), readable),
                ms(step.delay_ms.p50),
                ms(step.delay_ms.p99),
            )?;
        }
        write!(f, "\n{}", if self.passed { "passed" } else { "FAILED" })
    }
}
