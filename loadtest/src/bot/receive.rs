//! The way of a packet that a bot gets: it unwraps retransmissions, shows every packet to the oracle, and
//! asks for a keyframe where a decoder would.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rtc::rtp;
use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::rtp::extension::ExtensionKind;

use super::{codecs, tap};
use crate::measure::{Measure, StreamOutcome, Totals, wall_time};
use crate::receive::{MAX_STREAMS, Packet, Received};
use crate::sdp::Section;

/// All streams of one bot.
#[derive(Debug, Default)]
pub struct Receiver {
    streams: HashMap<u32, Received>,
    mids: HashMap<u32, String>,
    repairs: HashMap<u32, u32>,
    /// The server's own payload types, with the bot's of the same meaning.
    payload_types: HashMap<u8, u8>,
    /// The m-lines of audio and of video for SSRCs that no description names.
    only_lines: [Option<String>; 2],
    totals: Totals,
    first: Option<Instant>,
    /// Id of the header extension with the packet's send time.
    capture_time: Option<u8>,
    measure: Option<Arc<Measure>>,
}

impl Receiver {
    /// Running counts.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The time of the first packet with media.
    pub(crate) fn first_packet(&self) -> Option<Instant> {
        self.first
    }

    /// Makes it also count received packets in the run's seconds.
    pub(crate) fn report_to(&mut self, measure: Arc<Measure>) {
        self.measure = Some(measure);
    }

    /// Learns SSRCs from an answer. Earlier answers stay true: an SSRC keeps its m-line.
    pub(crate) fn learn(&mut self, sections: &[Section]) {
        for section in sections {
            // The id is the same on all m-lines of a connection (RFC 8843 section 9.2).
            let capture_time = section.extensions.id(ExtensionKind::AbsCaptureTime);
            self.capture_time = capture_time.or(self.capture_time);
            for ssrc in &section.ssrcs {
                self.mids.insert(*ssrc, section.mid.clone());
            }
            for (repaired, repairing) in &section.repairs {
                self.repairs.insert(*repairing, *repaired);
            }
        }
    }

    /// Learns what payload types mean; those left out mean nothing. Without this they are ours.
    pub(crate) fn learn_payload_types(&mut self, payload_types: HashMap<u8, u8>) {
        self.payload_types = payload_types;
    }

    /// Learns that there is one m-line for audio at most, and one for video, so that packets of
    /// SSRCs that no description names (RFC 8843 section 9.2 needs none) can be told to them.
    pub(crate) fn learn_only_lines(&mut self, audio: Option<String>, video: Option<String>) {
        self.only_lines = [audio, video];
    }

    fn line_of(&self, ssrc: u32, codec: Codec) -> Option<&String> {
        let [audio, video] = &self.only_lines;
        let only = if codec.is_audio() { audio } else { video };
        self.mids.get(&ssrc).or(only.as_ref())
    }

    /// The stream that an SSRC without description repairs: the one there is.
    fn only_repaired(&self, codec: Option<Codec>) -> Option<u32> {
        self.only_lines[1].as_ref()?;
        let mut streams = self
            .streams
            .iter()
            .filter(|(_, stream)| Some(stream.codec) == codec);
        match (streams.next(), streams.next()) {
            (Some((ssrc, _)), None) => Some(*ssrc),
            _ => None,
        }
    }

    /// Handles a decrypted packet. Returns the SSRC to ask for a keyframe, if any.
    pub(crate) fn observe(&mut self, packet: &rtp::Packet, at: Instant) -> Option<u32> {
        let header = &packet.header;
        let mut ssrc = header.ssrc;
        let mut payload = &packet.payload[..];
        let mut sequence = header.sequence_number;
        let mut payload_type = header.payload_type;
        if !self.payload_types.is_empty() {
            payload_type = self.payload_types.get(&payload_type).copied().unwrap_or(0);
        }
        let retransmitted = codecs::is_repair(payload_type);
        if retransmitted {
            let Some((original, rest)) = payload.split_first_chunk::<2>() else {
                // Padding only: a bandwidth probe (RFC 4588 section 4 has no such packet).
                return None;
            };
            let base = codecs::repaired(payload_type);
            let repaired = self.repairs.get(&ssrc).copied();
            let repaired = repaired.or_else(|| self.only_repaired(codecs::codec(base?)));
            let (Some(repaired), Some(base)) = (repaired, base) else {
                self.totals.unknown += 1;
                return None;
            };
            (ssrc, payload_type, payload) = (repaired, base, rest);
            sequence = u16::from_be_bytes(*original);
        }
        let Some(codec) = codecs::codec(payload_type) else {
            self.totals.unknown += 1;
            return None;
        };
        if !self.streams.contains_key(&ssrc) {
            if self.streams.len() >= MAX_STREAMS {
                self.totals.unknown += 1;
                return None;
            }
            self.streams
                .insert(ssrc, Received::new(ssrc, codec, at, true));
        }
        let received = self.streams.get_mut(&ssrc)?;
        let sent = self.capture_time.and_then(|id| header.get_extension(id));
        let counted = received.push(&Packet {
            at,
            wall: wall_time(),
            payload_type,
            sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            retransmitted,
            header: tap::RTP_HEADER,
            payload,
            decrypted: true,
            sent: sent.and_then(|sent| Some(u64::from_be_bytes(*sent.first_chunk()?))),
        });
        let lost = received.stream.expire(at);
        if let Some(counted) = &counted {
            // The crate decrypts every packet that it hands up.
            self.totals.count(counted, retransmitted, true);
            self.first.get_or_insert(at);
        }
        if let Some(measure) = &self.measure {
            measure.record(at, |second| {
                second.lost += lost;
                if let Some(counted) = counted {
                    counted.enter(second, true);
                }
            });
        }
        let ask = received.stream.wants_keyframe(at);
        self.totals.keyframe_requests += u64::from(ask);
        ask.then_some(ssrc)
    }

