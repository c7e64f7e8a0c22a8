//! When which packet of a stream was sent: with that a receiver report (RFC 3550 section 6.4.1) tells more
//! than it says. It names the highest number that came, so that what was sent up to there arrived or is
//! lost, and the packet behind it had not come when the report was written: it was on its way since it
//! was sent, and that is a bound of the queue from below, whatever clocks and pauses say.

use std::collections::VecDeque;

use crate::rtp::sequence::Extender;

/// Between two samples, in microseconds: a frame's packets leave together.
const SPACING_US: i64 = 10_000;
/// Samples of a stream: five seconds, in 12 KiB. Who reports more rarely is heard all the same, but for
/// delay.
const SAMPLES: usize = 512;
/// A stream that sent nothing for so long has stopped.
const CURRENT_US: i64 = 500_000;
/// Streams: an m-line has one, and an offer has 256 m-lines. The one silent longest makes room.
const STREAMS: usize = 256;

/// Of all that one viewer is sent, by SSRC.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// The one sent last: packets come in runs of one.
    latest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: i64,
    sequence: u64,
    /// Sent of the stream before it.
    before: Sent,
}

/// How much was sent.
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
    /// The highest number sent, and when.
    newest: (u64, i64),
    /// The last report.
    reported: Option<Reported>,
    /// Bits a second that arrived, and how long the report of it is good for.
    rate: Option<(f64, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Reported {
    at: i64,
    highest: u64,
    /// When that was sent.
    until: i64,
    lost: i32,
    /// Packets and bytes up to there.
    packets: f64,
    bytes: f64,
}

/// What a report says of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// The stream.
    pub(crate) ssrc: u32,
    /// The highest number received; cycles are not looked at.
    pub(crate) highest: u16,
    /// Lost since the beginning, as the receiver counts.
    pub(crate) lost: i32,
    /// Lost since the last report (0 to 1).
    pub(crate) fraction: f64,
}

/// What was learned of it. Times in microseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Learned {
    /// Packets since the last report, and how many of them were lost.
    pub(super) packets: u64,
    pub(super) lost: u64,
    /// When the first and the last of them were sent.
    pub(super) since: i64,
    pub(super) until: i64,
    /// Out and back took this at most, for the last that came.
    pub(super) at_most: i64,
    /// And this at least, for the first that had not come; and when that was sent.
    pub(super) at_least: Option<(i64, i64)>,
}

impl Streams {
    /// Notes a packet of `bytes`.
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

    /// Takes a report; none of a stream that was not sent, or if nothing came of what was.
    pub(super) fn report(&mut self, now: i64, block: &Block) -> Option<Learned> {
        let at = self.find(block.ssrc)?;
        self.streams.get_mut(at)?.report(now, block)
    }

    /// What arrives, bits a second; none before two reports of a stream.
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
        // A number whose packet waited here and was given up looks lost.
        let left_out = (packets as f64 - (sent - before.packets).max(0.0)).max(0.0) as u64;
        // The share is since the receiver's last report, of which some may not have come here; the count is
        // complete where it is kept, and begins with the stream.
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
        // Of a stream that stopped the next packet may be lost for ever.
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

    /// The last sample that is not behind a number.
    fn sample(&self, sequence: u64) -> Option<usize> {
        let behind = self
            .samples
            .partition_point(|sample| sample.sequence <= sequence);
        behind.checked_sub(1)
    }

    /// Packets and bytes up to a number, which lies behind a sample and before the next.
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

    /// When the packet behind a number had left at the latest.
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
        // Nothing more is on its way: there is no bound from below.
        let all = streams.report(3_100_000, &block(at(75), 20)).unwrap();
        assert_eq!((all.packets, all.at_least), (4, None));
    }

    #[test]
    fn a_queue_shows_in_what_has_not_come() {
        let mut streams = Streams::default();
        sent(&mut streams, 0..51);
        let at = |frame: u16| 65_500_u16.wrapping_add(frame * 4 + 3);
        // Frame 37 is the last that came: what left 40 ms later waits for half a second.
        let waiting = streams.report(2_020_000, &block(at(37), 0)).unwrap();
        assert_eq!(waiting.at_least, Some((490_000, 1_530_000)));
        // Nothing has come since: that is no news of what was sent.
        assert_eq!(streams.report(2_120_000, &block(at(37), 0)), None);
        // Nothing is sent any more: it may be lost.
        let late = streams.report(2_620_000, &block(at(39), 0)).unwrap();
        assert_eq!(late.at_least, None);
    }

    #[test]
    fn what_was_left_out_here_was_not_lost() {
        let mut streams = Streams::default();
        sent(&mut streams, 0..20);
        let at = |frame: u16| 65_500_u16.wrapping_add(frame * 4 + 3);
        streams.report(800_000, &block(at(19), 0)).unwrap();
        // Ten frames were given up; of the forty packets after them four are lost.
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
