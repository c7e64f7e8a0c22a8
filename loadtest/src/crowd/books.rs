//! The counts of what the crowd receives.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::bot::tap::lock;
use crate::measure::Histogram;
use crate::report::Percentiles;

/// The first character of a [`stamp`](Books::stamp). No other text of the crowd has it.
const STAMP: char = '@';

/// Counts of all people together.
pub(super) struct Books {
    began: Instant,
    messages: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicUsize,
    first_error: Mutex<Option<String>>,
    joins: Mutex<Histogram>,
    delays: Mutex<Histogram>,
    /// Microseconds at which the present step began: names may have stamps of an earlier one.
    since: AtomicU64,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            messages: AtomicU64::default(),
            bytes: AtomicU64::default(),
            dropped: AtomicUsize::default(),
            first_error: Mutex::default(),
            joins: Mutex::default(),
            delays: Mutex::default(),
            since: AtomicU64::default(),
        }
    }
}

impl Books {
    /// A text that tells when it was made, in microseconds since the beginning.
    pub(super) fn stamp(&self) -> String {
        format!("{STAMP}{}", self.began.elapsed().as_micros())
    }

    /// Counts a message, and the delay of each stamp in it.
    pub(super) fn message(&self, text: &str) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
        // A welcome repeats old ones.
        if !text.contains(STAMP) || text.starts_with(r#"{"type":"welcome""#) {
            return;
        }
        let now = self.began.elapsed();
        let mut delays = lock(&self.delays);
        for stamped in text.split(STAMP).skip(1) {
            let digits = stamped.find(|c: char| !c.is_ascii_digit());
            let digits = &stamped[..digits.unwrap_or(stamped.len())];
            if let Ok(made) = digits.parse()
                && made >= self.since.load(Ordering::Relaxed)
            {
                delays.record(now.saturating_sub(Duration::from_micros(made)));
            }
        }
    }

    /// Counts a join that took so long.
    pub(super) fn join(&self, took: Duration) {
        lock(&self.joins).record(took);
    }

    /// Keeps the first reason that somebody could not join, or did not stay.
    pub(super) fn error(&self, error: String) {
        lock(&self.first_error).get_or_insert(error);
    }

    /// Counts somebody who was dropped.
    pub(super) fn drop_of(&self, error: String) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.error(error);
    }

    /// Messages and their bytes, WebSocket headers not included.
    pub(super) fn received(&self) -> (u64, u64) {
        (
            self.messages.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn first_error(&self) -> Option<String> {
        lock(&self.first_error).clone()
    }

    pub(super) fn joins(&self) -> Percentiles {
        lock(&self.joins).percentiles()
    }

    pub(super) fn delays(&self) -> Percentiles {
        lock(&self.delays).percentiles()
    }

    /// Begins a step: what was made before does not count for it.
    pub(super) fn forget_delays(&self) {
        let now = self.began.elapsed().as_micros();
        self.since
            .store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
        lock(&self.delays).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stamp_of_a_message_is_a_delay() {
        let books = Books::default();
        let stamp = books.stamp();
        books.message(&format!(
            r#"{{"type":"batch","messages":["a {stamp}","b {stamp}"]}}"#
        ));
        books.message(&format!(r#"{{"type":"welcome","chat":["{stamp}"]}}"#));
        books.message("{}");
        assert_eq!(lock(&books.delays).count(), 2);
        while books.stamp() == stamp {}
        books.forget_delays();
        books.message(&format!("a name {stamp}, and a line {}", books.stamp()));
        assert_eq!(lock(&books.delays).count(), 1);
        assert_eq!(books.received().0, 4);
    }
}
