//! How much arrives (libwebrtc: `AcknowledgedBitrateEstimator`).

use std::collections::VecDeque;
use std::time::Duration;

use super::history::Arrived;

/// Arrivals remembered, in steps of a millisecond or more each.
const ENTRIES: usize = 1_024;
const LONGEST_US: i64 = 1_000_000;

/// Bytes by when they arrived, on the viewer's clock.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    steps: VecDeque<(i64, u32)>,
    newest_us: i64,
}

impl Acknowledged {
    /// Counts arrivals.
    pub(super) fn update(&mut self, arrived: &[Arrived]) {
        for packet in arrived {
            let at = packet.arrived_us / 1_000 * 1_000;
            self.newest_us = self.newest_us.max(at);
            // Late ones count with the newest: by at most a reordering's time wrong.
            match self.steps.back_mut() {
                Some((last, bytes)) if *last >= at => *bytes = bytes.saturating_add(packet.bytes),
                _ => self.steps.push_back((at, packet.bytes)),
            }
        }
        let too_old = |steps: &VecDeque<(i64, u32)>, newest: i64| {
            steps
                .front()
                .is_some_and(|(at, _)| *at < newest - LONGEST_US)
        };
        while self.steps.len() > ENTRIES || too_old(&self.steps, self.newest_us) {
            self.steps.pop_front();
        }
    }

    /// Bits a second over the last `window` of what arrived, a second at most.
    pub(super) fn bitrate(&self, window: Duration) -> u64 {
        let window = (window.as_micros() as i64).clamp(1, LONGEST_US);
        let since = self.newest_us - window;
        let recent = self.steps.iter().rev().take_while(|(at, _)| *at > since);
        let bytes: u64 = recent.map(|(_, bytes)| u64::from(*bytes)).sum();
        bytes * 8 * 1_000_000 / window as u64
    }
}
