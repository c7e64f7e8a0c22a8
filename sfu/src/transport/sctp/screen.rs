//! The packets of a peer that rtc-sctp gets to see.
//!
//! rtc-sctp is told which TSNs came, and does acknowledgement, retransmission and congestion control; payloads go to
//! [`Reassembly`]. Some chunks would make it work or remember without bound, or give up over something harmless. These
//! are changed or withheld:
//!
//! - DATA becomes a chunk of one byte on one stream, which is whole and read at once;
//! - a FORWARD TSN far ahead, over which it would loop up to 2^31 times;
//! - SACKs whose blocks overlap, each of which it would walk;
//! - resets it could not perform yet, which it would keep and answer for every TSN that follows;
//! - ERROR and chunks it does not know, over which it would close the association or drop the packet.
//!
//! It also panics over an ABORT whose causes are cut short, and finds further chunks in the rest of a chunk that it
//! understands only in part. So its packets are written anew, with nothing left over.
//!
//! A packet that comes again is always shown again, so that it is acknowledged again.

use bytes::Bytes;

use super::packet::{Chunk, Packet, Rebuilt, array, kind};
use super::reassembly::{Data, Message, Reassembly, STREAMS};

/// The stream of every DATA chunk shown to rtc-sctp: no peer may use it.
pub(super) const SINK: u16 = u16::MAX;

/// Streams that one FORWARD TSN may name. Only ordered ones are named (RFC 3758 section 3.2), and a peer has one.
const MAX_SKIPPED: usize = 64;

/// Parameters: RFC 9260 section 3.3.5, RFC 6525 section 4.1 and 4.4, RFC 3758 section 3.1, RFC 5061
/// section 4.2.7.
const HEARTBEAT_INFO: u16 = 1;
const OUTGOING_RESET: u16 = 13;
const RESET_RESPONSE: u16 = 16;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;

/// The part of an INIT or INIT ACK that matters here (RFC 9260 section 3.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Init {
    /// The sender's verification tag of the association.
    pub(super) tag: u32,
    /// Its sender's first TSN.
    pub(super) tsn: u32,
}

impl Init {
    /// Reads an INIT or an INIT ACK.
    pub(super) fn parse(chunk: &Chunk<'_>) -> Option<Self> {
        Some(Self {
            tag: array(chunk.value, 0).map(u32::from_be_bytes)?,
            tsn: array(chunk.value, 12).map(u32::from_be_bytes)?,
        })
    }
}

/// The packet to show rtc-sctp for one that is a single INIT.
pub(super) fn admit_init(packet: &Packet<'_>, chunk: &Chunk<'_>) -> Option<Bytes> {
    let (fixed, mut rest) = chunk.value.split_at_checked(16)?;
    let mut forward_tsn = false;
    while let Some((kind, parameter, after)) = split_parameter(rest) {
        forward_tsn |= kind == FORWARD_TSN_SUPPORTED
            || (kind == SUPPORTED_EXTENSIONS && parameter[4..].contains(&kind::FORWARD_TSN));
        rest = after;
    }
    let extensions = [kind::RECONFIG, kind::FORWARD_TSN];
    let extensions = &extensions[..if forward_tsn { 2 } else { 1 }];
    let mut init = vec![kind::INIT, 0, 0, (24 + extensions.len()) as u8];
    init.extend_from_slice(fixed);
    init.extend(SUPPORTED_EXTENSIONS.to_be_bytes());
    init.extend([0, (4 + extensions.len()) as u8]);
    init.extend_from_slice(extensions);
    let mut admitted = Rebuilt::like(packet);
    admitted.push(&init);
    admitted.finish()
}

/// The screen of one association.
#[derive(Debug)]
pub(super) struct Screen {
    /// Names the association in packets to us.
    tag: u32,
    reassembly: Reassembly,
    /// The number of the last reset let through.
    last_reset: Option<u32>,
    malformed: u64,
}

