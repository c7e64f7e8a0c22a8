//! The measurements of a whole run, second by second.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Histogram;
use crate::report::Moment;

/// A day: a longer soak keeps its last second growing.
const MAX_SECONDS: usize = 86_400;

/// Seconds kept whole. Threads add their counts about once a second. Packets of a later thread are still counted, but
/// their delays are missing from that second's percentiles.
const KEPT: usize = 5;

/// One second of all bots together.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// RTP packets sent by publishers, without retransmissions.
    pub sent: u64,
    /// Their RTP headers and payloads.
    pub sent_bytes: u64,
    /// RTP packets received.
    pub received: u64,
    /// Their RTP headers and payloads.
    pub bytes: u64,
    /// Gaps that stayed, as of the second they were given up in.
    pub lost: u64,
    /// Packets that arrived before they were sent: a clock was set meanwhile.
    pub backwards: u64,
    /// Forwarding delay of the packets received.
    pub delay: Histogram,
    /// Difference of successive packets' transit times, within each stream (RFC 3550 section 6.4.1,
    /// not smoothed).
    pub jitter: Histogram,
}

/// The whole seconds between two moments, added up.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: &'static str,
    pub from: Instant,
    /// The end; none: the end of the run.
    pub to: Option<Instant>,
    /// The number of seconds.
    pub seconds: usize,
    pub total: Second,
}

/// The run's seconds. Threads count for themselves and add their counts about once a second.
///
/// Only the latest seconds keep their histograms, which are large. Older ones are added to the spans they lie in and
/// leave percentiles behind, so that a soak does not grow with its length.
#[derive(Debug)]
pub struct Measure {
    started: Instant,
    seconds: Mutex<Seconds>,
}

#[derive(Debug, Default)]
struct Seconds {
    finished: Vec<Moment>,
    recent: VecDeque<Second>,
    spans: Vec<Span>,
}

impl Second {
    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.count(other);
        self.delay.merge(&other.delay);
        self.jitter.merge(&other.jitter);
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        (self.sent, self.sent_bytes) = (0, 0);
        (self.received, self.bytes) = (0, 0);
        (self.lost, self.backwards) = (0, 0);
        self.delay.clear();
        self.jitter.clear();
    }

    fn count(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.backwards += other.backwards;
    }
}

impl Measure {
    /// Starts at `now`.
    pub fn start(now: Instant) -> Self {
        Self {
            started: now,
            seconds: Mutex::default(),
        }
    }

    /// The time at which it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Adds counts of the second that `at` lies in.
    pub fn add(&self, at: Instant, part: &Second) {
        let second = self.second_of(at);
        let mut seconds = self.lock();
        match seconds.recent(self.started, second) {
            Some(recent) => recent.merge(part),
            None => seconds.late(self.started, second, part),
        }
    }

    /// Counts one thing directly: for bots too few to be worth counting apart.
    pub fn record(&self, at: Instant, count: impl FnOnce(&mut Second)) {
        let second = self.second_of(at);
        if let Some(recent) = self.lock().recent(self.started, second) {
            count(recent);
        }
    }

    /// Index of the second that `at` lies in.
    pub fn second_of(&self, at: Instant) -> usize {
        let since = at.saturating_duration_since(self.started);
        usize::try_from(since.as_secs())
            .unwrap_or(usize::MAX)
            .min(MAX_SECONDS - 1)
    }

    /// The time at which a second began.
    pub fn instant_of(&self, second: usize) -> Instant {
        self.started + Duration::from_secs(second as u64)
    }

    /// Begins to add up the seconds that begin at `from` or later, and ends every other span of that name.
    pub fn begin(&self, name: &'static str, from: Instant) {
        self.end(name, from);
        self.lock().spans.push(Span {
            name,
            from,
            to: None,
            seconds: 0,
            total: Second::default(),
        });
    }

    /// Adds no second that ends after `to`. Must not lie in the past by five seconds.
    pub fn end(&self, name: &'static str, to: Instant) {
        let mut seconds = self.lock();
        let open = |span: &&mut Span| span.name == name && span.to.is_none();
        for span in seconds.spans.iter_mut().filter(open) {
            span.to = Some(to);
        }
    }

    /// Every second so far, those not over yet included.
    pub fn seconds(&self) -> Vec<Moment> {
        let seconds = self.lock();
        let recent = seconds.recent.iter().map(Moment::from);
        seconds.finished.iter().copied().chain(recent).collect()
    }

    /// One second, as far as it has been counted.
    pub fn second(&self, second: usize) -> Option<Moment> {
        let seconds = self.lock();
        let finished = seconds.finished.len();
        match second.checked_sub(finished) {
            None => seconds.finished.get(second).copied(),
            Some(recent) => seconds.recent.get(recent).map(Moment::from),
        }
    }

