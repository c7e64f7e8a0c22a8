//! Transport-wide congestion control feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).

use super::write::{packet, put};
use super::{TRANSPORT_CC, TRANSPORT_FEEDBACK};

/// Arrival times are counted in ticks of 250 us.
pub const TICKS_PER_SECOND: i64 = 4_000;

/// Statuses kept of one feedback packet, at most. Browsers report at least every 250 ms, and 100 Mbit/s of 1,200-byte
/// packets are 2,604 in that time. A viewer back from an outage may report more, as one long run of losses before the
/// packets that arrived: the newest are kept.
pub const MAX_STATUSES: usize = 4_096;

/// The reference time counts 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;

/// A feedback packet: which packets of a run arrived, and when.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransportFeedback {
    /// The reporting receiver.
    pub sender: u32,
    /// One of the streams reported on.
    pub media: u32,
    /// Counts feedback packets, wrapping: a gap means that feedback was lost.
    pub feedback_count: u8,
    /// The transport-wide sequence number of the first packet reported on.
    pub base: u16,
    /// Arrival of that packet and of each following one, in ticks of 250 us since an epoch of the receiver's; `None` if
    /// it did not arrive. The epoch is that of a 24-bit counter of 64 ms, so times wrap at 2^32 ticks, every 12 days.
    pub arrivals: Vec<Option<i64>>,
}

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

impl TransportFeedback {
    /// The arrivals with their transport-wide sequence numbers.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, Option<i64>)> {
        let arrivals = self.arrivals.iter().enumerate();
        arrivals.map(|(at, arrival)| (self.base.wrapping_add(at as u16), *arrival))
    }

    /// Parses the bytes after the RTCP header. The cost is bounded by the larger of the given bytes and
    /// [`MAX_STATUSES`].
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (head, rest) = body.split_first_chunk::<16>()?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (sender, media) = (word(0), word(4));
        let (base, count) = ((word(8) >> 16) as u16, word(8) as u16 as usize);
        let (reference, feedback_count) = (word(12) >> 8, word(12) as u8);

        let mut chunks = Chunks {
            bytes: rest,
            left: count,
        };
        // The deltas begin where the chunks end, which only walking them tells.
        while chunks.left > 0 {
            chunks.next()?;
        }
        let mut deltas = chunks.bytes;

        let skipped = count.saturating_sub(MAX_STATUSES);
        let mut arrivals = Vec::with_capacity(count - skipped);
        let mut arrival = i64::from(reference) * TICKS_PER_REFERENCE;
        let mut index = 0;
        for chunk in (Chunks {
            bytes: rest,
            left: count,
        }) {
            let mut at = 0;
            if chunk.is_lost_run() {
                // The only kind of chunk that costs no bytes for each status it has.
                at = chunk.len.min(skipped.saturating_sub(index));
            }
            for at in at..chunk.len {
                let received = match chunk.symbol(at) {
                    NOT_RECEIVED => None,
                    SMALL_DELTA => {
                        let ([delta], after) = deltas.split_first_chunk::<1>()?;
                        deltas = after;
                        Some(i64::from(*delta))
                    }
                    LARGE_DELTA => {
                        let (delta, after) = deltas.split_first_chunk::<2>()?;
                        deltas = after;
                        Some(i64::from(i16::from_be_bytes(*delta)))
                    }
                    // Reserved.
                    _ => return None,
                };
                let received = received.map(|delta| {
                    arrival += delta;
                    arrival
                });
                if index + at >= skipped {
                    arrivals.push(received);
                }
            }
            index += chunk.len;
        }
        Some(Self {
            sender,
            media,
            feedback_count,
            base: base.wrapping_add(skipped as u16),
            arrivals,
        })
    }
}

/// A status chunk, cut to the statuses that count.
struct Chunk {
    word: u16,
    len: usize,
}

impl Chunk {
    fn symbol(&self, at: usize) -> u8 {
        let word = self.word;
        match word >> 14 {
            0b10 => (word >> (13 - at) & 1) as u8,
            0b11 => (word >> (12 - 2 * at) & 3) as u8,
            _ => (word >> 13 & 3) as u8,
        }
    }

    fn is_lost_run(&self) -> bool {
        self.word >> 13 == u16::from(NOT_RECEIVED)
    }
}

struct Chunks<'a> {
    bytes: &'a [u8],
    /// Statuses still to come.
    left: usize,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.left == 0 {
            return None;
        }
        let (word, rest) = self.bytes.split_first_chunk::<2>()?;
        let word = u16::from_be_bytes(*word);
        let len = match word >> 14 {
            0b10 => 14,
            0b11 => 7,
            _ => (word & MAX_RUN as u16) as usize,
        };
        let len = len.min(self.left);
        self.bytes = rest;
        self.left -= len;
        Some(Chunk { word, len })
    }
}