    /// Ends every stream and says how it fared, in order of SSRC.
    pub fn finish(&mut self) -> Vec<StreamOutcome> {
        let streams = std::mem::take(&mut self.streams);
        let mut outcomes: Vec<_> = streams
            .into_iter()
            .map(|(ssrc, mut received)| {
                let mid = self.line_of(ssrc, received.codec).cloned();
                received.finish(None, mid).0
            })
            .collect();
        outcomes.sort_by_key(|outcome| outcome.ssrc);
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tertulia_sfu::rtp::codec::is_keyframe;

    use super::*;
    use crate::media::clip::{VIDEO_180P, VideoLoop};
    use crate::media::packetize::{Stream as Rtp, Vp8Packetizer};
    use bytes::Bytes;

    fn packets(frames: usize) -> Vec<rtp::Packet> {
        let mut clip = VideoLoop::new(VIDEO_180P.clone());
        let mut packetizer = Vp8Packetizer::new(Rtp {
            ssrc: 5,
            payload_type: codecs::VP8,
            sequence: 65_530,
            timestamp: 0,
        });
        let mut packets = Vec::new();
        for _ in 0..frames {
            packetizer.packetize(&clip.next_frame().data, 3_000, &mut packets);
        }
        packets
    }

    #[test]
    fn a_clip_looped_with_jumps_satisfies_the_oracle() {
        let mut receiver = Receiver::default();
        let mut clip = VideoLoop::new(VIDEO_180P.clone());
        let mut packetizer = Vp8Packetizer::new(Rtp::random(5, codecs::VP8));
        let start = Instant::now();
        let mut sent = 0;
        for frame in 0..500u32 {
            if frame % 70 == 69 {
                clip.jump_to_keyframe();
            }
            let mut packets = Vec::new();
            packetizer.packetize(&clip.next_frame().data, 3_000, &mut packets);
            for packet in packets {
                sent += 1;
                let at = start + Duration::from_secs(1) / 30 * frame;
                assert_eq!(receiver.observe(&packet, at), None);
            }
        }
        let report = receiver.finish().remove(0);
        assert_eq!(report.violation_count, 0, "{report:?}");
        assert_eq!((report.packets, report.lost), (sent, 0));
        assert_eq!(report.decodable_frames, 500);
        assert_eq!(report.first_decodable, Some(start));
    }

    #[test]
    fn retransmissions_are_put_back() {
        let mut receiver = Receiver::default();
        receiver.learn(&[Section {
            mid: "0".into(),
            ssrcs: vec![5],
            repairs: vec![(5, 6)],
            ..Default::default()
        }]);
        let now = Instant::now();
        for (index, mut packet) in packets(30).into_iter().enumerate() {
            if index % 7 == 3 {
                let original = packet.header.sequence_number.to_be_bytes();
                packet.payload = Bytes::from([&original[..], &packet.payload].concat());
                packet.header.ssrc = 6;
                packet.header.payload_type = codecs::VP8 + 1;
                packet.header.sequence_number = index as u16;
            }
            receiver.observe(&packet, now);
        }
        let reports = receiver.finish();
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].mid.as_deref(), Some("0"));
        assert_eq!(reports[0].lost, 0);
        assert_eq!(reports[0].decodable_frames, 30);
        assert!(receiver.totals().retransmitted > 0);
    }

    #[test]
    fn a_keyframe_is_asked_for_when_a_decoder_would() {
        let mut receiver = Receiver::default();
        let packets = packets(90);
        let key = packets
            .iter()
            .rposition(|packet| is_keyframe(Codec::Vp8, &packet.payload));
        let key = key.unwrap();
        let mut now = Instant::now();
        let mut asked = Vec::new();
        for (index, packet) in packets.iter().enumerate().skip(10) {
            now += Duration::from_millis(20);
            if receiver.observe(packet, now).is_some() {
                asked.push(index);
            }
        }
        assert_eq!(asked[0], 10, "the first packet is no keyframe");
        assert_eq!(asked[1], 35, "and again after half a second");
        assert!(asked.iter().all(|&index| index < key), "{asked:?} {key}");
    }

    #[test]
    fn a_gap_is_given_time_before_a_keyframe_is_asked_for() {
        let packets = packets(50);
        for (fill_after, asks) in [(Some(100), false), (None, true)] {
            let mut receiver = Receiver::default();
            let start = Instant::now();
            let mut asked = false;
            for (index, packet) in packets.iter().enumerate() {
                let at = start + Duration::from_millis(20 * index as u64);
                if fill_after.is_some_and(|after| index as u64 == 20 + after / 20) {
                    asked |= receiver.observe(&packets[20], at).is_some();
                }
                if index != 20 {
                    asked |= receiver.observe(packet, at).is_some();
                }
            }
            assert_eq!(asked, asks, "filled after {fill_after:?} ms");
        }
    }

    #[test]
    fn strangers_are_counted_not_kept() {
        let mut receiver = Receiver::default();
        for payload_type in [0, 127, codecs::VP8 + 1] {
            let mut packet = packets(1).remove(0);
            packet.header.payload_type = payload_type;
            assert_eq!(receiver.observe(&packet, Instant::now()), None);
        }
        assert_eq!(receiver.totals().unknown, 3);
        assert!(receiver.finish().is_empty());
    }
}
