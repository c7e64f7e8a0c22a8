//! Everything one bot publishes: frames when they are due, keyframes and packets again when asked.

use std::time::{Duration, Instant};

use rtc::rtp;
use tertulia_sfu::rtp::extension::{AbsSendTime, AudioLevel, ExtensionKind, ExtensionMap};
use tertulia_sfu::rtp::rtcp;
use tertulia_sfu::rtp::{HeaderWriter, OutHeader};
use tertulia_signaling::protocol::native::MediaKind;

use super::feed::Feed;
use super::outbox::Outbox;
use super::speech::Speech;
use super::srtp::Srtp;
use crate::bot::plan::Plan;
use crate::measure::{EncodingSent, Second, Sent, ntp, wall_time};
use crate::media::schedule::Schedule;

/// Fixed header, and the extensions that every packet has: abs-send-time, transport-wide sequence
/// number, abs-capture-time.
pub(super) const HEADER: usize = 12 + 4 + 4 + 3 + 9;
/// Longest header: with the names of m-line and encoding, and the audio level.
const MAX_HEADER: usize = HEADER + 64;

/// Sends the planned tracks.
pub(super) struct Publisher {
    feeds: Vec<Feed>,
    speech: Speech,
    extensions: ExtensionMap,
    /// Number of the next packet, of any stream.
    transport_sequence: u16,
    cname: String,
    pub(super) sent: Sent,
    stopped: bool,
    /// The time at which the next sender report is due.
    report_at: Instant,
}

/// A packet to be written.
struct Outgoing<'a> {
    /// The packet as it was made, without extensions.
    packet: &'a rtp::Packet,
    mid: Option<&'a str>,
    rid: Option<(ExtensionKind, &'static str)>,
    /// Audio level.
    level: Option<AudioLevel>,
    captured: u64,
    /// SSRC and sequence number of a retransmission.
    repair: Option<(u32, u16)>,
}

impl Publisher {
    /// The first frames are due from `start` on.
    pub(super) fn new(
        plans: &[Plan],
        extensions: &ExtensionMap,
        cname: &str,
        start: Instant,
    ) -> Self {
        let mut feeds = Vec::new();
        let count: usize = plans.iter().map(|plan| plan.sending.encodings.len()).sum();
        for (mid, plan) in plans.iter().enumerate() {
            for encoding in &plan.sending.encodings {
                let mut feed = Feed::new(plan, mid, encoding, start);
                // The encodings of one camera take turns within a frame's time instead of bursting
                // together.
                let turn = feed.source.schedule.period() * feeds.len() as u32 / count as u32;
                feed.start(start + turn);
                feeds.push(feed);
            }
        }
        Self {
            feeds,
            speech: Speech::of(cname),
            extensions: *extensions,
            transport_sequence: rand::random(),
            cname: cname.to_owned(),
            sent: Sent::default(),
            stopped: false,
            report_at: start + Duration::from_secs(1),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.feeds.iter().map(Feed::due).min();
        let due = due.filter(|_| !self.stopped);
        Some(due?.min(self.report_at))
    }

    /// Sends everything that is due.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        srtp: &mut Srtp,
        second: &mut Second,
        out: &mut Outbox,
    ) {
        if self.stopped {
            return;
        }
        let wall = wall_time();
        for feed in &mut self.feeds {
            while feed.due() <= now {
                if feed.queue.is_empty() {
                    if !feed.is_active() {
                        feed.source.skip_frame();
                        continue;
                    }
                    feed.next_frame(now);
                }
                let due = feed.burst_due;
                let late = now.saturating_duration_since(due) > feed.source.schedule.period();
                feed.burst_due = Schedule::next_burst(due);
                let count = feed.source.schedule.burst().min(feed.queue.len());
                for packet in feed.queue.drain(..count).collect::<Vec<_>>() {
                    let captured = ntp(wall_time());
                    let sound = feed.source.is_audio();
                    let outgoing = Outgoing {
                        packet: &packet,
                        mid: (!feed.confirmed).then_some(&feed.mid),
                        rid: (!feed.confirmed && !feed.rid.is_empty())
                            .then_some((ExtensionKind::Rid, feed.rid)),
                        level: sound.then(|| self.speech.next()),
                        captured,
                        repair: None,
                    };
                    let sequence = &mut self.transport_sequence;
                    let len = send(&outgoing, &self.extensions, wall, sequence, srtp, out);
                    feed.packets = feed.packets.wrapping_add(1);
                    feed.octets = feed.octets.wrapping_add(packet.payload.len() as u32);
                    self.sent.packets += 1;
                    self.sent.bytes += len as u64;
                    feed.bytes += len as u64;
                    feed.first.get_or_insert(now);
                    feed.last = Some(now);
                    self.sent.late += u64::from(late);
                    second.sent += 1;
                    second.sent_bytes += len as u64;
                    feed.keep(packet, captured);
                }
            }
        }
        if self.report_at <= now {
            self.report_at = now + Duration::from_secs(1);
            self.report(now, srtp, out);
        }
    }

    fn report(&self, now: Instant, srtp: &mut Srtp, out: &mut Outbox) {
        out.push(|bytes| {
            let start = bytes.len();
            // Streams that are off get no reports, like ended ones.
            for feed in self.feeds.iter().filter(|feed| feed.is_active()) {
                let Some((timestamp, at)) = feed.clock else {
                    continue;
                };
                let since = now.saturating_duration_since(at).as_secs_f64();
                let ticks = (since * f64::from(feed.source.schedule.clock_rate())) as u32;
                rtcp::sender_report(
                    bytes,
                    feed.ssrc,
                    ntp(wall_time()),
                    timestamp.wrapping_add(ticks),
                    feed.packets,
                    feed.octets,
                    &[],
                );
                rtcp::sdes_cname(bytes, feed.ssrc, &self.cname);
            }
            if bytes.len() > start && srtp.seal_rtcp(bytes, start).is_none() {
                bytes.truncate(start);
            }
        });
    }

