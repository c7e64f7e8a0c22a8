//! Packets sent and not yet answered for, by transport-wide sequence number.

use crate::prefetch;
use crate::rtp::sequence::Extender;

/// Packets remembered at first: enough for a viewer that only listens, in half a KiB.
const SMALLEST: usize = 64;
/// Packets remembered at most, in 128 KiB: 1.2 s of 150 Mbit/s in packets of 1,200 bytes. Feedback every 250 ms over a
/// round trip of 300 ms needs half of it.
const LARGEST: usize = 16_384;
/// Age from which on an unanswered packet makes room for others before the ring grows.
const FORGET_US: i64 = 2_000_000;
/// Time by which packets may overtake each other: one reported missing counts as lost only after that. Jitter of 30 ms
/// either way causes as much.
const REORDER_US: i64 = 60_000;
/// Unsettled packets prefetched ahead of a report: more than 60 ms of 40 Mbit/s. Older ones wait for a lost report, and
/// not for this one.
const UNSETTLED: usize = 256;

/// The state of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    /// No report came, perhaps because it was lost.
    Unknown,
    /// Reported as not received so far.
    Missing,
    Arrived,
    /// Lost, and sent again under its number.
    Lost,
}

/// A packet sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    /// The time of sending, in microseconds.
    pub(super) at: i64,
    /// Bytes with the overhead of IP and UDP.
    pub(super) bytes: u16,
    /// The probe it belongs to; 0 is none.
    pub(super) probe: u8,
    status: Status,
}

/// A packet sent, in 8 bytes: every packet to every viewer is recorded, and they are read again when others have been
/// through the cache.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// The time of sending in microseconds, modulo about an hour.
    at: u32,
    /// The low bits of its number: another packet at its place has others.
    number: u16,
    /// Bytes, status and probe.
    rest: u16,
}

const BYTES: u16 = (1 << 11) - 1;
const STATUS: u16 = 11;
const PROBE: u16 = 13;
/// Ids of probes are at most this, and not 0.
pub(super) const PROBE_IDS: u8 = 7;

impl Entry {
    fn new(at: i64, number: u64, bytes: u16, probe: u8) -> Self {
        let probe = u16::from(probe.min(PROBE_IDS));
        Self {
            at: at as u32,
            number: number as u16,
            rest: bytes.min(BYTES) | (Status::Unknown as u16) << STATUS | probe << PROBE,
        }
    }

    fn status(self) -> Status {
        match self.rest >> STATUS & 3 {
            0 => Status::Unknown,
            1 => Status::Missing,
            2 => Status::Arrived,
            _ => Status::Lost,
        }
    }

    fn set_status(&mut self, status: Status) {
        self.rest = self.rest & !(3 << STATUS) | (status as u16) << STATUS;
    }

    fn bytes(self) -> u16 {
        self.rest & BYTES
    }

    /// Unpacks the entry. `latest` is the time of the last packet, less than an hour after this one.
    fn read(self, latest: i64) -> Sent {
        Sent {
            at: latest - i64::from((latest as u32).wrapping_sub(self.at)),
            bytes: self.bytes(),
            probe: (self.rest >> PROBE) as u8,
            status: self.status(),
        }
    }
}

/// Packets recorded near at hand before they go to the ring: a line of the cache. If each of a thousand viewers is sent
/// one packet, its place in the ring is far away.
const FRESH: usize = 8;

/// A ring over the unwrapped numbers, which grows.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last packets sent, not in the ring yet, and their number.
    fresh: [Entry; FRESH],
    waiting: usize,
    ring: Vec<Entry>,
    numbers: Extender,
    /// The time of the last packet.
    latest: i64,
    /// The newest packet that arrived: its number and its time of sending.
    newest: Option<(u64, i64)>,
    /// The number up to which losses were counted.
    settled: u64,
}

impl History {
    /// Prefetches the memory that recording a packet needs.
    pub(super) fn prefetch(&self) {
        prefetch::line(&self.fresh);
        prefetch::line(&self.latest);
    }

    /// Prefetches the places of the next packets.
    pub(super) fn prefetch_ring(&self) {
        let fresh = self.fresh.first().map_or(0, |entry| entry.number);
        self.prefetch_range(fresh, 2 * FRESH);
    }

