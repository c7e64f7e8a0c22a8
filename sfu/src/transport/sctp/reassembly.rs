//! Reassembles a peer's DATA chunks into messages (RFC 9260 section 6.5 to 6.9), within bounds.
//!
//! rtc-sctp reassembles too, but lets a peer fill memory: it keeps incomplete messages for ever, accepts any number of
//! empty chunks and streams, and continues an endless message past its own window. So rtc-sctp is told only which TSNs
//! came (see [`super::screen`]), and this module holds the payloads. The bound follows from one observation: a sender
//! assigns TSNs in order. Once every TSN up to some point has come, everything before it is complete, except for the
//! one message that was cut there.

use std::collections::{BTreeMap, VecDeque};

/// Streams a peer may use, from 0. Two are needed; browsers pick the lowest free even numbers.
pub(super) const STREAMS: u16 = 256;
/// TSNs taken ahead of the first missing one, 20,000 messages a second at a round trip of 100 ms.
pub(super) const WINDOW: u32 = 2_048;
/// Payload bytes held because something before them is missing; also the bytes that the peer may have in flight. 20
/// Mbit/s at a round trip of 100 ms.
pub(super) const BUFFER_BYTES: usize = 256 * 1_024;

/// A DATA chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data<'a> {
    pub(super) tsn: u32,
    pub(super) stream: u16,
    pub(super) ssn: u16,
    pub(super) ppid: u32,
    pub(super) unordered: bool,
    pub(super) begin: bool,
    pub(super) end: bool,
    pub(super) payload: &'a [u8],
}

/// A whole message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) stream: u16,
    pub(super) ppid: u32,
    pub(super) payload: Vec<u8>,
}

/// Turns chunks in any order into messages.
#[derive(Debug)]
pub(super) struct Reassembly {
    max_message: usize,
    /// The first TSN missing; `slots` begins there.
    next: u32,
    slots: VecDeque<Slot>,
    /// The message cut at `next`.
    partial: Option<Partial>,
    /// The next stream sequence number of each stream.
    expected: Box<[u16]>,
    /// Ordered messages that wait for an earlier one of their stream.
    held: BTreeMap<(u16, u16), Held>,
    held_bytes: usize,
    /// No more is held than must be.
    short: bool,
    /// Complete, in the order of delivery.
    messages: VecDeque<Message>,
    oversized: u64,
    malformed: u64,
}

#[derive(Debug)]
enum Slot {
    Missing,
    Done,
    Fragment(Fragment),
}

#[derive(Debug)]
struct Fragment {
    head: Head,
    begin: bool,
    end: bool,
    payload: Vec<u8>,
}

/// The fields that the fragments of a message share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    stream: u16,
    ssn: u16,
    ppid: u32,
    unordered: bool,
}

#[derive(Debug)]
struct Partial {
    head: Head,
    /// The payload; none once it has grown too large.
    payload: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Held {
    tsn: u32,
    ppid: u32,
    /// The payload; none if it was too large, in which case its number still counts as used.
    payload: Option<Vec<u8>>,
}

impl Held {
    fn len(&self) -> usize {
        self.payload.as_ref().map_or(0, Vec::len)
    }
}

impl Reassembly {
    pub(super) fn new(initial_tsn: u32, max_message: usize) -> Self {
        Self {
            max_message,
            next: initial_tsn,
            slots: VecDeque::new(),
            partial: None,
            expected: vec![0; usize::from(STREAMS)].into_boxed_slice(),
            held: BTreeMap::new(),
            held_bytes: 0,
            short: false,
            messages: VecDeque::new(),
            oversized: 0,
            malformed: 0,
        }
    }

