//! Transport-wide feedback to a publisher (draft-holmer-rmcat-transport-wide-cc-extensions-01): when
//! each of its packets arrived, so that it can estimate its uplink.

use std::time::{Duration, Instant};

use crate::rtp::sequence::Extender;

/// Interval of feedback packets: libwebrtc's default, twice a typical round trip's worth of data.
const INTERVAL: Duration = Duration::from_millis(50);
/// Arrivals recorded between two feedback packets, at most. A 10 Mbit/s publisher sends 45 packets in 50 ms. Packets
/// beyond this are reported lost, which slows their publisher down.
const ARRIVALS: usize = 1_024;

/// Collects arrivals of one peer.
#[derive(Debug, Default)]
pub(crate) struct ArrivalLog {
    extender: Extender,
    arrivals: Vec<(u64, Instant)>,
    /// The first sequence number of the next feedback packet.
    next: Option<u64>,
    due: Option<Instant>,
    /// Counts feedback packets, modulo 256.
    count: u8,
}

/// The arrivals to report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FeedbackReport {
    /// Sequence number of the first status.
    pub(crate) base_sequence: u16,
    /// From `base_sequence` on, each packet's arrival; none for a lost one.
    pub(crate) arrivals: Vec<Option<Instant>>,
}

impl ArrivalLog {
    /// Notes a packet.
    pub(crate) fn receive(&mut self, now: Instant, sequence: u16) {
        let sequence = self.extender.extend(sequence);
        if self.arrivals.len() < ARRIVALS {
            self.arrivals.push((sequence, now));
        }
        self.due.get_or_insert(now + INTERVAL);
    }

    /// The time at which the next feedback packet is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The feedback packet due now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<FeedbackReport> {
        self.due.filter(|due| *due <= now)?;
        self.due = None;
        self.arrivals
            .sort_unstable_by_key(|(sequence, _)| *sequence);
        let (first, last) = (self.arrivals.first()?.0, self.arrivals.last()?.0);
        // Packets that came after the report of their time are reported again, from the oldest of them on, as libwebrtc
        // does; a jump beyond the log's bound starts afresh.
        let base = self.next.map_or(first, |next| next.min(first));
        let base = if last - base >= ARRIVALS as u64 {
            first
        } else {
            base
        };
        let len = (last - base + 1).min(ARRIVALS as u64) as usize;
        let mut arrivals = vec![None; len];
        for (sequence, at) in self.arrivals.drain(..) {
            if let Some(slot) = arrivals.get_mut((sequence - base) as usize) {
                slot.get_or_insert(at);
            }
        }
        self.next = Some(base + len as u64);
        Some(FeedbackReport {
            base_sequence: base as u16,
            arrivals,
        })
    }

    /// Numbers a feedback packet.
    pub(crate) fn next_count(&mut self) -> u8 {
        let count = self.count;
        self.count = count.wrapping_add(1);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrivals_and_gaps_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut log = ArrivalLog::default();
        log.receive(at(0), 65_535);
        log.receive(at(2), 1);
        log.receive(at(1), 0);
        assert_eq!(log.poll(at(49)), None);
        let report = log.poll(at(50)).unwrap();
        assert_eq!(report.base_sequence, 65_535);
        assert_eq!(report.arrivals, vec![Some(at(0)), Some(at(1)), Some(at(2))]);
        log.receive(at(60), 4);
        let report = log.poll(at(110)).unwrap();
        assert_eq!(report.base_sequence, 2);
        assert_eq!(report.arrivals, vec![None, None, Some(at(60))]);
    }

    #[test]
    fn stays_bounded() {
        let start = Instant::now();
        let mut log = ArrivalLog::default();
        for i in 0..10_000u32 {
            log.receive(start, (i * 3) as u16);
        }
        let report = log.poll(start + INTERVAL).unwrap();
        assert!(report.arrivals.len() <= ARRIVALS);
    }
}