impl Screen {
    pub(super) fn new(tag: u32, initial_tsn: u32, max_message: usize) -> Self {
        Self {
            tag,
            reassembly: Reassembly::new(initial_tsn, max_message),
            last_reset: None,
            malformed: 0,
        }
    }

    /// Whether a packet is of this association.
    pub(super) fn is_named_by(&self, packet: &Packet<'_>) -> bool {
        packet.tag() == self.tag
    }

    /// The packet to show rtc-sctp, if any. `open` are the streams in use.
    pub(super) fn admit(&mut self, packet: &Packet<'_>, open: &[u16]) -> Option<Bytes> {
        if packet.tag() != self.tag {
            self.malformed += 1;
            return None;
        }
        let mut admitted = Rebuilt::like(packet);
        let mut heartbeat = false;
        for chunk in packet.chunks() {
            let admit = match chunk.kind {
                kind::DATA => {
                    if let Some(husk) = self.data(&chunk) {
                        admitted.push(&husk);
                    }
                    continue;
                }
                kind::SACK => is_orderly_sack(chunk.value),
                // Each heartbeat is answered with a packet, so that only one is passed on.
                kind::HEARTBEAT => {
                    is_heartbeat(chunk.value) && !std::mem::replace(&mut heartbeat, true)
                }
                kind::FORWARD_TSN => self.forward(chunk.value).unwrap_or(false),
                kind::RECONFIG => self.reconfig(chunk.value, open).unwrap_or(false),
                kind::ABORT | kind::SHUTDOWN_ACK | kind::SHUTDOWN_COMPLETE => {
                    admitted.push(&[chunk.kind, 0, 0, 4]);
                    continue;
                }
                kind::SHUTDOWN => chunk.value.len() == 4,
                kind::COOKIE_ECHO => true,
                _ => continue,
            };
            if admit {
                admitted.push(chunk.raw);
            } else {
                self.malformed += 1;
            }
        }
        admitted.finish()
    }

    /// The next message that has become whole.
    pub(super) fn poll(&mut self) -> Option<Message> {
        self.reassembly.poll()
    }

    /// Bytes that messages hold which are not whole, or not due.
    pub(super) fn bytes(&self) -> usize {
        self.reassembly.bytes()
    }

    /// Sets whether memory is short.
    pub(super) fn set_short(&mut self, short: bool) {
        self.reassembly.set_short(short);
    }

    /// Messages dropped because they were larger than the limit.
    pub(super) fn oversized(&self) -> u64 {
        self.reassembly.oversized()
    }

