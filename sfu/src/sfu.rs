//! The embedder's handle: start workers, make rooms, join peers, hear events.

use tokio::sync::mpsc;

use crate::config::SfuConfig;
use crate::error::{SfuError, StartError};
use crate::event::{Answer, Event};
use crate::id::{PeerId, RoomId, TrackId};
use crate::stats::SfuStats;

/// A running media relay. Cheap to clone; the workers stop when [`shutdown`](Self::shutdown) is
/// called or the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Sfu {}

/// A participant's transport to create in a room.
#[derive(Clone, Debug)]
pub struct Join {
    /// The client's SDP offer.
    pub offer: String,
    /// Subscribe to every other peer's tracks in the room, present and future. Otherwise
    /// [`Sfu::subscribe`] is called for each.
    pub auto_subscribe: bool,
}

impl Sfu {
    /// Binds the media ports and starts the workers. The receiver yields every [`Event`] of every room.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a port in use, no certificate, a setting that cannot work.
    pub fn start(config: SfuConfig) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        let _ = config;
        Err(StartError::Config("not built yet".into()))
    }

    /// Creates a room on the least loaded worker.
    pub async fn create_room(&self) -> Result<RoomId, SfuError> {
        Err(SfuError::Stopped)
    }

    /// Creates a peer from a client's offer.
    pub async fn join(&self, room: RoomId, join: Join) -> Result<(PeerId, Answer), SfuError> {
        let _ = (room, join);
        Err(SfuError::Stopped)
    }

    /// Renegotiates. The client offers, the server answers; m-lines keep their places.
    pub async fn offer(&self, peer: PeerId, offer: String) -> Result<Answer, SfuError> {
        let _ = (peer, offer);
        Err(SfuError::Stopped)
    }

    /// Forwards `track` to `peer`. Takes a free slot at once, or asks for m-lines by
    /// [`Event::NeedsChanged`]. Subscribing twice is no error.
    pub async fn subscribe(&self, peer: PeerId, track: TrackId) -> Result<(), SfuError> {
        let _ = (peer, track);
        Err(SfuError::Stopped)
    }

    /// Stops forwarding `track` to `peer` and frees its slot. Not being subscribed is no error.
    pub async fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Result<(), SfuError> {
        let _ = (peer, track);
        Err(SfuError::Stopped)
    }

    /// Ends a peer and its tracks. No [`Event::PeerFailed`] follows, its tracks end with
    /// [`Event::TrackEnded`]. A peer already gone is no error.
    pub async fn close_peer(&self, peer: PeerId) -> Result<(), SfuError> {
        let _ = peer;
        Err(SfuError::Stopped)
    }

    /// Ends a room and its peers. A room already gone is no error.
    pub async fn close_room(&self, room: RoomId) -> Result<(), SfuError> {
        let _ = room;
        Err(SfuError::Stopped)
    }

    /// Counters and states of everything, copied out.
    pub async fn stats(&self) -> Result<SfuStats, SfuError> {
        Err(SfuError::Stopped)
    }

    /// Tells every peer that its transport ends (DTLS close_notify), stops the workers and joins
    /// their threads.
    pub async fn shutdown(&self) {}
}
