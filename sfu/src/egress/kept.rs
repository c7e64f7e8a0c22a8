//! Packets as they were sent, for viewers that send NACKs (RFC 4585 section 6.2.1) without having a retransmission
//! stream (RFC 4588).
//!
//! Such a viewer gets the packet itself again, under the same SSRC and sequence number. Under one SRTP index every bit
//! must be the same: AES-GCM gives its key away for two texts (RFC 7714 section 8.1). Written anew, the packet would
//! differ in its send time, transport-wide number, MID, padding, and place in a picture. So the sealed bytes are kept,
//! and sent once more as they are.
//!
//! # Bounds
//!
//! Nothing is kept for viewers with RTX. For the others a slot holds the last 512 packets or 1 MiB, whichever is less.
//! It begins at 16 KiB ([`PacketCache`]), and takes its part of the memory of all caches. A packet is sent again for
//! two seconds; when nothing was sent for that time, all memory is freed. Another module decides how often one is sent.

use std::time::{Duration, Instant};

use crate::cache::{CacheShare, PacketCache};
use crate::rtp::sequence::Extender;

/// Numbers remembered: as many as the cache holds.
const NUMBERS: usize = 512;
/// Age after which a picture is given up: a viewer at 300 ms has asked three times by then.
pub(super) const WORTH: Duration = Duration::from_secs(2);

/// The packets kept for one slot.
#[derive(Debug)]
pub(super) struct Kept {
    packets: PacketCache,
    numbers: Extender,
    sent: Box<[Option<Sent>; NUMBERS]>,
}

/// Facts of a packet, beside its bytes.
#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u64,
    transport_sequence: u16,
    at: Instant,
}

/// A packet to be sent once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Again<'a> {
    /// The sealed bytes, as they were sent the first time.
    pub(super) sealed: &'a [u8],
    /// The transport-wide number in it.
    pub(super) transport_sequence: u16,
}

impl Kept {
    /// A store without packets; none if there is no memory for it.
    pub(super) fn new(share: &CacheShare) -> Option<Self> {
        Some(Self {
            packets: PacketCache::new(share)?,
            numbers: Extender::default(),
            sent: Box::new([None; NUMBERS]),
        })
    }

    /// Keeps a sealed packet.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        sealed: &[u8],
        sequence: u16,
        transport_sequence: u16,
    ) {
        let sequence = self.numbers.extend(sequence);
        self.packets.insert(now, sequence, sealed);
        self.sent[sequence as usize % NUMBERS] = Some(Sent {
            sequence,
            transport_sequence,
            at: now,
        });
    }

    /// Whether a packet of this number was kept; it may be gone by now.
    pub(super) fn knows(&self, sequence: u16) -> bool {
        let sequence = self.numbers.peek(sequence);
        self.sent[sequence as usize % NUMBERS].is_some_and(|sent| sent.sequence == sequence)
    }

    /// A packet to send again; none if it is gone, or was sent long ago.
    pub(super) fn again(&self, now: Instant, sequence: u16) -> Option<Again<'_>> {
        let sequence = self.numbers.peek(sequence);
        let sent = self.sent[sequence as usize % NUMBERS].as_ref()?;
        let worth = sent.sequence == sequence && now <= sent.at + WORTH;
        let sealed = self.packets.get(sequence).filter(|_| worth)?;
        Some(Again {
            sealed,
            transport_sequence: sent.transport_sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16) -> Vec<u8> {
        vec![sequence as u8; 1_200]
    }

    #[test]
    fn the_same_bytes_come_again_within_bounds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut kept = Kept::new(&CacheShare::default()).expect("there is room");
        for sequence in 65_500..=65_535 {
            kept.keep(start, &packet(sequence), sequence, sequence ^ 1);
        }
        for sequence in 0..10 {
            kept.keep(at(100), &packet(sequence), sequence, sequence ^ 1);
        }
        for (what, ms, sequence, comes) in [
            ("never sent", 110, 10, false),
            ("from before the first", 110, 65_499, false),
            ("across the wrap", 110, 65_535, true),
            ("another", 110, 3, true),
            ("lost once more", 140, 3, true),
            ("two seconds after it was sent", 2_100, 4, true),
            ("later", 2_101, 5, false),
        ] {
            let again = kept.again(at(ms), sequence);
            let bytes = packet(sequence);
            let expected = comes.then_some(Again {
                sealed: &bytes,
                transport_sequence: sequence ^ 1,
            });
            assert_eq!(again, expected, "{what}");
        }
    }

    #[test]
    fn what_others_took_the_place_of_is_gone() {
        let now = Instant::now();
        let mut kept = Kept::new(&CacheShare::default()).expect("there is room");
        for sequence in 0..2_000 {
            kept.keep(now, &packet(sequence), sequence, 0);
        }
        assert!(kept.knows(1_999) && !kept.knows(1_999 - NUMBERS as u16));
        assert_eq!(kept.again(now, 1_999 - NUMBERS as u16), None);
        assert!(kept.again(now, 1_990).is_some());
    }
}
