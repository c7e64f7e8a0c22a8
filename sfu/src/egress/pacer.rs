//! Spreads a viewer's packets over time, so that the queue of its link stays short.
//!
//! It is a leaky bucket of debt: bytes sent, less the bytes that the rate has carried away since. While the debt is
//! small, packets pass at once and in the batches in which they came, as for every viewer with a fast link. Beyond that
//! video waits here, as a reference to its publisher's packet cache: a viewer's queue stores only a packet's numbers.
//! Audio never waits.
//!
//! The bucket's depth is libwebrtc's burst interval. Repairs go before new video, as in libwebrtc
//! (`modules/pacing/pacing_controller.cc`).

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::bwe::Probe;
use super::outlet::Outgoing;
use super::slot::Repair;
use crate::index::TrackIx;
use crate::packet::Packet;

/// The burst that may leave at once: long enough that a timer of a few milliseconds keeps up and runs are worth sealing
/// together, short enough for a link's queue.
const BURST: Duration = Duration::from_millis(40);
/// Least burst in bytes, at any rate one packet: behind more, audio would wait on a narrow link.
const BURST_BYTES: i64 = 1_400;
/// Debt is counted in millionths of a bit, so that a rate times microseconds is exact.
const UNIT: i64 = 8 * 1_000_000;
/// Packets that may wait: at 10 Mbit/s more than a second's worth. Further packets are lost, as on a link whose queue
/// is full, and the viewer asks for them again.
const QUEUE: usize = 1_024;
/// Repairs that may wait; for others the viewer asks again.
const REPAIRS: usize = 256;
/// Longest time that packets count as waiting at the bottleneck: a router's queue is about a fifth of a second.
const QUEUED: Duration = Duration::from_millis(250);
/// Delay from which on pictures are of no use in a conversation: longer than any keyframe takes that fits the link.
const LATE: Duration = Duration::from_millis(500);
/// Delay from which on old pictures are dropped when a newer keyframe has come.
const SKIPPED: Duration = Duration::from_millis(100);
/// If a wait is bounded: its last part, in which everything that waits leaves.
const LEAST_LEFT: Duration = Duration::from_millis(20);
/// Interval at which a viewer whose path takes nothing is looked at: late pictures are dropped meanwhile.
const BLOCKED: Duration = Duration::from_millis(100);
/// Age from which on a packet is not worth sending: its frame's time is over.
const STALE: Duration = Duration::from_secs(1);

/// A packet that waits; its bytes are in its publisher's cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) slot: u32,
    pub(crate) outgoing: Outgoing,
    pub(crate) source: Cached,
}

impl Paced {
    /// A packet of the track at `track`, as planned for a slot.
    pub(crate) fn new(slot: u32, outgoing: Outgoing, track: TrackIx, packet: &Packet<'_>) -> Self {
        Self {
            slot,
            outgoing,
            source: Cached {
                track,
                layer: packet.layer,
                ssrc: packet.header.ssrc,
                sequence: packet.sequence,
            },
        }
    }
}

/// The place of a packet in a publisher's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cached {
    /// Its track.
    pub(crate) track: TrackIx,
    pub(crate) layer: usize,
    /// The SSRC of the publisher's stream; the packet is lost once another stream has begun.
    pub(crate) ssrc: u32,
    /// The publisher's sequence number, unwrapped.
    pub(crate) sequence: u64,
}

/// The next thing to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// A packet again, on a slot.
    Repair(usize, Repair),
    Media(Paced),
    /// So many bytes of anything, as a probe.
    Padding(usize),
}

/// The pacer of one viewer.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    /// Bits a second; none while the link is unknown, and then nothing waits.
    rate: Option<u64>,
    /// The longest wait of video, whatever the rate; none: no bound.
    wait: Option<Duration>,
    /// Bytes sent that the rate has not carried away yet, in [`UNIT`]s.
    debt: i64,
    updated: Option<Instant>,
    media: VecDeque<(Instant, Paced)>,
    repairs: VecDeque<(usize, Repair)>,
    queued_bytes: usize,
    probe: Option<ActiveProbe>,
    /// The path takes nothing for now: everything waits.
    is_blocked: bool,
    pub(crate) overflowed: u64,
}

#[derive(Clone, Copy, Debug)]
struct ActiveProbe {
    probe: Probe,
    since: Instant,
    bytes: usize,
    packets: u32,
}

