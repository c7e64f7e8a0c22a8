//! Transport-wide congestion control feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).

use super::write::{packet, put};
use super::{TRANSPORT_CC, TRANSPORT_FEEDBACK};

/// Arrival times are counted in ticks of 250 us.
pub const TICKS_PER_SECOND: i64 = 4_000;

/// Statuses kept of one feedback packet. Browsers report at least every 250 ms, and 100 Mbit/s of
/// 1,200-byte packets are 2,604 in that time. A viewer back from an outage may report more, as one
/// long run of losses ahead of what arrived: the newest are kept.
pub const MAX_STATUSES: usize = 4_096;

/// The reference time counts 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;

/// A feedback packet: which packets of a run arrived, and when.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransportFeedback {
    /// Who reports.
    pub sender: u32,
    /// One of the streams reported on.
    pub media: u32,
    /// Counts feedback packets, wrapping: a gap is feedback that was lost.
    pub feedback_count: u8,
    /// By transport-wide sequence number, consecutive: when each arrived, in ticks of 250 us since
    /// an epoch of the receiver's, or `None` if it did not. The epoch is that of a 24-bit counter
    /// of 64 ms, so times wrap at 2^32 ticks, every 12 days.
    pub statuses: Vec<(u16, Option<i64>)>,
}

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

impl TransportFeedback {
    /// From the bytes behind the RTCP header. Costs no more than the larger of the bytes given
    /// and [`MAX_STATUSES`].
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
        let mut statuses = Vec::with_capacity(count - skipped);
        let mut arrival = i64::from(reference) * TICKS_PER_REFERENCE;
        let mut index = 0;
        let mut chunks = Chunks {
            bytes: rest,
            left: count,
        };
        while let Some(chunk) = chunks.next() {
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
                    statuses.push((base.wrapping_add((index + at) as u16), received));
                }
            }
            index += chunk.len;
        }
        Some(Self {
            sender,
            media,
            feedback_count,
            statuses,
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

/// Appends a feedback packet and returns how many of `arrivals` it covers. They belong to
/// consecutive packets from `base` on, in ticks since an epoch of the caller's, not negative.
///
/// It ends early, for the caller to write another from there on, where two arrivals are more than
/// 8 s apart or it has grown to about 1,000 bytes. Losses ahead of the first arrival are covered;
/// without any arrival nothing is written and 0 returned: the draft has no way to say that, for the
/// reference time is that of a packet.
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
