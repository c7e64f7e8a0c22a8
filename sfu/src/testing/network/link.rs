//! A bottleneck: what waits for the rate, whose ever it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::path::Datagram;
use super::rival::PACKET;

/// A thing that waits.
#[derive(Debug)]
pub(super) enum Load {
    /// A datagram, with its draws of jitter and of extra delay.
    Datagram {
        datagram: Datagram,
        number: u64,
        jitter: f64,
        late: bool,
    },
    /// A packet of the rival's.
    Rival,
}

impl Load {
    fn bytes(&self) -> usize {
        match self {
            Self::Datagram { datagram, .. } => datagram.payload.len(),
            Self::Rival => PACKET,
        }
    }
}

/// A thing that has passed.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) at: Instant,
    pub(super) waited: Duration,
    pub(super) load: Load,
}

/// The queue before a rate.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Bits a second; none is unlimited.
    rate: Option<u64>,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The time up to which the first one's `left` is right.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    entered: Instant,
    /// The time at which its turn came.
    began: Option<Instant>,
    /// Bits still to be sent, in 1e-9: exact at any rate and time.
    left: u64,
    load: Load,
}

const NANO: u64 = 1_000_000_000;

impl Link {
    /// Changes the rate as of `now`, up to which everything has been popped.
    pub(super) fn set_rate(&mut self, now: Instant, rate: Option<u64>) {
        self.serve(now);
        self.rate = rate.map(|rate| rate.max(1));
    }

    /// The time that something that came now would wait.
    pub(super) fn delay(&mut self, now: Instant) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        self.serve(now);
        let left: u128 = match self.waiting.front() {
            None => return Duration::ZERO,
            Some(first) => {
                let behind = self.bytes - first.load.bytes();
                u128::from(first.left) + behind as u128 * 8 * u128::from(NANO)
            }
        };
        Duration::from_nanos((left / u128::from(rate)) as u64)
    }

    /// Bytes that wait, the ones being sent included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, now: Instant, load: Load) {
        if self.waiting.is_empty() {
            self.since = Some(now);
        }
        let bytes = load.bytes();
        self.bytes += bytes;
        self.waiting.push_back(Waiting {
            entered: now,
            began: self.waiting.is_empty().then_some(now),
            left: bytes as u64 * 8 * NANO,
            load,
        });
    }

    /// The time at which the first one will have passed, at this rate.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let first = self.waiting.front()?;
        let since = self.since.unwrap_or(first.entered);
        Some(match self.rate {
            None => since,
            Some(rate) => since + Duration::from_nanos(first.left.div_ceil(rate)),
        })
    }

    /// The time at which the first datagram will have passed, at this rate.
    pub(super) fn next_datagram_at(&self) -> Option<Instant> {
        let mut at = self.next_at()?;
        for (place, waiting) in self.waiting.iter().enumerate() {
            if let (1.., Some(rate)) = (place, self.rate) {
                at += Duration::from_nanos(waiting.left.div_ceil(rate));
            }
            if matches!(waiting.load, Load::Datagram { .. }) {
                return Some(at);
            }
        }
        None
    }

    /// The first one, if it has passed by `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Passed> {
        let at = self.next_at()?;
        if at > now {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.bytes -= first.load.bytes();
        self.since = Some(at);
        if let Some(next) = self.waiting.front_mut() {
            next.began = Some(at);
        }
        let began = first.began.unwrap_or(at);
        Some(Passed {
            at,
            waited: began.saturating_duration_since(first.entered),
            load: first.load,
        })
    }

    /// Reduces `left` of the first one by the bits sent until `now`, which are not all of it.
    fn serve(&mut self, now: Instant) {
        let since = self.since.replace(now).unwrap_or(now);
        if let (Some(rate), Some(first)) = (self.rate, self.waiting.front_mut()) {
            let nanos = now.saturating_duration_since(since).as_nanos();
            let served = u64::try_from(nanos * u128::from(rate)).unwrap_or(u64::MAX);
            first.left = first.left.saturating_sub(served);
        }
    }
}
