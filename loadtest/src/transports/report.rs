//! The outcome of a comparison. Field names are stable.

use serde::{Deserialize, Serialize};

use super::traffic::Tally;
use crate::report::Percentiles;

/// Share of busy time beyond which clients wait for the processor, which would count as the server's delay.
const BUSIEST_BOTS: f64 = 0.9;
/// Share of the server's cores that other programs may use.
const BACKGROUND: f64 = 0.1;
/// Share of the polls that are due which may be missing: clients or server that are late show in each figure.
const MISSING_POLLS: f64 = 0.03;
/// Shorter phases say nothing about a minute.
const SHORTEST_S: f64 = 5.0;

/// The outcome of a comparison.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportsReport {
    pub version: String,
    pub machine: String,
    /// Everybody joined, and heard every line once and in order.
    pub passed: bool,
    /// Nothing but the server and the transports explains the figures.
    pub valid: bool,
    /// Lines a second in each room.
    pub rate: f64,
    /// Listeners of one room at most, beside its speaker.
    pub per_room: usize,
    /// The time for which speakers say something.
    pub talk_s: f64,
    /// The time for which nobody says anything.
    pub idle_s: f64,
    /// Interval of the server's WebSocket pings and comments in streams of events; null if the server was not started by
    /// this program.
    pub ping_interval_s: Option<f64>,
    /// Interval of the messages `ping` of clients by server-sent events.
    pub sse_ping_s: f64,
    /// Longest wait of a long poll.
    pub poll_wait_s: f64,
    pub measured: Vec<Measured>,
}

/// One transport with one number of clients.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// `websocket`, `sse`, `long_polling` or `polling`.
    pub transport: String,
    /// Its name for people.
    pub title: String,
    /// Interval of plain polls.
    pub poll_interval_s: Option<f64>,
    /// Clients that only listen.
    pub clients: usize,
    /// Rooms, each with one speaker beside its listeners.
    pub rooms: usize,
    /// Listeners and speakers who joined.
    pub joined: usize,
    pub passed: bool,
    /// Lines lost or heard twice, and clients who could not join or were dropped.
    pub faults: u64,
    pub first_fault: Option<String>,
    pub valid: bool,
    pub invalid_reasons: Vec<String>,
    /// Lines that speakers said.
    pub said: u64,
    /// Lines that listeners heard.
    pub heard: u64,
    /// Lines that speakers heard of themselves.
    pub echoed: u64,
    /// Bytes of the JSON of one line as the server tells it.
    pub line_bytes: f64,
    /// From a line's making to each listener.
    pub delay_ms: Percentiles,
    /// The server before anybody joined.
    pub empty: Phase,
    /// Traffic of listeners until everybody was in.
    pub joining: Tally,
    pub talk: Phase,
    pub idle: Phase,
    /// Traffic of listeners from the first join to the end of the idle phase, pauses between phases included.
    pub all: Tally,
    /// Resident memory of the server in bytes, before the first join.
    pub rss_before: Option<u64>,
    /// Resident memory at the end of the idle phase.
    pub rss: Option<u64>,
    pub figures: Figures,
}

/// The readings of a while.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Phase {
    pub seconds: f64,
    pub listeners: Tally,
    pub speakers: Tally,
    /// Processor time of the server.
    pub server_cpu_s: Option<f64>,
    /// Share of the clients' cores that they used.
    pub bots_cpu_share: Option<f64>,
    /// Share of the server's cores that other programs used.
    pub background_share: Option<f64>,
}

/// The figures to compare. Null: there was nothing to divide by, or the server's process is not known.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Bytes of a listener in both directions while speakers talk, for each line that it heard.
    pub bytes_per_message: Option<f64>,
    /// The part of it that the listener sent.
    pub bytes_up_per_message: Option<f64>,
    /// Bytes of a speaker beside those of a listener, for each line that it said.
    pub bytes_per_message_said: Option<f64>,
    /// Requests of one listener while speakers talk.
    pub requests_per_minute: Option<f64>,
    /// Bytes of one listener in both directions while nobody talks.
    pub idle_bytes_per_minute: Option<f64>,
    /// Requests of one listener while nobody talks.
    pub idle_requests_per_minute: Option<f64>,
    /// Processor time of the server in microseconds while speakers talk, beside that of the empty server, for each line
    /// that anybody heard.
    pub cpu_us_per_message: Option<f64>,
    /// Processor time of the server in milliseconds while nobody talks, beside that of the empty server, for each client
    /// and minute.
    pub cpu_ms_per_idle_minute: Option<f64>,
    /// Memory of the server in bytes for each client.
    pub memory_per_client: Option<f64>,
    /// Bytes of one listener in both directions until everybody was in.
    pub bytes_per_join: Option<f64>,
    /// TCP connections that one listener opened, from the join to the end of the idle phase.
    pub connections: Option<f64>,
}