    /// Accepts a chunk, or recognises a repeated one. False if there is no room, and the peer must send it again.
    pub(super) fn data(&mut self, data: &Data<'_>) -> bool {
        let ahead = data.tsn.wrapping_sub(self.next);
        if is_behind(ahead) {
            return true;
        }
        if ahead >= WINDOW || data.stream >= STREAMS {
            return false;
        }
        let at = ahead as usize;
        if !matches!(self.slots.get(at), None | Some(Slot::Missing)) {
            return true;
        }
        // The first missing chunk is what frees the others, so it is always taken.
        let full = self.held_bytes + data.payload.len() > BUFFER_BYTES;
        if at > 0 && (full || self.short) {
            return false;
        }
        while self.slots.len() <= at {
            self.slots.push_back(Slot::Missing);
        }
        let head = Head {
            stream: data.stream,
            ssn: data.ssn,
            ppid: data.ppid,
            unordered: data.unordered,
        };
        self.slots[at] = if data.begin && data.end {
            let payload = (data.payload.len() <= self.max_message).then(|| data.payload.to_vec());
            self.oversized += u64::from(payload.is_none());
            self.complete(data.tsn, head, payload);
            Slot::Done
        } else {
            self.held_bytes += data.payload.len();
            Slot::Fragment(Fragment {
                head,
                begin: data.begin,
                end: data.end,
                payload: data.payload.to_vec(),
            })
        };
        self.advance();
        true
    }

    /// The peer gives up every TSN up to `tsn`, and of each stream in `skipped` the messages up to a
    /// number (RFC 3758 section 3.6). False: it cannot have sent as much.
    pub(super) fn forward(&mut self, tsn: u32, skipped: impl Iterator<Item = (u16, u16)>) -> bool {
        let count = tsn.wrapping_add(1).wrapping_sub(self.next);
        if count == 0 || is_behind(count) {
            return true;
        }
        if count > WINDOW {
            return false;
        }
        self.partial = None;
        for slot in self.slots.drain(..self.slots.len().min(count as usize)) {
            if let Slot::Fragment(fragment) = slot {
                self.held_bytes -= fragment.payload.len();
            }
        }
        self.next = tsn.wrapping_add(1);
        for (stream, ssn) in skipped {
            self.skip(stream, ssn);
        }
        self.advance();
        true
    }

    /// The peer begins to number these streams' messages from 0 again (RFC 6525 section 5.2.2).
    pub(super) fn reset(&mut self, streams: impl Iterator<Item = u16>) {
        for stream in streams {
            if let Some(expected) = self.expected.get_mut(usize::from(stream)) {
                *expected = 0;
                self.release(|&(of, _), _| of == stream);
            }
        }
    }

    /// Whether every TSN up to `tsn` has come or was given up.
    pub(super) fn has_all_to(&self, tsn: u32) -> bool {
        is_behind(tsn.wrapping_sub(self.next))
    }