    /// Chunks and messages dropped because no sender that follows the protocol sends them.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed + self.reassembly.malformed()
    }

    /// A chunk with the same TSN that rtc-sctp will take for a whole message.
    fn data(&mut self, chunk: &Chunk<'_>) -> Option<[u8; 20]> {
        const IMMEDIATE_SACK: u8 = 8;
        const WHOLE_UNORDERED: u8 = 7;
        const ONE_BYTE: u8 = 17;
        let Some(data) = parse_data(chunk) else {
            self.malformed += 1;
            return None;
        };
        if !self.reassembly.data(&data) {
            return None;
        }
        let mut husk = [0; 20];
        husk[0] = kind::DATA;
        husk[1] = chunk.flags & IMMEDIATE_SACK | WHOLE_UNORDERED;
        husk[3] = ONE_BYTE;
        husk[4..8].copy_from_slice(&data.tsn.to_be_bytes());
        husk[8..10].copy_from_slice(&SINK.to_be_bytes());
        Some(husk)
    }

    fn forward(&mut self, value: &[u8]) -> Option<bool> {
        let tsn = u32::from_be_bytes(array(value, 0)?);
        let (skipped, rest) = value.get(4..)?.as_chunks::<4>();
        if skipped.len() > MAX_SKIPPED || !rest.is_empty() {
            return None;
        }
        let skipped = skipped
            .iter()
            .map(|&[s0, s1, n0, n1]| (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([n0, n1])));
        Some(self.reassembly.forward(tsn, skipped))
    }

    fn reconfig(&mut self, value: &[u8], open: &[u16]) -> Option<bool> {
        let mut rest = value;
        // RFC 6525 section 3.1: one parameter or two.
        for _ in 0..2 {
            let (kind, parameter, after) = split_parameter(rest)?;
            match kind {
                OUTGOING_RESET => {
                    if !self.outgoing_reset(parameter, open)? {
                        return Some(false);
                    }
                }
                // Fields that only answer requests the server never makes are left out.
                RESET_RESPONSE if parameter.len() == 12 => {}
                _ => return None,
            }
            rest = after;
            if rest.is_empty() {
                return Some(true);
            }
        }
        None
    }

    /// Handles a reset (RFC 6525 section 5.2.2). One that cannot be performed yet counts as lost: the peer asks again.
    fn outgoing_reset(&mut self, parameter: &[u8], open: &[u16]) -> Option<bool> {
        let number = u32::from_be_bytes(array(parameter, 4)?);
        let last_tsn = u32::from_be_bytes(array(parameter, 12)?);
        let (streams, rest) = parameter.get(16..)?.as_chunks::<2>();
        let streams = streams.iter().map(|stream| u16::from_be_bytes(*stream));
        if !rest.is_empty() || streams.clone().any(|stream| stream >= STREAMS) {
            return None;
        }
        if !self.reassembly.has_all_to(last_tsn) {
            return Some(false);
        }
        if self.last_reset == Some(number) {
            // Performed already. Our answer was lost, unless the stream is in use again.
            return Some(!streams.clone().any(|stream| open.contains(&stream)));
        }
        self.last_reset = Some(number);
        self.reassembly.reset(streams);
        Some(true)
    }
}

/// A parameter's type, all of it, and what follows its padding.
fn split_parameter(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let kind = u16::from_be_bytes(array(bytes, 0)?);
    let len = usize::from(u16::from_be_bytes(array(bytes, 2)?));
    let parameter = bytes.get(..len).filter(|parameter| parameter.len() >= 4)?;
    let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, parameter, rest))
}

fn is_heartbeat(value: &[u8]) -> bool {
    matches!(split_parameter(value), Some((HEARTBEAT_INFO, _, [])))
}

/// RFC 9260 section 3.3.1. One without payload is an error there.
fn parse_data<'a>(chunk: &Chunk<'a>) -> Option<Data<'a>> {
    let value = chunk.value;
    Some(Data {
        tsn: u32::from_be_bytes(array(value, 0)?),
        stream: u16::from_be_bytes(array(value, 4)?),
        ssn: u16::from_be_bytes(array(value, 6)?),
        ppid: u32::from_be_bytes(array(value, 8)?),
        unordered: chunk.flags & 4 != 0,
        begin: chunk.flags & 2 != 0,
        end: chunk.flags & 1 != 0,
        payload: value.get(12..).filter(|payload| !payload.is_empty())?,
    })
}

/// RFC 9260 section 3.3.4: blocks are in order and apart.
fn is_orderly_sack(value: &[u8]) -> bool {
    let Some([b0, b1, d0, d1]) = array(value, 8) else {
        return false;
    };
    let count = usize::from(u16::from_be_bytes([b0, b1]));
    let duplicates = usize::from(u16::from_be_bytes([d0, d1]));
    let Some(lists) = value
        .get(12..)
        .filter(|l| l.len() == 4 * (count + duplicates))
    else {
        return false;
    };
    let mut last = 0;
    lists
        .as_chunks::<4>()
        .0
        .iter()
        .take(count)
        .all(|&[s0, s1, e0, e1]| {
            let (start, end) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([e0, e1]));
            let orderly = start > last && end >= start;
            last = end;
            orderly
        })
}

#[cfg(test)]
mod tests {
    use super::super::packet::packet;
    use super::*;

