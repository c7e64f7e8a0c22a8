//! Rooms, and the fan-out of each published track to its subscriptions.
//!
//! Architecture invariant: no policy here. The forwarder, on the viewer's side, selects the layer;
//! the router only keeps the lists.

mod relay;
mod room;

pub(crate) use relay::{Batch, Batches, RelayedPacket};
pub(crate) use room::{Room, Seat};

use slab::Slab;

/// A subscription's place: the viewer and the slot of its subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// Index of the viewer among the worker's peers.
    pub(crate) peer: usize,
    /// Index of the slot among the viewer's.
    pub(crate) slot: usize,
}

/// The subscriptions of each published track of one worker.
#[derive(Debug, Default)]
pub(crate) struct Router {
    fanouts: Slab<Fanout>,
    /// Watched lists that became empty, or stopped being so.
    changed: Vec<usize>,
}

#[derive(Debug, Default)]
struct Fanout {
    targets: Vec<Target>,
    /// The name under which [`Router::take_changed`] reports the list; none if nobody watches it.
    watched: Option<usize>,
}

impl Router {
    /// Adds a list for a new track, and returns its index, which the track keeps.
    pub(crate) fn insert(&mut self) -> usize {
        self.fanouts.insert(Fanout::default())
    }

    /// Adds a list under a name, for [`take_changed`](Self::take_changed) to report.
    pub(crate) fn insert_watched(&mut self, name: usize) -> usize {
        self.fanouts.insert(Fanout {
            targets: Vec::new(),
            watched: Some(name),
        })
    }

    /// The name of a watched list that may have become empty, or stopped being so, since it was
    /// last returned.
    pub(crate) fn take_changed(&mut self) -> Option<usize> {
        self.changed.pop()
    }

    /// Removes a track's list; its subscriptions are returned for their owners to forget.
    pub(crate) fn remove(&mut self, fanout: usize) -> Vec<Target> {
        let fanout = self.fanouts.try_remove(fanout);
        fanout.unwrap_or_default().targets
    }

    /// The subscriptions of a track.
    pub(crate) fn targets(&self, fanout: usize) -> &[Target] {
        self.fanouts
            .get(fanout)
            .map_or(&[], |fanout| &fanout.targets)
    }

    /// Every subscription, with the index of its track's list.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn all_targets(&self) -> impl Iterator<Item = (usize, Target)> {
        let lists = self.fanouts.iter();
        lists.flat_map(|(fanout, list)| list.targets.iter().map(move |target| (fanout, *target)))
    }

    /// The number of lists.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.fanouts.len()
    }

    /// Adds a subscription.
    pub(crate) fn subscribe(&mut self, fanout: usize, target: Target) {
        if let Some(fanout) = self.fanouts.get_mut(fanout) {
            fanout.targets.push(target);
            if fanout.targets.len() == 1 {
                self.changed.extend(fanout.watched);
            }
        }
    }

    /// Removes a subscription.
    pub(crate) fn unsubscribe(&mut self, fanout: usize, target: Target) {
        if let Some(fanout) = self.fanouts.get_mut(fanout) {
            let before = fanout.targets.len();
            fanout.targets.retain(|other| *other != target);
            if fanout.targets.is_empty() && before > 0 {
                self.changed.extend(fanout.watched);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_keeps_its_own_list_until_it_ends() {
        let mut router = Router::default();
        let (a, b) = (router.insert(), router.insert());
        let target = |peer| Target { peer, slot: 0 };
        router.subscribe(a, target(1));
        router.subscribe(a, target(2));
        router.subscribe(b, target(3));
        router.unsubscribe(a, target(1));
        assert_eq!(router.targets(a), [target(2)]);
        assert_eq!(router.remove(a), vec![target(2)]);
        assert_eq!(router.targets(a), []);
        assert_eq!(router.targets(b), [target(3)]);
    }

    #[test]
    fn who_watches_a_list_is_told_when_it_fills_and_empties() {
        let mut router = Router::default();
        let fanout = router.insert_watched(70);
        let target = |peer| Target { peer, slot: 0 };
        router.subscribe(fanout, target(1));
        router.subscribe(fanout, target(2));
        assert_eq!(
            (router.take_changed(), router.take_changed()),
            (Some(70), None)
        );
        router.unsubscribe(fanout, target(1));
        assert_eq!(router.take_changed(), None);
        router.unsubscribe(fanout, target(2));
        router.unsubscribe(fanout, target(2));
        assert_eq!(
            (router.take_changed(), router.take_changed()),
            (Some(70), None)
        );
    }
}
