//! Sender reports of one slot (RFC 3550 section 6.4.1): they let a viewer play sound and picture of
//! one publisher in sync, and let us measure the round trip.

use std::time::{Duration, Instant};

use crate::clock::SenderClock;
use crate::rtp::rtcp;

/// Between reports: as libwebrtc does for video; half of it is enough for audio but costs nothing.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a slot has sent.
#[derive(Debug)]
pub(crate) struct SenderState {
    clock_rate: u32,
    packets: u32,
    octets: u32,
    last: Option<(Instant, u32)>,
    report_at: Option<Instant>,
}

impl SenderState {
    /// Nothing yet.
    pub(crate) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            packets: 0,
            octets: 0,
            last: None,
            report_at: None,
        }
    }

    /// Ticks a second.
    pub(crate) fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Counts a packet; true if reports begin with it. The wire's counters wrap (RFC 3550 section
    /// 6.4.1).
    pub(crate) fn sent(&mut self, now: Instant, timestamp: u32, payload_len: u64) -> bool {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
        self.last = Some((now, timestamp));
        let begins = self.report_at.is_none();
        self.report_at.get_or_insert(now + INTERVAL / 4);
        begins
    }

    /// Whether anything was sent within `period`.
    pub(crate) fn sent_since(&self, now: Instant, period: Duration) -> bool {
        self.last.is_some_and(|(at, _)| now < at + period)
    }

    /// When a report is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.report_at
    }

    /// Appends the report due now. `timestamp` is that of `ntp` on the publisher's clock, as the
    /// viewer sees it; unknown until the publisher reported.
    pub(crate) fn poll_report(
        &mut self,
        now: Instant,
        ntp: u64,
        timestamp: Option<u32>,
        ssrc: u32,
        cname: &str,
        rtcp: &mut Vec<u8>,
    ) {
        if self.report_at.is_none_or(|at| at > now) {
            return;
        }
        // A slot that stopped sending begins to report again with its next packet.
        self.report_at = self.sent_since(now, 5 * INTERVAL).then_some(now + INTERVAL);
        let Some((at, last)) = self.last else { return };
        let by_arrival = || {
            SenderClock { ntp: 0, rtp: last }.timestamp_at(
                crate::clock::to_ntp(now.saturating_duration_since(at)),
                self.clock_rate,
            )
        };
        let timestamp = timestamp.unwrap_or_else(by_arrival);
        rtcp::sender_report(rtcp, ssrc, ntp, timestamp, self.packets, self.octets, &[]);
        rtcp::sdes_cname(rtcp, ssrc, cname);
    }
}
