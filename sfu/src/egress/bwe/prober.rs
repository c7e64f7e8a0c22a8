//! The times and the rates of probes (libwebrtc's `ProbeController`).
//!
//! An SFU sends the layers that exist, so that these nearly always limit its rate, and not the link: only probes tell
//! how much more the link carries. While more is desired than is known to be carried, the first probe asks for three
//! times the estimate. Each one that succeeds is followed at once by one for twice as much, up to a little above the
//! desired rate. If the link was full before, a probe asks for no more than the next step needs, and makes a short
//! queue at most. After a failure the next probe follows after a second, then two, then four. libwebrtc waits for five
//! seconds between probes while application-limited, and stops once loss-limited. One probe is on its way at a time, so
//! that each shows the link and not the other.

use super::cluster::Cluster;
use super::history::PROBE_IDS;

/// Time between probes that find no more, in microseconds.
const INTERVAL_US: i64 = 1_000_000;
const INTERVAL_MAX_US: i64 = 3_000_000;
/// Time after a cut: the queue must be empty, and the cut was made for a reason.
const AFTER_CUT_US: i64 = 2_000_000;
/// Shortest length of a probe.
const SHORTEST_US: f64 = 20_000.0;
/// Length of a probe as a multiple of the path's noise, up to [`LONGEST_NOISE_US`].
const NOISE: f64 = 4.0;
const LONGEST_NOISE_US: f64 = 100_000.0;
/// Length of a probe as a multiple of the turns in which the path delivers, up to [`LONGEST_US`].
const TURNS: f64 = 6.0;
const LONGEST_US: f64 = 300_000.0;
/// Weight of a shorter turn: one probe may fall between two.
const SHORTER: f64 = 0.3;
/// Least ratio of a probe's rate to the estimate.
const LEAST_STEP: f64 = 1.2;
/// Time that a probe may add to the queue of a link that carries no more than the estimate.
const HARMLESS_US: f64 = 40_000.0;
/// Fewest bytes of a probe: fewer look like one frame.
const LEAST: usize = 900;
/// Fewest packets of a probe: fewer show nothing.
const PACKETS: u32 = 10;
/// Ratio of a probe's rate to the desired one, at most: an upgrade needs some room.
pub(super) const GOAL: f64 = 1.6;

/// A probe to be sent: packets of any kind at this rate, until both amounts are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    /// The id to return with each packet of it.
    pub(crate) cluster: u8,
    /// Bits a second.
    pub(crate) bitrate: u64,
    /// Bytes of UDP payload, at least.
    pub(crate) bytes: usize,
    /// Packets, at least.
    pub(crate) packets: u32,
}

/// A wanted probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Bits a second.
    pub(super) rate: f64,
    /// The estimated bandwidth, bits a second.
    pub(super) target: f64,
    /// The share of both that the caller counts.
    pub(super) share: f64,
    /// The noise of the path, in microseconds.
    pub(super) noise: f64,
    /// Another flow fills the link.
    pub(super) contested: bool,
}

#[derive(Debug)]
pub(super) struct Prober {
    next_at: i64,
    interval: i64,
    pending: Option<Probe>,
    active: Option<Cluster>,
    /// The rate of the pending probe.
    rate: f64,
    /// The turns in which the path delivers, in microseconds.
    turns: f64,
    ended: Option<i64>,
    next_id: u8,
    count: u64,
}

impl Prober {
    pub(super) fn new(now: i64) -> Self {
        Self {
            next_at: now,
            interval: INTERVAL_US,
            pending: None,
            active: None,
            rate: 0.0,
            turns: 0.0,
            ended: None,
            next_id: 1,
            count: 0,
        }
    }

    /// Whether a probe waits to be sent or answered for.
    pub(super) fn is_busy(&self) -> bool {
        self.pending.is_some() || self.active.is_some()
    }

    pub(super) fn is_due(&self, now: i64) -> bool {
        !self.is_busy() && now >= self.next_at
    }

    /// The time of the next work; `wanted`: a probe is wanted as soon as its time has come.
    pub(super) fn poll_timeout(&self, wanted: bool, rtt: i64) -> Option<i64> {
        match &self.active {
            Some(cluster) => Some(cluster.deadline(rtt)),
            None => (wanted && self.pending.is_none()).then_some(self.next_at),
        }
    }

    /// Records for how long packets of a probe were held and then let go together, in microseconds.
    pub(super) fn note_turns(&mut self, turns: f64) {
        self.turns = match turns > self.turns {
            true => turns,
            false => self.turns + SHORTER * (turns - self.turns),
        };
    }

