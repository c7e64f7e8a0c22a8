//! The packets that one bot receives: finds their streams, checks that they are authentic, measures
//! their delay, and decides on requests to the server.

use std::time::{Duration, Instant};

use tertulia_sfu::rtp::RtpHeader;
use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::rtp::extension::{ExtensionKind, ExtensionMap, TransportCc};
use tertulia_sfu::rtp::rtcp::{self, ReportBlock};

use super::feedback::{ArrivalLog, Reception};
use super::srtp::{Srtp, SsrcMap};
use crate::bot::codecs;
use crate::measure::{Second, StreamOutcome, Totals};
use crate::receive::{MAX_STREAMS, Packet, Received};
use crate::sdp::Section;

/// The shares of the streams whose packets are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    pub(super) decrypt: f64,
    pub(super) oracle: f64,
    /// Packets count in the run's delay.
    pub(super) is_timed: bool,
}

/// All streams of one bot.
#[derive(Debug)]
pub(super) struct Receiver {
    shares: Shares,
    streams: Vec<Tracked>,
    by_ssrc: SsrcMap<usize>,
    mids: SsrcMap<String>,
    repairs: SsrcMap<u32>,
    extensions: ExtensionMap,
    pub(super) arrivals: ArrivalLog,
    pub(super) totals: Totals,
}

#[derive(Debug)]
struct Tracked {
    received: Received,
    reception: Reception,
    /// Every packet is decrypted.
    whole: bool,
}

impl Receiver {
    pub(super) fn new(now: Instant, shares: Shares) -> Self {
        Self {
            shares,
            streams: Vec::new(),
            by_ssrc: SsrcMap::default(),
            mids: SsrcMap::default(),
            repairs: SsrcMap::default(),
            extensions: ExtensionMap::default(),
            arrivals: ArrivalLog::new(now),
            totals: Totals::default(),
        }
    }

    /// Learns SSRCs and extensions from an answer. Earlier answers stay true: an SSRC keeps its
    /// m-line.
    pub(super) fn learn(&mut self, sections: &[Section], extensions: &ExtensionMap) {
        self.extensions = *extensions;
        for section in sections {
            for ssrc in &section.ssrcs {
                self.mids.insert(*ssrc, section.mid.clone());
            }
            for (repaired, repairing) in &section.repairs {
                self.repairs.insert(*repairing, *repaired);
            }
        }
    }

    /// Handles a packet that came at `at`, which since the Unix epoch is `wall`. True if something is missing that
    /// should be asked for now.
    pub(super) fn receive(
        &mut self,
        packet: &mut [u8],
        at: Instant,
        wall: Duration,
        srtp: &mut Srtp,
        second: &mut Second,
    ) -> bool {
        let Some((header, ssrc, payload_type, codec)) = self.identify(packet) else {
            self.totals.unknown += 1;
            return false;
        };
        let repair = header.ssrc != ssrc;
        let index = self.by_ssrc.get(&ssrc).copied();
        let open = repair
            || index.is_none_or(|index| {
                let tracked = &self.streams[index];
                tracked.whole || tracked.received.stream.wants_content(header.timestamp)
            });
        let len = if open {
            srtp.open_rtp(packet, &header)
        } else {
            srtp.skip_rtp(packet, &header)
        };
        let Some(len) = len else {
            self.totals.unknown += 1;
            return false;
        };
        let packet = &packet[..len];
        // The count of padding bytes is encrypted.
        let header = match RtpHeader::parse(packet) {
            Ok(plain) if open => plain,
            _ => header,
        };
        if let Some(number) = self.extension(&header, packet, ExtensionKind::TransportCc)
            && let Some(TransportCc(number)) = TransportCc::parse(number)
        {
            self.arrivals.push(number, at);
        }
        let mut payload = header.payload(packet);
        let mut sequence = header.sequence;
        if repair {
            let Some((original, rest)) = payload.split_first_chunk::<2>() else {
                // Padding only: a bandwidth probe (RFC 4588 section 4 has no such packet).
                return false;
            };
            (sequence, payload) = (u16::from_be_bytes(*original), rest);
        }
        let Some(index) = index.or_else(|| self.add(ssrc, codec, at)) else {
            self.totals.unknown += 1;
            return false;
        };
        let captured = self
            .extension(&header, packet, ExtensionKind::AbsCaptureTime)
            .and_then(|value| value.first_chunk().copied())
            .map(u64::from_be_bytes);
        let Tracked {
            received,
            reception,
            ..
        } = &mut self.streams[index];
        let counted = received.push(&Packet {
            at,
            wall,
            payload_type,
            sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            retransmitted: repair,
            header: header.payload_offset,
            payload,
            decrypted: open,
            sent: captured,
        });
        let stream = &received.stream;
        if !repair {
            reception.push(stream.highest(), header.timestamp, codec.clock_rate(), at);
        }
        let Some(counted) = counted else {
            return stream.has_gaps();
        };
        self.totals.count(&counted, repair, open);
        counted.enter(second, self.shares.is_timed);
        stream.has_gaps() || stream.is_waiting()
    }