    /// Prefetches so many packets from one on, and the earlier ones that are not settled.
    pub(super) fn prefetch_report(&self, first: u16, count: usize) {
        let unsettled = usize::from(first.wrapping_sub(self.settled as u16));
        if unsettled < UNSETTLED {
            self.prefetch_range(self.settled as u16, unsettled + count);
        } else {
            self.prefetch_range(first, count);
        }
    }

    /// Prefetches the places of so many packets from one on.
    fn prefetch_range(&self, first: u16, count: usize) {
        for ahead in (0..count.min(u16::MAX.into())).step_by(FRESH) {
            let slot = self.slot(first.wrapping_add(ahead as u16));
            if let Some(entry) = self.ring.get(slot) {
                prefetch::line(entry);
            }
        }
    }

    /// Records a packet sent; [`file`](Self::file) makes it known.
    pub(super) fn insert(&mut self, at: i64, sequence: u16, bytes: u16, probe: u8) {
        let number = self.numbers.extend(sequence);
        self.latest = at;
        if self.waiting == FRESH {
            self.file();
        }
        if let Some(fresh) = self.fresh.get_mut(self.waiting) {
            *fresh = Entry::new(at, number, bytes, probe);
            self.waiting += 1;
        }
    }

    /// Moves recorded packets into the ring: to be called before any query or report.
    pub(super) fn file(&mut self) {
        for at in 0..std::mem::take(&mut self.waiting) {
            let Some(fresh) = self.fresh.get(at).copied() else {
                return;
            };
            let mut slot = self.slot(fresh.number);
            while self.ring.get(slot).is_none_or(|old| self.waits(*old))
                && self.ring.len() < LARGEST
            {
                self.grow();
                slot = self.slot(fresh.number);
            }
            if let Some(slot) = self.ring.get_mut(slot) {
                *slot = fresh;
            }
        }
    }

    /// The place of a number. A ring's length divides the range of numbers.
    fn slot(&self, number: u16) -> usize {
        usize::from(number) & self.ring.len().wrapping_sub(1)
    }

    /// Whether a packet must keep its place, as it may yet be answered for.
    fn waits(&self, old: Entry) -> bool {
        old.bytes() > 0
            && old.status() == Status::Unknown
            && i64::from((self.latest as u32).wrapping_sub(old.at)) < FORGET_US
    }

    #[cold]
    fn grow(&mut self) {
        let len = (self.ring.len() * 2).clamp(SMALLEST, LARGEST);
        let old = std::mem::replace(&mut self.ring, vec![Entry::default(); len]);
        for sent in old {
            self.ring[usize::from(sent.number) & (len - 1)] = sent;
        }
    }

    /// The unwrapped number meant by one in a report.
    pub(super) fn number(&self, sequence: u16) -> Option<u64> {
        let highest = self.numbers.highest()?;
        Some(self.numbers.peek(sequence)).filter(|number| *number <= highest)
    }

    fn get(&self, number: u64) -> Option<Sent> {
        let entry = self.ring.get(self.slot(number as u16))?;
        let found = entry.number == number as u16 && entry.bytes() > 0;
        found.then(|| entry.read(self.latest))
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let slot = self.slot(number as u16);
        self.ring
            .get_mut(slot)
            .filter(|entry| entry.number == number as u16 && entry.bytes() > 0)
    }

    /// Records an arrival; none if no such packet was sent, or it is no news.
    pub(super) fn arrived(&mut self, number: u64) -> Option<(Sent, Status)> {
        let latest = self.latest;
        let entry = self.get_mut(number)?;
        let sent = entry.read(latest);
        if matches!(sent.status, Status::Arrived | Status::Lost) {
            return None;
        }
        entry.set_status(Status::Arrived);
        if self.newest.is_none_or(|(newest, _)| number > newest) {
            self.newest = Some((number, sent.at));
        }
        Some((sent, sent.status))
    }

    /// Records that a packet has not arrived so far; none as for [`arrived`](Self::arrived).
    pub(super) fn missing(&mut self, number: u64) -> Option<Sent> {
        let latest = self.latest;
        let entry = self.get_mut(number)?;
        (entry.status() == Status::Unknown).then(|| {
            entry.set_status(Status::Missing);
            entry.read(latest)
        })
    }

