//! The last packets of one stream, for retransmission. A published layer keeps its decrypted packets for all viewers; a
//! viewer without RTX has a cache of the packets as they were sent to it. Each cache is bounded in bytes and in age,
//! and all caches together in bytes ([`budget`]).

mod budget;

use std::time::{Duration, Instant};

pub(crate) use budget::{CacheBudget, CacheShare, Held};

/// Packets kept at most. A 720p layer sends 150 to 250 packets a second and NACKs arrive within a few
/// round trips: two seconds cover a viewer at 300 ms who asks three times. A power of two, so that
/// the slot of a sequence number is a mask.
const PACKETS: usize = 512;
/// The longest packet kept: WebRTC sends none that exceeds an Ethernet frame.
const PACKET_BYTES: usize = 1_500;
/// The age up to which packets of a slow layer are worth keeping. Measured by the server's clock: the publisher is free
/// to make up RTP time.
const WORTH: Duration = Duration::from_secs(2);
/// Initial ring size in bytes. A ring doubles when it filled in less than [`WORTH`] with fewer than [`PACKETS`]
/// packets, so that a thumbnail of 150 kbit/s holds 64 KiB.
const MIN_BYTES: usize = 16 << 10;
/// Largest ring size in bytes: enough for [`PACKETS`] packets of the longest.
const MAX_BYTES: usize = 1 << 20;
/// Interval of the checks for packets too old to be asked for. A ring shrinks to twice the bytes received in it.
const AGE: Duration = WORTH;

/// A ring of packet bytes, with each packet's place by its unwrapped sequence number.
#[derive(Debug)]
pub(crate) struct PacketCache {
    slots: Box<[Slot; PACKETS]>,
    bytes: Vec<u8>,
    /// Bytes written since the ring was made, those skipped at its end included: the place of the next packet. A packet
    /// stays until this is a ring's length beyond its start.
    head: u64,
    newest: u64,
    lap: Lap,
    looked_at: Option<Instant>,
    /// Bytes received since the last check.
    lately: usize,
    held: Held,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sequence: u64,
    start: u64,
    /// 0: none yet.
    len: u16,
}

/// Bytes that a cache takes beside its ring.
const OWN_BYTES: usize = PACKETS * size_of::<Slot>();

/// The packets that came since the ring began anew, or were taken along into this one.
#[derive(Clone, Copy, Debug, Default)]
struct Lap {
    packets: usize,
    /// The time at which it began; none: no packet came yet.
    began: Option<Instant>,
}

impl PacketCache {
    /// An empty cache, if the memory of all allows one more.
    pub(crate) fn new(share: &CacheShare) -> Option<Self> {
        let held = share.take(OWN_BYTES + MIN_BYTES)?;
        Some(Self {
            slots: Box::new([Slot::default(); PACKETS]),
            bytes: vec![0; MIN_BYTES],
            head: 0,
            newest: 0,
            lap: Lap::default(),
            looked_at: None,
            lately: 0,
            held,
        })
    }