    /// The next whole message.
    pub(super) fn poll(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// Bytes held, and what holds them.
    pub(super) fn bytes(&self) -> usize {
        let partial = self.partial.as_ref();
        let payload = partial.and_then(|partial| partial.payload.as_ref());
        self.held_bytes
            + payload.map_or(0, Vec::len)
            + self.slots.len() * size_of::<Slot>()
            + self.held.len() * size_of::<((u16, u16), Held)>()
    }

    /// Sets whether memory is short: then only chunks in order are accepted.
    pub(super) fn set_short(&mut self, short: bool) {
        self.short = short;
    }

    /// Messages dropped because they were larger than the limit.
    pub(super) fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Messages dropped because no sender that follows the protocol sends them.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Passes the TSNs that are no longer missing.
    fn advance(&mut self) {
        while matches!(self.slots.front(), Some(Slot::Done | Slot::Fragment(_))) {
            self.next = self.next.wrapping_add(1);
            if let Some(Slot::Fragment(fragment)) = self.slots.pop_front() {
                self.held_bytes -= fragment.payload.len();
                self.append(fragment);
            }
        }
        let next = self.next;
        let before = self.held.len();
        self.release(|_, held| is_behind(held.tsn.wrapping_sub(next)));
        self.malformed += (before - self.held.len()) as u64;
    }

    /// Adds the fragment at `next`, which was the first missing one.
    fn append(&mut self, fragment: Fragment) {
        if fragment.begin {
            self.malformed += u64::from(self.partial.is_some());
            self.partial = Some(Partial {
                head: fragment.head,
                payload: Some(Vec::new()),
            });
        }
        let Some(partial) = self
            .partial
            .as_mut()
            .filter(|partial| partial.head == fragment.head)
        else {
            self.partial = None;
            self.malformed += 1;
            return;
        };
        if let Some(payload) = &mut partial.payload {
            if payload.len() + fragment.payload.len() > self.max_message {
                self.oversized += 1;
                partial.payload = None;
            } else {
                payload.extend_from_slice(&fragment.payload);
            }
        }
        if fragment.end
            && let Some(Partial { head, payload }) = self.partial.take()
        {
            self.complete(self.next.wrapping_sub(1), head, payload);
        }
    }

    /// Delivers a message, or holds it until those before it in its stream have come.
    fn complete(&mut self, tsn: u32, head: Head, payload: Option<Vec<u8>>) {
        let held = Held {
            tsn,
            ppid: head.ppid,
            payload,
        };
        if head.unordered {
            self.deliver(head.stream, held);
            return;
        }
        let expected = &mut self.expected[usize::from(head.stream)];
        if *expected == head.ssn {
            *expected = expected.wrapping_add(1);
            self.deliver(head.stream, held);
            self.deliver_held(head.stream);
        } else if precedes(head.ssn, *expected) {
            self.malformed += 1;
        } else {
            self.held_bytes += held.len();
            if let Some(replaced) = self.held.insert((head.stream, head.ssn), held) {
                self.held_bytes -= replaced.len();
                self.malformed += 1;
            }
        }
    }

    fn deliver_held(&mut self, stream: u16) {
        loop {
            let expected = &mut self.expected[usize::from(stream)];
            let Some(held) = self.held.remove(&(stream, *expected)) else {
                return;
            };
            *expected = expected.wrapping_add(1);
            self.held_bytes -= held.len();
            self.deliver(stream, held);
        }
    }

    fn deliver(&mut self, stream: u16, held: Held) {
        if let Some(payload) = held.payload {
            self.messages.push_back(Message {
                stream,
                ppid: held.ppid,
                payload,
            });
        }
    }

    /// Delivers the skipped messages that are complete, and waits for the rest no longer.
    fn skip(&mut self, stream: u16, to: u16) {
        let Some(&expected) = self.expected.get(usize::from(stream)) else {
            return;
        };
        if precedes(to, expected) {
            return;
        }
        let mut came: Vec<u16> = self
            .held
            .range((stream, 0)..=(stream, u16::MAX))
            .map(|(&(_, ssn), _)| ssn)
            .filter(|ssn| !precedes(to, *ssn))
            .collect();
        came.sort_by_key(|ssn| ssn.wrapping_sub(expected));
        for ssn in came {
            if let Some(held) = self.held.remove(&(stream, ssn)) {
                self.held_bytes -= held.len();
                self.deliver(stream, held);
            }
        }
        self.expected[usize::from(stream)] = to.wrapping_add(1);
        self.deliver_held(stream);
    }

    fn release(&mut self, mut which: impl FnMut(&(u16, u16), &Held) -> bool) {
        let bytes = &mut self.held_bytes;
        self.held.retain(|key, held| {
            let released = which(key, held);
            if released {
                *bytes -= held.len();
            }
            !released
        });
    }
}

/// Whether a distance, in the serial arithmetic of RFC 1982, is a step back.
fn is_behind(distance: u32) -> bool {
    distance >= 1 << 31
}

fn precedes(a: u16, b: u16) -> bool {
    a.wrapping_sub(b) >= 1 << 15
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1_000;

    fn chunk(
        tsn: u32,
        stream: u16,
        ssn: u16,
        flags: &str,
        payload: &'static [u8],
    ) -> Data<'static> {
        Data {
            tsn,
            stream,
            ssn,
            ppid: 51,
            unordered: flags.contains('U'),
            begin: flags.contains('B'),
            end: flags.contains('E'),
            payload,
        }
    }

    fn take(reassembly: &mut Reassembly) -> Vec<(u16, Vec<u8>)> {
        std::iter::from_fn(|| reassembly.poll())
            .map(|message| (message.stream, message.payload))
            .collect()
    }