    const TAG: u32 = 0x0102_0304;

    fn screen() -> Screen {
        Screen::new(TAG, 100, 1_000)
    }

    /// The kinds admitted of a packet with these chunks.
    fn admitted(screen: &mut Screen, chunks: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
        let bytes = packet(TAG, chunks);
        let Some(bytes) = screen.admit(&Packet::parse(&bytes).unwrap(), &[0]) else {
            return Vec::new();
        };
        Packet::parse(&bytes)
            .unwrap()
            .chunks()
            .map(|chunk| chunk.kind)
            .collect()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn data(tsn: u32) -> (u8, u8, Vec<u8>) {
        (
            kind::DATA,
            3,
            [words(&[tsn, tsn - 100, 51]), vec![b'x'; 10]].concat(),
        )
    }

    #[test]
    fn data_is_replaced_by_a_byte_and_delivered() {
        let mut screen = screen();
        let bytes = packet(
            TAG,
            &[(
                kind::DATA,
                8 | 3,
                [words(&[100, 0, 51]), vec![7; 900]].concat(),
            )],
        );
        let admitted = screen.admit(&Packet::parse(&bytes).unwrap(), &[]).unwrap();
        assert_eq!(admitted.len(), 12 + 20);
        let message = screen.poll().unwrap();
        assert_eq!(
            (message.stream, message.ppid, message.payload),
            (0, 51, vec![7; 900])
        );
        // Shown again, delivered once.
        assert!(screen.admit(&Packet::parse(&bytes).unwrap(), &[]).is_some());
        assert!(screen.poll().is_none());
    }

    #[test]
    fn harmful_and_foreign_chunks_are_left_out() {
        let sack = |blocks: &[(u16, u16)]| {
            let mut value = words(&[1, 65_536, (blocks.len() as u32) << 16]);
            for (start, end) in blocks {
                value.extend(start.to_be_bytes());
                value.extend(end.to_be_bytes());
            }
            (kind::SACK, 0, value)
        };
        let reset = |number, last_tsn, stream: u16| {
            let mut value = words(&[(13 << 16) | 18, number, 0, last_tsn]);
            value.extend(stream.to_be_bytes());
            (kind::RECONFIG, 0, value)
        };
        for (name, chunk, expected) in [
            (
                "data without payload",
                (kind::DATA, 3, words(&[100, 0, 51])),
                false,
            ),
            ("data far ahead", data(100_000), false),
            (
                "data of a stream too high",
                (kind::DATA, 3, words(&[100, 256 << 16, 51, 1])),
                false,
            ),
            ("forward", (kind::FORWARD_TSN, 0, words(&[105, 1])), true),
            (
                "forward far ahead",
                (kind::FORWARD_TSN, 0, words(&[0x4000_0000])),
                false,
            ),
            ("forward cut", (kind::FORWARD_TSN, 0, vec![0; 6]), false),
            ("sack", sack(&[]), true),
            ("sack of blocks", sack(&[(2, 3), (5, 5)]), true),
            ("sack of overlapping blocks", sack(&[(2, 9), (2, 9)]), false),
            ("sack of a block backwards", sack(&[(9, 2)]), false),
            (
                "sack cut",
                (kind::SACK, 0, words(&[1, 1, 0xffff_ffff])),
                false,
            ),
            ("reset", reset(1, 99, 0), true),
            ("reset of what is to come", reset(1, 200, 0), false),
            ("reset of a stream too high", reset(1, 99, 256), false),
            (
                "adding streams",
                (kind::RECONFIG, 0, words(&[(17 << 16) | 12, 1, 1 << 16])),
                false,
            ),
            ("error", (9, 0, words(&[6 << 16 | 4])), false),
            ("unknown", (0x55, 0, vec![]), false),
            ("abort", (kind::ABORT, 0, vec![]), true),
            ("shutdown", (kind::SHUTDOWN, 0, vec![0; 4]), true),
            ("shutdown with more", (kind::SHUTDOWN, 0, vec![0; 8]), false),
            (
                "heartbeat",
                (kind::HEARTBEAT, 0, words(&[1 << 16 | 8, 0])),
                true,
            ),
            (
                "heartbeat with more",
                (kind::HEARTBEAT, 0, words(&[1 << 16 | 4, 0])),
                false,
            ),
            (
                "response",
                (kind::RECONFIG, 0, words(&[16 << 16 | 12, 1, 1])),
                true,
            ),
            (
                "longer response",
                (kind::RECONFIG, 0, words(&[16 << 16 | 20, 1, 1, 1, 1])),
                false,
            ),
        ] {
            let got = !admitted(&mut screen(), std::slice::from_ref(&chunk)).is_empty();
            assert_eq!(got, expected, "{name}");
        }
        let heartbeat = (kind::HEARTBEAT, 0, words(&[1 << 16 | 8, 0]));
        assert_eq!(
            admitted(
                &mut screen(),
                &[heartbeat.clone(), heartbeat.clone(), data(100), heartbeat]
            ),
            vec![kind::HEARTBEAT, kind::DATA]
        );
    }

    #[test]
    fn a_reset_comes_again_but_not_over_a_stream_in_use() {
        let mut screen = screen();
        let reset = |stream: u16| {
            let mut value = words(&[(13 << 16) | 18, 5, 0, 99]);
            value.extend(stream.to_be_bytes());
            vec![(kind::RECONFIG, 0, value)]
        };
        assert_eq!(admitted(&mut screen, &reset(0)).len(), 1);
        assert_eq!(admitted(&mut screen, &reset(0)).len(), 0);
        assert_eq!(admitted(&mut screen, &reset(2)).len(), 1);
    }

    #[test]
    fn a_packet_of_another_association_is_not_admitted() {
        let bytes = packet(TAG + 1, &[data(100)]);
        let mut screen = screen();
        assert!(screen.admit(&Packet::parse(&bytes).unwrap(), &[]).is_none());
        assert!(screen.poll().is_none());
        assert_eq!(screen.malformed(), 1);
    }

    #[test]
    fn nothing_is_hidden_behind_what_is_understood() {
        let hidden = words(&[0xc000_0008, 0x4000_0000]);
        for kind in [kind::ABORT, kind::SHUTDOWN_ACK, kind::SHUTDOWN_COMPLETE] {
            let bytes = packet(TAG, &[(kind, 0, hidden.clone())]);
            let bytes = screen()
                .admit(&Packet::parse(&bytes).unwrap(), &[])
                .unwrap();
            assert_eq!(bytes.len(), 16);
        }
        // An INIT is reduced to the parameters that are understood.
        let fixed = words(&[7, 1 << 16, 0xffff_ffff, 9]);
        for (parameters, forward_tsn) in [
            (vec![], false),
            (words(&[0xc000_0004]), true),
            (words(&[0x8008_0006, 0x82c0_0000]), true),
            (words(&[0x8008_0005, 0x8200_0000]), false),
            (
                words(&[0x8001_0008, 1, 0x0005_0008, 0x7f00_0001, 0xc000_0004]),
                true,
            ),
            (words(&[0x8001_0008, 1, 0x8008_ffff, 0xc000_0004]), false),
        ] {
            let bytes = packet(0, &[(kind::INIT, 0, [fixed.clone(), parameters].concat())]);
            let packet = Packet::parse(&bytes).unwrap();
            let chunk = packet.chunks().next().unwrap();
            let admitted = admit_init(&packet, &chunk).unwrap();
            let admitted = Packet::parse(&admitted)
                .unwrap()
                .chunks()
                .next()
                .unwrap()
                .raw
                .to_vec();
            assert_eq!(admitted[4..20], fixed);
            assert_eq!(admitted[24..].contains(&kind::FORWARD_TSN), forward_tsn);
        }
    }
}
