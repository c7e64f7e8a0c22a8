//! The layers of a track that viewers want, and those that its publisher is asked to send.
//!
//! A layer is asked for as soon as it is wanted. The publisher is asked to pause it once nobody has wanted it for a
//! while. While paused for that reason a layer can be chosen like any other: its publisher sends it again when it is
//! chosen.

use std::time::{Duration, Instant};

use super::ladder::{Ladder, LayerSet, Ranks, SPATIAL};
use super::layer::Layer;
use super::settled::LARGER;

/// Time without viewers after which a layer is switched off. A shorter one would switch off layers that a viewer wants
/// again a moment later. With the time for deciding and for telling the publisher, a layer is off within 2 s.
const HYSTERESIS: Duration = Duration::from_millis(500);
/// Longest time until a layer that is asked for again comes: a message to the publisher, and an encoder's start. If it
/// takes longer, the publisher's own link is too narrow.
const WAKE: Duration = Duration::from_secs(3);
/// Time after which waiting viewers are told that the publisher does not send the layer. Chromium's first keyframe
/// comes within 300 ms.
const LATE: Duration = Duration::from_secs(1);
/// Time after a track's start from which layers are switched off even if their bitrates are unknown. Before that they
/// stay on until measured: a later choice among them would be a guess.
const MEASURES: Duration = Duration::from_secs(5);
/// Interval of the checks whether a bitrate is known.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest time until a layer first comes: browsers' bandwidth estimation begins low.
const FIRST: Duration = Duration::from_secs(3);

/// The viewers' demand for a track's layers.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    layers: [LayerDemand; SPATIAL],
    /// The time at which the track went live.
    began: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct LayerDemand {
    asked: Asked,
    unwanted_since: Option<Instant>,
    /// The publisher did not send it within [`WAKE`] when asked.
    unanswered: bool,
    /// It is overdue, but may still come.
    late: bool,
    /// As last measured, or as its publisher's worker reported: bits a second, and pixels.
    bitrate: u64,
    height: u16,
    /// On another worker than the publisher's: the layer comes if it is wanted.
    may_come: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Asked {
    #[default]
    On,
    Off,
    /// On again; no packet has come since the layer's count was `packets`.
    Waking {
        until: Instant,
        packets: u64,
    },
}

/// The outcome of an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DemandChange {
    /// The publisher is to be told.
    pub(crate) asked: bool,
    /// Layers that are to begin with a keyframe.
    pub(crate) begin: LayerSet,
    /// The set of layers that can be chosen has changed.
    pub(crate) choice: bool,
    /// Other workers are to be told which layers may come.
    pub(crate) offer: bool,
    /// The time of the next update, if nothing happens before.
    pub(crate) due: Option<Instant>,
}

