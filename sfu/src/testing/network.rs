//! One direction of a simulated network path: loss, delay, jitter, a rate with a bounded queue.
//!
//! Deterministic: the same seed and the same datagrams give the same arrivals.

use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How a path treats datagrams.
#[derive(Clone, Copy, Debug)]
pub struct PathModel {
    /// Propagation, one way.
    pub delay: Duration,
    /// Added to it at random, evenly from zero up to this; datagrams may overtake each other by it.
    pub jitter: Duration,
    /// Share of datagrams lost at random (0 to 1).
    pub loss: f64,
    /// Bits a second; none is unlimited.
    pub rate: Option<u64>,
    /// Datagrams that would wait longer than this for the rate are dropped at its tail.
    pub queue: Duration,
}

impl PathModel {
    /// A loopback or a switch: 1 ms, nothing lost.
    pub const LAN: Self = Self {
        delay: Duration::from_millis(1),
        jitter: Duration::ZERO,
        loss: 0.0,
        rate: None,
        queue: Duration::from_millis(200),
    };
}

/// A datagram under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where it came from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// One direction of a path.
#[derive(Debug)]
pub struct Path {
    model: PathModel,
    rng: StdRng,
    /// Until when the rate is used up.
    busy_until: Option<Instant>,
    under_way: BinaryHeap<UnderWay>,
    sent: u64,
    lost: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct UnderWay {
    arrives: Instant,
    number: u64,
    datagram: Datagram,
}

/// Earliest first, then in the order sent.
impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.arrives, other.number).cmp(&(self.arrives, self.number))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Path {
    /// An idle path.
    pub fn new(model: PathModel, seed: u64) -> Self {
        Self {
            model,
            rng: StdRng::seed_from_u64(seed),
            busy_until: None,
            under_way: BinaryHeap::new(),
            sent: 0,
            lost: 0,
        }
    }

    /// Changes how datagrams sent from now on are treated.
    pub fn set_model(&mut self, model: PathModel) {
        self.model = model;
    }

    /// Puts a datagram on the path.
    pub fn send(&mut self, now: Instant, datagram: Datagram) {
        self.sent += 1;
        // Drawn always, so that a change of the model does not shift later draws.
        let (loss, jitter) = (self.rng.random::<f64>(), self.rng.random::<f64>());
        if loss < self.model.loss {
            self.lost += 1;
            return;
        }
        let start = self.busy_until.map_or(now, |at| at.max(now));
        if start > now + self.model.queue {
            self.lost += 1;
            return;
        }
        let serialized = self.model.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(datagram.payload.len() as f64 * 8.0 / rate.max(1) as f64)
        });
        self.busy_until = Some(start + serialized);
        let arrives = start + serialized + self.model.delay + self.model.jitter.mul_f64(jitter);
        self.under_way.push(UnderWay {
            arrives,
            number: self.sent,
            datagram,
        });
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.under_way.peek().map(|first| first.arrives)
    }

    /// A datagram that has arrived.
    pub fn receive(&mut self, now: Instant) -> Option<Datagram> {
        if self.next_arrival()? > now {
            return None;
        }
        self.under_way.pop().map(|first| first.datagram)
    }

    /// Datagrams sent and, of these, lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(number: u8, len: usize) -> Datagram {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        Datagram {
            from: addr,
            to: addr,
            payload: vec![number; len],
        }
    }

    fn arrivals(path: &mut Path, start: Instant) -> Vec<(u128, u8)> {
        let mut seen = Vec::new();
        while let Some(at) = path.next_arrival() {
            let datagram = path.receive(at).unwrap();
            seen.push(((at - start).as_micros(), datagram.payload[0]));
        }
        seen
    }

    #[test]
    fn a_rate_spaces_datagrams_and_drops_at_the_tail_of_its_queue() {
        let start = Instant::now();
        let model = PathModel {
            rate: Some(1_000_000),
            queue: Duration::from_millis(20),
            ..PathModel::LAN
        };
        let mut path = Path::new(model, 1);
        for number in 0..10 {
            path.send(start, datagram(number, 1_250));
        }
        assert_eq!(
            arrivals(&mut path, start),
            vec![(11_000, 0), (21_000, 1), (31_000, 2)]
        );
        assert_eq!(path.counts(), (10, 7));
    }

    #[test]
    fn loss_and_jitter_repeat_with_the_seed() {
        let start = Instant::now();
        let model = PathModel {
            loss: 0.1,
            jitter: Duration::from_millis(30),
            ..PathModel::LAN
        };
        let run = |seed| {
            let mut path = Path::new(model, seed);
            for number in 0..200 {
                path.send(start, datagram(number, 100));
            }
            (path.counts().1, arrivals(&mut path, start))
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!((5..=40).contains(&run(7).0));
    }
}