    /// The server has a stream's packets.
    pub(super) fn confirm(&mut self, ssrc: u32) {
        if let Some(feed) = self.feed(ssrc) {
            feed.confirmed = true;
        }
    }

    /// The server asks for a keyframe.
    pub(super) fn want_keyframe(&mut self, ssrc: u32) {
        if let Some(feed) = self.feed(ssrc) {
            feed.source.wanted = true;
            self.sent.keyframe_requests_received += 1;
        }
    }

    /// The server wants these encodings of an m-line, by RID, and no others.
    pub(super) fn want_encodings(&mut self, mid: &str, wanted: &[(String, bool)]) {
        for feed in self.feeds.iter_mut().filter(|feed| feed.mid == mid) {
            let wanted = wanted.iter().find(|(rid, _)| rid == feed.rid);
            if let Some((_, active)) = wanted {
                feed.set_active(*active);
            }
        }
    }

    /// The packets that were sent of each encoding.
    pub(super) fn encodings(&self) -> Vec<EncodingSent> {
        let feeds = self.feeds.iter();
        feeds
            .map(|feed| EncodingSent {
                kind: match feed.source.is_audio() {
                    true => MediaKind::Audio,
                    false => MediaKind::Video,
                },
                rid: feed.rid,
                active: feed.is_active(),
                bytes: feed.bytes,
                first: feed.first,
                last: feed.last,
            })
            .collect()
    }

    /// The server asks for packets again (RFC 4588).
    pub(super) fn repeat(&mut self, ssrc: u32, lost: &[u16], srtp: &mut Srtp, out: &mut Outbox) {
        let wall = wall_time();
        let Some(feed) = self.feeds.iter_mut().find(|feed| feed.ssrc == ssrc) else {
            return;
        };
        let Some(repair) = feed.repair else { return };
        for sequence in lost {
            let Some((packet, captured)) = feed.kept(*sequence) else {
                continue;
            };
            let outgoing = Outgoing {
                packet,
                mid: Some(&feed.mid),
                rid: (!feed.rid.is_empty()).then_some((ExtensionKind::RepairedRid, feed.rid)),
                level: None,
                captured: *captured,
                repair: Some((repair, feed.repair_sequence)),
            };
            let sequence = &mut self.transport_sequence;
            send(&outgoing, &self.extensions, wall, sequence, srtp, out);
            self.sent.retransmissions += 1;
            feed.repair_sequence = feed.repair_sequence.wrapping_add(1);
        }
    }

    /// SSRCs of the media, for a goodbye.
    pub(super) fn ssrcs(&self) -> Vec<u32> {
        self.feeds.iter().map(|feed| feed.ssrc).collect()
    }

    /// Sends no more, but answers.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.feeds.iter_mut().for_each(|feed| feed.queue.clear());
    }

    fn feed(&mut self, ssrc: u32) -> Option<&mut Feed> {
        self.feeds.iter_mut().find(|feed| feed.ssrc == ssrc)
    }
}

/// Writes and seals a packet; the length of its plain header and payload.
fn send(
    outgoing: &Outgoing<'_>,
    extensions: &ExtensionMap,
    wall: Duration,
    transport_sequence: &mut u16,
    srtp: &mut Srtp,
    out: &mut Outbox,
) -> usize {
    let mut len = 0;
    let made = &outgoing.packet.header;
    let (ssrc, sequence) = outgoing.repair.unwrap_or((made.ssrc, made.sequence_number));
    out.push(|bytes| {
        let start = bytes.len();
        bytes.resize(start + MAX_HEADER, 0);
        let header = OutHeader {
            marker: made.marker,
            // A repair stream has the next payload type.
            payload_type: made.payload_type + u8::from(outgoing.repair.is_some()),
            sequence,
            timestamp: made.timestamp,
            ssrc,
        };
        let mut writer = HeaderWriter::new(&mut bytes[start..], &header);
        let mut add = |kind, value: &[u8]| {
            if let Some(id) = extensions.id(kind) {
                writer.extension(id, value);
            }
        };
        add(
            ExtensionKind::AbsSendTime,
            &AbsSendTime::from_duration(wall).to_bytes(),
        );
        add(
            ExtensionKind::TransportCc,
            &transport_sequence.to_be_bytes(),
        );
        add(
            ExtensionKind::AbsCaptureTime,
            &outgoing.captured.to_be_bytes(),
        );
        if let Some(level) = outgoing.level {
            add(ExtensionKind::AudioLevel, &level.to_bytes());
        }
        if let Some(mid) = outgoing.mid {
            add(ExtensionKind::Mid, mid.as_bytes());
        }
        if let Some((kind, rid)) = outgoing.rid {
            add(kind, rid.as_bytes());
        }
        let header = writer.finish();
        bytes.truncate(start + header);
        if outgoing.repair.is_some() {
            bytes.extend_from_slice(&made.sequence_number.to_be_bytes());
        }
        bytes.extend_from_slice(&outgoing.packet.payload);
        len = bytes.len() - start;
        *transport_sequence = transport_sequence.wrapping_add(1);
        if srtp.seal_rtp(bytes, start).is_none() {
            bytes.truncate(start);
        }
    });
    len
}
