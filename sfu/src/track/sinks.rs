//! The receivers of a track. This is the only list of them: the fan-out, the pipes to other workers and the demand for
//! the track's layers all read it.

use super::ladder::LayerSet;
use crate::index::{PeerIx, SlotIx, WorkerIx};
use crate::tap::TapSink;

/// A viewer of a track: the peer, and the slot of its that carries the track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// The viewer.
    pub(crate) peer: PeerIx,
    /// The slot among the viewer's.
    pub(crate) slot: SlotIx,
}

/// Another worker that a track's packets are sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pipe {
    /// The worker.
    pub(crate) to: WorkerIx,
    /// The layers that its viewers want: at least one.
    pub(crate) wanted: LayerSet,
}

/// The receivers of a track.
#[derive(Debug, Default)]
pub(crate) struct Sinks {
    /// Viewers on this worker, in one piece: each packet goes through them.
    viewers: Vec<Target>,
    /// Other workers. Only a track that a peer of this worker publishes has any.
    pipes: Vec<Pipe>,
    /// Taps of embedders. Only a track that a peer of this worker publishes has any.
    taps: Vec<TapSink>,
}

impl Sinks {
    /// The viewers on this worker.
    pub(crate) fn viewers(&self) -> &[Target] {
        &self.viewers
    }

    /// Adds a viewer; true if it is the first.
    pub(crate) fn add_viewer(&mut self, target: Target) -> bool {
        self.viewers.push(target);
        self.viewers.len() == 1
    }

    /// Removes a viewer; true if it was the last.
    pub(crate) fn remove_viewer(&mut self, target: Target) -> bool {
        let before = self.viewers.len();
        self.viewers.retain(|other| *other != target);
        self.viewers.is_empty() && before > 0
    }

    /// The workers that get the track's packets.
    pub(crate) fn pipes(&self) -> &[Pipe] {
        &self.pipes
    }

    /// Records the layers that another worker wants; true if they changed. Wanting none ends the pipe.
    pub(crate) fn set_pipe(&mut self, to: WorkerIx, wanted: LayerSet) -> bool {
        let before = self.pipes.iter().find(|pipe| pipe.to == to);
        let before = before.map_or(LayerSet::NONE, |pipe| pipe.wanted);
        self.pipes.retain(|pipe| pipe.to != to);
        if !wanted.is_empty() {
            self.pipes.push(Pipe { to, wanted });
        }
        before != wanted
    }

    /// The layers that other workers want.
    pub(crate) fn wanted_by_pipes(&self) -> LayerSet {
        let pipes = self.pipes.iter().map(|pipe| pipe.wanted);
        pipes.fold(LayerSet::NONE, LayerSet::union)
    }

    /// The taps.
    pub(crate) fn taps(&self) -> &[TapSink] {
        &self.taps
    }

    /// The taps, mutable.
    pub(crate) fn taps_mut(&mut self) -> &mut [TapSink] {
        &mut self.taps
    }

    /// Adds a tap.
    pub(crate) fn add_tap(&mut self, tap: TapSink) {
        self.taps.push(tap);
    }

    /// Forgets the taps whose reader is gone; true if there was one.
    pub(crate) fn forget_gone_taps(&mut self) -> bool {
        let before = self.taps.len();
        self.taps.retain(|tap| !tap.is_gone());
        self.taps.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(peer: usize) -> Target {
        Target {
            peer: peer.into(),
            slot: 0.into(),
        }
    }

    fn layer(layer: usize) -> LayerSet {
        let mut set = LayerSet::NONE;
        set.insert(layer);
        set
    }

    #[test]
    fn the_first_viewer_and_the_last_one_are_told_apart() {
        let mut sinks = Sinks::default();
        assert!(sinks.add_viewer(target(1)));
        assert!(!sinks.add_viewer(target(2)));
        assert!(!sinks.remove_viewer(target(1)));
        assert_eq!(sinks.viewers(), [target(2)]);
        assert!(sinks.remove_viewer(target(2)));
        assert!(!sinks.remove_viewer(target(2)), "it was gone");
    }

    #[test]
    fn a_pipe_is_there_while_its_worker_wants_a_layer() {
        let mut sinks = Sinks::default();
        assert!(sinks.set_pipe(1.into(), layer(0)));
        assert!(!sinks.set_pipe(1.into(), layer(0)), "nothing new");
        assert!(sinks.set_pipe(2.into(), layer(2)));
        assert_eq!(sinks.wanted_by_pipes(), layer(0).union(layer(2)));
        assert!(sinks.set_pipe(1.into(), LayerSet::NONE));
        assert!(!sinks.set_pipe(1.into(), LayerSet::NONE));
        let to: Vec<WorkerIx> = sinks.pipes().iter().map(|pipe| pipe.to).collect();
        assert_eq!(to, [WorkerIx::from(2)]);
    }
}
