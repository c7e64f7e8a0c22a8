//! The facts of a frame that decide which viewers are sent it, the same for every codec.
//!
//! A stream is made for up to sixteen *decode targets*: four picture sizes (spatial layers), each at four frame rates
//! (temporal layers). Every frame says which targets need it, and at which targets a decoder may begin with it. The
//! dependency descriptor of AV1 (appendix A of its RTP payload specification) says just that; the descriptors of VP8
//! and VP9 are translated.

/// A set of decode targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Targets(u16);

/// Spatial layers, and temporal layers of each.
const SIDE: u8 = 4;
/// The first of each spatial layer.
const ROWS: u16 = 0x1111;

impl Targets {
    /// Every one.
    pub const ALL: Self = Self(u16::MAX);
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// A set of one target; layers beyond the highest are the highest.
    pub fn one(spatial: u8, temporal: u8) -> Self {
        Self(1 << (spatial.min(SIDE - 1) * SIDE + temporal.min(SIDE - 1)))
    }

    /// Targets of a spatial layer from a frame rate on.
    pub fn row(spatial: u8, temporal: u8) -> Self {
        let row = 0x0f << temporal.min(SIDE - 1) & 0x0f;
        Self(row << (spatial.min(SIDE - 1) * SIDE))
    }

    /// Targets from a spatial layer and a frame rate on.
    pub fn from(spatial: u8, temporal: u8) -> Self {
        let row = 0x0f << temporal.min(SIDE - 1) & 0x0f;
        let rows = ROWS << (spatial.min(SIDE - 1) * SIDE);
        Self(rows * row)
    }

    /// Targets up to a spatial layer and a frame rate.
    pub fn up_to(spatial: u8, temporal: u8) -> Self {
        let row = 0x0f >> (SIDE - 1 - temporal.min(SIDE - 1));
        Self((ROWS & Self::below(spatial.min(SIDE - 1) + 1).0) * row)
    }

    /// Targets of the spatial layers below one.
    pub fn below(spatial: u8) -> Self {
        let all = u32::from(Self::ALL.0);
        Self((all >> (SIDE * SIDE - spatial.min(SIDE) * SIDE)) as u16)
    }

    /// Targets of any spatial layer with a frame rate.
    pub fn column(temporal: u8) -> Self {
        Self(ROWS << temporal.min(SIDE - 1))
    }

    /// Whether a target is in the set.
    pub fn has(self, spatial: u8, temporal: u8) -> bool {
        self.0 & Self::one(spatial, temporal).0 != 0
    }

    /// Targets in either set.
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Targets of this set that are not in the other.
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Targets in both sets.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A packet's facts about its frame. A frame is of one spatial layer: with several, a *picture* is the
/// frames of one timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameInfo {
    /// 0 to 3.
    pub spatial: u8,
    /// 0 to 3.
    pub temporal: u8,
    /// The first packet of the frame.
    pub begins: bool,
    /// The last packet of the frame, where that can be told without the marker.
    pub ends: bool,
    /// The frame needs no other.
    pub key: bool,
    /// The frame needs none but of temporal layer 0.
    pub joins: bool,
    /// Targets that need the frame.
    pub needed: Targets,
    /// Targets that decode from the frame on: later frames of theirs need no earlier frame that this one does not need
    /// itself.
    pub switches: Targets,
}

impl FrameInfo {
    /// A frame of a stream without layers.
    pub fn plain(key: bool) -> Self {
        Self {
            spatial: 0,
            temporal: 0,
            begins: key,
            ends: false,
            key,
            joins: false,
            needed: Targets::ALL,
            switches: if key { Targets::ALL } else { Targets::NONE },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_targets() {
        for (spatial, temporal) in (0..4).flat_map(|s| (0..4).map(move |t| (s, t))) {
            for (s, t) in (0..4).flat_map(|s| (0..4).map(move |t| (s, t))) {
                let case = format!("{spatial}.{temporal} {s}.{t}");
                let one = Targets::one(spatial, temporal);
                assert_eq!(one.has(s, t), (s, t) == (spatial, temporal), "{case}");
                let row = Targets::row(spatial, temporal);
                assert_eq!(row.has(s, t), s == spatial && t >= temporal, "{case}");
                let from = Targets::from(spatial, temporal);
                assert_eq!(from.has(s, t), s >= spatial && t >= temporal, "{case}");
                let up_to = Targets::up_to(spatial, temporal);
                assert_eq!(up_to.has(s, t), s <= spatial && t <= temporal, "{case}");
                assert_eq!(Targets::below(spatial).has(s, t), s < spatial, "{case}");
                assert_eq!(Targets::column(temporal).has(s, t), t == temporal, "{case}");
                let without = Targets::ALL.without(from);
                assert_eq!(without.has(s, t), !from.has(s, t), "{case}");
            }
        }
        assert!(Targets::one(9, 9).has(3, 3));
        assert!(Targets::NONE.is_empty() && !Targets::ALL.is_empty());
    }
}
