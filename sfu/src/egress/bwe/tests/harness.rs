//! A sender like an SFU, a link, and a receiver that reports: a closed loop in virtual time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::{BandwidthEstimator, BweConfig, Demand, Estimate, Probe};
use super::flow::Flow;
use crate::rtp::rtcp::TransportFeedback;
use crate::testing::network::{Datagram, Path, PathModel};

/// One track's layers.
const LAYERS: [u64; 3] = [150_000, 500_000, 1_700_000];
const AUDIO: u64 = 40_000;
const PACKET: usize = 1_200;
const TICK: Duration = Duration::from_millis(1);

/// The parameters of a run.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) forth: PathModel,
    pub(super) back: PathModel,
    /// Changes of the forward path, with their times in seconds.
    pub(super) changes: Vec<(f64, PathModel)>,
    /// Tracks to be sent.
    pub(super) tracks: usize,
    /// Bits a second of audio beside them.
    pub(super) audio: u64,
    pub(super) seconds: u64,
    /// Bursts in which all packets are lost: the probabilities to begin and to end with each packet.
    pub(super) bursts: Option<(f64, f64)>,
    /// The time in which a greedy flow shares the link, in seconds.
    pub(super) rival: Option<(f64, f64)>,
    /// The time in which nothing comes back, in seconds.
    pub(super) silence: Option<(f64, f64)>,
    /// Times at which the receiver reads ever later, their lengths, and the largest delay, in seconds; then it reads
    /// all at once.
    pub(super) late: Vec<(f64, f64, f64)>,
    /// The interval of feedback.
    pub(super) feedback: Duration,
}

pub(super) fn link(rate: u64, rtt_ms: u64, queue_ms: u64) -> PathModel {
    PathModel {
        delay: Duration::from_millis(rtt_ms / 2),
        rate: Some(rate),
        queue: Duration::from_millis(queue_ms),
        ..PathModel::LAN
    }
}

impl Script {
    pub(super) fn new(forth: PathModel, tracks: usize, seconds: u64) -> Self {
        let back = PathModel {
            rate: None,
            loss: 0.0,
            ..forth
        };
        Self {
            forth,
            back,
            changes: Vec::new(),
            tracks,
            audio: AUDIO,
            seconds,
            bursts: None,
            rival: None,
            silence: None,
            late: Vec::new(),
            feedback: Duration::from_millis(50),
        }
    }
}

/// The state of the loop at the end of a tenth of a second; rates in bits a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) sent: f64,
    pub(super) arrived: f64,
    pub(super) rival: f64,
    pub(super) estimate: Estimate,
    pub(super) allocated: u64,
}

/// The results of a run.
pub(super) struct Run {
    pub(super) points: Vec<Point>,
    /// Time of sending of each packet that arrived, and its delay beyond propagation, in milliseconds.
    pub(super) waits: Vec<(f64, f64)>,
    pub(super) switches: Vec<f64>,
}

impl Run {
    pub(super) fn mean(&self, from: f64, to: f64, of: impl Fn(&Point) -> f64) -> f64 {
        let points: Vec<f64> = self
            .points
            .iter()
            .filter(|p| p.at > from && p.at <= to)
            .map(of)
            .collect();
        points.iter().sum::<f64>() / points.len().max(1) as f64
    }

    /// The time after `from` at which a point is first like this.
    pub(super) fn first(&self, from: f64, like: impl Fn(&Point) -> bool) -> f64 {
        let found = self.points.iter().find(|p| p.at > from && like(p));
        found.map_or(999.0, |p| p.at - from)
    }

    pub(super) fn p95_wait(&self, from: f64, to: f64) -> f64 {
        let mut waits: Vec<f64> = self
            .waits
            .iter()
            .filter(|(at, _)| *at >= from && *at < to)
            .map(|(_, wait)| *wait)
            .collect();
        waits.sort_by(f64::total_cmp);
        waits.get(waits.len() * 95 / 100).copied().unwrap_or(0.0)
    }

    pub(super) fn switches(&self, from: f64, to: f64) -> f64 {
        self.switches
            .iter()
            .filter(|at| **at >= from && **at < to)
            .count() as f64
    }
}

