//! Figures of a call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tertulia_sfu::TrackId;
use tertulia_sfu::rtp::codec::Codec;

use super::Narrow;
use crate::harness::Sim;

/// A change of the link takes effect.
const SETTLES: Duration = Duration::from_secs(3);
/// A pause between pictures of a stream that is told as sent is a freeze from here on.
const FREEZE: Duration = Duration::from_millis(250);

/// Figures of one run, or medians.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calm {
    /// Bits that arrived, as a share of the link.
    pub(crate) received: f64,
    /// Audio missed, as a share of all; the worst of the streams.
    pub(crate) missed: f64,
    /// Audio missed in the 3 s after the change, in seconds.
    pub(crate) missed_at_first: f64,
    /// Freezes of pictures reported as sent, and the length of all of them, in seconds.
    pub(crate) freezes: f64,
    pub(crate) frozen: f64,
    /// Layer changes, pauses among them, a minute.
    pub(crate) changes: f64,
    /// Probes a minute.
    pub(crate) probes: f64,
    /// Share of datagrams dropped at the bottleneck.
    pub(crate) lost: f64,
    /// The 95th percentile of the wait at the bottleneck, in milliseconds.
    pub(crate) queue_ms: f64,
    /// Time in which video streams were reported as sent, as a share.
    pub(crate) shown: f64,
    /// Mean of the relay's estimate, as a share of the link.
    pub(crate) estimate: f64,
}

pub(crate) struct Sampler {
    start: Instant,
    streams: BTreeMap<TrackId, Watched>,
    changes: u64,
    probes: Option<u64>,
    counted: bool,
    bytes: u64,
    shown: u64,
    looks: u64,
    estimates: f64,
    freezes: u64,
    frozen: Duration,
}

#[derive(Default)]
struct Watched {
    layer: Option<Option<usize>>,
    /// The last picture while it is told as sent.
    last: Option<Instant>,
}

impl Sampler {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            streams: BTreeMap::new(),
            changes: 0,
            probes: None,
            counted: false,
            bytes: 0,
            shown: 0,
            looks: 0,
            estimates: 0.0,
            freezes: 0,
            frozen: Duration::ZERO,
        }
    }

    pub(crate) fn sample(&mut self, sim: &mut Sim, viewer: usize) {
        if sim.now >= self.start + SETTLES && !self.counted {
            sim.clients[viewer].down.take_stats();
        }
        let client = &sim.clients[viewer];
        let Some(stats) = client.peer.and_then(|peer| sim.relay.peer_stats(peer).ok()) else {
            return;
        };
        let counted = sim.now >= self.start + SETTLES;
        if counted && !self.counted {
            self.counted = true;
            self.bytes = client.datagram_bytes;
            self.probes = Some(stats.bandwidth.probes);
        }
        if counted {
            self.estimates += stats.bandwidth.estimate.unwrap_or(0) as f64;
            self.looks += 1;
        }
        for told in &stats.subscriptions {
            let Some(stream) = client.stream_of(told.track) else {
                continue;
            };
            if stream.codec == Codec::Opus {
                continue;
            }
            let watched = self.streams.entry(told.track).or_default();
            let before = watched.layer.replace(told.layer);
            if counted {
                self.changes += u64::from(before.is_some_and(|before| before != told.layer));
                self.shown += u64::from(told.layer.is_some());
            }
            let shown = stream.screen.last;
            if told.layer.is_none() || before == Some(None) {
                // Begun, or paused: what comes first is awaited from now on.
                watched.last = told.layer.map(|_| sim.now);
            } else if let (Some(shown), Some(last)) = (shown, watched.last)
                && shown > last
            {
                let pause = shown - last;
                if counted && pause > FREEZE {
                    self.freezes += 1;
                    self.frozen += pause;
                }
                watched.last = Some(shown);
            } else if watched.last.is_none() {
                watched.last = Some(sim.now);
            }
        }
    }

    pub(crate) fn finish(mut self, sim: &Sim, viewer: usize, case: &Narrow) -> Calm {
        let client = &sim.clients[viewer];
        let stats = client.peer.and_then(|peer| sim.relay.peer_stats(peer).ok());
        let stats = stats.expect("it is in the call");
        for watched in self.streams.values() {
            if let Some(last) = watched.last.filter(|last| sim.now - *last > FREEZE) {
                self.freezes += 1;
                self.frozen += sim.now - last;
            }
        }
        let from = self.start + SETTLES;
        let seconds = (sim.now - from).as_secs_f64();
        let share = |(missed, all): (Duration, Duration)| {
            missed.as_secs_f64() / all.as_secs_f64().max(0.02)
        };
        let sounds = || {
            client
                .streams
                .values()
                .filter(|stream| stream.codec == Codec::Opus)
        };
        // The last packets may be on their way.
        let until = sim.now - Duration::from_millis(700);
        let path = client.down.stats();
        let minutes = seconds / 60.0;
        let bits = (client.datagram_bytes - self.bytes) as f64 * 8.0;
        Calm {
            received: bits / seconds / case.rate as f64,
            missed: sounds()
                .map(|stream| share(stream.hearing.missed(from, until)))
                .fold(0.0, f64::max),
            missed_at_first: sounds()
                .map(|stream| stream.hearing.missed(self.start, from).0.as_secs_f64())
                .fold(0.0, f64::max),
            freezes: self.freezes as f64,
            frozen: self.frozen.as_secs_f64(),
            changes: self.changes as f64 / minutes,
            probes: (stats.bandwidth.probes - self.probes.unwrap_or(0)) as f64 / minutes,
            lost: path.dropped as f64 / path.sent.max(1) as f64,
            queue_ms: path.queue_delay(0.95).as_secs_f64() * 1e3,
            shown: self.shown as f64 / (self.looks * u64::from(case.publishers)).max(1) as f64,
            estimate: self.estimates / self.looks.max(1) as f64 / case.rate as f64,
        }
    }
}

/// The median of each figure.
pub(crate) fn calm_median(runs: &[Calm]) -> Calm {
    let of = |figure: &dyn Fn(&Calm) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() % 2 {
            _ if values.is_empty() => 0.0,
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        }
    };
    Calm {
        received: of(&|run| run.received),
        missed: of(&|run| run.missed),
        missed_at_first: of(&|run| run.missed_at_first),
        freezes: of(&|run| run.freezes),
        frozen: of(&|run| run.frozen),
        changes: of(&|run| run.changes),
        probes: of(&|run| run.probes),
        lost: of(&|run| run.lost),
        queue_ms: of(&|run| run.queue_ms),
        shown: of(&|run| run.shown),
        estimate: of(&|run| run.estimate),
    }
}
