//! The media plane as rooms see it: a trait over [`Sfu`], so that rooms and protocols are tested
//! without sockets.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use tertulia_sfu::{Join, Sfu};

pub use tertulia_sfu::stats;
pub use tertulia_sfu::{
    Answer, Event, MediaKind, Needs, PeerFailure, PeerId, PublishedTrack, RoomId, SdpError,
    SfuError, Slot, StartError, TrackId,
};

pub type Reply<'a, T> = BoxFuture<'a, Result<T, SfuError>>;

/// The commands of [`Sfu`], which has their contracts.
pub trait Media: Send + Sync + 'static {
    fn create_room(&self) -> Reply<'_, RoomId>;
    /// `announce`: see [`Join::announce`].
    fn join(
        &self,
        room: RoomId,
        offer: String,
        announce: Vec<SocketAddr>,
    ) -> Reply<'_, (PeerId, Answer)>;
    fn offer(&self, peer: PeerId, offer: String) -> Reply<'_, Answer>;
    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()>;
    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()>;
    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()>;
    fn close_room(&self, room: RoomId) -> Reply<'_, ()>;
    fn peer_stats(&self, peer: PeerId) -> Reply<'_, stats::PeerStats>;
    /// Without the lists of peers.
    fn totals(&self) -> Reply<'_, stats::SfuStats>;
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

impl Media for Sfu {
    fn create_room(&self) -> Reply<'_, RoomId> {
        Box::pin(Sfu::create_room(self))
    }

    /// Rooms subscribe one by one: who wants what is theirs to decide.
    fn join(
        &self,
        room: RoomId,
        offer: String,
        announce: Vec<SocketAddr>,
    ) -> Reply<'_, (PeerId, Answer)> {
        let join = Join {
            offer,
            auto_subscribe: false,
            announce,
        };
        Box::pin(Sfu::join(self, room, join))
    }

    fn offer(&self, peer: PeerId, offer: String) -> Reply<'_, Answer> {
        Box::pin(Sfu::offer(self, peer, offer))
    }

    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(Sfu::subscribe(self, peer, track))
    }

    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(Sfu::unsubscribe(self, peer, track))
    }

    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()> {
        Box::pin(Sfu::close_peer(self, peer))
    }

    fn close_room(&self, room: RoomId) -> Reply<'_, ()> {
        Box::pin(Sfu::close_room(self, room))
    }

    fn peer_stats(&self, peer: PeerId) -> Reply<'_, stats::PeerStats> {
        Box::pin(Sfu::peer_stats(self, peer))
    }

    fn totals(&self) -> Reply<'_, stats::SfuStats> {
        Box::pin(Sfu::totals(self))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(Sfu::shutdown(self))
    }
}

/// The room and the peer of an event.
pub(crate) fn whose(event: &Event) -> Option<(RoomId, PeerId)> {
    match event {
        Event::PeerConnected { room, peer }
        | Event::PeerFailed { room, peer, .. }
        | Event::TrackLive { room, peer, .. }
        | Event::TrackEnded { room, peer, .. }
        | Event::SlotsChanged { room, peer, .. }
        | Event::NeedsChanged { room, peer, .. } => Some((*room, *peer)),
        // One the relay learned to tell and rooms have not learned to hear.
        _ => None,
    }
}
