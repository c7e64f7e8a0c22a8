#![allow(dead_code, unused_variables, missing_docs)]
use crate::rtp::rtcp::TransportFeedback;
use std::time::{Duration, Instant};
#[derive(Clone, Copy, Debug)]
pub(crate) struct BweConfig {
    pub(crate) start: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) allocated: u64,
    pub(crate) desired: u64,
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) cluster: u8,
    pub(crate) bitrate: u64,
    pub(crate) bytes: usize,
    pub(crate) packets: u32,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LimitedBy {
    Unknown,
    None,
    Delay,
    Loss,
    Remb,
}
impl LimitedBy {
    pub(crate) fn code(self) -> &'static str {
        "unknown"
    }
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) bitrate: u64,
    pub(crate) pacing: u64,
    pub(crate) limited_by: LimitedBy,
    pub(crate) acknowledged: u64,
    pub(crate) loss: f64,
    pub(crate) rtt: Option<Duration>,
    pub(crate) queue_delay: Duration,
    pub(crate) congested: bool,
    pub(crate) probed: u64,
    pub(crate) probes: u64,
}
#[derive(Debug)]
pub(crate) struct BandwidthEstimator;
impl BandwidthEstimator {
    pub(crate) fn new(now: Instant, config: BweConfig) -> Self {
        Self
    }
    pub(crate) fn packet_sent(
        &mut self,
        now: Instant,
        sequence: u16,
        bytes: usize,
        probe: Option<u8>,
    ) {
    }
    pub(crate) fn feedback(&mut self, now: Instant, f: &TransportFeedback) {}
    pub(crate) fn report(&mut self, now: Instant, fraction_lost: f64, rtt: Duration) {}
    pub(crate) fn remb(&mut self, now: Instant, bitrate: u64) {}
    pub(crate) fn set_demand(&mut self, now: Instant, d: Demand) {}
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub(crate) fn handle_timeout(&mut self, now: Instant) {}
    pub(crate) fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        None
    }
    pub(crate) fn estimate(&self) -> Estimate {
        Estimate {
            bitrate: 100_000_000,
            pacing: 250_000_000,
            limited_by: LimitedBy::None,
            acknowledged: 0,
            loss: 0.0,
            rtt: None,
            queue_delay: Duration::ZERO,
            congested: false,
            probed: 100_000_000,
            probes: 0,
        }
    }
}