    /// Keeps a packet under its unwrapped sequence number, forgetting those it displaces.
    pub(crate) fn insert(&mut self, now: Instant, sequence: u64, packet: &[u8]) {
        if packet.len() > PACKET_BYTES || packet.is_empty() {
            return;
        }
        if self.looked_at.is_none_or(|at| now >= at + AGE) {
            self.look(now);
        }
        self.lately += packet.len();
        let mut at = self.head as usize % self.bytes.len();
        if at + packet.len() > self.bytes.len() {
            self.end_lap(now);
            at = self.head as usize % self.bytes.len();
        }
        self.lap.began.get_or_insert(now);
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

    /// Shrinks the ring to twice the bytes received since the last check, and to half its size if the peer is over its
    /// share.
    fn look(&mut self, now: Instant) {
        let lately = std::mem::take(&mut self.lately);
        let Some(before) = self.looked_at.replace(now) else {
            return;
        };
        let enough = (2 * lately).next_power_of_two().clamp(MIN_BYTES, MAX_BYTES);
        let half = match self.held.is_over() {
            true => (self.bytes.len() / 2).max(MIN_BYTES),
            false => MAX_BYTES,
        };
        let len = enough.min(half);
        if len < self.bytes.len() {
            // Some of the packets taken along came before this lap.
            self.lap.began = self.lap.began.map(|began| began.min(before));
            self.resize(len);
        }
    }

    /// Continues at the beginning when the next packet does not fit before the end. The ring takes another length if it
    /// held too little or far too much.
    fn end_lap(&mut self, now: Instant) {
        let len = self.bytes.len();
        let lap = self.lap;
        let time = now.saturating_duration_since(lap.began.unwrap_or(now));
        let held_all = lap.packets >= PACKETS;
        if len < MAX_BYTES && !held_all && time < WORTH {
            self.resize(len * 2);
        } else if len > MIN_BYTES && lap.packets >= 4 * PACKETS {
            self.resize(len / 2);
        } else {
            self.head = self.head.next_multiple_of(len as u64);
            self.lap = Lap::default();
        }
    }

    /// Moves the newest packets that fit into a ring of another length, if there is memory for that.
    fn resize(&mut self, len: usize) {
        if !self.held.set(OWN_BYTES + len) {
            self.head = self.head.next_multiple_of(self.bytes.len() as u64);
            self.lap = Lap::default();
            return;
        }
        let mut kept: Vec<Slot> = self.slots.to_vec();
        kept.retain(|slot| slot.len > 0 && self.get(slot.sequence).is_some());
        // Packets are taken in the order they came. If not all fit beside one more, the newest are kept.
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
            began: self.lap.began,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet filled with its sequence number.
    fn packet(sequence: u64, len: usize) -> Vec<u8> {
        let mut packet = vec![sequence as u8; len.max(16)];
        packet[8..16].copy_from_slice(&sequence.to_be_bytes());
        packet
    }

    /// Inserts `rate` packets a second for `seconds`, and returns the cache and the next sequence number.
    fn fill(cache: &mut PacketCache, first: u64, seconds: u64, rate: u64, len: usize) -> u64 {
        let start = Instant::now();
        let end = first + seconds * rate;
        for sequence in first..end {
            let now = start + Duration::from_millis((sequence - first) * 1_000 / rate);
            cache.insert(now, sequence, &packet(sequence, len));
        }
        end
    }

    #[test]
    fn keeps_the_last_packets_and_no_more() {
        let mut cache = PacketCache::new(&CacheShare::default()).expect("there is room");
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
            let mut cache = PacketCache::new(&CacheShare::default()).expect("there is room");
            let next = fill(&mut cache, 0, 60, rate, len);
            assert!(cache.bytes.len() <= most, "{rate}: {}", cache.bytes.len());
            let oldest = next - (2 * rate).min(400);
            assert!((oldest..next).all(|sequence| cache.get(sequence).is_some()));
        }
    }

    /// At any even pace the ring has one length after a while.
    #[test]
    fn a_ring_does_not_change_its_length_back_and_forth() {
        for rate in [5, 10, 30, 53, 100, 180, 250, 600] {
            let mut cache = PacketCache::new(&CacheShare::default()).expect("there is room");
            let start = Instant::now();
            let mut lengths = std::collections::BTreeSet::new();
            for sequence in 0..60 * rate {
                let now = start + Duration::from_millis(sequence * 1_000 / rate);
                cache.insert(now, sequence, &packet(sequence, 1_200));
                if sequence > 20 * rate {
                    lengths.insert(cache.bytes.len());
                }
            }
            assert_eq!(lengths.len(), 1, "{rate}: {lengths:?}");
        }
    }

    #[test]
    fn memory_comes_back_when_a_layer_sends_less() {
        let mut cache = PacketCache::new(&CacheShare::default()).expect("there is room");
        let next = fill(&mut cache, 0, 10, 250, 1_200);
        assert_eq!(cache.bytes.len(), MAX_BYTES);
        // This is the layer of a person who left the room.
        let mut now = Instant::now() + Duration::from_secs(10);
        for sequence in next..next + 8_000 {
            now += Duration::from_millis(200);
            cache.insert(now, sequence, &packet(sequence, 300));
            assert!(cache.get(sequence).is_some());
        }
        assert_eq!(cache.bytes.len(), MIN_BYTES);
    }

    /// Packets that would take a minute to go round.
    #[test]
    fn what_is_old_is_given_back() {
        let budget = CacheBudget::new(usize::MAX);
        let mut cache = PacketCache::new(&budget.share()).expect("there is room");
        let mut now = Instant::now();
        for sequence in 0..2_000 {
            now += Duration::from_millis(4);
            cache.insert(now, sequence, &packet(sequence, 1_200));
        }
        assert_eq!(budget.used(), OWN_BYTES + MAX_BYTES);
        for sequence in 2_000..2_010 {
            now += Duration::from_millis(500);
            cache.insert(now, sequence, &packet(sequence, 100));
            assert!(cache.get(sequence).is_some());
        }
        assert_eq!(budget.used(), OWN_BYTES + MIN_BYTES);
        drop(cache);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn caches_of_who_holds_most_shrink_for_the_others() {
        let budget = CacheBudget::new(8 << 20);
        let (many, few) = (budget.share(), budget.share());
        let mut caches: Vec<_> = (0..32).filter_map(|_| PacketCache::new(&many)).collect();
        let mut now = Instant::now();
        let mut one = None;
        for sequence in 0..3_000 {
            now += Duration::from_millis(4);
            for cache in &mut caches {
                cache.insert(now, sequence, &packet(sequence, 1_200));
            }
            if sequence == 1_000 {
                one = PacketCache::new(&few);
            }
            if let Some(one) = &mut one {
                one.insert(now, sequence, &packet(sequence, 1_200));
            }
            assert!(budget.used() <= 8 << 20);
        }
        let one = one.expect("there is room for who comes later");
        assert!((2_600..3_000).all(|sequence| one.get(sequence).is_some()));
        assert!(budget.refused() > 0);
    }

    #[test]
    fn refuses_what_no_frame_could_carry() {
        let mut cache = PacketCache::new(&CacheShare::default()).expect("there is room");
        let now = Instant::now();
        cache.insert(now, 1, &[0; PACKET_BYTES + 1]);
        assert_eq!(cache.get(1), None);
        cache.insert(now, 2, &[]);
        assert_eq!(cache.get(2), None);
    }

    proptest! {
        /// Packets come in any order and at any pace: each packet found is the one inserted, and the last one is always
        /// found.
        #[test]
        fn what_is_kept_is_what_came(
            packets in proptest::collection::vec(
                (0u64..3_000, 16usize..1_501, 0u64..400),
                1..3_000,
            ),
        ) {
            let mut cache = PacketCache::new(&CacheShare::default()).expect("there is room");
            let mut last = std::collections::HashMap::new();
            let mut now = Instant::now();
            for (sequence, len, wait) in packets {
                now += Duration::from_millis(wait);
                let packet = packet(sequence, len);
                cache.insert(now, sequence, &packet);
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
