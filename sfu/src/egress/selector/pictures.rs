//! Decisions on the latest pictures. All packets of a frame are decided alike, and all frames of a picture by one pick,
//! even if they come when another layer is sent.

use crate::rtp::codec::{FrameInfo, Targets};
use crate::rtp::sequence::newer_timestamp;
use crate::track::ladder::LayerId;

/// Pictures remembered: two seconds at 30 frames a second, as far as a publisher's cache reaches back for NACKs.
const PICTURES: usize = 64;

/// The frames of one timestamp.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Picture {
    stream: u8,
    timestamp: u32,
    /// The highest layer of the stream that was sent then.
    picked: LayerId,
    /// The stream began to be sent with this picture.
    first: bool,
    /// Spatial layers whose frames were decided on, and those of them that are sent: one bit each.
    decided: u8,
    sent: u8,
    /// Decode targets that miss a frame of it.
    left_out: Targets,
}

impl Picture {
    /// A picture without decisions so far.
    pub(super) fn new(stream: usize, timestamp: u32, picked: LayerId, first: bool) -> Self {
        Self {
            stream: stream as u8,
            timestamp,
            picked,
            first,
            ..Self::default()
        }
    }

    /// The highest layer of the stream that was sent then.
    pub(super) fn picked(&self) -> LayerId {
        self.picked
    }

    /// The decision on a frame, if there is one.
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

    /// Decode targets that decode from a frame of it on, which is sent. A target that misses another frame of the
    /// picture is excluded, even if that frame came earlier though it stands later.
    pub(super) fn switches(&self, frame: &FrameInfo) -> Targets {
        frame.switches.without(self.left_out)
    }

    /// Whether this is the only frame decided on.
    pub(super) fn is_alone(&self, frame: &FrameInfo) -> bool {
        self.decided == bit(frame)
    }
}

/// The latest pictures.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Pictures {
    /// The newest picture, near at hand: nearly every packet is of it.
    newest: Picture,
    /// The number of pictures so far.
    count: usize,
    /// A ring of the pictures before the newest.
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

    /// The picture of a timestamp. If none of its packets has come yet, it uses the layer picked at its time; none if
    /// that is forgotten.
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

    /// Whether a frame is for the viewer, even if none of its packets has come yet; none if the pick at its time is
    /// forgotten.
    pub(super) fn sends(&self, stream: usize, timestamp: u32, frame: &FrameInfo) -> Option<bool> {
        let picture = self.at(stream, timestamp)?;
        let decided = picture
            .decision(frame)
            .filter(|_| picture.timestamp == timestamp);
        let picked = picture.picked;
        Some(decided.unwrap_or_else(|| frame.needed.has(picked.spatial, picked.temporal)))
    }

    /// The highest layer of a stream that was sent at some time.
    pub(super) fn picked(&self, stream: usize, timestamp: u32) -> Option<LayerId> {
        self.at(stream, timestamp).map(|picture| picture.picked)
    }

    /// The picture of a timestamp, or the one before it: a picture that comes late does not change the pick.
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
            // An earlier stay on the stream does not count.
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
