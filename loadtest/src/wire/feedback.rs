//! A receiver's reports about the transport and about each stream.

use std::collections::VecDeque;
use std::time::Instant;

use tertulia_sfu::rtp::rtcp::{self, ReportBlock, TICKS_PER_SECOND};
use tertulia_sfu::rtp::sequence::Extender;

/// Arrivals kept for one report: 100 ms of 100 Mbit/s are some 1,000.
const MAX_ARRIVALS: usize = 4_096;

/// Arrivals by transport-wide sequence number, until they are reported.
#[derive(Debug)]
pub(super) struct ArrivalLog {
    epoch: Instant,
    extender: Extender,
    /// The number of the first one in `arrivals`: reported up to here.
    base: u64,
    arrivals: VecDeque<Option<i64>>,
    reports: u8,
}

impl ArrivalLog {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            extender: Extender::default(),
            base: 0,
            arrivals: VecDeque::new(),
            reports: 0,
        }
    }

    pub(super) fn push(&mut self, number: u16, at: Instant) {
        let first = self.extender.highest().is_none();
        let number = self.extender.extend(number);
        if first {
            self.base = number;
        }
        // A packet reported missing that came after all is not taken back: the sender has moved on.
        let Some(index) = number.checked_sub(self.base) else {
            return;
        };
        let index = index as usize;
        if index >= MAX_ARRIVALS {
            // An outage: the jump of the base tells of earlier packets.
            self.arrivals.clear();
            self.base = number;
            return self.arrivals.push_back(Some(self.ticks(at)));
        }
        if self.arrivals.len() <= index {
            self.arrivals.resize(index + 1, None);
        }
        self.arrivals[index] = Some(self.ticks(at));
    }

    fn ticks(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.epoch);
        (since.as_micros() as i64) * TICKS_PER_SECOND / 1_000_000
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Appends feedback on everything that arrived since the last.
    pub(super) fn report(&mut self, sender: u32, media: u32, out: &mut Vec<u8>) {
        while !self.arrivals.is_empty() {
            let arrivals = self.arrivals.make_contiguous();
            let base = self.base as u16;
            let covered = rtcp::write_feedback(out, sender, media, self.reports, base, arrivals);
            if covered == 0 {
                return;
            }
            self.reports = self.reports.wrapping_add(1);
            self.arrivals.drain(..covered);
            self.base += covered as u64;
        }
    }
}

/// One stream's part of receiver reports (RFC 3550 section 6.4.1 and appendix A).
#[derive(Debug, Default)]
pub(super) struct Reception {
    /// Unwrapped, the first received.
    base: Option<u32>,
    received: u64,
    reported: (u64, u64),
    jitter: f64,
    transit: Option<(Instant, u32)>,
    last_sender_report: Option<(u32, Instant)>,
}

impl Reception {
    /// A packet that was not retransmitted.
    pub(super) fn push(&mut self, highest: u32, timestamp: u32, clock_rate: u32, at: Instant) {
        self.base.get_or_insert(highest);
        self.received += 1;
        if let Some((before, earlier)) = self.transit.replace((at, timestamp)) {
            let arrived =
                at.saturating_duration_since(before).as_secs_f64() * f64::from(clock_rate);
            let sent = f64::from(timestamp.wrapping_sub(earlier) as i32);
            self.jitter += ((arrived - sent).abs() - self.jitter) / 16.0;
        }
    }

    pub(super) fn sender_report(&mut self, ntp: u64, at: Instant) {
        self.last_sender_report = Some(((ntp >> 16) as u32, at));
    }

    pub(super) fn block(&mut self, ssrc: u32, highest: u32, now: Instant) -> Option<ReportBlock> {
        let expected = u64::from(highest.wrapping_sub(self.base?)) + 1;
        let (expected_before, received_before) =
            std::mem::replace(&mut self.reported, (expected, self.received));
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(self.received - received_before);
        let (last_sender_report, delay) = self.last_sender_report.map_or((0, 0), |(middle, at)| {
            let since = now.saturating_duration_since(at);
            (middle, (since.as_secs_f64() * 65_536.0) as u32)
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost: ((lost_now * 256) / expected_now.max(1)).min(255) as u8,
            cumulative_lost: (expected as i64 - self.received as i64) as i32,
            highest_sequence: highest,
            jitter: self.jitter as u32,
            last_sender_report,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tertulia_sfu::rtp::rtcp::{Rtcp, parse_compound};

    use super::*;

    #[test]
    fn arrivals_are_reported_once_and_gaps_as_missing() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut log = ArrivalLog::new(start);
        for (number, millis) in [(65_534, 10), (65_535, 11), (2, 12), (0, 13)] {
            log.push(number, at(millis));
        }
        let mut out = Vec::new();
        log.report(1, 9, &mut out);
        let read: Vec<_> = parse_compound(&out).collect();
        let [Ok(Rtcp::Twcc(feedback))] = &read[..] else {
            panic!("{read:?}");
        };
        let expected = [
            (65_534, Some(40)),
            (65_535, Some(44)),
            (0, Some(52)),
            (1, None),
            (2, Some(48)),
        ];
        assert!(feedback.statuses().eq(expected), "{feedback:?}");
        out.clear();
        log.report(1, 9, &mut out);
        assert!(out.is_empty() && log.is_empty());
        log.push(1, at(30));
        log.push(3, at(31));
        log.report(1, 9, &mut out);
        let read: Vec<_> = parse_compound(&out).collect();
        assert!(matches!(&read[..], [Ok(Rtcp::Twcc(f))] if f.statuses().eq([(3, Some(124))])));
    }

    #[test]
    fn a_block_counts_what_was_lost_since_the_last() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for number in [100, 101, 103, 104] {
            reception.push(number, number * 960, 48_000, start);
        }
        let block = reception.block(7, 104, start).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (51, 1));
        reception.push(105, 0, 48_000, start);
        let block = reception.block(7, 105, start).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1));
    }
}
