//! The last packets of one stream, for retransmission: of a published layer as they came decrypted, for
//! any viewer; of a viewer without RTX as they were sent.

/// Packets kept at most. A 720p layer sends 150 to 250 packets a second and NACKs arrive within a few
/// round trips: two seconds cover a viewer at 300 ms who asks three times. A power of two, so that
/// the slot of a sequence number is a mask.
const PACKETS: usize = 512;
/// A packet longer than fits an Ethernet frame cannot have been sent by WebRTC.
const PACKET_BYTES: usize = 1_500;
/// Two seconds of video's clock: what is worth keeping of a layer that sends few packets.
const WORTH: u32 = 2 * 90_000;
/// Room for packets: it begins small, and doubles when it went round in less than [`WORTH`] with
/// fewer than [`PACKETS`], so that a thumbnail of 150 kbit/s holds 64 KiB.
const MIN_BYTES: usize = 16 << 10;
/// More than [`PACKETS`] of the longest.
const MAX_BYTES: usize = 1 << 20;

/// A ring of bytes, and by unwrapped sequence number where in it packets are.
#[derive(Debug)]
pub(crate) struct PacketCache {
    slots: Box<[Slot; PACKETS]>,
    bytes: Vec<u8>,
    /// Bytes written since the ring was made, those skipped at its end included: where the next
    /// packet goes. A packet is there until this is a ring's length beyond its start.
    head: u64,
    newest: u64,
    lap: Lap,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sequence: u64,
    start: u64,
    /// 0: none yet.
    len: u16,
}

/// The packets that came since the ring began anew, or were taken along into this one.
#[derive(Clone, Copy, Debug, Default)]
struct Lap {
    packets: usize,
    /// RTP time of its first packet.
    began: u32,
}

impl PacketCache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self {
            slots: Box::new([Slot::default(); PACKETS]),
            bytes: Vec::new(),
            head: 0,
            newest: 0,
            lap: Lap::default(),
        }
    }

    /// Keeps a packet under its unwrapped sequence number, forgetting those it displaces.
    pub(crate) fn insert(&mut self, sequence: u64, packet: &[u8]) {
        if packet.len() > PACKET_BYTES || packet.is_empty() {
            return;
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; MIN_BYTES];
        }
        let mut at = self.head as usize % self.bytes.len();
        if at + packet.len() > self.bytes.len() {
            self.end_lap(rtp_time(packet));
            at = self.head as usize % self.bytes.len();
        }
        if self.lap.packets == 0 {
            self.lap.began = rtp_time(packet);
        }
        self.lap.packets += 1;
        let Some(room) = self.bytes.get_mut(at..at + packet.len()) else {
            return;
        };
        room.copy_from_slice(packet);
        self.slots[sequence as usize % PACKETS] = Slot {
            sequence,
            start: self.head,
            len: packet.len() as u16,
        };
        self.head += packet.len() as u64;
        self.newest = self.newest.max(sequence);
    }

    /// The next packet does not fit between here and the end: goes on at the beginning, or with
    /// another length if this one held too little or far too much.
    fn end_lap(&mut self, now: u32) {
        let len = self.bytes.len();
        let lap = self.lap;
        // A publisher's clock that runs backwards is one that says nothing.
        let time = now.wrapping_sub(lap.began).min(i32::MAX as u32);
        let held_all = lap.packets >= PACKETS;
        if len < MAX_BYTES && !held_all && time < WORTH {
            self.resize(len * 2);
        } else if len > MIN_BYTES && (lap.packets >= 4 * PACKETS || time > 4 * WORTH) {
            self.resize(len / 2);
        } else {
            self.head = self.head.next_multiple_of(len as u64);
            self.lap = Lap::default();
        }
    }

    /// Moves the newest packets that fit into a ring of another length.
    fn resize(&mut self, len: usize) {
        let mut kept: Vec<Slot> = self.slots.to_vec();
        kept.retain(|slot| slot.len > 0 && self.get(slot.sequence).is_some());
        // In the order they came; of more than fit with one to come, the last.
        kept.sort_unstable_by_key(|slot| std::cmp::Reverse(slot.start));
        let mut left = len - PACKET_BYTES;
        let fitting = kept.iter().take_while(|slot| {
            let fits = usize::from(slot.len) <= left;
            left = left.saturating_sub(slot.len.into());
            fits
        });
        let count = fitting.count();
        kept.truncate(count);
        self.lap = Lap {
            packets: count,
            began: kept
                .last()
                .and_then(|slot| self.get(slot.sequence))
                .map_or(0, rtp_time),
        };
        let mut bytes = Vec::with_capacity(len);
        let mut slots = Box::new([Slot::default(); PACKETS]);
        for slot in kept.iter().rev() {
            if let Some(packet) = self.get(slot.sequence) {
                slots[slot.sequence as usize % PACKETS] = Slot {
                    start: bytes.len() as u64,
                    ..*slot
                };
                bytes.extend_from_slice(packet);
            }
        }
        self.head = bytes.len() as u64;
        bytes.resize(len, 0);
        (self.bytes, self.slots) = (bytes, slots);
    }

    /// The packet, if it is still here.
    pub(crate) fn get(&self, sequence: u64) -> Option<&[u8]> {
        let slot = self.slots[sequence as usize % PACKETS];
        let there = slot.sequence == sequence
            && slot.len > 0
            && self.head - slot.start <= self.bytes.len() as u64;
        let at = slot.start as usize % self.bytes.len().max(1);
        there
            .then(|| self.bytes.get(at..at + usize::from(slot.len)))
            .flatten()
    }

    /// The packets from one on, with their unwrapped sequence numbers.
    pub(crate) fn since(&self, sequence: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let oldest = (self.newest + 1).saturating_sub(PACKETS as u64);
        (sequence.max(oldest)..=self.newest)
            .filter_map(|sequence| Some((sequence, self.get(sequence)?)))
    }
}