struct Sender {
    bwe: BandwidthEstimator,
    sound: u64,
    sequence: u16,
    levels: Vec<Option<usize>>,
    calm_until: f64,
    /// Bytes of packets that wait.
    queue: VecDeque<usize>,
    debt: f64,
    probe: Option<(Probe, Instant, usize, u32)>,
    audio: f64,
    rng: StdRng,
}

/// Runs a script.
pub(super) fn run(script: &Script, seed: u64) -> Run {
    let start = Instant::now();
    let mut forth = Path::new(script.forth, seed);
    let mut back = Path::new(script.back, seed + 1_000);
    let mut burst = (false, StdRng::seed_from_u64(seed + 2_000));
    let config = BweConfig {
        start: 1_000_000,
        min: 30_000,
        max: 10_000_000_000,
    };
    let mut sender = Sender {
        bwe: BandwidthEstimator::new(start, config),
        sound: script.audio,
        sequence: 65_000,
        levels: vec![None; script.tracks],
        calm_until: 0.0,
        queue: VecDeque::new(),
        debt: 0.0,
        probe: None,
        audio: 0.0,
        rng: StdRng::seed_from_u64(seed + 3_000),
    };
    let mut rival = Flow::default();
    let mut receiver = Receiver::default();
    let mut run = Run {
        points: Vec::new(),
        waits: Vec::new(),
        switches: Vec::new(),
    };
    let (mut sent, mut arrived, mut rival_bytes) =
        (Window::default(), Window::default(), Window::default());
    let mut changes = script.changes.iter().peekable();
    let mut model = script.forth;
    let mut reports: Vec<TransportFeedback> = Vec::new();
    let mut now = start;
    for tick in 0..script.seconds * 1_000 {
        now += TICK;
        let at = tick as f64 / 1e3;
        while let Some((_, changed)) = changes.next_if(|change| change.0 <= at) {
            model = *changed;
            forth.set_model(model);
        }
        let silent = script
            .silence
            .is_some_and(|(from, to)| at >= from && at < to);
        while let Some(datagram) = back.receive(now) {
            let index = u32::from_be_bytes(datagram.payload[..4].try_into().unwrap());
            if !silent {
                sender.bwe.feedback(now, &reports[index as usize]);
            }
        }
        sender.tick(now, at, tick, &mut run.switches, |sequence, bytes| {
            sent.bytes += bytes as f64;
            burst.0 = script.bursts.is_some_and(|(begin, end)| {
                burst.1.random::<f64>() < if burst.0 { 1.0 - end } else { begin }
            });
            if !burst.0 {
                let mut payload = vec![0; bytes];
                payload[..2].copy_from_slice(&sequence.to_be_bytes());
                payload[2..10].copy_from_slice(&((now - start).as_micros() as u64).to_be_bytes());
                forth.send(now, datagram(1, payload));
            }
        });
        if script.rival.is_some_and(|(from, to)| at >= from && at < to) {
            rival.send(at, |payload| forth.send(now, datagram(2, payload)));
        }
        while let Some(next) = forth.next_arrival().filter(|next| *next <= now) {
            let Some(datagram) = forth.receive(next) else {
                break;
            };
            if datagram.from.port() == 2 {
                rival_bytes.bytes += datagram.payload.len() as f64;
                rival.arrived(at + 2.0 * model.delay.as_secs_f64(), &datagram.payload);
                continue;
            }
            arrived.bytes += datagram.payload.len() as f64;
            let sequence = u16::from_be_bytes(datagram.payload[..2].try_into().unwrap());
            let sent_us = u64::from_be_bytes(datagram.payload[2..10].try_into().unwrap());
            let took = (next - start).as_micros() as f64 - sent_us as f64;
            run.waits.push((
                sent_us as f64 / 1e6,
                took / 1e3 - model.delay.as_secs_f64() * 1e3,
            ));
            let arrived = (next - start).as_micros() as f64 / 1e6;
            let read = script.late.iter().find_map(|late| late_by(*late, arrived));
            receiver
                .waiting
                .push_back((sequence, read.unwrap_or(arrived)));
        }
        receiver.read(at);
        if tick.is_multiple_of(script.feedback.as_millis() as u64)
            && let Some(report) = receiver.report()
        {
            back.send(
                now,
                datagram(3, (reports.len() as u32).to_be_bytes().to_vec()),
            );
            reports.push(report);
        }
        if tick % 100 == 99 {
            run.points.push(Point {
                at,
                sent: sent.close(),
                arrived: arrived.close(),
                rival: rival_bytes.close(),
                estimate: sender.bwe.estimate(),
                allocated: sender.allocated(),
            });
        }
    }
    run
}