/// Run lengths have 13 bits.
const MAX_RUN: usize = 0x1fff;

/// A feedback packet is closed at this size, so that a compound with it fits a datagram.
const MAX_BYTES: usize = 1_000;

/// Appends a feedback packet and returns how many of `arrivals` it covers. These belong to consecutive packets from
/// `base` on, in ticks since an epoch of the caller's, not negative.
///
/// The packet ends early where two arrivals are more than 8 s apart, or at about 1,000 bytes; the caller then writes
/// another from there on. Losses before the first arrival are covered. Without any arrival nothing is written and 0
/// returned: the draft cannot express that, as the reference time is that of a packet.
pub fn write_feedback(
    out: &mut Vec<u8>,
    sender: u32,
    media: u32,
    feedback_count: u8,
    base: u16,
    arrivals: &[Option<i64>],
) -> usize {
    let Some(first) = arrivals.iter().flatten().next() else {
        return 0;
    };
    let reference = first.div_euclid(TICKS_PER_REFERENCE);
    let mut last = reference * TICKS_PER_REFERENCE;
    let mut symbols = Vec::with_capacity(arrivals.len().min(MAX_STATUSES));
    let mut deltas = Vec::new();
    for arrival in arrivals.iter().take(MAX_STATUSES) {
        // Seven symbols fit a chunk of two bytes at worst.
        if symbols.len() * 2 / 7 + deltas.len() > MAX_BYTES {
            break;
        }
        let Some(arrival) = arrival else {
            symbols.push(NOT_RECEIVED);
            continue;
        };
        let delta = arrival - last;
        if let Ok(delta) = u8::try_from(delta) {
            symbols.push(SMALL_DELTA);
            deltas.push(delta);
        } else if let Ok(delta) = i16::try_from(delta) {
            symbols.push(LARGE_DELTA);
            deltas.extend_from_slice(&delta.to_be_bytes());
        } else {
            break;
        }
        last = *arrival;
    }
    packet(out, TRANSPORT_FEEDBACK, TRANSPORT_CC, |out| {
        put(out, sender);
        put(out, media);
        put(out, u32::from(base) << 16 | symbols.len() as u32);
        put(out, (reference as u32) << 8 | u32::from(feedback_count));
        let mut rest = symbols.as_slice();
        while !rest.is_empty() {
            let (word, len) = encode_chunk(rest);
            out.extend_from_slice(&word.to_be_bytes());
            rest = &rest[len..];
        }
        out.extend_from_slice(&deltas);
    });
    symbols.len()
}

