//! How long packets wait in the link's queue.
//!
//! Not by how delay changes from packet to packet, as libwebrtc's `TrendlineEstimator` does, but by how
//! far it is above the least of the last seconds: one-way delay, of which only the clocks' unknown but
//! constant difference is subtracted with the minimum (the delay signal of LEDBAT, RFC 6817 section
//! 2.2, and of SCReAM, RFC 8298). A trend forgets a queue that has stopped growing, and a discrete
//! jump of a layer's rate needs no trend to be seen. Jitter only ever adds: the least delay within a
//! short window is free of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::history::Arrived;

/// The base is the least delay of so many spans of this length. A route that became longer is the new
/// base after them; clocks 100 ppm apart move by 2 ms in that time.
const SPAN: Duration = Duration::from_secs(4);
const SPANS: usize = 5;
/// Delays are taken together over this: several packets even of sound alone, so that jitter is gone.
const WINDOW: Duration = Duration::from_millis(150);

/// The queue of a link.
#[derive(Debug, Default)]
pub(super) struct Queue {
    epoch: Option<Instant>,
    /// Least delay of each span, the newest last, in microseconds on a clock of its own.
    spans: VecDeque<i64>,
    span_ends: Option<Instant>,
    /// Delays of the window with when their packets were sent.
    window: VecDeque<(Instant, i64)>,
    /// Least delay above the base within the window.
    standing: Duration,
    /// The same, as it was a window ago, and when that was.
    before: Option<(Instant, Duration)>,
    grew: i64,
    /// Of delays above the least of their window: smoothed mean.
    jitter_us: f64,
}

/// Feedback packets of a window; each adds at most its own least delay.
const WINDOW_ENTRIES: usize = 64;

impl Queue {
    /// Takes the delays of packets of one feedback.
    pub(super) fn update(&mut self, now: Instant, arrived: &[Arrived]) {
        let Some(first) = arrived.first() else {
            return;
        };
        let epoch = *self.epoch.get_or_insert(first.sent_at);
        let delay = |packet: &Arrived| {
            let sent = packet.sent_at.saturating_duration_since(epoch).as_micros() as i64;
            packet.arrived_us.wrapping_sub(sent)
        };
        let Some(least) = arrived.iter().map(delay).min() else {
            return;
        };
        let above = arrived.iter().map(|packet| (delay(packet) - least) as f64);
        let mean = above.sum::<f64>() / arrived.len() as f64;
        self.jitter_us += (mean - self.jitter_us) / 16.0;
        self.note_base(now, least);
        self.window.push_back((now, least));
        while self.window.len() > WINDOW_ENTRIES
            || self
                .window
                .front()
                .is_some_and(|(at, _)| *at + WINDOW < now)
        {
            self.window.pop_front();
        }
        let base = self.spans.iter().copied().min().unwrap_or(least);
        let floor = self.window.iter().map(|(_, delay)| *delay).min();
        let standing = (floor.unwrap_or(least) - base).max(0) as u64;
        self.standing = Duration::from_micros(standing);
        match self.before {
            Some((at, before)) if now >= at + WINDOW => {
                self.grew = standing as i64 - before.as_micros() as i64;
                self.before = Some((now, self.standing));
            }
            None => self.before = Some((now, self.standing)),
            _ => {}
        }
    }

    fn note_base(&mut self, now: Instant, least: i64) {
        let ended = self.span_ends.is_none_or(|at| now >= at);
        if ended {
            self.span_ends = Some(now + SPAN);
            if self.spans.len() == SPANS {
                self.spans.pop_front();
            }
            self.spans.push_back(least);
        } else if let Some(last) = self.spans.back_mut() {
            *last = (*last).min(least);
        }
    }

    /// Takes the least delay of the last moments for that of an empty queue.
    pub(super) fn rebase(&mut self) {
        let least = self.window.iter().map(|(_, delay)| *delay).min();
        if let Some(least) = least {
            self.spans.clear();
            self.spans.push_back(least);
            self.standing = Duration::ZERO;
            (self.before, self.grew) = (None, 0);
        }
    }

    /// What no packet of the last moments was spared.
    pub(super) fn standing(&self) -> Duration {
        self.standing
    }

    /// Whether it has grown over the last window.
    pub(super) fn grows(&self) -> bool {
        self.grew > 5_000
    }

    /// Mean of what delays vary by.
    pub(super) fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter_us.max(0.0) as u64)
    }
}
