//! The times at which packets of streams were sent, which make a receiver report (RFC 3550 section 6.4.1) tell more.
//! The report names the highest number that came: packets up to that arrived or are lost. The next packet had not come
//! when the report was written: it was on its way since it was sent, which bounds the queue from below, whatever clocks
//! and pauses say.

use std::collections::VecDeque;

use crate::rtp::sequence::Extender;

/// Least time between two samples, in microseconds: a frame's packets leave together.
const SPACING_US: i64 = 10_000;
/// Samples of a stream: five seconds, in 12 KiB. A receiver that reports more rarely counts all the same, but not for
/// delay.
const SAMPLES: usize = 512;
/// Time without packets after which a stream has stopped.
const CURRENT_US: i64 = 500_000;
/// Streams at most: an m-line has one, and an offer has 256 m-lines. The one silent longest makes room.
const STREAMS: usize = 256;

/// The streams of one viewer, by SSRC.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// Index of the stream sent last: packets come in runs of one stream.
    latest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: i64,
    sequence: u64,
    /// Counts of the stream before this packet.
    before: Sent,
}

/// Packets and bytes sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    packets: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    numbers: Extender,
    samples: VecDeque<Sample>,
    sent: Sent,
    /// The highest number sent, and its time.
    newest: (u64, i64),
    /// The last report.
    reported: Option<Reported>,
    /// Bits a second that arrived, and the time until which that holds.
    rate: Option<(f64, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Reported {
    at: i64,
    highest: u64,
    /// The time at which that was sent.
    until: i64,
    lost: i32,
    /// Packets and bytes up to there.
    packets: f64,
    bytes: f64,
}

/// The contents of a report block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// The stream.
    pub(crate) ssrc: u32,
    /// The highest number received; its cycles are ignored.
    pub(crate) highest: u16,
    /// Packets lost since the beginning, as the receiver counts.
    pub(crate) lost: i32,
    /// Share of packets lost since the last report (0 to 1).
    pub(crate) fraction: f64,
}

/// The knowledge gained from a report. Times in microseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Learned {
    /// Packets since the last report, and the number of them lost.
    pub(super) packets: u64,
    pub(super) lost: u64,
    /// The times of sending of the first and the last of them.
    pub(super) since: i64,
    pub(super) until: i64,
    /// Upper bound of the time out and back, from the last packet that came.
    pub(super) at_most: i64,
    /// Lower bound of that time, from the first packet that had not come, with that packet's time of sending.
    pub(super) at_least: Option<(i64, i64)>,
}

impl Streams {
    /// Records a packet of `bytes`.
    pub(super) fn sent(&mut self, now: i64, ssrc: u32, sequence: u16, bytes: usize) {
        let at = match self.streams.get(self.latest) {
            Some(stream) if stream.ssrc == ssrc => self.latest,
            _ => self.place(ssrc),
        };
        self.latest = at;
        if let Some(stream) = self.streams.get_mut(at) {
            stream.sent(now, sequence, bytes);
        }
    }

    fn place(&mut self, ssrc: u32) -> usize {
        if let Some(at) = self.find(ssrc) {
            return at;
        }
        if self.streams.len() == STREAMS {
            let streams = self.streams.iter().enumerate();
            let silent = streams.min_by_key(|(_, stream)| stream.newest.1);
            if let Some((at, _)) = silent {
                self.streams.swap_remove(at);
            }
        }
        self.streams.push(Stream::new(ssrc));
        self.streams.len() - 1
    }

    fn find(&self, ssrc: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.ssrc == ssrc)
    }

    /// Handles a report; none for a stream that was not sent, or if none of its packets came.
    pub(super) fn report(&mut self, now: i64, block: &Block) -> Option<Learned> {
        let at = self.find(block.ssrc)?;
        self.streams.get_mut(at)?.report(now, block)
    }

    /// The arriving rate, bits a second; none before two reports of a stream.
    pub(super) fn arriving(&self, now: i64) -> Option<f64> {
        let rates = self.streams.iter().filter_map(|stream| stream.rate);
        let current = rates.filter(|(_, until)| now <= *until);
        current
            .map(|(rate, _)| rate)
            .fold(None, |sum, rate| Some(sum.unwrap_or(0.0) + rate))
    }
}

