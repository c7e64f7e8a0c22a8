//! The viewers of a track, and those of them that cannot watch it.

use crate::id::PeerId;
use crate::view::Reason;

/// Viewers that are named when they cannot watch, at most. A crowd would cause a message to the publisher for each
/// viewer that comes or goes.
const NAMED: usize = 32;

/// Viewers that cannot watch a track.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Unable {
    /// The first of them, each with its reason.
    pub(crate) named: Vec<(PeerId, Reason)>,
    /// The number of all of them.
    pub(crate) count: usize,
}

impl Unable {
    /// Adds a viewer.
    pub(crate) fn add(&mut self, viewer: PeerId, reason: Reason) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push((viewer, reason));
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let room = NAMED.saturating_sub(self.named.len());
        self.named.extend(other.named.iter().take(room));
    }
}

/// The viewers of a track on one worker, or on all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Audience {
    /// The number of them.
    pub(crate) viewers: u32,
    /// The number of them that can decode each of the publisher's payload types.
    pub(crate) able: Vec<(u8, u32)>,
    /// The viewers that cannot watch it.
    pub(crate) unable: Unable,
}

impl Audience {
    /// Viewers that can decode a payload type.
    pub(crate) fn able(&self, payload_type: u8) -> u32 {
        let mut able = self.able.iter();
        let found = able.find(|(other, _)| *other == payload_type);
        found.map_or(0, |(_, count)| *count)
    }

    /// Adds the viewers on another worker.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.viewers += other.viewers;
        for (payload_type, count) in &mut self.able {
            *count += other.able(*payload_type);
        }
        self.unable.merge(&other.unable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_add_up_and_names_are_bounded() {
        let audience = |first: u64, unable: u64| {
            let mut audience = Audience {
                viewers: 50,
                able: vec![(96, 50 - unable as u32), (98, 50)],
                ..Audience::default()
            };
            for viewer in first..first + unable {
                let viewer = PeerId::new(0, viewer);
                audience.unable.add(viewer, Reason::Codec);
            }
            audience
        };
        let mut all = audience(0, 20);
        all.merge(&audience(100, 30));
        assert_eq!((all.viewers, all.able(96), all.able(98)), (100, 50, 100));
        assert_eq!(all.able(100), 0);
        assert_eq!((all.unable.count, all.unable.named.len()), (50, NAMED));
        assert_eq!(all.unable.named[20].0, PeerId::new(0, 100));
    }
}