/// The chunk that covers most of the symbols ahead (at least one), and how many.
fn encode_chunk(symbols: &[u8]) -> (u16, usize) {
    let run = symbols
        .iter()
        .take(MAX_RUN)
        .take_while(|symbol| **symbol == symbols[0])
        .count();
    let narrow = symbols
        .iter()
        .take(14)
        .take_while(|symbol| **symbol <= SMALL_DELTA)
        .count();
    // A vector that ends early stands for the end of the list, else for losses that are none.
    let narrow_fits = narrow == 14 || narrow == symbols.len();
    if run == symbols.len() || run >= 14 || (run >= 7 && !narrow_fits) {
        return (u16::from(symbols[0]) << 13 | run as u16, run);
    }
    let (width, len, mark) = if narrow_fits {
        (1, narrow, 0b10)
    } else {
        (2, symbols.len().min(7), 0b11)
    };
    let word = symbols[..len]
        .iter()
        .enumerate()
        .fold(mark << 14, |word, (at, symbol)| {
            word | u16::from(*symbol) << (14 - width * (at + 1))
        });
    (word, len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Rtcp, RtcpError, parse_compound};
    use super::*;

    fn read(bytes: &[u8]) -> Option<TransportFeedback> {
        let packets: Vec<_> = parse_compound(bytes).collect();
        match packets.as_slice() {
            [Ok(Rtcp::Twcc(feedback))] => Some(feedback.clone()),
            [Err(RtcpError::Content)] => None,
            _ => panic!("{packets:?}"),
        }
    }

    /// A packet with these chunks and deltas.
    fn feedback(count: u16, chunks: &[u16], deltas: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        packet(&mut out, TRANSPORT_FEEDBACK, TRANSPORT_CC, |out| {
            put(out, 1);
            put(out, 2);
            put(out, 0xfffe << 16 | u32::from(count));
            put(out, 3 << 8 | 9);
            for chunk in chunks {
                out.extend_from_slice(&chunk.to_be_bytes());
            }
            out.extend_from_slice(deltas);
        });
        out
    }

    #[test]
    fn chunks_are_read() {
        const REFERENCE: i64 = 3 * TICKS_PER_REFERENCE;
        let at = |ticks: i64| Some(REFERENCE + ticks);
        type Case<'a> = (&'a str, Vec<u8>, Option<Vec<Option<i64>>>);
        let cases: [Case; 10] = [
            ("nothing", feedback(0, &[], &[]), Some(vec![])),
            (
                "a run of small deltas",
                feedback(3, &[0x2003], &[1, 2, 255]),
                Some(vec![at(1), at(3), at(258)]),
            ),
            (
                "a run of large deltas, one backwards",
                feedback(2, &[0x4002], &[0x01, 0x00, 0xff, 0xff]),
                Some(vec![at(256), at(255)]),
            ),
            (
                "one bit each, more than count",
                feedback(3, &[0b1010_1111_1111_1111], &[1, 1]),
                Some(vec![at(1), None, at(2)]),
            ),
            (
                "two bits each, then a run",
                feedback(9, &[0b1101_0010_0000_0001, 0x2002], &[1, 0, 9, 1, 1, 1]),
                Some(vec![
                    at(1),
                    None,
                    at(10),
                    None,
                    None,
                    None,
                    at(11),
                    at(12),
                    at(13),
                ]),
            ),
            (
                "a run of nothing",
                feedback(2, &[0x2000, 0x2002], &[1, 1]),
                Some(vec![at(1), at(2)]),
            ),
            ("a delta missing", feedback(5, &[0x2005], &[1]), None),
            ("half a delta", feedback(2, &[0x4002], &[0, 1]), None),
            ("a chunk missing", feedback(20, &[0x2001], &[]), None),
            ("the reserved symbol", feedback(1, &[0x6001], &[1, 1]), None),
        ];
        for (what, bytes, expected) in cases {
            let read = read(&bytes);
            assert_eq!(read.is_some(), expected.is_some(), "{what}");
            let Some(read) = read else { continue };
            assert_eq!((read.sender, read.media, read.feedback_count), (1, 2, 9));
            let arrivals = read.arrivals.iter().copied();
            assert_eq!(Some(arrivals.collect()), expected, "{what}");
            for (index, (sequence, _)) in read.statuses().enumerate() {
                assert_eq!(sequence, 0xfffe_u16.wrapping_add(index as u16), "{what}");
            }
        }
    }

    #[test]
    fn the_newest_of_too_many_are_kept() {
        // 65,530 lost in runs, then five that arrived.
        let chunks = [[0x1fff; 8].as_slice(), &[0x0002, 0x2005]].concat();
        let bytes = feedback(65_535, &chunks, &[1; 5]);
        let read = read(&bytes).unwrap();
        assert_eq!(read.arrivals.len(), MAX_STATUSES);
        let arrived: Vec<_> = read
            .statuses()
            .filter(|status| status.1.is_some())
            .collect();
        assert_eq!(arrived.len(), 5);
        assert_eq!(arrived.last(), read.statuses().last().as_ref());
        assert_eq!(arrived[4].0, 0xfffe_u16.wrapping_add(65_534));
    }

    #[test]
    fn a_run_that_claims_much_costs_nothing() {
        let bytes = feedback(65_535, &[0x3fff; 9], &[]);
        assert!(read(&bytes).is_none());
    }

    #[test]
    fn long_lists_take_several_packets() {
        let cases: [(&str, Vec<Option<i64>>, usize); 4] = [
            (
                "a steady stream",
                (0..600).map(|at| Some(at * 4)).collect(),
                1,
            ),
            (
                "ten seconds of silence",
                vec![Some(0), Some(40_000), Some(40_001)],
                2,
            ),
            (
                "large deltas",
                (0..1_000).map(|at| Some(at * 300)).collect(),
                3,
            ),
            (
                "an outage",
                [vec![Some(0)], vec![None; 9_000], vec![Some(5), Some(6)]].concat(),
                3,
            ),
        ];
        for (what, arrivals, expected) in cases {
            let (mut from, mut packets) = (0, 0);
            while from < arrivals.len() {
                let mut out = Vec::new();
                let covered = write_feedback(&mut out, 1, 2, 3, from as u16, &arrivals[from..]);
                assert!(covered > 0 && out.len() <= 1_100, "{what}: {}", out.len());
                let read = read(&out).expect(what);
                let found = read.arrivals;
                assert_eq!(found, &arrivals[from..from + covered], "{what}");
                from += covered;
                packets += 1;
            }
            assert_eq!(packets, expected, "{what}");
        }
        let mut out = Vec::new();
        assert_eq!(write_feedback(&mut out, 1, 2, 3, 0, &[None; 5]), 0);
        assert!(out.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn random_feedback_never_panics(count: u16, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(read) = read(&feedback(count, &[], &body)) {
                prop_assert_eq!(read.arrivals.len(), MAX_STATUSES.min(count as usize));
            }
        }
    }
}