    #[test]
    fn ordered_messages_wait_and_unordered_ones_do_not() {
        let mut it = Reassembly::new(u32::MAX, MAX);
        assert!(it.data(&chunk(1, 0, 1, "BE", b"second")));
        assert!(it.data(&chunk(2, 2, 0, "BE", b"other stream")));
        assert!(it.data(&chunk(3, 0, 9, "UBE", b"unordered")));
        assert_eq!(
            take(&mut it),
            vec![(2, b"other stream".to_vec()), (0, b"unordered".to_vec())]
        );
        // Fragmented over the wrap of the TSN.
        assert!(it.data(&chunk(0, 0, 0, "E", b"st")));
        assert!(it.data(&chunk(u32::MAX, 0, 0, "B", b"fir")));
        assert_eq!(
            take(&mut it),
            vec![(0, b"first".to_vec()), (0, b"second".to_vec())]
        );
        assert!(it.has_all_to(3) && !it.has_all_to(4));
        assert_eq!((it.held_bytes, it.malformed, it.oversized), (0, 0, 0));
    }

    #[test]
    fn skipping_frees_what_waited() {
        let mut it = Reassembly::new(10, MAX);
        it.data(&chunk(10, 0, 0, "B", b"never completed"));
        it.data(&chunk(12, 0, 1, "BE", b"one"));
        it.data(&chunk(14, 0, 3, "BE", b"three"));
        assert!(it.forward(11, [(0, 0)].into_iter()));
        assert_eq!(take(&mut it), vec![(0, b"one".to_vec())]);
        assert!(it.forward(13, [(0, 2), (STREAMS, 7)].into_iter()));
        assert_eq!(take(&mut it), vec![(0, b"three".to_vec())]);
        assert!(it.has_all_to(14));
        assert_eq!((it.held_bytes, it.malformed), (0, 0));
        // Old news, and more than can have been sent.
        assert!(it.forward(5, std::iter::empty()));
        assert!(!it.forward(14 + WINDOW + 1, std::iter::empty()));
        assert!(it.has_all_to(14) && !it.has_all_to(15));
    }

    #[test]
    fn large_messages_are_dropped_and_the_next_still_comes() {
        static LARGE: [u8; MAX + 1] = [0; MAX + 1];
        let mut it = Reassembly::new(0, MAX);
        it.data(&chunk(0, 0, 0, "BE", &LARGE));
        it.data(&chunk(1, 0, 1, "B", &LARGE[..MAX]));
        for tsn in 2..100 {
            assert!(it.data(&chunk(tsn, 0, 1, "", &LARGE[..MAX])));
        }
        it.data(&chunk(100, 0, 1, "E", b"x"));
        it.data(&chunk(101, 0, 2, "BE", b"small"));
        assert_eq!(take(&mut it), vec![(0, b"small".to_vec())]);
        assert_eq!((it.oversized, it.malformed, it.held_bytes), (2, 0, 0));
    }

    #[test]
    fn what_can_never_be_delivered_is_not_kept() {
        let mut it = Reassembly::new(0, MAX);
        for tsn in 0..10_000u32 {
            // Numbers that skip one, messages that begin and never end, ends without a beginning.
            let data = match tsn % 3 {
                0 => chunk(tsn, 0, 5 + tsn as u16, "BE", b"x"),
                1 => chunk(tsn, 1, 0, "B", b"x"),
                _ => chunk(tsn, 2, 0, "UE", b"x"),
            };
            assert!(it.data(&data));
            assert!(it.held.is_empty() && it.slots.is_empty() && it.held_bytes == 0);
        }
        assert!(take(&mut it).is_empty());
        // Chunks come in threes: the first counts, and so do the effects of the other two on each other.
        assert!(it.malformed >= 6_000);
    }

    #[test]
    fn no_more_is_held_than_the_window_and_the_buffer() {
        static PAYLOAD: [u8; 1_000] = [0; 1_000];
        let mut it = Reassembly::new(0, MAX);
        // TSN 0 is missing for good.
        let taken = (1..5_000)
            .filter(|tsn| it.data(&chunk(*tsn, 0, *tsn as u16, "BE", &PAYLOAD)))
            .count();
        assert_eq!(taken, BUFFER_BYTES / 1_000);
        let taken = (1_000..5_000)
            .filter(|tsn| it.data(&chunk(*tsn, 0, *tsn as u16, "BE", b"")))
            .count();
        assert_eq!(taken, WINDOW as usize - 1_000);
        assert!(!it.data(&chunk(1_500, STREAMS, 0, "BE", b"")) || it.held.len() < 3_000);
        assert!(it.data(&chunk(0, 0, 0, "BE", &PAYLOAD)));
        assert_eq!(it.held_bytes, 0);
    }

