//! The steps of a ladder that are worth choosing for a place on a screen.

use crate::track::ladder::{Ladder, LayerId, Rung, SPATIAL, TEMPORAL};

/// Height of a place, in percent of a picture's own, up to which a larger picture is not worth its bits: scaling up by
/// a seventh is not noticed on moving pictures.
const SCALES_UP: u32 = 115;
/// Heights assumed of layers that have not told theirs: those of browsers for a 720p camera.
pub(super) const ASSUMED_TOP: u16 = 720;

/// Steps by ascending size of the picture, each costing more than those before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    steps: [(LayerId, u64); SPATIAL * TEMPORAL],
    len: usize,
    /// A higher picture exists, but is too high.
    bounded: bool,
    /// A higher picture existed, but does not come now.
    incomplete: bool,
    /// A higher picture comes, but its cost is not known yet.
    unmeasured: bool,
}

impl Options {
    /// The options of a ladder for a place `height` pixels high (0: any); `alive`: only layers that arrive now.
    pub(super) fn of(ladder: &Ladder, height: u16, alive: bool) -> Self {
        let mut options = Self {
            steps: Default::default(),
            len: 0,
            bounded: false,
            incomplete: false,
            unmeasured: false,
        };
        let spatials = ladder.rungs().iter().map(|rung| rung.id.spatial).max();
        let Some(top) = spatials else {
            return options;
        };
        let mut enough = false;
        for spatial in 0..=top {
            let rungs = || {
                ladder
                    .rungs()
                    .iter()
                    .filter(move |rung| rung.id.spatial == spatial)
            };
            // Skip larger layers whose bitrate is unknown.
            let smallest = options.len == 0;
            let comes = move |rung: &Rung| if alive { rung.alive } else { rung.available };
            let usable =
                || rungs().filter(move |rung| comes(rung) && (smallest || rung.bitrate > 0));
            let Some(whole) = usable().next_back() else {
                match (rungs().any(comes), enough) {
                    (true, true) => options.bounded = true,
                    (true, false) => options.unmeasured = true,
                    (false, _) => options.incomplete |= rungs().count() > 0,
                }
                continue;
            };
            (options.incomplete, options.unmeasured) = (false, false);
            if enough {
                options.bounded = true;
                continue;
            }
            // Above the smallest picture, the least step worth choosing is half the frame rate.
            let first = options.len == 0;
            for rung in usable().filter(|rung| first || rung.id.temporal + 1 >= whole.id.temporal) {
                options.push(rung);
            }
            let high = if whole.height > 0 {
                whole.height
            } else {
                ASSUMED_TOP >> (top - spatial).min(8)
            };
            enough = height > 0 && u32::from(high) * SCALES_UP >= u32::from(height) * 100;
        }
        options
    }

    fn push(&mut self, rung: &Rung) {
        // A step that costs no more than a smaller one makes that one pointless.
        while self.len > 1 && self.steps[self.len - 1].1 >= rung.bitrate && rung.bitrate > 0 {
            self.len -= 1;
        }
        self.steps[self.len] = (rung.id, rung.bitrate);
        self.len += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn id(&self, at: usize) -> LayerId {
        self.steps[at].0
    }

    pub(super) fn bitrate(&self, at: usize) -> u64 {
        self.steps[at].1
    }

    /// The highest step that shows no more than a layer.
    pub(super) fn position(&self, layer: LayerId) -> Option<usize> {
        self.steps[..self.len]
            .iter()
            .rposition(|(id, _)| *id <= layer)
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    pub(super) fn is_unmeasured(&self) -> bool {
        self.unmeasured
    }
}
