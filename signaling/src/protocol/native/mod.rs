//! The native protocol, version 1: JSON text frames over one WebSocket for each participant.
//! `signaling/docs/PROTOCOL.md` is its description, `signaling/golden/native` its examples.

mod body;
mod client_message;
mod codec;
mod connection;
mod convert;
mod emulated;
mod end;
mod fragments;
mod handshake;
mod over_http;
mod owner;
mod rate;
mod server_message;
mod session;
mod turn_offer;
mod unwritten;
mod upgrade;
mod websocket;
#[cfg(test)]
mod weights;
mod wire;

#[cfg(feature = "testing")]
pub(crate) use body::fuzz as fuzz_body;

pub use client_message::{
    Audience, Candidate, CarriedTrack, Chat, ClientFrame, ClientMessage, Grants, Hand, Invite,
    Join, Moderate, Mute, Offer, People, Resume, Revoke, Source, TrackView, Tracks, Update, View,
};
pub use codec::{decode, encode};
pub(crate) use over_http::{events, poll, preflight, send};
pub use server_message::{
    Access, Answer, AudienceCounts, ChatMessage, DataChannels, Decision, IceServer, Invitation,
    LayerWanted, LeaveReason, MediaKind, MediaState, MessageLimits, Needs, Participant,
    Permissions, PublishedTrack, Refusal, Rules, ServerInfo, ServerMessage, SessionInfo, Slot,
    SubscriptionState, Track, Unable, WaitingPerson, Welcome,
};
pub(crate) use turn_offer::TurnOffer;
pub(crate) use upgrade::{Native, ask, refused, upgrade};

/// The version a client names in `join` and the server in `welcome`.
pub const VERSION: u32 = 1;
