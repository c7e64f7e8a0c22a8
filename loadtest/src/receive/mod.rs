//! One received stream, whatever bot it comes to: its order, its pictures, its delay, and the oracle's verdict.

mod stream;

use std::time::{Duration, Instant};

use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::testing::oracle::{Oracle, OracleReport};
use tertulia_signaling::protocol::native::MediaKind;

pub(crate) use stream::Stream;
use stream::{Content, Meta, Place};

use crate::measure::{Second, StreamOutcome, Totals, since_ntp};

/// A relay sends one SSRC for each receiving m-line; far more than that is a fault to be reported,
/// not to be stored.
pub(crate) const MAX_STREAMS: usize = 4_096;

/// A packet of a stream; of a retransmission, what it repeats.
pub(crate) struct Packet<'a> {
    pub(crate) at: Instant,
    /// The arrival since the Unix epoch.
    pub(crate) wall: Duration,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) retransmitted: bool,
    /// Bytes of the header that count.
    pub(crate) header: usize,
    pub(crate) payload: &'a [u8],
    pub(crate) decrypted: bool,
    /// The NTP time at which it was sent, if it says so.
    pub(crate) sent: Option<u64>,
}

/// The part of a packet with media in the run's second.
pub(crate) struct Counted {
    pub(crate) bytes: u64,
    delay: Option<Duration>,
    jitter: Option<Duration>,
    backwards: bool,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) ssrc: u32,
    pub(crate) codec: Codec,
    pub(crate) stream: Stream,
    /// The oracle, if it is shown the stream.
    oracle: Option<Oracle>,
    verdict: OracleReport,
    packets: u64,
    pub(crate) bytes: u64,
    last_at: Instant,
    last_delay: Option<Duration>,
}

impl Totals {
    /// Counts a packet with media.
    pub(crate) fn count(&mut self, counted: &Counted, retransmitted: bool, decrypted: bool) {
        self.packets += 1;
        self.bytes += counted.bytes;
        self.retransmitted += u64::from(retransmitted);
        self.decrypted += u64::from(decrypted);
    }
}

impl Counted {
    /// Adds it to a second. `is_timed`: its delay counts there.
    pub(crate) fn enter(&self, second: &mut Second, is_timed: bool) {
        second.received += 1;
        second.bytes += self.bytes;
        if !is_timed {
            return;
        }
        second.backwards += u64::from(self.backwards);
        if let Some(delay) = self.delay {
            second.delay.record(delay);
        }
        if let Some(jitter) = self.jitter {
            second.jitter.record(jitter);
        }
    }
}

impl Received {
    /// A stream whose first packet came at `at`. `judged`: the oracle sees it; it must then see everything decrypted.
    pub(crate) fn new(ssrc: u32, codec: Codec, at: Instant, judged: bool) -> Self {
        Self {
            ssrc,
            codec,
            stream: Stream::new(codec),
            oracle: judged.then(|| Oracle::new(codec)),
            verdict: OracleReport::default(),
            packets: 0,
            bytes: 0,
            last_at: at,
            last_delay: None,
        }
    }

    /// Handles a packet; none if it is no media, or came before.
    pub(crate) fn push(&mut self, packet: &Packet<'_>) -> Option<Counted> {
        let at = packet.at.max(self.last_at);
        self.last_at = at;
        let mut content = match packet.decrypted {
            true => Content::read(self.codec, packet.payload),
            false => Content::Unread,
        };
        if let Some(oracle) = &mut self.oracle {
            let plain = [&plain_header(packet, self.ssrc), packet.payload].concat();
            oracle.observe(&plain, at);
            if let (Codec::Vp9 | Codec::Av1, Content::Read { height, .. }) =
                (self.codec, &mut content)
            {
                *height = oracle.report().dimensions.map(|(_, height)| height);
            }
        }
        let meta = Meta {
            at,
            timestamp: packet.timestamp,
            marker: packet.marker,
            content,
        };
        let place = self
            .stream
            .push(packet.sequence, packet.retransmitted, meta);
        if content == Content::Padding || place == Place::Duplicate {
            return None;
        }
        let bytes = (packet.header + packet.payload.len()) as u64;
        self.packets += 1;
        self.bytes += bytes;
        // A repaired packet shows the loss, not the relay's delay.
        let sent = packet.sent.filter(|_| !packet.retransmitted);
        let delay = sent.and_then(|sent| since_ntp(packet.wall, sent));
        let before = delay.and_then(|delay| self.last_delay.replace(delay));
        Some(Counted {
            bytes,
            delay,
            jitter: delay
                .zip(before)
                .map(|(delay, before)| delay.abs_diff(before)),
            backwards: sent.is_some() && delay.is_none(),
        })
    }

    /// Ends the stream at `now`, or with its last packet. Returns how it fared, and the gaps that were still open.
    pub(crate) fn finish(
        &mut self,
        now: Option<Instant>,
        mid: Option<String>,
    ) -> (StreamOutcome, u64) {
        let lost = self.stream.finish(now.unwrap_or(self.last_at));
        if let Some(oracle) = self.oracle.take() {
            self.verdict = oracle.finish();
        }
        let (seen, verdict) = (&self.stream.seen, &self.verdict);
        let violations = verdict.violations.iter();
        let outcome = StreamOutcome {
            mid,
            ssrc: self.ssrc,
            kind: match self.codec.is_audio() {
                true => MediaKind::Audio,
                false => MediaKind::Video,
            },
            codec: self.codec.name(),
            packets: self.packets,
            bytes: self.bytes,
            lost: seen.lost,
            duplicates: seen.duplicates,
            reordered: seen.reordered,
            decodable_frames: seen.decodable_frames,
            keyframes: seen.keyframes,
            first_decodable: seen.first_decodable,
            freezes: seen.freezes,
            longest_freeze: seen.longest_freeze,
            frozen: seen.frozen,
            residency: seen.residency.clone(),
            violations: violations.map(|found| format!("{found:?}")).collect(),
            violation_count: verdict.violation_count,
        };
        (outcome, lost)
    }
}

/// The packet's header, without extensions.
fn plain_header(packet: &Packet<'_>, ssrc: u32) -> [u8; 12] {
    let mut plain = [0; 12];
    plain[0] = 0x80;
    plain[1] = u8::from(packet.marker) << 7 | packet.payload_type & 0x7f;
    plain[2..4].copy_from_slice(&packet.sequence.to_be_bytes());
    plain[4..8].copy_from_slice(&packet.timestamp.to_be_bytes());
    plain[8..].copy_from_slice(&ssrc.to_be_bytes());
    plain
}
