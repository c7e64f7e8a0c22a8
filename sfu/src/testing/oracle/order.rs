//! Puts packets in order, as a jitter buffer does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::rtp::sequence::Extender;

#[derive(Debug)]
pub(super) struct Packet {
    pub(super) sequence: u16,
    pub(super) marker: bool,
    pub(super) timestamp: u32,
    pub(super) payload: Vec<u8>,
    /// The dependency descriptor.
    pub(super) dependencies: Option<Vec<u8>>,
    pub(super) at: Instant,
}

pub(super) enum Arrival {
    Newest,
    Reordered,
    /// A packet given up before.
    Late,
    Duplicate,
    /// Too far from the highest number to belong to the same run.
    Jump {
        from: u16,
    },
}

/// RFC 3550 appendix A.1 (MAX_DROPOUT).
const MAX_JUMP: u64 = 3_000;

/// A gap is waited for as long as a retransmission may take over a bad link: two round trips of
/// 300 ms, their NACK timers, and as much again.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Packets that may wait for an earlier one, at most: half a second of a 24 Mbit/s stream.
const MAX_WAITING: usize = 1_024;

/// Time to wait for a packet earlier than the first received, which need not be the first sent.
const START_WAIT: Duration = Duration::from_millis(100);

/// Lost packets remembered, to tell a late one from a duplicate. Beyond [`MAX_JUMP`] a packet is no
/// longer late.
const MAX_MISSING: usize = MAX_JUMP as usize;

#[derive(Debug, Default)]
pub(super) struct Order {
    extender: Extender,
    started: Option<Instant>,
    last_arrival: Option<Instant>,
    /// The next packet that `pop` returns.
    next: Option<u64>,
    waiting: BTreeMap<u64, Packet>,
    missing: BTreeSet<u64>,
}

impl Order {
    /// The place of a packet of this sequence number.
    pub(super) fn arrival(&mut self, sequence: u16) -> Arrival {
        let Some(highest) = self.extender.highest() else {
            return Arrival::Newest;
        };
        let extended = self.extender.peek(sequence);
        if extended.abs_diff(highest) > MAX_JUMP {
            return Arrival::Jump {
                from: highest as u16,
            };
        }
        if extended > highest {
            return Arrival::Newest;
        }
        if self.next.is_some_and(|next| extended < next) {
            return if self.missing.remove(&extended) {
                Arrival::Late
            } else {
                Arrival::Duplicate
            };
        }
        if self.waiting.contains_key(&extended) {
            Arrival::Duplicate
        } else {
            Arrival::Reordered
        }
    }

    pub(super) fn insert(&mut self, packet: Packet) {
        self.started.get_or_insert(packet.at);
        self.last_arrival = Some(packet.at);
        let extended = self.extender.extend(packet.sequence);
        self.waiting.insert(extended, packet);
    }

    pub(super) fn last_arrival(&self) -> Option<Instant> {
        self.last_arrival
    }

    /// The next packet in order, and how many before it are given up. `all` gives up every gap.
    pub(super) fn pop(&mut self, now: Instant, all: bool) -> Option<(Packet, u64)> {
        let first = *self.waiting.first_key_value()?.0;
        let Some(next) = self.next else {
            let started = self.started?;
            if !all && now.saturating_duration_since(started) < START_WAIT {
                return None;
            }
            self.next = Some(first);
            return self.pop(now, all);
        };
        if first > next && !all {
            let oldest = self.waiting.values().map(|packet| packet.at).min()?;
            if self.waiting.len() <= MAX_WAITING
                && now.saturating_duration_since(oldest) <= MAX_WAIT
            {
                return None;
            }
        }
        for missing in next..first {
            self.missing.insert(missing);
        }
        while self.missing.len() > MAX_MISSING {
            self.missing.pop_first();
        }
        self.next = Some(first + 1);
        let (_, packet) = self.waiting.pop_first()?;
        Some((packet, first - next))
    }
}
