//! What was decided for the latest pictures: all packets of a frame are decided on alike, and all
//! frames of a picture by the same pick, whenever they come and whatever is sent by then.

use crate::ladder::LayerId;
use crate::rtp::codec::{FrameInfo, Targets};
use crate::rtp::sequence::newer_timestamp;

/// Pictures remembered: two seconds at 30 frames a second, as long as a publisher's cache reaches back
/// for who asks for a packet again.
const PICTURES: usize = 64;

/// The frames of one timestamp.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Picture {
    stream: u8,
    timestamp: u32,
    /// What of the stream was sent then.
    picked: LayerId,
    /// The stream began to be sent with it.
    first: bool,
    /// Spatial layers whose frames were decided on, and those of them that are sent: a bit for each.
    decided: u8,
    sent: u8,
    /// Those that miss a frame of it.
    left_out: Targets,
}

impl Picture {
    /// One of which nothing is decided yet.
    pub(super) fn new(stream: usize, timestamp: u32, picked: LayerId, first: bool) -> Self {
        Self {
            stream: stream as u8,
            timestamp,
            picked,
            first,
            ..Self::default()
        }
    }

    /// What of the stream was sent then.
    pub(super) fn picked(&self) -> LayerId {
        self.picked
    }

    /// What was decided for a frame, if anything was.
    pub(super) fn decision(&self, frame: &FrameInfo) -> Option<bool> {
        let bit = bit(frame);
        (self.decided & bit != 0).then_some(self.sent & bit != 0)
    }

    /// Decides on a frame.
    pub(super) fn decide(&mut self, frame: &FrameInfo, sent: bool) {
        self.decided |= bit(frame);
        if sent {
            self.sent |= bit(frame);
        } else {
            self.left_out = self.left_out.with(frame.needed);
        }
    }

    /// Those that decode from a frame of it on, which is sent: not those that miss another frame of it,
    /// which came before though it stands behind.
    pub(super) fn switches(&self, frame: &FrameInfo) -> Targets {
        frame.switches.without(self.left_out)
    }

    /// No frame was decided on but this one.
    pub(super) fn is_alone(&self, frame: &FrameInfo) -> bool {
        self.decided == bit(frame)
    }
}

/// The latest of them.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Pictures {
    /// The one made last, at hand: nearly every packet is of it.
    newest: Picture,
    /// Made so far.
    count: usize,
    /// A ring of those made before the newest.
    ring: [Picture; PICTURES],
}

impl Default for Pictures {
    fn default() -> Self {
        Self {
            newest: Picture::default(),
            count: 0,
            ring: [Picture::default(); PICTURES],
        }
    }
}

impl Pictures {
    pub(super) fn push(&mut self, picture: Picture) {
        if let Some(before) = self.count.checked_sub(1) {
            self.ring[before % PICTURES] = self.newest;
        }
        self.newest = picture;
        self.count += 1;
    }

    /// The picture of a timestamp. If nothing of it came until now, what was sent then is picked; none
    /// if that is forgotten.
    pub(super) fn find_or_make(&mut self, stream: usize, timestamp: u32) -> Option<&mut Picture> {
        let is =
            |picture: &Picture| (picture.stream, picture.timestamp) == (stream as u8, timestamp);
        if self.count == 0 || !is(&self.newest) {
            if let Some(at) = self.before().find(|at| is(&self.ring[*at])) {
                return self.ring.get_mut(at);
            }
            let picked = self.picked(stream, timestamp)?;
            self.push(Picture::new(stream, timestamp, picked, false));
        }
        Some(&mut self.newest)
    }

    /// Whether a frame is for the viewer, though it may not have come until now; none if what was sent
    /// then is forgotten.
    pub(super) fn sends(&self, stream: usize, timestamp: u32, frame: &FrameInfo) -> Option<bool> {
        let picture = self.at(stream, timestamp)?;
        let decided = picture
            .decision(frame)
            .filter(|_| picture.timestamp == timestamp);
        let picked = picture.picked;
        Some(decided.unwrap_or_else(|| frame.needed.has(picked.spatial, picked.temporal)))
    }

    /// What of a stream was sent at some time.
    pub(super) fn picked(&self, stream: usize, timestamp: u32) -> Option<LayerId> {
        self.at(stream, timestamp).map(|picture| picture.picked)
    }

    /// The picture of a timestamp or, if nothing of that came, the one before: no picture that comes
    /// late has changed what is sent.
    fn at(&self, stream: usize, timestamp: u32) -> Option<&Picture> {
        let mut before: Option<&Picture> = None;
        let newest = (self.count > 0).then_some(&self.newest);
        let ring = self.before().map(|at| &self.ring[at]);
        for picture in newest.into_iter().chain(ring) {
            if picture.stream != stream as u8 || newer_timestamp(picture.timestamp, timestamp) {
                continue;
            }
            if before.is_none_or(|before| newer_timestamp(picture.timestamp, before.timestamp)) {
                before = Some(picture);
            }
            // What the stream was before that is another time's.
            if picture.timestamp == timestamp || picture.first {
                break;
            }
        }
        before
    }

    /// Places in the ring, the latest first.
    fn before(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.count.saturating_sub(1);
        (1..=count.min(PICTURES)).map(move |back| (count - back) % PICTURES)
    }
}

fn bit(frame: &FrameInfo) -> u8 {
    1 << frame.spatial.min(7)
}
