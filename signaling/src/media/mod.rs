//! The media plane as rooms see it: a trait, so that rooms and protocols are tested without
//! sockets, and plain values. [`Relay`] is the real one.

mod relay;
mod stats;

use std::fmt;

use futures_util::future::BoxFuture;

pub use relay::Relay;
pub use stats::{LayerStats, PeerStats, PublishedStats, SubscriptionStats};
pub use tertulia_sfu::{MediaKind, Needs, PeerFailure, SdpError, SfuError, StartError};

/// What a media plane calls a room, a peer or a track. The relay's ids come only from the relay;
/// any other media plane numbers its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Id<R> {
    Relay(R),
    Number(u64),
}

pub type RoomId = Id<tertulia_sfu::RoomId>;
pub type PeerId = Id<tertulia_sfu::PeerId>;
pub type TrackId = Id<tertulia_sfu::TrackId>;

impl<R: fmt::Display> fmt::Display for Id<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay(id) => id.fmt(f),
            Self::Number(number) => write!(f, "#{number}"),
        }
    }
}

impl<R: fmt::Display> fmt::Debug for Id<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub type Reply<'a, T> = BoxFuture<'a, Result<T, SfuError>>;

/// The commands of [`tertulia_sfu::Sfu`], which has their contracts.
pub trait Media: Send + Sync + 'static {
    fn create_room(&self) -> Reply<'_, RoomId>;
    fn join(&self, room: RoomId, offer: String) -> Reply<'_, (PeerId, Answer)>;
    fn offer(&self, peer: PeerId, offer: String) -> Reply<'_, Answer>;
    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()>;
    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()>;
    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()>;
    fn close_room(&self, room: RoomId) -> Reply<'_, ()>;
    /// None: the peer is gone.
    fn stats(&self, peer: PeerId) -> Reply<'_, Option<PeerStats>>;
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// A transition of one peer, told to its room.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    pub room: RoomId,
    pub peer: PeerId,
    pub change: Change,
}

/// See [`tertulia_sfu::Event`].
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    Connected,
    Failed(PeerFailure),
    TrackLive(TrackId),
    TrackEnded(TrackId),
    Slots(Vec<Slot>),
    Needs(Needs),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot<T = TrackId> {
    pub mid: String,
    pub kind: MediaKind,
    pub track: Option<T>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedTrack {
    pub mid: String,
    pub track: TrackId,
    pub kind: MediaKind,
    pub codec: &'static str,
    pub simulcast: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub sdp: String,
    /// Every track the peer publishes now.
    pub published: Vec<PublishedTrack>,
    /// Every receiving m-line the peer has now.
    pub slots: Vec<Slot>,
    pub needs: Needs,
}
