//! A path, driven by the moments it is told.

use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::link::{Link, Load, Passed};
use super::model::{Burst, PathModel};
use super::rival::{PACKET, RivalFlow};
use super::statistics::PathStats;

/// A datagram under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its source address.
    pub from: SocketAddr,
    /// Its destination address.
    pub to: SocketAddr,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// One direction of a path.
#[derive(Debug)]
pub struct Path {
    model: PathModel,
    rng: StdRng,
    /// Its own, so that how long a path has been noisy does not shift which datagrams are lost.
    noise_rng: StdRng,
    noise_at: Option<Instant>,
    in_burst: bool,
    link: Link,
    rival: Option<RivalFlow>,
    /// The arrival of the last datagram that keeps the order: the next does not arrive before.
    floor: Option<Instant>,
    /// The latest turn in which it delivers.
    turn: Option<Instant>,
    under_way: BinaryHeap<UnderWay>,
    numbered: u64,
    clock: Option<Instant>,
    stats: PathStats,
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
        let mut path = Self {
            model,
            rng: StdRng::seed_from_u64(seed),
            noise_rng: StdRng::seed_from_u64(seed ^ 0x6e_6f69_7365),
            noise_at: None,
            in_burst: false,
            link: Link::default(),
            rival: None,
            floor: None,
            turn: None,
            under_way: BinaryHeap::new(),
            numbered: 0,
            clock: None,
            stats: PathStats::default(),
        };
        path.set_model(model);
        path
    }

    /// Its treatment of datagrams at present.
    pub fn model(&self) -> &PathModel {
        &self.model
    }

    /// Sets the model as [`set_model_at`](Self::set_model_at) does, from the time the path was last used.
    pub fn set_model(&mut self, model: PathModel) {
        match self.clock {
            Some(now) => self.set_model_at(now, model),
            // The path begins with the first datagram.
            None => self.model = model,
        }
    }

    /// Changes the treatment of datagrams sent from now on. Datagrams that wait for the rate go on at the new one;
    /// those that have passed it arrive as before.
    pub fn set_model_at(&mut self, now: Instant, model: PathModel) {
        let now = self.advance(now);
        let before = std::mem::replace(&mut self.model, model);
        self.start(now, &before);
    }

    fn start(&mut self, now: Instant, before: &PathModel) {
        let model = self.model;
        if model.noise != before.noise {
            self.noise_at = None;
        }
        if (model.noise, model.rate) != (before.noise, before.rate) {
            self.link.set_rate(now, model.rate);
        }
        if model.noise.is_some() && self.noise_at.is_none() {
            self.noise_at = Some(now);
        }
        let rival = model.rival.filter(|_| model.rate.is_some());
        if rival != before.rival.filter(|_| before.rate.is_some()) || rival.is_none() {
            self.rival = rival.map(RivalFlow::new);
        }
        self.rival_sends(now);
        // On an unlimited path nothing is left waiting.
        self.advance(now);
    }

    /// Puts a datagram on the path.
    pub fn send(&mut self, now: Instant, datagram: Datagram) {
        let now = self.advance(now);
        let bytes = datagram.payload.len();
        self.numbered += 1;
        self.stats.sent += 1;
        self.stats.sent_bytes += bytes as u64;
        // Drawn always, so that a change of the model does not shift later draws.
        let mut draw = || self.rng.random::<f64>();
        let (loss, burst, jitter, late) = (draw(), draw(), draw(), draw());
        let in_burst = self.in_burst(burst);
        if loss < self.model.loss || in_burst {
            self.stats.lost += 1;
            return;
        }
        if !self.has_room(now, bytes) {
            self.stats.dropped += 1;
            return;
        }
        let load = Load::Datagram {
            datagram,
            number: self.numbered,
            jitter,
            late: self.model.reorder.is_some_and(|r| late < r.share),
        };
        self.link.push(now, load);
        // On an unlimited path it leaves at once.
        self.advance(now);
    }

    /// The time before which [`receive`](Self::receive) has nothing: not later than the next datagram
    /// arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        let arrives = self.under_way.peek().map(|first| first.arrives);
        let passes = self.link.next_datagram_at().map(|passes| {
            // The rate may change then, and with it this estimate.
            let passes = self.noise_at.map_or(passes, |noise| passes.min(noise));
            passes + self.model.delay
        });
        arrives.into_iter().chain(passes).min()
    }

    /// A datagram that has arrived.
    pub fn receive(&mut self, now: Instant) -> Option<Datagram> {
        self.advance(now);
        if self.under_way.peek()?.arrives > now {
            return None;
        }
        let first = self.under_way.pop()?;
        self.stats.delivered += 1;
        self.stats.delivered_bytes += first.datagram.payload.len() as u64;
        Some(first.datagram)
    }

    /// The time that a datagram sent now would wait for the rate.
    pub fn queue_delay(&mut self, now: Instant) -> Duration {
        let now = self.advance(now);
        self.link.delay(now)
    }

    /// Bytes that wait for the rate, a rival's included.
    pub fn queued_bytes(&mut self, now: Instant) -> usize {
        self.advance(now);
        self.link.bytes()
    }

    /// Datagrams sent and, of these, lost, by whatever cause.
    pub fn counts(&self) -> (u64, u64) {
        (self.stats.sent, self.stats.lost + self.stats.dropped)
    }

    /// Counters of the path.
    pub fn stats(&self) -> &PathStats {
        &self.stats
    }

    /// Returns the counters, and starts them again at zero.
    pub fn take_stats(&mut self) -> PathStats {
        std::mem::take(&mut self.stats)
    }

    /// Lets everything happen that does until `now`, in its order. Time does not run backwards: the
    /// moment that it is.
    fn advance(&mut self, now: Instant) -> Instant {
        let now = match self.clock {
            Some(clock) => clock.max(now),
            None => {
                self.clock = Some(now);
                let model = std::mem::replace(&mut self.model, PathModel::CLEAR);
                self.set_model_at(now, model);
                now
            }
        };
        loop {
            let passes = self.link.next_at();
            let heard = self.rival.as_ref().and_then(RivalFlow::next_at);
            let next = [passes, heard, self.noise_at].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= now) else {
                break;
            };
            if passes == Some(next) {
                if let Some(passed) = self.link.pop(next) {
                    self.passed(passed);
                }
            } else if self.noise_at == Some(next) {
                self.vary_rate(next);
            } else {
                if let Some(rival) = &mut self.rival {
                    rival.hear(next);
                }
                self.rival_sends(next);
            }
        }
        self.clock = Some(now);
        now
    }

    fn passed(&mut self, passed: Passed) {
        let Passed { at, waited, load } = passed;
        let (datagram, number, jitter, late) = match load {
            Load::Datagram {
                datagram,
                number,
                jitter,
                late,
            } => (datagram, number, jitter, late),
            Load::Rival => {
                self.stats.rival_bytes += PACKET as u64;
                if let Some(rival) = &mut self.rival {
                    rival.passed(at);
                }
                return;
            }
        };
        self.stats.wait(waited);
        let mut arrives = at + self.model.delay + self.model.jitter.mul_f64(jitter);
        if !self.model.turns.is_zero() {
            let next = self.turn.filter(|turn| arrives <= *turn);
            arrives = next.unwrap_or(arrives + self.model.turns.mul_f64(1.0 - jitter));
            self.turn = Some(arrives);
        }
        match self.model.reorder.filter(|_| late) {
            Some(reorder) => arrives += reorder.delay,
            None if self.model.overtake => {}
            None => {
                arrives = self.floor.map_or(arrives, |floor| floor.max(arrives));
                self.floor = Some(arrives);
            }
        }
        self.under_way.push(UnderWay {
            arrives,
            number,
            datagram,
        });
    }

    /// Steps from good to bad or back; the share of time that is bad and how long it stays so are
    /// the loss and the length of [`Burst`].
    fn in_burst(&mut self, draw: f64) -> bool {
        self.in_burst = match self.model.burst {
            None => false,
            Some(Burst { loss, length }) => {
                let ends = 1.0 / length.max(1.0);
                let begins = ends * loss / (1.0 - loss).max(f64::EPSILON);
                match self.in_burst {
                    true => draw >= ends,
                    false => draw < begins,
                }
            }
        };
        self.in_burst
    }

    fn has_room(&mut self, now: Instant, bytes: usize) -> bool {
        let fits = |bound| self.link.bytes() == 0 || self.link.bytes() + bytes <= bound;
        self.model.queue_bytes.is_none_or(fits) && self.link.delay(now) <= self.model.queue
    }

    fn vary_rate(&mut self, now: Instant) {
        let (Some(noise), Some(rate)) = (self.model.noise, self.model.rate) else {
            self.noise_at = None;
            return;
        };
        let off = self.noise_rng.random_range(-1.0..=1.0) * noise.share;
        let rate = (rate as f64 * (1.0 + off)) as u64;
        self.link.set_rate(now, Some(rate));
        self.noise_at = Some(now + noise.period.max(Duration::from_millis(1)));
    }

    fn rival_sends(&mut self, now: Instant) {
        while self.rival.as_ref().is_some_and(RivalFlow::sends) {
            let has_room = self.has_room(now, PACKET);
            let queue = self.link.delay(now);
            let Some(rival) = &mut self.rival else { return };
            if has_room {
                rival.sent();
                self.link.push(now, Load::Rival);
            } else {
                rival.dropped(now, queue);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn rival_window(&self) -> Option<f64> {
        self.rival.as_ref().map(RivalFlow::window)
    }
}