/// RFC 3550 section 5.1. What is no RTP packet has no time, and is kept all the same.
fn rtp_time(packet: &[u8]) -> u32 {
    let time = packet.get(4..8).and_then(|time| time.try_into().ok());
    time.map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet of the shape that matters here: RTP time at its place, its number as contents.
    fn packet(sequence: u64, time: u32, len: usize) -> Vec<u8> {
        let mut packet = vec![sequence as u8; len.max(16)];
        packet[4..8].copy_from_slice(&time.to_be_bytes());
        packet[8..16].copy_from_slice(&sequence.to_be_bytes());
        packet
    }

    /// Sends some seconds of so many packets each, and returns the cache and the next number.
    fn fill(cache: &mut PacketCache, first: u64, seconds: u64, rate: u64, len: usize) -> u64 {
        let end = first + seconds * rate;
        for sequence in first..end {
            let time = (sequence * 90_000 / rate) as u32;
            cache.insert(sequence, &packet(sequence, time, len));
        }
        end
    }

    #[test]
    fn keeps_the_last_packets_and_no_more() {
        let mut cache = PacketCache::new();
        assert_eq!(cache.get(0), None);
        fill(&mut cache, 0, 10, 250, 1_200);
        assert_eq!(cache.get(2_499).unwrap()[8..16], 2_499u64.to_be_bytes());
        assert!(cache.get(2_500 - 500).is_some(), "two seconds");
        assert_eq!(cache.get(2_500 - PACKETS as u64 - 1), None);
        let since: Vec<u64> = cache.since(2_497).map(|(sequence, _)| sequence).collect();
        assert_eq!(since, vec![2_497, 2_498, 2_499]);
        assert!((500..=PACKETS).contains(&cache.since(0).count()));
    }

    #[test]
    fn a_layer_holds_what_it_sends_in_a_few_seconds() {
        // Packets a second, their length, and the bytes then held.
        for (rate, len, most) in [
            (15, 1_100, 64 << 10),
            (60, 1_100, 256 << 10),
            (250, 1_200, MAX_BYTES),
            (2_000, 1_200, MAX_BYTES),
        ] {
            let mut cache = PacketCache::new();
            let next = fill(&mut cache, 0, 60, rate, len);
            assert!(cache.bytes.len() <= most, "{rate}: {}", cache.bytes.len());
            let oldest = next - (2 * rate).min(400);
            assert!((oldest..next).all(|sequence| cache.get(sequence).is_some()));
        }
    }

    #[test]
    fn memory_comes_back_when_a_layer_sends_less() {
        let mut cache = PacketCache::new();
        let next = fill(&mut cache, 0, 10, 250, 1_200);
        assert_eq!(cache.bytes.len(), MAX_BYTES);
        // As by the camera of a person who left the room.
        let mut time = (next * 90_000 / 250) as u32;
        for sequence in next..next + 8_000 {
            time = time.wrapping_add(18_000);
            cache.insert(sequence, &packet(sequence, time, 300));
            assert!(cache.get(sequence).is_some());
        }
        assert_eq!(cache.bytes.len(), MIN_BYTES);
    }

    #[test]
    fn refuses_what_no_frame_could_carry() {
        let mut cache = PacketCache::new();
        cache.insert(1, &[0; PACKET_BYTES + 1]);
        assert_eq!(cache.get(1), None);
        cache.insert(2, &[]);
        assert_eq!((cache.get(2), cache.bytes.capacity()), (None, 0));
    }

    proptest! {
        /// Whatever comes, in any order and at any pace: what is there is what was put there, and
        /// the last packet is.
        #[test]
        fn what_is_kept_is_what_came(
            packets in proptest::collection::vec((0u64..3_000, any::<u16>(), 16usize..1_501), 1..3_000),
        ) {
            let mut cache = PacketCache::new();
            let mut time = 0_u32;
            let mut last = std::collections::HashMap::new();
            for (sequence, step, len) in packets {
                time = time.wrapping_add(step.into());
                let packet = packet(sequence, time, len);
                cache.insert(sequence, &packet);
                prop_assert_eq!(cache.get(sequence), Some(&packet[..]));
                last.insert(sequence, packet);
            }
            prop_assert!(cache.bytes.len() <= MAX_BYTES);
            for (sequence, kept) in cache.since(0) {
                prop_assert_eq!(Some(kept), last.get(&sequence).map(|packet| &packet[..]));
            }
        }
    }
}