    #[test]
    fn a_reset_stream_counts_from_nought() {
        let mut it = Reassembly::new(0, MAX);
        it.data(&chunk(0, 4, 0, "BE", b"a"));
        it.data(&chunk(2, 4, 2, "BE", b"held"));
        it.reset([4, 60_000].into_iter());
        it.data(&chunk(1, 4, 0, "BE", b"b"));
        assert_eq!(take(&mut it), vec![(4, b"a".to_vec()), (4, b"b".to_vec())]);
        assert_eq!(it.held_bytes, 0);
    }

    proptest! {
        /// However the network shuffles and repeats, every message arrives once, and those of an
        /// ordered stream in order.
        #[test]
        fn any_arrival_order_gives_the_messages_sent(
            first in any::<u32>(),
            sizes in prop::collection::vec((0u16..3, any::<bool>(), 1usize..5), 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
        ) {
            let mut chunks: Vec<(Data<'static>, Vec<u8>)> = Vec::new();
            let mut numbers = [0u16; 3];
            let mut sent: Vec<(u16, bool, Vec<u8>)> = Vec::new();
            for (index, (stream, unordered, fragments)) in sizes.into_iter().enumerate() {
                let ssn = numbers[usize::from(stream)];
                numbers[usize::from(stream)] += u16::from(!unordered);
                let mut whole = Vec::new();
                for at in 0..fragments {
                    let payload = vec![index as u8, at as u8];
                    whole.extend(&payload);
                    let data = Data {
                        tsn: first.wrapping_add(chunks.len() as u32),
                        stream, ssn, ppid: 53, unordered,
                        begin: at == 0, end: at + 1 == fragments, payload: &[],
                    };
                    chunks.push((data, payload));
                }
                sent.push((stream, unordered, whole));
            }
            let mut it = Reassembly::new(first, MAX);
            let shuffled = order.iter().map(|index| index.index(chunks.len()));
            for index in shuffled.chain(0..chunks.len()) {
                let (data, payload) = &chunks[index];
                let taken = it.data(&Data { payload, ..*data });
                prop_assert!(taken);
            }
            let got = take(&mut it);
            prop_assert_eq!(got.len(), sent.len());
            for stream in 0..3 {
                let ordered = |of: u16, payload: &Vec<u8>| {
                    of == stream && sent.contains(&(of, false, payload.clone()))
                };
                let got: Vec<_> = got.iter().filter(|(of, p)| ordered(*of, p)).map(|(_, p)| p).collect();
                let sent: Vec<_> = sent.iter().filter(|(of, unordered, _)| *of == stream && !unordered)
                    .map(|(_, _, p)| p).collect();
                prop_assert_eq!(got, sent);
            }
            prop_assert_eq!((it.held_bytes, it.malformed, it.oversized), (0, 0, 0));
        }

        /// Chunks no sender would send cost no more memory than those it would.
        #[test]
        fn hostile_chunks_stay_within_bounds(
            chunks in prop::collection::vec(
                (0u32..4_000, 0u16..300, 0u16..6, 0u8..8, 0usize..1_400, prop::option::weighted(0.1, 0u32..4_000)),
                0..300,
            )
        ) {
            static PAYLOAD: [u8; 1_400] = [0; 1_400];
            let mut it = Reassembly::new(0, MAX);
            for (tsn, stream, ssn, flags, len, forward) in chunks {
                it.data(&Data {
                    tsn, stream, ssn, ppid: 0,
                    unordered: flags & 4 != 0, begin: flags & 2 != 0, end: flags & 1 != 0,
                    payload: &PAYLOAD[..len],
                });
                if let Some(to) = forward {
                    it.forward(to, [(stream, ssn)].into_iter());
                }
                prop_assert!(it.held_bytes <= BUFFER_BYTES + 1_400);
                prop_assert!(it.slots.len() <= WINDOW as usize && it.held.len() <= WINDOW as usize);
                let held: usize = it.held.values().map(Held::len).sum();
                let slots: usize = it.slots.iter().map(|slot| match slot {
                    Slot::Fragment(fragment) => fragment.payload.len(),
                    _ => 0,
                }).sum();
                prop_assert_eq!(held + slots, it.held_bytes);
            }
        }
    }
}
