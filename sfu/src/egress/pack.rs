//! The order in which a viewer's packets leave, and the padding of each.
//!
//! The kernel takes a run of equal packets, of which the last may be shorter, as one message
//! (`UDP_SEGMENT`), and a message costs nearly the same whatever it carries. So packets of nearly
//! equal length are padded to one length (RFC 3550 section 5.1), and packets of different streams
//! trade places so that lengths break fewer runs. A stream keeps its own order.

/// Largest padding of one packet, in bytes.
///
/// A message that a run is broken into costs 2.5 to 3.5 us more of CPU than its packets would cost
/// within the run (`cargo bench -p tertulia-sfu --bench floor`: runs of 1 against runs of 10);
/// sealing 32 more bytes costs 0.005 us. So it is not the server's CPU that bounds padding but the
/// viewer's link: 32 bytes are under 3% of a full video packet, whose neighbours in a frame
/// differ from it by a byte or a header extension; and for an audio packet they are less than the
/// 42 bytes of Ethernet, IP and UDP headers around it.
const MAX_PADDING: u16 = 32;
/// Packets of one message: the kernel's `UDP_MAX_SEGMENTS` before 6.9.
const MAX_RUN: usize = 64;
/// Bytes of one message, with room for seals and headers in an IP packet.
const MAX_RUN_BYTES: usize = 62_000;

const NONE: u32 = u32::MAX;

/// A packet to be packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// Number of the viewer's stream; small.
    pub(crate) stream: usize,
    /// Its length, in bytes.
    pub(crate) len: u16,
}

/// A packet's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Packed {
    /// Index among the items.
    pub(crate) item: u32,
    /// Bytes to add.
    pub(crate) padding: u8,
}

/// Packs. Keeps its memory from viewer to viewer.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    packed: Vec<Packed>,
    /// Each stream's next item.
    streams: Vec<u32>,
    /// Index in `streams`, and last item so far, by stream.
    places: Vec<(u32, u32)>,
    /// Largest padding of one packet, in bytes.
    padding: u16,
    /// The next item of the same stream, by item.
    next: Vec<u32>,
}

/// A run in the making.
struct Run {
    len: u16,
    padding: u16,
    count: usize,
    bytes: usize,
}

impl Run {
    fn has_room(&self, len: u16) -> bool {
        self.count < MAX_RUN && self.bytes + usize::from(len) <= MAX_RUN_BYTES
    }

    fn takes(&self, len: u16) -> bool {
        len <= self.len && self.len - len <= self.padding && self.has_room(self.len)
    }
}

impl Packer {
    /// Each item once, in the order to send them; padded only if `pads`.
    pub(crate) fn pack(&mut self, items: &[Item], pads: bool) -> &[Packed] {
        self.packed.clear();
        self.padding = if pads { MAX_PADDING } else { 0 };
        if let [_] = items {
            self.packed.push(Packed {
                item: 0,
                padding: 0,
            });
            return &self.packed;
        }
        self.queue(items);
        while let Some(longest) = self.longest(items, u16::MAX) {
            self.run(items, longest);
        }
        &self.packed
    }

    /// Chains each stream's items.
    fn queue(&mut self, items: &[Item]) {
        self.streams.clear();
        self.next.clear();
        for (index, item) in items.iter().enumerate() {
            let index = index as u32;
            if item.stream >= self.places.len() {
                self.places.resize(item.stream + 1, (NONE, NONE));
            }
            let place = &mut self.places[item.stream];
            self.next.push(NONE);
            if place.0 == NONE {
                place.0 = self.streams.len() as u32;
                self.streams.push(index);
            } else {
                self.next[place.1 as usize] = index;
            }
            place.1 = index;
        }
        for item in items {
            self.places[item.stream] = (NONE, NONE);
        }
    }

    /// The stream with the longest next item, among items no longer than `limit`.
    fn longest(&self, items: &[Item], limit: u16) -> Option<usize> {
        let heads = self.streams.iter().enumerate();
        heads
            .filter_map(|(stream, head)| Some((stream, items.get(*head as usize)?.len)))
            .filter(|(_, len)| *len <= limit)
            // The first of equals is taken: `max_by_key` alone takes the last.
            .rev()
            .max_by_key(|(_, len)| *len)
            .map(|(stream, _)| stream)
    }

    /// Packs one run, which begins with the longest next item.
    fn run(&mut self, items: &[Item], longest: usize) {
        let mut run = Run {
            len: self.common_length(items, longest),
            padding: self.padding,
            count: 0,
            bytes: 0,
        };
        self.take_near_equal(items, longest, &mut run);
        for stream in 0..self.streams.len() {
            self.take_near_equal(items, stream, &mut run);
        }
        // The last packet may be shorter: then it needs no padding, or leaves room for a shorter
        // one.
        if let Some(last) = self.packed.last_mut()
            && last.padding > 0
        {
            last.padding = 0;
        } else if run.has_room(run.len) {
            let own = self.head(items, longest).filter(|len| *len < run.len);
            let tail = own.map(|_| longest);
            if let Some(stream) = tail.or_else(|| self.longest(items, run.len)) {
                self.take(stream, 0);
            }
        }
    }

    /// The length to which the near-equal items at the front of a stream are padded.
    fn common_length(&self, items: &[Item], stream: usize) -> u16 {
        let (mut shortest, mut longest) = (u16::MAX, 0);
        let mut at = self.streams[stream];
        let mut count = 0;
        while let Some(item) = items.get(at as usize)
            && count < MAX_RUN
        {
            let (low, high) = (shortest.min(item.len), longest.max(item.len));
            if high - low > self.padding {
                break;
            }
            (shortest, longest) = (low, high);
            count += 1;
            at = self.next[at as usize];
        }
        longest
    }