    /// Prepares a probe.
    pub(super) fn begin(&mut self, now: i64, ask: Ask) {
        let Ask { target, share, .. } = ask;
        // If the link carries no more than the estimate, the excess waits, and audio behind it. On a path where packets
        // are that late in any case, it matters less.
        let harmless = HARMLESS_US + self.turns.min(HARMLESS_US);
        let noise = (ask.noise * NOISE).clamp(SHORTEST_US, LONGEST_NOISE_US);
        let (wanted, rate) = if ask.contested {
            (noise, ask.rate)
        } else {
            let wanted = noise.max(self.turns * TURNS).min(LONGEST_US);
            // Such a path shows nothing in a shorter time, so that a lower rate is asked of it.
            let step = (1.0 + harmless / wanted).max(LEAST_STEP);
            (wanted, ask.rate.min(target * step))
        };
        let most = harmless * target / (rate - target).max(1.0);
        let duration = wanted.min(most.max(HARMLESS_US / 4.0));
        let bytes = (rate * share * duration / 8e6) as usize;
        let packets = if self.turns.max(ask.noise) > 5_000.0 {
            2 * PACKETS
        } else {
            PACKETS
        };
        self.rate = rate;
        self.pending = Some(Probe {
            cluster: self.next_id,
            bitrate: (rate * share) as u64,
            bytes: bytes.max(LEAST),
            packets,
        });
        self.next_id = self.next_id % PROBE_IDS + 1;
        self.next_at = now + self.interval;
    }

    pub(super) fn poll(&mut self, now: i64) -> Option<Probe> {
        let probe = self.pending.take()?;
        self.count += 1;
        self.active = Some(Cluster::new(
            probe.cluster,
            self.rate,
            probe.bytes as u64,
            probe.packets,
            now,
        ));
        Some(probe)
    }

    /// The present probe, if a packet belongs to it.
    pub(super) fn active(&mut self, id: u8) -> Option<&mut Cluster> {
        self.active.as_mut().filter(|cluster| cluster.id == id)
    }

    /// Takes the probe that is over.
    pub(super) fn take_over(&mut self, now: i64, newest: Option<i64>, rtt: i64) -> Option<Cluster> {
        self.active
            .take_if(|cluster| cluster.is_over(now, newest, rtt))
    }

    /// Whether a probe is being sent or answered for.
    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// The time at which the last probe was over.
    pub(super) fn ended(&self) -> Option<i64> {
        self.ended
    }

    /// Records that a probe reached its rate: the next may follow at once.
    pub(super) fn succeeded(&mut self, now: i64) {
        self.interval = INTERVAL_US;
        self.next_at = now;
    }

    /// Records that a probe found the link's capacity; `contested`: another flow limited it.
    pub(super) fn failed(&mut self, now: i64, contested: bool) {
        self.next_at = now + self.interval;
        self.interval = if contested {
            INTERVAL_US
        } else {
            (self.interval * 2).min(INTERVAL_MAX_US)
        };
    }

    /// Records a cut: the present probe shows nothing.
    pub(super) fn cut(&mut self, now: i64, contested: bool) {
        self.pending = None;
        self.active = None;
        // A sender that shares a link with a greedy flow has to keep asking.
        let pause = if contested { INTERVAL_US } else { AFTER_CUT_US };
        self.interval = self.interval.max(pause);
        self.next_at = now + pause;
    }

    /// Delays the next probe until this time at least.
    pub(super) fn delay_until(&mut self, at: i64) {
        self.next_at = self.next_at.max(at);
    }

    /// Allows the next probe at once: the link has improved, or an answer is needed.
    pub(super) fn hurry(&mut self, now: i64) {
        self.interval = INTERVAL_US;
        self.next_at = self.next_at.min(now);
    }

    /// The number of probes sent.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_makes_a_short_queue_on_a_link_that_carries_no_more_than_believed() {
        for (rate, target) in [
            (600e3, 300e3),
            (3e6, 1e6),
            (450e3, 400e3),
            (6e6, 2e6),
            (300e3, 900e3),
        ] {
            let mut prober = Prober::new(0);
            prober.begin(
                0,
                Ask {
                    rate,
                    target,
                    share: 0.9,
                    noise: 500.0,
                    contested: false,
                },
            );
            let probe = prober.poll(0).unwrap();
            let lasts = probe.bytes as f64 * 8e6 / 0.9 / rate;
            let queue = lasts * (rate - target).max(0.0) / target;
            // Fewer bytes than this tell nothing.
            let least = LEAST as f64 * 8e6 / 0.9 / target;
            assert!(
                queue <= (1.05 * HARMLESS_US).max(least),
                "{rate} {target}: {queue}"
            );
            assert!(lasts <= LONGEST_US, "{rate} {target}: {lasts}");
        }
    }
}
