//! A line a second while a scenario runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bot::receive::Totals;
use crate::bot::state::BotState;
use crate::bot::tap::lock;

const PERIOD: Duration = Duration::from_secs(1);

/// Hands `print` a line a second, forever.
pub async fn watch(bots: Vec<Arc<BotState>>, print: impl Fn(String)) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval_at(started + PERIOD, PERIOD);
    let mut before = Snapshot::of(&bots);
    loop {
        ticks.tick().await;
        let now = Snapshot::of(&bots);
        print(now.line(&before, started.elapsed(), bots.len()));
        before = now;
    }
}

#[derive(Clone, Copy, Default)]
struct Snapshot {
    joined: usize,
    failed: usize,
    sent: u64,
    received: Totals,
}

impl Snapshot {
    fn of(bots: &[Arc<BotState>]) -> Self {
        let mut all = Self::default();
        for bot in bots {
            let call = bot.call();
            all.failed += usize::from(call.failure.is_some());
            all.joined += usize::from(call.joined.is_some() && call.failure.is_none());
            drop(call);
            all.sent += bot.outgoing.packets();
            let totals = lock(&bot.receiver).totals();
            all.received.packets += totals.packets;
            all.received.bytes += totals.bytes;
            all.received.streams += totals.streams;
        }
        all
    }

    fn line(&self, before: &Self, elapsed: Duration, bots: usize) -> String {
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        format!(
            "{:>5.1} s  {} of {bots} in{failed}  {} streams  sent {}/s  received {}/s  {:.1} Mbit/s",
            elapsed.as_secs_f64(),
            self.joined,
            self.received.streams,
            self.sent.saturating_sub(before.sent),
            self.received
                .packets
                .saturating_sub(before.received.packets),
            self.received.bytes.saturating_sub(before.received.bytes) as f64 * 8e-6,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rates_since_the_last() {
        let before = Snapshot {
            sent: 100,
            ..Default::default()
        };
        let mut now = Snapshot {
            joined: 3,
            failed: 1,
            sent: 350,
            ..Default::default()
        };
        now.received.bytes = 1_000_000;
        now.received.packets = 900;
        now.received.streams = 6;
        assert_eq!(
            now.line(&before, Duration::from_secs(2), 4),
            "  2.0 s  3 of 4 in, 1 failed  6 streams  sent 250/s  received 900/s  8.0 Mbit/s"
        );
    }
}