/// The time at which a packet is read that arrives while a receiver is late.
fn late_by((from, lasts, most): (f64, f64, f64), arrived: f64) -> Option<f64> {
    let passed = arrived - from;
    let is_late = (0.0..lasts).contains(&passed);
    is_late.then(|| (arrived + most * passed / lasts).min(from + lasts))
}

fn datagram(port: u16, payload: Vec<u8>) -> Datagram {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    Datagram {
        from: addr,
        to: addr,
        payload,
    }
}

#[derive(Default)]
struct Window {
    bytes: f64,
}

impl Window {
    fn close(&mut self) -> f64 {
        std::mem::take(&mut self.bytes) * 80.0
    }
}

impl Sender {
    fn allocated(&self) -> u64 {
        self.sound
            + self
                .levels
                .iter()
                .flatten()
                .map(|level| LAYERS[*level])
                .sum::<u64>()
    }

    fn tick(
        &mut self,
        now: Instant,
        at: f64,
        tick: u64,
        switches: &mut Vec<f64>,
        mut send: impl FnMut(u16, usize),
    ) {
        if self.bwe.poll_timeout().is_some_and(|due| due <= now) {
            self.bwe.handle_timeout(now);
            assert!(
                self.bwe.poll_timeout().is_none_or(|due| due > now),
                "a deadline that stays"
            );
        }
        let estimate = self.bwe.estimate();
        if tick.is_multiple_of(200) || (estimate.congested && tick.is_multiple_of(10)) {
            self.allocate(at, &estimate, switches);
            let desired = self.sound + self.levels.len() as u64 * LAYERS[2];
            let allocated = self.allocated();
            let step = desired;
            let demand = Demand {
                allocated,
                desired,
                step,
            };
            self.bwe.set_demand(now, demand);
        }
        if let Some(probe) = self.bwe.poll_probe(now) {
            self.probe = Some((probe, now, 0, 0));
        }
        self.produce(tick);
        self.debt = (self.debt - estimate.pacing as f64 / 8e3).max(0.0);
        self.audio += self.sound as f64 / 8e3;
        if self.audio >= 100.0 {
            self.audio -= 100.0;
            self.send(now, 100, &mut send);
        }
        loop {
            let due = self.probe.as_ref().is_some_and(|(probe, since, bytes, _)| {
                *since + Duration::from_micros(*bytes as u64 * 8_000_000 / probe.bitrate.max(1))
                    <= now
            });
            let burst = (estimate.pacing as f64 / 8.0 * 0.04).max(3_600.0);
            if !due && self.debt > burst {
                break;
            }
            let bytes = match self.queue.pop_front() {
                Some(bytes) => bytes,
                None if due => 1_000,
                None => break,
            };
            self.send(now, bytes, &mut send);
        }
    }