impl ActiveProbe {
    /// The time at which the next packet is due.
    fn next_at(&self) -> Instant {
        let took = self.bytes as u64 * 8 * 1_000_000 / self.probe.bitrate.max(1);
        self.since + Duration::from_micros(took)
    }
}

impl Pacer {
    /// Sets the rate in bits a second; none lets everything pass.
    pub(crate) fn set_rate(&mut self, now: Instant, rate: Option<u64>) {
        self.settle(now);
        self.rate = rate;
        // Packets sent at a higher rate wait at the bottleneck for no longer than its queue holds.
        let rate = i64::try_from(rate.unwrap_or(0)).unwrap_or(i64::MAX);
        let most = rate.saturating_mul(QUEUED.as_micros() as i64);
        self.debt = self.debt.min(most.max(self.burst()));
    }

    /// Bounds the wait of video: packets that would wait longer leave faster. None: the rate alone counts.
    pub(crate) fn set_wait(&mut self, wait: Option<Duration>) {
        self.wait = wait;
    }

    /// Lets nothing leave for as long as the path takes nothing, whatever the rate.
    pub(crate) fn set_blocked(&mut self, now: Instant, is_blocked: bool) {
        self.settle(now);
        self.is_blocked = is_blocked;
    }

    /// Bits a second at which waiting packets leave now.
    fn draining(&self, now: Instant) -> Option<u64> {
        let rate = self.rate?;
        let (Some(wait), Some(since)) = (self.wait, self.queued_since()) else {
            return Some(rate);
        };
        let left = wait.saturating_sub(now.saturating_duration_since(since));
        let left = left.max(LEAST_LEFT).as_micros() as u64;
        // Bytes sent earlier go through the link first.
        let debt = (self.debt - self.burst()).max(0) / UNIT;
        Some(rate.max((self.queued_bytes as u64 + debt as u64) * 8_000_000 / left))
    }

