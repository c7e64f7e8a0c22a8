//! The messages between workers about rooms they share.
//!
//! A room has a *part* on each worker it has grown to. The *publisher's worker* of a track is the one that its publisher
//! lives on; it alone sends the track's packets. The *deciding worker* of a room is the lowest-numbered one with a part:
//! it decides who speaks.
//!
//! Messages may be late: the room, the track or the layer may have gone meanwhile. A receiver ignores a message about
//! something it does not know. A message holds values alone, and nothing of a worker's tables, so that whatever joins
//! workers can carry it.

use std::sync::Arc;

use crate::audio::Digest;
use crate::id::{PeerId, RoomId, TrackId};
use crate::server_data::ServerData;
use crate::track::audience::Audience;
use crate::track::ladder::{LayerSet, Ranks};
use crate::track::state::{LayerState, TrackState};

/// A message between workers about a room they share.
#[derive(Clone, Debug)]
pub(crate) enum Control {
    /// Tracks begin, or are renegotiated.
    ///
    /// The publisher's worker sends it to every other part, when a peer has published tracks or has changed them, and to
    /// a part that is new, with all tracks. The other adds each track that it does not know, subscribes those who want
    /// every track, and lets a known one follow the new state.
    Tracks {
        /// The room.
        room: RoomId,
        /// The tracks, each with its publisher.
        tracks: Vec<(PeerId, TrackState)>,
    },
    /// Layers of a track came alive or died, or their order changed.
    ///
    /// The publisher's worker sends it to every other part, as soon as packets arrive on a layer or stop. The other lets
    /// the track's viewers choose their layers again.
    Layers {
        /// The track.
        track: TrackId,
        /// All layers of the track, by index.
        layers: Vec<LayerState>,
        /// The order of its layers, from the smallest picture to the largest.
        order: Ranks,
    },
    /// A track is gone.
    ///
    /// The publisher's worker sends it to every other part, when the peer unpublishes or ends. The other ends the track
    /// and frees its viewers' slots. It tells the control plane nothing: the publisher's worker does.
    Ended {
        /// The track.
        track: TrackId,
    },
    /// The layers of a track that viewers want.
    ///
    /// A part sends it to the publisher's worker, when the layers change that its own viewers want together. The other
    /// sends the track's packets to that part while any layer is wanted, and asks the publisher only for layers that
    /// somebody wants.
    Wanted {
        /// The room.
        room: RoomId,
        /// The track.
        track: TrackId,
        /// The layers; none when the last viewer has gone.
        wanted: LayerSet,
    },
    /// A viewer needs a keyframe.
    ///
    /// A part sends it to the publisher's worker, when a viewer there joins a layer, switches to it or cannot decode it.
    /// Requests that follow each other too soon are merged at both. The other asks the publisher.
    Keyframe {
        /// The room.
        room: RoomId,
        /// The track.
        track: TrackId,
        /// The layer's index.
        layer: usize,
    },
    /// A viewer somewhere cannot decode a track.
    ///
    /// The publisher's worker sends it once to every other part, when it learns of the first such viewer. The other
    /// answers with [`Audience`](Self::Audience) if it has viewers, and again after each change.
    Survey {
        /// The room.
        room: RoomId,
        /// The track.
        track: TrackId,
    },
    /// The viewers of a track on one worker, and those of them that cannot decode it.
    ///
    /// A part sends it to the publisher's worker, when the first viewer comes that cannot decode the track, or when it
    /// was asked by [`Survey`](Self::Survey); and again after each change. The other tells the publisher who cannot
    /// watch, and asks it for another codec if that helps.
    Audience {
        /// The room.
        room: RoomId,
        /// The track.
        track: TrackId,
        /// The viewers. They are boxed, as they are rare and large: each place in a ring has room for the largest
        /// message.
        audience: Box<Audience>,
    },
    /// Whether all viewers of a part turn pictures.
    ///
    /// A part sends it to every other part, when its first viewer comes that does not turn them or the last one has
    /// gone, and to a part that is new, if there is one. The other agrees on the video orientation only while all do, and
    /// asks publishers of turned pictures to offer again.
    Turning {
        /// The room.
        room: RoomId,
        /// Whether all viewers of the sending part do.
        all: bool,
    },
    /// The levels of audio tracks in the last interval.
    ///
    /// A part sends it to the deciding worker, every 300 ms while any of its publishers is heard. The other counts the
    /// levels as if it had heard them itself.
    Levels {
        /// The room.
        room: RoomId,
        /// The levels heard, each with its track and publisher.
        levels: Vec<(TrackId, PeerId, Digest)>,
    },
    /// The active speakers.
    ///
    /// The deciding worker sends it to every other part, when they change; every part sends it to one that is new. The
    /// other takes them over, for the order and the choice of videos.
    Speakers {
        /// The room.
        room: RoomId,
        /// The last speakers, the latest first, each with the publisher of the audio track.
        recent: Vec<(TrackId, PeerId)>,
        /// The number of them, from the first on, that speak now.
        speaking: usize,
    },
    /// A data channel message for all peers in the room.
    ///
    /// A part sends it to every other part, when a peer there or the control plane has sent the message. The other
    /// delivers it to its own peers. Clients can cause these at will: of all messages they alone may be dropped, when
    /// too much control is held up.
    Data(Data),
}

/// A data channel message for every peer in a room but its sender.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// The room.
    pub(crate) room: RoomId,
    /// Whether it goes over the channel `reliable`; otherwise over `unreliable`.
    pub(crate) reliable: bool,
    /// Whether it is bytes; otherwise it is UTF-8.
    pub(crate) binary: bool,
    /// The message.
    pub(crate) payload: Arc<[u8]>,
    /// The sender's name.
    pub(crate) sender: Arc<str>,
}

impl Data {
    /// A message of the control plane's own.
    pub(crate) fn of(room: RoomId, data: ServerData) -> Self {
        Self {
            room,
            reliable: data.reliable,
            binary: data.binary,
            payload: data.payload.into(),
            sender: data.sender.into(),
        }
    }

    /// The message after its sender's name and a line feed, as a receiver gets it.
    pub(crate) fn named(&self) -> Vec<u8> {
        [self.sender.as_bytes(), b"\n", &self.payload].concat()
    }
}