    /// The spans, in the order they began, once nothing is added any more.
    pub fn finish(&self) -> Vec<Span> {
        let mut seconds = self.lock();
        while !seconds.recent.is_empty() {
            seconds.fold(self.started);
        }
        seconds.spans.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seconds> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seconds {
    /// A second that is still kept whole; older ones are folded to make room.
    fn recent(&mut self, started: Instant, second: usize) -> Option<&mut Second> {
        while second >= self.finished.len() + KEPT {
            self.fold(started);
        }
        let index = second.checked_sub(self.finished.len())?;
        if self.recent.len() <= index {
            self.recent.resize_with(index + 1, Second::default);
        }
        self.recent.get_mut(index)
    }

    fn fold(&mut self, started: Instant) {
        let from = started + Duration::from_secs(self.finished.len() as u64);
        let second = self.recent.pop_front();
        for span in self.spans.iter_mut().filter(|span| span.holds(from)) {
            span.seconds += 1;
            if let Some(second) = &second {
                span.total.merge(second);
            }
        }
        self.finished
            .push(second.as_ref().map(Moment::from).unwrap_or_default());
    }

    fn late(&mut self, started: Instant, second: usize, part: &Second) {
        let from = started + Duration::from_secs(second as u64);
        for span in self.spans.iter_mut().filter(|span| span.holds(from)) {
            span.total.merge(part);
        }
        if let Some(finished) = self.finished.get_mut(second) {
            finished.sent += part.sent;
            finished.received += part.received;
            finished.mbit_s += mbit(part.bytes);
            finished.lost += part.lost;
        }
    }
}

impl Span {
    /// Whether the second that begins at `from` lies in it whole.
    fn holds(&self, from: Instant) -> bool {
        let to = from + Duration::from_secs(1);
        self.from <= from && self.to.is_none_or(|end| to <= end)
    }
}

impl From<&Second> for Moment {
    fn from(second: &Second) -> Self {
        let delay = second.delay.percentiles();
        Self {
            sent: second.sent,
            received: second.received,
            mbit_s: mbit(second.bytes),
            lost: second.lost,
            delay_p50_ms: delay.p50,
            delay_p99_ms: delay.p99,
            ..Self::default()
        }
    }
}

fn mbit(bytes: u64) -> f64 {
    bytes as f64 * 8e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(received: u64, delay_ms: u64) -> Second {
        let mut part = Second {
            received,
            ..Second::default()
        };
        part.delay.record(Duration::from_millis(delay_ms));
        part
    }

    #[test]
    fn what_happened_in_a_second_is_added_up() {
        let start = Instant::now();
        let measure = Measure::start(start);
        measure.add(start + Duration::from_millis(2_300), &part(3, 2));
        measure.add(start + Duration::from_millis(2_900), &part(3, 2));
        measure.record(start + Duration::from_millis(2_950), |second| {
            second.lost += 1;
        });
        let seconds = measure.seconds();
        let received: Vec<u64> = seconds.iter().map(|second| second.received).collect();
        assert_eq!(received, [0, 0, 6]);
        assert_eq!(seconds[2].lost, 1);
        assert_eq!(measure.second(2).unwrap().delay_p99_ms, Some(2.0));
        assert!(measure.second(3).is_none());
        let mut part = part(3, 2);
        part.clear();
        assert_eq!((part.received, part.delay.count()), (0, 0));
    }

    #[test]
    fn spans_hold_whole_seconds_and_nothing_grows_but_summaries() {
        let start = Instant::now();
        let measure = Measure::start(start);
        let at = |ms| start + Duration::from_millis(ms);
        for second in 0..100 {
            match second {
                // The span begins with the second after 10.5 s; the eleventh lies in it only in part.
                10 => measure.begin("window", at(10_500)),
                40 => measure.begin("storm", at(40_000)),
                50 => measure.end("storm", at(50_000)),
                91 => measure.end("window", at(91_900)),
                _ => {}
            }
            measure.add(at(second * 1_000 + 999), &part(1, second));
            assert!(measure.lock().recent.len() <= KEPT);
        }
        // Too late for percentiles, not for counts.
        measure.add(at(20_000), &part(7, 7));
        let spans = measure.finish();
        let [window, storm] = &spans[..] else {
            panic!("{spans:?}")
        };
        assert_eq!((window.seconds, window.total.received), (80, 87));
        assert_eq!((storm.seconds, storm.total.received), (10, 10));
        assert_eq!(storm.total.delay.count(), 10);
        assert_eq!(storm.total.delay.percentiles().max.unwrap().round(), 49.0);
        let seconds = measure.seconds();
        assert_eq!((seconds.len(), seconds[20].received), (100, 8));
        assert_eq!(seconds[20].delay_p99_ms.unwrap().round(), 20.0);
    }
}
