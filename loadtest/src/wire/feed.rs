//! One RTP stream that a bot sends: its frames, their times, and the packets kept of them.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::rtp;

use super::publisher::HEADER;
use crate::bot::plan::{Encoding, Plan};
use crate::media::packetize::Stream;
use crate::media::source::Source;

/// Packets of a stream kept to be sent again: a second of 1,000 packets a second.
const HISTORY: usize = 1_024;

/// One RTP stream.
pub(super) struct Feed {
    pub(super) mid: String,
    pub(super) rid: &'static str,
    pub(super) ssrc: u32,
    pub(super) repair: Option<u32>,
    pub(super) repair_sequence: u16,
    /// The server reported on the SSRC: it needs no names any more (RFC 8852 section 3.3).
    pub(super) confirmed: bool,
    pub(super) source: Source,
    /// Packets of the frame being sent.
    pub(super) queue: VecDeque<rtp::Packet>,
    pub(super) burst_due: Instant,
    /// The server wants the stream.
    active: bool,
    /// Packets and their capture times, by sequence number modulo its length.
    history: Vec<Option<(rtp::Packet, u64)>>,
    /// RTP time and moment of the last frame.
    pub(super) clock: Option<(u32, Instant)>,
    pub(super) packets: u32,
    pub(super) octets: u32,
    /// RTP headers and payloads.
    pub(super) bytes: u64,
    /// The times of the first packet sent, and of the last.
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

impl Feed {
    pub(super) fn new(plan: &Plan, mid: usize, encoding: &Encoding, start: Instant) -> Self {
        let format = plan.sending.payload_type;
        let mut stream = Stream::random(encoding.ssrc, format);
        // RFC 3711 section 3.3.1: so that losing the first packets cannot hide a rollover.
        stream.sequence &= 0x7fff;
        let mut source = plan.media(encoding, stream, HEADER);
        source.schedule.begin(start);
        Self {
            mid: mid.to_string(),
            rid: encoding.rid,
            ssrc: encoding.ssrc,
            repair: encoding.repair,
            repair_sequence: rand::random::<u16>() & 0x7fff,
            confirmed: false,
            source,
            queue: VecDeque::new(),
            burst_due: start,
            active: true,
            history: vec![
                None;
                if encoding.repair.is_some() {
                    HISTORY
                } else {
                    0
                }
            ],
            clock: None,
            packets: 0,
            octets: 0,
            bytes: 0,
            first: None,
            last: None,
        }
    }

    pub(super) fn start(&mut self, at: Instant) {
        self.source.schedule.begin(at);
        self.burst_due = at;
    }

    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Resumes, with a keyframe like an encoder that was off, or stops after the present frame.
    pub(super) fn set_active(&mut self, active: bool) {
        if active && !self.active {
            self.source.resume();
        }
        self.active = active;
    }

    pub(super) fn due(&self) -> Instant {
        if self.queue.is_empty() {
            self.source.schedule.due()
        } else {
            self.burst_due
        }
    }

    pub(super) fn next_frame(&mut self, now: Instant) {
        let due = self.source.schedule.due();
        self.burst_due = due;
        let mut packets = Vec::new();
        self.source.next_frame(now, &mut packets);
        self.clock = packets.first().map(|packet| (packet.header.timestamp, due));
        self.queue.extend(packets);
    }

    pub(super) fn keep(&mut self, packet: rtp::Packet, captured: u64) {
        if self.history.is_empty() {
            return;
        }
        let place = usize::from(packet.header.sequence_number) % HISTORY;
        self.history[place] = Some((packet, captured));
    }

    /// A packet sent not long ago, and its capture time.
    pub(super) fn kept(&self, sequence: u16) -> Option<&(rtp::Packet, u64)> {
        let place = usize::from(sequence) % HISTORY;
        let kept = self.history.get(place)?.as_ref();
        kept.filter(|(packet, _)| packet.header.sequence_number == sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bot::plan::plan;
    use crate::bot::publish::Video;

    #[test]
    fn an_encoding_that_was_off_goes_on_in_time_and_with_a_keyframe() {
        let start = Instant::now();
        let plans = plan(Video::P720Simulcast, false);
        let encoding = &plans[0].sending.encodings[0];
        let mut feed = Feed::new(&plans[0], 0, encoding, start);
        let mut packets = Vec::new();
        for frame in 0..30 {
            let due = start + Duration::from_nanos(u64::from(frame) * 1_000_000_000 / 30);
            assert_eq!(feed.due(), due);
            match frame {
                10 => feed.set_active(false),
                20 => feed.set_active(true),
                _ => {}
            }
            if feed.is_active() {
                feed.next_frame(feed.due());
                packets.extend(feed.queue.drain(..).map(|packet| (frame, packet)));
            } else {
                feed.source.skip_frame();
            }
        }
        let (_, first) = packets[0].clone();
        for (index, (frame, packet)) in packets.iter().enumerate() {
            let since = packet.header.timestamp.wrapping_sub(first.header.timestamp);
            assert_eq!(since, frame * feed.source.schedule.ticks(), "frame {frame}");
            let number = first.header.sequence_number.wrapping_add(index as u16);
            assert_eq!(packet.header.sequence_number, number, "nothing is missing");
        }
        // The lowest bit of a VP8 frame's first byte is clear in a keyframe (RFC 6386 section 9.1).
        let is_key =
            |packet: &rtp::Packet| packet.payload[0] & 0x10 != 0 && packet.payload[6] & 1 == 0;
        let keys: Vec<_> = packets
            .iter()
            .filter(|(_, packet)| is_key(packet))
            .collect();
        let keys: Vec<_> = keys.into_iter().map(|(frame, _)| *frame).collect();
        assert_eq!(keys, [0, 20]);
    }
}
