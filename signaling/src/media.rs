//! The media plane as rooms see it: a trait over [`Sfu`], so that rooms and protocols are tested
//! without sockets.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use tertulia_sfu::Sfu;
use tokio::sync::mpsc;

pub use tertulia_sfu::stats;
pub use tertulia_sfu::{
    Answer, Cap, ClientOffer, DataRefusal, DropReason, Event, EventBacklog, Join, LayerWanted,
    Limit, MayPublish, MediaKind, Needs, PeerFailure, PeerId, PublishedTrack, Reason, RefusedMedia,
    RenegotiationReason, RoomId, SdpError, ServerData, SfuError, Slot, StartError,
    SubscriptionState, TrackId, TrackSettings, Unwatchable, View,
};
pub use tertulia_sfu::{Limits, PushError, SENDER_PROTOCOL, Stream, StreamKind};

/// A reply of the media plane, in a while.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, SfuError>>;

/// The commands of [`Sfu`], which has their contracts.
pub trait Media: Send + Sync + 'static {
    /// The receiver yields the room's events. Nothing waits for it: a room that does not read it holds up no other,
    /// and no answer of its own.
    fn create_room(&self) -> Reply<'_, (RoomId, mpsc::Receiver<Event>)>;
    /// The room decides about each subscription: `join` has none by itself.
    fn join(&self, room: RoomId, join: Join) -> Reply<'_, (PeerId, Answer)>;
    /// See [`Sfu::offer`].
    fn offer(&self, peer: PeerId, offer: ClientOffer) -> Reply<'_, Answer>;
    /// See [`Sfu::subscribe`].
    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()>;
    /// See [`Sfu::unsubscribe`].
    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()>;
    /// See [`Sfu::set_views`].
    fn set_views(&self, peer: PeerId, views: Vec<View>) -> Reply<'_, ()>;
    /// See [`Sfu::set_track`].
    fn set_track(&self, peer: PeerId, track: TrackId, settings: TrackSettings) -> Reply<'_, ()>;
    /// See [`Sfu::set_cap`].
    fn set_cap(&self, peer: PeerId, cap: Cap) -> Reply<'_, ()>;
    /// See [`Sfu::send_data`].
    fn send_data(&self, room: RoomId, to: Option<PeerId>, data: ServerData) -> Reply<'_, ()>;
    /// See [`Sfu::open_stream`]. A media plane without streams knows nobody.
    fn open_stream(
        &self,
        _from: SocketAddr,
        _kind: StreamKind,
        _first: Vec<u8>,
    ) -> Reply<'_, Stream> {
        Box::pin(std::future::ready(Err(SfuError::NoSuchPeer)))
    }
    /// See [`Sfu::discover`]. A media plane without sockets asks nobody.
    fn discover(&self, _server: SocketAddr) -> Reply<'_, Vec<Option<SocketAddr>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    /// The addresses that clients are told for media over UDP: see [`Sfu::candidates`]. A media plane that names none is
    /// not reached by TURN.
    fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
    /// See [`Sfu::close_peer`].
    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()>;
    /// See [`Sfu::close_room`].
    fn close_room(&self, room: RoomId) -> Reply<'_, ()>;
    /// See [`Sfu::peer_stats`].
    fn peer_stats(&self, peer: PeerId) -> Reply<'_, stats::PeerStats>;
    /// See [`Sfu::timeline`].
    fn timeline(&self, room: RoomId) -> Reply<'_, Vec<stats::Decision>>;
    /// Counters and states without the lists of peers.
    fn totals(&self) -> Reply<'_, stats::SfuStats>;
    /// The number of media workers, and those of them that have failed.
    fn workers(&self) -> Workers;
    /// Returns when no media worker is left. Cancel-safe.
    fn ended(&self) -> BoxFuture<'_, ()>;
    /// See [`Sfu::shutdown`].
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// The media workers by their places, from 0 on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Workers {
    /// Media workers there are, failed ones included.
    pub count: usize,
    /// Places of those that have failed.
    pub failed: Vec<usize>,
}

impl Media for Sfu {
    fn create_room(&self) -> Reply<'_, (RoomId, mpsc::Receiver<Event>)> {
        Box::pin(Sfu::create_room(self))
    }

    fn join(&self, room: RoomId, join: Join) -> Reply<'_, (PeerId, Answer)> {
        Box::pin(Sfu::join(self, room, join))
    }

    fn offer(&self, peer: PeerId, offer: ClientOffer) -> Reply<'_, Answer> {
        Box::pin(Sfu::offer(self, peer, offer))
    }

    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(Sfu::subscribe(self, peer, track))
    }

    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(Sfu::unsubscribe(self, peer, track))
    }

    fn set_views(&self, peer: PeerId, views: Vec<View>) -> Reply<'_, ()> {
        Box::pin(Sfu::set_views(self, peer, views))
    }

    fn set_track(&self, peer: PeerId, track: TrackId, settings: TrackSettings) -> Reply<'_, ()> {
        Box::pin(Sfu::set_track(self, peer, track, settings))
    }

    fn set_cap(&self, peer: PeerId, cap: Cap) -> Reply<'_, ()> {
        Box::pin(Sfu::set_cap(self, peer, cap))
    }

    fn send_data(&self, room: RoomId, to: Option<PeerId>, data: ServerData) -> Reply<'_, ()> {
        Box::pin(Sfu::send_data(self, room, to, data))
    }

    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()> {
        Box::pin(Sfu::close_peer(self, peer))
    }

    fn close_room(&self, room: RoomId) -> Reply<'_, ()> {
        Box::pin(Sfu::close_room(self, room))
    }

    fn open_stream(&self, from: SocketAddr, kind: StreamKind, first: Vec<u8>) -> Reply<'_, Stream> {
        Box::pin(async move { Sfu::open_stream(self, from, kind, &first).await })
    }

    fn discover(&self, server: SocketAddr) -> Reply<'_, Vec<Option<SocketAddr>>> {
        Box::pin(Sfu::discover(self, server))
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.candidates().iter().flatten().copied().collect()
    }

    fn peer_stats(&self, peer: PeerId) -> Reply<'_, stats::PeerStats> {
        Box::pin(Sfu::peer_stats(self, peer))
    }

    fn timeline(&self, room: RoomId) -> Reply<'_, Vec<stats::Decision>> {
        Box::pin(Sfu::timeline(self, room))
    }

    fn totals(&self) -> Reply<'_, stats::SfuStats> {
        Box::pin(Sfu::totals(self))
    }

    fn workers(&self) -> Workers {
        Workers {
            count: self.candidates().len(),
            failed: self.failed_workers(),
        }
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(Sfu::ended(self))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(Sfu::shutdown(self))
    }
}
