//! The layers of a track as a viewer may choose among them: what ingress measures and egress decides by.

/// Spatial layers of a track at most: what browsers make (three), and one to spare.
pub(crate) const SPATIAL: usize = 4;
/// Temporal layers of each at most: three in every `scalabilityMode`, and one to spare.
pub(crate) const TEMPORAL: usize = 4;

/// A layer: a simulcast encoding or an SVC step, and how much of its frame rate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct LayerId {
    /// From the smallest picture on. With simulcast, the index of the encoding among its track's.
    pub(crate) spatial: u8,
    /// From the lowest frame rate on: this and those below are sent.
    pub(crate) temporal: u8,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rung {
    pub(crate) id: LayerId,
    /// Of all that is sent to show it, lower layers it needs included; bits a second of RTP with its
    /// headers. While nothing comes, what it last was; 0 if nothing ever came.
    pub(crate) bitrate: u64,
    /// Height in pixels; 0 while unknown.
    pub(crate) height: u16,
    /// Packets come on it.
    pub(crate) alive: bool,
    /// Packets come, or would come if a viewer wanted them: its publisher was asked to pause it.
    pub(crate) available: bool,
}

/// The steps of a track, the smallest first: by spatial layer, then by temporal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ladder {
    rungs: [Rung; SPATIAL * TEMPORAL],
    len: usize,
}

impl Ladder {
    /// Adds the next higher step; what does not fit is left out.
    pub(crate) fn push(&mut self, rung: Rung) {
        if let Some(place) = self.rungs.get_mut(self.len) {
            *place = rung;
            self.len += 1;
        }
    }

    /// The steps.
    pub(crate) fn rungs(&self) -> &[Rung] {
        &self.rungs[..self.len]
    }
}
