//! Reception of one layer, for reports to its publisher (RFC 3550 section 6.4.1 and appendix A).

use std::time::{Duration, Instant};

/// The publisher's last sender report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LastReport {
    /// The publisher's wall clock, NTP format.
    ntp: u64,
    /// The time at which it arrived.
    at: Instant,
}

/// Counts for one layer.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    first: Option<u64>,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    transit: Option<i64>,
    jitter: f64,
    sender: Option<LastReport>,
}

/// The contents of one report block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReceptionReport {
    /// Lost share of the packets expected since the last report, in 1/256.
    pub(crate) fraction_lost: u8,
    /// Packets lost since the beginning; a 24-bit signed number on the wire.
    pub(crate) total_lost: u32,
    /// Count of rollovers since the first packet, and sequence number.
    pub(crate) highest: u32,
    /// Interarrival jitter in timestamp ticks.
    pub(crate) jitter: u32,
    /// Middle bits of the last sender report's NTP time; 0 without one.
    pub(crate) last_sr: u32,
    /// Time since that report arrived, in 1/65536 s.
    pub(crate) delay: u32,
}

impl Reception {
    /// Counts a packet that came by retransmission: its arrival time says nothing about the
    /// network.
    pub(crate) fn repaired(&mut self, sequence: u64) {
        self.count(sequence);
    }

    /// Counts a packet. `elapsed` is on any clock that started before the first packet.
    pub(crate) fn receive(
        &mut self,
        sequence: u64,
        timestamp: u32,
        clock_rate: u32,
        elapsed: Duration,
    ) {
        self.count(sequence);
        let arrival = (elapsed.as_micros() as u64 * u64::from(clock_rate) / 1_000_000) as u32;
        let transit = i64::from(arrival.wrapping_sub(timestamp) as i32);
        if let Some(before) = self.transit.replace(transit) {
            let distance = i64::from((transit - before) as i32).unsigned_abs() as f64;
            self.jitter += (distance - self.jitter) / 16.0;
        }
    }

    fn count(&mut self, sequence: u64) {
        // A late packet from before the first one becomes the first.
        self.first = Some(self.first.map_or(sequence, |first| first.min(sequence)));
        self.highest = self.highest.max(sequence);
        self.received += 1;
    }

    /// Notes a sender report.
    pub(crate) fn sender_report(&mut self, now: Instant, ntp: u64) {
        self.sender = Some(LastReport { ntp, at: now });
    }

    /// Packets that never came, so far.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn expected(&self) -> u64 {
        self.first.map_or(0, |first| self.highest - first + 1)
    }

    /// The report block for now; none before the first packet.
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReceptionReport> {
        // Numbers begin in any cycle here; the publisher counts from the one in which it began (RFC 3550 appendix A.1).
        let cycle = self.first? & !0xffff;
        let (expected, received) = (self.expected(), self.received);
        let expected_since = expected.saturating_sub(self.expected_before);
        let lost_since =
            expected_since.saturating_sub(received.saturating_sub(self.received_before));
        (self.expected_before, self.received_before) = (expected, received);
        let fraction_lost = (lost_since << 8).checked_div(expected_since).unwrap_or(0);
        let (last_sr, delay) = self.sender.map_or((0, 0), |sender| {
            let delay = now.saturating_duration_since(sender.at).as_micros() * 65_536 / 1_000_000;
            (
                (sender.ntp >> 16) as u32,
                delay.min(u128::from(u32::MAX)) as u32,
            )
        });
        Some(ReceptionReport {
            fraction_lost: fraction_lost.min(255) as u8,
            total_lost: self.lost().min(0x7f_ffff) as u32,
            highest: self.highest.wrapping_sub(cycle) as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_counted_since_the_last_report_and_since_the_beginning() {
        let mut reception = Reception::default();
        let now = Instant::now();
        assert_eq!(reception.report(now), None);
        for sequence in (0x1_0000..0x1_0100u64).filter(|sequence| sequence % 4 != 1) {
            reception.receive(sequence, 0, 90_000, Duration::ZERO);
        }
        let report = reception.report(now).unwrap();
        assert_eq!(
            (report.fraction_lost, report.total_lost, report.highest),
            (64, 64, 0xff)
        );
        let report = reception.report(now).unwrap();
        assert_eq!((report.fraction_lost, report.total_lost), (0, 64));
    }

    #[test]
    fn rollovers_are_counted_from_the_first_packet() {
        let mut reception = Reception::default();
        let now = Instant::now();
        for sequence in 0x3_fffe..=0x3_ffff {
            reception.receive(sequence, 0, 90_000, Duration::ZERO);
        }
        assert_eq!(reception.report(now).unwrap().highest, 0xffff);
        reception.receive(0x4_0002, 0, 90_000, Duration::ZERO);
        assert_eq!(reception.report(now).unwrap().highest, 0x1_0002);
    }

    #[test]
    fn jitter_is_zero_on_an_even_clock_and_the_sender_report_is_echoed() {
        let mut reception = Reception::default();
        let now = Instant::now();
        for i in 0..100u32 {
            reception.receive(
                u64::from(i),
                (u32::MAX - 1_000).wrapping_add(i * 900),
                90_000,
                Duration::from_millis(u64::from(i) * 10),
            );
        }
        reception.sender_report(now, 0x1234_5678_9abc_def0);
        let report = reception.report(now + Duration::from_millis(500)).unwrap();
        assert_eq!(
            (report.jitter, report.last_sr, report.delay),
            (0, 0x5678_9abc, 32_768)
        );
    }
}