    fn take_near_equal(&mut self, items: &[Item], stream: usize, run: &mut Run) {
        while let Some(len) = self.head(items, stream)
            && run.takes(len)
        {
            run.count += 1;
            run.bytes += usize::from(run.len);
            self.take(stream, (run.len - len) as u8);
        }
    }

    fn head(&self, items: &[Item], stream: usize) -> Option<u16> {
        Some(items.get(self.streams[stream] as usize)?.len)
    }

    fn take(&mut self, stream: usize, padding: u8) {
        let item = self.streams[stream];
        self.streams[stream] = self.next[item as usize];
        self.packed.push(Packed { item, padding });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(streams: &[(usize, u16)]) -> Vec<Item> {
        let items = streams.iter();
        items
            .map(|(stream, len)| Item {
                stream: *stream,
                len: *len,
            })
            .collect()
    }

    /// The number of packets in each message, as `runtime/send` groups them.
    fn messages(items: &[Item], packed: &[Packed]) -> Vec<usize> {
        let mut messages: Vec<usize> = Vec::new();
        let (mut first, mut last) = (0, 0);
        for packed in packed {
            let len = items[packed.item as usize].len + u16::from(packed.padding);
            match messages.last_mut() {
                Some(count) if last == first && len <= first && *count < MAX_RUN => *count += 1,
                _ => {
                    messages.push(1);
                    first = len;
                }
            }
            last = len;
        }
        messages
    }

    #[test]
    fn near_equal_packets_make_one_run() {
        for (what, lens, runs) in [
            (
                "a frame as browsers cut it",
                &[(0, 1_100), (0, 1_101), (0, 1_100), (0, 1_099)][..],
                &[4][..],
            ),
            (
                "its last packet shorter",
                &[(0, 1_100), (0, 1_101), (0, 400)],
                &[3],
            ),
            (
                "a MID in the first",
                &[(0, 1_104), (0, 1_100), (0, 1_100)],
                &[3],
            ),
            (
                "and in the last",
                &[(0, 1_100), (0, 1_100), (0, 1_104)],
                &[3],
            ),
            ("two frames", &[(0, 900), (0, 900), (0, 1_100)], &[2, 1]),
            (
                "sound amid a frame",
                &[(1, 90), (0, 1_100), (1, 92), (0, 1_100)],
                &[3, 1],
            ),
            (
                "many speakers",
                &[(0, 80), (1, 95), (2, 102), (3, 77), (4, 60)],
                &[4, 1],
            ),
            ("one", &[(0, 80)], &[1]),
            ("none", &[], &[]),
        ] {
            let items = items(lens);
            let mut packer = Packer::default();
            let packed = packer.pack(&items, true).to_vec();
            assert_eq!(messages(&items, &packed), runs, "{what}: {packed:?}");
        }
    }

    #[test]
    fn what_ends_a_run_is_not_padded() {
        let items = items(&[(0, 1_100), (0, 1_090)]);
        let mut packer = Packer::default();
        let paddings: Vec<_> = packer
            .pack(&items, true)
            .iter()
            .map(|p| p.padding)
            .collect();
        assert_eq!(paddings, [0, 0]);
    }

    #[test]
    fn nothing_is_padded_where_that_costs_too_much() {
        let items = items(&[(0, 90), (1, 80), (2, 85), (0, 85), (1, 85)]);
        let mut packer = Packer::default();
        let padding =
            |packed: &[Packed]| -> u32 { packed.iter().map(|p| u32::from(p.padding)).sum() };
        assert!(padding(packer.pack(&items, true)) > 0);
        assert_eq!(padding(packer.pack(&items, false)), 0);
        assert_eq!(packer.pack(&items, false).len(), items.len());
    }

    proptest! {
        #[test]
        fn every_packet_leaves_once_and_streams_keep_their_order(
            batches in prop::collection::vec(
                prop::collection::vec(
                    (0usize..6, prop_oneof![1_000u16..1_200, 60u16..140, 1u16..1_456]),
                    0..150,
                ),
                1..4,
            ),
        ) {
            let mut packer = Packer::default();
            for lens in batches {
                let items = items(&lens);
                let packed = packer.pack(&items, true).to_vec();
                let mut seen: Vec<u32> = packed.iter().map(|packed| packed.item).collect();
                for stream in 0..6 {
                    let own = |item: &u32| items[*item as usize].stream == stream;
                    prop_assert!(seen.iter().copied().filter(own).is_sorted());
                }
                prop_assert!(packed.iter().all(|packed| u16::from(packed.padding) <= MAX_PADDING));
                // Packing never needs more messages than the packets in their first order,
                // unpadded.
                let plain: Vec<_> = (0..items.len() as u32)
                    .map(|item| Packed { item, padding: 0 })
                    .collect();
                let by_stream: usize = (0..6)
                    .map(|stream| {
                        let own: Vec<_> = plain
                            .iter()
                            .copied()
                            .filter(|packed| items[packed.item as usize].stream == stream)
                            .collect();
                        messages(&items, &own).len()
                    })
                    .sum();
                prop_assert!(messages(&items, &packed).len() <= by_stream);
                seen.sort_unstable();
                prop_assert!(seen.into_iter().eq(0..items.len() as u32));
            }
        }
    }
}
