//! A line of the log that strangers can cause at will.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time between two lines of one cause: enough to see that it goes on.
const EVERY: Duration = Duration::from_secs(10);

/// Lets a line through every ten seconds.
#[derive(Default)]
pub(super) struct Seldom(Mutex<Logged>);

#[derive(Default)]
struct Logged {
    at: Option<Instant>,
    /// Lines left out since.
    passed_over: u64,
}

impl Seldom {
    /// The number of lines that were left out since the last one; none if this one is left out, too.
    pub(super) fn admit(&self) -> Option<u64> {
        let now = Instant::now();
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.at.is_some_and(|at| now < at + EVERY) {
            logged.passed_over += 1;
            return None;
        }
        logged.at = Some(now);
        Some(std::mem::take(&mut logged.passed_over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_line_every_ten_seconds_which_tells_how_many_were_left_out() {
        let seldom = Seldom::default();
        for (after_ms, expected) in [
            (0, Some(0)),
            (1, None),
            (5_000, None),
            (4_998, None),
            (1, Some(3)),
            (1, None),
            (9_999, Some(1)),
        ] {
            tokio::time::advance(Duration::from_millis(after_ms)).await;
            assert_eq!(seldom.admit(), expected, "{after_ms}");
        }
    }
}