impl Measured {
    /// The figures of its readings.
    pub(super) fn figures(&self) -> Figures {
        let (talk, idle) = (&self.talk, &self.idle);
        let (listeners, speakers) = (self.clients as f64, self.rooms as f64);
        let everybody = listeners + speakers;
        let talk_minutes = listeners * talk.seconds / 60.0;
        let idle_minutes = listeners * idle.seconds / 60.0;
        let (heard, said) = (self.heard as f64, self.said as f64);
        let of = |count: u64, by: f64| ratio(count as f64, by);
        // A speaker hears its own lines, as a listener does.
        let of_listener = of(talk.listeners.bytes(), listeners);
        let beside = of_listener.map(|bytes| talk.speakers.bytes() as f64 - bytes * speakers);
        let memory = |before: u64, now: u64| now as f64 - before as f64;
        Figures {
            bytes_per_message: of(talk.listeners.bytes(), heard),
            bytes_up_per_message: of(talk.listeners.bytes_up, heard),
            bytes_per_message_said: beside.and_then(|bytes| ratio(bytes, said)),
            requests_per_minute: of(talk.listeners.requests, talk_minutes),
            idle_bytes_per_minute: of(idle.listeners.bytes(), idle_minutes),
            idle_requests_per_minute: of(idle.listeners.requests, idle_minutes),
            cpu_us_per_message: self
                .cpu_beside_empty(talk)
                .and_then(|used| ratio(used * 1e6, heard + self.echoed as f64)),
            cpu_ms_per_idle_minute: self
                .cpu_beside_empty(idle)
                .and_then(|used| ratio(used * 1e3, everybody * idle.seconds / 60.0)),
            memory_per_client: self
                .rss_before
                .zip(self.rss)
                .and_then(|(before, now)| ratio(memory(before, now), everybody)),
            bytes_per_join: of(self.joining.bytes(), listeners),
            connections: of(self.all.connections, listeners),
        }
    }

    /// Processor seconds of the server in a phase, without those that it takes empty.
    fn cpu_beside_empty(&self, phase: &Phase) -> Option<f64> {
        let empty = &self.empty;
        let share = ratio(empty.server_cpu_s?, empty.seconds)?;
        Some((phase.server_cpu_s? - share * phase.seconds).max(0.0))
    }

    /// Reasons that something other than the server and the transport may explain the figures.
    pub(super) fn invalid_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (phase, name) in [(&self.talk, "talking"), (&self.idle, "idle")] {
            if phase.seconds < SHORTEST_S {
                reasons.push(format!(
                    "{name}: {:.1} s are too short, {SHORTEST_S} are needed",
                    phase.seconds
                ));
            }
            if let Some(share) = phase.bots_cpu_share.filter(|it| *it > BUSIEST_BOTS) {
                reasons.push(format!(
                    "{name}: the clients used {:.0}% of their cores, so that they may be the bottleneck",
                    share * 100.0
                ));
            }
            if let Some(share) = phase.background_share.filter(|it| *it > BACKGROUND) {
                reasons.push(format!(
                    "{name}: other programs used {:.0}% of the server's cores",
                    share * 100.0
                ));
            }
            if let Some(share) = self.missing_polls(phase).filter(|it| *it > MISSING_POLLS) {
                reasons.push(format!(
                    "{name}: {:.0}% of the polls were missing, as clients or server were late",
                    share * 100.0
                ));
            }
        }
        reasons
    }

    /// The share of plain polls that did not come in a phase. One of each client may be before it, and one after it.
    fn missing_polls(&self, phase: &Phase) -> Option<f64> {
        let least = (phase.seconds / self.poll_interval_s?).floor() - 1.0;
        let due = least * self.clients as f64;
        ratio(due - phase.listeners.requests as f64, due)
    }
}