    /// The header of a packet; SSRC, payload type and codec of its media, which a retransmission has under others.
    fn identify(&self, packet: &[u8]) -> Option<(RtpHeader, u32, u8, Codec)> {
        let header = RtpHeader::parse_sealed(packet).ok()?;
        let (mut ssrc, mut payload_type) = (header.ssrc, header.payload_type);
        if codecs::is_repair(payload_type) {
            ssrc = *self.repairs.get(&ssrc)?;
            payload_type = codecs::repaired(payload_type)?;
        }
        Some((header, ssrc, payload_type, codecs::codec(payload_type)?))
    }

    fn extension<'a>(
        &self,
        header: &RtpHeader,
        packet: &'a [u8],
        kind: ExtensionKind,
    ) -> Option<&'a [u8]> {
        header.extension(packet, self.extensions.id(kind)?)
    }

    fn add(&mut self, ssrc: u32, codec: Codec, at: Instant) -> Option<usize> {
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        // SSRCs are random: so is what of them is chosen.
        let chosen = f64::from(ssrc.wrapping_mul(0x9e37_79b9)) / f64::from(u32::MAX);
        let judged = chosen <= self.shares.oracle && self.shares.oracle > 0.0;
        let whole = chosen <= self.shares.decrypt && self.shares.decrypt > 0.0;
        self.by_ssrc.insert(ssrc, self.streams.len());
        self.streams.push(Tracked {
            received: Received::new(ssrc, codec, at, judged),
            reception: Reception::default(),
            // The oracle must see everything.
            whole: whole || judged,
        });
        Some(self.streams.len() - 1)
    }

    /// Learns when a sender report was written.
    pub(super) fn sender_report(&mut self, ssrc: u32, ntp: u64, at: Instant) {
        if let Some(index) = self.by_ssrc.get(&ssrc) {
            self.streams[*index].reception.sender_report(ntp, at);
        }
    }

    /// Appends requests for missing packets and for keyframes. True if it should be called again
    /// soon.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        sender: u32,
        round_trip: Duration,
        second: &mut Second,
        out: &mut Vec<u8>,
    ) -> bool {
        let (mut lost, mut unsatisfied) = (Vec::new(), false);
        for tracked in &mut self.streams {
            let Received { ssrc, stream, .. } = &mut tracked.received;
            second.lost += stream.expire(now);
            stream.nack(now, round_trip, &mut lost);
            rtcp::nack(out, sender, *ssrc, &lost);
            lost.clear();
            if stream.wants_keyframe(now) {
                self.totals.keyframe_requests += 1;
                rtcp::pli(out, sender, *ssrc);
            }
            unsatisfied |= stream.has_gaps() || stream.is_waiting();
        }
        unsatisfied
    }

    /// Blocks for receiver reports.
    pub(super) fn report_blocks(&mut self, now: Instant) -> Vec<ReportBlock> {
        let blocks = self.streams.iter_mut().filter_map(|tracked| {
            let Received { ssrc, stream, .. } = &tracked.received;
            tracked.reception.block(*ssrc, stream.highest(), now)
        });
        blocks.collect()
    }

    /// SSRC of any stream, for feedback about the transport.
    pub(super) fn any_ssrc(&self) -> u32 {
        self.streams
            .first()
            .map_or(0, |tracked| tracked.received.ssrc)
    }

    /// RTP headers and payloads that came so far under each SSRC.
    pub(super) fn received(&self) -> Vec<(u32, u64)> {
        let streams = self.streams.iter();
        streams
            .map(|Tracked { received, .. }| (received.ssrc, received.bytes))
            .collect()
    }

    /// Ends every stream and says how it fared, in order of SSRC.
    pub(super) fn outcomes(&mut self, now: Instant, second: &mut Second) -> Vec<StreamOutcome> {
        let mids = &self.mids;
        let streams = self.streams.iter_mut();
        let mut outcomes: Vec<_> = streams
            .map(|Tracked { received, .. }| {
                let mid = mids.get(&received.ssrc).cloned();
                let (outcome, lost) = received.finish(Some(now), mid);
                second.lost += lost;
                outcome
            })
            .collect();
        outcomes.sort_by_key(|outcome| outcome.ssrc);
        outcomes
    }
}
