//! A receiver without transport-wide feedback: libwebrtc's estimate at the receiver
//! (`RemoteBitrateEstimatorAbsSendTime` with `AimdRateControl`), as far as a sender sees it.
//!
//! The estimate begins with the rate received in the first five seconds. It grows by 8 % a second, never beyond one and
//! a half times the received rate, and falls to 85 % of that when packets wait longer and longer. It is sent once a
//! second, and at once when it falls.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tertulia_sfu::rtp::RtpHeader;
use tertulia_sfu::rtp::extension::AbsSendTime;
use tertulia_sfu::rtp::rtcp;

const SECOND: Duration = Duration::from_secs(1);
/// Time from the first packet to the first estimate.
const BEGINS: Duration = Duration::from_secs(5);
/// Delay from which a queue is noticed.
const QUEUE_US: i64 = 30_000;

/// A receiver's record of the packets that come.
#[derive(Default)]
pub(crate) struct Receiver {
    /// The estimates that it sends.
    pub(crate) says: Says,
    /// It sends no RTCP of its own.
    pub(crate) mute: bool,
    /// Arrival, bytes, SSRC and delay of each packet, in microseconds beyond the least delay.
    arrivals: VecDeque<(Instant, usize, u32, i64)>,
    first: Option<Instant>,
    /// Send time of the latest packet, and the same since the first, in microseconds.
    sent: Option<(AbsSendTime, i64)>,
    least: i64,
    rate: Option<f64>,
    updated: Option<Instant>,
    said: Option<(Instant, f64)>,
    /// The longest that a packet waited beside the least, since this was asked last.
    longest: i64,
}

/// The estimates sent as REMB.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) enum Says {
    #[default]
    Nothing,
    /// The estimate that libwebrtc computes.
    Estimate,
    /// A constant, for the first so many streams.
    Always(u64, usize),
    /// This, and 3 % less, in turn, for all streams.
    About(u64),
}

impl Receiver {
    /// A receiver that sends these estimates.
    pub(crate) fn saying(says: Says) -> Self {
        Self {
            says,
            ..Self::default()
        }
    }

    /// A datagram came whose send time is under an extension id.
    pub(crate) fn packet(&mut self, now: Instant, datagram: &[u8], id: u8) {
        let rtp = datagram.first().is_some_and(|first| first >> 6 == 2)
            && !(192..224).contains(&datagram[1]);
        let Some(header) = RtpHeader::parse_sealed(datagram).ok().filter(|_| rtp) else {
            return;
        };
        let sent = header.extension(datagram, id).and_then(AbsSendTime::parse);
        let Some(sent) = sent else { return };
        let first = *self.first.get_or_insert(now);
        let (last, at) = *self.sent.get_or_insert((sent, 0));
        let at = at + sent.micros_since(last);
        self.sent = Some((sent, at));
        let under_way = (now - first).as_micros() as i64 - at;
        self.least = self.least.min(under_way);
        let waited = under_way - self.least;
        self.longest = self.longest.max(waited);
        self.arrivals
            .push_back((now, datagram.len(), header.ssrc, waited));
        while self
            .arrivals
            .front()
            .is_some_and(|(at, ..)| *at + SECOND < now)
        {
            self.arrivals.pop_front();
        }
    }

    /// The longest that a packet waited on its way since this was asked last.
    pub(crate) fn take_longest(&mut self) -> Duration {
        Duration::from_micros(std::mem::take(&mut self.longest) as u64)
    }

    /// The REMB packet due now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (rate, streams) = match self.says {
            Says::Nothing => return None,
            Says::Estimate => (self.estimate(now)?, usize::MAX),
            Says::Always(rate, streams) => (rate as f64, streams),
            Says::About(rate) => {
                let less = self.said.is_some_and(|(_, said)| said == rate as f64);
                (rate as f64 * if less { 0.97 } else { 1.0 }, usize::MAX)
            }
        };
        let falls = self.said.is_some_and(|(_, said)| rate < 0.97 * said);
        if self.said.is_some_and(|(at, _)| now < at + SECOND && !falls) {
            return None;
        }
        let mut ssrcs: Vec<u32> = Vec::new();
        for (_, bytes, ssrc, _) in &self.arrivals {
            // Only video counts: audio packets are smaller.
            if *bytes > 300 && !ssrcs.contains(ssrc) && ssrcs.len() < streams {
                ssrcs.push(*ssrc);
            }
        }
        if ssrcs.is_empty() && self.said.is_none() {
            return None;
        }
        self.said = Some((now, rate));
        let mut out = Vec::new();
        rtcp::remb(&mut out, 1, rate as u64, &ssrcs);
        Some(out)
    }

    fn estimate(&mut self, now: Instant) -> Option<f64> {
        let first = self.first?;
        let bytes: usize = self.arrivals.iter().map(|(_, bytes, ..)| bytes).sum();
        let comes = bytes as f64 * 8.0;
        let elapsed = now - *self.updated.get_or_insert(now);
        if elapsed < Duration::from_millis(50) {
            return self.rate;
        }
        self.updated = Some(now);
        let waits = |from: u64, to: u64| {
            let (from, to) = (Duration::from_millis(from), Duration::from_millis(to));
            let recent = self.arrivals.iter().rev();
            let recent = recent.skip_while(move |(at, ..)| *at + to > now);
            recent
                .take_while(move |(at, ..)| *at + from > now)
                .map(|(.., waited)| *waited)
                .min()
        };
        let (lately, before) = (waits(100, 0), waits(250, 100));
        let overused = lately
            .zip(before)
            .is_some_and(|(lately, before)| lately > QUEUE_US && lately > before + 5_000);
        if overused {
            // It falls once for the time a change takes to show.
            if self.rate.is_none_or(|rate| rate > 0.9 * comes) {
                self.rate = Some(0.85 * comes);
            }
        } else if self.rate.is_none() {
            self.rate = (now > first + BEGINS).then_some(comes);
        } else if let Some(rate) = self.rate.as_mut()
            && lately.is_some_and(|lately| lately < QUEUE_US)
            && *rate < 1.5 * comes + 10_000.0
        {
            *rate = (*rate * 1.08_f64.powf(elapsed.as_secs_f64())).min(1.5 * comes + 10_000.0);
        }
        self.rate
    }
}