    /// Makes a packet that has not arrived so far count as lost, even if it arrives later.
    pub(super) fn give_up(&mut self, number: u64) {
        if let Some(entry) = self.get_mut(number)
            && entry.status() != Status::Arrived
        {
            entry.set_status(Status::Lost);
        }
    }

    /// The time of sending of the newest packet that arrived, in microseconds.
    pub(super) fn newest(&self) -> Option<i64> {
        self.newest.map(|(_, at)| at)
    }

    /// Bytes of packets in a range without any report: the report was lost.
    pub(super) fn unknown_bytes(&self, from: u64, to: u64) -> u64 {
        let from = from.max(to.saturating_sub(self.ring.len() as u64));
        (from..to)
            .filter_map(|number| self.get(number))
            .filter(|sent| sent.status == Status::Unknown)
            .map(|sent| u64::from(sent.bytes))
            .sum()
    }

    /// Calls `each` once for every settled packet: its time of sending, its bytes, and whether it was lost.
    pub(super) fn settle(&mut self, mut each: impl FnMut(i64, u16, bool)) {
        let Some((newest, newest_at)) = self.newest else {
            return;
        };
        let oldest = (newest + 1).saturating_sub(self.ring.len() as u64);
        let mut settled = self.settled.max(oldest);
        while settled <= newest {
            if let Some(sent) = self.get(settled) {
                if sent.at > newest_at - REORDER_US {
                    break;
                }
                if sent.status != Status::Unknown {
                    each(sent.at, sent.bytes, sent.status != Status::Arrived);
                }
            }
            settled += 1;
        }
        self.settled = settled;
    }

    /// Packets there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.ring.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_needs_little_and_a_fast_link_is_bounded() {
        for (what, spacing_us, answered_us, expected) in [
            ("sound", 20_000, 300_000, 64),
            ("2 Mbit/s", 5_000, 500_000, 128),
            ("100 Mbit/s", 100, 500_000, 8_192),
            ("no answers", 100, i64::MAX, LARGEST),
        ] {
            let mut history = History::default();
            for index in 0..100_000_i64 {
                history.insert(index * spacing_us, index as u16, 1_200, 0);
                history.file();
                let answered = index.saturating_sub(answered_us / spacing_us);
                if answered >= 0
                    && let Some(number) = history.number(answered as u16)
                {
                    history.arrived(number);
                }
            }
            assert_eq!(history.capacity(), expected, "{what}");
        }
    }

    #[test]
    fn a_packet_is_lost_only_when_it_can_no_longer_come() {
        let mut history = History::default();
        for index in 0..20_u16 {
            history.insert(
                i64::from(index) * 10_000,
                65_530_u16.wrapping_add(index),
                1_000,
                0,
            );
        }
        history.file();
        let at =
            |history: &History, index: u16| history.number(65_530_u16.wrapping_add(index)).unwrap();
        let mut lost = Vec::new();
        for index in [0, 1, 3, 5] {
            let number = at(&history, index);
            assert!(history.arrived(number).is_some(), "{index}");
            assert!(history.arrived(number).is_none(), "{index} twice");
        }
        for index in [2, 4] {
            let number = at(&history, index);
            assert!(history.missing(number).is_some(), "{index}");
        }
        history.settle(|at, _, missing| lost.push((at, missing)));
        assert_eq!(lost, vec![]);
        // The late one comes, and later packets show that the other is gone. No report covers 6 to 9.
        let late = at(&history, 4);
        assert_eq!(history.arrived(late).unwrap().1, Status::Missing);
        // A packet sent again under its number is lost, though it comes.
        let again = at(&history, 6);
        history.give_up(again);
        assert_eq!(history.arrived(again), None);
        let newest = at(&history, 12);
        history.arrived(newest);
        history.settle(|at, _, missing| lost.push((at / 10_000, missing)));
        let expected = [
            (0, false),
            (1, false),
            (2, true),
            (3, false),
            (4, false),
            (5, false),
            (6, true),
        ];
        assert_eq!(lost, expected);
        assert_eq!(history.unknown_bytes(at(&history, 6), newest), 5_000);
        // A number never sent is unknown.
        assert_eq!(history.number(65_530_u16.wrapping_add(20)), None);
    }
}