    fn send(&mut self, now: Instant, bytes: usize, send: &mut impl FnMut(u16, usize)) {
        let mut cluster = None;
        if let Some((probe, _, sent, packets)) = &mut self.probe {
            *sent += bytes;
            *packets += 1;
            cluster = Some(probe.cluster);
            if *sent >= probe.bytes && *packets >= probe.packets {
                self.probe = None;
            }
        }
        self.debt += bytes as f64;
        self.bwe.packet_sent(now, self.sequence, bytes, cluster);
        send(self.sequence, bytes);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Produces frames of all tracks, 25 a second, of varying size.
    fn produce(&mut self, tick: u64) {
        for (track, level) in self.levels.iter().enumerate() {
            if !(tick + 13 * track as u64).is_multiple_of(40) {
                continue;
            }
            let Some(level) = level else { continue };
            let mean = LAYERS[*level] as f64 / 8.0 / 25.0;
            let mut frame = (mean * (0.7 + 0.6 * self.rng.random::<f64>())) as usize;
            while frame > 0 && self.queue.len() < 1_024 {
                let bytes = frame.clamp(60, PACKET);
                self.queue.push_back(bytes);
                frame = frame.saturating_sub(bytes);
            }
        }
        // Packets older than a second are worthless.
        let stale = self.allocated() as usize / 8;
        while self.queue.iter().sum::<usize>() > stale.max(20_000) {
            self.queue.pop_front();
        }
    }

    /// A simple allocator: down at once, up with proof, step by step.
    fn allocate(&mut self, at: f64, estimate: &Estimate, switches: &mut Vec<f64>) {
        let before = self.levels.clone();
        if estimate.congested {
            self.calm_until = at + 1.0;
        }
        let kept = if estimate.congested {
            estimate.bitrate
        } else {
            estimate.bitrate * 108 / 100
        };
        while self.allocated() > kept {
            let Some(most) = self
                .levels
                .iter_mut()
                .rev()
                .max_by_key(|level| level.map_or(0, |l| l + 1))
            else {
                break;
            };
            match most {
                Some(0) => *most = None,
                Some(level) => *level -= 1,
                None => break,
            }
        }
        if at >= self.calm_until {
            let allowed = estimate.bitrate.min(estimate.probed.max(300_000)) * 92 / 100;
            loop {
                let used = self.allocated();
                let fits = |level: &Option<usize>| {
                    let next = level.map_or(0, |level| level + 1);
                    let less = level.map_or(0, |level| LAYERS[level]);
                    next < LAYERS.len() && used - less + LAYERS[next] <= allowed
                };
                let least = self
                    .levels
                    .iter_mut()
                    .filter(|level| fits(level))
                    .min_by_key(|level| level.map_or(0, |l| l + 1));
                let Some(level) = least else { break };
                *level = Some(level.map_or(0, |level| level + 1));
            }
        }
        if before != self.levels {
            switches.push(at);
        }
    }
}

/// Reports like libwebrtc's receiver.
#[derive(Default)]
struct Receiver {
    /// Packets that arrived, with the time at which each is read, in seconds.
    waiting: VecDeque<(u16, f64)>,
    arrivals: Vec<(u16, i64)>,
    next: Option<u16>,
    count: u8,
}

impl Receiver {
    fn read(&mut self, now: f64) {
        while let Some((sequence, at)) = self.waiting.front().copied().filter(|next| next.1 <= now)
        {
            self.waiting.pop_front();
            self.arrived(sequence, (at * 1e6) as i64);
        }
    }

    fn arrived(&mut self, sequence: u16, at_us: i64) {
        self.arrivals.push((sequence, at_us / 250));
    }

    fn report(&mut self) -> Option<TransportFeedback> {
        let newest = self.arrivals.iter().map(|a| a.0).reduce(|a, b| {
            if crate::rtp::sequence::newer(a, b) {
                a
            } else {
                b
            }
        })?;
        let oldest = self.arrivals.iter().map(|a| a.0).reduce(|a, b| {
            if crate::rtp::sequence::newer(a, b) {
                b
            } else {
                a
            }
        })?;
        let base = match self.next {
            Some(next) if crate::rtp::sequence::newer(oldest, next) => next,
            _ => oldest,
        };
        let len = newest.wrapping_sub(base).min(4_095) + 1;
        let mut arrivals = vec![None; usize::from(len)];
        for (sequence, at) in self.arrivals.drain(..) {
            if let Some(arrival) = arrivals.get_mut(usize::from(sequence.wrapping_sub(base))) {
                *arrival = Some(at + (1 << 31));
            }
        }
        self.next = Some(newest.wrapping_add(1));
        self.count = self.count.wrapping_add(1);
        Some(TransportFeedback {
            sender: 1,
            media: 2,
            feedback_count: self.count,
            base,
            arrivals,
        })
    }
}
