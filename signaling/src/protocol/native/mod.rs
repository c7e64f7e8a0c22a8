//! The native protocol, version 1: JSON text frames over one WebSocket for each participant.
//! `signaling/PROTOCOL.md` is its description, `signaling/golden/native` its examples.

mod client_message;
mod server_message;

pub use client_message::{
    Candidate, CarriedTrack, Chat, ClientFrame, ClientMessage, Join, Mute, Offer, Source, Tracks,
    Update,
};
pub use server_message::{
    Answer, ChatMessage, IceServer, LeaveReason, MediaKind, MediaState, MessageLimits, Needs,
    Participant, PublishedTrack, Refusal, ServerInfo, ServerMessage, Slot, Track, Welcome,
};

/// The version a client names in `join` and the server in `welcome`.
pub const VERSION: u32 = 1;
