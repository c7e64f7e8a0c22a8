//! The last packets of one layer, as they came decrypted, for retransmission to any viewer.

/// Packets kept. A 720p layer sends 150 to 250 packets a second and NACKs arrive within a few
/// round trips: two seconds cover a viewer at 300 ms who asks three times. A power of two, so that
/// the slot of a sequence number is a mask.
const PACKETS: usize = 512;
/// Room of one slot: what fits an Ethernet frame. Longer packets cannot have been sent by WebRTC.
const PACKET_BYTES: usize = 1_500;

/// A ring of packets by unwrapped sequence number. Slots are allocated when first used.
#[derive(Debug)]
pub(crate) struct PacketCache {
    slots: Box<[Slot]>,
    newest: u64,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    sequence: u64,
    packet: Vec<u8>,
}

impl PacketCache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); PACKETS].into_boxed_slice(),
            newest: 0,
        }
    }

    /// Keeps a packet under its unwrapped sequence number, forgetting the one it displaces.
    pub(crate) fn insert(&mut self, sequence: u64, packet: &[u8]) {
        if packet.len() > PACKET_BYTES {
            return;
        }
        let slot = &mut self.slots[sequence as usize % PACKETS];
        if slot.packet.capacity() == 0 {
            slot.packet.reserve_exact(PACKET_BYTES);
        }
        self.newest = self.newest.max(sequence);
        slot.sequence = sequence;
        slot.packet.clear();
        slot.packet.extend_from_slice(packet);
    }

    /// The packet, if it is still here.
    pub(crate) fn get(&self, sequence: u64) -> Option<&[u8]> {
        let slot = &self.slots[sequence as usize % PACKETS];
        (slot.sequence == sequence && !slot.packet.is_empty()).then_some(slot.packet.as_slice())
    }

    /// The packets from one on, with their unwrapped sequence numbers.
    pub(crate) fn since(&self, sequence: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let oldest = (self.newest + 1).saturating_sub(PACKETS as u64);
        (sequence.max(oldest)..=self.newest)
            .filter_map(|sequence| Some((sequence, self.get(sequence)?)))
    }

    /// Bytes held.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.packet.capacity()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_packets_and_no_more() {
        let mut cache = PacketCache::new();
        assert_eq!(cache.get(0), None);
        for sequence in 0..2_000u64 {
            cache.insert(sequence, &sequence.to_be_bytes());
        }
        assert_eq!(cache.get(1_999), Some(&1_999u64.to_be_bytes()[..]));
        assert_eq!(
            cache.get(2_000 - PACKETS as u64),
            Some(&(2_000 - PACKETS as u64).to_be_bytes()[..])
        );
        assert_eq!(cache.get(2_000 - PACKETS as u64 - 1), None);
        assert_eq!(cache.bytes(), PACKETS * PACKET_BYTES);
        let since: Vec<u64> = cache.since(1_997).map(|(sequence, _)| sequence).collect();
        assert_eq!(since, vec![1_997, 1_998, 1_999]);
        assert_eq!(cache.since(0).count(), PACKETS);
    }

    #[test]
    fn refuses_what_no_frame_could_carry() {
        let mut cache = PacketCache::new();
        cache.insert(1, &[0; PACKET_BYTES + 1]);
        assert_eq!(cache.get(1), None);
    }
}
