//! When to find out whether the link carries more, and what was found.
//!
//! What a relay sends is a sum of layers, nearly always less than the link carries: nothing but a probe
//! tells how much more there is (libwebrtc: `ProbeController`, `ProbeBitrateEstimator`). A probe is a
//! short burst at a higher rate, of packets sent again or padding. It is followed by another, twice as
//! fast, for as long as they arrive as fast as they were sent and more is wanted.

use std::time::{Duration, Instant};

use super::history::Arrived;
use super::{Demand, Probe};

/// Of the estimate, what the first probe asks for, and every one after.
const FIRST: u64 = 3;
const FURTHER: u64 = 2;
/// Beyond what is wanted, in percent, so that what is confirmed leaves room.
const HEADROOM: u64 = 150;
/// A burst, unless delays vary so much that it says nothing.
const LENGTH: Duration = Duration::from_millis(25);
const LENGTH_MAX: Duration = Duration::from_millis(160);
const PACKETS: u32 = 5;
/// A cluster of which too little came back within this failed.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Between probes; twice as long after each one that found no more, up to the last.
const INTERVAL: Duration = Duration::from_millis(700);
const INTERVAL_MAX: Duration = Duration::from_secs(3);
/// A probe that arrived at this share of its rate, in percent, found no end.
const WHOLE: u64 = 85;

/// The probes of a link.
#[derive(Debug)]
pub(super) struct Probes {
    next_id: u8,
    active: Option<Active>,
    next_at: Option<Instant>,
    interval: Duration,
    ready: Option<Probe>,
    first: bool,
    pub(super) sent: u64,
}

#[derive(Debug)]
struct Active {
    probe: Probe,
    since: Instant,
    arrived: u32,
    bytes: u64,
    first_sent: Option<Instant>,
    last_sent: Option<Instant>,
    last_sent_bytes: u64,
    first_us: i64,
    last_us: i64,
    first_arrived_bytes: u64,
}

/// What a probe found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Bits a second that went through.
    pub(super) bitrate: u64,
    /// As much as was sent: there may be more.
    pub(super) whole: bool,
}

impl Probes {
    pub(super) fn new() -> Self {
        Self {
            next_id: 0,
            active: None,
            next_at: None,
            interval: INTERVAL,
            ready: None,
            first: true,
            sent: 0,
        }
    }

    /// Decides whether to probe. `confirmed`: what of the estimate is known to be carried. `calm`:
    /// nothing speaks against it.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        estimate: u64,
        confirmed: u64,
        demand: Demand,
        calm: bool,
        jitter: Duration,
    ) {
        if self
            .active
            .as_ref()
            .is_some_and(|active| now >= active.since + PATIENCE)
        {
            self.active = None;
            self.failed(now);
        }
        let goal = percent(demand.desired, HEADROOM);
        let wants = demand.desired > demand.allocated && confirmed < goal;
        if !wants || !calm || self.active.is_some() || self.ready.is_some() {
            return;
        }
        if self.next_at.is_some_and(|at| now < at) {
            return;
        }
        let factor = if std::mem::take(&mut self.first) {
            FIRST
        } else {
            FURTHER
        };
        self.begin(now, (estimate * factor).min(goal), jitter);
    }

    fn begin(&mut self, now: Instant, bitrate: u64, jitter: Duration) {
        let length = LENGTH.max(jitter * 5).min(LENGTH_MAX);
        let bytes = u128::from(bitrate) * length.as_micros() / 8_000_000;
        self.next_id = (self.next_id + 1) % 250;
        let probe = Probe {
            cluster: self.next_id,
            bitrate,
            bytes: bytes as usize,
            packets: PACKETS,
        };
        self.ready = Some(probe);
        self.next_at = Some(now + self.interval);
        self.active = Some(Active {
            probe,
            since: now,
            arrived: 0,
            bytes: 0,
            first_sent: None,
            last_sent: None,
            last_sent_bytes: 0,
            first_us: i64::MAX,
            last_us: i64::MIN,
            first_arrived_bytes: 0,
        });
        self.sent += 1;
    }

    /// The probe to send now.
    pub(super) fn take(&mut self) -> Option<Probe> {
        self.ready.take()
    }

    /// Takes arrivals; what the probe under way found, once most of it has arrived.
    pub(super) fn update(&mut self, now: Instant, arrived: &[Arrived]) -> Option<Found> {
        let active = self.active.as_mut()?;
        for packet in arrived {
            if packet.probe != Some(active.probe.cluster) {
                continue;
            }
            let bytes = u64::from(packet.bytes);
            active.arrived += 1;
            active.bytes += bytes;
            if active.first_sent.is_none_or(|at| packet.sent_at < at) {
                active.first_sent = Some(packet.sent_at);
            }
            if active.last_sent.is_none_or(|at| packet.sent_at >= at) {
                active.last_sent = Some(packet.sent_at);
                active.last_sent_bytes = bytes;
            }
            if packet.arrived_us < active.first_us {
                active.first_us = packet.arrived_us;
                active.first_arrived_bytes = bytes;
            }
            active.last_us = active.last_us.max(packet.arrived_us);
        }
        let enough = active.bytes * 10 >= active.probe.bytes as u64 * 8
            && active.arrived * 10 >= active.probe.packets * 8;
        if !enough {
            return None;
        }
        let found = active.found()?;
        self.active = None;
        if found.whole {
            // The next may follow at once.
            self.interval = INTERVAL;
            self.next_at = Some(now);
        } else {
            self.failed(now);
        }
        Some(found)
    }

    /// There is no use in trying the same again soon.
    fn failed(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(INTERVAL_MAX);
        self.next_at = Some(now + self.interval);
    }

    /// The link changed for the worse: what is under way says nothing.
    pub(super) fn abort(&mut self, now: Instant, pause: Duration) {
        self.active = None;
        self.ready = None;
        self.interval = INTERVAL;
        self.next_at = Some(now + pause);
    }
}

impl Active {
    fn found(&self) -> Option<Found> {
        let sending = self.last_sent?.saturating_duration_since(self.first_sent?);
        let sent = rate(
            self.bytes - self.last_sent_bytes,
            sending.as_micros() as u64,
        );
        let received = rate(
            self.bytes - self.first_arrived_bytes,
            (self.last_us - self.first_us).max(1) as u64,
        );
        let bitrate = sent.min(received);
        Some(Found {
            bitrate,
            whole: received * 100 >= sent.min(self.probe.bitrate) * WHOLE,
        })
    }
}

fn rate(bytes: u64, microseconds: u64) -> u64 {
    bytes * 8 * 1_000_000 / microseconds.max(1_000)
}

pub(super) fn percent(of: u64, share: u64) -> u64 {
    (u128::from(of) * u128::from(share) / 100).min(u128::from(u64::MAX)) as u64
}
