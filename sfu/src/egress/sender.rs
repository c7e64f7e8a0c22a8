//! Sender reports of one slot (RFC 3550 section 6.4.1). With them a viewer plays audio and video of one publisher in
//! sync, and the server measures the round trip.

use std::time::{Duration, Instant};

use crate::clock::SenderClock;
use crate::rtp::rtcp;

/// Interval of reports: libwebrtc's for video; audio needs half as many, but they cost nothing.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time within which reports are sent together with those due now: a viewer of fifty is sent three datagrams of reports
/// a second, not fifty. That includes all but the latest, for a reason: a publisher's clock offset may change between
/// two reports, and audio and video would be apart by that until the next.
const SOON: Duration = Duration::from_millis(900);

/// Counters of a slot's packets, and the time of its next report.
#[derive(Debug)]
pub(crate) struct SenderState {
    clock_rate: u32,
    packets: u32,
    octets: u32,
    last: Option<(Instant, u32)>,
    report_at: Option<Instant>,
}

impl SenderState {
    /// Counters of a slot that has sent nothing.
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

    /// Counts a packet. If reports begin with it, returns the time of the first. The wire's counters wrap (RFC 3550
    /// section 6.4.1).
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        timestamp: u32,
        payload_len: u64,
    ) -> Option<Instant> {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
        self.last = Some((now, timestamp));
        if self.report_at.is_some() {
            return None;
        }
        self.report_at = Some(now + INTERVAL / 4);
        self.report_at
    }

    /// Counts payload bytes added to the packet counted last.
    pub(crate) fn sent_beside(&mut self, bytes: u16) {
        self.octets = self.octets.wrapping_add(u32::from(bytes));
    }

    /// Whether anything was sent within `period`.
    pub(crate) fn sent_since(&self, now: Instant, period: Duration) -> bool {
        self.last.is_some_and(|(at, _)| now < at + period)
    }

    /// Appends the report due now or soon, and returns the time of the next. `timestamp` is that of `ntp` on the
    /// publisher's clock, as the viewer sees it; unknown until the publisher has reported.
    pub(crate) fn poll_report(
        &mut self,
        now: Instant,
        ntp: u64,
        timestamp: Option<u32>,
        ssrc: u32,
        cname: &str,
        rtcp: &mut Vec<u8>,
    ) -> Option<Instant> {
        if self.report_at.is_none_or(|at| at > now + SOON) {
            return self.report_at;
        }
        // A slot that stopped sending begins to report again with its next packet. The last report comes late enough
        // for the slot to free the packets it keeps.
        self.report_at = self.sent_since(now, 5 * INTERVAL).then_some(now + INTERVAL);
        let (at, last) = self.last?;
        let by_arrival = || {
            SenderClock { ntp: 0, rtp: last }.timestamp_at(
                crate::clock::to_ntp(now.saturating_duration_since(at)),
                self.clock_rate,
            )
        };
        let timestamp = timestamp.unwrap_or_else(by_arrival);
        rtcp::sender_report(rtcp, ssrc, ntp, timestamp, self.packets, self.octets, &[]);
        rtcp::sdes_cname(rtcp, ssrc, cname);
        self.report_at
    }
}
