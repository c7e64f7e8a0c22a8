//! Who is sent what: rooms, and the fan-out of each published track.
//!
//! Architecture invariant: no policy here. Which layer a viewer gets is the forwarder's to decide,
//! on the viewer's side; the router only keeps the lists.

mod room;

pub(crate) use room::{Room, TrackPlace};

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
    fanouts: Slab<Vec<Target>>,
}

impl Router {
    /// A list for a new track; its index goes with the track.
    pub(crate) fn insert(&mut self) -> usize {
        self.fanouts.insert(Vec::new())
    }

    /// Ends a track; its subscriptions are returned for their owners to forget.
    pub(crate) fn remove(&mut self, fanout: usize) -> Vec<Target> {
        self.fanouts.try_remove(fanout).unwrap_or_default()
    }

    /// The subscriptions of a track.
    pub(crate) fn targets(&self, fanout: usize) -> &[Target] {
        self.fanouts.get(fanout).map_or(&[], Vec::as_slice)
    }

    /// Every subscription, with its track's list.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn all_targets(&self) -> impl Iterator<Item = (usize, Target)> {
        let lists = self.fanouts.iter();
        lists.flat_map(|(fanout, targets)| targets.iter().map(move |target| (fanout, *target)))
    }

    /// Tracks.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.fanouts.len()
    }

    /// Adds a subscription.
    pub(crate) fn subscribe(&mut self, fanout: usize, target: Target) {
        if let Some(targets) = self.fanouts.get_mut(fanout) {
            targets.push(target);
        }
    }

    /// Removes a subscription.
    pub(crate) fn unsubscribe(&mut self, fanout: usize, target: Target) {
        if let Some(targets) = self.fanouts.get_mut(fanout) {
            targets.retain(|other| *other != target);
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
}