impl Stream {
    fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            numbers: Extender::default(),
            samples: VecDeque::new(),
            sent: Sent::default(),
            newest: (0, 0),
            reported: None,
            rate: None,
        }
    }

    fn sent(&mut self, now: i64, sequence: u16, bytes: usize) {
        let sequence = self.numbers.extend(sequence);
        let spaced = |last: &Sample| now >= last.at + SPACING_US && sequence > last.sequence;
        if self.samples.back().is_none_or(spaced) {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            let before = self.sent;
            self.samples.push_back(Sample {
                at: now,
                sequence,
                before,
            });
        }
        self.sent.packets += 1;
        self.sent.bytes += bytes as u64;
        if sequence >= self.newest.0 {
            self.newest = (sequence, now);
        }
    }

    fn report(&mut self, now: i64, block: &Block) -> Option<Learned> {
        let highest = self.numbers.peek(block.highest);
        let at = self.sample(highest)?;
        let first = self.samples.front()?;
        let before = self.reported.unwrap_or(Reported {
            at: first.at,
            highest: first.sequence - 1,
            until: first.at,
            lost: 0,
            packets: first.before.packets as f64,
            bytes: first.before.bytes as f64,
        });
        if highest > self.newest.0 || highest < before.highest {
            return None;
        }
        let (sent, bytes) = self.sent_up_to(at, highest);
        let packets = highest - before.highest;
        // The number of a packet that waited here and was dropped looks lost.
        let left_out = (packets as f64 - (sent - before.packets).max(0.0)).max(0.0) as u64;
        // The share is since the receiver's last report, and some reports may not have come here. The count is complete
        // where it is kept, and begins with the stream.
        let counted = u64::try_from(block.lost.saturating_sub(before.lost)).unwrap_or(0);
        let shared = (block.fraction * packets as f64) as u64;
        let counts = self.reported.is_some() && (block.lost != 0 || before.lost != 0);
        let lost = if counts { counted } else { shared };
        let lost = lost.saturating_sub(left_out).min(packets);
        let sent_at = self.samples.get(at)?.at;
        self.reported = Some(Reported {
            at: now,
            highest,
            until: sent_at,
            lost: block.lost,
            packets: sent,
            bytes,
        });
        let elapsed = now - before.at;
        if elapsed >= 100_000 {
            let came = 1.0 - lost as f64 / packets.max(1) as f64;
            let rate = (bytes - before.bytes).max(0.0) * came * 8e6 / elapsed as f64;
            self.rate = Some((rate, now + 2 * elapsed.min(10_000_000)));
        }
        if packets == 0 && highest < self.newest.0 {
            return None;
        }
        // If the stream stopped, the next packet may be lost for ever.
        let sends = packets > 0 && now - self.newest.1 < CURRENT_US;
        let behind = self.behind(highest).filter(|_| sends);
        Some(Learned {
            packets,
            lost,
            since: before.until,
            until: sent_at,
            at_most: now - sent_at,
            at_least: behind.map(|at| ((now - at).max(0), at)),
        })
    }

    /// The last sample that is not after a number.
    fn sample(&self, sequence: u64) -> Option<usize> {
        let behind = self
            .samples
            .partition_point(|sample| sample.sequence <= sequence);
        behind.checked_sub(1)
    }

    /// Packets and bytes up to a number, which lies after a sample and before the next.
    fn sent_up_to(&self, at: usize, sequence: u64) -> (f64, f64) {
        let Some(from) = self.samples.get(at) else {
            return (0.0, 0.0);
        };
        let (end, sent) = match self.samples.get(at + 1) {
            Some(next) => (next.sequence, next.before),
            None => (self.newest.0 + 1, self.sent),
        };
        let share = (sequence + 1 - from.sequence) as f64 / (end - from.sequence).max(1) as f64;
        let part =
            |from: u64, to: u64| from as f64 + share.min(1.0) * to.saturating_sub(from) as f64;
        (
            part(from.before.packets, sent.packets),
            part(from.before.bytes, sent.bytes),
        )
    }

    /// The latest time at which the packet after a number was sent.
    fn behind(&self, sequence: u64) -> Option<i64> {
        if sequence >= self.newest.0 {
            return None;
        }
        let at = self.sample(sequence + 1)?;
        Some(self.samples.get(at)?.at + SPACING_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(highest: u16, lost: i32) -> Block {
        Block {
            ssrc: 7,
            highest,
            lost,
            fraction: 0.0,
        }
    }

    /// Frames of four packets of 1,000 bytes, every 40 ms: 800 kbit/s.
    fn sent(streams: &mut Streams, frames: std::ops::Range<u16>) {
        for frame in frames {
            for packet in 0..4 {
                let sequence = 65_500_u16.wrapping_add(frame * 4 + packet);
                streams.sent(i64::from(frame) * 40_000, 7, sequence, 1_000);
            }
        }
    }

    #[test]
    fn reports_tell_what_arrives_and_how_late() {
        let mut streams = Streams::default();
        sent(&mut streams, 0..26);
        // Frame 24 was sent at 960 ms and is there, frame 25 at 1 s and is not.
        let at = |frame: u16| 65_500_u16.wrapping_add(frame * 4 + 3);
        let first = streams.report(1_020_000, &block(at(24), 0)).unwrap();
        assert_eq!((first.packets, first.lost, first.until), (100, 0, 960_000));
        assert_eq!(first.at_most, 60_000);
        assert_eq!(first.at_least, Some((10_000, 1_010_000)));
        let arriving = streams.arriving(1_020_000).unwrap();
        assert!((arriving / 784_000.0 - 1.0).abs() < 0.01, "{arriving}");
        sent(&mut streams, 26..76);
        let second = streams.report(3_020_000, &block(at(74), 20)).unwrap();
        assert_eq!((second.packets, second.lost), (200, 20));
        let arriving = streams.arriving(3_020_000).unwrap();
        assert!((arriving / 720_000.0 - 1.0).abs() < 0.01, "{arriving}");
        assert_eq!(streams.arriving(60_000_000), None, "long ago");
        // No packet is on its way: there is no bound from below.
        let all = streams.report(3_100_000, &block(at(75), 20)).unwrap();
        assert_eq!((all.packets, all.at_least), (4, None));
    }

    #[test]
    fn a_queue_shows_in_what_has_not_come() {
        let mut streams = Streams::default();
        sent(&mut streams, 0..51);
        let at = |frame: u16| 65_500_u16.wrapping_add(frame * 4 + 3);
        // Frame 37 is the last that came: the packets sent 40 ms later wait for half a second.
        let waiting = streams.report(2_020_000, &block(at(37), 0)).unwrap();
        assert_eq!(waiting.at_least, Some((490_000, 1_530_000)));
        // Nothing has come since, so that there is no news.
        assert_eq!(streams.report(2_120_000, &block(at(37), 0)), None);
        // Nothing is sent any more: the packet may be lost.
        let late = streams.report(2_620_000, &block(at(39), 0)).unwrap();
        assert_eq!(late.at_least, None);
    }

    #[test]
    fn what_was_left_out_here_was_not_lost() {
        let mut streams = Streams::default();
        sent(&mut streams, 0..20);
        let at = |frame: u16| 65_500_u16.wrapping_add(frame * 4 + 3);
        streams.report(800_000, &block(at(19), 0)).unwrap();
        // Ten frames were dropped; of the forty packets after them four are lost.
        sent(&mut streams, 30..40);
        let learned = streams.report(1_600_000, &block(at(39), 44)).unwrap();
        assert_eq!((learned.packets, learned.lost), (80, 4));
    }

    #[test]
    fn nonsense_is_no_news() {
        let mut streams = Streams::default();
        assert_eq!(streams.report(0, &block(1, 0)), None, "not sent");
        sent(&mut streams, 10..20);
        for highest in [0, 20_000, 65_000, 65_500_u16.wrapping_add(80)] {
            assert_eq!(streams.report(1_000_000, &block(highest, 0)), None);
        }
        let newest = block(65_500_u16.wrapping_add(79), -5);
        assert!(streams.report(1_000_000, &newest).is_some());
        assert_eq!(
            streams.report(1_100_000, &block(65_500_u16.wrapping_add(70), 0)),
            None,
            "older"
        );
        let wild = Block {
            lost: i32::MAX,
            ..newest
        };
        assert_eq!(streams.report(1_200_000, &wild).unwrap().lost, 0);
    }

    #[test]
    fn streams_are_bounded() {
        let mut streams = Streams::default();
        for ssrc in 0..10_000 {
            for packet in 0..3_u16 {
                streams.sent(i64::from(ssrc) * 1_000, ssrc, packet, 100);
            }
        }
        assert_eq!(streams.streams.len(), STREAMS);
        for packet in 0..10_000_u16 {
            streams.sent(i64::from(packet) * 20_000, 1, packet, 100);
        }
        let longest = streams.streams.iter().map(|stream| stream.samples.len());
        assert_eq!(longest.max(), Some(SAMPLES));
    }
}