impl Demand {
    /// Updates from the layers that are wanted.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        live: bool,
        wanted: LayerSet,
        order: Ranks,
        layers: &[Layer],
    ) -> DemandChange {
        let mut change = DemandChange::default();
        if !live {
            return change;
        }
        let began = *self.began.get_or_insert(now);
        let before = self.offered();
        for index in order.encodings() {
            let (Some(demand), Some(layer)) = (self.layers.get_mut(index), layers.get(index))
            else {
                continue;
            };
            demand.measure(now, layer);
            let seen = Seen {
                packets: layer.packets,
                alive: layer.is_alive(),
                first: began + FIRST,
                measured: layer.known_bitrate(now).is_some() || now >= began + MEASURES,
            };
            if wanted.contains(index) {
                demand.want(now, &seen, index, &mut change);
            } else {
                demand.leave(now, &seen, wanted.is_empty(), &mut change);
            }
            demand.wait(now, &seen, &mut change);
        }
        change.offer = self.offered() != before;
        change
    }

    /// Records the bitrates and heights of the layers.
    pub(crate) fn measure(&mut self, now: Instant, layers: &[Layer]) {
        for (demand, layer) in self.layers.iter_mut().zip(layers) {
            demand.measure(now, layer);
        }
    }

    fn offered(&self) -> [bool; SPATIAL] {
        std::array::from_fn(|layer| self.may_come(layer))
    }

    /// Forgets a layer whose place another encoding takes.
    pub(crate) fn forget(&mut self, layer: usize) {
        if let Some(layer) = self.layers.get_mut(layer) {
            *layer = LayerDemand::default();
        }
    }

    /// Whether the publisher is asked to send a layer.
    pub(crate) fn asks_for(&self, layer: usize) -> bool {
        self.layers
            .get(layer)
            .is_none_or(|layer| layer.asked != Asked::Off)
    }

    /// Whether a layer comes if it is wanted, though it may not come now.
    pub(crate) fn may_come(&self, layer: usize) -> bool {
        self.layers
            .get(layer)
            .is_some_and(|layer| layer.may_come || layer.asked != Asked::On)
    }

    /// The last measurement of a layer: bits a second and pixels.
    pub(crate) fn measured(&self, layer: usize) -> (u64, u16) {
        let layer = self.layers.get(layer);
        layer.map_or((0, 0), |layer| (layer.bitrate, layer.height))
    }

    /// Records what the publisher's worker reports about a layer; true if that changes whether the layer can be chosen.
    pub(crate) fn follow(
        &mut self,
        layer: usize,
        may_come: bool,
        (bitrate, height): (u64, u16),
    ) -> bool {
        let Some(layer) = self.layers.get_mut(layer) else {
            return false;
        };
        let told = layer.bitrate == 0 && bitrate > 0;
        (layer.bitrate, layer.height) = (bitrate, height);
        (std::mem::replace(&mut layer.may_come, may_come) != may_come) | told
    }

    /// Adds the layers that may come to a ladder of encodings in this order.
    pub(crate) fn complete(&self, ladder: &mut Ladder, order: &Ranks) {
        let mut below = (0_u64, 0_u16);
        for rung in ladder.rungs_mut() {
            let Some(layer) = order.encoding_of(rung.id) else {
                continue;
            };
            rung.available |= self.may_come(layer);
            rung.late = !rung.alive && self.layers.get(layer).is_some_and(|layer| layer.late);
            let (bitrate, height) = self.measured(layer);
            if rung.bitrate == 0 {
                rung.bitrate = bitrate;
            }
            if rung.height == 0 {
                rung.height = height;
            }
            if rung.available && !rung.alive && rung.bitrate == 0 {
                rung.bitrate = below.0.saturating_mul(LARGER);
                rung.height = below.1.saturating_mul(2);
            }
            below = (rung.bitrate, rung.height);
        }
    }
}

/// A layer's state as seen on this worker.
struct Seen {
    packets: u64,
    alive: bool,
    /// The time by which it should have come for the first time.
    first: Instant,
    /// Its bitrate is known, or will not be.
    measured: bool,
}

impl LayerDemand {
    fn measure(&mut self, now: Instant, layer: &Layer) {
        // A rate over less than a second is not known: a keyframe is most of it.
        let known = layer.settled().or_else(|| layer.known_bitrate(now));
        self.bitrate = known.unwrap_or(self.bitrate);
        if layer.height > 0 {
            self.height = layer.height;
        }
    }

    fn want(&mut self, now: Instant, seen: &Seen, index: usize, change: &mut DemandChange) {
        self.unwanted_since = None;
        if self.asked == Asked::Off {
            self.asked = Asked::Waking {
                until: now + WAKE,
                packets: seen.packets,
            };
            change.asked = true;
            change.begin.insert(index);
        }
    }

    fn leave(&mut self, now: Instant, seen: &Seen, whole: bool, change: &mut DemandChange) {
        if self.asked == Asked::Off {
            return;
        }
        // A layer that the publisher itself has stopped is not switched off: it would then count as one that comes when
        // wanted. It stays asked for, and may come back by itself.
        if !seen.alive && (seen.packets > 0 || self.unanswered) && !whole {
            self.unwanted_since = None;
            return;
        }
        let since = *self.unwanted_since.get_or_insert(now);
        let first = (seen.packets == 0).then_some(seen.first);
        let mut at = (since + HYSTERESIS).max(first.unwrap_or(since));
        if seen.alive && seen.packets > 0 && !seen.measured {
            at = at.max(now + AGAIN);
        }
        if now < at {
            return change.wait_until(at);
        }
        change.choice |= !seen.alive && self.asked == Asked::On;
        self.asked = Asked::Off;
        change.asked = true;
    }