impl TransportsReport {
    /// The exit status of a run.
    pub fn exit_status(&self) -> u8 {
        match (self.passed, self.valid) {
            (false, _) => 1,
            (true, false) => 3,
            (true, true) => 0,
        }
    }
}

/// None: there is nothing to divide by.
fn ratio(count: f64, by: f64) -> Option<f64> {
    (by > 0.0).then(|| count / by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(bytes_up: u64, bytes_down: u64, requests: u64) -> Tally {
        Tally {
            bytes_up,
            bytes_down,
            requests,
            connections: 2,
        }
    }

    /// Twenty listeners and two speakers: half a minute of talk with 15 lines in each room, and 90 s without.
    fn measured() -> Measured {
        Measured {
            clients: 20,
            rooms: 2,
            said: 30,
            heard: 300,
            echoed: 30,
            empty: Phase {
                seconds: 5.0,
                server_cpu_s: Some(0.005),
                ..Phase::default()
            },
            joining: tally(10_000, 30_000, 20),
            talk: Phase {
                seconds: 30.0,
                listeners: tally(60_000, 120_000, 600),
                speakers: tally(12_000, 15_000, 90),
                // 30 ms of these are the empty server's.
                server_cpu_s: Some(0.063),
                bots_cpu_share: Some(0.5),
                background_share: Some(0.05),
            },
            idle: Phase {
                seconds: 90.0,
                listeners: tally(3_000, 6_000, 60),
                speakers: tally(300, 600, 6),
                server_cpu_s: Some(0.156),
                bots_cpu_share: None,
                background_share: None,
            },
            all: tally(80_000, 170_000, 800),
            rss_before: Some(10_000_000),
            rss: Some(10_220_000),
            ..Measured::default()
        }
    }

    #[test]
    fn figures_are_of_one_client_and_one_minute() {
        let figures = measured().figures();
        let expected = Figures {
            bytes_per_message: Some(600.0),
            bytes_up_per_message: Some(200.0),
            // Two listeners would have had 18,000 of the 27,000.
            bytes_per_message_said: Some(300.0),
            requests_per_minute: Some(60.0),
            idle_bytes_per_minute: Some(300.0),
            idle_requests_per_minute: Some(2.0),
            cpu_us_per_message: Some(100.0),
            cpu_ms_per_idle_minute: Some(2.0),
            memory_per_client: Some(10_000.0),
            bytes_per_join: Some(2_000.0),
            connections: Some(0.1),
        };
        let near = |(name, value): (&String, &serde_json::Value)| {
            let wanted = serde_json::json!(expected)[name].as_f64().unwrap();
            let value = value.as_f64().unwrap();
            assert!(
                (value / wanted - 1.0).abs() < 1e-9,
                "{name}: {value}, not {wanted}"
            );
        };
        let figures = serde_json::json!(figures);
        figures.as_object().unwrap().iter().for_each(near);
        assert_eq!(Measured::default().figures(), Figures::default());
    }

    #[test]
    fn figures_that_something_else_may_explain_are_not_valid() {
        assert_eq!(measured().invalid_reasons(), Vec::<String>::new());
        for (change, reason) in [
            (
                (|it| it.talk.bots_cpu_share = Some(0.97)) as fn(&mut Measured),
                "talking: the clients used 97% of their cores",
            ),
            (
                |it| it.idle.background_share = Some(0.3),
                "idle: other programs used 30%",
            ),
            (|it| it.idle.seconds = 2.0, "idle: 2.0 s are too short"),
            // Thirty polls of each are due in 90 s.
            (
                |it| {
                    it.poll_interval_s = Some(3.0);
                    it.idle.listeners.requests = 20 * 26;
                },
                "idle: 10% of the polls were missing",
            ),
        ] {
            let mut measured = measured();
            change(&mut measured);
            let reasons = measured.invalid_reasons();
            assert!(
                reasons.len() == 1 && reasons[0].contains(reason),
                "{reasons:?}"
            );
        }
        let report = |passed, valid| TransportsReport {
            passed,
            valid,
            ..TransportsReport::default()
        };
        let statuses = [report(true, true), report(true, false), report(false, true)];
        assert_eq!(statuses.map(|it| it.exit_status()), [0, 3, 1]);
    }
}