    /// Whether a packet of `bytes` may leave now; then it is counted.
    pub(crate) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        // Packets that waited go first, also where the rate is unknown.
        if self.is_blocked || !self.media.is_empty() {
            return false;
        }
        if self.rate.is_none() {
            return true;
        }
        self.settle(now);
        let admits = self.debt <= self.burst();
        if admits {
            self.debt = self.debt.saturating_add(bytes as i64 * UNIT);
        }
        admits
    }

    /// Counts a packet that was sent without [`admits`](Self::admits).
    pub(crate) fn passed(&mut self, bytes: usize) {
        if self.rate.is_none() {
            return;
        }
        self.debt = self.debt.saturating_add(bytes as i64 * UNIT);
    }

    /// Queues a packet; false if too many wait.
    pub(crate) fn push(&mut self, now: Instant, paced: Paced) -> bool {
        if self.media.len() >= QUEUE {
            self.overflowed += 1;
            return false;
        }
        self.queued_bytes += usize::from(paced.outgoing.len);
        self.media.push_back((now, paced));
        true
    }

    /// Whether a repair may be sent now; otherwise it is queued. Count the packet sent with [`passed`](Self::passed).
    pub(crate) fn admits_repair(&mut self, now: Instant, slot: usize, repair: Repair) -> bool {
        if self.rate.is_none() && !self.is_blocked {
            return true;
        }
        self.settle(now);
        if !self.is_blocked && self.repairs.is_empty() && self.debt <= self.burst() {
            return true;
        }
        if self.repairs.len() < REPAIRS {
            self.repairs.push_back((slot, repair));
        } else {
            self.overflowed += 1;
        }
        false
    }

    /// Begins a probe, in place of one under way.
    pub(crate) fn begin_probe(&mut self, now: Instant, probe: Probe) {
        self.probe = Some(ActiveProbe {
            probe,
            since: now,
            bytes: 0,
            packets: 0,
        });
    }

    /// Counts a packet sent now towards the probe under way, and returns that probe's id.
    pub(crate) fn note_probe(&mut self, bytes: usize) -> Option<u8> {
        let active = self.probe.as_mut()?;
        active.bytes += bytes;
        active.packets += 1;
        let cluster = active.probe.cluster;
        if active.bytes >= active.probe.bytes && active.packets >= active.probe.packets {
            self.probe = None;
        }
        Some(cluster)
    }

    /// The next thing that may be sent now. Count the bytes sent with [`passed`](Self::passed): the packet may be gone
    /// from its publisher's cache, and then nothing is sent.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Next> {
        self.settle(now);
        if self.is_blocked {
            return None;
        }
        let due = self.probe.is_some_and(|probe| probe.next_at() <= now);
        if !due && self.rate.is_some() && self.debt > self.burst() {
            return None;
        }
        // Repairs go first, but not for ever if a wait is bounded.
        let waited = self
            .queued_since()
            .map(|since| now.saturating_duration_since(since));
        let late = self
            .wait
            .zip(waited)
            .is_some_and(|(wait, waited)| waited > wait / 2);
        if !late && let Some((slot, repair)) = self.repairs.pop_front() {
            return Some(Next::Repair(slot, repair));
        }
        while let Some((since, paced)) = self.media.pop_front() {
            let bytes = usize::from(paced.outgoing.len);
            self.queued_bytes -= bytes;
            if now.saturating_duration_since(since) > STALE {
                self.overflowed += 1;
                continue;
            }
            return Some(Next::Media(paced));
        }
        let left = self.probe.map(|probe| {
            let left = probe.probe.bytes.saturating_sub(probe.bytes);
            // The probe needs enough packets to measure anything.
            left.min(probe.probe.bytes / probe.probe.packets.max(1) as usize)
        });
        due.then_some(Next::Padding(left?.max(1)))
    }

    /// Ends a probe for which nothing can be sent.
    pub(crate) fn give_up_probe(&mut self) {
        self.probe = None;
    }

    /// When [`next`](Self::next) has something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let probe = self.probe.map(|probe| probe.next_at());
        let waits = !self.media.is_empty() || !self.repairs.is_empty();
        if self.is_blocked {
            return self.updated.filter(|_| waits).map(|at| at + BLOCKED);
        }
        // Half a burst leaves at a time, so that the packets are worth sealing together.
        let drained = waits.then_some(()).and_then(|()| {
            let over = (self.debt - self.burst() / 2).max(0) as u64;
            let at = self.updated?;
            let rate = self.draining(at).unwrap_or(u64::MAX).max(1);
            let took = Duration::from_micros(over / rate + 1);
            // Packets leave the faster the longer they have waited.
            Some(at + self.wait.map_or(took, |wait| took.min(wait / 8)))
        });
        probe.into_iter().chain(drained).min()
    }

    /// Drops the packets of a slot that have waited long: a keyframe of another layer makes them useless.
    pub(crate) fn skip(&mut self, now: Instant, slot: usize) {
        let long = |since: Instant| now.saturating_duration_since(since) > SKIPPED;
        if self.queued_since().is_some_and(long) {
            self.forget_slot(slot);
        }
    }

    /// Drops the waiting repairs.
    pub(crate) fn forget_repairs(&mut self) {
        self.repairs.clear();
    }

    /// Drops the waiting packets of a slot, which carries something else now.
    pub(crate) fn forget_slot(&mut self, slot: usize) {
        self.retain_media(|paced| paced.slot as usize != slot);
        self.repairs.retain(|(other, _)| *other != slot);
    }

    /// Drops the waiting packets of a layer: its publisher has begun another stream, and another cache.
    pub(crate) fn forget_layer(&mut self, track: TrackIx, layer: usize) {
        self.retain_media(|paced| (paced.source.track, paced.source.layer) != (track, layer));
        self.repairs
            .retain(|(_, repair)| (repair.track, repair.layer) != (track, layer));
    }

    fn retain_media(&mut self, stays: impl Fn(&Paced) -> bool) {
        self.media.retain(|(_, paced)| stays(paced));
        self.queued_bytes = self
            .media
            .iter()
            .map(|(_, paced)| usize::from(paced.outgoing.len))
            .sum();
    }

    /// Whether video has waited here for longer than pictures may be late.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let waited = |since| now.saturating_duration_since(since) > LATE;
        self.wait.is_none() && self.queued_since().is_some_and(waited)
    }

    /// Whether a slot has a quarter of the waiting bytes, or its even share of them if more than four slots wait.
    pub(crate) fn is_filled_by(&self, slot: usize) -> bool {
        let mut slots = BTreeSet::new();
        let mut bytes = 0;
        for (_, paced) in &self.media {
            slots.insert(paced.slot);
            if paced.slot as usize == slot {
                bytes += usize::from(paced.outgoing.len);
            }
        }
        bytes * slots.len().max(4) >= self.queued_bytes
    }

    /// Bytes that wait.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// The time since which the first waiting packet waits.
    pub(crate) fn queued_since(&self) -> Option<Instant> {
        self.media.front().map(|(since, _)| *since)
    }

    fn burst(&self) -> i64 {
        let rate = i64::try_from(self.rate.unwrap_or(0)).unwrap_or(i64::MAX);
        rate.saturating_mul(BURST.as_micros() as i64)
            .max(BURST_BYTES * UNIT)
    }

    fn settle(&mut self, now: Instant) {
        // All packets of a turn leave at one moment.
        if self.updated == Some(now) {
            return;
        }
        let since = self.updated.replace(now).unwrap_or(now);
        let Some(rate) = self.draining(now) else {
            self.debt = 0;
            return;
        };
        let passed = now.saturating_duration_since(since);
        let carried = rate.saturating_mul(passed.as_micros() as u64);
        // Unused time is not saved up.
        let carried = i64::try_from(carried).unwrap_or(i64::MAX);
        self.debt = self.debt.saturating_sub(carried).max(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paced(sequence: u64) -> Paced {
        Paced {
            slot: 0,
            outgoing: Outgoing::of_len(1_000),
            source: Cached {
                track: TrackIx::from(0),
                layer: 0,
                ssrc: 1,
                sequence,
            },
        }
    }

    fn repair(lost: u16) -> Repair {
        Repair {
            track: TrackIx::from(0),
            layer: 0,
            ssrc: 1,
            sequence: u64::from(lost),
            lost,
        }
    }

    /// Offers `count` packets at once, then lets time pass. Returns the times at which they left, in milliseconds.
    fn departures(rate: u64, count: u64) -> Vec<u128> {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(rate));
        let mut left = Vec::new();
        for sequence in 0..count {
            if pacer.admits(start, 1_000) {
                left.push(0);
            } else {
                assert!(pacer.push(start, paced(sequence)));
            }
        }
        while let Some(at) = pacer.poll_timeout() {
            let at = at.max(start);
            while let Some(next) = pacer.next(at) {
                assert!(
                    matches!(next, Next::Media(paced) if paced.source.sequence == left.len() as u64)
                );
                pacer.passed(1_000);
                left.push((at - start).as_millis());
            }
        }
        assert_eq!(pacer.queued_bytes(), 0);
        left
    }

    #[test]
    fn a_burst_passes_and_the_rest_leaves_at_the_rate_in_order() {
        let left = departures(800_000, 50);
        assert_eq!(left.len(), 50);
        let at_once = left.iter().filter(|at| **at == 0).count();
        assert_eq!(at_once, 5, "40 ms are 4,000 bytes");
        // The burst aside, 46,000 bytes leave at 100 bytes a millisecond.
        let last = left.last().copied().unwrap_or_default();
        assert!((440..=470).contains(&last), "{last} {left:?}");
    }

    #[test]
    fn a_wait_is_bounded_whatever_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(50_000));
        pacer.set_wait(Some(Duration::from_millis(400)));
        let (mut now, mut sent, mut longest) = (start, 0, Duration::ZERO);
        for step in 0..2_000_u64 {
            now = start + Duration::from_millis(step);
            // 2 Mbit/s arrive for a second.
            if step < 1_000 && step % 4 == 0 && !pacer.admits(now, 1_000) {
                assert!(pacer.push(now, paced(step)));
            }
            if pacer.poll_timeout().is_some_and(|at| at <= now) {
                while let Some(next) = pacer.next(now) {
                    let Next::Media(paced) = next else { continue };
                    pacer.passed(1_000);
                    let since = start + Duration::from_millis(paced.source.sequence);
                    longest = longest.max(now - since);
                    sent += 1;
                }
            }
        }
        assert!(sent > 240, "{sent}");
        assert!(longest < Duration::from_millis(450), "{longest:?}");
        assert!(pacer.queued_since().is_none() && pacer.overflowed == 0);
        assert_eq!(pacer.poll_timeout(), None, "{now:?}");
    }

    #[test]
    fn a_link_of_which_nothing_is_known_lets_everything_pass() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        assert!((0..10_000).all(|_| pacer.admits(now, 1_200)));
        assert!(pacer.admits_repair(now, 0, repair(1)));
        assert_eq!(pacer.poll_timeout(), None);
    }

    #[test]
    fn repairs_go_first_and_what_is_too_old_not_at_all() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(100_000));
        pacer.passed(20_000);
        assert!(!pacer.admits(start, 1_000));
        pacer.push(start, paced(1));
        assert!(!pacer.admits_repair(start, 3, repair(9)));
        let later = start + Duration::from_secs(3);
        assert!(matches!(pacer.next(later), Some(Next::Repair(3, repair)) if repair.lost == 9));
        assert!(pacer.next(later).is_none());
        assert_eq!(pacer.overflowed, 1);
    }

    #[test]
    fn a_path_that_takes_nothing_holds_everything_back_in_order_whatever_the_rate() {
        for rate in [None, Some(1_000_000)] {
            let start = Instant::now();
            let mut pacer = Pacer::default();
            pacer.set_rate(start, rate);
            pacer.set_blocked(start, true);
            for sequence in 1..=2 {
                assert!(!pacer.admits(start, 1_000));
                pacer.push(start, paced(sequence));
            }
            assert!(!pacer.admits_repair(start, 0, repair(9)));
            assert!(pacer.next(start + BLOCKED).is_none());
            // It is looked at meanwhile, so that late pictures are dropped.
            assert_eq!(pacer.poll_timeout(), Some(start + 2 * BLOCKED));
            let now = start + BLOCKED;
            pacer.set_blocked(now, false);
            assert!(!pacer.admits(now, 1_000), "what waited goes first");
            assert!(matches!(pacer.next(now), Some(Next::Repair(0, _))));
            for expected in 1..=2 {
                let next = pacer.next(now);
                assert!(
                    matches!(next, Some(Next::Media(paced)) if paced.source.sequence == expected),
                    "{next:?}"
                );
            }
            assert!(pacer.admits(now, 1_000));
        }
    }

    #[test]
    fn repairs_do_not_hold_up_what_has_waited_for_half_of_a_bounded_wait() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(100_000));
        pacer.set_wait(Some(Duration::from_millis(400)));
        pacer.passed(5_000);
        pacer.push(start, paced(1));
        for lost in 0..200 {
            assert!(!pacer.admits_repair(start, 0, repair(lost)));
        }
        let (mut now, mut left_at) = (start, None);
        while left_at.is_none() {
            now = pacer.poll_timeout().unwrap_or(now).max(now);
            match pacer.next(now) {
                Some(Next::Media(_)) => left_at = Some(now),
                Some(_) => pacer.passed(1_000),
                None => now += Duration::from_millis(1),
            }
        }
        let waited = left_at.map(|at| at - start).unwrap_or_default();
        assert!((200..450).contains(&waited.as_millis()), "{waited:?}");
    }

    #[test]
    fn a_probe_leaves_at_its_own_rate_and_takes_what_there_is() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(100_000));
        pacer.begin_probe(
            start,
            Probe {
                cluster: 7,
                bitrate: 4_000_000,
                bytes: 10_000,
                packets: 5,
            },
        );
        let (mut at, mut sent) = (start, Vec::new());
        while let Some(next_at) = pacer.poll_timeout() {
            at = at.max(next_at);
            while let Some(next) = pacer.next(at) {
                // The packets are small enough for five of them.
                let left = (10_000 - 1_000 * sent.len()).min(2_000);
                assert!(matches!(next, Next::Padding(bytes) if bytes == left));
                assert_eq!(pacer.note_probe(1_000), Some(7));
                sent.push(at - start);
            }
        }
        assert_eq!(sent.len(), 10);
        assert_eq!(sent.last(), Some(&Duration::from_millis(18)));
        assert_eq!(pacer.note_probe(1_000), None, "it is over");
    }

    #[test]
    fn what_is_gone_costs_the_others_no_time() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(1_000_000));
        pacer.passed(10_000);
        for sequence in 0..500 {
            pacer.push(start, paced(sequence));
        }
        // They would take four seconds, so that none is sent.
        let at = pacer.poll_timeout().unwrap();
        let found = std::iter::from_fn(|| pacer.next(at)).count();
        assert_eq!((found, pacer.queued_bytes()), (500, 0));
        assert!(at - start < Duration::from_millis(80), "{:?}", at - start);
        assert!(pacer.admits(at, 1_000), "who comes next");
    }

    #[test]
    fn what_waited_of_a_layer_that_begins_anew_is_forgotten() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(100_000));
        pacer.passed(5_000);
        let mut other = paced(2);
        other.source.layer = 1;
        pacer.push(start, paced(1));
        pacer.push(start, other);
        pacer.admits_repair(start, 0, repair(3));
        pacer.forget_layer(TrackIx::from(0), 0);
        assert_eq!(pacer.queued_bytes(), 1_000);
        let later = start + Duration::from_millis(900);
        let next = pacer.next(later);
        assert!(matches!(next, Some(Next::Media(paced)) if paced.source.layer == 1));
    }

    #[test]
    fn what_waited_on_a_slot_that_carries_something_else_is_forgotten() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(100_000));
        pacer.push(start, paced(1));
        pacer.push(
            start,
            Paced {
                slot: 4,
                ..paced(2)
            },
        );
        pacer.forget_slot(0);
        assert_eq!(pacer.queued_bytes(), 1_000);
        assert!(matches!(pacer.next(start), Some(Next::Media(paced)) if paced.slot == 4));
    }

    #[test]
    fn pictures_that_wait_for_half_a_second_are_late_and_whose_they_are_is_known() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(start, Some(100_000));
        pacer.passed(50_000);
        for number in 0..8 {
            let slot = if number == 0 { 4 } else { 0 };
            pacer.push(
                start,
                Paced {
                    slot,
                    ..paced(number)
                },
            );
        }
        let after = |ms| start + Duration::from_millis(ms);
        assert!(!pacer.is_late(after(500)) && pacer.is_late(after(501)));
        assert!(pacer.is_filled_by(0) && !pacer.is_filled_by(4) && !pacer.is_filled_by(9));
        pacer.forget_slot(0);
        assert!(pacer.is_late(after(501)) && pacer.is_filled_by(4));
        // With a bounded wait everything leaves in time.
        pacer.set_wait(Some(Duration::from_millis(400)));
        assert!(!pacer.is_late(after(501)));
    }

    #[test]
    fn of_many_pictures_that_wait_some_have_their_even_share() {
        let start = Instant::now();
        for (slots, packets, filled) in [
            (7, 14, vec![0, 1, 2, 3, 4, 5, 6]),
            // The first two slots have a packet more.
            (7, 16, vec![0, 1]),
            (2, 5, vec![0, 1]),
        ] {
            let mut pacer = Pacer::default();
            pacer.set_rate(start, Some(100_000));
            for number in 0..packets {
                let slot = number as u32 % slots;
                let packet = Paced {
                    slot,
                    ..paced(number)
                };
                assert!(pacer.push(start, packet));
            }
            let found: Vec<usize> = (0..slots as usize)
                .filter(|slot| pacer.is_filled_by(*slot))
                .collect();
            assert_eq!(found, filled, "{packets} packets of {slots} slots");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_a_burst_and_nothing_is_lost(
            rate in 50_000u64..20_000_000,
            steps in prop::collection::vec((0u64..200, 1usize..1_400), 1..300),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut pacer = Pacer::default();
            pacer.set_rate(start, Some(rate));
            let (mut sent, mut offered, mut stale) = (0u64, 0u64, 0u64);
            for (wait, bytes) in steps {
                now += Duration::from_millis(wait);
                while let Some(next) = pacer.next(now) {
                    if let Next::Media(paced) = next {
                        sent += u64::from(paced.outgoing.len);
                        pacer.passed(paced.outgoing.len.into());
                    }
                }
                offered += bytes as u64;
                if pacer.admits(now, bytes) {
                    sent += bytes as u64;
                } else {
                    let outgoing = Outgoing::of_len(bytes as u16);
                    let fits = pacer.push(now, Paced { outgoing, ..paced(0) });
                    prop_assert!(fits);
                }
                stale += pacer.overflowed * 1_400;
                pacer.overflowed = 0;
                prop_assert!(sent + pacer.queued_bytes() as u64 + stale >= offered);
                let elapsed = (now - start).as_micros() as u64;
                let allowed = rate * elapsed / 8_000_000 + (rate * 40 / 8_000).max(1_400) + 1_400;
                prop_assert!(sent <= allowed, "{} > {}", sent, allowed);
            }
        }
    }
}