    /// Waits for a layer that was asked for again.
    fn wait(&mut self, now: Instant, seen: &Seen, change: &mut DemandChange) {
        let Asked::Waking { until, packets } = self.asked else {
            self.late = false;
            return;
        };
        let late_at = until - (WAKE - LATE);
        if seen.packets > packets && seen.alive {
            (self.asked, self.unanswered, self.late) = (Asked::On, false, false);
        } else if now >= until {
            (self.asked, self.unanswered, self.late) = (Asked::On, true, false);
            change.choice = true;
        } else if now >= late_at {
            change.choice |= !std::mem::replace(&mut self.late, true);
            change.wait_until(until);
        } else {
            self.late = false;
            change.wait_until(late_at);
        }
    }
}

impl DemandChange {
    fn wait_until(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::ladder::{LayerId, Rung};
    use crate::track::layer::EncodingName;

    struct Sim {
        start: Instant,
        demand: Demand,
        layers: Vec<Layer>,
    }

    impl Sim {
        fn new(layers: usize) -> Self {
            Self {
                start: Instant::now(),
                demand: Demand::default(),
                layers: (0..layers)
                    .map(|_| Layer::new(EncodingName::default(), true))
                    .collect(),
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        /// Packets of a layer arrive, or have stopped.
        fn alive(&mut self, layer: usize, alive: bool) {
            self.layers[layer].set_metered(self.start);
            self.layers[layer].set_alive(alive);
            self.layers[layer].packets += u64::from(alive);
        }

        fn wants(&mut self, ms: u64, wanted: &[usize]) -> DemandChange {
            let mut set = LayerSet::NONE;
            for layer in wanted {
                set.insert(*layer);
            }
            let order = self.order();
            self.demand
                .update(self.at(ms), true, set, order, &self.layers)
        }

        /// Whether the ladder marks a layer as late.
        fn is_late(&self, layer: usize) -> bool {
            let mut ladder = Ladder::default();
            for spatial in 0..self.layers.len() as u8 {
                let id = LayerId {
                    spatial,
                    temporal: 0,
                };
                ladder.push(Rung {
                    id,
                    ..Rung::default()
                });
            }
            self.demand.complete(&mut ladder, &self.order());
            ladder.rungs()[layer].late
        }

        fn order(&self) -> Ranks {
            Ranks::of(&(0..self.layers.len()).collect::<Vec<_>>())
        }

        fn asked(&self) -> Vec<bool> {
            let layers = 0..self.layers.len();
            layers.map(|layer| self.demand.asks_for(layer)).collect()
        }
    }

    #[test]
    fn what_nobody_wants_goes_off_after_a_while_and_comes_back_at_once() {
        let mut sim = Sim::new(3);
        (0..3).for_each(|layer| sim.alive(layer, true));
        let change = sim.wants(0, &[0]);
        assert_eq!((change.asked, change.due), (false, Some(sim.at(500))));
        assert!(!sim.wants(100, &[2]).asked, "a brief switch");
        assert!(!sim.wants(200, &[0]).asked);
        assert!(sim.wants(500, &[0]).asked);
        assert_eq!(sim.asked(), [true, false, true]);
        assert!(sim.wants(700, &[0]).asked);
        assert_eq!(sim.asked(), [true, false, false]);
        let change = sim.wants(800, &[0, 2]);
        assert!(change.asked && change.begin.contains(2) && !change.begin.contains(1));
        assert_eq!(sim.asked(), [true, false, true]);
    }

    #[test]
    fn a_layer_nobody_saw_yet_has_its_time_to_come() {
        let mut sim = Sim::new(2);
        sim.alive(0, true);
        assert_eq!(sim.wants(0, &[0]).due, Some(sim.at(3_000)));
        assert!(!sim.wants(2_999, &[0]).asked);
        let change = sim.wants(3_000, &[0]);
        assert!(change.asked && change.choice);
        assert!(sim.demand.may_come(1));
        let mut before = Demand::default();
        let silent = before.update(
            sim.at(9_000),
            false,
            LayerSet::NONE,
            sim.order(),
            &sim.layers,
        );
        assert_eq!(silent, DemandChange::default(), "not live yet");
    }

    #[test]
    fn a_layer_that_does_not_wake_is_not_offered_again() {
        let mut sim = Sim::new(2);
        (0..2).for_each(|layer| sim.alive(layer, true));
        sim.wants(0, &[0]);
        sim.wants(500, &[0]);
        sim.alive(1, false);
        assert_eq!(sim.wants(9_000, &[1]).due, Some(sim.at(9_500)));
        sim.wants(9_000, &[0, 1]);
        assert!(sim.demand.may_come(1));
        assert!(!sim.is_late(1) && !sim.wants(9_999, &[0, 1]).choice);
        // Waiting viewers are told once; the layer may still come.
        assert!(sim.wants(10_000, &[0, 1]).choice && sim.is_late(1));
        assert!(!sim.wants(10_100, &[0, 1]).choice && sim.is_late(1));
        let change = sim.wants(12_000, &[0, 1]);
        assert!(!sim.is_late(1));
        assert!(change.choice && !change.asked);
        assert!(!sim.demand.may_come(1) && sim.demand.asks_for(1));
        assert!(!sim.wants(60_000, &[0]).asked, "left to come by itself");
        sim.alive(1, true);
        sim.wants(60_000, &[0]);
        assert!(sim.wants(60_500, &[0]).asked, "and then not wanted");
    }

    /// The offer has an encoding that its publisher never sends.
    #[test]
    fn a_layer_that_never_came_is_asked_for_once() {
        let mut sim = Sim::new(2);
        sim.alive(0, true);
        sim.wants(0, &[0]);
        assert!(sim.wants(3_000, &[0]).asked);
        assert!(sim.wants(3_100, &[0, 1]).asked && sim.demand.may_come(1));
        assert!(sim.wants(6_100, &[0, 1]).choice && !sim.demand.may_come(1));
        for ms in (6_200..60_000).step_by(100) {
            let change = sim.wants(ms, &[0]);
            assert!(!change.asked && !change.choice, "{ms}");
        }
        // It may come by itself, and is then like any other.
        sim.alive(1, true);
        sim.wants(60_000, &[0, 1]);
        sim.wants(60_100, &[0]);
        assert!(sim.wants(60_700, &[0]).asked);
    }

    #[test]
    fn what_comes_when_asked_for_is_as_before() {
        let mut sim = Sim::new(2);
        (0..2).for_each(|layer| sim.alive(layer, true));
        sim.wants(0, &[]);
        assert!(sim.wants(500, &[]).asked, "nobody watches at all");
        assert_eq!(sim.asked(), [false, false]);
        sim.wants(600, &[1]);
        // The silence is too short to count, and the layer has not come back either.
        assert_eq!(sim.wants(700, &[1]).due, Some(sim.at(1_600)));
        sim.alive(1, true);
        sim.wants(800, &[1]);
        assert!(!sim.demand.may_come(1));
        assert_eq!(sim.wants(3_600, &[1]).due, None);
    }

    /// A publisher may claim any picture size.
    #[test]
    fn a_ladder_above_the_largest_picture_and_rate_has_bounds() {
        let mut demand = Demand::default();
        demand.follow(1, true, (0, 0));
        let mut ladder = Ladder::default();
        ladder.push(Rung {
            bitrate: u64::MAX / 2,
            height: u16::MAX - 1,
            ..Rung::default()
        });
        ladder.push(Rung {
            id: LayerId {
                spatial: 1,
                temporal: 0,
            },
            ..Rung::default()
        });
        demand.complete(&mut ladder, &Ranks::of(&[0, 1]));
        let highest = ladder.rungs().last().map(|r| (r.bitrate, r.height));
        assert_eq!(highest, Some((u64::MAX, u16::MAX)));
    }

    #[test]
    fn a_ladder_offers_what_comes_when_wanted() {
        let mut demand = Demand::default();
        demand.follow(1, true, (500_000, 360));
        demand.follow(2, true, (0, 0));
        let mut ladder = Ladder::default();
        for spatial in 0..3 {
            ladder.push(Rung {
                id: LayerId {
                    spatial,
                    temporal: 0,
                },
                bitrate: 100_000 * u64::from(spatial == 0),
                ..Rung::default()
            });
        }
        demand.complete(&mut ladder, &Ranks::of(&[0, 1, 2]));
        let rungs = ladder.rungs().iter();
        let rungs: Vec<_> = rungs.map(|r| (r.bitrate, r.height, r.available)).collect();
        let expected = [
            (100_000, 0, false),
            (500_000, 360, true),
            (1_500_000, 720, true),
        ];
        assert_eq!(rungs, expected);
    }
}
