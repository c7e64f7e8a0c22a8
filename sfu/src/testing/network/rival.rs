//! The other flow at a bottleneck, simulated within it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::model::Rival;

/// Size of its packets, counted as UDP payload.
pub(super) const PACKET: usize = 1_200;
/// Shortest round trip: with zero the loop would not end.
const MIN_RTT: Duration = Duration::from_millis(1);
/// Lowest threshold of a window, in packets (RFC 5681 section 3.1).
const MIN_WINDOW: f64 = 2.0;
/// Largest window: 1.2 MB, as of a receiver with bounded window scaling.
const MAX_WINDOW: f64 = 1_000.0;

/// Its sender.
#[derive(Debug)]
pub(super) struct RivalFlow {
    rtt: Duration,
    window: f64,
    /// Slow start up to here (RFC 5681 section 3.1).
    threshold: f64,
    in_flight: usize,
    /// The times at which it hears of its packets, in order.
    acknowledged: VecDeque<Instant>,
    lost: VecDeque<Instant>,
    /// Losses heard before this are of a window already halved.
    halved_until: Option<Instant>,
}

impl RivalFlow {
    pub(super) fn new(rival: Rival) -> Self {
        Self {
            rtt: rival.rtt.max(MIN_RTT),
            window: 10.0,
            threshold: f64::INFINITY,
            in_flight: 0,
            acknowledged: VecDeque::new(),
            lost: VecDeque::new(),
            halved_until: None,
        }
    }

    /// The time at which it hears something next.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let heard = [self.acknowledged.front(), self.lost.front()];
        heard.into_iter().flatten().min().copied()
    }

    /// Hears what reaches it by `now`.
    pub(super) fn hear(&mut self, now: Instant) {
        while self.acknowledged.front().is_some_and(|at| *at <= now) {
            self.acknowledged.pop_front();
            // Packets of an earlier rival are acknowledged too.
            self.in_flight = self.in_flight.saturating_sub(1);
            self.window += match self.window < self.threshold {
                true => 1.0,
                false => 1.0 / self.window,
            };
            self.window = self.window.min(MAX_WINDOW);
        }
        while self.lost.front().is_some_and(|at| *at <= now) {
            self.lost.pop_front();
            self.in_flight = self.in_flight.saturating_sub(1);
            if self.halved_until.is_none_or(|until| now >= until) {
                self.window = (self.window / 2.0).max(MIN_WINDOW);
                self.threshold = self.window;
                self.halved_until = Some(now + self.rtt);
            }
        }
    }

    /// Whether its window has room for a packet.
    pub(super) fn sends(&self) -> bool {
        self.in_flight < self.window as usize
    }

    /// Counts a sent packet that the queue accepted.
    pub(super) fn sent(&mut self) {
        self.in_flight += 1;
    }

    /// Counts a sent packet that the queue dropped. Later packets reveal that, a round trip and the
    /// queue's delay later.
    pub(super) fn dropped(&mut self, now: Instant, queue: Duration) {
        self.in_flight += 1;
        let heard = now + self.rtt + queue;
        // Kept in order if the queue has shrunk in between.
        let heard = self.lost.back().map_or(heard, |last| heard.max(*last));
        self.lost.push_back(heard);
    }

    /// A packet of it has passed the rate.
    pub(super) fn passed(&mut self, at: Instant) {
        self.acknowledged.push_back(at + self.rtt);
    }

    #[cfg(test)]
    pub(super) fn window(&self) -> f64 {
        self.window
    }
}
